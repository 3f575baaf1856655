"""scDataset: blocks of 16 rows shuffled, 16 batches fetched at once, over the mapped files."""

from collections.abc import Iterable
from typing import Any

import torch
from scdataset import BlockShuffling, MultiIndexable, scDataset
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.peers.peer import Data, Epoch, Peer

FETCH = 16


def open_files(data: Data) -> MultiIndexable:
    x, y = data.arrays()
    return MultiIndexable(x=x, y=y)


def as_pair(batch: MultiIndexable) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(batch["x"]), torch.from_numpy(batch["y"])


def load(rows: MultiIndexable, epoch: Epoch) -> Iterable[Any]:
    dataset = scDataset(
        rows,
        BlockShuffling(block_size=16),
        batch_size=epoch.batch,
        fetch_factor=FETCH,
        batch_transform=as_pair,
        seed=0,
    )
    ahead = FETCH + 1 if epoch.workers else None
    return DataLoader(dataset, batch_size=None, num_workers=epoch.workers, prefetch_factor=ahead)


PEER = Peer(name="scDataset", package="scDataset", open=open_files, batches=load, own_order=True)
