"""What is known of any dataset: the npdata datasets inside it, and which of their rows it reads.

Idea: torch's own wrappers (`Subset`, `StackDataset`, `ConcatDataset`) keep what they wrap in
`dataset` or `datasets`. Invariant: what is not recognised is unknown, never guessed. It reads
nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import StackDataset, Subset

from npdata.dataset.numpy_dataset import NumpyDataset

_GETITEMS = NumpyDataset.__getitems__


def is_direct(dataset: Any) -> bool:
    """Whether batches are read as `NumpyDataset` does it, and not by a subclass or a patch.

    Examples:
        >>> is_direct(npdata.NumpyDataset(np.arange(5)))
        True
    """
    method = getattr(dataset.__getitems__, "__func__", None)
    return isinstance(dataset, NumpyDataset) and method is _GETITEMS


def datasets_within(dataset: Any) -> Iterator[NumpyDataset]:
    """Give the npdata datasets that `dataset` is or wraps.

    Examples:
        >>> inner = npdata.NumpyDataset(np.arange(5))
        >>> next(datasets_within(torch.utils.data.Subset(inner, [0]))) is inner
        True
    """
    if isinstance(dataset, NumpyDataset):
        yield dataset
        return
    wrapped = getattr(dataset, "datasets", None)
    parts = wrapped.values() if isinstance(wrapped, Mapping) else wrapped or ()
    for part in (getattr(dataset, "dataset", None), *parts):
        if part is not None:
            yield from datasets_within(part)


def parts_of(dataset: Any) -> Iterator[tuple[NumpyDataset, NDArray[np.int64] | None]]:
    """Give the datasets whose rows are known for every row of `dataset`; None: the same row.

    A subclass of torch's wrappers may do as it likes, and gives nothing.
    """
    if isinstance(dataset, NumpyDataset):
        yield dataset, None
    elif type(dataset) is StackDataset:
        wrapped = dataset.datasets
        for part in wrapped.values() if isinstance(wrapped, Mapping) else wrapped:
            yield from parts_of(part)
    elif type(dataset) is Subset:
        for inner, rows in parts_of(dataset.dataset):
            chosen = np.asarray(dataset.indices, np.int64)
            length = len(inner) if rows is None else len(rows)
            positive = np.where(chosen < 0, chosen + length, chosen)
            if len(positive) and not 0 <= positive.min() <= positive.max() < length:
                return  # reading will tell which row is not there
            yield inner, positive if rows is None else rows[positive]


def rebuilt(dataset: Any, parts: Iterator[NumpyDataset]) -> Any:
    """Give `dataset`, of which `parts_of` knows the rows, over other datasets, in their order.

    Examples:
        >>> inner = npdata.NumpyDataset(np.arange(5))
        >>> rebuilt(torch.utils.data.Subset(inner, [4]), iter([inner]))[0]
        tensor(4)
    """
    if isinstance(dataset, NumpyDataset):
        return next(parts)
    if type(dataset) is Subset:
        return Subset(rebuilt(dataset.dataset, parts), dataset.indices)
    wrapped = dataset.datasets
    if isinstance(wrapped, Mapping):
        return StackDataset(**{name: rebuilt(part, parts) for name, part in wrapped.items()})
    return StackDataset(*(rebuilt(part, parts) for part in wrapped))
