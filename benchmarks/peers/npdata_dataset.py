"""`npdata.NumpyDataset` in a stock DataLoader, over the `.npy` files as they are."""

from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader

import npdata
from benchmarks.peers.npdata_loader import open_files
from benchmarks.peers.peer import Epoch, Peer


def load(dataset: npdata.NumpyDataset, epoch: Epoch) -> Iterable[Any]:
    return DataLoader(
        dataset,
        batch_sampler=epoch.arrays,
        collate_fn=npdata.collate,
        num_workers=epoch.workers,
    )


PEER = Peer(name="npdata, DataLoader", package="npdata", open=open_files, batches=load)
