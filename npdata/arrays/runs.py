"""Runs of rows `[starts[k], stops[k])`, as two arrays of int64: pure arithmetic."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints


def cut(rows: NDArray[Any], sizes: Ints) -> list[NDArray[Any]]:
    """Cut rows, one run after the other, into runs of these sizes.

    Examples:
        >>> [run.tolist() for run in cut(np.arange(3), np.array([1, 0, 2]))]
        [[0], [], [1, 2]]
    """
    ends = np.cumsum(sizes)
    return [rows[b - n : b] for b, n in zip(ends.tolist(), sizes.tolist(), strict=True)]


def rows_of_runs(starts: Ints, stops: Ints) -> Ints:
    """Give the rows of the runs `[starts[k], stops[k])`, one run after the other.

    Examples:
        >>> rows_of_runs(np.array([7, 0]), np.array([9, 3])).tolist()
        [7, 8, 0, 1, 2]
    """
    sizes = stops - starts
    ends = np.cumsum(sizes)
    first = np.repeat(starts - ends + sizes, sizes)
    rows: Ints = np.arange(ends[-1] if len(ends) else 0) + first
    return rows


def merged(starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """Give the runs that hold all rows of `[starts[k], stops[k])`, ascending and apart.

    Examples:
        >>> [part.tolist() for part in merged(np.array([7, 2, 3, 5]), np.array([9, 4, 6, 5]))]
        [[2, 7], [6, 9]]
    """
    some = stops > starts
    order = np.argsort(starts[some], kind="stable")
    firsts, ends = starts[some][order], np.maximum.accumulate(stops[some][order])
    apart = np.ones(len(firsts) + 1, bool)
    np.greater(firsts[1:], ends[:-1], out=apart[1:-1])
    return firsts[apart[:-1]], ends[apart[1:]]
