"""A random split of rows into two parts, row by row or by whole groups, such as recordings."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from npdata.arrays.dtypes import Ints
from npdata.errors import SamplerError
from npdata.sampling.order.epoch_order import SPLIT_PURPOSE
from npdata.sampling.order.permutation import Permutations


def two_shares(fraction: object) -> tuple[float, float]:
    """Give the shares of two parts; raises `SamplerError` for a fraction outside [0, 1].

    Examples:
        >>> two_shares(0.75)
        (0.75, 0.25)
    """
    if not isinstance(fraction, int | float | np.number) or not 0 <= fraction <= 1:
        raise SamplerError(
            f"fraction={fraction!r}: expected the share of the first part, from 0 to 1; or the "
            "shares of all parts, as split(0.8, 0.1, 0.1), or their numbers of rows; folds are "
            "split(folds=5)"
        )
    return float(fraction), 1 - float(fraction)


def shares_of(given: Any, count: int) -> tuple[float, ...]:
    """Check the shares of parts, which sum to 1, or their numbers of rows, which sum to `count`.

    Examples:
        >>> shares_of([0.5, 0.25, 0.25], 8), shares_of([6, 2], 8)
        ((0.5, 0.25, 0.25), (0.75, 0.25))
    """
    try:
        shares = tuple(float(share) for share in given)
    except (TypeError, ValueError):
        raise SamplerError(
            f"fraction={given!r}: expected a number from 0 to 1, or shares that sum to 1, as "
            "[0.8, 0.1, 0.1]"
        ) from None
    whole = all(map(_is_whole, given))
    if count > 1 and whole and sum(shares) == count and min(shares) >= 0:
        return tuple(share / count for share in shares)
    if not shares or any(not 0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        total = sum(shares)
        same = total > 1 and min(shares) >= 0
        example = [round(share / total, 4) for share in shares] if same else [0.8, 0.1, 0.1]
        raise SamplerError(
            f"shares {list(shares)} sum to {total:g}: expected shares from 0 to 1 that sum "
            f"to 1, as {example}, or numbers of rows that sum to {count:,}; the seed is seed="
        )
    return shares


def _is_whole(share: Any) -> bool:
    """Tell whether it is an integer of Python, NumPy or torch."""
    try:
        operator.index(share)
    except TypeError:
        return False
    return True


def split(n: int, fraction: float, seed: int) -> tuple[Ints, Ints]:
    """Split the rows [0, n) at random into two parts, the first of `round(fraction * n)` rows.

    Neither is empty, unless the fraction is 0 or 1, or n is 0. Both are int64 and ascending, so
    that a reader that goes through a part in order goes forward in the file; they are disjoint and
    hold every row, and depend on nothing but the arguments.
    Raises SamplerError (a ValueError) for a fraction outside [0, 1], and for one row in two parts.

    Examples:
        >>> [part.tolist() for part in split(6, 0.5, seed=0)]
        [[0, 1, 5], [2, 3, 4]]
    """
    first, _ = sizes_of(two_shares(fraction), n)
    shuffled = Permutations.of(seed, 0, SPLIT_PURPOSE).one(np.arange(n), n)
    return np.sort(shuffled[:first]), np.sort(shuffled[first:])


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
    sizes_of(two_shares(fraction), len(groups))  # raises
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


def sizes_of(shares: Sequence[float], count: int, noun: str = "row") -> list[int]:
    """Give how many of `count` rows, or groups of them, each part has: one at least for a share.

    Examples:
        >>> sizes_of((0.999, 0.001), 40), sizes_of((0.5, 0.5, 0), 5)
        ([39, 1], [2, 3, 0])
    """
    sizes = [int(size) for size in np.diff([0, *(round(s * count) for s in np.cumsum(shares))])]
    asked = [part for part, share in enumerate(shares) if share > 0]
    if 0 < count < len(asked):
        raise SamplerError(
            f"{len(asked)} parts of {count} {noun}{'s' * (count > 1)}: each part has one at least, "
            "so give fewer parts, or a share of 0 to one that may be empty"
        )
    for part in asked if count else ():
        if sizes[part] == 0:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[part] = 1
    return sizes
