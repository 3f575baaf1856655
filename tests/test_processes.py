"""The same rows under every start method, any number of workers, after the parent has read.

A worker under spawn gets what a fork server's worker gets, and imports torch before, for 2 s: every
kind of source is read by such workers here, and every form of samples in test_anchor_rows.py. Other
tests take a fork server.
"""

import itertools
import os
import pickle
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from kinds import KINDS, ROWS, Data
from processes import raises_in_a_worker, run
from torch.utils.data import DataLoader

import npdata
from npdata import NumpyDataset


def all_kinds(data: Data) -> NumpyDataset:
    """A dataset with a field of every kind of source, which the parent has read from."""
    ds = NumpyDataset({kind: make(data) for kind, make in KINDS.items()})
    ds[[0, 5]], ds[3]
    return ds


class ShuffledBatches:
    """Batches of a fixed random order with duplicates and negative row numbers."""

    def __init__(self) -> None:
        order = np.random.default_rng(3).integers(-ROWS, ROWS, 60)
        self.batches = [order[k : k + 16] for k in range(0, 60, 16)]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def loader(ds: object, workers: int, method: str | None, **options: object) -> DataLoader:
    return DataLoader(
        ds,
        batch_sampler=ShuffledBatches(),
        collate_fn=npdata.collate,
        num_workers=workers,
        multiprocessing_context=method,
        **options,
    )


def assert_epoch(batches: object, data: Data) -> None:
    count = 0
    for batch, rows in zip(batches, ShuffledBatches(), strict=True):
        count += 1
        for kind, rows_of_kind in batch.items():
            assert type(rows_of_kind) is torch.Tensor
            assert (rows_of_kind.numpy() == data.x[rows]).all(), kind
    assert count == 4


def test_in_the_main_process(data: Data) -> None:
    assert_epoch(loader(all_kinds(data), 0, None), data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "workers", "persistent"),
    [*itertools.product(["fork", "forkserver"], [1, 3], [True, False]), ("spawn", 1, True)],
)
def test_in_workers(data: Data, method: str, workers: int, persistent: bool) -> None:
    batches = loader(all_kinds(data), workers, method, persistent_workers=persistent)
    assert_epoch(batches, data)
    if persistent or method == "fork":
        assert_epoch(batches, data)


FORKED = """
import os, sys
import numpy as np, torch
from npdata import Loader, NumpyDataset, as_tensor

torch.set_num_threads(2)
x = 100 * np.random.default_rng(0).random((3000, 256), np.float32)
np.save(sys.argv[1] + "/x.npy", x)
import h5py
with h5py.File(sys.argv[1] + "/x.h5", "w") as file:
    file.create_dataset("plain", data=x, chunks=(100, 256))
    file.create_dataset("packed", data=x, chunks=(100, 256), compression=1)
files = ("x.npy", "x.h5::plain", "x.h5::packed")
sets = [NumpyDataset(f"{sys.argv[1]}/{name}") for name in files]
rows = np.random.default_rng(1).permutation(3000)
for ds in sets:
    assert (ds[rows].numpy() == x[rows]).all()
child = os.fork()
if child == 0:
    for ds in sets:
        assert (ds[rows].numpy() == x[rows]).all()
        for outside in (3000, -3001):
            try:
                ds.__getitems__(np.array([0, outside]))
            except IndexError:
                continue
            sys.exit(1)
        assert (ds.__getitems__(np.array([0, -1])).stacked.numpy() == x[[0, -1]]).all()
    cut, long = x.astype(np.int64), x.reshape(3, -1)
    for few in (rows, rows[:200]):
        assert (NumpyDataset(x, dtype="int64")[few].numpy() == cut[few]).all()
    assert (NumpyDataset(long, dtype="int64")[1].numpy() == cut.reshape(3, -1)[1]).all()
    assert (as_tensor(x, copy=True).numpy() == x).all()
    (batch,) = Loader(NumpyDataset(x), len(x), shuffle=False, dtype="int64")
    assert (batch.numpy() == cut).all()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_reads_after_the_threads_of_torch_stayed_in_the_parent(tmp_path: Path) -> None:
    done = run(FORKED, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_thread_that_reads_makes_nothing_that_is_looked_for_at_exit(data: Data) -> None:
    """Else Python fails at exit, where it looks for that, and ends a program with an abort."""
    ds = pickle.loads(pickle.dumps(all_kinds(data)))
    before = len(weakref.finalize._registry)
    read: list[Any] = []
    thread = threading.Thread(target=lambda: read.append(ds[[0, 5]]))
    thread.start()
    thread.join()
    assert read
    assert len(weakref.finalize._registry) == before


def test_the_parent_reads_on_while_workers_read(data: Data) -> None:
    ds = all_kinds(data)
    for batch, rows in zip(loader(ds, 2, "fork"), ShuffledBatches(), strict=True):
        for kind, tensor in ds[rows].items():
            assert torch.equal(tensor, batch[kind])


def test_an_open_file_of_the_user_stays_usable(data: Data) -> None:
    with h5py.File(data.folder / "d.h5") as file:
        before = file["packed"][3:5]
        ds = NumpyDataset(file["packed"])
        for batch, rows in zip(loader(ds, 2, "fork"), ShuffledBatches(), strict=True):
            assert (batch.numpy() == data.x[rows]).all()
        assert (file["packed"][3:5] == before).all()


def test_pin_memory_is_torchs_to_do(data: Data) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*pin_memory.*")
        assert_epoch(loader(all_kinds(data), 1, "fork", pin_memory=True), data)


def test_an_error_in_a_worker_names_its_cause(data: Data) -> None:
    ds = NumpyDataset(data.x)
    batches = DataLoader(ds, batch_sampler=[[ROWS]], collate_fn=npdata.collate, num_workers=1)
    with raises_in_a_worker(IndexError, match="row 97 at position 0"):
        list(batches)


AFTER_TORCH = """
import os, signal, sys, warnings, h5py, numpy as np, torch, npdata
warnings.simplefilter("ignore")
x = np.arange(3000 * 200, dtype="f4").reshape(3000, 200)
np.save("x.npy", x)
with h5py.File("d.h5", "w") as file:
    file.create_dataset("x", data=x, chunks=(500, 200), compression=1, shuffle=True)
torch.set_num_threads(2)
torch.rand(700, 700) @ torch.rand(700, 700)
torch.rand(1 << 20).exp()
names = ("x.npy", "d.h5::x")
datasets = [npdata.NumpyDataset(n, dtype=d) for n in names for d in (None, torch.float64)]
if sys.argv[1] == "read":
    [ds[:5] for ds in datasets]
child = os.fork()
if child == 0:
    signal.alarm(200)
    rows = np.random.default_rng(0).permutation(3000)
    right = all((ds[rows].numpy() == x[rows]).all() for ds in datasets)
    os._exit(0 if right and torch.get_num_threads() == 2 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("before", ["read", "nothing"])
def test_a_forked_child_reads_whoever_used_the_threads_of_torch(
    in_folder: Path, before: str
) -> None:
    done = run(AFTER_TORCH, before)
    assert done.returncode == 0, done.stderr
