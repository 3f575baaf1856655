"""What is known of many files before any row is read: where the array in each lies, and its shape.

Idea: what differs from file to file (`known_file`) fits into five numbers, so that all of it is a
few arrays. Invariant: every file has its identity (inode, size, time of change), by which a reader
sees that it is still the same. Files of one shape are rows, and others arrays of their own: that is
for sources to say.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.sources.base import Source
from npdata.sources.file import FileIdentity
from npdata.sources.formats.raw import RawFormat
from npdata.sources.many_files.file_list import FileList, compressed, decompressed
from npdata.sources.many_files.file_threads import for_each
from npdata.sources.many_files.known_file import (
    INODE,
    Kind,
    KnownFile,
    known_of,
    look,
    look_together,
    open_alone,
)
from npdata.sources.mapped import MappedSource
from npdata.sources.packed.packing import Packing

_PART = 512
UNKNOWN = -1
"""The size of a file that was not looked at yet."""
ONE_DTYPE = (
    "all files of a field hold one dtype and byte order, as np.save(path, array.astype(dtype)) "
    "writes them"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FileTable:
    """The facts of all `files`, as int64 arrays with one entry per file.

    `kind[k]` is the place in `kinds`. Where a file was not looked at yet, `size[k]` is -1, and the
    rest holds what is expected of it. `raw` is what they hold where they are raw.
    """

    files: FileList
    inode: NDArray[np.int64]
    size: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    kind: NDArray[np.int32]
    kinds: tuple[Kind, ...]
    raw: RawFormat | None = None

    @classmethod
    def of(
        cls, files: FileList, raw: RawFormat | None = None, *, first_only: bool = False
    ) -> "FileTable":
        """Look at all files, or at the first and expect the others to be like it.

        Raises `FormatError`, `TruncatedError`, `MemberNotFoundError` and OSError, with the file.
        """
        kinds: dict[Kind, int] = {}
        if first_only:
            numbers = np.repeat(_numbers([look(files, 0, raw, {})], kinds), len(files), axis=1)
            numbers[1, 1:] = UNKNOWN
            return cls._of(files, numbers, kinds, raw)
        known: dict[bytes, Any] = {}

        def looked(number: int) -> KnownFile:
            return look(files, number, raw, known)

        done = []
        for first in range(0, len(files), _PART):
            part = range(first, min(first + _PART, len(files)))
            if not files.has_members:
                done.append(_numbers(for_each(looked, part), kinds))
                continue
            for _, run in groupby(part, files.path):  # one by one, as h5py reads
                same = list(run)
                several = raw is None and len(same) > 1
                facts = look_together(files, same) if several else None
                done.append(_numbers(facts or list(map(looked, same)), kinds))
        return cls._of(files, np.concatenate(done, axis=1), kinds, raw)

    @classmethod
    def _of(
        cls,
        files: FileList,
        numbers: NDArray[np.int64],
        kinds: Iterable[Kind],
        raw: RawFormat | None = None,
    ) -> "FileTable":
        *columns, kind = numbers.copy()
        named = dict(zip(_COLUMNS, columns, strict=True))
        return cls(files=files, kind=kind.astype(np.int32), kinds=tuple(kinds), raw=raw, **named)

    @classmethod
    def of_mapped(cls, source: Source) -> "FileTable | None":
        """Give a source that is one run of rows in a file, as a table of it; None for others."""
        if type(source) is not MappedSource:
            return None
        path, identity, _ = source.stored
        facts = known_of(source, path)
        if facts.offset < 0 or facts.kind.fortran or identity.mtime_ns is None:
            return None
        kinds: dict[Kind, int] = {}
        return cls._of(FileList.of([path]), _numbers([facts], kinds), kinds)

    @classmethod
    def joined(cls, tables: "Sequence[FileTable]") -> "FileTable":
        """Lay tables end to end."""
        tables = [table for table in tables if len(table)]
        if len(tables) == 1:
            return tables[0]
        kinds: dict[Kind, int] = {}
        columns = [np.zeros((6, 0), np.int64)]
        for table in tables:
            codes = np.array([kinds.setdefault(kind, len(kinds)) for kind in table.kinds])
            columns.append(np.stack([*table._columns, codes[table.kind]]))
        files = FileList.of([t.name(k) for t in tables for k in range(len(t))])
        return cls._of(files, np.concatenate(columns, axis=1), kinds)

    def take(self, numbers: NDArray[np.int64]) -> "FileTable":
        """Give the files of these numbers."""
        columns = np.stack([*self._columns, self.kind])[:, numbers]
        return self._of(self.files.take(numbers.tolist()), columns, self.kinds)

    def __len__(self) -> int:
        return len(self.files)

    def known(self, numbers: NDArray[np.int64]) -> list[tuple[int, ...]]:
        """Give number, inode, size, mtime_ns, offset and the place in `kinds` of these files.

        All at once: a number taken after a file was read is no longer in the processor's cache.
        """
        columns = self.inode, self.size, self.mtime_ns, self.offset, self.kind
        each = (column[numbers].tolist() for column in columns)
        return list(zip(numbers.tolist(), *each, strict=True))

    def require(self, number: int, now: os.stat_result) -> None:
        """Raise `ChangedFileError` unless `now` is file `number` as it was looked at."""
        seen = now.st_ino & INODE, now.st_size, now.st_mtime_ns
        kept = int(self.inode[number]), int(self.size[number]), int(self.mtime_ns[number])
        if seen != kept:
            _identity(*kept).require(_identity(*seen), self.name(number))

    def require_read(self, number: int, descriptor: int, error: OSError) -> None:
        """Raise `ChangedFileError` where an open file is no longer what it was; else name it.

        `error` came of reading it; what is a folder or a pipe by now cannot be read.
        """
        self.require(number, os.fstat(descriptor))
        error.filename = self.name(number)

    def name(self, number: int) -> str:
        """Give the absolute path of file `number`, as text."""
        return os.fsdecode(self.files.path(number))

    @property
    def packings(self) -> list[Packing | None]:
        """What the numbers in each file stand for."""
        kinds = [kind.packing for kind in self.kinds]
        return [kinds[code] for code in self.kind.tolist()]

    def shape(self, number: int) -> tuple[int, ...]:
        """Give the shape of the array in file `number`."""
        kind: Kind = self.kinds[self.kind[number]]
        return kind.shape(int(self.length[number]))

    def source(self, number: int) -> Source:
        """Open the array of file `number` as a source of its own."""
        return open_alone(self.files, number, self.raw)

    def __reduce__(self) -> tuple[Any, ...]:
        columns: list[NDArray[Any]] = [*self._columns, self.kind]
        return _unpickled, (self.files, self.kinds, self.raw, *map(compressed, columns))

    @property
    def _columns(self) -> list[NDArray[np.int64]]:
        return [getattr(self, name) for name in _COLUMNS]


_COLUMNS = KnownFile._fields[:-1]


def _unpickled(
    files: FileList, kinds: tuple[Kind, ...], raw: RawFormat | None, *columns: Any
) -> FileTable:
    return FileTable._of(files, np.stack([decompressed(column) for column in columns]), kinds, raw)


def _identity(inode: int, size: int, mtime_ns: int) -> FileIdentity:
    """Give the identity of a file, of which the device is not kept."""
    return FileIdentity(device=0, inode=inode, size=size, mtime_ns=mtime_ns)


def _numbers(facts: list[KnownFile], kinds: dict[Kind, int]) -> NDArray[np.int64]:
    """Give the facts as columns, with the place of each kind in `kinds`, which grows."""
    rows = [(*each[:5], kinds.setdefault(each.kind, len(kinds))) for each in facts]
    return np.array(rows, np.int64).T
