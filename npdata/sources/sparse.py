"""Sparse rows in compressed form (CSR): values and their columns, in spans of two other sources.

Idea: row i has the values `data[indptr[i]:indptr[i + 1]]` in the columns `indices[...]` of the same
span. A batch is two reads of spans, whatever they lie in, and as dense rows one scatter into zeros.
Invariant: as a source it is the dense rows, those of scipy's `toarray`: values that are given twice
for a column add up. `indptr` is checked when the source is made, columns whenever they are read.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import Ints
from npdata.arrays.values import scatter_add
from npdata.errors import FieldError, FormatError
from npdata.sources.base import Source, rows_held, without
from npdata.sources.derived.base import CompositeSource, twin
from npdata.sources.packed.packing import Packings
from npdata.sources.ragged import SpansSource

Layout = Literal["dense", "csr"]
LAYOUTS: tuple[Layout, ...] = ("dense", "csr")
SCATTER_BYTES = 1 << 21
"""So many bytes of dense rows are cleared and filled at a time, while they are in the cache."""
Pieces: TypeAlias = list[NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Entries:
    """The values of some rows, row after row: `counts` of them each, with their `columns`.

    A row has each column once. Columns have a sign.
    """

    counts: Ints
    columns: NDArray[Any]
    values: NDArray[Any]


class SparseSource(Source):
    """Rows of one shape that are stored sparse; `layout` is the form of a batch of them.

    It is None for parts of which some have one, some the other.
    """

    layout: Layout | None

    @abstractmethod
    def entries(self, rows: Ints) -> Entries:
        """Read the values of rows; raises `FormatError` where a column is none."""


class CsrSource(CompositeSource, SparseSource):
    """The dense rows of a sparse matrix of `shape`, in parts `data`, `indices` and `indptr`."""

    def __init__(
        self,
        data: Source,
        indices: Source,
        indptr: Source,
        shape: tuple[int, int],
        layout: Layout = "dense",
    ) -> None:
        """Check `indptr`; raises `FieldError`, which names the row, where it does not fit."""
        _require_fit(data, indices, indptr, shape)
        self.shape = shape
        self.dtype = data.dtype.newbyteorder("=")
        self.where = f"sparse rows of {data.where}"
        self.access = data.access
        self.layout = layout
        self.matlab = data.matlab
        filled = len(data) / max(1, shape[0])
        self.details = (
            *without(data.details, "row"),  # of one value
            ("sparse", f"CSR, {len(data)} values, {filled:.0f} in a row of {shape[1]} columns"),
        )
        self.made_of = (data, indices, indptr)
        self._data = SpansSource(data, indptr, "indptr")
        self._indices = self._data.of(indices)

    @property
    def packings(self) -> Packings:
        """What the values stand for."""
        return self._data.packings

    @property
    def bases(self) -> tuple[Source, ...]:
        """What values and columns are made of; the bounds of the rows were read."""
        return (*self._data.bases, *self._indices.bases)

    def over(self, bases: Sequence[Source]) -> "CsrSource":
        """Give the same rows of other values and columns."""
        count, (data, indices, indptr) = len(self._data.bases), self.made_of
        parts = data.over(bases[:count]), indices.over(bases[count:])
        made = twin(self)
        made._data, made._indices = map(self._data.of, parts)
        made.made_of, made.access = (*parts, indptr), parts[0].access
        return made

    @property
    def borders(self) -> Ints | None:
        """The first row of each part of the values; parts that share a row are one."""
        return self._data.borders

    @property
    def file_borders(self) -> Ints | None:
        """The first row of each file of the values; files that share a row are one."""
        return self._data.file_borders

    @property
    def blocks(self) -> Blocks:
        """The blocks of the values, as the rows that begin in them."""
        return self._data.blocks

    @property
    def rows_in_memory(self) -> int | None:
        """What of its rows the memory for decoded chunks holds, for values and columns."""
        return rows_held(self._data, self._indices)

    @property
    def stored_bytes(self) -> int:
        """The bytes of the values and columns of a row of mean length."""
        return self._data.stored_bytes + self._indices.stored_bytes

    @property
    def ahead_bytes(self) -> int | None:
        """What values and columns allow together."""
        limits = [
            ahead * self.stored_bytes // max(1, spans.stored_bytes)
            for spans in (self._data, self._indices)
            if (ahead := spans.ahead_bytes) is not None
        ]
        return min(limits, default=None)

    def entries(self, rows: Ints) -> Entries:
        """Read the values of rows; raises `FormatError` where a column is none."""
        self.check()
        read = self._joined(rows, self._data.pieces(rows), self._indices.pieces(rows))
        self.check()
        return _added_up(read, self.shape[1])

    def _joined(self, rows: Ints, values: Pieces, columns: Pieces) -> Entries:
        """Lay values and columns of rows end to end."""
        read = Entries(
            counts=np.fromiter(map(len, columns), np.int64, len(columns)),
            columns=_end_to_end(columns, self._indices.values_dtype.newbyteorder("=")),
            values=_end_to_end(values, self.dtype),
        )
        # A number below 0 is a huge one without a sign.
        unsigned = read.columns.view(f"u{read.columns.itemsize}")
        if unsigned.size and unsigned.max() >= self.shape[1]:
            place = int(np.flatnonzero(unsigned >= self.shape[1])[0])
            row = int(rows[np.searchsorted(np.cumsum(read.counts), place, side="right")])
            raise FormatError(
                f"row {row} of {self.where} has a value in column {read.columns[place]}, and "
                f"its shape {self.shape} says {self.shape[1]} columns; the file is damaged, or "
                "shape is wrong"
            )
        # Columns of uint64 and numbers of rows would make floats.
        signed = read.columns.dtype.kind == "i"
        return read if signed else replace(read, columns=read.columns.astype(np.int64))

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Write dense rows: zeros, and the values in their columns."""
        self.check()
        values, columns = self._data.pieces(indices), self._indices.pieces(indices)
        step = max(1, SCATTER_BYTES // max(1, self.row_bytes))
        for first in range(0, len(indices), step):
            some = slice(first, first + step)
            read, rows = self._joined(indices[some], values[some], columns[some]), out[some]
            rows.view(np.uint8).fill(0)  # in half the time of numbers
            places = read.columns.astype(np.int64)
            places += np.repeat(np.arange(len(rows)) * self.shape[1], read.counts)
            scatter_add(rows.reshape(-1), places, read.values)
        self.check()

    def will_need(self, first: int, stop: int) -> None:
        """Pass it on as the values and columns of these rows."""
        self._data.will_need(first, stop)
        self._indices.will_need(first, stop)

    def dont_need(self, first: int, stop: int) -> None:
        """Pass it on as the values and columns of these rows."""
        self._data.dont_need(first, stop)
        self._indices.dont_need(first, stop)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self.made_of, self.shape, self.layout)


def _added_up(read: Entries, width: int) -> Entries:
    """Add up values that a row of `width` columns has twice for one, as its dense form does.

    Before anybody casts them: torch would add up what was cast.
    """
    columns, counts = read.columns, read.counts
    falls, ends = columns[1:] <= columns[:-1], np.cumsum(counts)
    falls[ends[(ends > 0) & (ends < len(columns))] - 1] = False
    if not falls.any():
        return read  # in order, as most are: 2 % of a batch
    places = np.repeat(np.arange(len(counts)) * width, counts) + columns
    if _seen_to_differ(places, len(counts) * width):
        return read
    kept, target = np.unique(places, return_inverse=True)
    if len(kept) == len(places):
        return read
    values = np.zeros(len(kept), read.values.dtype)
    scatter_add(values, target, read.values)
    rows, columns = np.divmod(kept, width)
    counts = np.bincount(rows, minlength=len(counts))
    return Entries(counts=counts, columns=columns.astype(read.columns.dtype), values=values)


def _seen_to_differ(places: Ints, stop: int) -> bool:
    """Tell whether no two of these places in [0, stop) are the same, where that is seen at once.

    It takes a quarter of the time of sorting them.
    """
    if stop > 32 * len(places):
        return False
    seen = np.zeros(stop, bool)
    seen[places] = True
    return bool(np.count_nonzero(seen) == len(places))


def _end_to_end(pieces: Pieces, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.concatenate(pieces, dtype=dtype) if pieces else np.zeros(0, dtype)


def _require_fit(data: Source, indices: Source, indptr: Source, shape: tuple[int, int]) -> None:
    for name, part in (("data", data), ("indices", indices), ("indptr", indptr)):
        kinds = "iu" if name != "data" else "biufc"
        if len(part.shape) != 1 or part.dtype.kind not in kinds:
            raise FieldError(
                f"{name} ({part.where}) is of shape {part.shape} and dtype {part.dtype}: expected "
                f"one dimension of {'integers' if name != 'data' else 'numbers'}"
            )
    if len(data) != len(indices):
        raise FieldError(
            f"data ({data.where}) has {len(data)} values and indices ({indices.where}) "
            f"{len(indices)} columns: expected one column for each value"
        )
    if len(indptr) != shape[0] + 1:
        raise FieldError(
            f"indptr ({indptr.where}) has {len(indptr)} entries for {shape[0]} rows: expected one "
            "more than there are rows"
        )
