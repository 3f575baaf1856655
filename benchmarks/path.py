"""The way of one batch, counted: Python calls of each layer, and processor time.

Calls are counted by `sys.setprofile`, in the middle of an epoch, and are the same in every run,
as no clock is. Batches are of two mapped fields, of 64 rows of 32 float32 and a label.
"""

import collections
import gc
import os
import sys
import time
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import npdata
from benchmarks.harness import Bench
from benchmarks.report import Column, Measured, Ratio, Section, Table, measured

ROWS, WIDTH, BATCH = 16_384, 32, 64
PACKAGE = str(Path(npdata.__file__).parent) + os.sep
LAYERS = ("others", "loading", "sampling", "dataset", "sources", "arrays", "runtime")
BEFORE = {"DataLoader with npdata.collate": 83, "Loader, 0 threads": 61}
"""The calls before the way was shortened, counted likewise, on 2026-11-26."""
GOALS = {"DataLoader with npdata.collate": 40, "Loader, 0 threads": 30, "Loader": 3}


class Floor(Dataset[Any]):
    """The least that a dataset of two mapped files does: look at each file, and `index_select`."""

    def __init__(self, folder: Path) -> None:
        self.files = [os.open(folder / f"{name}.npy", os.O_RDONLY) for name in "xy"]
        for file in self.files:
            weakref.finalize(self, os.close, file)
        maps = [np.load(folder / f"{name}.npy", mmap_mode="c") for name in "xy"]
        self.fields = [torch.from_numpy(each) for each in maps]

    def __len__(self) -> int:
        return len(self.fields[0])

    def __getitems__(self, rows: np.ndarray) -> Any:
        numbers, batch = torch.from_numpy(rows), []
        for file, field in zip(self.files, self.fields, strict=True):
            os.fstat(file)
            batch.append(field.index_select(0, numbers))
        return batch


def as_it_is(batch: Any) -> Any:
    """Collate nothing."""
    return batch


def calls(loader: Iterable[Any], batches: int = 64) -> dict[str, float]:
    """Count the Python calls of a batch, by the layer that they are in.

    It begins at the 64th batch, in the middle of what is gathered or numbered together.
    """
    iterator, found = iter(loader), collections.Counter[str]()
    for _ in range(64):
        next(iterator)

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            name = frame.f_code.co_filename
            inside = name.startswith(PACKAGE)
            found[Path(name[len(PACKAGE) :]).parts[0] if inside else "others"] += 1

    # To collect garbage may call finalizers, of what was there before.
    gc.disable()
    sys.setprofile(count)
    try:
        for _ in range(batches):
            next(iterator)
    finally:
        sys.setprofile(None)
        gc.enable()
    return {layer: found[layer] / batches for layer in LAYERS}


def write(folder: Path, rows: int) -> None:
    """Write the two fields."""
    np.save(folder / "x.npy", np.random.default_rng(0).random((rows, WIDTH), np.float32))
    np.save(folder / "y.npy", np.arange(rows))


def ways(folder: Path) -> dict[str, Iterable[Any]]:
    """Give the loaders, all of the same batches."""
    dataset = npdata.NumpyDataset(folder / "x.npy", folder / "y.npy")

    def sampler() -> npdata.BlockBatchSampler:
        return npdata.BlockBatchSampler(dataset, BATCH, shuffle="full", seed=1)

    floor = DataLoader(Floor(folder), batch_sampler=sampler(), collate_fn=as_it_is)
    stock = DataLoader(dataset, batch_sampler=sampler(), collate_fn=npdata.collate)
    return {
        "fstat and index_select, DataLoader": floor,
        "DataLoader with npdata.collate": stock,
        "Loader, 0 threads": npdata.Loader(dataset, sampler=sampler(), num_threads=0),
        "Loader": npdata.Loader(dataset, sampler=sampler()),
    }


def microseconds(loaders: Sequence[Iterable[Any]], rounds: int) -> list[Measured]:
    """Give the processor time of a batch of each, in turns."""
    passes: list[list[float]] = [[] for _ in loaders]
    for _ in range(rounds):
        for found, loader in zip(passes, loaders, strict=True):
            start, batches = time.process_time(), sum(1 for _ in loader)
            found.append(1e6 * (time.process_time() - start) / batches)
    return [measured(found) for found in passes]


def require_same(loaders: Iterable[Iterable[Sequence[Tensor]]]) -> None:
    """See that all give the same batches."""
    for first, *others in zip(*loaders, strict=True):
        for other in others:
            assert all(map(torch.equal, first, other))


def run(bench: Bench, rows: int = ROWS) -> list[Section]:
    """Count and measure, and give the section of the report."""
    write(bench.folder, rows)
    loaders = ways(bench.folder)
    require_same(loaders.values())
    times = microseconds(list(loaders.values()), 4 * bench.rounds)
    counted = {name: calls(loader) for name, loader in loaders.items()}
    lines = [
        (name, *found.values(), sum(found.values()), BEFORE.get(name), spent)
        for (name, found), spent in zip(counted.items(), times, strict=True)
    ]
    floor, stock = times[0].median, times[1].median
    columns = (
        Column(name="calls of a batch, in"),
        *(Column(name=layer, format=".3g") for layer in LAYERS),
        Column(name="all", format=".3g"),
        Column(name="before", format=".0f"),
        Column(name="processor time, µs", format=".1f"),
    )
    ratios = [
        Ratio(what=f"calls, {name}", value=sum(counted[name].values()), goal=goal, most=True)
        for name, goal in GOALS.items()
    ]
    what = "processor time of a DataLoader with npdata.collate over the floor's"
    ratios.append(Ratio(what=what, value=stock / floor, goal=1.25, most=True))
    return [
        Section(
            name="path",
            title="The way of one batch",
            note="Python calls of a batch of two mapped fields, 64 rows of 128 and of 8 bytes, by "
            "the folder of npdata that they are in; `others` are torch and NumPy. The floor is a "
            "dataset that asks each file for its size and selects its rows.",
            table=Table(columns=columns, rows=tuple(lines)),
            ratios=tuple(ratios),
        )
    ]
