"""A few threads of this process that open and read many files, shared by all sources.

Idea: opening a file waits for the disk, and copying from the page cache keeps a core busy; both
leave the interpreter to others. Invariant: `spread` returns when every part is done, and raises the
error of the first part that failed; after a fork the child has threads of its own. It knows
nothing of what is read.
"""

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from npdata.arrays.per_process import PerProcess, cores

T = TypeVar("T")

THREADS = max(2, min(8, cores()))

_pool = PerProcess(lambda: ThreadPoolExecutor(THREADS, "npdata-files"), keep_inherited=True)


def spread(function: Callable[[range], T], parts: Iterable[range]) -> list[T]:
    """Give `function(part)` for each part; the caller does the first, threads the others.

    Examples:
        >>> spread(sum, [range(3), range(3, 5)])
        [3, 7]
    """
    first, *others = parts
    futures = [_submitted(function, part) for part in others]
    try:
        done = function(first)
    finally:
        # What is still to come would write into memory that the caller gives up.
        failed = [future for future in futures if future.exception() is not None]
    if failed:
        raise failed[0].exception() or AssertionError
    return [done, *(future.result() for future in futures)]


def in_parts(count: int, most: int, least: int) -> list[range]:
    """Cut [0, count) into at most `most` runs, about equally long, of at least `least`.

    Examples:
        >>> in_parts(10, 3, 1), in_parts(10, 3, 8)
        ([range(0, 4), range(4, 7), range(7, 10)], [range(0, 10)])
    """
    parts = max(1, min(most, count // max(1, least)))
    length, longer = divmod(count, parts)
    starts = [k * length + min(k, longer) for k in range(parts + 1)]
    return [range(a, b) for a, b in itertools.pairwise(starts)]


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
