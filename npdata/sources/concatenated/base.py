"""Rows of several parts, those of the first, then those of the second, and so on.

Idea: which part a row lies in follows from the running count of rows. What parts say of themselves
and advice for them are worked out here; a subclass says how rows are read. Invariant: no
part is asked for rows that it does not have, and no more than `MOST_MAPPED` keep files mapped.
"""

import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from npdata.arrays.blocks import BLOCK_BYTES, Blocks
from npdata.arrays.dtypes import Ints
from npdata.runtime.per_process import ForkSafeLock
from npdata.sources.base import Source
from npdata.sources.concatenated.edges import Edges
from npdata.sources.derived.base import CompositeSource
from npdata.sources.many_files.file_list import FileList, not_together

MOST_MAPPED = 1024
"""So many parts keep the map of their file, and where chunks lie in it; the least recently read
releases both. Rows at random out of 120 files take a fifth of the time that they take with 32."""
MOST_IN_LIBRARY = 32
"""So many that h5py reads, which keeps some MiB for each."""


class EndToEnd(CompositeSource):
    """The rows of parts: `own[k]` is part k where it is a source; a subclass knows the others."""

    own: Mapping[int, Source]
    edges: Edges
    joins_parts = True

    def __init__(self) -> None:
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._lock = ForkSafeLock()

    def _part(self, owner: int) -> Any:
        """Give a part: a source, or what has its methods for a run of rows."""
        return self.own[owner]

    def _opened(self, owner: int) -> Any:
        """Give a part to be read; of sources the least recently read one closes its files."""
        if owner not in self.own:
            return self._part(owner)
        in_library = self.own[owner].access.kind == "library"
        most = MOST_IN_LIBRARY if in_library else MOST_MAPPED
        with self._lock.get():
            self._recent[owner] = None
            self._recent.move_to_end(owner)
            idle = self._recent.popitem(last=False)[0] if len(self._recent) > most else None
        if idle is not None:
            self.own[idle].close_idle()
        return self._part(owner)

    @property
    def borders(self) -> Ints:
        """The first row of each part, and of the parts that it has itself, and the end."""
        starts, inner = self.edges.starts, self._inner_borders()
        if not inner:
            return starts
        whole = np.delete(starts, list(inner))
        return np.sort(np.concatenate([whole, *(starts[k] + b[:-1] for k, b in inner.items())]))

    def _inner_borders(self) -> dict[int, Ints]:
        """Give the borders of each part that has some itself."""
        return {k: b for k, part in self.own.items() if (b := part.borders) is not None}

    @property
    def file_borders(self) -> Ints | None:
        """The first row of each file that parts lie in, and the end; None where all are memory.

        Raises `FieldError` where a file comes again after another.
        """
        starts, seen = self.edges.starts, set[str]()
        firsts, before = [starts[-1:]], set[str]()
        for k in range(len(starts) - 1):
            files = self._files_of(k)
            own = self.own[k].file_borders if k in self.own else None
            alone = own is None and len(files) == 1
            if alone and files == before:
                continue
            if files & seen:
                raise not_together(min(files & seen))
            seen |= files
            before = files if alone else set()
            firsts.append(starts[k : k + 1] if own is None else starts[k] + own)
        return np.unique(np.concatenate(firsts)) if seen else None

    def files_of(self, rows: Ints | None = None) -> set[str]:
        """Give the files of the parts that these rows lie in."""
        found = set[str]()
        parts = range(len(self.edges.lengths))
        if rows is None:
            return found.union(*map(self._files_of, parts))
        owners = np.searchsorted(self.edges.starts, rows, side="right") - 1
        for k in np.unique(owners).tolist():
            found |= self._files_of(k, rows[owners == k] - self.edges.starts[k])
        return found

    def _files_of(self, owner: int, rows: Ints | None = None) -> set[str]:
        """Give the files that rows of a part lie in."""
        if isinstance(self.paths, FileList):
            return {os.fsdecode(self.paths.path(owner))}
        return self.own[owner].files_of(rows)

    @property
    def blocks(self) -> Blocks:
        """The blocks of each part, end to end; small files one after the other are one run."""
        per_block = max(1, BLOCK_BYTES // max(1, self.row_bytes))
        rows: list[int] = []
        block_rows: list[int] = []
        small = False
        for k, length in enumerate(self.edges.lengths.tolist()):
            if k in self.own:
                own = self.own[k].blocks
                rows += own.rows
                block_rows += own.block_rows
                small = False
            elif small and length < per_block:
                rows[-1] += length
            elif length:
                rows.append(length)
                block_rows.append(per_block)
                small = length < per_block
        return Blocks(rows=tuple(rows), block_rows=tuple(block_rows))

    @property
    def stored_bytes(self) -> int:
        """The bytes of the files that a row takes, in the mean over the parts."""
        own = sum(len(part) * part.stored_bytes for part in self.own.values())
        others = len(self) - sum(map(len, self.own.values()))
        return -(-(own + others * self.row_bytes) // max(1, len(self)))

    @property
    def rows_in_memory(self) -> int | None:
        """The rows of the part of which the fewest fit."""
        limits = [n for part in self.own.values() if (n := part.rows_in_memory) is not None]
        return min(limits, default=None)

    @property
    def ahead_bytes(self) -> int | None:
        """The least that a part allows, over the share of the rows that such parts have."""
        limits = [(len(p), n) for p in self.own.values() if (n := p.ahead_bytes) is not None]
        if not limits:
            return None
        share = sum(rows for rows, _ in limits) / max(1, len(self))
        return int(min(n for _, n in limits) / max(share, 1e-9))

    def check(self) -> None:
        """Raise `ChangedFileError` if a file behind a part changed since it was opened."""
        for owner in self.own:
            self._opened(owner).check()

    def will_need(self, first: int, stop: int) -> None:
        """Pass it on to the parts that have these rows."""
        for owner, low, high in self.edges.across(first, stop):
            self._opened(owner).will_need(low, high)

    def dont_need(self, first: int, stop: int) -> None:
        """Pass it on to the parts that have these rows."""
        for owner, low, high in self.edges.across(first, stop):
            self._part(owner).dont_need(low, high)
