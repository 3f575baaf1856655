"""Memory of batches is used again, and never while anything refers to it."""

import gc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from npdata import Loader, NumpyDataset
from npdata.dataset.batch_memory import REUSE_BYTES
from npdata.loading.buffer_pool import BufferPool
from npdata.runtime.machine import releases_at_once

ROW = 1 << 16
LARGE = (REUSE_BYTES // ROW, ROW)
counted = pytest.mark.skipif(not releases_at_once(), reason="needs reference counts")


@counted
@pytest.mark.parametrize(
    "keep",
    [
        lambda t: t,
        lambda t: t[1:2, :3],
        lambda t: t.view(torch.int8).T,
        lambda t: t.numpy(),
        lambda t: t.numpy()[3:4],
        lambda t: t.untyped_storage(),
        lambda t: t.detach(),
        lambda t: memoryview(t.numpy()),
        lambda t: torch.utils.dlpack.to_dlpack(t),
        lambda t: [{"deep": (t[0],)}],
    ],
)
def test_whatever_refers_to_a_batch_keeps_its_memory(keep) -> None:
    buffers = BufferPool(most=4)
    kept = keep(buffers(LARGE, torch.uint8).fill_(7))
    others = [buffers(LARGE, torch.uint8).fill_(k) for k in range(8)]
    again = buffers(LARGE, torch.uint8).fill_(9)
    del others
    for k in range(8):
        buffers(LARGE, torch.uint8).fill_(k)
    assert_sevens(kept)
    assert (again == 9).all()


def assert_sevens(kept) -> None:
    if isinstance(kept, list):
        kept = kept[0]["deep"][0]
    if isinstance(kept, torch.UntypedStorage):
        kept = torch.tensor([], dtype=torch.uint8).set_(kept)
    if not isinstance(kept, torch.Tensor):
        capsule = type(kept).__name__ == "PyCapsule"
        kept = torch.utils.dlpack.from_dlpack(kept) if capsule else torch.from_numpy(np.array(kept))
    assert (kept.view(torch.uint8) == 7).all()


@counted
def test_memory_that_nothing_refers_to_is_used_again() -> None:
    buffers = BufferPool(most=3)
    places = {buffers(LARGE, torch.float32).data_ptr() for _ in range(10)}
    assert len(places) == 1


def test_small_tensors_are_torchs() -> None:
    buffers = BufferPool(most=3)
    assert buffers((3, 5), torch.int16).shape == (3, 5)
    assert not buffers._arrays


@counted
def test_what_the_user_keeps_is_soon_forgotten() -> None:
    buffers = BufferPool(most=2)
    kept = [buffers(LARGE, torch.uint8) for _ in range(6)]
    assert len(buffers._arrays) == 2
    assert len({tensor.data_ptr() for tensor in kept}) == 6


@given(actions=st.lists(st.integers(-4, 3), max_size=30))
def test_any_order_of_keeping_and_releasing(actions: list[int]) -> None:
    buffers = BufferPool(most=3)
    held: dict[int, torch.Tensor] = {}
    for number, action in enumerate(actions):
        if action < 0:
            held.pop(action + 4, None)
        else:
            tensor = buffers(LARGE, torch.uint8)
            tensor[0, 0], tensor[-1, -1] = number % 256, number % 256
            held[action] = tensor
        for tensor in held.values():
            assert tensor[0, 0] == tensor[-1, -1]
        stamps = [tensor.data_ptr() for tensor in held.values()]
        assert len(set(stamps)) == len(stamps)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_all_batches_of_an_epoch_kept(threads: int) -> None:
    rows, batch = 2000, REUSE_BYTES // ROW
    base = np.lib.stride_tricks.as_strided(np.arange(rows), (rows, ROW // 8), (8, 0))
    ds = NumpyDataset(base, np.arange(rows))
    loader = Loader(ds, batch, num_threads=threads, prefetch=2)
    kept = [(wide[:, ::97], labels) for wide, labels in loader]
    assert sorted(int(label) for _, labels in kept for label in labels) == list(range(rows))
    for wide, labels in kept:
        assert torch.equal(wide, labels[:, None].expand_as(wide))


@counted
def test_a_loop_that_keeps_nothing_uses_few_buffers() -> None:
    ds = NumpyDataset(np.zeros((20 * LARGE[0], ROW), np.uint8))
    loader = Loader(ds, LARGE[0], num_threads=2, prefetch=2)
    places = set()
    for batch in loader:
        places.add(batch.data_ptr())
    del batch
    gc.collect()
    assert len(places) <= 2 + 2 + 2


@counted
def test_each_of_several_fields_uses_memory_again() -> None:
    fields = [np.zeros((20 * LARGE[0], ROW), np.uint8) for _ in range(3)]
    loader = Loader(NumpyDataset(*fields), LARGE[0], num_threads=2, prefetch=2)
    places = {part.data_ptr() for _ in range(3) for batch in loader for part in batch}
    assert len(places) <= 3 * (2 + 2 + 2)


@counted
def test_what_a_loader_casts_is_cast_into_memory_used_before() -> None:
    ds = NumpyDataset(np.zeros((20 * LARGE[0], ROW), np.uint8))
    loader = Loader(ds, LARGE[0], num_threads=0, dtype=torch.int16)
    assert {batch.nbytes for batch in loader} == {2 * REUSE_BYTES}
    assert 2 * REUSE_BYTES in {array.nbytes for array in loader._pipeline.buffers._arrays}


@counted
def test_the_short_batch_at_the_end_takes_no_memory_of_its_own() -> None:
    buffers = BufferPool(most=2)
    place = buffers((2 * LARGE[0], ROW), torch.uint8).data_ptr()
    short = buffers((LARGE[0] + 1, ROW), torch.uint8)
    assert short.data_ptr() == place
    assert short.untyped_storage().nbytes() == short.nbytes
    assert buffers((2 * LARGE[0], ROW), torch.uint8).data_ptr() != place


@counted
def test_much_less_is_not_kept_in_much_more() -> None:
    buffers = BufferPool(most=2)
    place = buffers((4 * LARGE[0], ROW), torch.uint8).data_ptr()
    assert buffers(LARGE, torch.uint8).data_ptr() != place


@counted
def test_the_next_epoch_uses_the_memory_of_the_one_before() -> None:
    ds = NumpyDataset(np.zeros((20 * LARGE[0], ROW), np.uint8))
    loader = Loader(ds, LARGE[0], num_threads=1, prefetch=2)
    places = [batch.data_ptr() for _ in range(3) for batch in loader]
    assert len(set(places)) <= 2 + 1 + 2
    loader.close()
    assert not loader._pipeline.buffers._arrays
