"""What is known of any dataset: the npdata datasets inside it, what reading them costs, and where.

Idea: torch's own wrappers (`Subset`, `StackDataset`, `ConcatDataset`) keep what they wrap in
`dataset` or `datasets`. Invariant: what is not recognised is unknown, never guessed. It reads
nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import StackDataset, Subset

from npdata.arrays.blocks import Blocks
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.sources.base import Source

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


@dataclass(frozen=True, kw_only=True)
class Advised:
    """Sources that can make use of knowing what is read next, and where their rows lie.

    `rows` gives the row of the sources for each row of the dataset; None: the same. `ahead_bytes`
    is how far ahead hints may be.
    """

    sources: tuple[Source, ...]
    blocks: Blocks
    rows: NDArray[np.int64] | None
    ahead_bytes: int | None

    @property
    def row_bytes(self) -> int:
        """The bytes that a row takes in all files."""
        return sum(source.stored_bytes for source in self.sources)


def advised(dataset: Any, least_bytes: int = 0) -> Advised | None:
    """Give the sources within `dataset` that advice helps, None where there are none.

    Mapped files of no more than `least_bytes` are read fast enough without. Where the wrappers pick
    different rows of them, those that are read with the first alone.

    Examples:
        >>> within = advised(torch.utils.data.Subset(npdata.NumpyDataset("x.npy"), [4, -1]))
        >>> within.sources[0].access.kind, within.rows.tolist()
        ('mapped', [4, 4])
    """
    parts = [
        (source, rows)
        for part, rows in parts_of(dataset)
        for source in part.sources
        if _accepts_hints(source, least_bytes, whole=part.transforms.copies)
    ]
    if not parts:
        return None
    first = parts[0][1]
    sources = tuple(
        source
        for source, rows in parts
        if (rows is None and first is None)
        or (rows is not None and first is not None and np.array_equal(rows, first))
    )
    costliest = max(sources, key=lambda source: (source.access.cost, source.row_bytes))
    row_bytes = sum(source.stored_bytes for source in sources)
    limits = [
        limit // max(1, source.stored_bytes) * row_bytes
        for source in sources
        if (limit := source.ahead_bytes) is not None
    ]
    return Advised(
        sources=sources,
        blocks=costliest.blocks,
        rows=first,
        ahead_bytes=min(limits, default=None),
    )


def _accepts_hints(source: Source, least_bytes: int, whole: bool) -> bool:
    """`whole`: whole rows are read; a transform of views may read a small part of them."""
    kind = source.access.kind
    if kind == "mapped" and least_bytes and not whole:
        return False
    if kind in ("mapped", "files"):
        return len(source) * source.stored_bytes > least_bytes
    return kind == "decoded" and source.ahead_bytes is not None


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
