"""Doing something for each of many files, on a few threads of this process where that is faster.

Idea: a file in memory takes 20 µs, between calls that each wait for the interpreter, so two threads
take twice as long as one. They help where files are large, or come from a disk. Invariant:
`for_each` returns when all is done, and raises the error of the first call that failed; after a
fork the child has threads of its own. It knows nothing of what is done.
"""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from npdata.runtime.machine import cores
from npdata.runtime.per_process import PerProcess

T = TypeVar("T")

THREADS = max(2, min(8, cores()))
LONG, SLACK = 100e-6, 8
"""Threads help once calls take more than `LONG` seconds each, though `SLACK` of them took none."""

_pool = PerProcess(lambda: ThreadPoolExecutor(THREADS, "npdata-files"), keep_inherited=True)


def for_each(function: Callable[[int], T], numbers: range, *, shared: bool = False) -> list[T]:
    """Give `function(k)` for each of the numbers; threads help at once if it is `shared`.

    Examples:
        >>> for_each(float, range(3, 5)), for_each(float, range(3), shared=True)
        ([3.0, 4.0], [0.0, 1.0, 2.0])
    """
    done: list[T] = []
    begun = time.perf_counter()
    while not shared and len(done) < len(numbers):
        done.append(function(numbers[len(done)]))
        shared = time.perf_counter() - begun > LONG * (len(done) + SLACK)
    if len(done) == len(numbers):
        return done

    def part(run: range) -> list[T]:
        return list(map(function, run))

    mine, *others = in_parts(numbers[len(done) :], THREADS)
    futures = [_submitted(part, run) for run in others]
    try:
        done += part(mine)
    finally:
        # What is still to come would write into memory that the caller gives up.
        failed = [future for future in futures if future.exception() is not None]
    if failed:
        raise failed[0].exception() or AssertionError
    return [*done, *itertools.chain.from_iterable(future.result() for future in futures)]


def in_parts(numbers: range, most: int) -> list[range]:
    """Cut numbers, at least one, into at most `most` runs, about equally long.

    Examples:
        >>> in_parts(range(10), 3), in_parts(range(5, 7), 3)
        ([range(0, 3), range(3, 6), range(6, 10)], [range(5, 6), range(6, 7)])
    """
    parts = min(most, len(numbers))
    stops = [len(numbers) * k // parts for k in range(parts + 1)]
    return [numbers[a:b] for a, b in itertools.pairwise(stops)]


def _submitted(function: Callable[[range], T], part: range) -> "Future[T]":
    try:
        return _pool.get().submit(function, part)
    except RuntimeError:
        # The interpreter is shutting down, and starts no threads any more.
        done: Future[T] = Future()
        try:
            done.set_result(function(part))
        except Exception as error:
            done.set_exception(error)
        return done
