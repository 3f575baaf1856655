"""The pipeline of threads: in order, bounded, and gone when nobody iterates any more."""

import gc
import itertools
import math
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterable
from types import FrameType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import HANG, interrupted, run
from threads import ours, refused_after

from npdata.errors import ForkError, ThreadError
from npdata.loading import prefetcher
from npdata.loading.comparison import Comparison
from npdata.loading.prefetcher import Prefetcher
from npdata.loading.turns import LEAST_LOOP, LONG, Alone, Turns

THREADS = (0, 1, 2, 8)
ANY_IS_LONG = Alone(away=0.0, job=0.0)
NONE_IS_LONG = Alone(away=math.inf, job=math.inf)
RULES = [None, Alone(), Alone(away=0.0, compares=True), ANY_IS_LONG, NONE_IS_LONG]


class Told(Turns):
    """Turns that do not look at the time."""

    def __init__(self, hands_over: Iterable[bool]) -> None:
        super().__init__(Alone(), Comparison())
        self.hands_over = iter(hands_over)

    def is_alone(self) -> bool:
        return not next(self.hands_over, False)

    def ended(self, *, by_itself: bool) -> bool:
        return by_itself and next(self.hands_over, False)


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    gc.collect()
    assert ours() == []


@given(
    jobs=st.lists(st.integers(), max_size=30),
    threads=st.sampled_from(THREADS),
    depth=st.integers(1, 9),
    helps=st.booleans(),
    alone=st.sampled_from(RULES),
)
def test_results_come_in_the_order_of_the_jobs(
    jobs: list[int], threads: int, depth: int, helps: bool, alone: Alone | None
) -> None:
    turns = None if alone is None else Turns(alone, Comparison())
    options = {"threads": threads, "depth": depth, "helps": helps, "turns": turns}
    with Prefetcher(lambda job: job * 2, jobs, **options) as results:
        assert list(results) == [job * 2 for job in jobs]
        assert list(results) == []


@given(hands_over=st.lists(st.booleans(), max_size=30), depth=st.integers(1, 5))
def test_results_come_in_order_whether_or_not_each_is_handed_over(
    hands_over: list[bool], depth: int
) -> None:
    jobs = range(len(hands_over))
    options = {"threads": 2, "depth": depth, "turns": Told(hands_over)}
    with Prefetcher(lambda job: job, jobs, **options) as results:
        assert list(results) == list(jobs)


def test_a_consumer_that_comes_back_at_once_hands_nothing_over_and_starts_no_thread() -> None:
    here = threading.get_ident()
    options = {"threads": 2, "depth": 4, "turns": Turns(NONE_IS_LONG, Comparison())}
    with Prefetcher(lambda _: threading.get_ident(), range(20), **options) as results:
        assert [next(results) for _ in range(20)] == [here] * 20
        assert ours() == []


@pytest.mark.parametrize("away", [LEAST_LOOP, math.inf])
def test_after_jobs_that_take_long_threads_have_the_next_ones(away: float) -> None:
    jobs, turns = iter(range(20)), Turns(Alone(away=away, job=0.0), Comparison())
    with Prefetcher(lambda job: job, jobs, threads=2, depth=4, turns=turns) as results:
        for job in range(LONG):
            assert next(results) == job
            assert ours() == []
        assert next(results) == LONG
        assert len(ours()) == 2
        assert next(jobs) == LONG + 1 + 4


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_job_that_takes_long_and_fails_hands_nothing_over(error: type[BaseException]) -> None:
    jobs = iter(range(20))

    def fail(job: int) -> None:
        if job == LONG:
            raise error

    options = {"threads": 2, "depth": 4, "turns": Turns(ANY_IS_LONG, Comparison())}
    with Prefetcher(fail, jobs, **options) as results, pytest.raises(error):
        list(results)
    assert next(jobs) == LONG + 1


@pytest.mark.parametrize("helps", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_than_depth_jobs_are_ahead(threads: int, helps: bool) -> None:
    taken = []

    def jobs():
        for job in range(50):
            taken.append(job)
            yield job

    with Prefetcher(lambda job: job, jobs(), threads=threads, depth=5, helps=helps) as results:
        assert len(taken) == 5
        for count, _ in zip(range(1, 40), results, strict=False):
            assert 2 <= len(taken) - count <= 5


def test_with_one_job_ahead_there_is_always_one() -> None:
    taken = []

    def jobs():
        for job in range(50):
            taken.append(job)
            yield job

    with Prefetcher(lambda job: job, jobs(), threads=1, depth=1) as results:
        for count, _ in zip(range(1, 40), results, strict=False):
            assert len(taken) - count == 1


def test_without_threads_nothing_is_ahead() -> None:
    jobs = iter(range(10))
    results = Prefetcher(lambda job: job, jobs, threads=0, depth=5)
    assert next(results) == 0
    assert next(jobs) == 1


def test_no_thread_is_started_by_the_consumer_whom_a_signal_could_interrupt_in_the_middle() -> None:
    starters = []

    def see(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is threading.Thread.start.__code__:
            starters.append(threading.get_ident())

    sys.setprofile(see)
    try:
        assert list(Prefetcher(str, range(3), threads=2, depth=4)) == ["0", "1", "2"]
    finally:
        sys.setprofile(None)
    assert starters == []


def test_jobs_are_really_done_by_several_threads_at_once() -> None:
    both = threading.Barrier(2)
    with Prefetcher(lambda _: both.wait(timeout=HANG), range(6), threads=2, depth=4) as results:
        assert sorted(set(results)) == [0, 1]


def test_a_consumer_that_helps_does_what_no_thread_has_begun() -> None:
    begun = threading.Barrier(2, timeout=HANG)
    with Prefetcher(lambda job: begun.wait() and job, [1, 2], threads=1, depth=2, helps=True) as it:
        list(it)  # one thread alone would wait for ever


class TestErrors:
    @pytest.mark.parametrize("helps", [False, True])
    @pytest.mark.parametrize("threads", THREADS)
    def test_an_error_comes_in_its_place_and_ends_the_rest(self, threads: int, helps: bool) -> None:
        def work(job: int) -> int:
            if job == 3:
                raise KeyError("three")
            return job

        results = Prefetcher(work, range(10), threads=threads, depth=6, helps=helps)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError, match="three"):
            next(results)
        assert list(results) == []
        assert ours() == []

    @pytest.mark.parametrize("threads", THREADS)
    def test_an_error_of_the_jobs_comes_after_the_jobs_before_it(self, threads: int) -> None:
        def jobs():
            yield from (1, 2)
            raise OSError("no more")

        results = Prefetcher(lambda job: job, jobs(), threads=threads, depth=6)
        assert [next(results), next(results)] == [1, 2]
        with pytest.raises(OSError, match="no more"):
            next(results)

    @pytest.mark.parametrize("threads", THREADS)
    def test_stop_iteration_of_the_work_is_no_silent_end(self, threads: int) -> None:
        results = Prefetcher(lambda _: next(iter(())), range(3), threads=threads, depth=2)
        with pytest.raises(RuntimeError, match="StopIteration"):
            list(results)

    def test_an_error_at_the_beginning_of_a_thread(self) -> None:
        def begin() -> None:
            raise OSError("no device")

        with pytest.raises(OSError, match="no device"):
            Prefetcher(str, range(3), threads=2, depth=2, begin=begin)

    @pytest.mark.parametrize("given", [None, 0, 1])
    def test_fewer_threads_than_asked_for_are_an_error(self, given: int | None) -> None:
        text = f"gave {given or 0} of 2 threads: raise .* num_threads=0"
        with refused_after(given), pytest.raises(ThreadError, match=text):
            Prefetcher(str, range(3), threads=2, depth=2)


class TestLettingGo:
    @pytest.mark.parametrize("threads", [1, 2, 8])
    def test_break(self, threads: int) -> None:
        for _ in range(100):
            for result in Prefetcher(lambda job: job, range(100), threads=threads, depth=4):
                assert result == 0
                break
            assert ours() == []

    def test_garbage(self) -> None:
        results = Prefetcher(lambda job: job, range(100), threads=2, depth=4)
        ring = [results]
        ring.append(ring)
        assert len(ours()) == 2
        gone = weakref.ref(results)
        del results, ring
        gc.disable()  # what another thread collects may still be ending
        try:
            while gone() is not None:  # a thread may look at it, or collect something else
                gc.collect()
        finally:
            gc.enable()
        assert ours() == []

    def test_results_that_nobody_took_are_dropped(self) -> None:
        made: list[weakref.ref[torch.Tensor]] = []

        def work(_: int) -> torch.Tensor:
            tensor = torch.zeros(3)
            made.append(weakref.ref(tensor))
            return tensor

        with Prefetcher(work, range(10), threads=2, depth=4) as results:
            next(results)
        assert made
        assert [ref() for ref in made] == [None] * len(made)

    def test_whoever_waits_for_a_job_that_is_given_up_is_woken(self) -> None:
        """Another thread takes the result while this one closes the prefetcher."""
        begun, may_end = threading.Event(), threading.Event()

        def slow(job: int) -> int:
            begun.set()
            may_end.wait(HANG)
            return job

        results = Prefetcher(slow, range(3), threads=1, depth=3)
        begun.wait(HANG)
        seen: list[list[int]] = []
        first = results._slots.popleft()
        reader = threading.Thread(target=lambda: seen.append(list(results)))
        reader.start()
        closer = threading.Thread(target=results.close)
        closer.start()
        while not results._shared.closed:
            pass
        may_end.set()
        for thread in (closer, reader):
            thread.join(HANG)
        assert (seen, first.get_nowait()) == ([[]], (0, None))

    def test_a_thread_that_dies_is_an_error_and_no_wait_for_ever(self) -> None:
        results = Prefetcher(lambda job: job, itertools.count(), threads=1, depth=1)
        results._shared.tasks.put(None)
        with pytest.raises(ThreadError, match="has died: begin a new iteration"):
            for _ in results:
                pass

    def test_threads_end_where_the_call_to_stop_was_lost(self) -> None:
        """As by an interrupt inside `weakref.finalize`, which forgets its call before making it."""
        results = Prefetcher(lambda job: job, range(9), threads=2, depth=2)
        results._stop.detach()
        threads = ours()
        del results
        for thread in threads:
            thread.join(HANG)
        assert ours() == []

    def test_garbage_that_is_collected_under_a_lock_that_a_thread_waits_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prefetcher, "MOST_SECONDS", 0.0)
        begun, lock, had = threading.Event(), threading.Lock(), []

        def work(_: int) -> None:
            begun.set()
            had.append(lock.acquire(timeout=HANG))

        with lock:
            ring = [Prefetcher(work, range(1), threads=1, depth=1)]
            ring.append(ring)
            begun.wait(HANG)
            threads = ours()
            del ring
            gc.collect()
        for thread in threads:
            thread.join(HANG)
        assert had == [True]

    def test_two_at_once(self) -> None:
        first = Prefetcher(lambda job: job, range(50), threads=2, depth=3)
        second = Prefetcher(lambda job: -job, range(50), threads=2, depth=3)
        pairs = list(zip(first, second, strict=True))
        assert pairs == [(job, -job) for job in range(50)]

    def test_dropped_by_a_thread_of_its_own(self) -> None:
        held: list[Prefetcher[int, int]] = []
        gone = threading.Event()

        def work(job: int) -> int:
            if job == 1:
                gone.wait(HANG)
                held.clear()
                gc.collect()
            return job

        held.append(Prefetcher(work, range(3), threads=1, depth=3))
        gone.set()
        for thread in ours():
            thread.join(HANG)


@pytest.mark.slow
def test_torch_uses_one_core_in_each_thread_and_all_elsewhere() -> None:
    code = """
import threading, torch
from npdata.loading import prefetcher
from npdata.loading.prefetcher import Prefetcher
torch.set_num_threads(3)
with Prefetcher(lambda _: torch.get_num_threads(), range(9), threads=3, depth=9) as results:
    assert list(results) == [1] * 9
assert torch.get_num_threads() == 3
seen = []
later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
later.start(); later.join()
assert seen == [3], seen
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


RELEASING = """
import signal, threading
from npdata.loading import prefetcher
from npdata.loading.prefetcher import Prefetcher
released = threading.Event()
def interrupt(*_):
    released.set()
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, interrupt)
"""

LIVE = """
import sys
from npdata.loading import prefetcher
from npdata.loading.prefetcher import Prefetcher
def work(job):
    return job
results = Prefetcher(work, range(10**9), threads=3, depth=4)
next(results)
"""


class TestTheEndOfTheProcess:
    @pytest.mark.slow
    def test_with_a_live_iterator(self) -> None:
        done = run(LIVE + "print('end')")
        assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")

    def test_with_an_error_that_holds_it(self) -> None:
        done = run(LIVE + "raise SystemExit(3)")
        assert (done.returncode, done.stderr) == (3, "")

    def test_by_control_c_while_it_waits(self) -> None:
        # A thread ends after the job that it is at, so the signal lets that job end.
        code = f"""{RELEASING}
def work(job):
    if job == 2:
        print("waiting", flush=True)
        released.wait()
    return job
try:
    for result in Prefetcher(work, range(10), threads=2, depth=4):
        pass
except KeyboardInterrupt:
    assert threading.active_count() == 1
    raise SystemExit(5)
"""
        assert interrupted(code, after="waiting\n") == (5, "")

    @pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals for threads")
    def test_by_control_c_that_does_not_wake_the_waiting_thread(self) -> None:
        """As one that comes just before the thread begins to wait; here it goes to another."""
        code = f"""{RELEASING}
import sys
main = threading.get_ident()
def work(job):
    if job == 2:
        while "results" not in globals():
            pass
        while results._slots or sys._current_frames()[main].f_code.co_name != "_from_threads":
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        released.wait()
    return job
try:
    results = Prefetcher(work, range(3), threads=2, depth=4)
    for result in results:
        pass
except KeyboardInterrupt:
    assert threading.active_count() == 1
    raise SystemExit(5)
"""
        assert run(code).returncode == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
class TestFork:
    def test_a_child_that_iterates_gets_an_error_and_ends(self) -> None:
        code = """
import os, sys
from npdata.errors import ForkError
from npdata.loading import prefetcher
from npdata.loading.prefetcher import Prefetcher
results = Prefetcher(lambda job: job, range(100), threads=2, depth=4)
next(results)
child = os.fork()
if child == 0:
    try:
        next(results)
    except ForkError as error:
        assert "begin a new iteration" in str(error)
    else:
        sys.exit(1)
    with Prefetcher(lambda job: job, range(9), threads=2, depth=4) as fresh:
        assert list(fresh) == list(range(9))
    del results
    sys.exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert list(results) == list(range(1, 100))
"""
        done = run(code)
        assert done.returncode == 0, done.stderr

    def test_the_error_is_a_runtime_error(self) -> None:
        assert issubclass(ForkError, RuntimeError)
