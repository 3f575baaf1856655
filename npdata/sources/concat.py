"""Several sources laid end to end: the rows of the first, then those of the second, and so on.

Idea: a row number finds its part by a search in the running count. Parts whose rows lie as they
are in a file are kept as a few numbers each (`shards`), and one gather takes the rows of a batch
out of all of them; the rows of other parts are read by these, and take part in that gather.
Invariant: the rows are exactly those of `np.concatenate` over the parts, and no part is read for
rows that it does not have. No more than `MOST_OPEN` of the other parts keep files open.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.blocks import BLOCK_BYTES, Blocks
from npdata.arrays.gather import address_of
from npdata.arrays.per_process import ForkSafeLock
from npdata.sources.base import Access, Source
from npdata.sources.cache.cache import Cache
from npdata.sources.joined_parts import Parts, require_alike
from npdata.sources.many_files.file_table import FileTable
from npdata.sources.many_files.shards import Shards
from npdata.sources.mapped import MappedSource
from npdata.sources.memory import MemorySource
from npdata.sources.packing import Packings
from npdata.sources.part_runs import grouped, read_runs
from npdata.sources.summary import Summary

MOST_OPEN = 32
"""So many parts keep files open, of two descriptors each; the least recently read is closed."""

IN_FILES = Access(kind="mapped", reason="the rows of each lie uncompressed in its file")


class ConcatSource(Source):
    """The rows of all `parts`, one after the other.

    Examples:
        >>> parts = [npdata.open_source("x.npy"), npdata.open_source("x.npy")]
        >>> len(ConcatSource(parts)) == 2 * len(parts[0])
        True
    """

    def __init__(self, parts: Sequence[Source] | Parts, paths: Sequence[str] = ()) -> None:
        """Join the parts; raises `FieldError` where their rows differ, naming both.

        `paths` are the names of the files that the parts come from, one each, where they do.
        """
        if isinstance(parts, Parts):
            self.shape = (int(parts.lengths.sum()), *parts.row_shape)
            self.dtype = parts.dtype
            self._summary = _summary_of(parts)
        else:
            require_alike(parts)
            self.shape = (sum(map(len, parts)), *parts[0].shape[1:])
            self.dtype = parts[0].dtype
            self._summary = Summary.joined(map(_summary, parts))
        self.where, self.access, self.details = self._summary.described()
        self._given = parts
        self.paths = paths
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._lock = ForkSafeLock()

    @cached_property
    def parts(self) -> Parts:
        """What is laid end to end, worked out at the first use: a sum of n takes n steps."""
        if not isinstance(self._given, Parts):
            self._given = Parts.joined(
                [
                    source.parts if isinstance(source, ConcatSource) else Parts.of_one(source)
                    for source in _flattened(self._given)
                ]
            )
        return self._given

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum(np.append(0, self.parts.lengths))

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return self._starts[1:]

    @cached_property
    def _even(self) -> int:
        """The rows of each part where they have equally many, the last perhaps fewer, else 0."""
        lengths = self.parts.lengths
        alike = (lengths[:-1] == lengths[0]).all() and lengths[-1] <= lengths[0]
        return int(lengths[0]) if alike else 0

    @cached_property
    def _arrays(self) -> dict[int, NDArray[Any]]:
        """The parts in memory whose rows follow one another there."""
        found = {k: _rows_of(part) for k, part in self.parts.own.items()}
        return {k: array for k, array in found.items() if array is not None}

    @cached_property
    def _slow(self) -> NDArray[np.bool_]:
        """Whether each part reads its rows itself."""
        slow = np.zeros(len(self.parts.lengths), bool)
        slow[[k for k in self.parts.own if k not in self._arrays]] = True
        return slow

    @cached_property
    def _any_slow(self) -> bool:
        return bool(self._slow.any())

    @cached_property
    def _shards(self) -> Shards:
        """Where the rows of each part lie, but for the number of the row."""
        parts, starts, arrays = self.parts, self._starts[:-1], self._arrays
        places = np.zeros(len(starts), np.int64)
        in_file = parts.file >= 0
        places[in_file] = parts.table.offset[parts.file[in_file]]
        for k, array in arrays.items():
            places[k] = address_of(array)
        ends = [address_of(array) + array.nbytes for array in arrays.values()]
        begins = [address_of(array) for array in arrays.values()]
        return Shards(
            parts.table,
            parts.file,
            places - starts * parts.row_bytes,
            dtype=parts.dtype,
            row_shape=parts.row_shape,
            step=int(np.gcd.reduce(np.append(places % 16, [16, parts.row_bytes]))),
            memory=(min(begins), max(ends)) if arrays else None,
        )

    @property
    def blocks(self) -> Blocks:
        """The blocks of each part, end to end; small files one after the other are one run."""
        per_block = max(1, BLOCK_BYTES // max(1, self.row_bytes))
        rows: list[int] = []
        block_rows: list[int] = []
        small = False
        for k, length in enumerate(self.parts.lengths.tolist()):
            if k in self.parts.own:
                own = self.parts.own[k].blocks
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
    def borders(self) -> NDArray[np.int64]:
        """The first row of each part, and of the parts that it has itself, and the end."""
        inner = {k: b for k, part in self.parts.own.items() if (b := part.borders) is not None}
        if not inner:
            return self._starts
        both = [self._starts, *(self._starts[k] + borders for k, borders in inner.items())]
        return np.unique(np.concatenate(both))

    @cached_property
    def packings(self) -> Packings:
        """What the numbers of each part stand for."""
        given = self._given
        if not isinstance(given, Parts):
            each = [part.packings for part in given]
            kinds = {kind for part in each for kind in part.kinds}
            if len(kinds) > 1:
                return Packings.of_parts(each, np.cumsum([0, *map(len, given[:-1])]))
            return Packings.one(next(iter(kinds), None))
        parts = given
        kinds = {kind.packing for kind in parts.table.kinds}
        own = {k: part.packings for k, part in parts.own.items()}
        kinds |= {kind for each in own.values() for kind in each.kinds}
        if len(kinds) <= 1:
            return Packings.one(next(iter(kinds), None))
        table = parts.table
        each = [
            own[k] if k in own else Packings.one(table.kinds[table.kind[number]].packing)
            for k, number in enumerate(parts.file.tolist())
        ]
        return Packings.of_parts(each, self._starts[:-1])

    @property
    def decoded_chunks(self) -> int:
        """The chunks that were decoded for all parts."""
        return sum(part.decoded_chunks for part in self.parts.own.values())

    @property
    def reused_chunks(self) -> int:
        """The chunks that were found decoded, of all parts."""
        return sum(part.reused_chunks for part in self.parts.own.values())

    @property
    def rows_in_memory(self) -> int | None:
        """The rows of the part of which the fewest fit."""
        limits = [n for p in self.parts.own.values() if (n := p.rows_in_memory) is not None]
        return min(limits, default=None)

    @property
    def ahead_bytes(self) -> int | None:
        """What the parts allow that allow the least, by the share that they have of all rows."""
        limits = [(len(p), n) for p in self.parts.own.values() if (n := p.ahead_bytes) is not None]
        if not limits:
            return None
        share = sum(rows for rows, _ in limits) / max(1, len(self))
        return int(min(n for _, n in limits) / max(share, 1e-9))

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Gather the rows of all parts by one call; parts that are not in place read theirs."""
        if out.size == 0:
            return
        owners = self._owners(indices)
        if self._any_slow and (owners[0] == owners).all() and self._slow[owners[0]]:
            self._own(int(owners[0])).read(indices - self._starts[owners[0]], out)
            return
        if self.dtype.hasobject:
            self._read_objects(owners, indices, out)
            return
        slow = self._read_slow(owners, indices) if self._any_slow else None
        elsewhere = None if slow is None else (slow[0], address_of(slow[1]))
        self._shards.gather(owners, indices, out, elsewhere=elsewhere)

    def select(self, indices: NDArray[np.int64], out: Tensor) -> bool:
        """Gather the rows of all parts into a tensor, where all lie in files."""
        if self.parts.own:
            return False
        return self._shards.select(self._owners(indices), indices, out)

    def _owners(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find the part of each row; a search takes 13 µs of a batch of 256, a division 2."""
        if self._even:
            return indices // self._even
        return np.searchsorted(self._ends, indices, side="right")

    def _read_slow(
        self, owners: NDArray[np.int64], indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[Any]] | None:
        """Read the rows that are not in place, and give their places in the batch with them."""
        places = np.flatnonzero(self._slow[owners])
        if not len(places):
            return None
        by_owner = [(owner, places[at]) for owner, at in grouped(owners[places])]
        rows = np.empty((len(places), *self.shape[1:]), self.dtype)
        done = 0
        for owner, at in by_owner:
            inside = indices[at] - self._starts[owner]
            self._own(owner).read(inside, rows[done : done + len(at)])
            done += len(at)
        return np.concatenate([at for _, at in by_owner]), rows

    def _read_objects(
        self, owners: NDArray[np.int64], indices: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        for owner, places in grouped(owners):
            rows = np.empty((len(places), *self.shape[1:]), self.dtype)
            self._own(owner).read(indices[places] - self._starts[owner], rows)
            out[places] = rows

    def runs(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Give runs of rows in fresh memory; those inside one part are not read row by row."""
        found = None
        if not self.dtype.hasobject:
            found = read_runs(
                starts,
                stops,
                edges=self._starts,
                in_place=~self._slow,
                copy=self._shards.gather_runs,
                part=self._own,
                shape=self.shape[1:],
                dtype=self.dtype,
            )
        return super().runs(starts, stops) if found is None else found

    def read_run(self, first: int, out: NDArray[Any]) -> None:
        """Read each part's rows on its way through a file."""
        for owner, low, high in self._within(first, first + len(out)):
            start = int(self._starts[owner]) + low - first
            rows = out[start : start + high - low]
            number = int(self.parts.file[owner])
            if number < 0:
                self._own(owner).read_run(low, rows)
            elif rows.size:
                offset = int(self.parts.table.offset[number]) + low * self.parts.row_bytes
                self._shards.read(number, offset, rows.reshape(-1).view(np.uint8))

    def _own(self, owner: int) -> Source:
        """Give a part that reads its rows itself; the least recently read one closes its files."""
        with self._lock.get():
            self._recent[owner] = None
            self._recent.move_to_end(owner)
            idle = self._recent.popitem(last=False)[0] if len(self._recent) > MOST_OPEN else None
        if idle is not None:
            self.parts.own[idle].close_idle()
        return self.parts.own[owner]

    def cached(self, cache: Cache) -> Source:
        """Give the same rows, with parts that are decoded once and kept in `cache`."""
        own = {k: part.cached(cache) for k, part in self.parts.own.items()}
        if all(own[k] is part for k, part in self.parts.own.items()):
            return self
        return ConcatSource(replace(self.parts, own=own), self.paths)

    def check(self) -> None:
        """Raise `ChangedFileError` if a file behind a part changed since it was opened."""
        self._shards.check()
        for owner in self.parts.own:
            if owner not in self._arrays:
                self._own(owner).check()

    def will_need(self, first: int, stop: int) -> None:
        """Pass it on to the parts that have these rows."""
        for owner, low, high in self._within(first, stop):
            if owner in self.parts.own:
                self._own(owner).will_need(low, high)
            else:
                self._shards.will_need(*self._bytes_of(owner, low, high))

    def dont_need(self, first: int, stop: int) -> None:
        """Pass it on to the parts that have these rows."""
        for owner, low, high in self._within(first, stop):
            if owner in self.parts.own:
                self.parts.own[owner].dont_need(low, high)
            else:
                self._shards.dont_need(*self._bytes_of(owner, low, high))

    def _bytes_of(self, owner: int, low: int, high: int) -> tuple[int, int, int]:
        number = int(self.parts.file[owner])
        offset = int(self.parts.table.offset[number]) + low * self.parts.row_bytes
        return number, offset, (high - low) * self.parts.row_bytes

    def _within(self, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
        found = max(0, int(self._starts.searchsorted(first, "right")) - 1)
        for owner in range(found, len(self.parts.lengths)):
            start, end = int(self._starts[owner]), int(self._starts[owner + 1])
            if start >= stop:
                return
            if max(first, start) < min(stop, end):
                yield owner, max(first, start) - start, min(stop, end) - start

    def close_idle(self) -> None:
        """Close the files of every part until the next read."""
        self._shards.close_idle()
        for part in self.parts.own.values():
            part.close_idle()

    def close(self) -> None:
        """Close every part."""
        self._shards.close()
        for part in self.parts.own.values():
            part.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts: names and numbers, never the content of a file."""
        return type(self), (self.parts, self.paths)


def _flattened(sources: Sequence[Source]) -> list[Source]:
    """Give sources with the parts of those among them that were not worked out, in order."""
    found: list[Source] = []
    left = list(reversed(sources))
    while left:
        source = left.pop()
        if isinstance(source, ConcatSource) and not isinstance(source._given, Parts):
            left += reversed(source._given)
        else:
            found.append(source)
    return found


def _rows_of(part: Source) -> NDArray[Any] | None:
    """Give the memory in which the rows of a part follow one another, None where they do not."""
    if type(part) is not MemorySource or part.dtype.hasobject or not len(part):
        return None
    array = part.table.array
    return array if array.flags.c_contiguous else None


def _summary(source: Source) -> Summary:
    if isinstance(source, ConcatSource):
        return source._summary
    mapped = type(source) is MappedSource and FileTable.of_mapped(source) is not None
    return Summary.one(source.where, len(source), IN_FILES) if mapped else Summary.of(source)


def _summary_of(parts: Parts) -> Summary:
    return Summary.joined(
        Summary.of(parts.own[k])
        if k in parts.own
        else Summary.one(parts.table.files[number], length, IN_FILES)
        for k, (length, number) in enumerate(
            zip(parts.lengths.tolist(), parts.file.tolist(), strict=True)
        )
    )
