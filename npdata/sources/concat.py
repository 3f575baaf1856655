"""Several sources laid end to end: the rows of the first, then those of the second, and so on.

Idea: a row number finds its part by a search in the running count. Invariant: the rows are
exactly those of `np.concatenate` over the parts, and no part is read for rows that it does not
have. The parts keep their own access, and no more than `MOST_OPEN` of them keep files open; this
module opens no file.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.per_process import ForkSafeLock
from npdata.errors import FieldError
from npdata.sources.base import Access, Source

MOST_OPEN = 64
"""So many parts keep their files open; the one that was not read for the longest lets go."""


class ConcatSource(Source):
    """The rows of `parts`, one after the other; all of one row shape and one dtype.

    Examples:
        >>> parts = [npdata.open_source("x.npy"), npdata.open_source("x.npy")]
        >>> len(ConcatSource(parts)) == 2 * len(parts[0])
        True
    """

    def __init__(self, parts: Sequence[Source]) -> None:
        """Join the parts; raises `FieldError` where their rows differ, naming both."""
        parts = [part for each in parts for part in _flat(each)]
        first = parts[0]
        for part in parts[1:]:
            if (part.shape[1:], part.dtype) != (first.shape[1:], first.dtype):
                raise FieldError(
                    f"rows of {first.where} are {first.shape[1:]} of {first.dtype}, those of "
                    f"{part.where} are {part.shape[1:]} of {part.dtype}; they make no one field"
                )
        self._parts = tuple(parts)
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._lock = ForkSafeLock()
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._starts[-1]), *first.shape[1:])
        self.dtype = first.dtype
        self.where = f"{first.where} and {len(parts) - 1} more"
        kinds = {part.access.kind: part.access for part in parts}
        slowest = next(kinds[k] for k in ("library", "decoded", "mapped", "memory") if k in kinds)
        counts = ", ".join(
            f"{sum(part.access.kind == kind for part in parts)} {kind}" for kind in kinds
        )
        self.access = Access(
            kind=slowest.kind,
            reason=f"{len(parts)} sources end to end ({counts}): {slowest.reason}",
        )
        self.details = next(p.details for p in parts if p.access is kinds[slowest.kind])

    @property
    def blocks(self) -> Blocks:
        """The blocks of each part, end to end."""
        parts = [part.blocks for part in self._parts]
        return Blocks(
            rows=tuple(rows for part in parts for rows in part.rows),
            block_rows=tuple(rows for part in parts for rows in part.block_rows),
        )

    @property
    def borders(self) -> NDArray[np.int64]:
        """The first row of each part, and the number of rows."""
        return self._starts

    @property
    def decoded_chunks(self) -> int:
        """The chunks that were decoded for all parts."""
        return sum(part.decoded_chunks for part in self._parts)

    @property
    def reused_chunks(self) -> int:
        """The chunks that were found decoded, of all parts."""
        return sum(part.reused_chunks for part in self._parts)

    @property
    def ahead_bytes(self) -> int | None:
        """The least that a part allows."""
        return min((n for part in self._parts if (n := part.ahead_bytes) is not None), default=None)

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read each part's rows from that part, and put them where they were asked for."""
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        for owner in np.unique(owners):
            part, start = self._parts[owner], self._starts[owner]
            self._use(int(owner))
            places = np.flatnonzero(owners == owner)
            if len(places) == len(indices):
                part.read(indices - start, out)
                return
            rows = np.empty((len(places), *self.shape[1:]), self.dtype)
            part.read(indices[places] - start, rows)
            out[places] = rows

    def _use(self, owner: int) -> None:
        with self._lock.get():
            self._recent[owner] = None
            self._recent.move_to_end(owner)
            idle = self._recent.popitem(last=False)[0] if len(self._recent) > MOST_OPEN else None
        if idle is not None:
            self._parts[idle].close_idle()

    def check(self) -> None:
        """Raise `ChangedFileError` if a file behind a part changed since it was opened."""
        for owner, part in enumerate(self._parts):
            self._use(owner)
            part.check()

    def will_need(self, first: int, stop: int) -> None:
        """Pass it on to the parts that have these rows."""
        for owner, low, high in self._within(first, stop):
            self._use(owner)
            self._parts[owner].will_need(low, high)

    def dont_need(self, first: int, stop: int) -> None:
        """Pass it on to the parts that have these rows."""
        for owner, low, high in self._within(first, stop):
            self._parts[owner].dont_need(low, high)

    def _within(self, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
        starts = self._starts.tolist()
        found = max(0, int(np.searchsorted(self._starts, first, side="right")) - 1)
        for owner in range(found, len(self._parts)):
            start, end = starts[owner], starts[owner + 1]
            if start >= stop:
                return
            if max(first, start) < min(stop, end):
                yield owner, max(first, start) - start, min(stop, end) - start

    def close_idle(self) -> None:
        """Let go of the files of every part until the next read."""
        for part in self._parts:
            part.close_idle()

    def close(self) -> None:
        """Close every part."""
        for part in self._parts:
            part.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts."""
        return type(self), (self._parts,)


def _flat(source: Source) -> tuple[Source, ...]:
    return source._parts if isinstance(source, ConcatSource) else (source,)
