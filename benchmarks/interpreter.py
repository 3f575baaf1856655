"""How much of a batch holds the interpreter, and whether that grows with threads.

Python calls are counted in all threads, and are the same in every run. Python alone is what a batch
takes whose rows have one byte, so that nothing is copied: its share of a batch of wide rows is what
threads cannot do at once. A wait is a thread that gave its core up, for a lock or for work.
"""

import itertools
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import h5py
import numpy as np

import npdata
from benchmarks.harness import Bench
from benchmarks.path import require_same
from benchmarks.report import Column, Measured, Ratio, Section, Table, measured

ROWS, WIDTH, BATCH, SHARDS = 16_384, 784 * 4, 256, 64
THREADS = (1, 2)


class Way(NamedTuple):
    """The same batches on `threads` threads: of rows of one byte, and of wide ones."""

    source: str
    threads: int
    narrow: npdata.Loader
    wide: npdata.Loader


def write(folder: Path, width: int) -> dict[str, npdata.NumpyDataset]:
    """Write rows of so many bytes in each form, and open them."""
    data = np.random.default_rng(0).integers(0, 16, (ROWS, width), np.uint8)
    folder.mkdir()
    np.save(folder / "x.npy", data)
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("plain", data=data, chunks=(256, width))
        file.create_dataset("gzip", data=data, chunks=(256, width), compression=4)
    for number, part in enumerate(np.array_split(data, SHARDS)):
        np.save(folder / f"part-{number}.npy", part)
    shards = [folder / f"part-{number}.npy" for number in range(SHARDS)]
    return {
        "array in memory": npdata.NumpyDataset(data),
        ".npy": npdata.NumpyDataset(folder / "x.npy"),
        "64 shards": npdata.NumpyDataset(npdata.concatenate(shards)),
        "HDF5, chunked": npdata.NumpyDataset(f"{folder}/x.h5::plain"),
        "HDF5, gzip, decoded before": npdata.NumpyDataset(f"{folder}/x.h5::gzip"),
    }


def ways(folder: Path) -> Iterator[Way]:
    """Give the loaders; a list of batches as sampler, so that each batch is made by itself."""
    narrow, wide = write(folder / "narrow", 1), write(folder / "wide", WIDTH)
    order = np.random.default_rng(1).permutation(ROWS).reshape(-1, BATCH)
    for source in narrow:
        for n in THREADS:
            loaders = [
                npdata.Loader(each[source], sampler=list(order), num_threads=n)
                for each in (narrow, wide)
            ]
            yield Way(source, n, *loaders)


def calls(loader: npdata.Loader) -> float:
    """Count the Python calls of a batch, in all threads."""
    counter = itertools.count()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            next(counter)

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        batches = sum(1 for _ in loader)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return next(counter) / batches


def microseconds(loader: npdata.Loader, rounds: int) -> tuple[Measured, Measured]:
    """Give the processor time of a batch, and how often a thread waits for it."""
    spent, waits = [], []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        start, batches = time.process_time(), sum(1 for _ in loader)
        spent.append(1e6 * (time.process_time() - start) / batches)
        waits.append((resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before) / batches)
    return measured(spent), measured(waits)


def run(bench: Bench) -> list[Section]:
    """Count and measure, and give the section of the report."""
    lines, most = [], 0.0
    for _, ways_of_source in itertools.groupby(ways(bench.folder), lambda way: way.source):
        same, alone = list(ways_of_source), None
        require_same([way.wide for way in same])
        for way in same:
            microseconds(way.narrow, 1)
            microseconds(way.wide, 1)
            python, _ = microseconds(way.narrow, 4 * bench.rounds)
            whole, waits = microseconds(way.wide, 4 * bench.rounds)
            counted = min(calls(way.wide) for _ in range(3))  # shards are also looked at by time
            alone = counted if alone is None else alone
            most = max(most, counted / alone)
            share = python.median / whole.median
            lines.append((way.source, way.threads, counted, python, whole, share, waits))
        bench.say(f"{lines[-1][0]}: {lines[-1][2]:.1f} calls a batch")
    columns = (
        Column(name="rows in"),
        Column(name="threads", format=",d"),
        Column(name="calls of a batch", format=".1f"),
        Column(name="Python alone, µs", format=",.0f"),
        Column(name="all, µs", format=",.0f"),
        Column(name="share"),
        Column(name="waits of a batch", format=".1f"),
    )
    what = "calls of a batch on 2 threads over those on 1, the most of all"
    return [
        Section(
            name="interpreter",
            title="What of a batch holds the interpreter",
            note="Batches of 256 rows of 3 KiB, each made by itself. Processor time of all "
            "threads; Python alone is that of rows of one byte.",
            table=Table(columns=columns, rows=tuple(lines)),
            ratios=(Ratio(what=what, value=most, goal=1.1, most=True),),
        )
    ]
