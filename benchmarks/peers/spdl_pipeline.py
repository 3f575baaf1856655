"""SPDL: a pipeline from batches of row numbers to rows, by threads."""

from collections.abc import Iterator

import numpy as np
import torch
from spdl.pipeline import PipelineBuilder
from torch import Tensor

from benchmarks.peers.bare_gather import open_maps
from benchmarks.peers.peer import Epoch, Peer


def load(maps: tuple[Tensor, ...], epoch: Epoch) -> Iterator[list[Tensor]]:
    def gather(indices: np.ndarray) -> list[Tensor]:
        rows = torch.from_numpy(indices)
        return [torch.index_select(each, 0, rows) for each in maps]

    pipeline = (
        PipelineBuilder()
        .add_source(epoch.arrays)
        .pipe(gather, concurrency=epoch.workers, output_order="input")
        .add_sink(4)
        .build(num_threads=epoch.workers)
    )
    with pipeline.auto_stop():
        yield from pipeline


PEER = Peer(
    name="SPDL over index_select",
    package="spdl",
    open=open_maps,
    batches=load,
    takes=lambda workers: workers > 0,
    kind="threads",
)
