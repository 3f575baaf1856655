"""Values cast, compared and added up by torch, on as many cores as a gather takes.

Idea: torch divides work among its threads by the number of elements; where they must stay out of
it (`cores`), it is given pieces so small that it does not. Invariant: the results are the same on
one core and on many.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.cores import GRAIN, lost_threads, stays_on_one_core, with_threads
from npdata.arrays.dtypes import Ints, numpy_name
from npdata.runtime.lazy_torch import torch

_ADDED = frozenset(["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"])


@functools.cache
def numpy_casts(source: torch.dtype, dtype: torch.dtype) -> bool:
    """Tell whether NumPy casts such numbers to the same values, as fast as torch on one core.

    It does so with whole numbers that become whole, or float32 and float64 that hold all of them.

    Examples:
        >>> numpy_casts(torch.int16, torch.float32), numpy_casts(torch.int32, torch.float32)
        (True, False)
    """
    before, after = numpy_name(source), numpy_name(dtype)
    if before is None or after is None or np.dtype(before).kind not in "biu":
        return False
    if np.dtype(after).kind in "biu":
        return True
    return after in ("float32", "float64") and np.can_cast(before, after)


def casts_by_numpy(source: torch.Tensor, dtype: torch.dtype) -> bool:
    """Tell whether NumPy casts these: on one core, where torch would take more or several calls.

    Of bools torch makes floats in four times the time.
    """
    slow = source.dtype == torch.bool and dtype.is_floating_point
    return (slow or stays_on_one_core(source)) and numpy_casts(source.dtype, dtype)


def copy_values(source: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Copy contiguous `source` to `out` of the same shape, in the dtype of `out`; gives `out`."""
    if casts_by_numpy(source, out.dtype):
        out.numpy()[...] = source.numpy()
        return out
    if source.numel() <= GRAIN:
        return out.copy_(source)
    if not stays_on_one_core(source):
        with_threads(functools.partial(out.copy_, source), source.nbytes + out.nbytes)
        return out
    for values, target in zip(_pieces(source), _pieces(out.view(-1)), strict=True):
        target.copy_(values)
    return out


def extremes(values: torch.Tensor) -> list[float]:
    """Give the smallest and the largest of floats, also of parts of them; NaN where one is.

    On as many cores as `copy_values` copies them.

    Examples:
        >>> extremes(torch.tensor([2.0, -1.0]))
        [-1.0, 2.0]
    """
    here = values.device.type == "cpu"
    parts: Iterable[torch.Tensor] = [values]
    if here and values.numel() > GRAIN and stays_on_one_core(values):
        if values.dtype in (torch.float32, torch.float64):
            array = values.numpy(force=True)
            return [np.minimum.reduce(array, None).item(), np.maximum.reduce(array, None).item()]
        parts = _pieces(values)
    found: list[torch.Tensor] = []
    for part in parts:
        found += torch.aminmax(part.float() if part.itemsize == 1 else part)  # not of float8
    if here:
        return [extreme.item() for extreme in found]
    return torch.stack(found).tolist()  # waits once for the device


def scatter_add(out: NDArray[Any], places: Ints, values: NDArray[Any]) -> None:
    """Add `values[k]` to `out[places[k]]`, both one-dimensional and of one dtype.

    Places are in [0, len(out)); one that comes twice gets both values.
    """
    if out.dtype.name not in _ADDED or lost_threads():
        np.add.at(out, places, values)
        return
    torch.from_numpy(out).scatter_add_(0, torch.from_numpy(places), torch.from_numpy(values))


def _pieces(values: torch.Tensor) -> Iterator[torch.Tensor]:
    """Give parts of values so small that torch uses no other thread for one."""
    flat = values.reshape(-1)
    return (flat[first : first + GRAIN] for first in range(0, len(flat), GRAIN))
