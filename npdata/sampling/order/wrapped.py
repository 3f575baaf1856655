"""What wraps a dataset, as in torch: datasets over one, or several that go together, and loaders.

They are known by their attributes, so that those of somebody else count as well. What a DataLoader
is asking for is known by the frame of its fetcher alone, which torch keeps to itself.
"""

from collections.abc import Mapping
from types import FrameType
from typing import Any

_FETCHING = "torch.utils.data._utils.fetch"
_MAKING = "npdata.loading.batch_task"
"""Where a DataLoader asks a dataset for samples, and where a `Loader` does."""


def wrapped_by(dataset: Any) -> list[Any]:
    """Give the datasets that `dataset` wraps; none where it is no wrapper.

    Examples:
        >>> wrapped_by(torch.utils.data.Subset("abc", [0])), wrapped_by("abc")
        (['abc'], [])
    """
    inner, several = getattr(dataset, "dataset", None), getattr(dataset, "datasets", None) or ()
    parts = several.values() if isinstance(several, Mapping) else several
    return [part for part in (inner, *parts) if part is not None]


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
