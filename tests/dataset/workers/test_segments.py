"""Memory that a worker shares with its parent is used again only when nothing refers to it."""

import copy
import gc
import io
import os
import pickle
import resource
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from processes import HANG, run

from npdata.dataset.workers.arrived_tensors import Arrivals, Place
from npdata.dataset.workers.segment import FIRST_SEND, FLAGS, Segment, tensor_over
from npdata.dataset.workers.segment_pool import IDLE, OwnSegment, SegmentPool
from npdata.dataset.workers.sent_tensors import SentTensor, ready_to_send
from npdata.runtime.per_process import this_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="has no files in memory")
LARGE = 1 << 16


class Both:
    """A pool, and what its parent has of it, in one process."""

    def __init__(self, most: int) -> None:
        self.pool = SegmentPool(most)
        self.arrivals = Arrivals()
        self.opened: dict[int, Segment] = {}

    def receive(self, tensor: torch.Tensor) -> torch.Tensor:
        """Send a tensor; give the one that arrives."""
        segment = self.pool.holding(tensor)
        assert segment is not None
        flag = segment.next_flag()
        assert flag is not None
        self.arrivals.release()
        arrived = self.opened.setdefault(segment.number, Segment(segment.descriptor))
        place = Place(0, self.pool.token, segment.number, flag, tensor.untyped_storage().nbytes())
        memory = self.arrivals.hold(place, arrived)
        return tensor_over(
            memory, tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset()
        )

    def place(self, length: int = LARGE) -> int:
        """Give where the next tensor lies."""
        made = self.pool.tensor((length,), torch.uint8)
        assert made is not None
        return made.data_ptr()


def fork() -> None:
    """Count one: what a child has is looked at by its segments."""
    this_process.begun.append(None)
    this_process.ended.append(None)


class Held(NamedTuple):
    """A tensor of one number, the segment that it was made in, and how much of that it has."""

    number: int
    tensor: torch.Tensor
    segment: OwnSegment
    nbytes: int


class Ways(RuleBasedStateMachine):
    """Whatever is made, sent, kept, dropped and forked: a tensor that is there stays as it is.

    Positions are drawn, and no tensors: Hypothesis keeps what it draws from until some collection
    of garbage, and their memory would not be used again till then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.both = Both(most=4)
        self.number = 0
        self.here: list[Held] = []
        self.there: list[Held] = []
        self.in_children: list[tuple[int, np.ndarray[Any, Any]]] = []

    @rule(length=st.sampled_from([3, 5, 8, 20]))
    def make(self, length: int) -> None:
        made = self.both.pool.tensor((length,), torch.int64)
        if made is not None:
            self.number += 1
            segment = self.both.pool.holding(made)
            held = Held(self.number, made.fill_(self.number), segment, made.nbytes)
            self.here.append(held)

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def view(self, data: st.DataObject) -> None:
        held = self.here[data.draw(st.integers(0, len(self.here) - 1))]
        self.here.append(held._replace(tensor=held.tensor[-2:]))

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        held = self.here[data.draw(st.integers(0, len(self.here) - 1))]
        self.there.append(held._replace(tensor=self.both.receive(held.tensor)))

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def drop_here(self, data: st.DataObject) -> None:
        self.here.pop(data.draw(st.integers(0, len(self.here) - 1)))

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def drop_there(self, data: st.DataObject) -> None:
        self.there.pop(data.draw(st.integers(0, len(self.there) - 1)))

    @rule()
    def look(self) -> None:
        self.both.arrivals.release()

    @rule()
    def fork(self) -> None:
        fork()
        for held in [*self.here, *self.there]:
            memory = Segment(held.segment.descriptor).memory(held.nbytes)
            self.in_children.append((held.number, memory.view(np.int64)))

    @invariant()
    def nothing_changed(self) -> None:
        for held in [*self.here, *self.there]:
            assert (held.tensor == held.number).all()
        for number, memory in self.in_children:
            assert (memory == number).all()

    def teardown(self) -> None:
        assert len(self.both.pool._segments) <= 4


TestWays = Ways.TestCase
TestWays.settings = settings(max_examples=60, stateful_step_count=40)


def test_memory_is_used_again_when_both_have_dropped_the_tensor() -> None:
    both = Both(most=1)
    made = both.pool.tensor((LARGE,), torch.uint8)
    place = made.data_ptr()
    arrived = both.receive(made)
    del made
    assert both.pool.tensor((LARGE,), torch.uint8) is None
    del arrived
    assert both.pool.tensor((LARGE,), torch.uint8) is None  # the parent has not looked
    both.arrivals.release()
    assert both.place() == place


def test_a_view_and_an_array_keep_the_memory_of_what_arrived() -> None:
    both = Both(most=1)
    kept = both.receive(both.pool.tensor((LARGE,), torch.uint8))[3:].numpy()
    both.arrivals.release()
    assert both.pool.tensor((LARGE,), torch.uint8) is None
    del kept
    both.arrivals.release()
    assert both.pool.tensor((LARGE,), torch.uint8) is not None


def test_what_is_sent_twice_is_dropped_twice() -> None:
    both = Both(most=1)
    made = both.pool.tensor((LARGE,), torch.uint8)
    first, second = both.receive(made), both.receive(made)
    del made, first
    both.arrivals.release()
    assert both.pool.tensor((LARGE,), torch.uint8) is None
    del second
    both.arrivals.release()
    assert both.pool.tensor((LARGE,), torch.uint8) is not None


@pytest.mark.parametrize("where", ["here", "there"])
def test_memory_that_a_forked_child_may_have_is_not_used_again(where: str) -> None:
    both = Both(most=1)
    made = both.pool.tensor((LARGE,), torch.uint8)
    before = both.pool.holding(made)
    if where == "there":
        made = both.receive(made)
    fork()
    del made
    both.arrivals.release()
    assert both.pool.holding(both.pool.tensor((LARGE,), torch.uint8)) is not before


def test_memory_is_not_used_again_that_came_or_went_while_a_fork_was_under_way() -> None:
    both = Both(most=2)
    went = both.receive(both.pool.tensor((LARGE,), torch.uint8))
    this_process.begun.append(None)
    came = both.receive(both.pool.tensor((LARGE,), torch.uint8))
    before = set(both.pool._segments)
    del went
    both.arrivals.release()
    this_process.ended.append(None)
    del came
    both.arrivals.release()
    again = [both.pool.tensor((LARGE,), torch.uint8) for _ in range(2)]
    assert before.isdisjoint(both.pool.holding(each) for each in again)


def test_a_fork_is_over_in_both_processes() -> None:
    before = this_process.forks()
    if not (child := os.fork()):
        os._exit(0 if this_process.forks() == before + 1 else 7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert this_process.forks() == before + 1


def test_threads_that_release_at_once_are_no_error() -> None:
    both, barrier = Both(most=1), threading.Barrier(4)
    segment = both.pool.holding(made := both.pool.tensor((LARGE,), torch.uint8))
    kept = [both.receive(made) for _ in range(FLAGS // 2)]
    kept.clear()

    def release(_: int) -> None:
        barrier.wait(HANG)
        both.arrivals.release()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(release, range(4)))
    finally:
        sys.setswitchinterval(interval)
    del made
    assert segment.is_dropped


def test_a_full_pool_of_other_sizes_makes_room_for_one() -> None:
    both = Both(most=2)
    for length in (LARGE, 10 * LARGE, 100 * LARGE):
        both.place(length)
    sizes = [each.nbytes // LARGE for each in both.pool._segments]
    assert (len(sizes), sizes[-1]) == (2, 100)


def test_a_size_that_came_up_once_is_given_back() -> None:
    both = Both(most=8)
    both.place(100 * LARGE)
    gone = both.pool._segments[0]
    for _ in range(2 * IDLE):
        both.place()
    assert gone not in both.pool._segments


def test_the_pool_is_full_while_all_of_it_is_in_use() -> None:
    pool = SegmentPool(most=2)
    kept = [pool.tensor((LARGE,), torch.uint8) for _ in range(3)]
    assert [each is None for each in kept] == [False, False, True]


@pytest.mark.parametrize(
    ("descriptors", "workers", "segments"), [(256, 1, 32), (96, 1, 12), (96, 2, 6), (15, 2, 0)]
)
def test_all_workers_have_an_eighth_of_the_descriptors(
    descriptors: int, workers: int, segments: int
) -> None:
    done = run(COUNTED, str(descriptors), str(workers))
    assert done.stdout == f"{segments}\n" * workers, done.stderr


COUNTED = """
import resource, sys
import torch
from torch.utils.data import DataLoader
from npdata.dataset.workers.segment_pool import segment_pool

descriptors, workers = map(int, sys.argv[1:])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

def fill(_):
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    pool, kept = segment_pool(), []
    while pool is not None and (made := pool.tensor((1 << 16,), torch.uint8)) is not None:
        kept.append(made)
    return len(kept)

for count in DataLoader(range(workers), batch_size=1, num_workers=workers, collate_fn=fill):
    print(count)
"""


def test_a_segment_goes_before_its_flags_are_used_up() -> None:
    both = Both(most=2)
    made = both.pool.tensor((LARGE,), torch.uint8)
    segment = both.pool.holding(made)
    flags = [segment.next_flag() for _ in range(FLAGS)]
    assert flags[: FLAGS - FIRST_SEND] == list(range(FIRST_SEND, FLAGS))
    assert set(flags[FLAGS - FIRST_SEND :]) == {None}


def test_where_there_are_no_descriptors_there_is_no_segment() -> None:
    pool = SegmentPool(most=2)
    assert pool.tensor((1 << 62,), torch.uint8) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.complex128, torch.bool])
def test_memory_is_of_any_dtype(dtype: torch.dtype) -> None:
    made = SegmentPool(most=1).tensor((3, 5), dtype)
    assert (made.shape, made.dtype, made.is_contiguous()) == ((3, 5), dtype, True)
    assert made.data_ptr() % 4096 == 0


def test_a_marked_tensor_is_pickled_to_a_file_as_any_other() -> None:
    (marked,) = ready_to_send([torch.arange(LARGE)])
    assert type(marked) is SentTensor
    again = pickle.loads(pickle.dumps(marked))
    assert type(again) is torch.Tensor
    assert torch.equal(again, torch.arange(LARGE))
    assert type(marked + 1) is torch.Tensor


@pytest.mark.parametrize("length", [3, LARGE])
def test_a_marked_tensor_is_copied_and_saved_as_any_other(length: int) -> None:
    (marked,) = ready_to_send([torch.arange(length)])
    file = io.BytesIO()
    torch.save(marked, file)
    file.seek(0)
    for again in copy.deepcopy([marked])[0], copy.copy(marked), torch.load(file):
        assert type(again) is torch.Tensor
        assert torch.equal(again, torch.arange(length))
    leaf = copy.deepcopy(ready_to_send(torch.zeros(length)).requires_grad_())
    assert (leaf.requires_grad, leaf.is_leaf) == (True, True)


def test_a_segment_that_cannot_be_mapped_leaves_no_descriptor() -> None:
    """Its file takes the last descriptor, and the map needs one more."""
    pool, before = SegmentPool(most=1), resource.getrlimit(resource.RLIMIT_NOFILE)
    last = os.dup(0)
    os.close(last)
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, before[1]))
    try:
        made = pool.tensor((LARGE,), torch.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert made is None
    after = os.dup(0)
    os.close(after)
    assert after == last


def test_an_array_keeps_its_memory_when_torch_moves_the_tensor() -> None:
    """As it does to send it on."""
    both = Both(most=1)
    made = both.pool.tensor((LARGE,), torch.uint8)
    here, arrived = made.numpy(), both.receive(made)
    there = arrived.numpy()
    made.share_memory_(), arrived.share_memory_()
    both.arrivals.release()
    assert both.pool.tensor((LARGE,), torch.uint8) is None
    del here, there, made, arrived
    both.arrivals.release()
    assert both.pool.tensor((LARGE,), torch.uint8) is not None


def test_a_tensor_that_torch_sends_without_a_copy_stays_as_it_is() -> None:
    shared = torch.zeros(LARGE).share_memory_()
    wide = torch.zeros(1).expand(LARGE)
    assert ready_to_send([shared, wide])[0] is shared
    assert ready_to_send([shared, wide])[1] is wide
    gc.collect()
