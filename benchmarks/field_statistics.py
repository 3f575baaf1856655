"""`NumpyDataset.statistics` beside reading the same file and doing nothing with it.

"bare" reads the file from start to end into small buffers that are used again, by as many threads
as there are cores; in memory, that is as fast as memory copies. Each figure of `statistics` is
checked against NumPy's. NumPy, too, is timed: mean, std, min and max of the mapped array.
"""

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import npdata
from benchmarks.harness import Bench, UnavailableError
from benchmarks.page_cache import drop, warm
from benchmarks.report import Cell, Column, Measured, Ratio, Section, Table, measured
from npdata.arrays.per_process import cores

COLUMNS, MIB = 784, 1 << 20
DTYPES = ("float32", "float64", "uint8", "int16")


def write(path: Path, dtype: str, nbytes: int) -> None:
    """Write numbers around 50 with a deviation of 20."""
    some = np.random.default_rng(0).normal(50, 20, (1024, COLUMNS)).clip(0, 127).astype(dtype)
    rows = nbytes // some[0].nbytes // 1024 * 1024
    with path.open("wb") as file:
        header = {"descr": some.dtype.str, "fortran_order": False, "shape": (rows, COLUMNS)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(rows // 1024):
            file.write(some.tobytes())


def bare(path: Path) -> None:
    """Read the file, in requests of 1 MiB."""
    descriptor, size = os.open(path, os.O_RDONLY), path.stat().st_size

    def read(first: int) -> None:
        buffer = bytearray(MIB)
        for offset in range(first * MIB, size, cores() * MIB):
            os.preadv(descriptor, [buffer], offset)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(read, range(cores())))
    os.close(descriptor)


def whole(path: Path) -> None:
    """Compute the statistics of all values."""
    with npdata.NumpyDataset(path) as ds:
        ds.statistics()


def columns(path: Path) -> None:
    """Compute the statistics of each column."""
    with npdata.NumpyDataset(path) as ds:
        ds.statistics(keep_axes=0)


def by_numpy(path: Path) -> None:
    """Compute them by NumPy, in float64."""
    array = np.load(path, mmap_mode="r")
    array.mean(dtype=np.float64), array.std(dtype=np.float64), array.min(), array.max()


def require_right(path: Path) -> None:
    """Compare with NumPy; raises RuntimeError where a figure is another."""
    array = np.load(path, mmap_mode="r")[:1024]
    with npdata.NumpyDataset(path) as ds:
        found = ds.statistics(range(1024))[0]
    for got, wanted in (
        (found.mean, array.mean(dtype=np.float64)),
        (found.std, array.std(dtype=np.float64)),
        (found.min, array.min()),
        (found.max, array.max()),
    ):
        if abs(got.item() - wanted) > 1e-12 * abs(float(wanted)):
            raise RuntimeError(f"{path.name}: {got} where NumPy gives {wanted}")


def rate(path: Path, function: Callable[[Path], None]) -> float:
    """Give GB/s."""
    start = time.perf_counter()
    function(path)
    return path.stat().st_size / (time.perf_counter() - start) / 1e9


def run(bench: Bench, nbytes: int = 1 << 30) -> list[Section]:
    """Measure, and give the section of the report."""
    nbytes = min(nbytes, 256 * MIB) if bench.quick else nbytes
    rows: list[tuple[Cell, ...]] = []
    ratios = []
    for dtype in DTYPES:
        path = bench.folder / f"{dtype}.npy"
        write(path, dtype, nbytes)
        require_right(path)
        warm(path)
        found: dict[str, list[float]] = {}
        for _ in range(bench.rounds):
            for function in (bare, whole, columns):
                found.setdefault(function.__name__, []).append(rate(path, function))
        found["numpy"] = [rate(path, by_numpy)]
        cold: dict[str, list[float]] = {}
        with contextlib.suppress(UnavailableError):  # a file system in memory drops nothing
            for _ in range(bench.rounds if dtype == DTYPES[0] else 0):
                for function in (bare, whole):
                    drop_written(path)
                    cold.setdefault(function.__name__, []).append(rate(path, function))
        path.unlink()
        medians = {name: measured(each) for name, each in found.items()}
        rows.append((dtype, *(medians[name] for name in ("bare", "whole", "columns", "numpy"))))
        ratios.append(over_bare(f"{dtype} in memory", medians))
        if cold:
            medians = {name: measured(each) for name, each in cold.items()}
            rows.append((f"{dtype} on disk", medians["bare"], medians["whole"], None, None))
            ratios.append(over_bare(f"{dtype} on disk", medians))
    heads = ("", "bare", "statistics", "for each column", "mean, std, min and max by NumPy")
    return [
        Section(
            name="statistics",
            title="Statistics, beside reading the same file",
            note=f"GB/s of a file of {nbytes // MIB} MiB, rows of {COLUMNS} numbers, {cores()} "
            "cores. In memory but where it says on disk.",
            table=Table(columns=tuple(Column(name=head) for head in heads), rows=tuple(rows)),
            ratios=tuple(ratios),
        )
    ]


def over_bare(what: str, rates: dict[str, Measured]) -> Ratio:
    """Give the rate of statistics as a part of that of a bare read."""
    value = rates["whole"].median / rates["bare"].median
    return Ratio(what=f"{what}, over bare reading", value=value, goal=0.8)


def drop_written(path: Path) -> None:
    """Let the file leave memory, written out before."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    drop(path)
