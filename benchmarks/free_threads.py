"""A transform in Python by more threads, in an interpreter without its lock (GIL).

Every side gives the same batches, which is checked first. The loop does nothing else.
"""

import platform
import sys

import numpy as np

import npdata
from benchmarks.harness import Bench, Candidate, UnavailableError, compare, ratio, table
from benchmarks.report import Ratio, Section

ROWS, WIDTH, BATCH, STEPS = 4_000, 64, 64, 3_000


def slowly(sample: dict[str, object]) -> dict[str, object]:
    """Spend 0.1 ms in bytecode."""
    total = 0
    for step in range(STEPS):
        total += step
    return sample if total else {}


def run(bench: Bench, rows: int = ROWS) -> list[Section]:
    """Measure and give the section of the report."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        raise UnavailableError("this Python has a GIL; take python3.14t, with PYTHON_GIL=0")
    x = np.random.default_rng(0).standard_normal((rows, WIDTH), np.float32)
    dataset = npdata.NumpyDataset({"x": x}, transform=slowly)
    found = compare(
        [
            Candidate(
                name=f"num_threads={n}",
                batches=lambda n=n: npdata.Loader(dataset, BATCH, num_threads=n, resident=False),
            )
            for n in (0, 1, 2)
        ],
        rounds=2 * bench.rounds,
    )
    none, _, two = found.values()
    return [
        Section(
            name="free_threads",
            title="Transforms in Python without the GIL",
            note=f"Python {platform.python_version()}, free-threaded. {rows:,} rows in memory, "
            f"batches of {BATCH}; each sample spends {STEPS:,} steps of a loop in Python.",
            table=table(found, WIDTH * 4),
            ratios=(Ratio(what="two threads of `Loader` beside none", value=ratio(two, none)),),
        )
    ]
