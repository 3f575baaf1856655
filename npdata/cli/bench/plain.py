"""The rows without npdata: what NumPy and h5py give, as everyone writes it.

Idea: arrays opened by NumPy and h5py themselves are the oracle of every other method, and what it
is compared with. Invariant: no row passes through a source of npdata; only dtypes that torch lacks
are converted by its rule. HDF5 is opened anew for every pass.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from npdata.arrays.convert import as_tensor
from npdata.arrays.dtypes import NATIVE
from npdata.sources.open import Identified

Rows = NDArray[np.int64]
Opener = Callable[[ExitStack], Any]
"""Gives an `np.ndarray`, an `np.memmap` or an `h5py.Dataset`, open as long as the stack."""


def opener(found: Identified, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> Opener:
    """Open an array by its own library; `dtype`, `shape` and `offset` are of raw files.

    What NumPy reads is opened once: a compressed member takes its time.
    """
    if found.format == "hdf5":
        return lambda stack: stack.enter_context(h5py.File(found.path))[found.member]
    if found.format == "npy":
        array = np.load(found.path, mmap_mode="r")
    elif found.format == "npz":
        with np.load(found.path) as archive:
            array = archive[found.member]
    else:
        array = np.memmap(found.path, dtype, "r", offset, shape)
    return lambda stack: array


class RowByRow(Dataset[Any]):
    """The dataset of most tutorials: `array[i]` as a tensor, for each field."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        """Index `arrays`."""
        self._arrays = arrays

    def __getitem__(self, index: int) -> Any:
        """Give one sample, copied."""
        return tuple(_tensor(np.array(array[index])) for array in self._arrays)


def row_by_row(openers: Sequence[Opener], batches: Iterable[Rows]) -> Iterator[Any]:
    """Give batches as a stock DataLoader makes them of single rows."""
    with ExitStack() as stack:
        arrays = [opened(stack) for opened in openers]
        lists = (rows.tolist() for rows in batches)
        yield from DataLoader(RowByRow(arrays), batch_sampler=lists)


def sorted_batches(openers: Sequence[Opener], batches: Iterable[Rows]) -> Iterator[Any]:
    """Give batches by h5py's slices and sorted fancy indices."""
    with ExitStack() as stack:
        datasets = [opened(stack) for opened in openers]
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
