"""Samples that are spans of rows, beside the code that people write for each.

Idea: windows, episodes, ragged rows, sparse rows and many groups are each read both ways, in turns.
Invariant: both sides are seen to give the same values before they are timed.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from scipy import sparse
from torch.nn.utils.rnn import pad_sequence

import npdata
from benchmarks.harness import Bench
from benchmarks.report import Column, Section, Table, measured

Batches = Callable[[], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The usual way and npdata's, to the same batches; `goal` is the ratio to reach."""

    what: str
    usual: str
    old: Batches
    new: Batches
    goal: float


def leaves(value: Any) -> list[torch.Tensor]:
    """Give the tensors of a batch, in a fixed order."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = [value[k] for k in sorted(value)] if isinstance(value, dict) else value
    return [leaf for part in parts for leaf in leaves(part)]


def seconds(batches: Batches) -> float:
    """Time one pass."""
    start = time.perf_counter()
    for _ in batches():
        pass
    return time.perf_counter() - start


def row(pair: Pair, rounds: int) -> tuple[Any, ...]:
    """Check both sides, time them in turns, and give a row of the table."""
    for one, other in zip(pair.old(), pair.new(), strict=True):
        for a, b in zip(leaves(one), leaves(other), strict=True):
            assert torch.equal(a, b), pair.what
    times = [(seconds(pair.old), seconds(pair.new)) for _ in range(rounds)]
    ratios = measured([old / new for old, new in times])
    return (
        pair.what,
        pair.usual,
        measured([1e3 * old for old, _ in times]),
        measured([1e3 * new for _, new in times]),
        ratios,
        pair.goal,
    )


def tokens(folder: Path, count: int, batches: int) -> Iterator[Pair]:
    """Windows of 1,025 uint16 tokens, batches of 64, as int64."""
    rng, length = np.random.default_rng(0), 1025
    path = folder / "tokens.bin"
    rng.integers(0, 50_000, count, dtype=np.uint16).tofile(path)
    data = np.memmap(path, np.uint16, "r")
    source = npdata.open_source(path, dtype="u2")
    windows = npdata.NumpyDataset(source, dtype=torch.int64).windows(length)
    loader = npdata.Loader(windows, 64, shuffle="full", num_samples=64 * batches)
    places = list(loader.batch_sampler)

    def usual() -> Iterator[torch.Tensor]:
        for ix in places:
            yield torch.stack([torch.from_numpy(data[i : i + length].astype(np.int64)) for i in ix])

    def first_epoch() -> npdata.Loader:
        loader.set_epoch(0)
        return loader

    what, stacked = "(a) windows of 1,025 tokens", "slices, stacked"
    yield Pair(
        what=f"{what}, ds[rows]",
        usual=stacked,
        old=usual,
        new=lambda: map(windows.__getitem__, places),
        goal=10,
    )
    yield Pair(what=what, usual=stacked, old=usual, new=first_epoch, goal=10)


OFFSETS = {"state": (-1, 0), "features": (-1, 0), "action": tuple(range(16))}


def episodes(folder: Path, count: int, batches: int) -> Iterator[Pair]:
    """Episodes in gzip chunks: observation history and action chunks, in a block shuffle."""
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(100, 301, count))
    widths = {"state": 32, "features": 600, "action": 32}
    arrays = {k: rng.random((ends[-1], n), np.float32).round(2) for k, n in widths.items()}
    path = folder / "episodes.h5"
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            chunks = (128, array.shape[1])
            file.create_dataset(name, data=array, chunks=chunks, compression="gzip")
    ds = npdata.NumpyDataset.from_hdf5(path, **{name: name for name in widths})
    windows = ds.windows(OFFSETS, borders=ends, edge="repeat")
    sampler = npdata.BlockBatchSampler(windows, 256, seed=1)
    places = [rows for rows, _ in zip(sampler, range(batches), strict=False)]

    def sample(source: Any, i: int) -> dict[str, torch.Tensor]:
        episode = int(np.searchsorted(ends, i, "right"))
        first, stop = int(ends[episode - 1]) if episode else 0, int(ends[episode])
        made = {}
        for name, offsets in OFFSETS.items():
            low, high = i + offsets[0], i + offsets[-1] + 1
            rows = source[name][max(low, first) : min(high, stop)]
            before, after = max(0, first - low), max(0, high - stop)
            if before or after:
                rows = np.concatenate(
                    [np.repeat(rows[:1], before, 0), rows, np.repeat(rows[-1:], after, 0)]
                )
            made[name] = torch.from_numpy(np.ascontiguousarray(rows))
        return made

    def batch(source: Any, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        samples = [sample(source, int(i)) for i in rows]
        return {name: torch.stack([s[name] for s in samples]) for name in OFFSETS}

    def from_file() -> Iterator[Any]:
        with h5py.File(path) as file:
            source = {name: file[name] for name in OFFSETS}
            for rows in places:
                yield batch(source, rows)

    def from_memory() -> Iterator[Any]:
        for rows in places:
            yield batch(arrays, rows)

    loader = npdata.Loader(windows, sampler=places)
    what = "(b) episodes, gzip chunks"
    yield Pair(
        what=what, usual="h5py, sample by sample", old=from_file, new=lambda: loader, goal=30
    )
    yield Pair(what=what, usual="arrays in memory", old=from_memory, new=lambda: loader, goal=5)


def ragged(folder: Path, count: int, batches: int) -> Iterator[Pair]:
    """Rows of 10 to 500 x 64 float32, padded batches of 128."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 501, count)
    offsets = np.append(0, np.cumsum(lengths))
    values = rng.standard_normal((offsets[-1], 64), np.float32)
    views = torch.from_numpy(values)
    ds = npdata.NumpyDataset(npdata.ragged(values, offsets=offsets))
    places = [rng.integers(0, count, 128) for _ in range(batches)]

    def usual() -> Iterator[Any]:
        for rows in places:
            parts = [views[offsets[k] : offsets[k + 1]] for k in rows]
            yield pad_sequence(parts, batch_first=True), torch.from_numpy(lengths[rows])

    loader = npdata.Loader(ds, sampler=places)
    yield Pair(
        what="(c) ragged rows, padded",
        usual="views + pad_sequence",
        old=usual,
        new=lambda: loader,
        goal=8,
    )


CELL_CHUNK = 19_532
"""The numbers in a chunk that AnnData writes."""


def cells(folder: Path, count: int, batches: int) -> Iterator[Pair]:
    """Sparse rows of 20,000 columns with 1,000 values, dense batches of 256."""
    rng = np.random.default_rng(0)
    columns = np.arange(1000, dtype=np.int32) * 20 + rng.integers(0, 20, (count, 1000), np.int32)
    data = rng.random((count, 1000), np.float32)
    shape = (count, 20_000)
    m = sparse.csr_matrix((data.ravel(), columns.ravel(), np.arange(count + 1) * 1000), shape)
    path = folder / "cells.h5ad"
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        group.attrs["shape"] = shape
        for name in ("data", "indices", "indptr"):
            part = getattr(m, name)
            group.create_dataset(name, data=part, chunks=(min(CELL_CHUNK, len(part)),))
    places = [rng.integers(0, count, 256) for _ in range(batches)]

    def usual() -> Iterator[torch.Tensor]:
        for rows in places:
            yield torch.from_numpy(m[rows].toarray())

    stored = npdata.Loader(npdata.NumpyDataset(f"{path}::X"), sampler=places)
    held = npdata.NumpyDataset(npdata.csr(m.data, m.indices, m.indptr, shape))
    memory = npdata.Loader(held, sampler=places)
    goal = 5.0
    what = "(d) sparse rows, dense batches"
    yield Pair(what=f"{what}, in memory", usual="scipy", old=usual, new=lambda: memory, goal=goal)
    yield Pair(
        what=f"{what}, .h5ad", usual="scipy, memory", old=usual, new=lambda: stored, goal=goal
    )
    with contextlib.suppress(ModuleNotFoundError):  # npdata[bench] is not there
        yield backed(path, count, batches)


def backed(path: Path, count: int, batches: int) -> Pair:
    """Read a .h5ad in the order of scDataset, which takes rows by the classes of AnnData."""
    from anndata.io import sparse_dataset
    from scdataset import BlockShuffling, scDataset

    def shuffled(rows: Any, **options: Any) -> Iterator[Any]:
        order = BlockShuffling(block_size=16)
        made = scDataset(rows, order, batch_size=256, fetch_factor=16, seed=0, **options)
        return itertools.islice(made, batches)

    def usual() -> Iterator[torch.Tensor]:
        with h5py.File(path) as file:
            stored = sparse_dataset(file["X"])
            yield from shuffled(
                np.arange(count),
                fetch_callback=lambda _, rows: stored[rows],
                batch_transform=lambda rows: torch.from_numpy(rows.toarray()),
            )

    loader = npdata.Loader(
        npdata.NumpyDataset(f"{path}::X"), sampler=list(shuffled(np.arange(count)))
    )
    return Pair(
        what="(d) sparse rows, dense batches, .h5ad",
        usual="scDataset, backed",
        old=usual,
        new=lambda: loader,
        goal=10,
    )


def groups(folder: Path, count: int, batches: int) -> Iterator[Pair]:
    """Open a dataset of each of many groups, beside a look at each by h5py."""
    rng = np.random.default_rng(0)
    path = folder / "groups.h5"
    with h5py.File(path, "w") as file:
        for k in range(count):
            steps = rng.random((int(rng.integers(5, 15)), 7), np.float32)
            file[f"data/demo_{k}/actions"] = steps

    def look() -> Iterator[torch.Tensor]:
        rows = 0
        with h5py.File(path) as file:
            for demo in file["data"].values():
                actions = demo["actions"]
                assert actions.dtype == np.float32
                rows += actions.shape[0]
        yield torch.tensor(rows)

    def opened() -> Iterator[torch.Tensor]:
        yield torch.tensor(len(npdata.open_source(f"{path}::data/*/actions")))

    yield Pair(
        what=f"(e) {count:,} groups, opened",
        usual="h5py visits each",
        old=look,
        new=opened,
        goal=1 / 1.5,
    )


QUESTIONS: tuple[tuple[Any, tuple[int, int], tuple[int, int]], ...] = (
    (tokens, (250_000_000, 1000), (50_000_000, 400)),
    (episodes, (1_000, 40), (60, 4)),
    (ragged, (4_000, 30), (1_500, 15)),
    (cells, (50_000, 12), (8_000, 12)),
    (groups, (10_000, 1), (2_000, 1)),
)
"""Each with its samples and the batches of a pass, in a whole run and in a quick one."""


def run(bench: Bench, share: float = 1.0) -> list[Section]:
    """Measure, with a `share` of the data, and give the section of the report."""
    rows = []
    for question, whole, quick in QUESTIONS:
        count, batches = quick if bench.quick else whole
        few = max(1, int(batches * share))
        for pair in question(bench.folder, max(60, int(count * share)), few):
            rows.append(row(pair, bench.rounds))
            bench.say(f"{rows[-1][0]}: {rows[-1][4].median:.2f} times {rows[-1][1]}")
    columns = (
        Column(name=""),
        Column(name="beside"),
        Column(name="usual, ms", format=",.1f"),
        Column(name="npdata, ms", format=",.1f"),
        Column(name="times as fast", format=",.1f"),
        Column(name="goal", format=",.1f"),
    )
    return [
        Section(
            name="spans",
            title="Spans of rows: windows, episodes, ragged and sparse rows",
            note="Milliseconds a pass over the same batches, through Loader or by rows, with files "
            "in the page cache; both sides are compared value by value before.",
            table=Table(columns=columns, rows=tuple(rows)),
        )
    ]
