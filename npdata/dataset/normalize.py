"""Normalization of whole batches by statistics that were computed before.

Idea: a `batch_transform` that subtracts the mean and divides by the deviation, wherever the batch
lies. Invariant: which fields it changes is decided once, when it is made; all others, and values
that are missing, stay as they are. It computes no statistics.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from npdata.dataset.statistics import Statistics
from npdata.errors import FieldError


class Normalize:
    """What `npdata.normalize` gives: a function of batches, small to pickle."""

    def __init__(self, scales: dict[str | int, tuple[Tensor, Tensor]], alone: bool) -> None:
        self._scales = scales
        self._alone = alone
        self._there: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}
        """The figures on each device and in each dtype: to send them waits for the device."""

    def __call__(self, batch: Any) -> Any:
        """Give a batch of the same form with its fields normalized; the given one stays."""
        if self._alone:
            return self._scaled(batch, 0)
        if isinstance(batch, dict):
            return {name: self._scaled(value, name) for name, value in batch.items()}
        return type(batch)(self._scaled(value, k) for k, value in enumerate(batch))

    def _scaled(self, value: Any, label: str | int) -> Any:
        if label not in self._scales:
            return value
        dtype = value.dtype if value.is_floating_point() else torch.float32
        key = label, value.device, dtype
        figures = self._there.get(key)
        if figures is None:
            mean, scale = self._scales[label]
            figures = mean.to(dtype).to(value.device), scale.to(dtype).to(value.device)
            self._there[key] = figures
        return (value.to(dtype) - figures[0]) / figures[1]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the figures once."""
        return type(self), (self._scales, self._alone)

    def __repr__(self) -> str:
        return f"normalize({', '.join(map(str, self._scales))})"


def normalize(
    statistics: Statistics, fields: str | int | Iterable[str | int] | None = None
) -> Normalize:
    """Make a `batch_transform` that gives fields a mean of 0 and a standard deviation of 1.

    `statistics` are those of `NumpyDataset.statistics`, and decide which axes have figures of
    their own. `fields` names one field or several. Without it, the fields of floating-point numbers
    are normalized; integers, such as labels, stay unless they are named, and become float32. Where
    all values are equal, they become 0. In a `Loader` with `device=` it runs there.

    Raises `FieldError` (a ValueError) for anything but statistics, for a name without them, for no
    field at all, and for a field without a value that counts.

    Examples:
        >>> ds = npdata.NumpyDataset(np.array([1.0, 3.0]))
        >>> ds = npdata.NumpyDataset(
        ...     np.array([1.0, 3.0]), batch_transform=npdata.normalize(ds.statistics())
        ... )
        >>> ds[:]
        tensor([-1.,  1.], dtype=torch.float64)
    """
    if not isinstance(statistics, Statistics):
        raise FieldError(
            f"normalize takes what ds.statistics() gives, not {type(statistics).__name__}: "
            "normalize(ds.statistics(), 'x') for one field x"
        )
    known = list(statistics)
    if fields is None:
        chosen = [label for label in known if statistics[label].floating]
    else:
        chosen = [fields] if isinstance(fields, str | int) else list(fields)
    unknown = [label for label in chosen if label not in known]
    if unknown:
        raise FieldError(f"no field {unknown[0]!r} with statistics; those fields are {known}")
    if not chosen:
        raise FieldError(
            f"no field holds floating-point numbers; name those to normalize: fields={known[:1]}"
        )
    scales = {}
    for label in chosen:
        found = statistics[label]
        if (found.count == 0).any():
            raise FieldError(
                f"field {label!r} has no value to normalize by; compute statistics of "
                "rows that have some"
            )
        std = np.where(found.std > 0, found.std, 1.0)
        scales[label] = (torch.from_numpy(np.array(found.mean)), torch.from_numpy(std))
    return Normalize(scales, known == [0])
