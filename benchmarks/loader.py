"""`Loader` beside DataLoader: rows of 3 KiB, 150 KB and 8 bytes, and a loop that computes.

Everything is in the page cache. Every comparison is of the same batches in the same order, checked
before anything is timed, and in turns.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from tensordict import MemoryMappedTensor, TensorDict
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import npdata
from benchmarks.harness import Contender, Timing, compare, table
from benchmarks.main_job import BATCH, ROWS, WIDTH, ArrayBatches, as_pair, bare_loop

WIDE_ROWS, WIDE = 2_000, 38_400


def threads(dataset: npdata.NumpyDataset, sampler: object, count: int) -> Contender:
    return Contender(
        name=f"Loader, {count} threads",
        batches=lambda: npdata.Loader(dataset, sampler=sampler, num_threads=count),
    )


def images(folder: Path, rounds: int) -> str:
    """Rows of 3 KiB and a label, batches of 256, against DataLoaders with 2 workers."""
    generator = np.random.default_rng(0)
    x, y = generator.random((ROWS, WIDTH), np.float32), generator.integers(0, 10, ROWS)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    tensors = TensorDict(
        {
            name: MemoryMappedTensor.from_tensor(torch.from_numpy(each), filename=folder / name)
            for name, each in (("x", x), ("y", y))
        },
        batch_size=[ROWS],
    )
    del x, y
    ours = npdata.NumpyDataset(folder / "x.npy", folder / "y.npy")
    maps = [torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in "xy"]
    sampler = ArrayBatches(ROWS)

    def workers(name: str, dataset: object, collate: object) -> Contender:
        return Contender(
            name=f"{name}, DataLoader, 2 workers",
            batches=lambda: DataLoader(
                dataset, batch_sampler=sampler, collate_fn=collate, num_workers=2
            ),
        )

    timings = compare(
        [
            Contender(name="bare index_select(out=)", batches=lambda: bare_loop(*maps, sampler)),
            *(threads(ours, sampler, count) for count in (0, 1, 2)),
            workers("npdata", ours, npdata.collate),
            workers("tensordict", tensors, as_pair),
            workers("TensorDataset", TensorDataset(*maps), None),
        ],
        rounds=rounds,
    )
    two = timings["Loader, 2 threads"]
    return (
        "## Loader, rows of 3 KiB, batches of 256\n\n"
        + table(timings, ROWS, WIDTH * 4 + 8)
        + f"\n\nRatios: {ratio(two, timings['TensorDataset, DataLoader, 2 workers']):.1f} x "
        f"TensorDataset (goal 10), {ratio(two, timings['tensordict, DataLoader, 2 workers']):.1f} "
        "x tensordict (goal 7)."
    )


def wide(rounds: int) -> str:
    """Rows of 150 KB, batches of 39 MB, against a loop that uses its buffer again."""
    x = np.random.default_rng(0).random((WIDE_ROWS, WIDE), np.float32)
    ours = npdata.NumpyDataset(x, np.arange(WIDE_ROWS))
    order = np.random.default_rng(0).permutation(WIDE_ROWS)
    sampler = [order[k : k + BATCH] for k in range(0, WIDE_ROWS, BATCH)] * 3
    buffers = torch.empty(BATCH, WIDE), torch.empty(BATCH, dtype=torch.int64)
    tensors = torch.from_numpy(x), torch.arange(WIDE_ROWS)

    def bare() -> Iterator[list[Tensor]]:
        for indices in sampler:
            rows = torch.from_numpy(indices)
            yield [
                torch.index_select(tensor, 0, rows, out=buffer[: len(rows)])
                for tensor, buffer in zip(tensors, buffers, strict=True)
            ]

    timings = compare(
        [
            Contender(name="bare index_select(out=)", batches=bare),
            *(threads(ours, sampler, count) for count in (0, 1, 2)),
        ],
        rounds=rounds,
    )
    part = ratio(timings["Loader, 2 threads"], timings["bare index_select(out=)"])
    return (
        "## Loader, rows of 150 KB, batches of 256\n\n"
        + table(timings, 3 * WIDE_ROWS, WIDE * 4 + 8)
        + f"\n\nRatio: {part:.2f} of the bare loop (goal 0.85)."
    )


def narrow(rounds: int) -> str:
    """Rows of 8 bytes, batches of 32: what the loader costs by itself."""
    rows = 200_000
    ours = npdata.NumpyDataset(np.arange(rows), np.arange(rows))
    order = np.random.default_rng(0).permutation(rows)
    sampler = [order[k : k + 32] for k in range(0, rows, 32)]
    timings = compare(
        [
            Contender(
                name="loop over __getitems__",
                batches=lambda: (npdata.collate(ours.__getitems__(rows)) for rows in sampler),
            ),
            Contender(
                name="Loader, auto", batches=lambda: npdata.Loader(ours, 32, sampler=Sized(sampler))
            ),
            threads(ours, sampler, 2),
        ],
        rounds=rounds,
    )
    cost = 1 / ratio(timings["Loader, auto"], timings["loop over __getitems__"])
    return (
        "## Loader, rows of 8 bytes, batches of 32\n\n"
        + table(timings, rows, 16)
        + f"\n\nRatio: {cost:.2f} times the loop (goal 1.3)."
    )


class Sized(list[object]):
    """Batches of 32, which say so."""

    batch_size = 32


def overlap(folder: Path, rounds: int) -> str:
    """Let a loop compute on one core for as long as a batch takes on one thread."""
    ours = npdata.NumpyDataset(folder / "x.npy", folder / "y.npy")
    sampler = ArrayBatches(ROWS)
    weights = torch.rand(64, 64)
    cores = torch.get_num_threads()
    torch.set_num_threads(1)

    def compute(times: int) -> None:
        for _ in range(times):
            torch.mm(weights, weights)

    def load(use: Callable[[], None]) -> None:
        for _ in npdata.Loader(ours, sampler=sampler, num_threads=1):
            use()

    def alone(times: int) -> None:
        for _ in range(len(sampler)):
            compute(times)

    loading = median(lambda: load(lambda: None), rounds)
    times = max(1, round(1000 * loading / median(lambda: alone(1000), 1)))
    both = [
        (
            seconds(lambda: load(lambda: None)),
            seconds(lambda: alone(times)),
            seconds(lambda: load(lambda: compute(times))),
        )
        for _ in range(rounds)
    ]
    torch.set_num_threads(cores)
    load_s, compute_s, both_s = (statistics.median(each) for each in zip(*both, strict=True))
    return (
        "## A loop that computes\n\n"
        f"Loading alone {load_s:.2f} s, computing alone {compute_s:.2f} s, both "
        f"{both_s:.2f} s: {both_s / max(load_s, compute_s):.2f} times the longer (goal 1.15)."
    )


def seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def median(function: Callable[[], None], rounds: int) -> float:
    return statistics.median(seconds(function) for _ in range(rounds))


def ratio(fast: Timing, slow: Timing) -> float:
    return slow.median / fast.median


def run(folder: Path, rounds: int = 5) -> list[str]:
    """Measure, and give the sections of the report."""
    return [images(folder, rounds), wide(rounds), narrow(rounds), overlap(folder, rounds)]


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder:
        print("\n\n".join(run(Path(folder))))


if __name__ == "__main__":
    main()
