"""What sources laid end to end are made of: parts in files, and parts that read their own rows.

Idea: a part whose rows lie as they are in a file is a few numbers in a table, and no object of its
own; so 100,000 files are six arrays. Invariant: all parts have rows of one shape and dtype. It
reads no row.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.errors import FieldError
from npdata.sources.base import Source
from npdata.sources.many_files.file_list import packed, unpacked
from npdata.sources.many_files.file_table import FileTable, RawFormat
from npdata.sources.mapped import MappedSource


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What is laid end to end: `lengths` rows each, of shape `row_shape` and of `dtype`.

    Part k lies in file `file[k]` of `table`; where that is -1, it is `own[k]`.
    """

    lengths: NDArray[np.int64]
    row_shape: tuple[int, ...]
    dtype: DType
    table: FileTable
    file: NDArray[np.int64]
    own: Mapping[int, Source]

    @classmethod
    def of_one(cls, source: Source) -> "Parts":
        """Take a source that is one part."""
        table = FileTable.of_mapped(source) if type(source) is MappedSource else None
        return cls(
            lengths=np.array([len(source)], np.int64),
            row_shape=source.shape[1:],
            dtype=source.dtype,
            table=FileTable.joined([]) if table is None else table,
            file=np.array([-1 if table is None else 0]),
            own={} if table is not None else {0: source},
        )

    @classmethod
    def joined(cls, groups: "Sequence[Parts]") -> "Parts":
        """Lay parts of the same rows end to end."""
        counts = np.cumsum([0, *(len(group.lengths) for group in groups)]).tolist()
        files = np.cumsum([0, *(len(group.table) for group in groups)]).tolist()
        return cls(
            lengths=np.concatenate([group.lengths for group in groups]),
            row_shape=groups[0].row_shape,
            dtype=groups[0].dtype,
            table=FileTable.joined([group.table for group in groups]),
            file=np.concatenate(
                [
                    np.where(group.file < 0, -1, group.file + before)
                    for group, before in zip(groups, files, strict=False)
                ]
            ),
            own={
                k + before: source
                for group, before in zip(groups, counts, strict=False)
                for k, source in group.own.items()
            },
        )

    @classmethod
    def of_files(cls, table: FileTable, raw: RawFormat | None = None) -> "Parts":
        """Join the arrays in files; raises `FieldError` where their rows differ, by name."""
        first = table.kinds[table.kind[0]]
        for code, kind in enumerate(table.kinds):
            if kind.rest is None or (kind.dtype, kind.rest) != (first.dtype, first.rest):
                number = int(np.flatnonzero(table.kind == code)[0])
                rows = "one value and no rows" if kind.rest is None else f"rows of {kind.rest}"
                raise FieldError(
                    f"{table.files[number]} holds {rows} of {kind.dtype}, and {table.files[0]} "
                    f"rows of {first.rest} of {first.dtype}; they make no one field"
                )
        fortran = np.array([kind.fortran for kind in table.kinds])[table.kind]
        alone = np.flatnonzero(fortran | (table.offset < 0))
        file = np.arange(len(table))
        file[alone] = -1
        return cls(
            lengths=table.length,
            row_shape=first.rest or (),
            dtype=first.dtype,
            table=table,
            file=file,
            own={k: table.source(k, raw) for k in alone.tolist()},
        )

    @property
    def row_bytes(self) -> int:
        """The bytes of a row."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle numbers and names; own parts as they pickle themselves."""
        spec = (self.row_shape, self.dtype, self.table, dict(self.own))
        return _unpickled, (packed(self.lengths), packed(self.file), *spec)


def _unpickled(
    lengths: Any,
    file: Any,
    row_shape: tuple[int, ...],
    dtype: DType,
    table: FileTable,
    own: dict[int, Source],
) -> Parts:
    return Parts(
        lengths=unpacked(lengths),
        row_shape=row_shape,
        dtype=dtype,
        table=table,
        file=unpacked(file),
        own=own,
    )


def require_alike(sources: Sequence[Source]) -> None:
    """Raise `FieldError` where the rows of sources differ, naming both."""
    first = sources[0]
    for part in sources[1:]:
        if (part.shape[1:], part.dtype) != (first.shape[1:], first.dtype):
            raise FieldError(
                f"rows of {first.where} are {first.shape[1:]} of {first.dtype}, those of "
                f"{part.where} are {part.shape[1:]} of {part.dtype}; they make no one field"
            )
