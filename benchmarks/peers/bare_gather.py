"""The roofline: one `index_select` a field over the maps, into buffers that are used again."""

import torch
from torch import Tensor

from benchmarks.peers.peer import Data, Peer
from npdata.cli.bench.methods import gather


def open_maps(data: Data) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in data.arrays())


PEER = Peer(
    name="bare gather",
    package="torch",
    open=open_maps,
    batches=lambda maps, epoch: gather(maps, epoch.arrays, most=epoch.batch),
    takes=lambda workers: workers == 0,
)
