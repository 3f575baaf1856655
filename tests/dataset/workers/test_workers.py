"""What real workers send arrives as it was made, and stays so, whatever is kept of it."""

import gc
import random
import re
import sys
import threading
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from descriptors import descriptors_of
from interrupts import boundaries, run_interrupted
from processes import HANG, run
from torch.utils.data import DataLoader, Dataset, TensorDataset

import npdata
from npdata import NumpyDataset

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="has no files in memory")
ROWS, BATCH = 400, 8
WIDE = np.arange(ROWS * 6000, dtype=np.float32).reshape(ROWS, 6000)
LABELS = np.arange(ROWS)
SEGMENT = Path("/memfd:npdata (deleted)")
"""Where the descriptor of a segment leads."""


def maps() -> int:
    """Count the segments that this process has mapped."""
    return Path("/proc/self/maps").read_text().count("memfd:npdata")


def loader(ds: Any, **options: Any) -> DataLoader[Any]:
    options = {"num_workers": 2, "collate_fn": npdata.collate} | options
    return DataLoader(ds, BATCH, shuffle=True, **options)


def assert_right(batch: Any) -> None:
    rows, labels = batch
    assert (rows.numpy() == WIDE[labels.numpy()]).all()


def plus(sample: Any) -> Any:
    return sample[0] + 1, sample[1]


def views(batch: Any) -> Any:
    rows, labels = batch
    return rows[:, ::2], rows.T, rows, labels


def test_a_batch_lies_in_memory_that_the_worker_uses_again() -> None:
    before = maps()
    for k, (rows, labels) in enumerate(loader(NumpyDataset(WIDE, LABELS))):
        assert type(rows) is type(labels) is torch.Tensor
        assert_right((rows, labels))
        assert 1 <= maps() - before <= 12, k
    del rows, labels
    gc.collect()
    assert maps() == before


@pytest.mark.parametrize("method", ["fork", "forkserver"])
@pytest.mark.parametrize("persistent", [False, True])
def test_batches_that_are_kept_stay_as_they_are(method: str, persistent: bool) -> None:
    chance = random.Random(0)
    options = {"multiprocessing_context": method, "persistent_workers": persistent}
    batches = loader(NumpyDataset(WIDE, LABELS), **options)
    kept: list[Any] = []
    for _ in range(1 if method == "forkserver" else 3):
        for rows, labels in batches:
            assert_right((rows, labels))
            if chance.random() < 0.5:
                kept.append((rows[3:5], labels[3:5]) if chance.random() < 0.5 else (rows, labels))
            if kept and chance.random() < 0.4:
                assert_right(kept.pop(chance.randrange(len(kept))))
    for batch in kept:
        assert_right(batch)


def test_all_batches_may_be_kept() -> None:
    """More of them than there are segments."""
    kept = list(loader(NumpyDataset(WIDE, LABELS), num_workers=1))
    assert len(kept) == ROWS // BATCH
    for batch in kept:
        assert_right(batch)
    assert sorted(torch.cat([labels for _, labels in kept]).tolist()) == LABELS.tolist()


def test_batches_are_changed_in_place_by_the_loop_alone() -> None:
    for rows, labels in loader(NumpyDataset(WIDE, LABELS)):
        assert_right((rows, labels))
        rows.fill_(-1)


def test_a_transform_of_samples_is_stacked_there_too() -> None:
    before = maps()
    for rows, labels in loader(NumpyDataset(WIDE, LABELS, transform=plus)):
        assert maps() > before
        assert_right((rows - 1, labels))


def test_the_samples_of_any_dataset_are_stacked_there_too() -> None:
    ds, before = TensorDataset(torch.from_numpy(WIDE), torch.from_numpy(LABELS)), maps()
    for batch in loader(ds):
        assert maps() > before
        assert_right(batch)


def test_views_of_a_batch_arrive_as_views_of_it() -> None:
    for every_other, turned, rows, labels in loader(
        NumpyDataset(WIDE, LABELS, batch_transform=views)
    ):
        assert_right((rows, labels))
        assert torch.equal(turned, rows.T)
        assert torch.equal(every_other, rows[:, ::2])
        assert (turned.stride(), every_other.stride()) == ((1, 6000), (6000, 2))


def turned(batch: Any) -> Any:
    rows, labels = batch
    return (rows + 0).T, (rows[:, :12] + 0).T, rows, labels


def test_what_is_computed_arrives_with_its_axes_in_the_same_order() -> None:
    """As a batch does that was made channels last."""
    for large, small, rows, labels in loader(NumpyDataset(WIDE, LABELS, batch_transform=turned)):
        assert_right((rows, labels))
        assert torch.equal(large, rows.T)
        assert torch.equal(small, rows[:, :12].T)
        assert (large.stride(), small.stride()) == ((1, 6000), (1, 12))


def part(batch: Any) -> Any:
    rows, labels = batch
    return rows.reshape(-1)[: 16 * 2_500].view(torch.complex128), labels


def test_a_part_of_a_batch_is_viewed_as_another_dtype() -> None:
    """Whose elements do not fill the memory of all."""
    odd = WIDE[:, :3250].view(np.uint8)[:, :-1]
    for numbers, labels in loader(NumpyDataset(odd, LABELS, batch_transform=part), drop_last=True):
        assert (numbers.view(torch.uint8).numpy() == odd[labels].reshape(-1)[: 16 * 2_500]).all()


def asking_for_gradients(samples: Any) -> Any:
    rows, labels = npdata.collate(samples)
    return rows.requires_grad_(), labels, torch.zeros(3)


def test_a_batch_that_is_asked_for_gradients_arrives_so() -> None:
    for rows, labels, _ in loader(NumpyDataset(WIDE, LABELS), collate_fn=asking_for_gradients):
        assert (rows.requires_grad, rows.is_leaf, labels.requires_grad) == (True, True, False)
        assert_right((rows.detach(), labels))


def test_arrays_of_a_batch_stay_as_they_are_when_it_is_sent_on() -> None:
    """As torch then moves its tensors."""
    kept: list[Any] = []
    for rows, labels in loader(NumpyDataset(WIDE, LABELS)):
        kept.append((rows.numpy(), labels.numpy()))
        ForkingPickler.dumps([rows, labels])
    for array, numbers in kept:
        assert (array == WIDE[numbers]).all()


class KeepingArrays:
    """Keeps arrays of what it collated in the worker, and sends views of the tensors."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def __call__(self, samples: Any) -> Any:
        rows, labels = npdata.collate(samples)
        self.kept.append((rows.numpy(), labels.numpy()))
        for array, numbers in self.kept:
            assert (array == WIDE[numbers, : array.shape[1]]).all()
        return rows[:], labels[:]


@pytest.mark.parametrize("width", [6000, 60])
def test_arrays_that_the_worker_keeps_stay_as_they_are_when_a_view_is_sent(width: int) -> None:
    ds = NumpyDataset(WIDE[:, :width].copy(), LABELS)
    for rows, labels in loader(ds, num_workers=1, collate_fn=KeepingArrays()):
        assert (rows.numpy() == ds[labels.numpy()][0].numpy()).all()


class Keeping(Dataset[Any]):
    """Keeps the batches that it gave in the worker, as a cache does."""

    def __init__(self) -> None:
        self.of = NumpyDataset(WIDE, LABELS)
        self.kept: list[Any] = []

    def __len__(self) -> int:
        return ROWS

    def __getitems__(self, rows: Any) -> Any:
        batch = self.of.__getitems__(rows)
        self.kept.append(batch.stacked)
        for each in self.kept:
            assert_right(each)
        return batch


def test_a_batch_that_the_worker_keeps_stays_as_it_is() -> None:
    for batch in loader(Keeping(), num_workers=1):
        assert_right(batch)


@pytest.mark.parametrize("width", [900, 1])
def test_batches_of_many_sizes(width: int) -> None:
    lengths = np.random.default_rng(0).integers(0, 400, ROWS)
    values = np.arange(lengths.sum() * width, dtype=np.int32).reshape(-1, width)
    ds = NumpyDataset(npdata.ragged(values, lengths=lengths), LABELS)
    ends = np.cumsum(lengths)
    for padded, labels in loader(ds):
        for sample, row in zip(padded.samples(), labels.tolist(), strict=True):
            assert (sample.numpy() == values[ends[row] - lengths[row] : ends[row]]).all()


@pytest.mark.parametrize("ragged", ["jagged", "list"])
def test_forms_that_torch_sends(ragged: str) -> None:
    values = np.arange(ROWS * 3000).reshape(-1, 3000)
    ds = NumpyDataset(npdata.ragged(values, lengths=np.ones(ROWS, int)), LABELS, ragged=ragged)
    for samples, labels in loader(ds):
        assert (torch.cat(list(samples)).numpy() == values[labels]).all()


def test_a_batch_that_is_dropped_in_another_thread() -> None:
    for rows, labels in loader(NumpyDataset(WIDE, LABELS)):
        held = [(rows, labels)]
        del rows, labels
        dropping = threading.Thread(target=lambda held=held: assert_right(held.pop()))
        dropping.start()
        dropping.join(HANG)
        assert not held


FORKS = """
import os, numpy as np, torch, npdata
from torch.utils.data import DataLoader
x = np.arange(400 * 6000, dtype="f4").reshape(400, 6000)
ds = npdata.NumpyDataset(x, np.arange(400))
def right(batch):
    return (batch[0].numpy() == x[batch[1].numpy()]).all()
children = []
for k, batch in enumerate(DataLoader(ds, 8, num_workers=2, collate_fn=npdata.collate)):
    assert right(batch)
    if k % 10 == 0:
        reading, writing = os.pipe()
        if not (child := os.fork()):
            os.close(writing)
            os.read(reading, 1)  # until the parent has read all others
            os._exit(0 if right(batch) else 7)
        os.close(reading)
        children.append((child, writing))
for _, writing in children:
    os.close(writing)
for child, _ in children:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, status
"""


def test_a_child_that_was_forked_keeps_the_batch_that_its_parent_drops() -> None:
    done = run(FORKS)
    assert (done.returncode, done.stderr) == (0, "")


FEW = """
import resource, numpy as np, torch, npdata
from torch.utils.data import DataLoader
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
torch.multiprocessing.set_sharing_strategy("file_system")
x = np.arange(400 * 6000, dtype="f4").reshape(400, 6000)
ds = npdata.NumpyDataset(x, np.arange(400))
kept = list(DataLoader(ds, 2, num_workers=2, collate_fn=npdata.collate))
assert all((rows.numpy() == x[labels]).all() for rows, labels in kept)
"""


def test_kept_batches_do_not_use_up_the_descriptors() -> None:
    done = run(FEW)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_while_a_batch_arrives_leaves_no_descriptor_open() -> None:
    ds = NumpyDataset(np.zeros((2, 20_000), np.float32))

    def receive() -> None:
        list(DataLoader(ds, 1, num_workers=1, collate_fn=npdata.collate))

    run_interrupted(receive, "arrived_tensors", -1)  # Python 3.13.0 counts from the second call on
    total = run_interrupted(receive, "arrived_tensors", -1)
    assert total > 100
    before = descriptors_of(SEGMENT)
    for boundary in boundaries(total, 40):
        run_interrupted(receive, "arrived_tensors", boundary)
    gc.collect()
    assert descriptors_of(SEGMENT) == before


KILLED = """
import os, signal
from multiprocessing.connection import wait
import numpy as np, npdata
from torch.utils.data import DataLoader

def dying(samples):
    if samples != [0]:
        large = os.memfd_create("large")  # takes the system long to give back
        os.posix_fallocate(large, 0, 256 << 20)
        os.dup2(large, 0)  # which it closes last
        os.close(large)
        os.kill(os.getpid(), signal.SIGKILL)
    return npdata.collate([np.zeros(1 << 16)])

batches = iter(DataLoader(range(2), num_workers=1, collate_fn=dying))
try:
    wait([batches._workers[0].sentinel])
    next(batches)
except RuntimeError as error:
    print(error)
"""


def test_a_worker_that_was_killed_is_named_where_a_batch_of_it_is_still_to_come() -> None:
    done = run(KILLED)
    assert re.match(r"DataLoader worker \(pid.*(killed|exited)", done.stdout), done.stderr
