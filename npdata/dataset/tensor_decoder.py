"""Stored numbers decoded as tensors, wherever these lie: scale, offset, and NaN for missing values.

Idea: the steps of `Packing.decode`, one by one, in the dtypes in which NumPy takes them. Invariant:
the result has the same numbers to the bit; what torch cannot do so is not taken on.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from npdata.arrays.dtypes import DType, torch_dtype
from npdata.sources.packing import Packing

_FLOATS = ("float32", "float64")


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
    cast: torch.dtype | None

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

    def __call__(self, raw: Tensor) -> Tensor:
        """Give the numbers that a tensor of stored ones stands for."""
        packing = self.packing
        result = packing.result(self.stored)
        if packing.unsigned is not None:
            raw = raw.view(torch_dtype(packing.meant(self.stored)))
        numbers = raw if raw.is_floating_point() else raw.to(torch.int64)
        absent = self._absent(numbers)
        values = raw.to(torch_dtype(result))
        if absent is not None:
            values = values.masked_fill(absent, np.nan)
        if packing.scale is not None:
            values = _in(result, packing.scale, values).mul(float(packing.scale)).to(values.dtype)
        if packing.offset is not None:
            values = _in(result, packing.offset, values).add(float(packing.offset)).to(values.dtype)
        return values if self.cast is None else values.to(self.cast)

    def _absent(self, numbers: Tensor) -> Tensor | None:
        whole = not numbers.is_floating_point()
        tests = [
            numbers == (int(value) if whole else float(value))
            for value in self.packing.missing
            if not whole or isinstance(value, np.integer)  # no integer is another number
        ]
        for bound, below in ((self.packing.low, True), (self.packing.high, False)):
            if bound is None:
                continue
            exact = whole and isinstance(bound, np.integer)
            held = numbers.to(torch.float64) if whole and not exact else numbers
            limit: Any = int(bound) if exact else float(bound)
            tests.append(held < limit if below else held > limit)
        found: Tensor | None = None
        for test in tests:
            found = test if found is None else found | test
        return found


def _in(result: DType, factor: Any, values: Tensor) -> Tensor:
    """Give values in the dtype in which NumPy multiplies and adds them with a factor."""
    return values.to(torch_dtype(np.result_type(result, factor)))
