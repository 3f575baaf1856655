"""Large batches: from workers, through a transform of samples, and normalized.

The system clears each page of new memory, which takes longer than all else of a large batch. Beside
npdata stands what people write: a dataset that gathers each batch by one call, one that reads a
sample at a time, and a loop over the rows of an array.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import npdata
from benchmarks.harness import Bench, Candidate, compare, rates, ratio
from benchmarks.report import Column, Measured, Ratio, Section, Table

BATCH, BYTES = 256, 1 << 29
WIDTHS = (784, 12_288, 49_152)
"""Numbers in a row: of 28 x 28, 3 x 64 x 64 and 3 x 128 x 128."""


class Batches(Dataset[Any]):
    """Gives a batch by one call, which torch sends from a worker."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, rows: list[int]) -> Tensor:
        return self.x.index_select(0, torch.tensor(rows))


class Samples(Dataset[Any]):
    """Gives a sample at a time, changed as `mirrored` does."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> Tensor:
        return mirrored(self.x[row])


def mirrored(sample: Tensor) -> Tensor:
    """Change a sample, as augmentation does."""
    return sample.flip(0)


def as_it_is(batch: Any) -> Any:
    """Give what the dataset gave."""
    return batch


def rows_of(count: int) -> list[list[int]]:
    """Give batches in random order, at least 24 of them."""
    order = np.random.default_rng(0).permutation(count)[: count // BATCH * BATCH]
    batches = order.reshape(-1, BATCH).tolist()
    return list(itertools.islice(itertools.cycle(batches), max(24, len(batches))))


def by_workers(name: str, dataset: Dataset[Any], rows: Any, collate: Any) -> Candidate:
    """Give two workers, which live for all passes as they do for all epochs."""
    loader = DataLoader(
        dataset, batch_sampler=rows, collate_fn=collate, num_workers=2, persistent_workers=True
    )
    return Candidate(name=name, batches=lambda: loader)


def by_loader(dataset: npdata.NumpyDataset, rows: Any) -> Candidate:
    """Give a Loader that lives for all passes."""
    loader = npdata.Loader(dataset, sampler=rows)
    return Candidate(name="Loader", batches=lambda: loader)


def from_workers(data: np.ndarray[Any, Any], bench: Bench) -> list[Measured | float]:
    """Measure batches that a worker gathers by one call."""
    rows = rows_of(len(data))
    usual, ours = "torch's way", "npdata.collate"
    found = compare(
        [
            by_workers(usual, Batches(torch.from_numpy(data)), rows, as_it_is),
            by_workers(ours, npdata.NumpyDataset(data), rows, npdata.collate),
        ],
        rounds=bench.rounds,
    )
    return [rates(found[usual]), rates(found[ours]), ratio(found[ours], found[usual])]


def transformed(data: np.ndarray[Any, Any], bench: Bench) -> list[Measured | float]:
    """Measure batches of samples that a function changes."""
    rows, plain = rows_of(len(data)), Samples(torch.from_numpy(data))
    dataset = npdata.NumpyDataset(data, transform=mirrored)
    usual, collated, ours = "default_collate", "npdata.collate", "NumpyDataset"
    found = compare(
        [
            by_workers(usual, plain, rows, None),
            by_workers(collated, plain, rows, npdata.collate),
            by_workers(ours, dataset, rows, npdata.collate),
            by_loader(dataset, rows),
        ],
        rounds=bench.rounds,
    )
    timings = found[usual], found[collated], found[ours], found["Loader"]
    return [*map(rates, timings), ratio(found[ours], found[usual])]


def normalized(data: np.ndarray[Any, Any], bench: Bench) -> list[Measured | float]:
    """Measure batches of bytes that become floats of mean 0 and deviation 1."""
    rows = rows_of(len(data))
    statistics = npdata.NumpyDataset(x=data[:BATCH]).statistics()
    figures = statistics["x"]
    mean, std = torch.tensor(float(figures.mean)), torch.tensor(float(figures.std))
    dataset = npdata.NumpyDataset(x=data, batch_transform=npdata.normalize(statistics, "x"))

    def usual() -> Iterator[Any]:
        for each in rows:
            yield {"x": (torch.from_numpy(data[each]).float() - mean) / std}

    found = compare(
        [Candidate(name="data[rows]", batches=usual), by_loader(dataset, rows)],
        rounds=bench.rounds,
    )
    timings = found["data[rows]"], found["Loader"]
    return [*map(rates, timings), ratio(*reversed(timings))]


def run(bench: Bench, nbytes: int = BYTES, widths: Iterable[int] = WIDTHS) -> list[Section]:
    """Measure, and give the sections of the report."""
    lines: dict[str, list[tuple[Any, ...]]] = {"workers": [], "transform": [], "normalize": []}
    for width in widths:
        size = f"{BATCH * width * 4 / (1 << 20):.3g} MiB"
        count = max(2 * BATCH, nbytes // 4 // width)
        data = np.random.default_rng(0).random((count, width), np.float32)
        lines["workers"].append((size, *from_workers(data, bench)))
        lines["transform"].append((size, *transformed(data, bench)))
        data = (data * 256).astype(np.uint8)
        lines["normalize"].append((size, *normalized(data, bench)))
        bench.say(f"batches of {size}: {lines['workers'][-1][-1]:.1f} times torch's way")
    heads = {
        "workers": ("Large batches from two workers", "torch's way", "npdata.collate"),
        "transform": (
            "Large batches through a transform of samples",
            "class, default_collate",
            "class, npdata.collate",
            "NumpyDataset, npdata.collate",
            "Loader",
        ),
        "normalize": ("Large batches of bytes, normalized", "data[rows]", "Loader"),
    }
    notes = {
        "workers": "A dataset gathers each batch by one call; rows/s.",
        "transform": "The function mirrors a sample. The class reads and changes a sample at a "
        "time. All but Loader have 2 workers; rows/s. The ratio is of NumpyDataset over the class.",
        "normalize": "The bytes become float32, of the size of the batch; rows/s.",
    }
    return [
        Section(
            name=f"large-{name}",
            title=heads[name][0],
            note=f"Batches of {BATCH} rows in random order, from memory. {notes[name]}",
            table=Table(
                columns=(
                    Column(name="batch"),
                    *(Column(name=side, format=",.0f") for side in heads[name][1:]),
                    Column(name="times as fast"),
                ),
                rows=tuple(rows),
            ),
            ratios=tuple(
                Ratio(what=f"batches of {row[0]}, times as fast", value=row[-1], goal=None)
                for row in rows
            ),
        )
        for name, rows in lines.items()
    ]
