"""A file that is not in memory, or larger than memory: block shuffle beside sequential reading.

The file is dropped from the page cache before every pass (POSIX_FADV_DONTNEED, which needs no
rights and leaves other files alone), and that it is gone is checked. What "sequential" reads, with
so many requests of 1 MiB in flight, are the same bytes, start to end. Where a memory cgroup can be
made, epochs also run in one whose limit is two thirds of the file.
"""

import itertools
import mmap
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import npdata
from benchmarks.harness import Bench
from benchmarks.page_cache import drop
from benchmarks.report import Column, Ratio, Section, Table

ROW, BATCH, MIB, IN_FLIGHT = 3136, 256, 1 << 20, 8
GROUP = Path("/sys/fs/cgroup/memory/npdata-benchmark")


def write(path: Path, nbytes: int) -> int:
    """Write rows of random bytes with their number in front; give how many."""
    rows = nbytes // ROW
    noise = np.random.default_rng(0).integers(0, 256, (4096, ROW), np.uint8)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, ROW)}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, rows, len(noise)):
            count = min(len(noise), rows - first)
            numbers = np.arange(first, first + count, dtype=np.int64)
            noise[:count, :8] = numbers[:, None].view(np.uint8)
            file.write(noise[:count].tobytes())
        os.fsync(file.fileno())
    return rows


def sequential(path: Path) -> float:
    """Give GB/s of reading the file from start to end."""
    descriptor, size = os.open(path, os.O_RDONLY), path.stat().st_size
    buffers = [bytearray(MIB) for _ in range(IN_FLIGHT)]
    offsets = iter(range(0, size, MIB))

    def read(buffer: bytearray) -> None:
        for offset in offsets:
            os.preadv(descriptor, [buffer], offset)

    start = time.perf_counter()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        list(pool.map(read, buffers))
    seconds = time.perf_counter() - start
    os.close(descriptor)
    return size / seconds / 1e9


def blocks(path: Path, **options: object) -> float:
    """Give GB/s of an epoch of the Loader in block shuffle; every row is counted."""
    with npdata.NumpyDataset(path) as ds:
        loader = npdata.Loader(ds, BATCH, shuffle="block", **options)
        total, start = 0, time.perf_counter()
        for batch in loader:
            total += int(batch[:, :8].contiguous().view(dtype_of_numbers()).sum())
        seconds = time.perf_counter() - start
        if total != len(ds) * (len(ds) - 1) // 2:
            raise RuntimeError("the epoch had not every row once")
        return len(ds) * ROW / seconds / 1e9


def dtype_of_numbers() -> object:
    return npdata.as_tensor(np.zeros(1, np.int64)).dtype


def full(path: Path, *, readahead: bool = True, seconds: float = 15.0) -> float:
    """Give GB/s of full shuffle by indexing a map, for so many seconds.

    Without `readahead` the kernel reads the pages of a row and no others, as it must where a row is
    all that is wanted of its surroundings.
    """
    data = np.load(path, mmap_mode="r")
    if not readahead:
        data.base.madvise(mmap.MADV_RANDOM)
    order = np.random.default_rng(0).permutation(len(data))
    start, rows = time.perf_counter(), 0
    for first in itertools.count(0, BATCH):
        rows += len(data[order[first : first + BATCH]])
        taken = time.perf_counter() - start
        if taken > seconds or rows == len(data):
            return rows * ROW / taken / 1e9
    raise AssertionError("unreachable")


def in_turns(path: Path, measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Give the median of each measure, taken in turns, each from a dropped file."""
    rates: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            drop(path)
            rates[name].append(measure())
    return {name: statistics.median(each) for name, each in rates.items()}


class Limited:
    """A memory cgroup whose limit is two thirds of a file; without one, nothing is limited."""

    def __init__(self, path: Path) -> None:
        self.path, self.limit = path, path.stat().st_size * 2 // 3
        self.most = 0
        self.grouped = True
        try:
            GROUP.mkdir(exist_ok=True)
            (GROUP / "memory.limit_in_bytes").write_text(str(self.limit))
        except OSError:
            self.grouped = False

    def rate(self, call: str) -> float:
        """Run a function of this module, such as "blocks(path)", in a process of the group."""
        code = (
            "import sys; from pathlib import Path; from benchmarks.cold import *;"
            "path = Path(sys.argv[1]);"
            "sys.argv[2] and Path(sys.argv[2]).write_text('0');"
            f"print({call})"
        )
        tasks = str(GROUP / "cgroup.procs") if self.grouped else ""
        if self.grouped:
            (GROUP / "memory.max_usage_in_bytes").write_text("0")
        done = subprocess.run(
            [sys.executable, "-c", code, str(self.path), tasks],
            capture_output=True,
            text=True,
            check=True,
        )
        if self.grouped:
            self.most = int((GROUP / "memory.max_usage_in_bytes").read_text())
        return float(done.stdout)

    def close(self) -> None:
        """Remove the group."""
        if self.grouped:
            GROUP.rmdir()


def run(bench: Bench) -> list[Section]:
    """Measure, and give the section of the report."""
    gib = 0.5 if bench.quick else 4.1
    path = bench.folder / "cold.npy"
    sequentially, loader = f"sequential, {IN_FLIGHT} requests in flight", "Loader, block shuffle"
    budgeted = f"{loader}, memory_budget= two ninths of the file"
    through, within = (
        "full shuffle through a map",
        f"{loader}, the same in memory for two thirds of the file",
    )
    paged = "full shuffle, page by page (MADV_RANDOM)"
    tight = "full shuffle in memory for two thirds of the file"
    try:
        write(path, int(gib * (1 << 30)))
        limited = Limited(path)
        peaks: list[int] = []

        budget = limited.limit // 3

        def inside() -> float:
            rate = limited.rate(f"blocks(path, memory_budget={budget})")
            peaks.append(limited.most)
            return rate

        rates = in_turns(
            path,
            {
                sequentially: lambda: sequential(path),
                loader: lambda: blocks(path),
                budgeted: lambda: blocks(path, memory_budget=budget),
                within: inside,
                through: lambda: full(path),
            },
            1 if bench.quick else 3,
        )
        drop(path)
        rates[paged] = full(path, readahead=False)
        drop(path)
        rates[tight] = limited.rate("full(path)")
        limited.close()
    finally:
        path.unlink(missing_ok=True)
    limit = f"{limited.limit:,}" if limited.grouped else "no limit could be set"
    ratios = (
        ("speed over sequential reading", loader, sequentially, 0.9),
        ("speed over full shuffle through a map, memory for the whole file", loader, through, 5),
        ("speed over full shuffle page by page", loader, paged, None),
        ("speed over full shuffle, both in memory for two thirds of the file", within, tight, None),
        ("speed in memory for two thirds of the file, over the cold rate", within, loader, 0.8),
    )
    return [
        Section(
            name="cold",
            title=f"A cold file of {gib} GiB, rows of 3 KiB",
            note=f"The kernel reads {readahead_kib(bench.folder)} KiB around every fault. Memory "
            f"for two thirds of the file: {limit} bytes, most used {max(peaks):,}.",
            table=Table(
                columns=(Column(name=""), Column(name="GB/s", format=".3f")),
                rows=tuple(rates.items()),
            ),
            ratios=tuple(
                Ratio(what=what, value=rates[one] / rates[other], goal=goal)
                for what, one, other, goal in ratios
            ),
        )
    ]


def readahead_kib(folder: Path) -> str:
    """Give how much the disk below a folder reads around a fault."""
    number = folder.stat().st_dev
    place = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    for queue in (place / "queue", place.parent / "queue"):
        if (queue / "read_ahead_kb").exists():
            return (queue / "read_ahead_kb").read_text().strip()
    return "?"
