"""HDF5 datasets of variable length: each row is an array of numbers, which h5py reads.

Idea: rows are read sorted and in runs, as `h5py_rows` does it, and h5py gives one array for each.
Invariant: numbers alone; text and objects of other kinds are recognised when a dataset is opened.
Lengths are known once everything was read.
"""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType, Ints
from npdata.sources.base import Source
from npdata.sources.derived.base import DerivedSource
from npdata.sources.ragged import OBJECTS, RaggedSource

PIECE = 1 << 14
"""So many rows are read at a time to learn their lengths."""


def as_numbers(rows: Source) -> Source:
    """Give objects that are arrays of numbers as such; any other rows as they are.

    So are numbers of another byte order, whose bytes h5py gives as if they were native.
    """
    inner = h5py.check_vlen_dtype(rows.dtype)
    numbers = isinstance(inner, np.dtype) and inner.kind in "biufc" and inner.isnative
    return VariableSource(rows, inner) if numbers and len(rows.shape) == 1 else rows


class VariableSource(DerivedSource, RaggedSource):
    """The rows of a dataset of variable length, of `values_dtype`."""

    row_shape = ()

    def __init__(self, rows: Source, values_dtype: DType) -> None:
        super().__init__(rows)
        self.dtype, self.values_dtype = OBJECTS, values_dtype
        self._lengths: Ints | None = None

    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Read the rows, each in memory of its own."""
        read = np.empty(len(indices), self.rows.dtype)
        self.rows.read(indices, read)
        return list(read)

    def lengths(self) -> Ints:
        """Read all rows, once, for their lengths."""
        if self._lengths is None:
            sizes = [np.zeros(0, np.int64)]
            for first in range(0, len(self), PIECE):
                rows = np.arange(first, min(first + PIECE, len(self)))
                sizes.append(np.array([len(piece) for piece in self.pieces(rows)], np.int64))
            self._lengths = np.concatenate(sizes)
        return self._lengths

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rows, self.values_dtype)
