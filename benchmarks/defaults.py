"""`Loader` as it comes, beside the best number of threads, for loops that compute and that do not.

Each kind of data is read by `num_threads` "auto", 0, 1 and 2 in turns; that all give the same
batches is checked first.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import npdata
from benchmarks.harness import Bench
from benchmarks.report import Column, Ratio, Section, Table, measured

GOAL = 0.85
LEAST_SECONDS = 1.0
"""So long each number of threads is timed: ten passes of 20 ms gave 0.79 where 150 gave 1.0."""
THREADS: tuple[Any, ...] = ("auto", 0, 1, 2)


def sorted_five_times(sample: torch.Tensor) -> torch.Tensor:
    """Stand for a transform that leaves the interpreter to others."""
    for _ in range(5):
        sample = sample.float().sort()[0]
    return sample


def kinds(folder: Path, rows: int) -> Iterator[tuple[str, dict[Any, npdata.Loader]]]:
    """Give kinds of data, each with a loader for each number of threads."""
    generator = np.random.default_rng(0)
    small, wide = generator.random((rows, 32), np.float32), max(256, rows // 32)
    images = generator.integers(0, 256, (wide, 784)).astype(np.float32)
    np.save(folder / "x.npy", images)
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("x", data=images, chunks=(256, 784), compression=4, shuffle=True)
    dataset = npdata.NumpyDataset
    in_memory = dataset(small, np.arange(rows))
    mapped = dataset(folder / "x.npy", np.arange(wide))
    packed = dataset(f"{folder}/x.h5::x", np.arange(wide))
    pixels = images.astype(np.uint8)
    figures = dataset(pixels[:2048]).statistics()
    tokens = dataset(pixels[:2048].reshape(-1).view(np.uint16), dtype=torch.int64)
    lengths = generator.integers(10, 200, rows // 200)
    sequences = npdata.ragged(small[: int(lengths.sum())], lengths=lengths)
    for what, data, size, shuffle in (
        ("128 bytes in memory, 64", in_memory, 64, "full"),
        ("128 bytes in memory, 1,024", in_memory, 1024, "full"),
        ("3 KiB of .npy, 16", mapped, 16, "full"),
        ("3 KiB of .npy, 256", mapped, 256, "full"),
        ("3 KiB of .npy, 1,024", mapped, 1024, "full"),
        ("3 KiB of gzip HDF5, 256", packed, 256, "block"),
        ("transform of 8", dataset(pixels[:512], transform=sorted_five_times), 8, "full"),
        ("transform of 64", dataset(pixels[:4096], transform=sorted_five_times), 64, "full"),
        ("batch_transform of 256", dataset(images, batch_transform=torch.neg), 256, "full"),
        (
            "bytes, normalized, 256",
            dataset(pixels, batch_transform=npdata.normalize(figures, fields=[0])),
            256,
            "full",
        ),
        ("windows of 1,025 tokens, 64", tokens.windows(1025, stride=64), 64, "full"),
        ("sequences, padded, 64", dataset(sequences), 64, "full"),
    ):
        options = {"shuffle": shuffle, "seed": 1}
        yield (
            what,
            {n: npdata.Loader(data, size, num_threads=n, **options) for n in THREADS},
        )


def check(loaders: dict[Any, npdata.Loader]) -> None:
    """See that all give the same batches."""
    for batches in zip(*loaders.values(), strict=True):
        for other in batches[1:]:
            assert all(map(torch.equal, batches[0], other))


def seconds(loader: npdata.Loader, compute: Callable[[], object] | None) -> float:
    """Time an epoch, whose loop may compute."""
    start = time.perf_counter()
    if compute is None:
        for _ in loader:
            pass
    else:
        for _ in loader:
            compute()
    return time.perf_counter() - start


def computing(batch: float) -> Callable[[], object]:
    """Give a matrix product that takes about as many seconds as a batch."""
    left, right = torch.rand(4096, 128), torch.rand(128, 128)
    start = time.perf_counter()
    for _ in range(5):
        torch.mm(left, right)
    rows = int(len(left) * batch / ((time.perf_counter() - start) / 5))
    part = left[: max(1, min(rows, len(left)))]
    return lambda: torch.mm(part, right)


def run(bench: Bench, rows: int = 500_000) -> list[Section]:
    """Measure, and give the section of the report."""
    lines, ratios = [], []
    cores = torch.get_num_threads()
    for what, loaders in kinds(bench.folder, rows):
        check(loaders)
        epoch = min(seconds(loaders[0], None) for _ in range(3))
        batch = epoch / len(loaders[0])
        rounds = 2 * bench.rounds
        if not bench.quick:
            rounds = max(rounds, round(LEAST_SECONDS / epoch))
        for loop in ("that does not", "that computes"):
            torch.set_num_threads(1 if loop == "that computes" else cores)
            compute = computing(batch) if loop == "that computes" else None
            passes: dict[Any, list[float]] = {n: [] for n in THREADS}
            for _ in range(rounds):
                for n, loader in loaders.items():
                    passes[n].append(seconds(loader, compute))
            torch.set_num_threads(cores)
            best = min(THREADS[1:], key=lambda n: statistics.median(passes[n]))
            pairs = zip(passes[best], passes["auto"], strict=True)
            found = measured([one / auto for one, auto in pairs])
            times = [1e3 * statistics.median(passes[n]) for n in THREADS]
            lines.append((f"{what}, a loop {loop}", *times, found))
            ratios.append(Ratio(what=str(lines[-1][0]), value=found.median, goal=GOAL))
            bench.say(f"{lines[-1][0]}: {found.median:.2f} of {best} threads")
    names = [f"{n}, ms" for n in ("default", *THREADS[1:])]
    columns = (
        Column(name="rows, batch"),
        *(Column(name=name, format=",.1f") for name in names),
        Column(name="default / best"),
    )
    return [
        Section(
            name="defaults",
            title="Loader as it comes, beside 0, 1 and 2 threads",
            note="Milliseconds of an epoch, and the speed of the default over that of the best "
            "number of threads, in pairs of passes. A loop that computes does so for as long as "
            "a batch takes without threads, on one core.",
            table=Table(columns=columns, rows=tuple(lines)),
            ratios=tuple(ratios),
        )
    ]
