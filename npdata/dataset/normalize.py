"""Normalization of whole batches by statistics that were computed before.

Idea: a `batch_transform` that subtracts the mean and divides by the deviation, wherever the batch
lies. Invariant: which fields it changes is decided once, when it is made; all others, and values
that are missing, stay as they are, and so does padding. It computes no statistics.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.dataset.batch_memory import batch_memory
from npdata.dataset.nested import map_fields
from npdata.dataset.padded import Padded
from npdata.dataset.statistics import FieldStatistics, Statistics
from npdata.dataset.transforms import what_it_is
from npdata.errors import FieldError
from npdata.suggestions import BACK_IN_UNITS, each_word, explained, no_attribute

_OF_SCALERS = each_word(
    {
        "inverse invert inverse_transform denormalize unnormalize": BACK_IN_UNITS,
        "mean std mean_ scale_": "the figures are those of found = ds.statistics(): found[0].mean",
    }
)
"""What scalers of other libraries have, and what takes its place."""
ROUNDED = 1e-4
"""A mean that float32 rounds by more of a deviation is subtracted in float64."""


class _Scale(NamedTuple):
    """What a field is normalized by; `missing_time` is the integer that stands for no value.

    `rounded` is True where float32 does not hold these figures.
    """

    mean: Tensor
    divisor: Tensor
    missing_time: int | None
    rounded: bool


class Normalize:
    """What `npdata.normalize` gives: a function of batches, small to pickle."""

    def __init__(self, scales: dict[str | int, _Scale], alone: bool) -> None:
        self._scales = scales
        self._alone = alone
        self._there: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}
        """The figures on each device and in each dtype: to send them waits for the device."""

    def __call__(self, batch: Any) -> Any:
        """Give a batch of the same form with its fields normalized; the given one stays.

        Raises:
            FieldError: a ValueError, for a batch of other fields or shapes.
        """
        done: set[str | int] = set()
        result = batch
        if self._alone:
            result = self._value(batch, 0, done)
        elif isinstance(batch, dict) or type(batch) in (tuple, list):
            result = map_fields(lambda label, value: self._value(value, label, done), batch)
        if len(done) < len(self._scales):
            raise FieldError(
                f"normalize was made of statistics of the fields {list(self._scales)}, and this "
                f"batch is {what_it_is(batch)}: take the statistics of a dataset of the same fields"
            )
        return result

    def _value(self, value: Any, label: str | int, done: set[str | int]) -> Any:
        if isinstance(value, dict):
            return {k: self._value(column, f"{label}.{k}", done) for k, column in value.items()}
        if label not in self._scales:
            return value
        done.add(label)
        if isinstance(value, Padded):
            scaled = self._scaled(value.values, label)
            mask = value.mask().view(*value.lengths.shape, -1, *[1] * (scaled.ndim - 2))
            return Padded(torch.where(mask, scaled, value.values.to(scaled.dtype)), value.lengths)
        if isinstance(value, list):
            return [self._scaled(sample, label) for sample in value]
        return self._scaled(value, label)

    def _scaled(self, value: Tensor, label: str | int) -> Tensor:
        if value.layout == torch.sparse_csr:
            raise FieldError(
                f"field {label!r} is sparse, and without its mean no number of it is 0: give it "
                'layout="dense", or divide by its deviation in a batch_transform of your own'
            )
        floating = value.is_floating_point() or value.is_complex()
        scale = self._scales[label]
        dtype = _wide(value, scale.rounded)
        key = label, value.device, dtype
        figures = self._there.get(key)
        if figures is None:
            divisor = scale.divisor.to(dtype.to_real())
            figures = scale.mean.to(dtype).to(value.device), divisor.to(value.device)
            self._there[key] = figures
        mean = figures[0]
        pairs = zip(reversed(mean.shape), reversed(value.shape), strict=False)
        if mean.ndim > value.ndim or any(each not in (1, size) for each, size in pairs):
            raise FieldError(
                f"field {label!r}: statistics of shape {tuple(mean.shape)} are not of values of "
                f"shape {tuple(value.shape)}: take the statistics of a dataset of the same fields"
            )
        scaled = _minus(value, mean).div_(figures[1])
        if floating:
            return scaled.to(value.dtype)
        if scale.missing_time is not None:
            scaled.masked_fill_(value == scale.missing_time, torch.nan)
        return scaled.to(torch.float32)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, which says what to write for what other scalers have."""
            raise no_attribute(self, name, _OF_SCALERS)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._scales, self._alone)

    def __repr__(self) -> str:
        return f"normalize({', '.join(map(str, self._scales))})"


def _minus(value: Tensor, mean: Tensor) -> Tensor:
    """Give `value - mean`, computed in the dtype of `mean`, in memory of a batch if it is one."""
    plain = type(value) is Tensor and value.layout == torch.strided and not value.is_nested
    if not plain or value.device.type != "cpu" or value.requires_grad:
        return value.to(mean.dtype) - mean
    out = batch_memory()(tuple(value.shape), mean.dtype)
    return torch.sub(value if value.dtype == mean.dtype else out.copy_(value), mean, out=out)


def _rounded(mean: NDArray[Any], std: NDArray[np.float64]) -> bool:
    """Tell whether float32 rounds a mean by a part of its deviation that counts, or that to 0."""
    with np.errstate(over="ignore"):
        held = mean.astype(np.complex64 if mean.dtype.kind == "c" else np.float32)
    return bool((np.abs(mean - held) > ROUNDED * std).any() or std.min() < np.finfo("f4").tiny)


def _wide(value: Tensor, rounded: bool) -> torch.dtype:
    """Give the dtype in which a value is normalized, so that nothing overflows or is rounded away.

    float32 has 24 bits: seconds since 1970 would be rounded to 128 of them. MPS has no more.
    """
    size = value.itemsize // 2 if value.is_complex() else value.itemsize
    single = value.is_floating_point() or value.is_complex()
    narrow = size <= 2 or value.device.type == "mps" or (single and size == 4 and not rounded)
    real = torch.float32 if narrow else torch.float64
    return real.to_complex() if value.is_complex() else real


_KNOWN = (
    "write normalize(ds.statistics()); figures that you know go into a function: "
    'batch_transform=lambda batch: {**batch, "x": (batch["x"] - mean) / std}'
)
_WORDS = {
    "mean std eps inplace": _KNOWN,
    "field name names columns": "fields",
    "nan nan_value fill fill_value": (
        "NaN stays NaN; with norm = normalize(ds.statistics()), a function may fill it: "
        'batch_transform=lambda batch: {**batch, "x": norm(batch)["x"].nan_to_num(0)}'
    ),
}


@explained(_WORDS, usage="normalize(ds.statistics())")
def normalize(
    statistics: Statistics, fields: str | int | Iterable[str | int] | None = None
) -> Normalize:
    """Make a `batch_transform` that gives fields a mean of 0 and a standard deviation of 1.

    In a `Loader` with `device=` it runs there. Where all values are equal, they become 0.

    Args:
        statistics: those of `NumpyDataset.statistics`, which decide what axes have figures of
            their own.
        fields: the name of a field, or several. None: those of floating-point numbers, real or
            complex; integers, such as labels, stay unless they are named, and become float32, NaN
            for a missing time.

    Raises:
        FieldError: a ValueError, for anything but statistics, for a name without them, for no
            field at all, for a field without a value that counts, and for one with infinities.

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
            f"normalize takes what ds.statistics() gives, not {type(statistics).__name__}: {_KNOWN}"
        )
    known = list(statistics)
    if fields is None:
        chosen = [label for label in known if statistics[label].floating]
    else:
        if isinstance(fields, str) or not isinstance(fields, Iterable):
            fields = [fields]
        chosen = list(fields)
    unknown = [label for label in chosen if label not in known]
    if unknown:
        raise FieldError(f"no field {unknown[0]!r} with statistics; those fields are {known}")
    if not chosen:
        raise FieldError(
            f"no field holds floating-point numbers; name those to normalize: fields={known[:1]}"
        )
    scales = {label: _scale_of(label, statistics[label]) for label in chosen}
    return Normalize(scales, statistics.alone)


def _scale_of(label: str | int, found: FieldStatistics) -> _Scale:
    """Give what a field is normalized by; raise `FieldError` where its figures are none."""
    if (found.count == 0).any():
        raise FieldError(
            f"field {label!r} has no value to normalize by; compute statistics of rows that have "
            "some"
        )
    unsound = ~(np.isfinite(found.mean) & np.isfinite(found.std))
    if unsound.any():
        raise FieldError(
            f"field {label!r} has the mean {found.mean[unsound][0]} and the deviation "
            f"{found.std[unsound][0]}: it holds infinities, or numbers with larger squares than "
            "float64 holds. Put NaN in their place, which statistics() leaves out, or leave such "
            "rows out of statistics(indices)"
        )
    std = np.where(found.std > 0, found.std, 1.0)
    mean = np.array(found.mean)
    rounded = _rounded(mean, std)
    return _Scale(torch.from_numpy(mean), torch.from_numpy(std), found.missing_time, rounded)
