"""Doing something for each of many files, on a few threads where that is faster.

Idea: a file in memory takes 20 µs, between calls that each wait for the interpreter, so two threads
take twice as long as one. They help where files are large, or come from a disk. Invariant:
`for_each` returns when all is done, and raises the error of the first call that failed. It knows
nothing of what is done.
"""

import itertools
import time
from collections.abc import Callable
from typing import TypeVar

from npdata.runtime.machine import cores
from npdata.runtime.shared_calls import shared_calls

T = TypeVar("T")

THREADS = max(2, min(8, cores()))
LONG, SLACK = 100e-6, 8
"""Threads help once calls take more than `LONG` seconds each, though `SLACK` of them took none."""


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

    parts = in_parts(numbers[len(done) :], THREADS)
    with shared_calls(part, parts, threads=len(parts) - 1, ahead=THREADS + 1) as results:
        return [*done, *itertools.chain.from_iterable(results)]


def in_parts(numbers: range, most: int) -> list[range]:
    """Cut numbers, at least one, into at most `most` runs, about equally long.

    Examples:
        >>> in_parts(range(10), 3), in_parts(range(5, 7), 3)
        ([range(0, 3), range(3, 6), range(6, 10)], [range(5, 6), range(6, 7)])
    """
    parts = min(most, len(numbers))
    stops = [len(numbers) * k // parts for k in range(parts + 1)]
    return [numbers[a:b] for a, b in itertools.pairwise(stops)]
