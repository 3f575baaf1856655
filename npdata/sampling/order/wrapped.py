"""What a dataset holds that wraps others, as those of torch do: one, or several that go together.

They are known by their attributes, so that a wrapper of somebody else counts as well.
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
