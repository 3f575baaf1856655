"""`npdata.Loader`: threads, over the `.npy` files as they are."""

from collections.abc import Iterable
from typing import Any

import npdata
from benchmarks.peers.peer import Data, Epoch, Peer


def open_files(data: Data) -> npdata.NumpyDataset:
    return npdata.NumpyDataset(data.x, data.y)


def load(dataset: npdata.NumpyDataset, epoch: Epoch) -> Iterable[Any]:
    return npdata.Loader(dataset, sampler=epoch.arrays, num_threads=epoch.workers)


PEER = Peer(name="npdata Loader", package="npdata", open=open_files, batches=load, kind="threads")
