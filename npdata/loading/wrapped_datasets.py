"""What is known of any dataset: the npdata datasets inside it, and which of their rows it reads.

Idea: torch's own wrappers (`Subset`, `StackDataset`, `ConcatDataset`) keep what they wrap in
`dataset` or `datasets`. Invariant: what is not recognised is unknown, never guessed. It reads
nothing.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import StackDataset, Subset

from npdata.arrays.dtypes import Ints
from npdata.arrays.indexing import array_of
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.sampling.order.wrapped import wrapped_by

_GETITEMS = NumpyDataset.__getitems__


def is_direct(dataset: Any) -> bool:
    """Whether batches are read as `NumpyDataset` does it, and not by a subclass or a patch."""
    own = isinstance(dataset, NumpyDataset)
    return own and getattr(dataset.__getitems__, "__func__", None) is _GETITEMS


def datasets_within(dataset: Any) -> Iterator[NumpyDataset]:
    """Give the npdata datasets that `dataset` is or wraps."""
    if isinstance(dataset, NumpyDataset):
        yield dataset
        return
    for part in wrapped_by(dataset):
        yield from datasets_within(part)


def chosen_of(dataset: Any) -> Any:
    """Give what a `Subset`, also of a `Subset`, chooses rows of; others as they are."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return dataset


def one_dataset(dataset: Any) -> tuple[NumpyDataset, Ints | None] | None:
    """Give the dataset that `dataset` is or chooses rows of, with its row for each; see `parts_of`.

    None for others: a `StackDataset` of one makes samples of its own form.

    Examples:
        >>> inner = npdata.NumpyDataset(np.arange(5))
        >>> one_dataset(torch.utils.data.Subset(inner, [4, -1]))[1].tolist()
        [4, 4]
        >>> one_dataset(torch.utils.data.StackDataset(inner)) is None
        True
    """
    inner = chosen_of(dataset)
    return next(parts_of(dataset), None) if isinstance(inner, NumpyDataset) else None


def parts_of(dataset: Any) -> Iterator[tuple[NumpyDataset, Ints | None]]:
    """Give the datasets inside, each with its row for every row of `dataset`; None: the same row.

    Nothing where the rows of one are not known: a subclass of torch's wrappers may do as it likes.
    """
    if isinstance(dataset, NumpyDataset):
        yield dataset, None
    elif type(dataset) is StackDataset:
        known = [list(parts_of(part)) for part in wrapped_by(dataset)]
        if all(known):
            yield from itertools.chain(*known)
    elif type(dataset) is Subset:
        for inner, rows in parts_of(dataset.dataset):
            try:
                chosen = _indices_of(dataset)
            except ValueError:
                return  # parts of several lengths, which reading refuses
            if chosen.ndim != 1 or (len(chosen) and chosen.dtype.kind not in "iu"):
                return  # a set or a mask, which reading refuses
            chosen = chosen.astype(np.int64)  # a copy, as the array of the user may change
            length = len(inner) if rows is None else len(rows)
            if len(chosen) and chosen.min() < 0:
                chosen[chosen < 0] += length
            if len(chosen) and not 0 <= chosen.min() <= chosen.max() < length:
                return  # reading will tell which row is not there
            yield inner, chosen if rows is None else rows[chosen]


def _indices_of(subset: "Subset[Any]") -> NDArray[Any]:
    """Give the indices of a `Subset` as an array.

    `random_split` makes a list of them. To read that takes 36 ns an index, and to see that it is
    the list of the last epoch 3.
    """
    indices = subset.indices
    if type(indices) is not list:
        return array_of(indices)
    known = _lists.get(subset)
    if known is None or known[0] != indices:
        known = _lists[subset] = list(indices), array_of(indices)
    return known[1]


_lists: "WeakKeyDictionary[Subset[Any], tuple[list[Any], NDArray[Any]]]" = WeakKeyDictionary()
"""The lists of subsets, as they were, and their numbers."""


def rebuilt(dataset: Any, parts: Iterator[NumpyDataset]) -> Any:
    """Give `dataset`, of which `parts_of` knows the rows, over other datasets, in their order."""
    if isinstance(dataset, NumpyDataset):
        return next(parts)
    if type(dataset) is Subset:
        return Subset(rebuilt(dataset.dataset, parts), dataset.indices)
    wrapped = dataset.datasets
    if isinstance(wrapped, Mapping):
        return StackDataset(**{name: rebuilt(part, parts) for name, part in wrapped.items()})
    return StackDataset(*(rebuilt(part, parts) for part in wrapped))
