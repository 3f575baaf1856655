"""Any NumPy data, where it lies, as a PyTorch dataset at memory speed."""

from npdata import errors
from npdata.arrays.convert import Conversion, as_tensor, explain
from npdata.dataset.batch import Batch
from npdata.dataset.collate import collate
from npdata.dataset.many_files import concatenate, stack
from npdata.dataset.normalize import normalize
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.dataset.padded import Padded
from npdata.dataset.statistics import FieldStatistics, Statistics
from npdata.loading.loader import Loader
from npdata.loading.schedule import Schedule
from npdata.loading.stats import LoaderStats
from npdata.loading.to_device import to_device
from npdata.sampling.quality import ShuffleQuality, shuffle_quality
from npdata.sampling.rows import MaskedRows, SeededRows
from npdata.sampling.sampler import BlockBatchSampler
from npdata.sources.base import Access, Source
from npdata.sources.compose import csr, ragged
from npdata.sources.open import open_source

__all__ = [
    "Access",
    "Batch",
    "BlockBatchSampler",
    "Conversion",
    "FieldStatistics",
    "Loader",
    "LoaderStats",
    "MaskedRows",
    "NumpyDataset",
    "Padded",
    "Schedule",
    "SeededRows",
    "ShuffleQuality",
    "Source",
    "Statistics",
    "as_tensor",
    "collate",
    "concatenate",
    "csr",
    "errors",
    "explain",
    "normalize",
    "open_source",
    "ragged",
    "shuffle_quality",
    "stack",
    "to_device",
]


def __dir__() -> list[str]:
    """Give the public names, without the folders behind them."""
    return __all__
