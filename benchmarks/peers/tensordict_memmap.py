"""tensordict: memory-mapped tensors of its own, in a stock DataLoader."""

from collections.abc import Iterable
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.peers.peer import Data, Epoch, Peer


def convert(data: Data) -> None:
    x, y = (torch.from_numpy(array) for array in data.arrays())
    TensorDict({"x": x, "y": y}, batch_size=[data.rows]).memmap(data.own("tensordict"))


def open_files(data: Data) -> TensorDict:
    return TensorDict.load_memmap(data.own("tensordict"))


def as_pair(batch: TensorDict) -> tuple[Tensor, Tensor]:
    """Collate: `__getitems__` of a TensorDict has stacked the batch already."""
    return batch["x"], batch["y"]


def load(tensors: TensorDict, epoch: Epoch) -> Iterable[Any]:
    return DataLoader(
        tensors, batch_sampler=epoch.arrays, collate_fn=as_pair, num_workers=epoch.workers
    )


PEER = Peer(name="tensordict", package="tensordict", convert=convert, open=open_files, batches=load)
