"""Columns of rows that are records: one as a field of its own, or some of them together.

Idea: a column of records that lie in place is a view with longer steps, and is gathered like any
rows; elsewhere records are read, and the columns taken out of them. Invariant: column `a.b` is
NumPy's `array["a"]["b"]`, whose own axes follow those of the rows.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType, dtype_rule
from npdata.arrays.gather import RowTable
from npdata.errors import FieldError, MemberNotFoundError
from npdata.sources.base import Source
from npdata.sources.cache.cache import Keep
from npdata.sources.derived.base import ConvertedSource, origin
from npdata.sources.names import some_of

MOST_NAMES = 20

Columns: TypeAlias = str | Sequence[str]


class ColumnSource(ConvertedSource):
    """One column of records, by its names from the outside in.

    Examples:
        >>> people = np.array([(1, 2.5), (2, 3.5)], [("id", "i4"), ("size", "f8")])
        >>> ColumnSource(npdata.open_source(people), ("size",)).table.array.tolist()
        [2.5, 3.5]
    """

    def __init__(self, rows: Source, names: tuple[str, ...]) -> None:
        """Take the column; raises `MemberNotFoundError` where there is none of this name."""
        super().__init__(rows)
        self._names = names
        self.dtype, shape = _found(rows, names)
        self.shape = (*rows.shape, *shape)
        self.where = f"{rows.where}.{'.'.join(names)}"
        share = f"{self.row_bytes} of the {rows.row_bytes} bytes of a record"
        read = "" if rows.table is not None else ", all of which are read"
        self.details = (*rows.details, ("column", share + read))

    @property
    def table(self) -> RowTable | None:
        """The column in place, where the records are."""
        return self._viewed(lambda records: _taken(records, self._names))

    def _convert(self, stored: NDArray[Any], _: object, out: NDArray[Any]) -> None:
        out[...] = _taken(stored, self._names)

    def cached(self, keep: Keep) -> Source:
        """Give the same column of records that are decoded once."""
        rows = self.rows.cached(keep)
        return self if rows is self.rows else ColumnSource(rows, self._names)


class ColumnsSource(ConvertedSource):
    """Some columns of records, as records of these alone; text columns that are named are kept."""

    keeps_text = True

    def __init__(self, rows: Source, columns: tuple[str, ...]) -> None:
        """Take the columns, named as `a` or `a.b`; raises as `ColumnSource`, and `FieldError`."""
        super().__init__(rows)
        if len(set(columns)) < len(columns) or not columns:
            raise FieldError(f"columns={columns!r} names a column twice, or none")
        self._columns = {name: split_column(rows.dtype, name) for name in columns}
        found = [(name, *_found(rows, names)) for name, names in self._columns.items()]
        self.dtype = np.dtype(found)
        self.details = (*rows.details, ("columns", f"{len(columns)} of a record"))

    @property
    def bases(self) -> tuple[Source, ...]:
        """What the records are made of: whole records are held, since they name their columns."""
        return self.rows.bases

    def over(self, bases: Sequence[Source]) -> "ColumnsSource":
        """Give the same columns of other records."""
        return ColumnsSource(self.rows.over(bases), tuple(self._columns))

    def _convert(self, stored: NDArray[Any], _: object, out: NDArray[Any]) -> None:
        for name, names in self._columns.items():
            out[name] = _taken(stored, names)


def columns_of(source: Source, asked: object) -> Source:
    """Choose columns of records: one by its name, or several by a sequence of names.

    Rows that are no records stay as they are. Raises `FieldError` for what is no name, and for
    codes of AnnData 0.6, whose names would be lost,
    `MemberNotFoundError` for a column that is not there.
    """
    if asked is None or source.dtype.names is None:
        return source
    names = (asked,) if isinstance(asked, str) else asked
    if not isinstance(names, Sequence) or not all(isinstance(each, str) for each in names):
        raise FieldError(f"columns={asked!r:.60}: expected the name of a column, or several names")
    coded = [each for each in names if each in origin(source).coded]
    if coded:
        raise FieldError(f"column {coded[0]!r} of {source.where} {holds_codes(coded[0])}")
    if isinstance(asked, str):
        return ColumnSource(source, split_column(source.dtype, asked))
    return ColumnsSource(source, tuple(names))


def holds_codes(name: str) -> str:
    """Say what to write for a categorical column of AnnData 0.6, whose rows are codes."""
    return (
        "holds codes of names, which each file has in an order of its own: write "
        f"'...::obs.{name}', a field that knows them"
    )


def split_column(dtype: DType, name: str) -> tuple[str, ...]:
    """Give the names of a column `a.b`, outermost first; a name that has dots itself comes first.

    Examples:
        >>> split_column(np.dtype([("at", [("x", "f4")]), ("Sepal.Length", "f8")]), "at.x")
        ('at', 'x')
        >>> split_column(np.dtype([("Sepal.Length", "f8")]), "Sepal.Length")
        ('Sepal.Length',)
    """
    known = dtype.names or ()
    if name in known:
        return (name,)
    outer = max((each for each in known if name.startswith(f"{each}.")), key=len, default=None)
    if outer is None:
        return tuple(name.split("."))
    return outer, *split_column(dtype[outer].base, name[len(outer) + 1 :])


def numeric_columns(dtype: DType) -> tuple[str, ...]:
    """Give the names of the columns that tensors can hold, those of nested records too.

    Examples:
        >>> numeric_columns(np.dtype([("id", "i4"), ("name", "S5"), ("at", [("x", "f4")])]))
        ('id', 'at.x')
    """
    found: list[str] = []
    for name in dtype.names or ():
        base = dtype[name].base
        if base.names is not None:
            found += [f"{name}.{inner}" for inner in numeric_columns(base)]
        elif dtype_rule(base).kind == "number":
            found.append(name)
    return tuple(found)


def _found(rows: Source, names: tuple[str, ...]) -> tuple[DType, tuple[int, ...]]:
    dtype, shape = rows.dtype, ()
    for k, name in enumerate(names):
        known = dtype.names or ()
        if name not in known:
            where = ".".join((rows.where, *names[:k]))
            some = some_of(known, MOST_NAMES) or "none"
            raise MemberNotFoundError(f"{where} has no column {name!r}; it has {some}")
        inner = dtype[name]
        dtype, shape = inner.base, (*shape, *inner.shape)
    return dtype, shape


def _taken(records: NDArray[Any], names: tuple[str, ...]) -> NDArray[Any]:
    for name in names:
        records = records[name]
    return records
