"""What wraps a dataset, as in torch: datasets over one, or several that go together, and loaders.

They are known by their attributes, so that those of somebody else count as well.
"""

from collections.abc import Mapping
from typing import Any


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
