"""Any NumPy data, where it lies, as a PyTorch dataset at memory speed."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from npdata import errors
from npdata.suggestions import BACK_IN_UNITS, did_you_mean, each_word

if TYPE_CHECKING:
    from npdata.arrays.convert import Conversion, as_tensor, explain
    from npdata.dataset.batch import Batch
    from npdata.dataset.collate import collate
    from npdata.dataset.normalize import normalize
    from npdata.dataset.numpy_dataset import NumpyDataset
    from npdata.dataset.padded import Padded
    from npdata.dataset.stack_and_concatenate import concatenate, stack
    from npdata.dataset.statistics import FieldStatistics, Statistics
    from npdata.loading.loader import Loader
    from npdata.loading.schedule import Schedule
    from npdata.loading.stats import LoaderStats
    from npdata.loading.to_device import to_device
    from npdata.sampling.quality import ShuffleQuality, shuffle_quality
    from npdata.sampling.row_numbers import MaskedRows, SeededRows
    from npdata.sampling.sampler import BlockBatchSampler
    from npdata.sources.base import Access, Source
    from npdata.sources.open import open_source
    from npdata.sources.ragged_and_csr import csr, ragged

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

_MODULES = each_word(
    {
        "Conversion as_tensor explain": "arrays.convert",
        "Batch": "dataset.batch",
        "collate": "dataset.collate",
        "concatenate stack": "dataset.stack_and_concatenate",
        "normalize": "dataset.normalize",
        "NumpyDataset": "dataset.numpy_dataset",
        "Padded": "dataset.padded",
        "FieldStatistics Statistics": "dataset.statistics",
        "Loader": "loading.loader",
        "Schedule": "loading.schedule",
        "LoaderStats": "loading.stats",
        "to_device": "loading.to_device",
        "ShuffleQuality shuffle_quality": "sampling.quality",
        "MaskedRows SeededRows": "sampling.row_numbers",
        "BlockBatchSampler": "sampling.sampler",
        "Access Source": "sources.base",
        "csr ragged": "sources.ragged_and_csr",
        "open_source": "sources.open",
    }
)
"""Where each name is from. It is imported on first use, so that a command without tensors begins
in 0.5 s, not in 2."""

_ELSEWHERE = each_word(
    {
        "Subset random_split StackDataset ConcatDataset TensorDataset": (
            "it is in torch.utils.data, and takes a NumpyDataset as any dataset"
        ),
        "from_h5ad from_anndata read_h5ad AnnData": 'write npdata.NumpyDataset(x="cells.h5ad::X")',
        "DataLoader": "npdata.Loader is ours, torch.utils.data.DataLoader is torch's",
        "Dataset": "write npdata.NumpyDataset",
        "Sampler RandomSampler BatchSampler DistributedSampler WeightedRandomSampler": (
            "write npdata.Loader(ds, 64, shuffle=True), which divides rows among ranks and takes "
            "weights=; its sampler is npdata.BlockBatchSampler"
        ),
        "batch shuffle prefetch": "write npdata.Loader(ds, 64, shuffle=True)",
        "folder glob ImageFolder DatasetFolder": (
            'write npdata.stack("train/*/*.npy", label_from=r"([^/]+)/[^/]+$")'
        ),
        "pad pad_sequence ragged_tensor nested": "write npdata.ragged(values, lengths=...)",
        "csr_matrix sparse": "write npdata.csr(m.data, m.indices, m.indptr, m.shape)",
        "Standardize standardize stats mean_std": "write npdata.normalize(ds.statistics())",
        "denormalize unnormalize inverse_normalize unstandardize": BACK_IN_UNITS,
        "window windows": "it is a method: NumpyDataset(...).windows(16)",
        "split train_test_split": "it is a method: train, test = NumpyDataset(...).split(0.8)",
        "statistics": "it is a method: NumpyDataset(...).statistics()",
        "inspect": "it is a command of a shell: npdata inspect FILE",
        "convert": "it is a command of a shell: npdata convert FILE NEW_FILE",
        "load open read memmap from_numpy": 'write npdata.NumpyDataset("x.npy")',
        "from_hdf5 from_npy from_npz from_raw": "it is in npdata.NumpyDataset",
    }
)


def __getattr__(name: str) -> Any:
    """Give a public name or the version; else raise AttributeError, which says what to write."""
    if name in _MODULES:
        value = getattr(importlib.import_module(f"npdata.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("npdata")
    cure = f"; {_ELSEWHERE[name]}" if name in _ELSEWHERE else did_you_mean(name, __all__, "")
    raise AttributeError(f"module 'npdata' has no attribute {name!r}{cure}")


def __dir__() -> list[str]:
    """Give the public names, without the folders behind them."""
    return __all__


# Last, so that a type checker on Windows finds the names above.
if sys.platform == "win32":
    raise ImportError("npdata maps files as Linux and macOS do; on Windows, use it in WSL")
