"""The Dataset that most projects write, one row a sample, and the two lines that replace it.

Both read the same rows in the same order, checked before anything is timed. Before: a DataLoader,
at its best of no worker and two. After: `npdata.Loader` with its defaults. README shows `Rows` as
it stands here.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch.utils.data import DataLoader, Dataset

import npdata
from benchmarks.harness import Bench, Candidate, rates
from benchmarks.page_cache import warm
from benchmarks.report import Column, Section, Table
from benchmarks.timing import in_turns
from npdata.cli.bench.candidate import require_same

WIDTH, BATCH, CHUNK, SECONDS, CHECKED = 784, 256, 256, 1.0, 2
FULL, BLOCKS = "full", "block"


class Rows(Dataset):  # noqa: D101
    def __init__(self, path):
        self.path, self.file = path, None
        with h5py.File(path) as file:
            self.length = len(file["y"])

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        if self.file is None:  # an open file cannot go to a worker
            self.file = h5py.File(self.path)
            self.x, self.y = self.file["x"], self.file["y"]
        return self.x[i], self.y[i]


class MappedRows(Dataset):
    """The same over two memory maps."""

    def __init__(self, folder: Path) -> None:
        self.x, self.y = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in "xy")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.int64]:
        return np.array(self.x[i]), self.y[i]


Kind = tuple[str, str, Callable[[], Dataset], Callable[[], npdata.NumpyDataset]]


def write(folder: Path, rows: int) -> list[Kind]:
    """Write the same rows in every form; give a name, an order, and the two datasets of each."""
    x = np.random.default_rng(0).integers(0, 256, (rows, WIDTH)).astype(np.float32) / 256
    y = np.arange(rows)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    for name, options in (("plain", {}), ("gzip", {"compression": 4, "shuffle": True})):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            chunks = (CHUNK, WIDTH) if options else None
            file.create_dataset("x", data=x, chunks=chunks, **options)
            file["y"] = y
    for path in folder.iterdir():
        warm(path)
    hdf5 = npdata.NumpyDataset.from_hdf5
    plain, gzip = folder / "plain.h5", folder / "gzip.h5"
    npy = [folder / "x.npy", folder / "y.npy"]
    return [
        (".npy", FULL, lambda: MappedRows(folder), lambda: npdata.NumpyDataset(*npy)),
        ("HDF5", FULL, lambda: Rows(plain), lambda: hdf5(plain, "x", "y")),
        ("HDF5, gzip", BLOCKS, lambda: Rows(gzip), lambda: hdf5(gzip, "x", "y")),
    ]


def passes(kind: Kind, rows: int) -> list[Candidate]:
    """Give the Dataset with no worker and with two, and npdata, over one order."""
    _, shuffle, before, after = kind
    order = npdata.BlockBatchSampler(rows, BATCH, shuffle=shuffle, block_rows=CHUNK)  # type: ignore[arg-type]
    batches = list(order)
    lists = [batch.tolist() for batch in batches]

    def by_dataloader(workers: int) -> Callable[[], Iterable[Any]]:
        return lambda: DataLoader(before(), batch_sampler=lists, num_workers=workers)

    def by_npdata() -> Iterable[Any]:
        # Opened anew, so that no chunk is decoded yet.
        return npdata.Loader(after(), sampler=batches)

    return [
        Candidate(name="0 workers", batches=by_dataloader(0)),
        Candidate(name="2 workers", batches=by_dataloader(2)),
        Candidate(name="after", batches=by_npdata),
    ]


def run(bench: Bench, rows: int = 100_000) -> list[Section]:
    """Measure, and give the section of the report."""
    table = []
    factors = []
    for kind in write(bench.folder, rows):
        candidates = passes(kind, rows)
        require_same(candidates, batches=CHECKED)
        timings = in_turns(candidates, rounds=bench.rounds, seconds=SECONDS)
        *before, after = map(rates, timings.values())
        best = max(before, key=lambda each: each.median)
        factors.append(after.median / best.median)
        table.append((kind[0], best, after, factors[-1]))
    columns = (
        Column(name=""),
        Column(name="before, rows/s", format=",.0f"),
        Column(name="after, rows/s", format=",.0f"),
        Column(name="times as fast", format=".0f"),
    )
    low, high = min(factors), max(factors)
    return [
        Section(
            name="before-after",
            title="A Dataset of single rows, and npdata",
            note=f"**{low:.0f} to {high:.0f} times as fast**, on the same rows in the same order: "
            f"{rows:,} rows of {WIDTH} float32 and a label, batches of {BATCH}, in random order, "
            "page cache warm. `before` is the better of 0 and 2 workers. gzip is read in a block "
            f"shuffle on both sides, in chunks of {CHUNK} rows.",
            table=Table(columns=columns, rows=tuple(table)),
        )
    ]
