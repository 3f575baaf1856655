"""A stock DataLoader over a memory-mapped `.npy`: npdata, tensordict, TensorDataset, a bare loop.

200,000 rows of 784 float32 and an int64 label, batches of 256 in random order, page cache warm.
"""

from collections.abc import Iterator

import numpy as np
import torch
from tensordict import MemoryMappedTensor, TensorDict
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

import npdata
from benchmarks.harness import Bench, Candidate, Timing, compare, ratio, table
from benchmarks.peers.bare_gather import gather
from benchmarks.peers.tensordict_memmap import as_pair
from benchmarks.report import Ratio, Section

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


def loader(dataset: Dataset, sampler: ArrayBatches, collate: object, workers: int) -> DataLoader:
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=collate, num_workers=workers)


def run(bench: Bench) -> list[Section]:
    """Measure, and give the sections of the report."""
    folder, rounds = bench.folder, bench.rounds
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

    def candidate(
        name: str, dataset: Dataset, sampler: ArrayBatches, collate: object, workers: int
    ) -> Candidate:
        return Candidate(name=name, batches=lambda: loader(dataset, sampler, collate, workers))

    zero = compare(
        [
            Candidate(
                name="bare index_select(out=)",
                batches=lambda: gather(maps, arrays.batches, most=BATCH),
            ),
            candidate("DataLoader, bare dataset", BareDataset(*maps), arrays, as_it_is, 0),
            candidate("npdata", ours, arrays, npdata.collate, 0),
            candidate("npdata, lists of ints", ours, lists, npdata.collate, 0),
            candidate("tensordict MemoryMappedTensor", tensors, arrays, as_pair, 0),
            candidate("TensorDataset", plain, arrays, None, 0),
            candidate("TensorDataset, lists of ints", plain, lists, None, 0),
        ],
        rounds=rounds,
    )
    two = compare(
        [
            candidate("npdata", ours, arrays, npdata.collate, 2),
            candidate("tensordict MemoryMappedTensor", tensors, arrays, as_pair, 2),
            candidate("TensorDataset", plain, arrays, None, 2),
        ],
        rounds=rounds,
    )
    row_bytes = WIDTH * 4 + 8
    return [
        Section(
            name="dataloader",
            title="DataLoader over a mapped .npy, 0 workers",
            table=table(zero, row_bytes),
            ratios=(
                _times("tensordict MemoryMappedTensor", zero, 3),
                _times("TensorDataset", zero, 12),
                _times("bare index_select(out=)", zero, 0.75),
                _times("DataLoader, bare dataset", zero, None),
                Ratio(
                    what="with lists of ints, speed over TensorDataset",
                    value=ratio(
                        zero["npdata, lists of ints"], zero["TensorDataset, lists of ints"]
                    ),
                    goal=5,
                ),
            ),
        ),
        Section(
            name="dataloader-workers",
            title="DataLoader over a mapped .npy, 2 workers",
            table=table(two, row_bytes),
            ratios=(_times("tensordict MemoryMappedTensor", two, 1.4),),
        ),
    ]


def _times(other: str, timings: dict[str, Timing], goal: float | None) -> Ratio:
    value = ratio(timings["npdata"], timings[other])
    return Ratio(what=f"speed over {other}", value=value, goal=goal)
