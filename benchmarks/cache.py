"""Decoded once: gzip HDF5 kept in a folder or in memory, beside a `.npy`, and beside no cache.

50,000 rows of 784 float32 in chunks of 256 rows, gzip 4 + shuffle, batches of 256, page cache warm.
All decoded chunks fit into the chunk cache, so the epoch without `cache=` decodes each once too.
What is timed in turns gives the same rows, which is checked first.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import npdata
from benchmarks.harness import Bench, Candidate, Timing, compare, of_seconds, ratio, table
from benchmarks.page_cache import warm
from benchmarks.report import Ratio, Section

ROWS, WIDTH, BATCH, CHUNK = 50_000, 784, 256, 256
Epoch = Callable[[npdata.NumpyDataset], Iterable[Any]]


def write(folder: Path, rows: int) -> Path:
    """Write the rows as .npy and as gzip 4 + shuffle."""
    x = np.random.default_rng(0).integers(0, 256, (rows, WIDTH)).astype(np.float32) / 256
    np.save(folder / "x.npy", x)
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("x", data=x, chunks=(CHUNK, WIDTH), compression=4, shuffle=True)
    for name in ("x.npy", "x.h5"):
        warm(folder / name)
    return folder / "x.h5"


def in_full_shuffle(dataset: npdata.NumpyDataset, seed: int = 1) -> Iterator[Any]:
    """Read every row once, in the caller's thread."""
    order = np.random.default_rng(seed).permutation(len(dataset))
    for first in range(0, len(order), BATCH):
        yield dataset.__getitems__(order[first : first + BATCH]).stacked


def in_blocks(dataset: npdata.NumpyDataset) -> Iterator[Any]:
    """Read every row once by `Loader`, in a block shuffle."""
    return iter(npdata.Loader(dataset, BATCH, shuffle="block", seed=1))


def second_epochs(path: Path, cache: Path, rounds: int) -> dict[str, Timing]:
    """Time epochs of what is kept already, and of a `.npy`."""
    sets = {
        ".npy": npdata.NumpyDataset(path.with_suffix(".npy")),
        "kept in a folder": npdata.NumpyDataset.from_hdf5(path, "x", cache=cache),
        "kept in memory": npdata.NumpyDataset.from_hdf5(path, "x", cache="ram"),
    }
    for dataset in sets.values():
        for _ in in_full_shuffle(dataset):
            pass
    timings = compare(
        [
            Candidate(name=name, batches=lambda d=dataset: in_full_shuffle(d))
            for name, dataset in sets.items()
        ],
        rounds=rounds,
    )
    for dataset in sets.values():
        dataset.close()
    return timings


def first_epochs(path: Path, cache: Path, read: Epoch, rounds: int) -> dict[str, Timing]:
    """Time first epochs without a cache, and with one that is empty or full, in turns."""

    def seconds(option: Any, *, empty: bool) -> float:
        if empty:
            shutil.rmtree(cache, ignore_errors=True)
        dataset = npdata.NumpyDataset.from_hdf5(path, "x", cache=option)
        start = time.perf_counter()
        for _ in read(dataset):
            pass
        spent = time.perf_counter() - start
        dataset.close()
        return spent

    times: dict[str, list[float]] = {"without": [], "into a folder": [], "into memory": []}
    for _ in range(rounds):
        times["without"].append(seconds(None, empty=False))
        times["into a folder"].append(seconds(cache, empty=True))
        times["into memory"].append(seconds("ram", empty=False))
    rows = len(npdata.open_source(f"{path}::x"))
    return {name: of_seconds(name, rows, each) for name, each in times.items()}


def run(bench: Bench, rows: int = ROWS) -> list[Section]:
    """Measure, and give the sections of the report."""
    path, cache = write(bench.folder, rows), bench.folder / "cache"
    second = second_epochs(path, cache, bench.rounds)
    goals = {"kept in a folder": 0.8, "kept in memory": 0.8}
    sections = [
        Section(
            name="cache-second",
            title="Decoded once: later epochs in full shuffle, beside a .npy",
            table=table(second, WIDTH * 4),
            ratios=tuple(
                Ratio(
                    what=f"speed {name} over .npy",
                    value=ratio(second[name], second[".npy"]),
                    goal=goal,
                )
                for name, goal in goals.items()
            ),
        )
    ]
    orders: dict[str, Epoch] = {"full shuffle": in_full_shuffle, "block shuffle": in_blocks}
    for order, read in orders.items():
        first = first_epochs(path, cache, read, bench.rounds)
        sections.append(
            Section(
                name=f"cache-first-{order.split()[0]}",
                title=f"Decoded once: the first epoch in {order}, beside one without a cache",
                table=table(first, WIDTH * 4),
                ratios=tuple(
                    Ratio(
                        what=f"speed {name} over none",
                        value=ratio(first[name], first["without"]),
                        goal=0.8,
                    )
                    for name in ("into a folder", "into memory")
                ),
            )
        )
    return sections
