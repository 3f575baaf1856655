"""How the start and the speed of a shuffled epoch grow with the number of rows, up to 10⁹.

The file holds at each row the number of that row, so every batch can be checked: each value once
at most, and with a sampler of npdata just the rows that it names. Passes are the first thousand
batches of an epoch, or the epoch if it has less.
"""

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import npdata
from benchmarks.harness import Bench, Candidate, Timing, rates
from benchmarks.report import Cell, Chart, Column, Section, Table, measured
from benchmarks.timing import in_turns
from npdata.cli.bench.candidate import RowsDifferError, leaves

BATCH, BATCHES = 256, 1000
COUNTS = (10**5, 10**6, 10**7, 10**8, 10**9)
MOST_FOR_TORCH = 10**7
"""torch's RandomSampler makes a list of all rows first: 5 GB and 11 s for 10⁸."""


def write(path: Path, rows: int) -> None:
    """Write the numbers of the rows as uint32, piece by piece."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<u4", "fortran_order": False, "shape": (rows,)}
        )
        for first in range(0, rows, 1 << 22):
            np.arange(first, min(rows, first + (1 << 22)), dtype="<u4").tofile(file)


def entered(path: Path, rows: int) -> list[tuple[Candidate, Iterable[np.ndarray] | None]]:
    """Give who takes part, and the rows that it should give where they are known."""
    dataset = npdata.NumpyDataset(path)
    found: list[tuple[Candidate, Iterable[np.ndarray] | None]] = []
    for shuffle in ("full", "block"):
        sampler = npdata.BlockBatchSampler(dataset, BATCH, shuffle=shuffle)
        found.append(
            (
                Candidate(
                    name=f"npdata Loader, {shuffle} shuffle",
                    batches=_loader(dataset, shuffle),
                ),
                sampler,
            )
        )
    if rows <= MOST_FOR_TORCH:
        tensors = TensorDataset(torch.from_numpy(np.load(path, mmap_mode="c")))
        found.append(
            (
                Candidate(
                    name="TensorDataset, shuffle=True",
                    batches=lambda: first_of(DataLoader(tensors, BATCH, shuffle=True)),
                ),
                None,
            )
        )
    return found


def _loader(dataset: npdata.NumpyDataset, shuffle: Any) -> Callable[[], Iterable[Any]]:
    return lambda: first_of(npdata.Loader(dataset, BATCH, shuffle=shuffle))


def first_of(batches: Iterable[Any]) -> Iterator[Any]:
    """Give the first batches; what makes them ends with the iterator, which nothing else holds."""
    yield from itertools.islice(batches, BATCHES)


def check(candidate: Candidate, expected: Iterable[np.ndarray] | None, batches: int = 50) -> None:
    """Raise `RowsDifferError` unless its first batches are rows of the file, as they should be."""
    got = [_values(batch) for batch in itertools.islice(candidate.batches(), batches)]
    if expected is not None:
        for number, (values, rows) in enumerate(zip(got, expected, strict=False)):
            if not np.array_equal(values, rows):
                raise RowsDifferError(f"{candidate.name} gives other rows in batch {number}")
    every = np.concatenate(got)
    if len(np.unique(every)) != len(every):
        raise RowsDifferError(f"{candidate.name} gives a row twice")


def _values(batch: Any) -> np.ndarray:
    (leaf,) = leaves(batch)
    tensor: Tensor = leaf
    return tensor.view(torch.int32).numpy().astype(np.int64)


def one_size(path: Path, rows: int, rounds: int) -> dict[str, Timing]:
    """Write the file, check and time all on it, and take it away."""
    try:
        write(path, rows)
        candidates = entered(path, rows)
        for candidate, expected in candidates:
            check(candidate, expected)
        return in_turns([candidate for candidate, _ in candidates], rounds=rounds)
    finally:
        path.unlink(missing_ok=True)


def run(bench: Bench, counts: tuple[int, ...] = COUNTS) -> list[Section]:
    """Measure, and give the sections of the report."""
    starts: list[tuple[Cell, ...]] = []
    going: list[tuple[Cell, ...]] = []
    names: list[str] = []
    left_out = []
    for rows in counts[:3] if bench.quick else counts:
        if shutil.disk_usage(bench.folder).free < 8 * rows:
            left_out.append(f"{rows:,} rows: the disk has no room for them")
            continue
        timings = one_size(bench.folder / "rows.npy", rows, bench.rounds)
        names = names or list(timings)
        first = {name: measured([p.first * 1e3 for p in t.passes]) for name, t in timings.items()}
        starts.append((float(rows), *(first.get(name) for name in names)))
        rate = {name: rates(timing, steady=True) for name, timing in timings.items()}
        going.append((float(rows), *(rate.get(name) for name in names)))
    note = (
        f"Rows of 4 bytes, batches of {BATCH}. A pass is the first {BATCHES:,} batches. "
        f"torch's RandomSampler is left out above {MOST_FOR_TORCH:,} rows: it makes a list of all "
        "of them first. " + " ".join(left_out)
    )
    return [
        _section("rows-start", "Time to the first batch, by number of rows", note, starts, names),
        _section("rows", "Speed by number of rows", note, going, names),
    ]


def _section(
    name: str, title: str, note: str, rows: list[tuple[Cell, ...]], names: list[str]
) -> Section:
    start = name == "rows-start"
    form = ".2f" if start else ",.0f"
    columns = (Column(name="rows", format=",.0f"), *(Column(name=n, format=form) for n in names))
    chart = Chart(
        kind="lines",
        file=f"bench-{name}.svg",
        x="rows of the file",
        y="ms to the first batch" if start else "rows/s",
        series=tuple(names),
    )
    return Section(
        name=name,
        title=title,
        note=note.strip(),
        table=Table(columns=columns, rows=tuple(rows)),
        charts=(chart,),
    )
