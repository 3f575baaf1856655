"""Rows of different lengths: spans of the rows of another source, or of what h5py reads.

Idea: sample i is the rows `[offsets[i], offsets[i + 1])` of `values`. As a source it is what NumPy
calls it: one-dimensional, of objects that are arrays. Invariant: offsets ascend from 0 to the last
row, so that every row is in one span, in order; that is seen when the source is made. Spans of
rows in place are views of them; those of other rows come from one read.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.convert import ArrayLayout
from npdata.arrays.dtypes import DType, Ints
from npdata.arrays.recordings import shown_lengths
from npdata.errors import FieldError
from npdata.sources.base import Source
from npdata.sources.derived.base import RegroupedSource, twin
from npdata.sources.packed.packing import Packings

Bounds = Literal["offsets", "lengths", "indptr"]
OBJECTS = np.dtype(object)


class PiecesSource(Source):
    """Arrays of different shapes, each by itself, of `values_dtype`."""

    values_dtype: DType

    @abstractmethod
    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Give the arrays at `indices`, each in [0, len): views of the data or of fresh memory."""

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Put the array `indices[k]`, a copy, at `out[k]`."""
        for k, piece in enumerate(self.pieces(indices)):
            out[k] = piece.copy()


class RaggedSource(PiecesSource):
    """Arrays that differ in their first axis alone: `row_shape` is the rest."""

    row_shape: tuple[int, ...]

    @abstractmethod
    def lengths(self) -> Ints:
        """Give the length of every array, int64; where they lie by h5py, it must read them all."""

    @property
    def pieces_layout(self) -> ArrayLayout | None:
        """The layout of a piece where pieces are views of the data, else None."""
        return None


class SpansSource(RegroupedSource, RaggedSource):
    """The spans of the rows of `values` that `bounds`, n + 1 offsets or n lengths, gives."""

    def __init__(self, values: Source, bounds: Source, kind: Bounds) -> None:
        """Read the bounds; raises `FieldError` where they do not fit the values."""
        super().__init__(values)
        self._bounds = bounds
        self._kind = kind
        self.matlab = values.matlab
        self.categories, self.missing = values.categories, values.missing
        self._offsets = offsets_of(bounds, kind, values)
        self.shape = (len(self._offsets) - 1,)
        self.dtype = OBJECTS
        self.row_shape = values.shape[1:]
        self.values_dtype = values.dtype
        self.where = f"spans of {values.where}"
        lengths = shown_lengths(self.lengths())
        self.details = (
            *values.details,
            ("lengths", f"{lengths} rows of {self.row_shape}, {len(values)} in all"),
        )

    @property
    def packings(self) -> Packings:
        """What the values stand for, from the sample on in which that begins."""
        kinds, starts, codes = self.rows.packings
        return Packings(kinds, np.searchsorted(self._offsets, starts, "right") - 1, codes)

    @property
    def row_bytes(self) -> int:
        """The bytes of a sample of mean length."""
        return -(-len(self.rows) * self.rows.row_bytes // max(1, len(self)))

    @property
    def stored_bytes(self) -> int:
        """The bytes of the file that a sample of mean length takes."""
        return -(-len(self.rows) * self.rows.stored_bytes // max(1, len(self)))

    @property
    def blocks(self) -> Blocks:
        """The blocks of the values, as the samples that begin in them."""
        edges = np.searchsorted(self._offsets[:-1], self.rows.blocks.edges())
        if len(edges) < 2:
            return Blocks.uniform(len(self), len(self))
        edges[-1] = len(self)
        return Blocks.of_edges(edges)

    @property
    def borders(self) -> Ints | None:
        """The first sample of each part of the values; parts that share a sample are one."""
        return self._first_of(self.rows.borders)

    @property
    def file_borders(self) -> Ints | None:
        """The first sample of each file of the values; files that share a sample are one."""
        return self._first_of(self.rows.file_borders)

    def _first_of(self, edges: Ints | None) -> Ints | None:
        if edges is None:
            return None
        inner, offsets = edges[1:-1], self._offsets
        places = np.searchsorted(offsets, inner)
        return np.concatenate([[0], places[offsets[places] == inner], [len(self)]])

    @property
    def pieces_layout(self) -> ArrayLayout | None:
        """The layout of the values where they lie in place."""
        table = self.rows.table
        return None if table is None else ArrayLayout.of(table.array)

    def over(self, bases: Sequence[Source]) -> "SpansSource":
        """Give the same spans, with their values made of other sources."""
        return self.of(self.rows.over(bases))

    def of(self, values: Source) -> "SpansSource":
        """Give the same spans of other values, as many and of the same shape."""
        made = twin(self)
        made.rows, made.made_of = values, (values,)
        made.values_dtype, made.access = values.dtype, values.access
        return made

    def lengths(self) -> Ints:
        """Give the number of rows of each sample."""
        return np.diff(self._offsets)

    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Give views of the values, or of what one read of them brought."""
        return self.rows.runs(self._offsets[indices], self._offsets[indices + 1])

    def spanned(self, first: int, stop: int) -> tuple[int, int]:
        """Give the values of these samples."""
        return int(self._offsets[first]), int(self._offsets[stop])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rows, self._bounds, self._kind)


def offsets_of(bounds: Source, kind: Bounds, values: Source) -> Ints:
    """Read offsets, or add up lengths; raises `FieldError` where they do not fit the values."""
    rows = len(values)
    name = f"indptr ({bounds.where})" if kind == "indptr" else f"{kind}="
    if len(bounds.shape) != 1 or bounds.dtype.kind not in "iu":
        raise FieldError(
            f"{kind}= ({bounds.where}) are of shape {bounds.shape} and dtype {bounds.dtype}: "
            "expected one dimension of integers"
        )
    read = np.empty(bounds.shape, bounds.dtype)
    bounds.read_run(0, read)
    offsets = read.astype(np.int64)
    if kind == "lengths":
        offsets = _added_up(offsets, read, values)
    wrong = np.flatnonzero(offsets[1:] < offsets[:-1])
    if wrong.size:
        k = int(wrong[0])
        cure = _OF_FILES if kind == "offsets" and read[k + 1] == 0 else ""
        raise FieldError(
            f"span {k} of {name} begins at row {read[k]} and ends at row {read[k + 1]}: offsets "
            f"must ascend, so that spans follow one another and none overlaps{cure}"
        )
    if not len(offsets) or offsets[0] != 0:
        first = read[0] if len(offsets) else "missing"
        cure = _if_ends(read, rows) if kind == "offsets" else ""
        raise FieldError(
            f"the first of {name} is {first}: expected 0, and one offset more than there are "
            f"spans, up to the number of rows{cure}"
        )
    if offsets[-1] != rows:
        last, much = int(offsets[-1]), "more" if offsets[-1] > rows else "less"
        cure = (
            "every row belongs to a span" if kind == "lengths" else f"expected {rows} as the last"
        )
        if kind == "offsets" and last < rows:
            cure = f"if these offsets are starts alone, append {rows}"
        cure = _along_another_axis(last, values) or cure
        ends = f"end span {len(offsets) - 2} at row {last}" if len(offsets) > 1 else "name no span"
        raise FieldError(f"{name} {ends}, {much} than the {rows} rows of {values.where}; {cure}")
    return offsets


_OF_FILES = (
    "; if those of each file begin at 0, give "
    "lengths=np.concatenate([np.diff(each) for each in offsets])"
)


def _added_up(lengths: Ints, read: NDArray[Any], values: Source) -> Ints:
    """Give the offsets of spans of these lengths, which were `read` so."""
    negative = np.flatnonzero(read < 0)
    if negative.size:
        raise FieldError(f"span {negative[0]} has length {read[negative[0]]}, below 0")
    offsets, rows = np.append(0, np.cumsum(lengths)), len(values)
    ends = offsets[1:]
    # A sum that overflows is below 0, and so is a length that int64 cannot hold.
    beyond = np.flatnonzero((lengths < 0) | (ends < 0) | (ends > rows))
    if beyond.size:
        k = int(beyond[0])
        raise FieldError(
            f"lengths= end span {k} at row {int(offsets[k]) + int(read[k])}, more than the "
            f"{rows} rows of {values.where}{_if_ends(read, rows)}"
            f"{_along_another_axis(int(ends[-1]), values, '; ')}"
        )
    return offsets


def _along_another_axis(count: int, values: Source, before: str = "") -> str:
    """Say what to write where another axis is as long as the spans are together; else nothing."""
    axes = [k for k, size in enumerate(values.shape) if k and size == count]
    if not axes:
        return ""
    turned = f"NumpyDataset(values, axis={axes[0]})"
    return f"{before}its axis {axes[0]} has {count}: give ragged({turned}, ...)"


def _if_ends(read: NDArray[Any], rows: int) -> str:
    """Say what to write where these bounds are the ends of the spans, as NWB has them."""
    if not len(read) or read[0] < 0 or read[-1] != rows or (read[1:] < read[:-1]).any():
        return ""
    return "; if these are the ends of the spans, give offsets=np.insert(ends, 0, 0)"
