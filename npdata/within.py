"""What is known of any dataset: the npdata datasets inside it, and what reading them costs.

Idea: torch's own wrappers (`Subset`, `StackDataset`, `ConcatDataset`) keep what they wrap in
`dataset` or `datasets`. Invariant: what is not recognised is unknown, never guessed. It reads
nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from npdata.dataset import NumpyDataset
from npdata.schedule import Data


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


def data_of(dataset: Any, batch_size: int | None) -> Data:
    """Give what the schedule of a loader depends on.

    Examples:
        >>> data_of(npdata.NumpyDataset(np.arange(5)), 2)
        Data(batch_bytes=16, library=False)
    """
    sources = [source for each in datasets_within(dataset) for source in each.sources]
    row_bytes = sum(source.row_bytes for source in sources)
    known = batch_size is not None and bool(sources)
    return Data(
        batch_bytes=row_bytes * batch_size if known and batch_size is not None else None,
        library=any(source.access.kind == "library" for source in sources),
    )
