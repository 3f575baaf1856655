"""A stock DataLoader over a memory-mapped `.npy`: npdata, tensordict, TensorDataset, a bare loop.

200,000 rows of 784 float32 and an int64 label, batches of 256 in random order, page cache warm.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tensordict import MemoryMappedTensor, TensorDict
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

import npdata
from benchmarks.harness import Contender, compare, table

ROWS, WIDTH, BATCH = 200_000, 784, 256


class BareDataset(Dataset):
    """The least that a dataset can do: one index_select a field, nothing checked."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.tensors = (x, y)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitems__(self, indices: np.ndarray) -> list[Tensor]:
        rows = torch.from_numpy(indices)
        return [torch.index_select(tensor, 0, rows) for tensor in self.tensors]


def as_it_is(batch: list[Tensor]) -> list[Tensor]:
    """Collate for a dataset that gives stacked tensors."""
    return batch


class ArrayBatches:
    """A batch sampler that yields slices of one fixed permutation, as arrays or as lists."""

    def __init__(self, rows: int, *, as_lists: bool = False) -> None:
        order = np.random.default_rng(0).permutation(rows)
        pieces = [order[k : k + BATCH] for k in range(0, rows, BATCH)]
        self.batches = [piece.tolist() for piece in pieces] if as_lists else pieces

    def __iter__(self) -> Iterator[object]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def bare_loop(x: Tensor, y: Tensor, sampler: ArrayBatches) -> Iterator[Sequence[Tensor]]:
    """Give the ceiling: one index_select a field, into buffers that are used again."""
    for indices in sampler:
        rows = torch.from_numpy(indices)
        xs = BUFFERS[0][: len(rows)]
        ys = BUFFERS[1][: len(rows)]
        torch.index_select(x, 0, rows, out=xs)
        torch.index_select(y, 0, rows, out=ys)
        yield xs, ys


BUFFERS = (torch.empty(BATCH, WIDTH), torch.empty(BATCH, dtype=torch.int64))


def as_pair(batch: TensorDict) -> tuple[Tensor, Tensor]:
    """Collate for tensordict, whose `__getitems__` has stacked the batch already."""
    return batch["x"], batch["y"]


def loader(dataset: Dataset, sampler: ArrayBatches, collate: object, workers: int) -> DataLoader:
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=collate, num_workers=workers)


def run(folder: Path, rounds: int = 5, workers: int = 0) -> list[str]:
    """Measure, and give the sections of the report."""
    generator = np.random.default_rng(0)
    x = generator.random((ROWS, WIDTH), np.float32)
    y = generator.integers(0, 10, ROWS)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    tensors = TensorDict(
        {
            "x": MemoryMappedTensor.from_tensor(torch.from_numpy(x), filename=folder / "x.mmt"),
            "y": MemoryMappedTensor.from_tensor(torch.from_numpy(y), filename=folder / "y.mmt"),
        },
        batch_size=[ROWS],
    )
    del x, y
    ours = npdata.NumpyDataset(folder / "x.npy", folder / "y.npy")
    maps = [torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in "xy"]
    plain = TensorDataset(*maps)
    arrays, lists = ArrayBatches(ROWS), ArrayBatches(ROWS, as_lists=True)

    def contender(
        name: str, dataset: Dataset, sampler: ArrayBatches, collate: object, workers: int
    ) -> Contender:
        return Contender(name=name, batches=lambda: loader(dataset, sampler, collate, workers))

    sections = []
    zero = compare(
        [
            Contender(name="bare index_select(out=)", batches=lambda: bare_loop(*maps, arrays)),
            contender("DataLoader, bare dataset", BareDataset(*maps), arrays, as_it_is, 0),
            contender("npdata", ours, arrays, npdata.collate, 0),
            contender("npdata, lists of ints", ours, lists, npdata.collate, 0),
            contender("tensordict MemoryMappedTensor", tensors, arrays, as_pair, 0),
            contender("TensorDataset", plain, arrays, None, 0),
            contender("TensorDataset, lists of ints", plain, lists, None, 0),
        ],
        rounds=rounds,
    )
    two = compare(
        [
            contender("npdata", ours, arrays, npdata.collate, 2),
            contender("tensordict MemoryMappedTensor", tensors, arrays, as_pair, 2),
            contender("TensorDataset", plain, arrays, None, 2),
        ],
        rounds=rounds,
    )
    row_bytes = WIDTH * 4 + 8
    sections.append(
        "## DataLoader over a mapped .npy, 0 workers\n\n" + table(zero, ROWS, row_bytes)
    )
    ratio = lambda a, b, t: t[b].median / t[a].median  # noqa: E731
    sections.append(
        "Ratios: "
        f"{ratio('npdata', 'tensordict MemoryMappedTensor', zero):.2f} x tensordict (goal 3), "
        f"{ratio('npdata', 'TensorDataset', zero):.1f} x TensorDataset (goal 12), "
        f"{ratio('npdata', 'bare index_select(out=)', zero):.2f} of the bare loop (goal 0.75; "
        f"{ratio('npdata', 'DataLoader, bare dataset', zero):.2f} of what the DataLoader makes of "
        f"a dataset that checks nothing), "
        f"with lists of ints "
        f"{ratio('npdata, lists of ints', 'TensorDataset, lists of ints', zero):.1f} x "
        f"TensorDataset (goal 5)."
    )
    sections.append("## The same, 2 workers\n\n" + table(two, ROWS, row_bytes))
    sections.append(
        "Ratios: "
        f"{ratio('npdata', 'tensordict MemoryMappedTensor', two):.2f} x tensordict (goal 1.4)."
    )
    return sections


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder:
        print("\n\n".join(run(Path(folder))))


if __name__ == "__main__":
    main()
