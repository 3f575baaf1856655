"""What people write first, each beside the same by hand.

These are parts of `random_split`, stacked datasets, a DataLoader without `collate_fn`, and folders
of `.npz`. That both sides give every row once, with its label, is checked first; epochs are timed
in turns.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, StackDataset, TensorDataset, random_split

import npdata
from benchmarks.harness import Bench
from benchmarks.report import Column, Section, Table, measured
from benchmarks.small_batches import recipe, seconds

ROWS, FILES = 400_000, 1000
Batches = Callable[[], Iterable[Any]]


def check(batches: Iterable[Any], x: Tensor, labels: Tensor) -> None:
    """See that the rows of these labels come once, each with its own."""
    rows, found = map(torch.cat, zip(*batches, strict=True))
    assert torch.equal(found.sort()[0], labels.sort()[0])
    assert torch.equal(rows, x[found])


def part(rows: int, width: int, size: int) -> tuple[Batches, Batches, Tensor, Tensor]:
    """Give the batches of nine tenths of the rows, by hand and as `random_split` chooses them."""
    data = np.random.default_rng(0).random((rows, width), np.float32)
    x, y = torch.from_numpy(data), torch.arange(rows)
    chosen, _ = random_split(npdata.NumpyDataset(data, y.numpy()), [0.9, 0.1])
    loader = npdata.Loader(chosen, size, shuffle=True)
    indices = torch.tensor(chosen.indices)

    def by_hand() -> Iterator[Any]:
        order = indices[torch.randperm(len(indices))]
        for first in range(0, len(order), size):
            taken = order[first : first + size]
            yield x.index_select(0, taken), y.index_select(0, taken)

    return by_hand, lambda: loader, x, indices


def stacked(rows: int, size: int) -> tuple[Batches, Batches, Tensor, Tensor]:
    """Give the batches of two datasets in a `StackDataset`."""
    data = np.random.default_rng(0).random((rows, 32), np.float32)
    x, y = torch.from_numpy(data), torch.arange(rows)
    both = StackDataset(npdata.NumpyDataset(data), npdata.NumpyDataset(y.numpy()))
    loader = npdata.Loader(both, size, shuffle=True)
    return lambda: recipe(x, y, size), lambda: loader, x, y


def sampled(rows: int, size: int) -> tuple[Batches, Batches, Tensor, Tensor]:
    """Give the batches of a DataLoader without `collate_fn`, which asks for samples."""
    data = np.random.default_rng(0).random((rows, 32), np.float32)
    x, y = torch.from_numpy(data), torch.arange(rows)
    usual = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=True)
    ours = DataLoader(npdata.NumpyDataset(data, y.numpy()), batch_size=size, shuffle=True)
    return lambda: usual, lambda: ours, x, y


def zipped(folder: Path, files: int, size: int, save: Any) -> tuple[Batches, Batches, Tensor, Any]:
    """Give the batches of files that each hold an image and its label."""
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 50, (files, 3, 32, 32)).astype(np.float32)
    for k, image in enumerate(images):
        save(folder / f"{k:06d}.npz", x=image, y=k)
    paths = sorted(folder.iterdir())
    ours = npdata.stack(x=f"{folder}/*.npz::x", y=f"{folder}/*.npz::y")
    loader = npdata.Loader(ours, size, shuffle=True)

    def load(number: int) -> tuple[Any, Any]:
        with np.load(paths[number]) as arrays:
            return arrays["x"], arrays["y"]

    def by_hand() -> Iterator[Any]:
        order = np.random.default_rng(0).permutation(files)
        for first in range(0, files, size):
            columns = zip(*map(load, order[first : first + size]), strict=True)
            yield tuple(torch.from_numpy(np.stack(column)) for column in columns)

    def by_name() -> Iterator[Any]:
        return ((batch["x"], batch["y"]) for batch in loader)

    return by_hand, by_name, torch.from_numpy(images), torch.arange(files)


def run(bench: Bench, rows: int = ROWS, files: int = FILES) -> list[Section]:
    """Measure, and give the section of the report."""
    large, few = max(1000, rows // 10), max(1000, rows // 20)
    folder = bench.folder
    kinds = {
        "Loader of random_split, 128 bytes, 256": part(rows, 32, 256),
        "Loader of random_split, 3 KiB, 256": part(large, 768, 256),
        "Loader of a StackDataset, 128 bytes, 256": stacked(rows, 256),
        "DataLoader without collate_fn, 128 bytes, 256": sampled(few, 256),
        "an .npz for each image and label, 32": zipped(folder / "plain", files, 32, np.savez),
        "the same, compressed, 32": zipped(folder / "packed", files, 32, np.savez_compressed),
    }
    lines = []
    for what, (by_hand, ours, x, labels) in kinds.items():
        for each in (by_hand, ours):
            check(each(), x, labels)
        passes = [(seconds(by_hand)[0], seconds(ours)[0]) for _ in range(2 * bench.rounds)]
        usual, own = (measured([1e6 * times[side] for times in passes]) for side in range(2))
        lines.append((what, usual, own, measured([hand / mine for hand, mine in passes])))
        bench.say(f"{what}: {lines[-1][-1].median:.2f} times by hand")
    columns = (
        Column(name="what is written, rows, batch"),
        Column(name="by hand, µs a batch", format=",.1f"),
        Column(name="npdata, µs a batch", format=",.1f"),
        Column(name="times by hand"),
    )
    return [
        Section(
            name="habits",
            title="What people write first, beside the same by hand",
            note="By hand: randperm and index_select; for the DataLoader a TensorDataset, for "
            "files np.load. Each row is one with a label, in random order.",
            table=Table(columns=columns, rows=tuple(lines)),
        )
    ]
