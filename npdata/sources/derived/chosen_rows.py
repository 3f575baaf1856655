"""Rows of a source chosen by number: in any order, and as often as they are named.

Idea: many samples may share a row (the image of several captions, the features of a user), which
lies once in a file. Invariant: row i is row `numbers[i]`. Rows are read where they lie, and nothing
but the numbers is kept.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import MOST_BLOCKS, Blocks
from npdata.arrays.dtypes import Ints
from npdata.runtime.lazy_torch import torch
from npdata.sources.base import Source
from npdata.sources.cache.cache import Keep
from npdata.sources.derived.base import OfRows
from npdata.sources.derived.one_row import (
    OnePiece,
    OneRaggedRow,
    OneRowSource,
    OneSparseRow,
    by_form,
)


def rows_at(rows: Source, numbers: Ints) -> "ChosenRows":
    """Give the rows with these numbers, int64 in [0, len(rows)), in the form that they have.

    Examples:
        >>> rows_at(npdata.open_source("x.npy"), np.array([4, 4, 0])).shape
        (3, 2, 3)
    """
    made = by_form(
        rows, plain=ChosenRows, pieces=ChosenPieces, ragged=ChosenRagged, sparse=ChosenSparse
    )
    return made(rows, numbers)


class ChosenRows(OneRowSource):
    """The rows of `rows` with these `numbers`.

    Of chosen rows, `rows` are those that they were chosen of.
    """

    numbers: Ints

    def __init__(self, rows: Source, numbers: Ints) -> None:
        if isinstance(rows, ChosenRows):
            numbers = rows.numbers[numbers]
            rows = rows.rows
        super().__init__(rows)
        self.numbers = numbers
        self._ascending = bool((numbers[1:] >= numbers[:-1]).all())
        self.shape = (len(numbers), *rows.shape[1:])
        self._mean_the_same()
        order = "in their order" if self._ascending else "in an order of their own"
        about = f"{len(numbers)} out of {len(rows)}, chosen by number, {order}"
        self.details += (("rows", about),)
        self.keeps_text, self.coded = rows.keeps_text, rows.coded

    row_layout: Any = OfRows("row_layout")

    def over(self, bases: Sequence[Source]) -> "ChosenRows":
        """Give the rows of these numbers of other rows."""
        return rows_at(self.rows.over(bases), self.numbers)

    @property
    def blocks(self) -> Blocks:
        """The blocks of the rows where numbers ascend, else runs of about the same bytes."""
        blocks = self.rows.blocks
        if not self._ascending or blocks.count > MOST_BLOCKS:
            return super().blocks
        return Blocks.of_edges(np.searchsorted(self.numbers, blocks.edges()))

    @property
    def borders(self) -> Ints | None:
        """Where the numbers go from one recording or part of the rows to another."""
        return self._between(self.rows.borders)

    @property
    def file_borders(self) -> Ints | None:
        """Where the numbers go from one file to another."""
        return self._between(self.rows.file_borders)

    def files_of(self, rows: Ints | None = None) -> set[str]:
        """Give the files that the chosen rows lie in."""
        return self.rows.files_of(self.numbers if rows is None else self.numbers[rows])

    def _between(self, edges: Ints | None) -> Ints | None:
        """Give the first row from each part, and the number of rows; None where one comes again.

        Rows that samples look up, in the order of the samples, make no recordings and files.
        """
        if edges is None:
            return None
        part = np.searchsorted(edges, self.numbers, side="right")
        firsts = np.flatnonzero(np.diff(part, prepend=-1))
        if len(np.unique(part[firsts])) < len(firsts):
            return None
        return np.append(firsts, len(self))

    def row_in_place(self, index: int) -> NDArray[Any] | None:
        """Give a row where it lies; None where it must be read."""
        return self.rows.row_in_place(int(self.numbers[index]))

    def at(self, indices: Ints) -> Ints:
        """Give the numbers that were chosen."""
        return self.numbers[indices]

    def select(self, indices: Ints, out: "torch.Tensor") -> bool:
        """Pass it on with the numbers of the rows."""
        return self.rows.select(self.numbers[indices], out)

    def spanned(self, first: int, stop: int) -> tuple[int, int]:
        """Give the rows from the first to the last where numbers ascend; else they lie anywhere."""
        if not self._ascending or first >= stop:
            return 0, 0
        return int(self.numbers[first]), int(self.numbers[stop - 1]) + 1

    def cached(self, keep: Keep) -> Source:
        """Give the same rows, of a source that is decoded once."""
        rows = self.rows.cached(keep)
        return self if rows is self.rows else rows_at(rows, self.numbers)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rows, self.numbers)


class ChosenPieces(ChosenRows, OnePiece):
    """Arrays of different shapes that were chosen."""


class ChosenRagged(ChosenRows, OneRaggedRow):
    """Arrays of different lengths that were chosen."""


class ChosenSparse(ChosenRows, OneSparseRow):
    """Sparse rows that were chosen."""
