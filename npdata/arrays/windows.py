"""Windows: which rows each names, by arithmetic alone.

Idea: a window is an anchor row with offsets around it. Windows are numbered through all recordings,
so a window's anchor is arithmetic and a search among the recordings. Invariant: no row outside the
anchor's recording is ever named; where an offset would lead out, the nearest row inside stands in
and is marked as padding. Memory is two integers a recording, however many windows there are. Pure:
no source, no tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.indexing import array_of
from npdata.arrays.recordings import Recordings
from npdata.runtime.made_once import made_once

Edge = Literal["drop", "repeat", "zero"]
EDGES: tuple[Edge, ...] = ("drop", "repeat", "zero")


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Windows around anchors: in recording k, that of window w is row `w * stride + shifts[k]`.

    `starts` counts the windows before each recording, and then all of them. Windows name the rows
    at `offsets`, a list for each kind of field: `before` rows before the anchor at most, and
    `after` behind it. `edge` says what stands in for rows outside the recording, if anything.

    Examples:
        >>> plan = Windows.of(Recordings.of_borders([3], 7), (0, 1, 2), stride=1, edge="drop")
        >>> len(plan), plan.rows(np.arange(3), np.array([0, 1, 2])).tolist()
        (3, [[0, 1, 2], [3, 4, 5], [4, 5, 6]])
    """

    recordings: Recordings
    starts: Ints
    shifts: Ints
    offsets: tuple[Sequence[int], ...]
    before: int
    after: int
    stride: int
    edge: Edge
    inner: "Windows | None" = None
    """The windows that these are windows of; None where they are windows of rows."""

    @classmethod
    def of(cls, recordings: Recordings, *offsets: Sequence[int], stride: int, edge: Edge) -> Self:
        """Plan windows that name the rows at `offsets` from an anchor, which is a row itself."""
        ends = [end for each in offsets for end in ends_of(each)]
        before, after = max(0, -min(ends)), max(0, *ends)
        margin = (before, after) if edge == "drop" else (0, 0)
        anchors = np.maximum(0, recordings.lengths - sum(margin))
        counts = -(-anchors // stride)
        starts = np.append(0, np.cumsum(counts))
        return cls(
            recordings=recordings,
            starts=starts,
            shifts=recordings.edges[:-1] + margin[0] - starts[:-1] * stride,
            offsets=offsets,
            before=before,
            after=after,
            stride=stride,
            edge=edge,
        )

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def uniform(self) -> bool:
        """Whether anchors are equally far apart from the first window to the last."""
        return len(self.recordings) == 1

    @property
    def footprint(self) -> tuple[int, int]:
        """The rows of the data from the first of a window to its last, and to the next window.

        Examples:
            >>> plan = Windows.of(Recordings.one(9), (0, 1), stride=2, edge="drop")
            >>> plan.footprint, replace(plan, inner=plan).footprint
            ((2, 2), (4, 4))
        """
        span, step = self.before + self.after + 1, self.stride
        if self.inner is None:
            return span, step
        inner_span, inner_step = self.inner.footprint
        return (span - 1) * inner_step + inner_span, step * inner_step

    @made_once
    def apart(self) -> Ints:
        """The `starts` of recordings that share no row of the data with those before them.

        Those of windows of windows may, though they share no window.

        Examples:
            >>> inner = Windows.of(Recordings.of_borders([5], 8), (0, 1), stride=1, edge="drop")
            >>> plan = Windows.of(Recordings.of_borders([2, 4], 6), (0,), stride=1, edge="drop")
            >>> plan.starts.tolist(), replace(plan, inner=inner).apart.tolist()
            ([0, 2, 4, 6], [0, 4, 6])
        """
        inner = self.inner
        if inner is None or not inner.overlap:
            return self.starts
        return self.starts[np.isin(self.recordings.edges, inner.apart)]

    @property
    def overlap(self) -> bool:
        """Whether some rows of the data are in several windows.

        Examples:
            >>> Windows.of(Recordings.one(9), range(3), stride=2, edge="drop").overlap
            True
            >>> Windows.of(Recordings.one(9), range(3), stride=3, edge="drop").overlap
            False
        """
        return self.sharing > 0

    @made_once
    def sharing(self) -> int:
        """With how many windows behind it a window shares rows of the data, at most.

        Examples:
            >>> Windows.of(Recordings.one(9), range(3), stride=1, edge="drop").sharing
            2
        """
        if np.diff(self.apart).max() <= 1:
            return 0
        return -(-self.footprint[0] // self.least_step) - 1

    @made_once
    def least_step(self) -> int:
        """The rows of the data from one window to the next, of those that may share some, at least.

        Of windows of windows that is less where a recording begins inside another.

        Examples:
            >>> inner = Windows.of(Recordings.one(9), range(3), stride=1, edge="drop")
            >>> plan = Windows.of(Recordings.of_borders([4], 7), (0,), stride=3, edge="drop")
            >>> plan.anchors(np.arange(len(plan))).tolist(), replace(plan, inner=inner).least_step
            ([0, 3, 4], 1)
        """
        if self.inner is None:
            return self.stride
        some = np.flatnonzero(np.diff(self.starts))
        last = self.firsts[some] + (np.diff(self.starts)[some] - 1) * self.stride
        begin = self.starts[some[1:]]
        steps = self.firsts[some[1:]] - last[:-1]
        inside = steps[~np.isin(begin, self.apart)]
        return int(np.append(inside, self.stride).min()) * self.inner.least_step

    def over(self, inner: "Windows | None") -> "Windows":
        """Give these windows, of samples that are windows themselves; None: of rows."""
        return self if inner is None else replace(self, inner=inner)

    def alike(self, other: "Windows") -> bool:
        """Whether windows of both name the same rows around their anchors."""
        same = (self.offsets, self.stride, self.edge, self.footprint)
        return same == (other.offsets, other.stride, other.edge, other.footprint)

    def numbers_as(self, other: "Windows") -> bool:
        """Whether both number the same windows, as those of the fields of one dataset."""
        same = (self.offsets, self.stride, self.edge) == (other.offsets, other.stride, other.edge)
        return same and np.array_equal(self.starts, other.starts)

    def then(self, other: "Windows") -> "Windows":
        """Give these windows and, behind the rows of all of them, those of a plan that is alike."""
        mine, rows = self.recordings, self.recordings.edges[-1]
        edges = np.append(mine.edges, other.recordings.edges[1:] + rows)
        inner = self.inner
        return replace(
            self,
            inner=inner if inner is None or other.inner is None else inner.then(other.inner),
            recordings=Recordings(edges=edges, origin=mine.origin),
            starts=np.append(self.starts, other.starts[1:] + self.starts[-1]),
            shifts=np.append(self.shifts, other.shifts + rows - self.starts[-1] * self.stride),
        )

    def recordings_of(self, windows: Ints) -> Ints:
        """Give the number of the recording of each of these windows; of one, once for all."""
        if self.uniform:
            return np.zeros(1, np.int64)
        found = self.starts.searchsorted(windows, side="right")
        found -= 1
        return found

    def anchors(self, windows: Ints, found: Ints | None = None) -> Ints:
        """Give the anchor rows of windows, each in [0, len); `found` are their recordings."""
        anchors: Ints = windows * self.stride
        if self.uniform:
            anchors += self.shifts[0]
        else:
            anchors += self.shifts.take(self.recordings_of(windows) if found is None else found)
        return anchors

    def rows(self, windows: Ints, offsets: Ints) -> Ints:
        """Give the rows of windows, (n, len(offsets)): where one leads out, the nearest inside."""
        anchors, first, last = self._placed(windows)
        rows = _around(anchors, offsets)
        if self.edge == "drop":
            return rows
        return np.minimum(np.maximum(rows, first, out=rows), last, out=rows)

    def padded(self, windows: Ints, offsets: Ints) -> NDArray[np.bool_]:
        """Tell which rows of windows lie outside their recording: bool, (n, len(offsets))."""
        anchors, first, last = self._placed(windows)
        rows = _around(anchors, offsets)
        return (rows < first) | (rows > last)

    def before_row(self, rows: Ints) -> Ints:
        """Give how many windows have their anchor before each of these rows."""
        found = np.searchsorted(self.recordings.edges, rows, side="right") - 1
        found = np.minimum(found, len(self.recordings) - 1)
        inside = -(-np.maximum(0, rows - self.firsts[found]) // self.stride)
        counts = self.starts[found + 1] - self.starts[found]
        before: Ints = self.starts[found] + np.minimum(inside, counts)
        return before

    @property
    def firsts(self) -> Ints:
        """The first anchor of each recording, had it one."""
        return self.shifts + self.starts[:-1] * self.stride

    @property
    def left_out(self) -> tuple[int, int, int]:
        """The rows that no window holds: recordings too short, their rows, and other rows."""
        lengths, counts = self.recordings.lengths, np.diff(self.starts)
        short = (counts == 0) & (lengths > 0)
        sizes, first, many = np.unique(lengths, return_index=True, return_counts=True)
        missing = (sizes - self._held(first)) * (counts[first] > 0) @ many
        return int(short.sum()), int(lengths[short].sum()), int(missing)

    def _held(self, recordings: Ints) -> Ints:
        """Give how many rows of each of these recordings some window holds, but for stand-ins.

        A row is counted for the highest offset at which a window names it.
        """
        at = np.unique(np.concatenate([array_of(each) for each in self.offsets]))
        at = at[np.lexsort((at, at % self.stride))]
        apart = at[1:] - at[:-1]
        again = np.where(apart % self.stride, len(self), apart // self.stride)
        again = np.append(again, len(self))
        sizes = self.recordings.lengths[recordings]
        counts = np.diff(self.starts)[recordings]
        firsts = (self.firsts - self.recordings.edges[:-1])[recordings]
        held = np.zeros_like(sizes)
        for k, size in enumerate(sizes):
            low = firsts[k] + at
            begin = np.maximum(0, -(low // self.stride))
            end = np.minimum((size - 1 - low) // self.stride + 1, np.minimum(again, counts[k]))
            held[k] = np.maximum(0, end - begin).sum()
        return held

    def _placed(self, windows: Ints) -> tuple[Ints, Ints, Ints]:
        """Give the anchors of windows, and the first and last row of their recordings, (n, 1)."""
        found, edges = self.recordings_of(windows), self.recordings.edges
        last = edges.take(found + 1)
        last -= 1
        anchors = self.anchors(windows, found)
        return anchors[:, None], edges.take(found)[:, None], last[:, None]


def _around(anchors: Ints, offsets: Ints) -> Ints:
    """Give the rows at `offsets` from `anchors` (n, 1), each in its row: (n, len(offsets))."""
    # Loops of NumPy are as long as the last axis in memory.
    order: Literal["C", "F"] = "C" if len(offsets) > len(anchors) else "F"
    return np.add(anchors, offsets, order=order)


def step_of(offsets: Ints) -> int | None:
    """Give the distance of offsets that ascend evenly, None where they do not.

    Examples:
        >>> step_of(np.array([-1, 0])), step_of(np.array([-4, -2, 0])), step_of(np.array([0, 3, 4]))
        (1, 2, None)
    """
    steps = np.diff(offsets)
    if steps.size == 0:
        return 1
    return int(steps[0]) if steps[0] > 0 and bool((steps == steps[0]).all()) else None


def ends_of(offsets: Sequence[int]) -> tuple[int, int]:
    """Give the lowest and the highest offset; a range is not walked through."""
    found = (offsets[0], offsets[-1]) if isinstance(offsets, range) else offsets
    return min(found), max(found)
