"""To the accelerator: bytes a second, and what a training step waits, beside other loaders.

Needs an accelerator. The bare loop copies one pinned buffer again and again, which is the
most that the bus does. The step time is that of a small convolutional network, once with one
resident batch, then fed by each loader.
"""

import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from tensordict import MemoryMappedTensor, TensorDict
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import npdata
from benchmarks.harness import Bench, UnavailableError
from benchmarks.peers.tensordict_memmap import as_pair
from benchmarks.report import Column, Ratio, Section, Table, measured

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


def run(bench: Bench) -> list[Section]:
    """Measure, and give the section of the report."""
    folder = bench.folder
    device = torch.accelerator.current_accelerator()
    if device is None:
        raise UnavailableError("no accelerator on this machine")
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
    step = network(device)
    # Rows of the data: a device computes faster on zeros, which take less power.
    first = tuple(torch.from_numpy(each[:BATCH]).to(device) for each in (x, y))
    resident = [first] * (ROWS // BATCH)
    copied = (ROWS // BATCH) * BATCH * 3 * SIDE * SIDE / 1e9
    measures: dict[str, Callable[[], float]] = {
        "GB/s, bare copy": lambda: copied / bare(device, ROWS // BATCH),
        "ms a step, resident batch": lambda: steps(resident, step),
    }
    for name, loader in loaders.items():
        measures[f"GB/s, {name}"] = lambda loader=loader: copied / drain(loader)
        measures[f"ms a step, {name}"] = lambda loader=loader: steps(loader, step)
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(bench.rounds):
        for name, measure in measures.items():
            found[name].append(measure())
    figures = {name: measured(each) for name, each in found.items()}
    copy = figures["GB/s, npdata.Loader"].median / figures["GB/s, bare copy"].median
    stall = figures["ms a step, npdata.Loader"].median / figures["ms a step, resident batch"].median
    return [
        Section(
            name="gpu",
            title="To the accelerator",
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
    ]


class _Moved:
    """The batches of a loader, moved as a training loop moves them."""

    def __init__(self, loader: DataLoader, device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __iter__(self) -> Iterable[object]:
        for batch in self.loader:
            yield [part.to(self.device, non_blocking=True) for part in batch]
