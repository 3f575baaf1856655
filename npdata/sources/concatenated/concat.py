"""Several sources laid end to end: the rows of the first, then those of the second, and so on.

Idea: parts whose rows lie as they are in a file are kept as a few numbers each (`Parts`), and one
gather takes the rows of a batch out of all of them (`shards`); the rows of other parts are read by
these. Invariant: the rows are exactly those of `np.concatenate` over the parts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import address_of
from npdata.arrays.recordings import even_borders
from npdata.runtime.lazy_torch import torch
from npdata.runtime.made_once import made_once
from npdata.sources.base import Access, Source, with_detail
from npdata.sources.cache.cache import Keep
from npdata.sources.concatenated.base import EndToEnd
from npdata.sources.concatenated.edges import Edges
from npdata.sources.concatenated.in_place import PartlyInPlace
from npdata.sources.concatenated.parts import (
    Parts,
    Summary,
    missing_of,
    require_row_kinds,
)
from npdata.sources.labels import in_one_code, shown_categories
from npdata.sources.many_files.file_list import FileList
from npdata.sources.many_files.file_table import FileTable
from npdata.sources.many_files.shards import Shard, Shards
from npdata.sources.memory import MemorySource
from npdata.sources.packed.packing import Packings

IN_FILES = Access(kind="mapped", reason="the rows of each lie uncompressed in its file")


class ConcatSource(PartlyInPlace, EndToEnd):
    """The rows of all `parts`, one after the other."""

    def __init__(self, parts: Sequence[Source] | Parts, paths: Sequence[str] = ()) -> None:
        """Join the parts; raises `FieldError` where their rows differ, naming both.

        Numbers that stand for names stand for the same ones in all parts. What many files hold is
        known as `Parts`; those of sources are worked out at the first use.

        `paths` are the names of the files that the parts come from, one each, where they do.
        """
        super().__init__()
        if isinstance(parts, Parts):
            self._summary, sources = _summary_of_parts(parts), [*parts.own.values()]
            count, rows = parts.count, int(parts.lengths.sum())
            self.dtype, row_shape = parts.kind
        else:
            self._summary = Summary.joined(map(_summary_of, parts))
            sources = parts = [*in_one_code(parts)]
            require_row_kinds(parts)
            count, rows = len(parts), sum(map(len, parts))
            self.dtype, row_shape = parts[0].dtype, parts[0].shape[1:]
        self.shape = (rows, *row_shape)
        self.missing = missing_of(sources)
        self.keeps_text = len(sources) == count and all(part.keeps_text for part in sources)
        self.where, self.access, self.details = self._summary.described()
        if sources and (names := sources[0].categories):
            self.categories, self.details = names, shown_categories(names)
        self._given = parts
        self.paths = paths

    @made_once
    def parts(self) -> Parts:
        """What is laid end to end, worked out at the first use: a sum of n takes n steps."""
        given = self._given  # once: another thread may replace it
        if not isinstance(given, Parts):
            given = self._given = Parts.joined(
                [
                    source.parts if isinstance(source, ConcatSource) else Parts.of_one(source)
                    for source in _flattened(given)
                ]
            )
        return given

    @made_once
    def edges(self) -> Edges:
        """Where the rows of each part begin."""
        return Edges(self.parts.lengths)

    @made_once
    def own(self) -> Mapping[int, Source]:
        """The parts that are sources."""
        return dict(self.parts.own)

    @made_once
    def made_of(self) -> tuple[Source, ...]:
        """The parts that are sources, in order."""
        return tuple(self.own.values())

    @made_once
    def _arrays(self) -> dict[int, NDArray[Any]]:
        """The parts in memory whose rows follow one another there."""
        found = {k: _memory_of(part) for k, part in self.own.items()}
        return {k: array for k, array in found.items() if array is not None}

    @made_once
    def in_place(self) -> NDArray[np.bool_]:
        """Whether the rows of each part are gathered, and not read by itself."""
        in_place = np.ones(self.parts.count, bool)
        in_place[[k for k in self.own if k not in self._arrays]] = False
        return in_place

    @made_once
    def _shards(self) -> Shards:
        """Where the rows of each part lie: at the place that row 0 of all would have there."""
        parts, starts, arrays = self.parts, self.edges.starts[:-1], self._arrays
        places = np.zeros(len(starts), np.int64)
        places[parts.file >= 0] = parts.table.facts["offset"]
        for k, array in arrays.items():
            places[k] = address_of(array)
        ends = [address_of(array) + array.nbytes for array in arrays.values()]
        begins = [address_of(array) for array in arrays.values()]
        return Shards(
            parts.table,
            parts.file,
            places - starts * self.row_bytes,
            dtype=self.dtype,
            row_shape=self.shape[1:],
            step=int(np.gcd.reduce(np.append(places % 16, [16, self.row_bytes]))),
            memory=(min(begins), max(ends)) if arrays else None,
        )

    @made_once
    def packings(self) -> Packings:
        """What the numbers of each part stand for."""
        given = self._given
        if isinstance(given, Parts):
            each, starts = given.packings, self.edges.starts[:-1]
        else:
            each, starts = [p.packings for p in given], np.cumsum([0, *map(len, given[:-1])])
        return Packings.of_parts(each, starts)

    def _gather(self, owners: Ints, rows: Ints, out: NDArray[Any]) -> None:
        self._shards.gather(owners, rows, out)

    def _copy_runs(self, owners: Ints, starts: Ints, stops: Ints, out: NDArray[Any]) -> None:
        self._shards.gather_runs(owners, starts, stops, out)

    def _readers(self, _: Ints) -> Callable[[int], Any]:
        return self._opened

    def select(self, indices: Ints, out: "torch.Tensor") -> bool:
        """Gather the rows of all parts into a tensor, where all lie in files."""
        return not self.own and self._shards.select(self.edges.owners(indices), indices, out)

    def read_run(self, first: int, out: NDArray[Any]) -> None:
        """Read each part's rows on its way through a file."""
        for owner, low, high in self.edges.across(first, first + len(out)):
            start = int(self.edges.starts[owner]) + low - first
            self._opened(owner).read_run(low, out[start : start + high - low])

    def _part(self, owner: int) -> Any:
        """Give a part: a source, or a file."""
        if owner in self.own:
            return self.own[owner]
        return Shard(self._shards, int(self.parts.file[owner]))

    def _inner_borders(self) -> dict[int, Ints]:
        """Give the borders of each part that has some itself; the table does not know of them."""
        inner, lengths = super()._inner_borders(), self.edges.lengths
        for part, each in self.parts.recordings.items():
            even = even_borders(int(lengths[part]), each)
            if even is not None:
                inner[part] = even
        return inner

    def _files_of(self, owner: int, rows: Ints | None = None) -> set[str]:
        """Give the files of rows of a part, of which the table knows those that lie in files."""
        if isinstance(self.paths, FileList) or owner in self.own:
            return super()._files_of(owner, rows)
        return {self.parts.table.name(int(self.parts.file[owner]))}

    def cached(self, keep: Keep) -> Source:
        """Give the same rows, with parts that are decoded once and kept by `keep`."""
        own = {k: part.cached(keep) for k, part in self.own.items()}
        kept = [part for k, part in own.items() if part is not self.own[k]]
        if not kept:
            return self
        made = ConcatSource(replace(self.parts, own=own), self.paths)
        made.tell(details=with_detail(made.details, "cache", dict(kept[0].details)["cache"]))
        made.tell_of(self)
        return made

    def check(self) -> None:
        """Raise `ChangedFileError` if a file behind a part changed since it was opened."""
        self._shards.check()
        for owner in np.flatnonzero(~self.in_place).tolist():
            self._opened(owner).check()

    def close_idle(self) -> None:
        """Close the files of every part until the next read."""
        self._shards.close_idle()
        super().close_idle()

    def close(self) -> None:
        """Close every part."""
        self._shards.close()
        super().close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.parts, self.paths)


def _flattened(sources: Sequence[Source]) -> list[Source]:
    """Give sources in order, and for a sum whose parts are not worked out yet its terms."""
    found: list[Source] = []
    left = list(reversed(sources))
    while left:
        source = left.pop()
        given = source._given if isinstance(source, ConcatSource) else None
        if given is None or isinstance(given, Parts):
            found.append(source)
        else:
            left += reversed(given)
    return found


def _memory_of(part: Source) -> NDArray[Any] | None:
    """Give the memory in which the rows of a part follow one another, None where they do not."""
    if type(part) is not MemorySource or part.dtype.hasobject or not len(part):
        return None
    array = part.table.array
    return array if array.flags.c_contiguous else None


def _summary_of(source: Source) -> Summary:
    if isinstance(source, ConcatSource):
        return source._summary
    in_file = FileTable.of_mapped(source) is not None
    access, details = (IN_FILES, ()) if in_file else (source.access, source.details)
    return Summary.one(source.where, len(source), access, details)


def _summary_of_parts(parts: Parts) -> Summary:
    each, table = [*map(_summary_of, parts.own.values())], parts.table
    if len(table):
        rows, first = int(table.facts["length"].sum()), int(np.argmax(parts.file >= 0))
        each.insert(first, Summary.one(table.files[0], rows, IN_FILES, parts=len(table)))
    return Summary.joined(each)
