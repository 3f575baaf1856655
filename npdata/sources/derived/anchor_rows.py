"""The anchor rows of windows in their own form, where that is more than rows of one shape.

Idea: a field that is not windowed has one row in each window, and arrays of their own length or
sparse rows stay what they are. Invariant: row i is row `anchors(i)` of the source, as that gives
it. Nothing is kept but the plan.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.windows import Windows
from npdata.sources.base import Source
from npdata.sources.derived.base import OfRows
from npdata.sources.derived.windows import PlannedSource, WindowSource
from npdata.sources.ragged import PiecesSource, RaggedSource
from npdata.sources.sparse import Entries, SparseSource


def anchor_rows(rows: Source, plan: Windows) -> Source:
    """Give the anchor row of each window of `plan`, in the form that it has in `rows`."""
    if isinstance(rows, RaggedSource):
        return AnchoredRagged(rows, plan)
    if isinstance(rows, PiecesSource):
        return AnchoredPieces(rows, plan)
    if isinstance(rows, SparseSource):
        return AnchoredSparse(rows, plan)
    return WindowSource(rows, plan, None)


class _Anchored(PlannedSource):
    """The rows of `rows` that are the anchors of `plan`."""

    def __init__(self, rows: Any, plan: Windows) -> None:
        super().__init__(rows, plan, np.zeros(1, np.int64))
        self.shape = (len(plan), *rows.shape[1:])
        some = f"{len(plan)} of these {len(rows)} rows, the anchor of each window"
        self.details += (("anchors", some),)

    def over(self, bases: Sequence[Source]) -> Source:
        """Give the same anchors of other rows."""
        return type(self)(self.rows.over(bases), self._plan)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rows, self._plan)


class AnchoredPieces(_Anchored, PiecesSource):
    """Arrays of different shapes that are anchors."""

    rows: PiecesSource
    values_dtype: Any = OfRows("values_dtype")
    row_bytes: Any = OfRows("row_bytes")

    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Give the arrays as the source does."""
        return self.rows.pieces(self._plan.anchors(indices))


class AnchoredRagged(AnchoredPieces, RaggedSource):
    """Arrays of different lengths that are anchors."""

    rows: RaggedSource
    row_shape: Any = OfRows("row_shape")
    pieces_layout: Any = OfRows("pieces_layout")

    def lengths(self) -> Ints:
        """Give the length of every anchor."""
        return self.rows.lengths()[self._plan.anchors(np.arange(len(self)))]


class AnchoredSparse(_Anchored, SparseSource):
    """Sparse rows that are anchors."""

    rows: SparseSource
    layout: Any = OfRows("layout")

    def entries(self, rows: Ints) -> Entries:
        """Read the values of anchors; an error names the row of the source."""
        return self.rows.entries(self._plan.anchors(rows))

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Write dense rows."""
        self.rows.read(self._plan.anchors(indices), out)
