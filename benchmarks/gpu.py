"""To the accelerator: bytes a second, and what a training step waits, beside other loaders.

Needs an accelerator. The bare loop copies one pinned buffer again and again, which is the
most that the bus does. The step time is that of a small convolutional network, once with one
resident batch, then fed by each loader. Rows that are held on the device are gathered there, beside
the recipe that a user writes; sparse rows are sent as they are and made dense there.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from tensordict import MemoryMappedTensor, TensorDict
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import npdata
from benchmarks.harness import Bench, UnavailableError
from benchmarks.peers.tensordict_memmap import as_pair
from benchmarks.report import Column, Measured, Ratio, Section, Table, measured
from benchmarks.small_batches import recipe

ROWS, SIDE, BATCH, WORKERS = 40_000, 64, 512, 8


def bare(device: torch.device, batches: int) -> float:
    """Give the seconds of so many copies of one pinned batch."""
    source = torch.empty(BATCH, 3, SIDE, SIDE, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device=device)
    torch.accelerator.synchronize()
    start = time.perf_counter()
    for _ in range(batches):
        target.copy_(source, non_blocking=True)
    torch.accelerator.synchronize()
    return time.perf_counter() - start


def drain(batches: Iterable[object]) -> float:
    """Give the seconds until every batch is on the device."""
    start = time.perf_counter()
    for _ in batches:
        pass
    torch.accelerator.synchronize()
    return time.perf_counter() - start


def network(device: torch.device) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Give a training step."""
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(image: torch.Tensor, label: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(image.float() / 255), label).backward()
        optimizer.step()

    return step


def steps(batches: Iterable[tuple[torch.Tensor, torch.Tensor]], step: Callable[..., None]) -> float:
    """Give the milliseconds of a step, over an epoch, the first ten left out."""
    count, start = 0, 0.0
    for number, (image, label) in enumerate(batches):
        if number == 10:
            torch.accelerator.synchronize()
            start = time.perf_counter()
        step(image, label)
        count = number
    torch.accelerator.synchronize()
    return (time.perf_counter() - start) / (count - 9) * 1e3


def loaders_of(folder: Path, device: torch.device) -> tuple[dict[str, Iterable[Any]], Any]:
    """Write images, and give loaders of them and one batch on the device."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (ROWS, 3, SIDE, SIDE), np.uint8)
    y = rng.integers(0, 10, ROWS)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    fields = {
        name: MemoryMappedTensor.from_tensor(torch.from_numpy(each), filename=folder / name)
        for name, each in (("x", x), ("y", y))
    }
    tensors = TensorDict(fields, batch_size=[ROWS])
    ours = npdata.NumpyDataset(folder / "x.npy", folder / "y.npy")
    plain = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))

    def stock(dataset: object, collate: object) -> Iterable[object]:
        loader = DataLoader(
            dataset,
            BATCH,
            shuffle=True,
            drop_last=True,
            num_workers=WORKERS,
            pin_memory=True,
            collate_fn=collate,
            persistent_workers=True,
        )
        return _Moved(loader, device)

    loaders = {
        "npdata.Loader": npdata.Loader(ours, BATCH, shuffle=True, drop_last=True, device=device),
        "TensorDataset, DataLoader": stock(plain, None),
        "tensordict, DataLoader": stock(tensors, as_pair),
    }
    # Rows of the data: a device computes faster on zeros, which take less power.
    return loaders, tuple(torch.from_numpy(each[:BATCH]).to(device) for each in (x, y))


def in_turns(measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, Measured]:
    """Measure all once, so often, after once that does not count."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            figure = measure()
            if number:
                found[name].append(figure)
    return {name: measured(each) for name, each in found.items()}


def images(bench: Bench, device: torch.device) -> Section:
    """Measure batches on their way to the device, and the steps that they feed."""
    loaders, first = loaders_of(bench.folder, device)
    step = network(device)
    resident = [first] * (ROWS // BATCH)
    copied = (ROWS // BATCH) * BATCH * 3 * SIDE * SIDE / 1e9
    measures: dict[str, Callable[[], float]] = {
        "GB/s, bare copy": lambda: copied / bare(device, ROWS // BATCH),
        "ms a step, resident batch": lambda: steps(resident, step),
    }
    for name, loader in loaders.items():
        measures[f"GB/s, {name}"] = lambda loader=loader: copied / drain(loader)
        measures[f"ms a step, {name}"] = lambda loader=loader: steps(loader, step)
    figures = in_turns(measures, bench.rounds)
    copy = figures["GB/s, npdata.Loader"].median / figures["GB/s, bare copy"].median
    stall = figures["ms a step, npdata.Loader"].median / figures["ms a step, resident batch"].median
    return Section(
        name="gpu",
        title="To the accelerator",
        note=f"{ROWS:,} images of {SIDE} x {SIDE} x 3 bytes out of a `.npy`, batches of {BATCH}.",
        table=Table(columns=(Column(name=""), Column(name="")), rows=tuple(figures.items())),
        ratios=(
            Ratio(what="bytes a second over the bare copy", value=copy, goal=0.9),
            Ratio(
                what="time of a step over that with a resident batch",
                value=stall,
                goal=1.02,
                most=True,
            ),
        ),
    )


def held(bench: Bench, device: torch.device, rows: int = 1_000_000) -> Section:
    """Measure rows that lie on the device, beside the recipe over tensors there."""
    x = np.random.default_rng(0).random((rows, 32), np.float32)
    ours = npdata.NumpyDataset(x, np.arange(rows))
    there = torch.from_numpy(x).to(device), torch.arange(rows, device=device)
    lines, ratios = [], []
    for batch in (64, 256, 1024, 16_384):
        loader = npdata.Loader(ours, batch, shuffle=True, device=device, resident=True)
        for got, label in loader:
            assert torch.equal(got, there[0].index_select(0, label))
        found = in_turns(
            {
                "Loader": lambda loader=loader: drain(loader),
                "recipe": lambda batch=batch: drain(recipe(*there, batch)),
            },
            bench.rounds,
        )
        count = -(-rows // batch)
        micros = {name: each.scaled(1e6 / count) for name, each in found.items()}
        gain = found["recipe"].median / found["Loader"].median
        lines.append((f"{batch:,}", micros["Loader"], micros["recipe"], gain))
        ratios.append(Ratio(what=f"batches of {batch:,}, speed over the recipe", value=gain))
    columns = (
        Column(name="rows of a batch"),
        Column(name="Loader, µs a batch", format=",.1f"),
        Column(name="recipe, µs a batch", format=",.1f"),
        Column(name="recipe / Loader"),
    )
    return Section(
        name="gpu-resident",
        title="Rows that are held on the accelerator",
        note=f"{rows:,} rows of 128 bytes and a label, `Loader(resident=True)`, from the second "
        "epoch on. The recipe is `randperm` and `index_select` on the accelerator.",
        table=Table(columns=columns, rows=tuple(lines)),
        ratios=tuple(ratios),
    )


def sparse_rows(bench: Bench, device: torch.device, rows: int = 20_000) -> Section:
    """Measure dense batches of sparse rows on the device, beside scipy's that are sent."""
    rng, columns, each, batch = np.random.default_rng(0), 20_000, 1_000, 256
    values = rng.random(rows * each, np.float32)
    step = columns // each  # one value in each so many columns
    numbers = rng.integers(0, step, (rows, each)) + np.arange(0, columns, step)
    starts = np.arange(0, rows * each + 1, each)
    shape = (rows, columns)
    matrix = sparse.csr_matrix((values, numbers.reshape(-1).astype(np.int32), starts), shape)
    source = npdata.csr(values, matrix.indices, starts, shape)
    order = [rng.integers(0, rows, batch) for _ in range(100)]

    def by_scipy() -> Iterator[torch.Tensor]:
        for part in order:
            yield torch.from_numpy(matrix[part].toarray()).to(device)

    loader = npdata.Loader(npdata.NumpyDataset(source), sampler=order, device=device)
    for one, other in zip(loader, by_scipy(), strict=True):
        assert torch.equal(one, other)
    found = in_turns(
        {"Loader": lambda: drain(loader), "scipy": lambda: drain(by_scipy())}, bench.rounds
    )
    lines = [(name, seconds.scaled(1e3 / len(order))) for name, seconds in found.items()]
    gain = found["scipy"].median / found["Loader"].median
    return Section(
        name="gpu-sparse",
        title="Sparse rows to the accelerator",
        note=f"Rows of {columns:,} float32, of which {each:,} are not 0, in batches of {batch}, "
        "dense on the accelerator. scipy takes the rows and makes them dense, then they are sent.",
        table=Table(columns=(Column(name=""), Column(name="ms a batch")), rows=tuple(lines)),
        ratios=(Ratio(what="speed over scipy", value=gain, goal=5),),
    )


def run(bench: Bench) -> list[Section]:
    """Measure, and give the sections of the report."""
    device = torch.accelerator.current_accelerator()
    if device is None:
        raise UnavailableError("no accelerator on this machine")
    return [images(bench, device), held(bench, device), sparse_rows(bench, device)]


class _Moved:
    """The batches of a loader, moved as a training loop moves them."""

    def __init__(self, loader: DataLoader, device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __iter__(self) -> Iterable[object]:
        for batch in self.loader:
            yield [part.to(self.device, non_blocking=True) for part in batch]
