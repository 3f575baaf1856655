"""What wraps a dataset, as in torch: datasets over one, or several that go together, and loaders.

They are known by their attributes, so that those of somebody else count as well; but which rows a
`Subset` reads is known of torch's own alone. What a DataLoader is asking for is known by the frame
of its fetcher, which torch keeps to itself.
"""

from collections.abc import Iterator, Mapping, Sized, ValuesView
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.indexing import array_of, row_numbers
from npdata.errors import an
from npdata.runtime.lazy_torch import torch

_FETCHING = "torch.utils.data._utils.fetch"
_MAKING = "npdata.loading.batch_task"
"""Where a DataLoader asks a dataset for samples, and where a `Loader` does."""
NO_ARRAY = (TypeError, ValueError, RuntimeError, OverflowError)
"""What NumPy and torch raise where indices make no array."""


def wrapped_by(dataset: Any) -> list[Any]:
    """Give the datasets that `dataset` wraps; none where it is no wrapper.

    Examples:
        >>> wrapped_by(torch.utils.data.Subset("abc", [0])), wrapped_by("abc")
        (['abc'], [])
    """
    inner, parts = getattr(dataset, "dataset", None), getattr(dataset, "datasets", None)
    parts = parts.values() if isinstance(parts, Mapping) else parts
    several = parts if isinstance(parts, list | tuple | ValuesView) else ()
    return [part for part in (inner, *several) if part is not None]


def within(
    dataset: Any, whole: type | tuple[()] = (), above: tuple[Any, ...] = ()
) -> Iterator[Any]:
    """Give `dataset` and what it wraps, and these wrap; in what is `whole` nothing is looked for.

    What is `above` is passed over: parts may know what they are parts of.

    Examples:
        >>> stacked = torch.utils.data.StackDataset(torch.utils.data.Subset("abc", [0]), "d")
        >>> [each for each in within(stacked) if isinstance(each, str)]
        ['abc', 'd']
    """
    yield dataset
    above = (*above, dataset)
    for part in () if isinstance(dataset, whole) else wrapped_by(dataset):
        if not any(part is each for each in above):
            yield from within(part, whole, above)


def reads_as(kind: type, dataset: Any) -> bool:
    """Whether it reads rows as `kind` of torch does, and not as a subclass, or by a patch.

    Examples:
        >>> reads_as(torch.utils.data.Subset, torch.utils.data.Subset("abc", [0]))
        True
    """
    return type(dataset) is kind and "__getitems__" not in vars(dataset)


def chosen_of(dataset: Any) -> Any:
    """Give what a `Subset`, also of a `Subset`, chooses rows of; others as they are."""
    while reads_as(torch.utils.data.Subset, dataset):
        dataset = dataset.dataset
    return dataset


def draws(dataset: Any) -> bool:
    """Whether it is of npdata, or a `Subset` or `StackDataset` of such, and a function takes rng.

    Examples:
        >>> ds = npdata.NumpyDataset(np.arange(5), transform=lambda x, rng: x + rng.random())
        >>> draws(ds), draws(torch.utils.data.StackDataset(ds, ds)), draws("abc")
        (True, True, False)
    """
    inner = chosen_of(dataset)
    stacked = reads_as(torch.utils.data.StackDataset, inner)
    asked = [
        getattr(chosen_of(each), "takes_rng", None)
        for each in (wrapped_by(inner) if stacked else [inner])
    ]
    return None not in asked and any(asked)


def chosen_rows(dataset: Any) -> tuple[Any, Ints | None] | None:
    """Give `chosen_of(dataset)`, with its row for each row of `dataset`; None: the same row.

    None in place of both where reading refuses the indices, or asks them in a way of their own.

    Examples:
        >>> inner = torch.utils.data.Subset("abcde", [4, -1, 0])
        >>> chosen_rows(torch.utils.data.Subset(inner, range(2)))
        ('abcde', array([4, 4]))
        >>> chosen_rows(torch.utils.data.Subset("abcde", [5])) is None
        True
    """
    if not reads_as(torch.utils.data.Subset, dataset):
        return dataset, None
    found = chosen_rows(dataset.dataset)
    if found is None or not isinstance(dataset.dataset, Sized) or not counts_places(dataset):
        return None
    inner, rows = found
    try:
        chosen = indices_of(dataset)
    except NO_ARRAY:
        return None  # parts of several lengths, or a tensor of a device
    if chosen.ndim != 1 or (len(chosen) and chosen.dtype.kind not in "iu"):
        return None  # a mask
    length = len(dataset.dataset)
    if len(chosen) and not -length <= int(chosen.min()) <= int(chosen.max()) < length:
        return None
    chosen = chosen.astype(np.int64)  # a copy, as the array of the user may change
    chosen[chosen < 0] += length
    return inner, chosen if rows is None else rows[chosen]


def why_unknown(dataset: Any) -> str:
    """Say why `chosen_rows` gives no rows; raises for indices that reading refuses, as that does.

    Examples:
        >>> why_unknown(torch.utils.data.Subset("abc", bytearray([0, 2])))
        'which rows a Subset of a bytearray reads is not known: give it np.asarray(indices)'
    """
    while type(dataset) is torch.utils.data.Subset and isinstance(dataset.dataset, Sized):
        row_numbers(dataset.indices, len(dataset.dataset), masks=False)
        if not counts_places(dataset):
            given = an(type(dataset.indices).__name__)
            return f"which rows a Subset of {given} reads is not known: give it np.asarray(indices)"
        dataset = dataset.dataset
    return f"which rows {an(type(dataset).__name__)} reads is not known"


def counts_places(subset: Any) -> bool:
    """Whether `subset.indices[0]` is the first of its indices, and so on.

    A Series of pandas looks for the label 0, and a subclass may do as it likes.

    Examples:
        >>> counts_places(torch.utils.data.Subset("abc", range(2)))
        True
        >>> counts_places(torch.utils.data.Subset("abc", {0: 2, 1: 0}))
        False
    """
    given = type(subset.indices)
    return given in (list, tuple, range, np.ndarray, np.memmap) or given is torch.Tensor


def indices_of(wrapper: Any) -> NDArray[Any]:
    """Give the indices that a wrapper of one dataset keeps as an array, none where it keeps none.

    `random_split` makes a list of them. To read that takes 36 ns an index, and to see that it is
    the list of the last time 3.
    """
    indices = getattr(wrapper, "indices", ())
    if type(indices) is not list or type(wrapper) is not torch.utils.data.Subset:
        return array_of(indices)
    known = _lists.get(wrapper)
    if known is None or known[0] != indices:
        known = _lists[wrapper] = list(indices), array_of(indices)
    return known[1]


_lists: "WeakKeyDictionary[Any, tuple[list[Any], NDArray[Any]]]" = WeakKeyDictionary()
"""The lists of subsets, as they were, and their numbers."""


def is_loader(given: object) -> bool:
    """Whether it makes batches of samples; a dataset may have a `collate_fn`, too.

    Examples:
        >>> is_loader(torch.utils.data.DataLoader([1])), is_loader(npdata.BlockBatchSampler(5, 2))
        (True, False)
    """
    return hasattr(given, "collate_fn") and hasattr(given, "batch_sampler")


def fetcher_in(frame: FrameType | None) -> Any:
    """Give the fetcher of a DataLoader whose method runs in a frame, None for another frame."""
    if frame is None or frame.f_globals.get("__name__") != _FETCHING:
        return None
    return frame.f_locals.get("self")


def fetches(frame: FrameType | None) -> bool:
    """Tell whether a loader asks for samples in a frame, or in one that called it."""
    while frame is not None and frame.f_globals.get("__name__") not in (_FETCHING, _MAKING):
        frame = frame.f_back
    return frame is not None
