"""What more cores add: the same batches on 1, 2, 4 cores and so on, beside bare threads.

Each number of cores is measured in a process of its own, which is held to them before it imports
torch. Bare threads, one a core, do the same copies or decode the same chunks with no loader around
them: they show what the machine gives. Processor time and waits of a batch, of all threads, grow
where threads hinder each other. All that gather are checked to give the same batches first.
"""

import functools
import itertools
import multiprocessing
import os
import resource
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

import npdata
from benchmarks.cache import CHUNK, WIDTH, write
from benchmarks.harness import Bench, Candidate
from benchmarks.hdf5 import with_libdeflate
from benchmarks.report import Column, Measured, Ratio, Section, Table, measured
from benchmarks.timing import in_turns
from npdata.cli.bench.candidate import require_same
from npdata.runtime.machine import cores

WINDOW = 64
BATCHES = {"gather .npy, 256 rows": 256, "gather .npy, 4,096 rows": 4096, "decode gzip HDF5": 256}
DECODED = "decode gzip HDF5"
"""In a block shuffle; the others are in full shuffle."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one number of cores made of one kind of batches."""

    what: str
    rate: Measured
    bare: Measured
    microseconds: float
    waits: float


def orders(rows: int) -> dict[str, list[np.ndarray]]:
    """Give the batches of each kind of work."""
    full = np.random.default_rng(1).permutation(rows)
    blocks = npdata.BlockBatchSampler(
        rows, CHUNK, shuffle="block", block_rows=CHUNK, window_blocks=WINDOW, seed=1
    )
    return {
        what: list(blocks)
        if what == DECODED
        else [full[k : k + batch] for k in range(0, rows, batch)]
        for what, batch in BATCHES.items()
    }


def in_order(
    jobs: list[Any], work: Callable[[Any, np.ndarray], Tensor], threads: int, shape: tuple[int, ...]
) -> Iterator[Tensor]:
    """Do jobs on bare threads, each into one of twice as many buffers; an extra one is in use."""
    buffers = itertools.cycle(np.empty(shape, np.float32) for _ in range(2 * threads + 1))
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        under_way: deque[Future[Tensor]] = deque()
        for job in jobs:
            under_way.append(pool.submit(work, job, next(buffers)))
            if len(under_way) == 2 * threads:
                yield under_way.popleft().result()
        for each in under_way:
            yield each.result()


def bare_gather(path: Path, order: list[np.ndarray], threads: int) -> Iterator[Tensor]:
    """Copy the rows of each batch by one call of NumPy."""
    x = np.load(path, mmap_mode="r")

    def gather(rows: np.ndarray, out: np.ndarray) -> Tensor:
        x.take(rows, 0, out[: len(rows)], "clip")
        return torch.from_numpy(out[: len(rows)])

    return in_order(order, gather, threads, (len(order[0]), WIDTH))


def bare_decode(path: Path, threads: int) -> Iterator[Tensor]:
    """Decode every chunk once, in the order of the file, and do nothing with it."""
    infos: list[h5py.h5d.StoreInfo] = []
    with h5py.File(path) as file:
        file["x"].id.chunk_iter(infos.append)
    descriptor = os.open(path, os.O_RDONLY)

    def decode(info: h5py.h5d.StoreInfo, out: np.ndarray) -> Tensor:
        stored = os.pread(descriptor, info.size, info.byte_offset)
        with_libdeflate(stored, out.view(np.uint8).reshape(-1, 4))
        return torch.from_numpy(out)

    try:
        yield from in_order(infos, decode, threads, (CHUNK, WIDTH))
    finally:
        os.close(descriptor)


def measure(folder: Path, rows: int, rounds: int) -> list[Work]:
    """Measure on the cores that this process may use."""
    found, threads = [], cores()
    for what, order in orders(rows).items():

        def batches(what: str = what, order: list[np.ndarray] = order) -> Iterator[Tensor]:
            name = f"{folder}/x.h5::x" if what == DECODED else f"{folder}/x.npy"
            with npdata.NumpyDataset(name) as dataset:  # opened anew: no chunk is decoded yet
                yield from npdata.Loader(dataset, sampler=order)

        def bare(what: str = what, order: list[np.ndarray] = order) -> Iterator[Tensor]:
            if what == DECODED:
                return bare_decode(folder / "x.h5", threads)
            return bare_gather(folder / "x.npy", order, threads)

        ours, theirs = (
            Candidate(name="npdata", batches=batches),
            Candidate(name="bare", batches=bare),
        )
        alone = functools.partial(bare_gather, folder / "x.npy", order, 1)
        expected = [Candidate(name="NumPy", batches=alone)]
        require_same([*expected, ours] if what == DECODED else [*expected, ours, theirs])
        timings = in_turns([ours, theirs], rounds=rounds)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        start = time.process_time()
        count = sum(1 for _ in batches())
        spent = time.process_time() - start
        waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
        rate, ceiling = (
            measured([one.rate * WIDTH * 4 / 1e9 for one in timing.passes])
            for timing in timings.values()
        )
        found.append(
            Work(
                what=what,
                rate=rate,
                bare=ceiling,
                microseconds=1e6 * spent / count,
                waits=waits / count,
            )
        )
    return found


def on_cores(count: int, folder: Path, rows: int, rounds: int) -> list[Work]:
    """Measure in a new process that is held to so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(measure, folder, rows, rounds).result()
    finally:
        os.sched_setaffinity(0, before)


def counts(most: int) -> list[int]:
    """Give 1, 2, 4 and so on, and `most`."""
    return [*itertools.takewhile(lambda n: n < most, (1 << k for k in itertools.count())), most]


def run(bench: Bench, rows: int = 200_000) -> list[Section]:
    """Measure, and give the section of the report."""
    write(bench.folder, rows)
    most = cores()
    found = {n: on_cores(n, bench.folder, rows, 2 * bench.rounds) for n in counts(most)}
    lines, ratios = [], []
    for number, what in enumerate(BATCHES):
        works = {n: each[number] for n, each in found.items()}
        for n, work in works.items():
            over = work.rate.median / work.bare.median
            gain = work.rate.median / works[1].rate.median
            lines.append((what, n, work.rate, work.bare, over, gain, work.microseconds, work.waits))
        first, last = works[1], works[most]
        for who, gain in (
            ("Loader", last.rate.median / first.rate.median),
            ("bare threads", last.bare.median / first.bare.median),
        ):
            ratios.append(Ratio(what=f"{what}: {who}, {most} cores over one", value=gain))
    columns = (
        Column(name="batches"),
        Column(name="cores", format=",d"),
        Column(name="Loader, GB/s"),
        Column(name="bare threads, GB/s"),
        Column(name="Loader / bare"),
        Column(name="Loader over 1 core"),
        Column(name="processor time of a batch, µs", format=",.0f"),
        Column(name="waits of a batch", format=".1f"),
    )
    return [
        Section(
            name="cores",
            title="What more cores add",
            note=f"{rows:,} rows of 3 KiB. `Loader` as it comes; gzip 4 + shuffle in chunks of "
            f"{CHUNK} rows, in a block shuffle of {WINDOW} blocks, opened anew in each pass. Bare "
            "threads gather the same batches, or decode the same chunks and gather nothing.",
            table=Table(columns=columns, rows=tuple(lines)),
            ratios=tuple(ratios),
        )
    ]
