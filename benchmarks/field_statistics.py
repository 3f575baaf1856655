"""`NumpyDataset.statistics` beside reading the same file and doing nothing with it.

"bare" reads the file from start to end into small buffers that are used again, by as many threads
as there are cores; in memory, that is as fast as memory copies. Each figure of `statistics` is
checked against NumPy's. NumPy, too, is timed: mean, std, min and max of the mapped array.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import npdata
from benchmarks.harness import Bench, UnavailableError
from benchmarks.page_cache import drop, warm
from benchmarks.report import Cell, Column, Measured, Ratio, Section, Table, measured
from npdata.runtime.machine import cores

MIB = 1 << 20
CASES: dict[str, tuple[int, ...]] = {
    "float32": (784,),
    "float64": (784,),
    "int64": (784,),
    "int16": (784,),
    "uint8": (3, 112, 112),
}
"""The shape of a sample of each dtype; axis 0 holds its columns or channels."""


def write(path: Path, dtype: str, nbytes: int) -> None:
    """Write numbers around 50 with a deviation of 20."""
    shape = CASES[dtype]
    count = max(64, MIB // math.prod(shape))
    some = np.random.default_rng(0).normal(50, 20, (count, *shape)).clip(0, 127).astype(dtype)
    times = max(1, nbytes // some.nbytes)
    with path.open("wb") as file:
        header = {"descr": some.dtype.str, "fortran_order": False, "shape": (times * count, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(times):
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


def channels(path: Path) -> None:
    """Compute the statistics of each column or channel."""
    with npdata.NumpyDataset(path) as ds:
        ds.statistics(keep_axes=0)


def by_numpy(path: Path) -> None:
    """Compute them by NumPy, in float64."""
    array = np.load(path, mmap_mode="r")
    array.mean(dtype=np.float64), array.std(dtype=np.float64), array.min(), array.max()


def require_right(path: Path) -> None:
    """Compare with NumPy; raises RuntimeError where a figure is another."""
    array = np.load(path, mmap_mode="r")[:64]
    over = (0, *range(2, array.ndim))
    with npdata.NumpyDataset(path) as ds:
        whole, each = (ds.statistics(range(64), keep_axes={0: axes})[0] for axes in ((), 0))
    for found, axes in ((whole, None), (each, over)):
        for got, wanted in (
            (found.mean, array.mean(axis=axes, dtype=np.float64)),
            (found.std, array.std(axis=axes, dtype=np.float64)),
            (found.min, array.min(axis=axes)),
            (found.max, array.max(axis=axes)),
        ):
            if not np.allclose(got.squeeze(), wanted, rtol=1e-12, atol=0):
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
    for dtype in CASES:
        path = bench.folder / f"{dtype}.npy"
        write(path, dtype, nbytes // 8)  # NumPy takes ten seconds for a GiB
        numpy = measured([rate(path, by_numpy)])
        write(path, dtype, nbytes)
        require_right(path)
        warm(path)
        found = rates(bench, path, (bare, whole, channels)) | {"numpy": numpy}
        names = ("bare", "whole", "channels", "numpy")
        rows.append((f"{dtype} {CASES[dtype]}", *(found[name] for name in names)))
        ratios.append(over_bare(f"{dtype} in memory", found))
        ratios.append(over_bare(f"{dtype} in memory, for each channel", found, "channels"))
        with contextlib.suppress(UnavailableError):  # a file system in memory drops nothing
            if dtype == "float32":
                found = rates(bench, path, (bare, whole), drop_written)
                rows.append((f"{dtype} on disk", found["bare"], found["whole"], None, None))
                ratios.append(over_bare(f"{dtype} on disk", found))
        path.unlink()
    heads = ("samples", "bare", "statistics", "for each column or channel", "by NumPy")
    return [
        Section(
            name="statistics",
            title="Statistics, beside reading the same file",
            note=f"GB/s of a file of {nbytes // MIB} MiB, {cores()} cores; in memory but where it "
            "says on disk. By NumPy: mean, std, min and max, in float64.",
            table=Table(columns=tuple(Column(name=head) for head in heads), rows=tuple(rows)),
            ratios=tuple(ratios),
        )
    ]


def rates(
    bench: Bench,
    path: Path,
    functions: Sequence[Callable[[Path], None]],
    before: Callable[[Path], None] = lambda _: None,
) -> dict[str, Measured]:
    """Give the rate of each function in turn, `before` called before each."""
    found: dict[str, list[float]] = {function.__name__: [] for function in functions}
    for _ in range(bench.rounds):
        for function in functions:
            before(path)
            found[function.__name__].append(rate(path, function))
    return {name: measured(each) for name, each in found.items()}


def over_bare(what: str, rates: dict[str, Measured], name: str = "whole") -> Ratio:
    """Give the rate of statistics as a part of that of a bare read."""
    value = rates[name].median / rates["bare"].median
    return Ratio(what=f"{what}, over bare reading", value=value, goal=0.8)


def drop_written(path: Path) -> None:
    """Let the file leave memory, written out before."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    drop(path)
