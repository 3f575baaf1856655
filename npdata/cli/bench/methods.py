"""The ways to read the same rows: as everyone writes it, and by npdata.

Idea: a method reads batches of row numbers; arrays opened by NumPy and h5py themselves are the
oracle of every other one. Invariant: no row of a plain method passes through a source of npdata;
only dtypes that torch lacks are converted by its rule. HDF5 is opened anew for every pass, so that
none finds the chunks that an earlier one decoded.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from npdata.arrays.convert import as_tensor
from npdata.arrays.dtypes import NATIVE, Ints
from npdata.cli.bench.report import Conditions, Method
from npdata.cli.bench.target import Target
from npdata.cli.console import bytes_text, count_text
from npdata.cli.signals import interrupts_wait
from npdata.dataset.collate import collate
from npdata.loading.loader import Loader

FIRST_ROW: Ints = np.zeros(1, np.int64)
Batches = Callable[[], Iterable[Ints]]
"""Gives the batches of an epoch, from the first one on."""


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
    """Read batches by a method: one row, then epoch after epoch.

    What begins a pass (opening, processes, threads) is over when that row arrives, and is not
    taken for the reading of a first batch.
    """
    epoch: Any = batches()
    if method.kind == "loader":
        with target.opened() as dataset:
            first = collate(dataset.__getitems__(FIRST_ROW))
            # Of a sampler of npdata the Loader knows the order, and what it can gather together.
            with Loader(dataset, sampler=epoch, num_threads=method.helpers) as loader:
                yield from _endless(first, loader)
        return
    with ExitStack() as stack:
        loaded = _loaded(method, target, _endless(FIRST_ROW, epoch), stack)
        iterator = None
        try:
            with interrupts_wait():  # it starts the processes
                iterator = iter(loaded)
            yield from iterator
        finally:
            with interrupts_wait():  # its finalizer waits for them
                del iterator


def _loaded(
    method: Method, target: Target, numbers: Iterator[Any], stack: ExitStack
) -> Iterable[Any]:
    """Give what reads batches of these row numbers, of files that are open as long as `stack`."""
    if method.kind == "dataloader":
        dataset = stack.enter_context(target.opened())
        return DataLoader(
            dataset, batch_sampler=numbers, collate_fn=collate, num_workers=method.helpers
        )
    arrays = [opened(stack) for opened in target.openers]
    if method.kind == "plain":
        return DataLoader(_RowByRow(arrays), batch_sampler=(r.tolist() for r in numbers))
    return (tuple(_tensor(sorted_read(a, r)) for a in arrays) for r in numbers)


def _endless(first: Any, epoch: Iterable[Any]) -> Iterator[Any]:
    """Give a first batch, and epoch after epoch, for which no process starts anew."""
    yield first
    while True:
        yield from epoch


class _RowByRow(Dataset[Any]):
    """The dataset of most tutorials: `array[i]` as a tensor, for each field."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = arrays

    def __getitem__(self, index: int) -> Any:
        return tuple(_tensor(np.array(array[index])) for array in self._arrays)


def sorted_read(dataset: Any, rows: Ints) -> NDArray[Any]:
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
