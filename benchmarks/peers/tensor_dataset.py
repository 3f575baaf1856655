"""torch's `TensorDataset` over the mapped `.npy` files, in a stock DataLoader."""

from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.bare_gather import open_maps
from benchmarks.peers.peer import Data, Epoch, Peer


def open_files(data: Data) -> TensorDataset:
    return TensorDataset(*open_maps(data))


def load(dataset: TensorDataset, epoch: Epoch) -> Iterable[Any]:
    return DataLoader(dataset, batch_sampler=epoch.lists, num_workers=epoch.workers)


PEER = Peer(name="TensorDataset", package="torch", open=open_files, batches=load)
