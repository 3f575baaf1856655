"""Row numbers split at random into any number of parts, or into folds.

Idea: parts of rows are cut from one permutation; what keeps groups together or classes in
proportion is done by scikit-learn's splitters. Invariant: parts are disjoint, ascending, hold every
row, and depend on the arguments alone.
"""

from typing import Any

import numpy as np

from npdata.arrays.dtypes import Ints
from npdata.errors import SamplerError, require
from npdata.sampling.order.splits import sizes_of, split


def parts_of(
    count: int,
    shares: tuple[float, ...],
    seed: int,
    groups: Ints | None,
    labels: Ints | None,
) -> tuple[Ints, ...]:
    """Split `count` rows into parts of these shares, of rows or of groups of equal number.

    Of each label every part has its share. Raises `SamplerError` where that cannot be.
    """
    if groups is not None and labels is not None:
        raise SamplerError(
            "groups= and stratify= together: give folds=, whose folds keep both, or one of the two"
        )
    whole = count if groups is None else int(groups.max(initial=-1)) + 1
    sizes = sizes_of(shares, whole, "row" if groups is None else "group")
    parts, left = [], np.arange(count)
    for k, size in enumerate(sizes[:-1]):
        if groups is None and labels is None:
            first, left = (left[part] for part in split(len(left), size / max(1, len(left)), seed))
        else:
            first, left = _two(left, (size, sum(sizes[k + 1 :])), seed, groups, labels)
        parts.append(first)
    return (*parts, left)


def _two(
    rows: Ints, sizes: tuple[int, int], seed: int, groups: Ints | None, labels: Ints | None
) -> tuple[Ints, Ints]:
    """Split rows, or groups of them, in two by scikit-learn, which refuses to give none."""
    size = sizes[0]
    if 0 in sizes:
        return (rows, rows[:0]) if size else (rows[:0], rows)
    sklearn = _splitters()
    if labels is not None:
        _require_pairs(labels[rows], rows)
    try:
        if groups is not None:
            splitter = sklearn.GroupShuffleSplit(1, train_size=size, random_state=seed)
            pair = next(splitter.split(rows, groups=groups[rows]))
        else:
            splitter = sklearn.StratifiedShuffleSplit(1, train_size=size, random_state=seed)
            pair = next(splitter.split(rows, labels[rows]))  # type: ignore[index]
    except ValueError as error:
        raise SamplerError(f"scikit-learn cannot split these rows: {error}") from error
    first, second = (np.sort(rows[part]) for part in pair)
    return first, second


def _require_pairs(labels: Ints, rows: Ints) -> None:
    """Raise `SamplerError` where a value is that of one row, which cannot be in two parts."""
    _, firsts, counts = np.unique(labels, return_index=True, return_counts=True)
    alone = rows[np.sort(firsts[counts == 1])]
    if len(alone):
        raise SamplerError(
            f"stratify= has {len(alone)} of {len(counts)} values for one row only of those to "
            f"split, as that of row {alone[0]}, and each part needs a row of each: join rare "
            "values, or leave stratify= out"
        )


def folds_of(
    count: int, folds: int, seed: int, groups: Ints | None, labels: Ints | None
) -> list[tuple[Ints, Ints]]:
    """Split `count` rows into so many pairs (train, test); `groups` and `labels` as `parts_of`."""
    sklearn = _splitters()
    name = "Stratified" * (labels is not None) + "Group" * (groups is not None) + "KFold"
    try:
        splitter = getattr(sklearn, name)(folds, shuffle=True, random_state=seed)
        pairs = list(splitter.split(np.zeros(count), labels, groups))
    except (ValueError, TypeError) as error:
        raise SamplerError(f"scikit-learn's {name} cannot split these rows: {error}") from error
    return [(np.sort(train), np.sort(test)) for train, test in pairs]


def _splitters() -> Any:
    purpose = "a split by groups, stratify or folds"
    return require("sklearn.model_selection", extra="examples", purpose=purpose)
