"""The Dataset that is written first over HDF5: h5py, one row a sample, opened in each worker."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.peer import Epoch, Peer


class RowsOfFile(Dataset):
    """Samples by h5py; the file is opened at the first of them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def fields(self) -> tuple[h5py.Dataset, h5py.Dataset]:
        """The datasets, of this process."""
        file = h5py.File(self.path)
        return file["x"], file["y"]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        x, y = self.fields
        return x[index], y[index]


def load(path: Path, epoch: Epoch) -> Iterable[Any]:
    return DataLoader(RowsOfFile(path), batch_sampler=epoch.lists, num_workers=epoch.workers)


PEER = Peer(name="h5py, a row a sample", package="h5py", open=lambda data: data.hdf5, batches=load)
