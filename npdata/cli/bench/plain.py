"""The rows without npdata: what NumPy and h5py give, as everyone writes it.

Idea: arrays opened by NumPy and h5py themselves are the oracle of every other method, and what it
is compared with. Invariant: no row passes through a source of npdata; only dtypes that torch lacks
are converted by its rule. HDF5 is opened anew for every pass.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from npdata.arrays.convert import as_tensor
from npdata.arrays.dtypes import NATIVE

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class PlainFile:
    """Where an array is found without npdata; `dtype`, `shape` and `offset` are of raw files."""

    path: str
    format: str
    member: str | None
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int


@contextmanager
def opened(files: Sequence[PlainFile]) -> Iterator[list[Any]]:
    """Open each as an `np.ndarray`, an `np.memmap` or an `h5py.Dataset`."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(h5py.File(file.path))[file.member]
            if file.format == "hdf5"
            else _loaded(file)
            for file in files
        ]


@functools.lru_cache(maxsize=8)
def _loaded(file: PlainFile) -> Any:
    """Open what NumPy reads, once: a compressed member takes its time."""
    if file.format == "npy":
        return np.load(file.path, mmap_mode="r")
    if file.format == "npz":
        with np.load(file.path) as archive:
            return archive[file.member]
    return np.memmap(file.path, file.dtype, "r", file.offset, file.shape)


class RowByRow(Dataset[Any]):
    """The dataset of most tutorials: `array[i]` as a tensor, for each field."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        """Index `arrays`."""
        self._arrays = arrays

    def __getitem__(self, index: int) -> Any:
        """Give one sample, copied."""
        return tuple(_tensor(np.array(array[index])) for array in self._arrays)


def row_by_row(files: Sequence[PlainFile], batches: Iterable[Rows]) -> Iterator[Any]:
    """Give batches as a stock DataLoader makes them of single rows."""
    with opened(files) as arrays:
        lists = (rows.tolist() for rows in batches)
        yield from DataLoader(RowByRow(arrays), batch_sampler=lists)


def sorted_batches(files: Sequence[PlainFile], batches: Iterable[Rows]) -> Iterator[Any]:
    """Give batches by h5py's slices and sorted fancy indices."""
    with opened(files) as datasets:
        for rows in batches:
            yield tuple(_tensor(sorted_read(dataset, rows)) for dataset in datasets)


def sorted_read(dataset: Any, rows: Rows) -> NDArray[Any]:
    """Read rows as h5py's documentation advises: one slice, or unique rows in sorted order."""
    first, stop = int(rows[0]), int(rows[0]) + len(rows)
    if np.array_equal(rows, np.arange(first, stop)):
        consecutive: NDArray[Any] = dataset[first:stop]
        return consecutive
    order = np.argsort(rows)
    found: NDArray[Any] = dataset[rows[order]]
    out = np.empty_like(found)
    out[order] = found
    return out


def _tensor(array: NDArray[Any]) -> Any:
    if array.dtype.isnative and array.dtype.name in NATIVE:
        return torch.from_numpy(array)
    return as_tensor(array, copy=True)
