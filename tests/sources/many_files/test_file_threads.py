"""Calls for many files: in the caller while they are fast, else on threads; all, or an error."""

import math
import threading

import pytest
from processes import HANG

from npdata.sources.many_files import file_threads
from npdata.sources.many_files.file_threads import THREADS, for_each

MORE_THAN_THERE_IS = 1 << 47
"""Bytes of a stack that no system gives to a thread."""


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, THREADS, 5 * THREADS + 1])
def test_gives_the_result_of_each_in_order(count: int, shared: bool) -> None:
    numbers = range(7, 7 + count)
    assert for_each(str, numbers, shared=shared) == list(map(str, numbers))


def test_fast_calls_stay_in_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_threads, "LONG", math.inf)  # on a busy machine any call may take long
    assert set(for_each(lambda _: threading.get_ident(), range(100))) == {threading.get_ident()}


def test_the_rest_is_shared_once_calls_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_threads, "LONG", 0.0)
    together = threading.Barrier(THREADS, timeout=HANG)

    def call(number: int) -> int:
        if number:
            together.wait()  # of threads that are called at once
        return -number

    assert for_each(call, range(1 + THREADS)) == [-k for k in range(1 + THREADS)]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("failing", [0, 9, 19])
def test_an_error_is_raised_when_no_call_is_under_way(failing: int, shared: bool) -> None:
    begun, ended = [], []

    def call(number: int) -> None:
        begun.append(number)
        if number == failing:
            ended.append(number)
            raise KeyError(number)
        ended.append(number)

    with pytest.raises(KeyError, match=str(failing)):
        for_each(call, range(20), shared=shared)
    assert sorted(begun) == sorted(ended)
    assert failing in ended


def test_each_call_is_made_once_where_the_system_gives_no_thread() -> None:
    calls: list[int] = []
    before = threading.stack_size(MORE_THAN_THERE_IS)
    try:
        for_each(calls.append, range(9), shared=True)
    finally:
        threading.stack_size(before)
    for_each(str, range(9), shared=True)
    assert sorted(calls) == list(range(9))
