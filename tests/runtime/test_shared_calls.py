"""Calls shared with threads: in order, all ended with the block, whatever ends it."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from interrupts import run_interrupted
from processes import HANG

from npdata import NumpyDataset
from npdata.runtime.shared_calls import shared_calls
from npdata.sources.many_files.file_threads import for_each

LARGE = np.arange(3 << 22, dtype=np.float32).reshape(-1, 1 << 12)
"""More than one piece for statistics."""
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def squares(numbers: Iterator[int], threads: int, ahead: int) -> list[int]:
    with shared_calls(lambda k: k * k, numbers, threads=threads, ahead=ahead) as results:
        return list(results)


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("ahead", [1, 2, 9])
def test_results_come_in_order_and_no_more_are_asked_for_than_may_wait(
    threads: int, ahead: int
) -> None:
    asked = itertools.count()
    numbers = (next(asked) for _ in range(9))
    with shared_calls(lambda k: k * k, numbers, threads=threads, ahead=ahead) as results:
        assert next(results) == 0
    assert next(asked) <= ahead + 1
    assert squares(iter(range(9)), threads, ahead) == [k * k for k in range(9)]


def test_threads_help() -> None:
    together = threading.Barrier(3, timeout=HANG)
    with shared_calls(lambda _: together.wait(), range(3), threads=2, ahead=3) as results:
        assert sorted(results) == [0, 1, 2]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_an_error_comes_in_its_place_and_no_call_is_under_way_after_it(threads: int) -> None:
    begun, ended, seen = [], [], []

    def call(k: int) -> int:
        begun.append(k)
        try:
            return 6 // (3 - k)
        finally:
            ended.append(k)

    with (
        pytest.raises(ZeroDivisionError),
        shared_calls(call, range(9), threads=threads, ahead=5) as results,
    ):
        seen += results
    assert seen == [2, 3, 6]
    assert sorted(begun) == sorted(ended)


def test_who_keeps_an_error_of_a_thread_does_not_keep_the_thread() -> None:
    caller, together = threading.get_ident(), threading.Barrier(2, timeout=HANG)

    def call(_: int) -> None:
        together.wait()
        if threading.get_ident() != caller:
            raise KeyError("of a thread")

    def share() -> None:
        with shared_calls(call, range(2), threads=1, ahead=2) as results:
            list(results)

    with pytest.raises(KeyError, match="of a thread"):
        run_interrupted(share, "no file", -1)  # for its end of what hangs


@pytest.mark.parametrize(
    "call",
    [lambda: for_each(str, range(20), shared=True), lambda: NumpyDataset(LARGE).statistics()],
    ids=["files", "statistics"],
)
@pytest.mark.parametrize("files", ["/threading.py", "/concurrent/futures/", "/queue.py"])
def test_the_caller_is_in_no_code_whose_locks_an_interrupt_leaves_taken(
    call: Callable[[], Any], files: str
) -> None:
    assert run_interrupted(call, files, -1) == 0


def test_after_an_interrupt_anywhere_no_call_is_under_way() -> None:
    begun, ended = [], []

    def call(k: int) -> None:
        begun.append(k)
        ended.append(k)

    def share() -> None:
        with shared_calls(call, range(9), threads=2, ahead=4) as results:
            list(results)

    at = "/shared_calls.py"
    for boundary in range(1, run_interrupted(share, at, -1), 7):
        run_interrupted(share, at, boundary)
        assert sorted(begun) == sorted(ended)
        assert squares(iter(range(9)), 2, 4) == [k * k for k in range(9)]
