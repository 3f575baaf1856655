"""The anchor rows of windows in their own form, where that is more than rows of one shape.

Idea: a field that is not windowed has one row in each window, and arrays of their own length or
sparse rows stay what they are. Invariant: row i is row `anchors(i)` of the source, as that gives
it. Nothing is kept but the plan.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npdata.arrays.dtypes import Ints
from npdata.arrays.windows import Windows
from npdata.sources.base import Source
from npdata.sources.derived.one_row import (
    OnePiece,
    OneRaggedRow,
    OneRowSource,
    OneSparseRow,
    by_form,
)
from npdata.sources.derived.windows import PlannedSource, WindowSource


def anchor_rows(rows: Source, plan: Windows) -> Source:
    """Give the anchor row of each window of `plan`, in the form that it has in `rows`."""
    made: Callable[[Source, Windows], Source] = by_form(
        rows,
        plain=_anchors,
        pieces=AnchoredPieces,
        ragged=AnchoredRagged,
        sparse=AnchoredSparse,
    )
    return made(rows, plan)


def _anchors(rows: Source, plan: Windows) -> Source:
    return WindowSource(rows, plan, None)


class _Anchored(PlannedSource, OneRowSource):
    """The rows of `rows` that are the anchors of `plan`."""

    def __init__(self, rows: Any, plan: Windows) -> None:
        super().__init__(rows, plan, np.zeros(1, np.int64))
        self.shape = (len(plan), *rows.shape[1:])
        some = f"{len(plan)} of these {len(rows)} rows, the anchor of each window"
        self.details += (("anchors", some),)

    def at(self, indices: Ints) -> Ints:
        """Give the anchors of these windows."""
        return self._plan.anchors(indices)

    def over(self, bases: Sequence[Source]) -> Source:
        """Give the same anchors of other rows."""
        return type(self)(self.rows.over(bases), self._plan)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rows, self._plan)


class AnchoredPieces(_Anchored, OnePiece):
    """Arrays of different shapes that are anchors."""


class AnchoredRagged(_Anchored, OneRaggedRow):
    """Arrays of different lengths that are anchors."""


class AnchoredSparse(_Anchored, OneSparseRow):
    """Sparse rows that are anchors."""
