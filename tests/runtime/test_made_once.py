"""Attributes that an object works out when they are first asked for."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from interrupts import run_interrupted

from npdata.runtime.made_once import made_once


class Rows:
    """Of which one takes as long as somebody holds it back."""

    def __init__(self, *, wait: bool = False) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        if not wait:
            self.go_on.set()

    @made_once
    def numbers(self) -> list[int]:
        """What was worked out."""
        self.begun.set()
        self.go_on.wait()
        return [7, 1]


def test_it_is_worked_out_once() -> None:
    rows = Rows()
    assert rows.numbers is rows.numbers
    assert rows.numbers == [7, 1]
    assert Rows.numbers.__doc__ == "What was worked out."


def test_an_error_is_raised_each_time_and_nothing_is_kept() -> None:
    class Broken:
        @made_once
        def numbers(self) -> list[int]:
            raise OSError("no such file")

    broken = Broken()
    for _ in range(2):
        with pytest.raises(OSError, match="no such file"):
            _ = broken.numbers
    assert not vars(broken)


def test_two_threads_that_meet_are_given_the_same() -> None:
    rows = Rows(wait=True)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: rows.numbers)
        rows.begun.wait()
        rows.go_on.set()
        assert rows.numbers is other.result()


def use_another() -> None:
    assert Rows().numbers == [7, 1]


def test_a_fork_beside_a_thread_that_works_it_out_does_not_wait_for_it() -> None:
    rows = Rows(wait=True)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: rows.numbers)
        rows.begun.wait()
        child = multiprocessing.get_context("fork").Process(target=use_another)
        child.start()
        child.join(30)
        rows.go_on.set()
        child.kill()
        child.join()
        assert (child.exitcode, other.result()) == (0, [7, 1])


def test_an_interrupt_while_a_class_is_made_stays_one() -> None:
    def make() -> None:
        class Rows:
            @made_once
            def numbers(self) -> list[int]:
                return [7, 1]

        assert Rows().numbers == [7, 1]

    run_interrupted(make, "npdata/runtime/made_once.py", -1)
    boundary = 1
    while run_interrupted(make, "npdata/runtime/made_once.py", boundary) is None:
        boundary += 1
    assert boundary > 5
