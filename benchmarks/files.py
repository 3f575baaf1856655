"""Many files as one dataset: a folder of samples, and shards, beside what people write.

Every candidate gets the same rows in the same order, all files are warm, and all bytes of a batch
are touched. Opening is a time and not a ratio: there is nothing to compare it with.
"""

import pickle
import shutil
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import npdata
from benchmarks import peak
from benchmarks.harness import Bench, Candidate, rates
from benchmarks.page_cache import warm
from benchmarks.report import Cell, Column, Ratio, Section, Table
from benchmarks.timing import Timing, in_turns
from npdata.cli.bench.candidate import require_same

SECONDS, CHECKED = 0.5, 12
SAMPLES, SIDE, BATCH = 3000, 128, 64
SHARDS, SHARD_ROWS, WIDTH, ROW_BATCH = 200, 1000, 768, 256


class Files(Dataset[Any]):
    """The Dataset that people write: one `np.load` per sample."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.load(self.paths[index]))


class Maps(Dataset[Any]):
    """The same for shards: a memory map of each, and a row of one per sample."""

    def __init__(self, paths: list[str]) -> None:
        self.maps = [np.load(path, mmap_mode="r") for path in paths]
        self.starts = np.cumsum([0, *(len(each) for each in self.maps)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> torch.Tensor:
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return torch.from_numpy(np.array(self.maps[part][index - self.starts[part]]))


def run(bench: Bench) -> list[Section]:
    """Measure, and give the sections of the report."""
    return [stacked(bench), sharded(bench), opened(bench)]


def stacked(bench: Bench) -> Section:
    """Compare a folder of samples with one `np.load` per sample."""
    folder = bench.folder / "samples"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(SAMPLES):
        np.save(folder / f"x{k}.npy", rng.random((SIDE, SIDE), np.float32))
        warm(folder / f"x{k}.npy")
    begun = time.perf_counter()
    dataset = npdata.stack(folder)
    opening = time.perf_counter() - begun
    order = list(npdata.BlockBatchSampler(dataset, BATCH, shuffle="full"))
    files = Files(list(dataset.fields[0].paths))

    def plain(workers: int) -> Callable[[], Iterable[Any]]:
        lists = [rows.tolist() for rows in order]
        return lambda: DataLoader(files, batch_sampler=lists, num_workers=workers)

    ours, alone, two = "npdata.stack, Loader", "np.load, no worker", "np.load, 2 workers"
    found = _timed(
        bench,
        [
            Candidate(name=ours, batches=lambda: npdata.Loader(dataset, sampler=order)),
            Candidate(
                name="npdata.stack, DataLoader",
                batches=lambda: DataLoader(dataset, batch_sampler=order, collate_fn=npdata.collate),
            ),
            Candidate(name=alone, batches=plain(0)),
            Candidate(name=two, batches=plain(2)),
        ],
    )
    return Section(
        name="files",
        title="A folder of samples",
        note=f"{SAMPLES:,} `.npy` of 64 KiB, batches of {BATCH} in random order, warm.",
        table=_table(found, SIDE * SIDE * 4),
        ratios=(
            Ratio(what="over np.load with 2 workers", value=ratio_of(found, ours, two), goal=4),
            Ratio(what="over np.load without", value=ratio_of(found, ours, alone), goal=2),
            Ratio(what="seconds to open, all headers read", value=opening, goal=1, most=True),
        ),
    )


def sharded(bench: Bench) -> Section:
    """Compare shards with one file of the same rows, and with a list of memory maps."""
    rng = np.random.default_rng(0)
    x = rng.random((SHARDS * SHARD_ROWS, WIDTH), np.float32)
    np.save(bench.folder / "one.npy", x)
    for name, count in (("few", SHARDS), ("many", 5000)):
        (bench.folder / name).mkdir()
        for k, part in enumerate(np.array_split(x, count)):
            np.save(bench.folder / name / f"part-{k}.npy", part)
    del x
    for path in bench.folder.rglob("*.npy"):
        warm(path)
    shutil.copy(bench.folder / "one.npy", bench.folder / "small.npy")
    warm(bench.folder / "small.npy", small=True)
    one = npdata.NumpyDataset(bench.folder / "one.npy")
    few = npdata.concatenate(bench.folder / "few")
    many = npdata.concatenate(bench.folder / "many")
    maps = Maps(list(few.fields[0].paths))
    small = npdata.NumpyDataset(bench.folder / "small.npy")
    names = {"one file": one, "one file, small pages": small}
    names |= {f"{SHARDS} shards": few, "5,000 shards": many}
    timings = {}
    for shuffle in ("full", "block"):
        order = list(npdata.BlockBatchSampler(len(one), ROW_BATCH, shuffle=shuffle, block_rows=341))  # type: ignore[arg-type]
        candidates = [
            Candidate(name=name, batches=_loader(dataset, order)) for name, dataset in names.items()
        ]
        if shuffle == "full":
            lists = [rows.tolist() for rows in order]
            candidates.append(
                Candidate(
                    name="maps, row by row",
                    batches=lambda lists=lists: DataLoader(maps, batch_sampler=lists),  # type: ignore[misc]
                )
            )
        timings[shuffle] = _timed(bench, candidates)
    full, block = timings["full"], timings["block"]
    shards = f"{SHARDS} shards"
    columns = (Column(name=""), Column(name="full shuffle, rows/s", format=",.0f"))
    columns += (Column(name="block shuffle, rows/s", format=",.0f"),)
    rows: list[tuple[Cell, ...]] = [
        (name, rates(each), rates(block[name]) if name in block else None)
        for name, each in full.items()
    ]
    return Section(
        name="shards",
        title="Shards",
        note=f"{SHARDS * SHARD_ROWS:,} rows of 3 KiB, batches of {ROW_BATCH}, `Loader`, warm. "
        "Linux keeps a large file in pages of 2 MiB, and shards of 3 MiB in small ones; so the "
        "file is there once more in small pages.",
        table=Table(columns=columns, rows=tuple(rows)),
        ratios=(
            *(
                Ratio(what=what, value=ratio_of(found, shards, other), goal=goal)
                for what, found, other, goal in (
                    ("full shuffle, over one file", full, "one file", 0.6),
                    ("block shuffle, over one file", block, "one file", 0.9),
                    ("full shuffle, small pages", full, "one file, small pages", 0.6),
                    ("block shuffle, small pages", block, "one file, small pages", 0.9),
                    ("full shuffle, over maps row by row", full, "maps, row by row", 4),
                )
            ),
            Ratio(
                what="time of a batch of 5,000 shards over that of 200",
                value=ratio_of(full, shards, "5,000 shards"),
                goal=2,
                most=True,
            ),
        ),
    )


def opened(bench: Bench) -> Section:
    """Time the opening of very many files."""
    count = 10_000 if bench.quick else 100_000
    folder = bench.folder / "very many"
    folder.mkdir()
    np.save(folder / "x0.npy", np.zeros(3, np.float32))
    data = (folder / "x0.npy").read_bytes()
    for k in range(1, count):
        (folder / f"x{k}.npy").write_bytes(data)
    found: dict[str, float] = {}
    before = peak.set_back()
    for name, make in (
        ("stack, all headers", lambda: npdata.stack(f"{folder}/*.npy")),
        ("stack, check='first use'", lambda: npdata.stack(f"{folder}/*.npy", check="first use")),
        ("concatenate", lambda: npdata.concatenate(f"{folder}/*.npy")),
    ):
        begun = time.perf_counter()
        dataset = make()
        found[name] = time.perf_counter() - begun
        sent = len(pickle.dumps(dataset))
    grown = peak.highest() - before
    rng = np.random.default_rng(0)
    for _ in range(100):
        dataset[rng.integers(0, count, 256)]
    handles = len(list(Path("/proc/self/fd").iterdir()))
    shards = npdata.concatenate(sorted(map(str, folder.iterdir()))[:10_000])
    begun = time.perf_counter()
    shards = npdata.concatenate(list(shards.fields[0].paths))
    opening = time.perf_counter() - begun
    return Section(
        name="very many files",
        title="Very many files",
        note=f"{count:,} `.npy` in one folder; seconds to open, MiB that the process grew by, all "
        f"three together. A pickle of them takes {sent:,} bytes.",
        ratios=(
            Ratio(what="seconds, stack", value=found["stack, all headers"], goal=10, most=True),
            Ratio(what="seconds, stack, looked at on first use",
                  value=found["stack, check='first use'"], goal=0.5, most=True),
            Ratio(what="seconds, concatenate", value=found["concatenate"]),
            Ratio(what="seconds, concatenate of 10,000", value=opening, goal=5, most=True),
            Ratio(what="MiB", value=grown, goal=100, most=True),
            Ratio(what="open files after 100 batches", value=handles, goal=64, most=True),
        ),
    )  # fmt: skip


def _loader(dataset: npdata.NumpyDataset, order: list[Any]) -> Callable[[], Iterable[Any]]:
    return lambda: npdata.Loader(dataset, sampler=order)


def _timed(bench: Bench, candidates: list[Candidate]) -> dict[str, Timing]:
    require_same(candidates, batches=CHECKED)
    in_turns(candidates, rounds=1, seconds=SECONDS)  # maps, threads and pages are there now
    return in_turns(candidates, rounds=3 * bench.rounds, seconds=SECONDS)


def ratio_of(found: dict[str, Timing], ours: str, other: str) -> float:
    """Tell how many times the rate of another: the median of pairs of passes, taken in turns."""
    pairs = zip(found[ours].passes, found[other].passes, strict=True)
    return statistics.median(mine.rate / theirs.rate for mine, theirs in pairs)


def _table(found: dict[str, Timing], row_bytes: int) -> Table:
    columns = (Column(name=""), Column(name="samples/s", format=",.0f"), Column(name="GB/s"))
    rows = [
        (name, rates(each), rates(each).median * row_bytes / 1e9) for name, each in found.items()
    ]
    return Table(columns=columns, rows=tuple(rows))
