"""The ways to read the same rows: as everyone writes it, by npdata, and with nothing around it.

Idea: a method reads batches of row numbers; arrays opened by NumPy and h5py themselves are the
oracle of every other one. Invariant: no row of a plain method passes through a source of npdata;
only dtypes that torch lacks are converted by its rule. HDF5 is opened anew for every pass, so that
none finds the chunks that an earlier one decoded. The bare operation is no method that one could
use: rows in place are gathered into one buffer, others are read in whole blocks and thrown away.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from npdata.arrays.convert import as_tensor
from npdata.arrays.dtypes import NATIVE
from npdata.cli.bench.report import Conditions, Method
from npdata.cli.bench.target import Opener, Target
from npdata.cli.console import bytes_text, count_text, interrupts_wait
from npdata.dataset.collate import collate
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.loading.loader import Loader
from npdata.loading.prefetcher import Prefetcher
from npdata.loading.readahead import take_batches
from npdata.sources.base import Source

Rows = NDArray[np.int64]
FIRST_ROW: Rows = np.zeros(1, np.int64)
Batches = Callable[[], Iterable[Rows]]
"""Gives the batches of an epoch, from the first one on."""
_BARE_ROWS = 1 << 22
"""The row numbers of so many rows are made before the bare operation begins."""


def methods_of(about: Conditions, *, helpers: int) -> tuple[list[Method], list[str]]:
    """Give the methods to compare, the plain one first, and why others are left out."""
    library = "h5py" if about.hdf5 else "NumPy"
    methods = [Method(kind="plain", name=f"{library}, row by row")]
    if about.hdf5:
        methods.append(Method(kind="h5py", name="h5py, sorted batches"))
    methods.append(Method(kind="dataloader", name="DataLoader, 0 workers"))
    methods.append(Method(kind="loader", name="Loader, 0 threads"))
    if not helpers:
        return methods, []
    threads = f"Loader, {count_text(helpers, 'thread')}"
    methods.append(Method(kind="loader", name=threads, helpers=helpers))
    workers = f"DataLoader, {count_text(helpers, 'worker')}"
    # Each worker makes one batch and has another ready, and one is with the loop.
    needed, free = about.batch_bytes * (2 * helpers + 1), about.shared_bytes
    if free is not None and needed > free:
        why = f"its batches take {bytes_text(needed)} of shared memory, of which {bytes_text(free)}"
        return methods, [f"{workers}: {why} are free"]
    return [*methods, Method(kind="dataloader", name=workers, helpers=helpers)], []


def read(method: Method, target: Target, batches: Batches) -> Iterator[Any]:
    """Read batches by a method, which is not the bare operation: one row, then epoch after epoch.

    What begins a pass (opening, processes, threads) is over when that row arrives, and is not
    taken for the reading of a first batch.
    """
    epoch: Any = batches()
    if method.kind == "plain":
        yield from _row_by_row(target.openers, _Endless(FIRST_ROW, epoch))
    elif method.kind == "h5py":
        yield from _sorted_batches(target.openers, _Endless(FIRST_ROW, epoch))
    elif method.kind == "loader":
        with target.opened() as dataset:
            first = collate(dataset.__getitems__(FIRST_ROW))
            # Of a sampler of npdata the Loader knows the order, and what it can gather together.
            with Loader(dataset, sampler=epoch, num_threads=method.helpers) as loader:
                yield from _Endless(first, loader)
    else:
        with target.opened() as dataset:
            loaded: DataLoader[Any] = DataLoader(
                dataset,
                batch_sampler=_Endless(FIRST_ROW, epoch),
                collate_fn=collate,
                num_workers=method.helpers,
            )
            # The iterator starts the processes.
            with interrupts_wait():
                iterator = iter(loaded)
            yield from iterator


class _Endless:
    """A first batch, and epoch after epoch, for which no process starts anew."""

    def __init__(self, first: Any, epoch: Iterable[Any]) -> None:
        self._first, self._epoch = first, epoch

    def __iter__(self) -> Iterator[Any]:
        yield self._first
        while True:
            yield from self._epoch


class _RowByRow(Dataset[Any]):
    """The dataset of most tutorials: `array[i]` as a tensor, for each field."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = arrays

    def __getitem__(self, index: int) -> Any:
        return tuple(_tensor(np.array(array[index])) for array in self._arrays)


def _row_by_row(openers: Sequence[Opener], batches: Iterable[Rows]) -> Iterator[Any]:
    """Give batches as a stock DataLoader makes them of single rows."""
    with ExitStack() as stack:
        arrays = [opened(stack) for opened in openers]
        lists: Any = (rows.tolist() for rows in batches)
        yield from DataLoader(_RowByRow(arrays), batch_sampler=lists)


def _sorted_batches(openers: Sequence[Opener], batches: Iterable[Rows]) -> Iterator[Any]:
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


def bare_method(sources: Sequence[Source]) -> Method:
    """Name the bare operation that these sources are measured against."""
    name = "bare reading, blocks" if _views(sources) is None else "bare gather"
    return Method(kind="roofline", name=name)


def bare(target: Target, batches: Batches, *, rows: int, threads: int) -> Iterator[Any]:
    """Read with nothing around it, again and again; what it gives has only the right length."""
    views = _views(target.dataset.sources)
    if views is not None:
        numbers = take_batches(iter(batches()), _BARE_ROWS)
        yield from gather(views, itertools.cycle(numbers), most=max(map(len, numbers)))
    while True:
        with target.opened() as dataset, closing(_blocks(dataset, rows, threads)) as blocks:
            yield from blocks


def gather(
    views: Sequence[Tensor], batches: Iterable[Rows], *, most: int, buffers: int = 1
) -> Iterator[tuple[Tensor, ...]]:
    """Copy the rows of each batch by one `index_select` a tensor, into `buffers` used in turn.

    `most` is the largest number of rows of a batch.

    Examples:
        >>> batches = [np.array([8, 3]), np.array([0])]
        >>> [x.tolist() for x, in gather([torch.arange(9)], batches, most=2)]
        [[8, 3], [0]]
    """
    outs = [[view.new_empty(most, *view.shape[1:]) for view in views] for _ in range(buffers)]
    for rows, pair in zip(batches, itertools.cycle(outs), strict=False):
        index = torch.from_numpy(rows)
        yield tuple(
            torch.index_select(view, 0, index, out=out[: len(rows)])
            for view, out in zip(views, pair, strict=True)
        )


def _views(sources: Sequence[Source]) -> list[Tensor] | None:
    """Give the rows of all sources as tensors, where they lie in place."""
    tables = [source.table for source in sources]
    views = [table.view for table in tables if table is not None and table.view is not None]
    return views if len(views) == len(sources) else None


def _blocks(dataset: NumpyDataset, rows: int, threads: int) -> "Prefetcher[int, Tensor]":
    """Read the rows once, in whole blocks and in their order; give a tensor as long as each."""
    mine = threading.local()
    block_rows = dataset.blocks.block_rows[0]

    def block(first: int) -> Tensor:
        if not hasattr(mine, "outs"):
            mine.outs = [
                np.empty((block_rows, *source.shape[1:]), source.dtype)
                for source in dataset.sources
            ]
        count = min(block_rows, rows - first)
        for source, out in zip(dataset.sources, mine.outs, strict=True):
            source.read_run(first, out[:count])
        return torch.empty(count, 0)

    firsts = range(0, rows, block_rows)
    return Prefetcher(block, firsts, threads=threads, depth=2 * threads)
