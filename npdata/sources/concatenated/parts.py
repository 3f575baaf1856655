"""What sources laid end to end are made of: parts in files, and parts that read their own rows.

Idea: a part whose rows lie as they are in a file is a few numbers in a table, and no object of its
own; so 100,000 files are six arrays. How they are read is said by the kind of their access, so that
the summary of a sum is made of those of its terms. Invariant: all parts have rows of one shape and
dtype. It reads no row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from npdata.arrays.dtypes import DType, Ints
from npdata.errors import FieldError
from npdata.runtime.made_once import made_once
from npdata.sources.base import Access, Details, Source
from npdata.sources.many_files.file_table import FileTable
from npdata.sources.packed.packing import Packing, Packings

_DTYPES = (
    "np.save(path, array.astype(dtype)) writes rows in the dtype and byte order of the others, "
    "text in the widest of them"
)
_PACKINGS = "the same number means different things in them, so write them decoded"
_SHAPES = (
    "ragged='stacked' takes samples of different shapes that a transform= brings to one, "
    "ragged='list' gives each by itself in a batch, "
    "ragged='padded' pads those that differ in their first axis alone, npdata.stack(paths) makes "
    "each file a sample, and sum(npdata.NumpyDataset(path, axis=1) for path in paths) lays arrays "
    "end to end that differ along axis 1 alone"
)


@dataclass(frozen=True, eq=False)
class Parts:
    """What is laid end to end: `own[k]` is part k, the other parts the arrays of `table`, in order.

    There are `count` parts, at least one. Part k of `table` has recordings of `recordings[k]` rows,
    where that is known.
    """

    count: int
    table: FileTable
    own: Mapping[int, Source]
    recordings: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of_one(cls, source: Source) -> "Parts":
        """Take a source that is one part."""
        table = FileTable.of_mapped(source)
        if table is None:
            return cls(1, FileTable.joined([]), {0: source})
        return cls(1, table, {}, {0: source.recording_rows} if source.recording_rows else {})

    @classmethod
    def joined(cls, groups: "Sequence[Parts]") -> "Parts":
        """Lay parts of the same rows end to end."""
        *before, count = np.cumsum([0, *(group.count for group in groups)]).tolist()
        own: dict[int, Source] = {}
        recordings: dict[int, int] = {}
        for first, group in zip(before, groups, strict=True):
            own |= {first + k: source for k, source in group.own.items()}
            recordings |= {first + k: rows for k, rows in group.recordings.items()}
        return cls(count, FileTable.joined([group.table for group in groups]), own, recordings)

    @classmethod
    def of_files(cls, table: FileTable) -> "Parts":
        """Join the arrays in files; raises `FieldError` where their rows differ, by name."""
        _, firsts = np.unique(table.facts["kind"], return_index=True)
        require_alike((table.files[k], _held(table, k)) for k in np.sort(firsts).tolist())
        if table.kind(0).rest is None:
            raise FieldError(f"{table.files[0]} holds {_held(table, 0)}; each row needs an axis 0")
        fortran = np.array([kind.fortran for kind in table.kinds])[table.facts["kind"]]
        alone = fortran | (table.facts["offset"] < 0)
        own = {k: table.source(k) for k in np.flatnonzero(alone).tolist()}
        return cls(len(table), table.take(np.flatnonzero(~alone)) if own else table, own)

    @made_once
    def file(self) -> Ints:
        """The number in `table` of the file of each part, -1 where it is a source."""
        file = np.ones(self.count, np.int64)
        file[list(self.own)] = 0
        return np.where(file > 0, np.cumsum(file) - 1, -1)

    @made_once
    def lengths(self) -> Ints:
        """The rows of each part."""
        lengths = np.empty(self.count, np.int64)
        lengths[self.file >= 0] = self.table.facts["length"]
        lengths[list(self.own)] = [len(source) for source in self.own.values()]
        return lengths

    @made_once
    def kind(self) -> tuple[DType, tuple[int, ...]]:
        """The dtype of all rows, and their shape."""
        if 0 in self.own:
            return self.own[0].dtype, self.own[0].shape[1:]
        kind = self.table.kind(0)
        return kind.dtype, kind.rest or ()

    @property
    def packings(self) -> "list[Packing | Packings | None]":
        """What the numbers of each part stand for."""
        files = iter(self.table.packings)
        return [self.own[k].packings if k in self.own else next(files) for k in range(self.count)]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.count, self.table, dict(self.own), dict(self.recordings))


class Held(NamedTuple):
    """What a part holds, in words: parts of one field have the same."""

    dtype: str
    shape: str
    packed: str = ""

    @classmethod
    def rows(cls, shape: tuple[int, ...], dtype: DType) -> "Held":
        """Give what rows of this shape and dtype are called."""
        return cls(str(dtype), f"rows of {shape}")

    def __str__(self) -> str:
        return f"{self.shape} of {self.dtype}{self.packed}"

    def no_one_field_with(self, other: "Held") -> str:
        """Say what to do with parts that hold these, and cannot lie end to end.

        Examples:
            >>> mine, other = (Held(dtype, "rows of (3,)") for dtype in ("float32", "float64"))
            >>> mine.no_one_field_with(other)[:48]
            'they make no one field; np.save(path, array.asty'
        """
        compared = zip((_DTYPES, _SHAPES, _PACKINGS), self, other, strict=True)
        cures = (cure for cure, mine, its in compared if mine != its)
        return "; ".join(["they make no one field", *cures])


def _held(table: FileTable, number: int) -> Held:
    kind = table.kind(number)
    if kind.rest is None:
        return Held(f"{kind.dtype} and no rows", "one value")
    return Held.rows(kind.rest, kind.dtype)


def missing_of(parts: Iterable[Source]) -> int | None:
    """Give the number that stands for no value, that of the first part with one; None without."""
    return next((part.missing for part in parts if part.missing is not None), None)


def require_alike(parts: Iterable[tuple[str, Held]]) -> None:
    """Raise `FieldError` where parts hold different things: pairs of a name and what it holds."""
    (first, wanted), *others = parts
    for where, held in others:
        if held != wanted:
            cure = held.no_one_field_with(wanted)
            raise FieldError(f"{where} holds {held}, and {first} {wanted}; {cure}")


def require_row_kinds(parts: Iterable[Source]) -> None:
    """Raise `FieldError` where sources have rows of another shape or dtype, naming both."""
    require_alike((part.where, Held.rows(part.shape[1:], part.dtype)) for part in parts)


class _Kind(NamedTuple):
    """So many parts and rows, with the access and the details of the first of them."""

    parts: int
    rows: int
    access: Access
    details: Details


class Summary(NamedTuple):
    """The name of the first part, and the parts by the kind of their access, in order."""

    first: str
    kinds: dict[str, _Kind]

    @classmethod
    def one(
        cls, where: str, rows: int, access: Access, details: Details = (), *, parts: int = 1
    ) -> "Summary":
        """Summarise parts of `rows` rows together, the first of which is `where`."""
        return cls(where, {access.kind: _Kind(parts, rows, access, details)})

    @classmethod
    def joined(cls, summaries: Iterable["Summary"]) -> "Summary":
        """Summarise the parts of all, at least one."""
        first, kinds = "", dict[str, _Kind]()
        for each in summaries:
            first = first or each.first
            for name, kind in each.kinds.items():
                known = kinds.get(name, kind._replace(parts=0, rows=0))
                parts, rows = known.parts + kind.parts, known.rows + kind.rows
                kinds[name] = known._replace(parts=parts, rows=rows)
        return cls(first, kinds)

    def described(self) -> tuple[str, Access, Details]:
        """Give the name, how most rows are read, and the details of those parts."""
        most = max(self.kinds.values(), key=lambda kind: kind.rows)
        parts = sum(kind.parts for kind in self.kinds.values())
        counts = ", ".join(f"{kind.parts} {name}" for name, kind in self.kinds.items())
        reason = f"{parts} sources end to end ({counts}): {most.access.reason}"
        access = Access(kind=most.access.kind, reason=reason)
        return and_more(self.first, parts), access, most.details


def and_more(first: str, count: int) -> str:
    """Name `count` things by the first of them."""
    return f"{first} and {count - 1} more" if count > 1 else first
