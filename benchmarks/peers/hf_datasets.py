"""HF datasets: Arrow files of its own, batches of rows at once, as its page on PyTorch has it."""

from collections.abc import Iterable
from typing import Any

import datasets
import pyarrow as pa
from torch.utils.data import DataLoader

from benchmarks.peers.peer import Data, Epoch, Peer

datasets.disable_progress_bars()


def convert(data: Data) -> None:
    x, y = data.arrays()
    rows = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), data.width)
    datasets.Dataset(pa.table({"x": rows, "y": y})).save_to_disk(data.own("arrow"))


def open_files(data: Data) -> datasets.Dataset:
    return datasets.load_from_disk(data.own("arrow")).with_format("torch")


def load(dataset: datasets.Dataset, epoch: Epoch) -> Iterable[Any]:
    return DataLoader(dataset, sampler=epoch.lists, batch_size=None, num_workers=epoch.workers)


PEER = Peer(name="HF datasets", package="datasets", convert=convert, open=open_files, batches=load)
