"""A random split that keeps groups of rows, such as recordings, whole."""

import numpy as np
from numpy.typing import NDArray

from npdata.sampling.order.epoch_order import SPLIT_PURPOSE, split
from npdata.sampling.order.permutation import Permutations

Ints = NDArray[np.int64]


def split_groups(edges: Ints, fraction: float, seed: int) -> tuple[Ints, Ints]:
    """Split the rows [0, edges[-1]) at random, whole groups at a time.

    Group k is the rows from `edges[k]` to `edges[k + 1]`. The first part has as near to `fraction`
    of the rows as whole groups allow in the order drawn, and neither part is empty where there are
    two groups with rows and the fraction is neither 0 nor 1. Raises as `split`.

    Examples:
        >>> [part.tolist() for part in split_groups(np.array([0, 1, 4, 6]), 0.5, seed=0)]
        [[0, 1, 2, 3], [4, 5]]
    """
    sizes = np.diff(edges)
    groups = np.flatnonzero(sizes)
    split(len(groups), fraction, seed)
    order = Permutations.of(seed, 0, SPLIT_PURPOSE).one(np.arange(len(groups)), len(groups))
    drawn = groups[order]
    totals = np.append(0, np.cumsum(sizes[drawn]))
    cut = int(np.abs(totals - fraction * totals[-1]).argmin())
    if len(drawn) > 1 and 0 < fraction < 1:
        cut = min(max(cut, 1), len(drawn) - 1)
    first = np.zeros(len(sizes), bool)
    first[drawn[:cut]] = True
    rows = np.repeat(first, sizes)
    return np.flatnonzero(rows), np.flatnonzero(~rows)
