"""Windows of a source as a source of its own: one row is the rows around an anchor.

Idea: where rows lie in place and a window names evenly spaced ones, all windows are a strided view
of the same memory, and the copy kernel gathers them as it gathers rows. Elsewhere a plan names the
rows of a batch of windows, and one read of the source brings them. Invariant: a window is
`rows[anchor + offsets]`, and what lies outside the recording is the nearest row of it, or 0. The
rows are never copied whole; advice is passed on as the rows that windows touch.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from npdata.arrays.blocks import MOST_BLOCKS, Blocks
from npdata.arrays.convert import ArrayLayout
from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import NARROW_BYTES, RowTable
from npdata.arrays.indexing import array_of
from npdata.arrays.windows import Windows, step_of
from npdata.errors import FieldError
from npdata.sources.base import Access, Source
from npdata.sources.derived.base import CompositeSource, RegroupedSource


class PlannedSource(RegroupedSource):
    """Rows made of those of `rows` at `at` from each anchor of `plan`; a subclass reads them."""

    def __init__(self, rows: Source, plan: Windows, at: Ints) -> None:
        """Take over what the rows say of themselves; a subclass sets the shape."""
        super().__init__(rows)
        self._plan = plan
        self._at = at
        self._mean_the_same()

    @property
    def borders(self) -> Ints | None:
        """The first window of each recording, and the number of windows."""
        return None if self._plan.uniform else self._plan.starts

    @property
    def file_borders(self) -> Ints | None:
        """The first window of each file, and the number of windows.

        Raises `FieldError` where windows cross from one file to the next.
        """
        edges, known = self.rows.file_borders, self._plan.recordings.edges
        if edges is None:
            return None
        if not np.isin(edges, known).all():
            raise FieldError(
                "windows cross from one file to the next, as borders= has it, and so no part can "
                "have whole files: leave borders= out, or give those of files as well, "
                "borders=np.union1d(borders, dataset.borders)"
            )
        return self._plan.starts[np.searchsorted(known, edges)]

    @property
    def blocks(self) -> Blocks:
        """The blocks of the rows, as the windows whose first row lies in them."""
        plan, blocks = self._plan, self.rows.blocks
        if plan.uniform and len(blocks.rows) == 1:
            return Blocks.uniform(len(plan), blocks.block_rows[0] // plan.stride)
        if blocks.count > MOST_BLOCKS:
            return Blocks.uniform(len(plan), -(-blocks.total_rows // blocks.count) // plan.stride)
        edges = plan.before_row(blocks.edges() - self._at.min())
        edges[0], edges[-1] = 0, len(plan)
        return Blocks.of_edges(edges)

    @property
    def stored_bytes(self) -> int:
        """The bytes of the rows that a window does not share with the next one."""
        return self.rows.stored_bytes * min(self._plan.stride, len(self._at))

    def spanned(self, first: int, stop: int) -> tuple[int, int]:
        """Give the rows from the first that one of these windows touches to the last."""
        if first >= stop:
            return 0, 0
        low, high = self._plan.anchors(np.array([first, stop - 1])).tolist()
        last = len(self.rows) - 1
        begin = min(max(0, low + int(self._at.min())), last)
        end = min(max(0, high + int(self._at.max())), last)
        return begin, max(begin, end) + 1


class _InPlace(NamedTuple):
    """Where windows are views: `rows` lie in place, and the windows are `by_first_row`.

    They are also `by_number` where they follow one another evenly.
    """

    rows: RowTable
    by_number: RowTable | None
    by_first_row: RowTable


class WindowSource(PlannedSource):
    """The windows of `rows` that `plan` numbers, each of the rows at `offsets` from its anchor.

    Without `offsets` each is the anchor row itself. A range of them makes a small pickle.
    """

    def __init__(self, rows: Source, plan: Windows, offsets: Sequence[int] | None) -> None:
        """Window the rows; `plan` allows for the offsets."""
        super().__init__(rows, plan, array_of([0] if offsets is None else offsets))
        self._offsets = offsets
        length = () if offsets is None else (len(offsets),)
        self.shape = (len(plan), *length, *rows.shape[1:])
        self.keeps_text = rows.keeps_text
        if offsets is not None:
            low, high = self._at.min(), self._at.max()
            named = f"{len(offsets)} rows, {low} to {high} from the anchor row"
            self.details += (("window", named),)
        clipped = plan.edge != "drop" and bool(self._at.any())
        self.zeros = clipped and plan.edge == "zero"
        """Whether zeros stand in for rows outside the recording."""
        self._step = None if clipped else step_of(self._at)
        self._outside = True if _is_mask(rows) else np.zeros((), self.dtype)

    def over(self, bases: Sequence[Source]) -> "WindowSource":
        """Give the same windows of other rows."""
        return WindowSource(self.rows.over(bases), self._plan, self._offsets)

    @property
    def table(self) -> RowTable | None:
        """All windows in place: where rows lie in place, evenly, in one recording."""
        views = self._in_place()
        return None if views is None else views.by_number

    @property
    def row_layout(self) -> ArrayLayout | None:
        """The layout of a window in place."""
        views = self._in_place()
        return None if views is None else ArrayLayout.of(views.by_first_row.array).row

    def row_in_place(self, index: int) -> NDArray[Any] | None:
        """Give a window where it lies; None where it must be read."""
        views = self._in_place()
        if views is None:
            return None
        first = int(self._plan.anchors(np.array([index]))[0] + self._at[0])
        return views.by_first_row.array[first, ...]

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Copy windows to `out`: one strided gather where rows lie in place, else one read."""
        if out.size == 0:
            return
        plan, at, views = self._plan, self._at, self._in_place()
        if views is not None:
            self.rows.check_size()
            views.by_first_row.gather(plan.anchors(indices) + at[0], out)
            self.rows.check()
            return
        if self._step == 1 and self.rows.row_bytes <= NARROW_BYTES < len(at) * self.rows.row_bytes:
            starts = plan.anchors(indices) + at[0]
            runs = self.rows.runs(starts, starts + len(at))
            np.concatenate(runs, out=out.reshape(-1, *self.rows.shape[1:]))
            return
        rows, padded = self.rows_of(indices)
        self.rows.read(rows.reshape(-1), out.reshape(-1, *self.rows.shape[1:]))
        if padded is not None:
            out.reshape(*padded.shape, *self.rows.shape[1:])[padded] = self._outside

    def rows_of(self, indices: Ints) -> tuple[Ints, NDArray[np.bool_] | None]:
        """Give the rows of windows, (n, rows of a window), and which of them are 0 in their place.

        None where no row is.
        """
        plan, at = self._plan, self._at
        return plan.rows(indices, at), plan.padded(indices, at) if self.zeros else None

    def _in_place(self) -> _InPlace | None:
        """Give the views of windows; None where they must be read."""
        table = None if self._step is None else self.rows.table
        if table is None:
            return None
        views: _InPlace | None = self._views
        if views is None or views.rows is not table:
            plan, dense = self._plan, self._every_window(table.array)
            numbered = None
            if plan.uniform:
                first = int(plan.firsts[0] + self._at[0])
                numbered = RowTable.of(dense[first :: plan.stride][: len(plan)])
            views = self._views = _InPlace(table, numbered, RowTable.of(dense))
        return views

    def _every_window(self, array: NDArray[Any]) -> NDArray[Any]:
        """Give a view of the windows whose first row is 0, 1, ..."""
        if self._offsets is None:
            return array
        row, count = array.strides[0], len(array) - int(self._at[-1] - self._at[0])
        shape = (count, len(self._at), *array.shape[1:])
        strides = (row, row * (self._step or 1), *array.strides[1:])
        return as_strided(array, shape, strides)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rows, self._plan, self._offsets)


class PaddingSource(Source):
    """Which rows of each window are padding: bool, (windows, rows of a window)."""

    def __init__(self, plan: Windows, offsets: Sequence[int]) -> None:
        self._plan = plan
        self._offsets, self._at = offsets, array_of(offsets)
        self.shape = (len(plan), len(offsets))
        self.dtype = np.dtype(bool)
        self.where = "padding of windows"
        self.access = Access(kind="memory", reason="worked out from the borders of recordings")

    @property
    def bases(self) -> tuple[Source, ...]:
        """Nothing."""
        return ()

    def over(self, bases: Sequence[Source]) -> "PaddingSource":
        """Give itself."""
        return self

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Work out which rows lie outside their recording."""
        out[...] = self._plan.padded(indices, self._at)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._plan, self._offsets)


def padded_by_zeros(source: Source) -> bool:
    """Tell whether zeros stand in for rows outside, in any of the windows it is made of."""
    if isinstance(source, WindowSource) and source.zeros:
        return True
    return isinstance(source, CompositeSource) and any(map(padded_by_zeros, source.made_of))


def marks_padding(source: Source) -> bool:
    """Tell whether rows mark what stands in for rows outside, in the last windows made of them."""
    if isinstance(source, WindowSource):
        return source.zeros and _is_mask(source.rows)
    return isinstance(source, PaddingSource) or _all_parts(marks_padding, source)


def _is_mask(source: Source) -> bool:
    """Tell whether rows are masks, of which those of zeros say that these are padding."""
    return isinstance(source, PaddingSource) or _all_parts(_is_mask, source)


def _all_parts(told: Callable[[Source], bool], source: Source) -> bool:
    parts = source.made_of if isinstance(source, CompositeSource) else ()
    return len(parts) > 0 and all(map(told, parts))
