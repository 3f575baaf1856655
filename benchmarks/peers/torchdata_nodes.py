"""torchdata.nodes: a sampler of batches, mapped to rows by threads."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchdata import nodes

from benchmarks.peers.bare_gather import open_maps
from benchmarks.peers.peer import Epoch, Peer


def load(maps: tuple[Tensor, ...], epoch: Epoch) -> Iterable[Any]:
    def gather(indices: list[int]) -> list[Tensor]:
        rows = torch.tensor(indices)
        return [torch.index_select(each, 0, rows) for each in maps]

    node = nodes.SamplerWrapper(epoch.lists)
    if epoch.workers:
        node = nodes.ParallelMapper(node, gather, num_workers=epoch.workers, method="thread")
        node = nodes.Prefetcher(node, prefetch_factor=2)
    else:
        node = nodes.Mapper(node, gather)
    return nodes.Loader(node)


PEER = Peer(
    name="torchdata.nodes over index_select",
    package="torchdata",
    open=open_maps,
    batches=load,
    kind="threads",
)
