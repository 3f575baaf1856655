"""Small batches of rows in memory: `Loader` beside `randperm` with `index_select`.

Each side makes every batch of an epoch; that all give every row once, with its label, is checked
first. Figures are of processor time, in turns.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

import npdata
from benchmarks.harness import Bench
from benchmarks.report import Column, Section, Table, measured

ROWS, WIDTH = 1_000_000, 32
GOALS = {64: 3.0, 256: 2.0, 1024: 1.3}


def recipe(x: torch.Tensor, y: torch.Tensor, size: int) -> Iterator[Any]:
    """Give batches the usual way."""
    order = torch.randperm(len(x))
    for first in range(0, len(x), size):
        rows = order[first : first + size]
        yield x.index_select(0, rows), y.index_select(0, rows)


def check(batches: Iterable[Any], x: torch.Tensor) -> None:
    """See that every row comes once, with its label."""
    rows, labels = map(torch.cat, zip(*batches, strict=True))
    assert torch.equal(labels.sort()[0], torch.arange(len(x)))
    assert torch.equal(rows, x[labels])


def seconds(batches: Callable[[], Iterable[Any]]) -> float:
    """Give the processor time of a pass."""
    start = time.process_time()
    for _ in batches():
        pass
    return time.process_time() - start


def run(bench: Bench, rows: int = ROWS) -> list[Section]:
    """Measure and give the section of the report."""
    data = np.random.default_rng(0).random((rows, WIDTH), np.float32)
    labels = np.arange(rows)
    x, y = torch.from_numpy(data), torch.from_numpy(labels)
    dataset = npdata.NumpyDataset(data, labels)
    lines = []
    for size, goal in GOALS.items():
        loader = npdata.Loader(dataset, size, shuffle=True, seed=1)
        check(loader, x)
        check(recipe(x, y, size), x)
        pairs = [
            (seconds(lambda size=size: recipe(x, y, size)), seconds(lambda loader=loader: loader))
            for _ in range(bench.rounds)
        ]
        lines.append((size, measured([usual / ours for usual, ours in pairs]), goal))
        bench.say(f"batches of {size}: {lines[-1][1].median:.2f} times the recipe")
    columns = (
        Column(name="batch", format=",d"),
        Column(name="times as fast", format=",.2f"),
        Column(name="goal", format=",.1f"),
    )
    return [
        Section(
            name="small-batches",
            title="Small batches in memory, beside randperm and index_select",
            note="Ratios of processor time of an epoch, measured in turns.",
            table=Table(columns=columns, rows=tuple(lines)),
        )
    ]
