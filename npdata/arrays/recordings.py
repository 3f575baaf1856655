"""Recordings: runs of rows that belong together, as the borders that a user gives say.

Idea: a recording is `[edges[k], edges[k + 1])`, and all of them are one array of edges. Invariant:
edges ascend from 0 to the number of rows, so each row is in one recording. Borders that may have
been meant otherwise are taken as they are, with a doubt. Pure: no source, no tensor.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.indexing import without_value
from npdata.errors import FieldError

FLAGS = (
    "for flags of first rows give borders=np.flatnonzero(flags), for flags of last rows "
    "borders=np.flatnonzero(flags) + 1"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Recordings:
    """Runs of rows that belong together: int64 `edges`, the first row of each, then the last end.

    `origin` says how they were told, for people; `doubt` what may have been meant in place of it.

    Examples:
        >>> Recordings.of_borders([3, 7], 10).edges.tolist()
        [0, 3, 7, 10]
        >>> Recordings.of_borders([0, 3, 10], 10).origin
        '3 offsets, from 0 to the end'
    """

    edges: Ints
    origin: str
    doubt: str = ""

    @classmethod
    def one(cls, rows: int) -> Self:
        """Give one recording of all rows."""
        return cls(edges=np.array([0, rows], np.int64), origin="one recording")

    @classmethod
    def of_borders(cls, borders: Any, rows: int) -> Self:
        """Understand borders: rows where a recording begins, or offsets with 0 and the end.

        Raises `FieldError` for what is no ascending list of integers from 0 to `rows`.
        """
        array = _row_numbers(borders)
        fault, doubt = _fault_of(array, rows), _taken_for_borders(array, rows)
        if fault is not None:
            raise FieldError(f"{fault}{doubt}")
        starts, ends = array.size and array[0] == 0, array.size and array[-1] == rows
        twice = bool((array[1:] == array[:-1]).any())
        many = f"{len(array)} row{'s' * (len(array) != 1)}"
        what = f"{many} where a recording begins"
        if ends and rows:
            what = f"{many} where a recording ends"
            if starts:
                what = f"{len(array)} offsets, from 0 to the end"
        first = [] if starts else [0]
        last = [] if ends and (rows or len(array) > 1) else [rows]
        edges = np.concatenate([first, array, last]).astype(np.int64)
        if ends or (starts and not twice):
            doubt = ""
        elif twice and doubt:
            doubt = f", some of which are empty{doubt}"
        return cls(edges=edges, origin=what, doubt=doubt)

    def joined(self, edges: Ints, origin: str) -> "Recordings":
        """Give the recordings that result where a border of either is one."""
        both = np.union1d(self.edges, edges)
        return Recordings(edges=both, origin=f"{self.origin}, and {origin}")

    @property
    def lengths(self) -> Ints:
        """The rows of each recording."""
        return np.diff(self.edges)

    def __len__(self) -> int:
        return len(self.edges) - 1


def changes(values: NDArray[Any]) -> Ints:
    """Give the places, from 1 on, where a row of `values` differs from the one before.

    A number that is no number (NaN, NaT) differs from none of its kind, also in a record.
    """
    if values.dtype.names is not None:
        columns = [changes(values[name]) for name in values.dtype.names]
        return np.unique(np.concatenate([np.zeros(0, np.int64), *columns]))
    other = values[1:] != values[:-1]
    none = values != values  # true of what is no number, and of nothing else
    other &= ~(none[1:] & none[:-1])
    return np.flatnonzero(other.any(axis=tuple(range(1, values.ndim)))) + 1


def even_borders(rows: int, each: int) -> Ints | None:
    """Give the first row of each recording of `each` rows, then the end; None where none is known.

    Examples:
        >>> even_borders(6, 2).tolist(), even_borders(6, 6).tolist(), even_borders(6, 0)
        ([0, 2, 4, 6], [0, 6], None)
    """
    return np.arange(0, rows + 1, each) if 0 < each <= rows else None


def shown_lengths(lengths: Ints) -> str:
    """Write how long recordings or samples are: one number, or the least and the largest.

    Examples:
        >>> shown_lengths(np.array([7, 3, 5])), shown_lengths(np.array([3, 3]))
        ('3 to 7', '3')
    """
    shortest, longest = lengths.min(initial=lengths.max(initial=0)), lengths.max(initial=0)
    return f"{shortest}" if shortest == longest else f"{shortest} to {longest}"


def _fault_of(borders: Ints, rows: int) -> str | None:
    """Say which border does not ascend or lies outside the rows; None where all are right."""
    falls = np.flatnonzero(borders[1:] < borders[:-1])
    if falls.size:
        k = int(falls[0]) + 1
        return f"borders must ascend, and border {k} is {borders[k]}, after {borders[k - 1]}"
    if borders.size and (borders[0] < 0 or borders[-1] > rows):
        wrong = borders[0] if borders[0] < 0 else borders[-1]
        return f"border {wrong} lies outside the {rows} rows, 0 to {rows}"
    return None


def _taken_for_borders(array: Ints, rows: int) -> str:
    """Say what to give in place of a number for each row, or of lengths."""
    if len(array) == rows and _are_flags(array) and not (array[1:] >= array[:-1]).all():
        return f"; {FLAGS}"
    if len(array) == rows:
        return (
            f"; if they are a number for each of the {rows} rows, which changes where a recording "
            "begins, make them a field and give its name in borders="
        )
    if array.sum() == rows:
        return f"; if they are lengths ({rows} rows together), give borders=np.cumsum(lengths)"
    if array.size and array[-1] == rows - 1:
        return (
            f"; if they are last rows, as np.flatnonzero(dones) gives, with {rows - 1} the last of "
            "all, give borders=last_rows + 1"
        )
    return ""


def _are_flags(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "biuf" and bool(((array == 0) | (array == 1)).all())


def _row_numbers(borders: Any) -> Ints:
    try:
        array = np.asanyarray(borders)
    except (TypeError, ValueError, RuntimeError) as error:
        raise FieldError(f"borders: expected a list of row numbers: {error}") from None
    lost = without_value(array, "borders")
    if lost:
        raise FieldError(f"{lost}: leave them out by borders=x.compressed()")
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        flags = f"; {FLAGS}" if _are_flags(array) else ""
        if array.dtype.kind in "OUT":
            flags = "; of flags in several fields give borders=np.flatnonzero(a | b) + 1"
        raise FieldError(
            f"borders of shape {array.shape} and dtype {array.dtype}: expected one dimension of "
            f"row numbers, or the name of one field{flags}"
        )
    if array.size and int(array.max()) >= 1 << 63:
        raise FieldError(f"borders: {array.max()} is no row number")
    return np.asarray(array, np.int64)
