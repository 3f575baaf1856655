"""Rows that are each one row of another source, in the form that it has there.

Idea: arrays of their own shape or length, and sparse rows, stay what they are under other numbers.
Invariant: row i is row `at(i)` of the source, as that gives it.
"""

from abc import abstractmethod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.sources.base import Source
from npdata.sources.derived.base import OfRows, RenumberedSource
from npdata.sources.ragged import PiecesSource, RaggedSource
from npdata.sources.sparse import Entries, SparseSource

Choice = TypeVar("Choice")


def by_form(
    rows: Source, *, plain: Choice, pieces: Choice, ragged: Choice, sparse: Choice
) -> Choice:
    """Give the one that is for rows of this form.

    Examples:
        >>> tokens = npdata.ragged(np.arange(3), lengths=[2, 1])
        >>> by_form(tokens, plain=0, pieces=1, ragged=2, sparse=3)
        2
    """
    if isinstance(rows, RaggedSource):
        return ragged
    if isinstance(rows, PiecesSource):
        return pieces
    return sparse if isinstance(rows, SparseSource) else plain


class OneRowSource(RenumberedSource):
    """Rows of `rows` under other numbers; a subclass says of which."""

    stored_bytes: Any = OfRows("stored_bytes")

    @abstractmethod
    def at(self, indices: Ints) -> Ints:
        """Give the rows of `rows` that these are."""

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Read the rows with these numbers."""
        self.rows.read(self.at(indices), out)


class OnePiece(OneRowSource, PiecesSource):
    """Arrays of different shapes."""

    rows: PiecesSource
    values_dtype: Any = OfRows("values_dtype")
    row_bytes: Any = OfRows("row_bytes")

    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Give the arrays as the source does."""
        return self.rows.pieces(self.at(indices))


class OneRaggedRow(OnePiece, RaggedSource):
    """Arrays of different lengths."""

    rows: RaggedSource
    row_shape: Any = OfRows("row_shape")
    pieces_layout: Any = OfRows("pieces_layout")

    def lengths(self) -> Ints:
        """Give the length of every array."""
        return self.rows.lengths()[self.at(np.arange(len(self)))]


class OneSparseRow(OneRowSource, SparseSource):
    """Sparse rows."""

    rows: SparseSource
    layout: Any = OfRows("layout")

    def entries(self, rows: Ints) -> Entries:
        """Read the values of rows; an error names the row of the source."""
        return self.rows.entries(self.at(rows))
