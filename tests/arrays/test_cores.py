"""On how many cores values are copied: on one for a while, after torch's threads waited."""

from collections.abc import Callable
from math import inf

import numpy as np
import pytest
import torch

from npdata.arrays import cores
from npdata.arrays.cores import (
    GRAIN,
    PAUSE,
    SOON,
    WAITED,
    threads_wait,
    with_threads,
    without_threads,
)
from npdata.arrays.gather import ByteRows, RowTable
from npdata.arrays.values import copy_values


class Clock:
    """A clock that goes on only when it is told to, and the pages that were read meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.ru_majflt, self.threads = 100.0, 0, 2
        monkeypatch.setattr(cores.torch, "get_num_threads", lambda: self.threads)
        monkeypatch.setattr(cores, "perf_counter", lambda: self.now)
        monkeypatch.setattr(cores.resource, "getrusage", lambda _: self)
        monkeypatch.setattr(cores._Waits, "until", 0.0)
        monkeypatch.setattr(cores._Waits, "pages", 0)

    def call(self, seconds: float, pages: int = 0, nbytes: int = 0) -> None:
        """Call a function that takes so long."""

        def function() -> None:
            self.now += seconds
            self.ru_majflt += pages

        with_threads(function, nbytes)

    def waits(self) -> None:
        """Call two functions that wait, one after the other."""
        self.call(2 * WAITED)
        self.call(2 * WAITED)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_one_core_copies_for_a_while_after_two_calls_that_waited(clock: Clock) -> None:
    clock.call(2 * WAITED)
    assert not threads_wait()
    clock.now += SOON / 2
    clock.call(2 * WAITED)
    assert threads_wait()
    clock.now += PAUSE / 2
    assert threads_wait()
    clock.now += PAUSE / 2
    assert not threads_wait()


def test_then_another_call_that_waits_is_enough(clock: Clock) -> None:
    clock.waits()
    clock.now += PAUSE
    clock.call(2 * WAITED)
    assert threads_wait()


def test_a_call_that_waits_now_and_then_is_no_reason(clock: Clock) -> None:
    for _ in range(3):
        clock.call(2 * WAITED)
        assert not threads_wait()
        clock.now += SOON


def test_a_call_may_take_as_long_as_its_bytes(clock: Clock) -> None:
    clock.call(2 * WAITED, nbytes=1 << 21)
    assert not threads_wait()


def test_a_disk_is_read_by_all_threads(clock: Clock) -> None:
    clock.call(1.0, pages=1)
    assert not threads_wait()
    clock.call(1.0, pages=1)
    assert not threads_wait()
    clock.waits()
    assert threads_wait()


def test_whoever_asks_for_one_core_has_it(clock: Clock) -> None:
    assert without_threads(threads_wait)
    assert not threads_wait()


def test_a_thread_of_a_loader_has_one_core_and_nobody_to_wait_for(clock: Clock) -> None:
    clock.threads = 1
    clock.waits()
    assert cores._Waits.until == 0.0
    clock.threads = 2
    clock.waits()
    assert threads_wait()
    clock.threads = 1
    assert not threads_wait()


@pytest.mark.parametrize("waiting", [False, True])
def test_what_is_copied_is_the_same(waiting: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores._Waits, "until", inf if waiting else 0.0)
    array = np.random.default_rng(0).random((500, 3 * GRAIN // 100), np.float32)
    rows = np.random.default_rng(1).integers(0, 500, 400)
    copies: list[Callable[[np.ndarray], object]] = [
        lambda out: RowTable.of(array).gather(rows, out),
        lambda out: RowTable.of(np.asfortranarray(array)).gather(rows, out),
        lambda out: ByteRows.of(array.view(np.uint8).reshape(-1), array[0].nbytes).gather(
            rows * array[0].nbytes, out.view(np.uint8)
        ),
    ]
    for copy in copies:
        out = np.empty((400, array.shape[1]), np.float32)
        copy(out)
        assert np.array_equal(out, array[rows])
    source = torch.from_numpy(array)
    for dtype in (torch.float64, torch.float16, torch.int64):
        made = copy_values(source, torch.empty(source.shape, dtype=dtype))
        assert torch.equal(made, source.to(dtype))
