"""Stored numbers made those that they stand for, in arrays of NumPy and in tensors alike.

Idea: the steps that a `Packing` asks for are operators that both have, taken in the dtypes in which
NumPy takes them. Invariant: tensors get the numbers of arrays to the bit; times, and what torch
cannot do so, are left to NumPy (`TensorDecoder.can`).
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.convert import cast_to
from npdata.arrays.dtypes import DType, torch_dtype
from npdata.errors import FormatError
from npdata.runtime.lazy_torch import torch
from npdata.sources.packed.packing import Packing
from npdata.sources.packed.times import MISSING_TIME, clock

_FLOATS = ("float32", "float64")
_Cast = Callable[[Any, DType], Any]
"""Gives numbers in a dtype, themselves where they have it."""
_Step = Callable[[Any, Any], Any]


def unpack(packing: Packing, raw: NDArray[Any], out: NDArray[Any]) -> None:
    """Decode `raw` into `out`, of the same shape and of a dtype that holds `packing.result`.

    Times in a float `out` are ticks as well, and NaN where they are missing.

    Raises `FormatError` for a time that int64 cannot hold.
    """
    meant = packing.meant(raw.dtype)
    if packing.unsigned is not None:
        raw = raw.view(meant.newbyteorder(raw.dtype.byteorder))
    if packing.since is not None:
        ticks = out if out.dtype == np.int64 else np.empty(out.shape, np.int64)
        _unpack_times(packing, packing.since, raw, ticks)
        if ticks is not out:
            out[...] = ticks
            out[ticks == MISSING_TIME] = np.nan
        return
    if packing.truth:
        np.not_equal(raw, 0, out=out, casting="unsafe")
        return
    result = packing.result(raw.dtype)
    values = out if out.dtype == result else np.empty(out.shape, result)
    values[...] = raw
    values = _unpacked(packing, raw, values, meant, result, _cast_array)
    if values is not out:
        out[...] = values


@dataclass(frozen=True, kw_only=True)
class TensorDecoder:
    """Decodes tensors of numbers that are stored as `stored`, then casts to `cast` if given.

    Examples:
        >>> packing = Packing(scale=np.float64(0.5), missing=(np.int16(-1),))
        >>> TensorDecoder(packing=packing, stored=np.dtype("i2"), cast=None)(
        ...     torch.tensor([3, -1], dtype=torch.int16)
        ... )
        tensor([1.5000,    nan], dtype=torch.float64)
    """

    packing: Packing
    stored: DType
    cast: "torch.dtype | None"

    @classmethod
    def can(cls, packing: Packing, stored: DType) -> bool:
        """Tell whether this gives what NumPy gives: for floats of numbers, and not for times."""
        meant = packing.meant(stored)
        factors = [f for f in (packing.scale, packing.offset) if f is not None]
        return (
            packing.since is None
            and packing.result(stored).name in _FLOATS
            and (meant.kind == "i" or meant.name in ("uint8", "uint16", "uint32", *_FLOATS))
            and all(np.asarray(factor).dtype.name in _FLOATS for factor in factors)
        )

    def __call__(self, raw: "torch.Tensor") -> "torch.Tensor":
        """Give the numbers that a tensor of stored ones stands for."""
        packing = self.packing
        meant, result = packing.meant(self.stored), packing.result(self.stored)
        if packing.unsigned is not None:
            raw = raw.view(torch_dtype(meant))
        copied = raw.to(torch_dtype(result), copy=True)
        values: torch.Tensor = _unpacked(packing, raw, copied, meant, result, _cast_tensor)
        return values if self.cast is None else cast_to(values, self.cast)


def _unpacked(
    packing: Packing, raw: Any, values: Any, meant: DType, result: DType, cast: _Cast
) -> Any:
    """Mark and scale `values`, which are `raw` in the dtype `result`, perhaps in place."""
    absent = _absent(packing, raw, meant, cast)
    if absent is not None:
        values[absent] = np.nan
    steps: tuple[tuple[Any, _Step], ...] = (
        (packing.scale, operator.imul),
        (packing.offset, operator.iadd),
    )
    for factor, change in steps:
        if factor is not None:
            wide = np.result_type(result, factor)
            values = cast(change(cast(values, wide), factor.item()), result)
    return values


def _absent(packing: Packing, raw: Any, meant: DType, cast: _Cast) -> Any:
    """Tell which numbers stand for no value; None where all stand for one."""
    bounds: list[tuple[_Step, Any]] = [(operator.lt, packing.low), (operator.gt, packing.high)]
    marks = [(operator.eq, number) for number in packing.missing]
    absent = None
    for compare, number in marks + [each for each in bounds if each[1] is not None]:
        found = compare(cast(raw, np.result_type(meant, number)), np.asarray(number).item())
        absent = found if absent is None else absent | found
    return absent


def _cast_array(numbers: NDArray[Any], dtype: DType) -> NDArray[Any]:
    return numbers.astype(dtype, copy=False)


def _cast_tensor(numbers: "torch.Tensor", dtype: DType) -> "torch.Tensor":
    # Integers are only compared, which torch does not do for all that are unsigned.
    return numbers.to(torch_dtype(np.int64 if dtype.kind in "iu" else dtype))


def _unpack_times(packing: Packing, since: str, raw: NDArray[Any], out: NDArray[Any]) -> None:
    each, start = clock(since, packing.calendar)
    values: NDArray[Any] = raw.astype(np.float64 if raw.dtype.kind == "f" else np.int64)
    if packing.scale is not None or packing.offset is not None:
        values = values * (1 if packing.scale is None else packing.scale)
        values = values + (0 if packing.offset is None else packing.offset)
    absent = np.isnan(values) if values.dtype.kind == "f" else values == MISSING_TIME
    limit = np.iinfo(np.int64).max
    wrapped = raw > limit if raw.dtype.kind == "u" else np.zeros(raw.shape, bool)
    absent &= ~wrapped
    marked = _absent(packing, raw, packing.meant(raw.dtype), _cast_array)
    if marked is not None:
        absent = absent | marked
    values = np.where(absent, values.dtype.type(0), values)
    low, high = (-limit - start) / each, (limit - start) / each
    outside = (~((values > low) & (values < high)) | wrapped) & ~absent
    if outside.any():
        first = (raw if wrapped.any() else values)[outside].flat[0]
        raise FormatError(
            f"{first} in {since!r} is outside the years 1678 to 2262 "
            f"that int64 nanoseconds reach; read this field without decode="
        )
    whole, rest = divmod(start, each)
    if values.dtype.kind == "f" and abs(start) < limit:
        out[...] = (values * each).astype(np.int64) + start
    else:
        out[...] = ((values + whole) * each).astype(np.int64) + rest
    out[absent] = MISSING_TIME
