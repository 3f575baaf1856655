"""What is known of any dataset: the npdata datasets inside it, and which of their rows it reads.

Idea: torch's own wrappers (`Subset`, `StackDataset`, `ConcatDataset`) keep what they wrap in
`dataset` or `datasets`. Invariant: what is not recognised is unknown, never guessed. It reads
nothing.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from torch.utils.data import StackDataset, Subset

from npdata.arrays.dtypes import Ints
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.sampling.order.wrapped import (
    chosen_of,
    chosen_rows,
    reads_as,
    within,
    wrapped_by,
)

_GETITEMS = NumpyDataset.__getitems__


def is_direct(dataset: Any) -> bool:
    """Whether batches are rows, read as `NumpyDataset` does it, not by a subclass or a patch."""
    own = isinstance(dataset, NumpyDataset) and dataset.numbers_rows
    return own and getattr(dataset.__getitems__, "__func__", None) is _GETITEMS


def datasets_within(dataset: Any) -> Iterator[NumpyDataset]:
    """Give the npdata datasets that `dataset` is or wraps."""
    return (each for each in within(dataset, NumpyDataset) if isinstance(each, NumpyDataset))


def one_dataset(dataset: Any) -> tuple[NumpyDataset, Ints | None] | None:
    """Give the dataset that `dataset` is or chooses rows of, with its row for each; see `parts_of`.

    None for others: a `StackDataset` of one makes samples of its own form, and so does a subclass
    that changes `ds[i]` alone.

    Examples:
        >>> inner = npdata.NumpyDataset(np.arange(5))
        >>> one_dataset(torch.utils.data.Subset(inner, [4, -1]))[1].tolist()
        [4, 4]
        >>> one_dataset(torch.utils.data.StackDataset(inner)) is None
        True
    """
    found = chosen_rows(dataset)
    if found is None or not isinstance(found[0], NumpyDataset):
        return None
    return found if callable(found[0].__getitems__) else None


def parts_of(dataset: Any) -> Iterator[tuple[NumpyDataset, Ints | None]]:
    """Give the datasets inside, each with its row for every row of `dataset`; None: the same row.

    Nothing where the rows of one are not known: a subclass of torch's wrappers, or one with a
    method of its own, may do as it likes.
    """
    found = chosen_rows(dataset)
    if found is None:
        return
    inner, rows = found
    if isinstance(inner, NumpyDataset):
        yield inner, rows
    elif reads_as(StackDataset, inner):
        known = [list(parts_of(part)) for part in wrapped_by(inner)]
        if all(known):
            for part, theirs in itertools.chain(*known):
                yield part, rows if theirs is None else theirs if rows is None else theirs[rows]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """The datasets of a `StackDataset`, each with its rows as in `parts_of`; their names, if any.

    To stack their batches and not their samples takes 50 ms for 60,000 rows of 20 numbers and a
    label, in place of 500, and brings each what random transforms need.
    """

    names: tuple[Any, ...] | None
    parts: tuple[tuple[NumpyDataset, Ints | None], ...]

    @classmethod
    def of(cls, dataset: Any) -> Self | None:
        """Give those of a `StackDataset`, or of a `Subset` of one, if their batches can be stacked.

        Where one has a `batch_transform`, its samples show whether it gave one row for each.
        """
        stacked = chosen_of(dataset)
        if not reads_as(StackDataset, stacked):
            return None
        if not all(isinstance(chosen_of(part), NumpyDataset) for part in wrapped_by(stacked)):
            return None
        parts = tuple(parts_of(dataset))  # none where the rows of one are not known
        plain = all(is_direct(part) and part.transforms.batch is None for part, _ in parts)
        if not (parts and plain):
            return None
        named = isinstance(stacked.datasets, Mapping)
        return cls(names=tuple(stacked.datasets) if named else None, parts=parts)


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


def choose_alike(rebuilt: Any, dataset: Any) -> bool:
    """Whether the subsets in `dataset` have the indices that they had when it was `rebuilt`.

    A list that was changed in place is in both.

    Examples:
        >>> ds = npdata.NumpyDataset(np.arange(5))
        >>> part = torch.utils.data.Subset(ds, [1, 2])
        >>> same = rebuilt(part, iter([ds]))
        >>> choose_alike(same, part)
        True
        >>> part.indices = [3, 4]
        >>> choose_alike(same, part)
        False
    """
    if rebuilt is dataset:
        return True
    if type(rebuilt) is Subset and rebuilt.indices is not getattr(dataset, "indices", None):
        return False
    return all(map(choose_alike, wrapped_by(rebuilt), wrapped_by(dataset)))
