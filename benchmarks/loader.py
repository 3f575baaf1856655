"""`Loader` beside DataLoader: rows of 3 KiB, 150 KB and 8 bytes, and a loop that computes.

Everything is in the page cache. Every comparison is of the same batches in the same order, checked
before anything is timed, and in turns.
"""

import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from tensordict import MemoryMappedTensor, TensorDict
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import npdata
from benchmarks.harness import Bench, Candidate, compare, ratio, table
from benchmarks.main_job import BATCH, ROWS, WIDTH, ArrayBatches
from benchmarks.peers.bare_gather import gather
from benchmarks.peers.tensordict_memmap import as_pair
from benchmarks.report import Column, Ratio, Section, Table

WIDE_ROWS, WIDE = 2_000, 38_400


def threads(dataset: npdata.NumpyDataset, sampler: object, count: int | str) -> Candidate:
    """Give a loader that lives for all passes, as one does in a training run."""
    loader = npdata.Loader(dataset, sampler=sampler, num_threads=count)
    name = f"Loader, {count} threads" if isinstance(count, int) else f"Loader, {count}"
    return Candidate(name=name, batches=lambda: loader)


def images(folder: Path, rounds: int) -> Section:
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

    def workers(name: str, dataset: object, collate: object) -> Candidate:
        return Candidate(
            name=f"{name}, DataLoader, 2 workers",
            batches=lambda: DataLoader(
                dataset, batch_sampler=sampler, collate_fn=collate, num_workers=2
            ),
        )

    timings = compare(
        [
            Candidate(
                name="bare index_select(out=)",
                batches=lambda: gather(maps, sampler.batches, most=BATCH),
            ),
            *(threads(ours, sampler, count) for count in (0, 1, 2, "auto")),
            workers("npdata", ours, npdata.collate),
            workers("tensordict", tensors, as_pair),
            workers("TensorDataset", TensorDataset(*maps), None),
        ],
        rounds=rounds,
    )
    two = timings["Loader, 2 threads"]
    others = {"TensorDataset, DataLoader, 2 workers": 10, "tensordict, DataLoader, 2 workers": 7}
    return Section(
        name="loader",
        title="Loader, rows of 3 KiB, batches of 256",
        table=table(timings, WIDTH * 4 + 8),
        ratios=tuple(
            Ratio(what=f"speed over {name}", value=ratio(two, timings[name]), goal=goal)
            for name, goal in others.items()
        ),
    )


def wide(rounds: int) -> Section:
    """Rows of 150 KB, batches of 39 MB, against a loop that uses its buffers again.

    Two of them, since a loop has one batch in hand while the next is read. One alone, which the
    loop must be done with before, stays in the cache of the processor.
    """
    x = np.random.default_rng(0).random((WIDE_ROWS, WIDE), np.float32)
    ours = npdata.NumpyDataset(x, np.arange(WIDE_ROWS))
    order = np.random.default_rng(0).permutation(WIDE_ROWS)
    sampler = [order[k : k + BATCH] for k in range(0, WIDE_ROWS, BATCH)] * 3
    tensors = torch.from_numpy(x), torch.arange(WIDE_ROWS)

    def bare(count: int) -> Candidate:
        name = "bare index_select(out=), " + ("1 buffer" if count == 1 else f"{count} buffers")
        return Candidate(
            name=name, batches=lambda: gather(tensors, sampler, most=BATCH, buffers=count)
        )

    timings = compare(
        [
            bare(1),
            bare(2),
            *(threads(ours, sampler, count) for count in (0, 1, 2)),
        ],
        rounds=rounds,
    )
    two = timings["Loader, 2 threads"]
    goals = {"2 buffers": 0.85, "1 buffer": None}
    return Section(
        name="loader-wide",
        title="Loader, rows of 150 KB, batches of 256",
        table=table(timings, WIDE * 4 + 8),
        ratios=tuple(
            Ratio(
                what=f"speed over the bare loop with {name}",
                value=ratio(two, timings[f"bare index_select(out=), {name}"]),
                goal=goal,
            )
            for name, goal in goals.items()
        ),
    )


def narrow(rounds: int) -> Section:
    """Rows of 8 bytes, batches of 32: what the loader costs by itself."""
    rows = 200_000
    ours = npdata.NumpyDataset(np.arange(rows), np.arange(rows))
    order = np.random.default_rng(0).permutation(rows)
    sampler = [order[k : k + 32] for k in range(0, rows, 32)]
    timings = compare(
        [
            Candidate(
                name="loop over __getitems__",
                batches=lambda: (npdata.collate(ours.__getitems__(rows)) for rows in sampler),
            ),
            threads(ours, Sized(sampler), "auto"),
            threads(ours, sampler, 2),
        ],
        rounds=rounds,
    )
    cost = 1 / ratio(timings["Loader, auto"], timings["loop over __getitems__"])
    return Section(
        name="loader-narrow",
        title="Loader, rows of 8 bytes, batches of 32",
        table=table(timings, 16),
        ratios=(Ratio(what="time over the loop", value=cost, goal=1.3, most=True),),
    )


class Sized(list[object]):
    """Batches of 32, which say so."""

    batch_size = 32


def overlap(folder: Path, rounds: int) -> Section:
    """Let a loop compute on one core for as long as a batch takes on one thread.

    The roofline is a bare thread: `index_select` into six buffers that two queues hand to and fro.
    """
    ours = npdata.NumpyDataset(folder / "x.npy", folder / "y.npy")
    maps = [torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in "xy"]
    sampler = ArrayBatches(ROWS)
    large, small = torch.rand(1024, 512), torch.rand(64, 64)
    weights = torch.rand(512, 512)

    def one_product(times: int) -> None:
        torch.mm(large[:times], weights)

    def small_products(times: int) -> None:
        for _ in range(times):
            torch.mm(small, small)

    def load(loader: Iterable[object], use: Callable[[], None]) -> None:
        for _ in loader:
            use()

    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    loaders = {
        "bare thread": BareThread(maps, sampler),
        **{
            f"Loader, {count}": npdata.Loader(ours, sampler=sampler, num_threads=count)
            for count in (0, 1, 2)
        },
    }
    batch = median(lambda: load(loaders["Loader, 1"], lambda: None), rounds)
    table_rows: list[tuple[str | float, ...]] = []
    ratios = []
    for name, compute in (("one product", one_product), ("small products", small_products)):

        def alone(times: int, compute: Callable[[int], None] = compute) -> None:
            for _ in range(len(sampler)):
                compute(times)

        times = max(1, round(40 * batch / median(lambda alone=alone: alone(40), 3)))
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in loaders}
        for _ in range(2 * rounds):
            for each, loader in loaders.items():
                found[each].append(
                    (
                        seconds(lambda loader=loader: load(loader, lambda: None)),
                        seconds(lambda alone=alone, times=times: alone(times)),
                        seconds(
                            lambda loader=loader, compute=compute, times=times: load(
                                loader, lambda: compute(times)
                            )
                        ),
                    )
                )
        for each, rows in found.items():
            load_s, compute_s, both_s = (
                statistics.median(column) * 1e6 / len(sampler) for column in zip(*rows, strict=True)
            )
            cost = statistics.median(both / max(one, two) for one, two, both in rows)
            table_rows.append((f"{each}, {name}", load_s, compute_s, both_s, cost))
            if each == "Loader, 1":
                what = f"{each} thread, {name}: time over the longer"
                ratios.append(Ratio(what=what, value=cost, goal=1.15, most=True))
    torch.set_num_threads(cores)
    names = ("", "loading, us", "computing, us", "both, us")
    columns = (
        *(Column(name=name, format=".0f") for name in names),
        Column(name="both / the longer"),
    )
    return Section(
        name="loader-overlap",
        title="A loop that computes",
        note="Times are of a batch. `one product` is one matrix product a batch, `small products` "
        "is many of 64 x 64, between which threads ask for the interpreter.",
        table=Table(columns=columns, rows=tuple(table_rows)),
        ratios=tuple(ratios),
    )


class BareThread:
    """One thread and two queues, with nothing checked: the least that reading ahead costs."""

    def __init__(self, maps: list[Tensor], sampler: ArrayBatches, buffers: int = 6) -> None:
        self.maps, self.sampler, self.buffers = maps, sampler, buffers

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        free: queue.SimpleQueue = queue.SimpleQueue()
        done: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self.buffers):
            free.put((torch.empty(BATCH, WIDTH), torch.empty(BATCH, dtype=torch.int64)))

        def work() -> None:
            for indices in self.sampler:
                pair = free.get()
                rows = torch.from_numpy(indices)
                for source, out in zip(self.maps, pair, strict=True):
                    torch.index_select(source, 0, rows, out=out[: len(rows)])
                done.put(pair)
            done.put(None)

        thread = threading.Thread(target=work)
        thread.start()
        while (pair := done.get()) is not None:
            yield pair
            free.put(pair)
        thread.join()


def seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def median(function: Callable[[], None], rounds: int) -> float:
    return statistics.median(seconds(function) for _ in range(rounds))


def run(bench: Bench) -> list[Section]:
    """Measure, and give the sections of the report."""
    folder, rounds = bench.folder, bench.rounds
    return [images(folder, rounds), wide(rounds), narrow(rounds), overlap(folder, rounds)]
