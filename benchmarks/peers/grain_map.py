"""Grain: a MapDataset over the mapped arrays, shuffled, batched, read ahead by threads."""

from collections.abc import Iterator

import grain
import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.peer import Epoch, Peer


class Rows:
    """A source as Grain wants it: a length, and a record of each number."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return self.x[index], self.y[index]


def load(rows: Rows, epoch: Epoch) -> Iterator[list[Tensor]]:
    options = grain.ReadOptions(
        num_threads=epoch.workers, prefetch_buffer_size=8 if epoch.workers else 0
    )
    dataset = grain.MapDataset.source(rows).shuffle(seed=0).batch(epoch.batch)
    for batch in dataset.to_iter_dataset(options):
        yield [torch.from_numpy(field) for field in batch]


PEER = Peer(
    name="Grain",
    package="grain",
    open=lambda data: Rows(*data.arrays()),
    batches=load,
    own_order=True,
    kind="threads",
)
