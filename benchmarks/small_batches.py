"""Small batches: `Loader` beside `randperm` with `index_select`, and beside torch's own classes.

Each side makes every batch of an epoch; that all give every row once, with its label, is checked
first. The recipe runs on one core, and `Loader` on all: there are ratios of the time that passes,
and of the time of all processors.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

import npdata
from benchmarks.harness import Bench
from benchmarks.report import Column, Ratio, Section, Table, measured

ROWS, WIDTH = 1_000_000, 32
GOALS = {64: 3.0, 256: 2.0, 1024: 1.3}
ROW_BY_ROW_GOAL = 40.0
Batches = Callable[[], Iterable[Any]]


def recipe(x: torch.Tensor, y: torch.Tensor, size: int) -> Iterator[Any]:
    """Give batches the usual way, where the tensors are."""
    order = torch.randperm(len(x), device=x.device)
    for first in range(0, len(x), size):
        rows = order[first : first + size]
        yield x.index_select(0, rows), y.index_select(0, rows)


def check(batches: Iterable[Any], x: torch.Tensor) -> None:
    """See that every row comes once, with its label."""
    rows, labels = map(torch.cat, zip(*batches, strict=True))
    assert torch.equal(labels.sort()[0], torch.arange(len(x)))
    assert torch.equal(rows, x[labels])


def seconds(batches: Batches, count: int | None = None) -> tuple[float, float]:
    """Give the time that a pass takes, and that of all processors, for a batch of it."""
    start, spent, made = time.perf_counter(), time.process_time(), 0
    for _ in itertools.islice(batches(), count):
        made += 1
    return (time.perf_counter() - start) / made, (time.process_time() - spent) / made


CASTS = (
    (128, 784, "uint8", "float32"),
    (512, 784, "uint8", "float32"),
    (64, 1025, "uint16", "int64"),
    (64, 2049, "uint16", "int64"),
)
"""Batches that are cast: their shape, and the dtypes before and after."""


def casts(bench: Bench, nbytes: int) -> Section:
    """Measure batches of whole numbers that become larger ones, out of a `.npy`."""
    lines = []
    for size, width, stored, wanted in CASTS:
        count = max(2 * size, nbytes // width // np.dtype(stored).itemsize)
        data = np.random.default_rng(0).integers(0, 256, (count, width)).astype(stored)
        path = bench.folder / f"{stored}-{width}.npy"
        np.save(path, data)
        dataset = npdata.NumpyDataset(path, dtype=wanted)
        loader = npdata.Loader(dataset, size, shuffle=True, seed=1)
        single = npdata.Loader(dataset, size, shuffle=True, seed=1, num_threads=0)

        def indexed(
            data: Any = data, wanted: str = wanted, size: int = size
        ) -> Iterator[torch.Tensor]:
            order = np.random.default_rng(1).permutation(len(data))
            for first in range(0, len(data), size):
                yield torch.from_numpy(data[order[first : first + size]].astype(wanted))

        for ours, one in zip(loader, single, strict=True):
            assert torch.equal(ours, one)
        passes = [
            (seconds(indexed)[0], seconds(lambda s=single: s)[0], seconds(lambda o=loader: o)[0])
            for _ in range(2 * bench.rounds)
        ]
        lines.append(
            (
                f"{size} x {width:,}",
                f"{stored}, as {wanted}",
                *(measured([1e6 * times[side] for times in passes]) for side in range(3)),
                measured([usual / ours for usual, _, ours in passes]),
                measured([one / ours for _, one, ours in passes]),
            )
        )
        bench.say(
            f"{size} x {width:,} {stored} as {wanted}: {lines[-1][-1].median:.2f} times one by one"
        )
    columns = (
        Column(name="batch"),
        Column(name="numbers"),
        Column(name="data[rows].astype, µs", format=",.1f"),
        Column(name="num_threads=0, µs", format=",.1f"),
        Column(name="Loader, µs", format=",.1f"),
        Column(name="times data[rows].astype"),
        Column(name="times num_threads=0"),
    )
    return Section(
        name="casts",
        title="Batches of whole numbers that become larger ones",
        note=f"{nbytes:.0e} bytes of a `.npy`, in random order; the usual way has them in memory.",
        table=Table(columns=columns, rows=tuple(lines)),
    )


def run(bench: Bench, rows: int = ROWS) -> list[Section]:
    """Measure and give the sections of the report."""
    data = np.random.default_rng(0).random((rows, WIDTH), np.float32)
    labels = np.arange(rows)
    np.save(bench.folder / "x.npy", data)
    x, y = torch.from_numpy(data), torch.from_numpy(labels)
    dataset = npdata.NumpyDataset(data, labels)
    mapped = npdata.NumpyDataset(bench.folder / "x.npy", labels)
    lines, ratios = [], []
    for size, goal in GOALS.items():
        full = npdata.Loader(dataset, size, shuffle=True, seed=1)
        block = npdata.Loader(mapped, size, shuffle="block", seed=1)
        stock = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=True)
        for each in (full, block, recipe(x, y, size)):
            check(each, x)
        few = max(1, len(stock) // 50)
        passes = [
            (
                seconds(lambda size=size: recipe(x, y, size)),
                seconds(lambda full=full: full),
                seconds(lambda block=block: block),
                seconds(lambda stock=stock: stock, few),
            )
            for _ in range(2 * bench.rounds)
        ]
        over = {
            "recipe": measured([usual[0] / ours[0] for usual, ours, _, _ in passes]),
            "processor": measured([usual[1] / ours[1] for usual, ours, _, _ in passes]),
            "rows": measured([row[0] / ours[0] for _, ours, _, row in passes]),
            "block": measured([ours[0] / block[0] for _, ours, block, _ in passes]),
        }
        spent = measured([1e6 * ours[0] for _, ours, _, _ in passes])
        lines.append((size, spent, *over.values()))
        what = f"batches of {size:,}: times the recipe"
        ratios.append(Ratio(what=what, value=over["recipe"].median, goal=goal))
        what = f"batches of {size:,}: times TensorDataset in a DataLoader"
        ratios.append(Ratio(what=what, value=over["rows"].median, goal=ROW_BY_ROW_GOAL))
        what = f"batches of {size:,}: block shuffle from .npy over full from memory"
        ratios.append(Ratio(what=what, value=over["block"].median, goal=1.0))
        bench.say(f"batches of {size}: {over['recipe'].median:.2f} times the recipe")
    columns = (
        Column(name="batch", format=",d"),
        Column(name="Loader, µs a batch", format=",.1f"),
        Column(name="times the recipe"),
        Column(name="in processor time"),
        Column(name="times TensorDataset", format=",.0f"),
        Column(name="block, .npy / full, memory"),
    )
    return [
        Section(
            name="small-batches",
            title="Small batches in memory, beside randperm and index_select",
            note=f"{rows:,} rows of {WIDTH} float32 and a label. Ratios of pairs of passes, taken "
            "in turns.",
            table=Table(columns=columns, rows=tuple(lines)),
            ratios=tuple(ratios),
        ),
        casts(bench, nbytes=100 * rows),
    ]
