"""Several sources laid end to end: the rows of the first, then those of the second, and so on.

Idea: a row number finds its part by a search in the running count. Invariant: the rows are
exactly those of `np.concatenate` over the parts, and no part is read for rows that it does not
have. The parts keep their own access; this module opens no file.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.blocks import Blocks
from npdata.errors import FieldError
from npdata.sources.base import Access, Source


class ConcatSource(Source):
    """The rows of `parts`, one after the other; all of one row shape and one dtype.

    Examples:
        >>> parts = [npdata.open_source("x.npy"), npdata.open_source("x.npy")]
        >>> len(ConcatSource(parts)) == 2 * len(parts[0])
        True
    """

    def __init__(self, parts: Sequence[Source]) -> None:
        """Join the parts; raises `FieldError` where their rows differ, naming both."""
        first = parts[0]
        for part in parts[1:]:
            if (part.shape[1:], part.dtype) != (first.shape[1:], first.dtype):
                raise FieldError(
                    f"rows of {first.where} are {first.shape[1:]} of {first.dtype}, those of "
                    f"{part.where} are {part.shape[1:]} of {part.dtype}; they make no one field"
                )
        self._parts = tuple(parts)
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

    @property
    def blocks(self) -> Blocks:
        """The blocks of each part, end to end."""
        parts = [part.blocks for part in self._parts]
        return Blocks(
            rows=tuple(rows for part in parts for rows in part.rows),
            block_rows=tuple(rows for part in parts for rows in part.block_rows),
        )

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read each part's rows from that part, and put them where they were asked for."""
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        for owner in np.unique(owners):
            part, start = self._parts[owner], self._starts[owner]
            places = np.flatnonzero(owners == owner)
            if len(places) == len(indices):
                part.read(indices - start, out)
                return
            rows = np.empty((len(places), *self.shape[1:]), self.dtype)
            part.read(indices[places] - start, rows)
            out[places] = rows

    def check(self) -> None:
        """Raise `ChangedFileError` if a file behind a part changed since it was opened."""
        for part in self._parts:
            part.check()

    def will_need(self, first: int, stop: int) -> None:
        """Pass it on to the parts that have these rows."""
        for part, low, high in self._within(first, stop):
            part.will_need(low, high)

    def let_go(self, first: int, stop: int) -> None:
        """Pass it on to the parts that have these rows."""
        for part, low, high in self._within(first, stop):
            part.let_go(low, high)

    def _within(self, first: int, stop: int) -> Iterator[tuple[Source, int, int]]:
        owner = max(0, int(np.searchsorted(self._starts, first, side="right")) - 1)
        for part, start in zip(self._parts[owner:], self._starts[owner:].tolist(), strict=False):
            if start >= stop:
                return
            if max(first, start) < min(stop, start + len(part)):
                yield part, max(first, start) - start, min(stop, start + len(part)) - start

    def close(self) -> None:
        """Close every part."""
        for part in self._parts:
            part.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts."""
        return type(self), (self._parts,)
