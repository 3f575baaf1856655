"""The ceiling: one `index_select` a field over the maps, into buffers that are used again."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.peers.peer import Data, Epoch, Peer


def open_maps(data: Data) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in data.arrays())


def gather(maps: tuple[Tensor, ...], epoch: Epoch) -> Iterator[list[Tensor]]:
    buffers = [torch.empty(epoch.batch, *each.shape[1:], dtype=each.dtype) for each in maps]
    for indices in epoch.arrays:
        rows = torch.from_numpy(indices)
        yield [
            torch.index_select(each, 0, rows, out=buffer[: len(rows)])
            for each, buffer in zip(maps, buffers, strict=True)
        ]


PEER = Peer(
    name="bare gather",
    package="torch",
    open=open_maps,
    batches=gather,
    takes=lambda workers: workers == 0,
)
