"""The copy kernel: rows of equal size, anywhere in memory, gathered into one buffer.

Idea: whatever holds its rows uncompressed is a run of bytes, and row i starts at
`first + i * stride`. `torch.index_select` over a strided view of those bytes copies any set of
rows in one call that releases the GIL, runs on several cores and writes straight into the final
buffer. Invariant: the caller has checked that every row number is inside (`npdata.indexing`), and
memory is only read, also where the view could write. It knows nothing of files and fields.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray
from torch import Tensor

from npdata.dtypes import NATIVE


class _Memory:
    """Lets NumPy see any memory as plain writable bytes, so that torch takes it without a word."""

    def __init__(self, array: NDArray[Any], low: int, high: int) -> None:
        self.array = array
        self.__array_interface__ = {
            "data": (low, False),
            "shape": (high - low,),
            "typestr": "|u1",
            "version": 3,
        }


@dataclass(frozen=True, kw_only=True)
class RowTable:
    """The rows of `array`, of shape (n, ...), ready to be gathered.

    `view` is what the kernel reads: with `typed` a tensor of the array's shape and dtype, else the
    bytes of the rows, of shape (n, row bytes); None where neither is possible and NumPy does it.
    """

    array: NDArray[Any]
    view: Tensor | None
    typed: bool

    @classmethod
    def of(cls, array: NDArray[Any]) -> "RowTable":
        """Prepare `array` (at least one-dimensional); copies nothing.

        Examples:
            >>> out = np.empty((2, 3), np.int64)
            >>> RowTable.of(np.arange(12).reshape(4, 3)).gather(np.array([3, 0]), out)
            >>> out.tolist()
            [[9, 10, 11], [0, 1, 2]]
        """
        item = array.dtype.itemsize
        if array.size == 0 or array.dtype.hasobject or min(array.strides) < 0:
            return cls(array=array, view=None, typed=False)
        low, high = byte_bounds(array)
        flat = torch.from_numpy(np.asarray(_Memory(array, low, high)))
        native = array.dtype.isnative and array.dtype.name in NATIVE
        if native and array.flags.aligned and not any(step % item for step in array.strides):
            steps = [step // item for step in array.strides]
            view = flat.view(NATIVE[array.dtype.name]).as_strided(array.shape, steps)
            return cls(array=array, view=view, typed=True)
        first = array[:1]
        if first.flags.c_contiguous:
            view = flat.as_strided((len(array), first.nbytes), (array.strides[0], 1))
            return cls(array=array, view=view, typed=False)
        return cls(array=array, view=None, typed=False)

    def gather(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy row `indices[k]` to `out[k]`; indices are in [0, n), `out` is C-contiguous."""
        if self.view is None or out.size == 0:
            out[...] = self.array[indices]
        elif self.typed:
            self.select(indices, torch.from_numpy(out))
        else:
            flat = torch.from_numpy(out.reshape(-1).view(np.uint8))
            self.select(indices, flat.view(len(indices), -1))

    def select(self, indices: NDArray[np.int64], out: Tensor) -> None:
        """Copy rows of `view` into `out`, a contiguous tensor of the view's dtype."""
        if self.view is not None:
            torch.index_select(self.view, 0, torch.from_numpy(indices), out=out)
