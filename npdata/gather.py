"""The copy kernel: rows of equal size, anywhere in memory, gathered into one buffer.

Idea: whatever holds its rows uncompressed is a run of bytes, and row i starts at
`first + i * stride`. `torch.index_select` over a strided view of those bytes copies any set of
rows in one call that releases the GIL, runs on several cores and writes straight into the final
buffer. Invariant: the caller has checked that every row number is inside (`npdata.indexing`);
memory is only read, also where the view could write, and no view leaves this module. It knows
nothing of files, fields or dtypes beyond the size of an element.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray
from torch import Tensor

WORDS: dict[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int16,
    4: torch.int32,
    8: torch.int64,
}


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
    """The rows of an array of shape (n, ...), ready to be gathered.

    `table` is a view for the kernel: shape (n,) of words where a row is one word, (n, row bytes)
    of bytes where a row is contiguous, otherwise None, and `array` is indexed by NumPy.
    """

    array: NDArray[Any]
    table: Tensor | None

    @classmethod
    def of(cls, array: NDArray[Any]) -> "RowTable":
        """Prepare `array` (at least one-dimensional, no object dtype); copies nothing.

        >>> out = np.empty((2, 3), np.int64)
        >>> RowTable.of(np.arange(12).reshape(4, 3)).gather(np.array([3, 0]), out)
        >>> out.tolist()
        [[9, 10, 11], [0, 1, 2]]
        """
        rows = array.shape[0]
        row_bytes = array.nbytes // rows if rows else 0
        stride = array.strides[0]
        if row_bytes == 0 or stride < 0 or not array[0].flags.c_contiguous:
            return cls(array=array, table=None)
        low, high = byte_bounds(array)
        flat = torch.from_numpy(np.asarray(_Memory(array, low, high)))
        start = array.__array_interface__["data"][0]
        if row_bytes in WORDS and stride == row_bytes and start % row_bytes == 0:
            return cls(array=array, table=flat.view(WORDS[row_bytes]))
        return cls(array=array, table=flat.as_strided((rows, row_bytes), (stride, 1)))

    def gather(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy row `indices[k]` to `out[k]`; indices are in [0, n), `out` is C-contiguous."""
        if out.size == 0:
            return
        if self.table is None:
            out[...] = self.array[indices]
            return
        rows = torch.from_numpy(indices)
        if self.table.ndim == 1:
            words = torch.from_numpy(out.reshape(-1).view(np.uint8)).view(self.table.dtype)
            torch.index_select(self.table, 0, rows, out=words)
        else:
            flat = torch.from_numpy(out.reshape(-1).view(np.uint8))
            torch.index_select(self.table, 0, rows, out=flat.view(len(indices), -1))
