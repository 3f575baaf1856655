"""Any NumPy data, where it lies, as a PyTorch dataset at memory speed."""

from npdata import errors
from npdata.batch import Batch
from npdata.collate import collate
from npdata.convert import Conversion, as_tensor, explain
from npdata.dataset import NumpyDataset
from npdata.loader import Loader
from npdata.masked import MaskedRows
from npdata.quality import ShuffleQuality, shuffle_quality
from npdata.samplers import BlockBatchSampler
from npdata.schedule import Schedule
from npdata.seeded import SeededRows
from npdata.sources.base import Access, Source
from npdata.sources.opening import open_source
from npdata.stats import LoaderStats
from npdata.transfer import to_device

__all__ = [
    "Access",
    "Batch",
    "BlockBatchSampler",
    "Conversion",
    "Loader",
    "LoaderStats",
    "MaskedRows",
    "NumpyDataset",
    "Schedule",
    "SeededRows",
    "ShuffleQuality",
    "Source",
    "as_tensor",
    "collate",
    "errors",
    "explain",
    "open_source",
    "shuffle_quality",
    "to_device",
]
