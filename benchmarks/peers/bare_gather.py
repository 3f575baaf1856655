"""The roofline: one `index_select` a field over the maps, into buffers that are used again."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.peers.peer import Data, Peer


def open_maps(data: Data) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in data.arrays())


def gather(
    views: Sequence[Tensor], batches: Iterable[NDArray[np.int64]], *, most: int, buffers: int = 1
) -> Iterator[tuple[Tensor, ...]]:
    """Copy the rows of each batch by one `index_select` a tensor, into `buffers` used in turn.

    `most` is the largest number of rows of a batch.
    """
    outs = [[view.new_empty(most, *view.shape[1:]) for view in views] for _ in range(buffers)]
    for rows, pair in zip(batches, itertools.cycle(outs), strict=False):
        index = torch.from_numpy(rows)
        yield tuple(
            torch.index_select(view, 0, index, out=out[: len(rows)])
            for view, out in zip(views, pair, strict=True)
        )


PEER = Peer(
    name="bare gather",
    package="torch",
    open=open_maps,
    batches=lambda maps, epoch: gather(maps, epoch.arrays, most=epoch.batch),
    takes=lambda workers: workers == 0,
)
