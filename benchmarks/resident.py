"""Rows of gzip HDF5 held in memory, beside the same rows as an array and read from the file.

Every side gives the same batches in full shuffle, which is checked first; what is held was loaded
by then, so that the passes are those of a second epoch. The first one is timed by itself.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import npdata
from benchmarks.harness import Bench, Candidate, of_seconds, ratio, table
from benchmarks.page_cache import warm
from benchmarks.report import Ratio, Section
from benchmarks.timing import in_turns
from npdata.cli.bench.candidate import require_same

ROWS, WIDTH, BATCH, CHUNK, SECONDS = 100_000, 784, 256, 256, 1.0
HELD, ARRAY, FILE = "gzip HDF5, resident", "array in memory", "gzip HDF5, read"


def write(folder: Path, rows: int) -> tuple[Path, np.ndarray]:
    """Write the rows, compressed, and give them."""
    x = np.random.default_rng(0).integers(0, 256, (rows, WIDTH)).astype(np.float32) / 256
    path = folder / "x.h5"
    with h5py.File(path, "w") as file:
        chunks = (min(CHUNK, rows), WIDTH)
        file.create_dataset("x", data=x, chunks=chunks, compression=4, shuffle=True)
        file["y"] = np.arange(rows)
    warm(path)
    return path, x


def opened(path: Path) -> npdata.NumpyDataset:
    """Open the file; nothing of it is decoded."""
    return npdata.NumpyDataset(f"{path}::x", f"{path}::y")


def epoch(loader: npdata.Loader) -> Callable[[], Iterable[Any]]:
    """Give the first epoch again."""

    def batches() -> Iterable[Any]:
        loader.set_epoch(0)
        return loader

    return batches


def seconds(batches: Iterable[Any]) -> float:
    """Give the time of a pass."""
    start = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start


def run(bench: Bench, rows: int = ROWS) -> list[Section]:
    """Measure and give the section of the report."""
    path, x = write(bench.folder, rows)
    dataset = opened(path)
    array = npdata.NumpyDataset(x, np.arange(rows))
    loaders = {
        HELD: npdata.Loader(dataset, BATCH, shuffle=True, resident=True),
        ARRAY: npdata.Loader(array, BATCH, shuffle=True),
        FILE: npdata.Loader(dataset, BATCH, shuffle=True),
    }
    with opened(path) as fresh:
        blocks = seconds(npdata.Loader(fresh, BATCH, shuffle="block"))
    first = seconds(loaders[HELD])
    candidates = [Candidate(name=name, batches=epoch(each)) for name, each in loaders.items()]
    require_same(candidates[:2])
    require_same([candidates[0], candidates[2]], batches=4)
    found = in_turns(candidates[:2], rounds=2 * bench.rounds)
    part = in_turns(candidates[2:], rounds=1, seconds=SECONDS)[FILE]
    found[FILE] = of_seconds(FILE, rows, [rows / part.rate])
    return [
        Section(
            name="resident",
            title="Rows that are loaded once",
            note=f"`Loader(resident=True)` on the CPU; {rows:,} rows of 3 KiB with a label, "
            f"batches of {BATCH}, full shuffle. The first epoch loads the rows. Read without, "
            "almost every row decodes a chunk, which is timed for a second.",
            table=table(found, WIDTH * 4 + 8),
            ratios=(
                Ratio(
                    what="a second epoch of resident rows beside the same arrays in memory",
                    value=ratio(found[HELD], found[ARRAY]),
                    goal=0.9,
                ),
                Ratio(
                    what="the first epoch, with loading, beside one in block shuffle from the file",
                    value=blocks / first,
                ),
            ),
        )
    ]
