"""Sources made of others: of several, or each row from one row of another.

Idea: what is made differs, and where the rows lie, what is cheap and what is open does not. It is
all passed on. Invariant: in a `DerivedSource` row i comes from row i; a `ConvertedSource` works it
out from the row that is stored. Subclasses say how.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import RowTable
from npdata.sources.base import Source

AnySource = TypeVar("AnySource", bound=Source)


class CompositeSource(Source):
    """Rows made of those of other sources, `made_of`; a subclass sets these and reads."""

    made_of: tuple[Source, ...]
    joins_parts = False
    """Whether it lays parts end to end, of which those in `made_of` need not be all."""
    _views: Any = None
    """What a subclass made of open parts to read from; gone when they are closed."""

    def _viewed(self, view: Callable[[NDArray[Any]], NDArray[Any]]) -> RowTable | None:
        """Give the first part in place as `view` shows it, once for each opening; None without."""
        given = self.made_of[0].table
        if given is None:
            return None
        views = self._views
        if views is None or views[0] is not given:
            views = self._views = given, RowTable.of(view(given.array))
        table: RowTable = views[1]
        return table

    def files_of(self, rows: Ints | None = None) -> set[str]:
        """Give the files of the first part."""
        return self.made_of[0].files_of()

    @property
    def decoded_chunks(self) -> int:
        """How many chunks this process has decoded for all parts so far."""
        return sum(part.decoded_chunks for part in self.made_of)

    @property
    def reused_chunks(self) -> int:
        """How often a chunk was found decoded already."""
        return sum(part.reused_chunks for part in self.made_of)

    def check(self) -> None:
        """Raise `ChangedFileError` if a file behind a part changed since it was opened."""
        for part in self.made_of:
            part.check()

    def close_idle(self) -> None:
        """Close the files of the parts until the next read."""
        self._views = None
        for part in self.made_of:
            part.close_idle()

    def close(self) -> None:
        """Close the parts."""
        self._views = None
        for part in self.made_of:
            part.close()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the parts by what they are, and no memory that they lie in."""
        return self.__dict__ | {"_views": None}


def twin(source: AnySource) -> AnySource:
    """Give an object with the same attributes; `copy.copy` would make it anew, as a pickle does."""
    made = object.__new__(type(source))
    vars(made).update(vars(source))
    return made


class OfRows:
    """An attribute that a source has from its rows: `blocks: Any = OfRows("blocks")`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, source: Any, _: object = None) -> Any:
        return getattr(source.rows, self._name)


class RenumberedSource(CompositeSource):
    """Rows made of those of `rows`, under other numbers; a subclass says of which, and reads."""

    def __init__(self, rows: Source) -> None:
        self.rows = rows
        self.made_of = (rows,)
        self.access = rows.access

    bases: Any = OfRows("bases")
    ahead_bytes: Any = OfRows("ahead_bytes")

    @property
    def rows_in_memory(self) -> int | None:
        """What of its rows the memory for decoded chunks holds, by their share."""
        held = self.rows.rows_in_memory
        return None if held is None else held * len(self) // max(1, len(self.rows))

    def _mean_the_same(self) -> None:
        """Take over what `rows` says of its own: its name, dtype, details and what numbers mean."""
        rows = self.rows
        self.dtype, self.where, self.details = rows.dtype, rows.where, rows.details
        self.categories, self.missing, self.matlab = rows.categories, rows.missing, rows.matlab
        kinds = rows.packings.kinds
        self.packing = kinds[0] if len(kinds) == 1 else None

    @abstractmethod
    def spanned(self, first: int, stop: int) -> tuple[int, int]:
        """Give the run of `rows` that its rows from `first` to `stop` are made of, if any is."""

    def will_need(self, first: int, stop: int) -> None:
        """Pass it on as the rows that these are made of."""
        low, high = self.spanned(first, stop)
        if low < high:
            self.rows.will_need(low, high)

    def dont_need(self, first: int, stop: int) -> None:
        """Pass it on as the rows that these are made of."""
        low, high = self.spanned(first, stop)
        if low < high:
            self.rows.dont_need(low, high)


class RegroupedSource(RenumberedSource):
    """Rows each made of a span of those of `rows`."""


class DerivedSource(CompositeSource):
    """Rows made of those of `rows`, one of one; a subclass sets the rest and reads."""

    def __init__(self, rows: Source) -> None:
        self.rows = rows
        self.made_of = (rows,)
        self.shape = rows.shape
        self.dtype = rows.dtype
        self.where = rows.where
        self.access = rows.access
        self.details = rows.details
        self.paths = rows.paths
        self.missing = rows.missing

    blocks: Any = OfRows("blocks")
    borders: Any = OfRows("borders")
    file_borders: Any = OfRows("file_borders")
    rows_in_memory: Any = OfRows("rows_in_memory")
    stored_bytes: Any = OfRows("stored_bytes")
    ahead_bytes: Any = OfRows("ahead_bytes")

    def files_of(self, rows: Ints | None = None) -> set[str]:
        """Pass it on."""
        return self.rows.files_of(rows)

    def will_need(self, first: int, stop: int) -> None:
        """Pass it on."""
        self.rows.will_need(first, stop)

    def dont_need(self, first: int, stop: int) -> None:
        """Pass it on."""
        self.rows.dont_need(first, stop)


class ConvertedSource(DerivedSource):
    """Rows that are made of stored ones whenever they are read, unless they lie in place."""

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Gather the rows in place, or read the stored ones and convert them."""
        table = self.table
        if table is not None:
            self.check()
            table.gather(indices, out)
            self.check()
        elif out.size:
            stored = np.empty((len(indices), *self.rows.shape[1:]), self.rows.dtype)
            self.rows.read(indices, stored)
            self._convert(stored, indices, out)

    def read_run(self, first: int, out: NDArray[Any]) -> None:
        """Read a run of stored rows, and convert them."""
        if self.table is not None or not out.size:
            super().read_run(first, out)
            return
        stored = np.empty((len(out), *self.rows.shape[1:]), self.rows.dtype)
        self.rows.read_run(first, stored)
        self._convert(stored, np.arange(first, first + len(out)), out)

    @abstractmethod
    def _convert(self, stored: NDArray[Any], indices: Ints, out: NDArray[Any]) -> None:
        """Make `out`, at least one element, of the stored rows with these numbers."""


def origin(source: Any, before: type | tuple[()] = ()) -> Any:
    """Give what a source is made of in the end, or `before` that: itself where several, or none."""
    while isinstance(source, CompositeSource) and not source.joins_parts:
        if len(source.made_of) != 1 or isinstance(source, before):
            break
        (source,) = source.made_of
    return source
