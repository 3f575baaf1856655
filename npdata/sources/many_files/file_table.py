"""What is known of many files before any row is read: where the array in each lies, and its shape.

Idea: what differs from file to file (`known_file`) fits into five numbers, so that all of it is a
few arrays. Invariant: every file has its identity (inode, size, time of change), by which a reader
sees that it is still the same. Files of one shape are rows, and others arrays of their own: that is
for sources to say.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.runtime.keep_at_once import keep_at_once
from npdata.sources.base import Source
from npdata.sources.file import READING, FileIdentity
from npdata.sources.formats.raw import RawFormat
from npdata.sources.many_files.file_list import FileList, compressed, decompressed
from npdata.sources.many_files.file_threads import for_each
from npdata.sources.many_files.known_file import (
    INODE,
    Kind,
    KnownFile,
    gone,
    known_of,
    look,
    look_together,
    open_alone,
)
from npdata.sources.mapped import MappedSource
from npdata.sources.packed.packing import Packing

_PART = 512
"""So many files are looked at before what is known of them becomes numbers."""
UNKNOWN = -1
"""The size of a file that was not looked at yet."""
ONE_DTYPE = (
    "all files of a field hold one dtype and byte order, as np.save(path, array.astype(dtype)) "
    "writes them"
)


FACTS = np.dtype([(name, np.int64) for name in KnownFile._fields])
"""What is known of a file, as numbers; that of its kind is its place in `FileTable.kinds`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FileTable:
    """The `facts` of all `files`, one entry of `FACTS` each.

    Where a file was not looked at yet, its size is -1, and the rest holds what is expected of it.
    `raw` is what they hold where they are raw.
    """

    files: FileList
    facts: NDArray[Any]
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
            facts = np.repeat(_facts([look(files, 0, raw, {})], kinds), len(files))
            facts["size"][1:] = UNKNOWN
            return cls(files=files, facts=facts, kinds=tuple(kinds), raw=raw)
        known: dict[bytes, Any] = {}

        def looked(number: int) -> KnownFile:
            return look(files, number, raw, known)

        done = []
        for first in range(0, len(files), _PART):
            part = range(first, min(first + _PART, len(files)))
            if not files.has_members:
                done.append(_facts(for_each(looked, part), kinds))
                continue
            members: list[KnownFile] = []
            for _, run in groupby(part, files.path):  # one by one, as h5py reads
                same = list(run)
                several = raw is None and len(same) > 1
                found = look_together(files, same) if several else None
                members += found or map(looked, same)
            done.append(_facts(members, kinds))
        return cls(files=files, facts=np.concatenate(done), kinds=tuple(kinds), raw=raw)

    @classmethod
    def of_mapped(cls, source: Source) -> "FileTable | None":
        """Give a source that is one run of rows in a file, as a table of it; None for others."""
        if type(source) is not MappedSource:
            return None
        file = source.file
        known = known_of(source, file.path)
        if known.offset < 0 or known.kind.fortran or file.identity.mtime_ns is None:
            return None
        return cls(files=FileList.of([file.path]), facts=_facts([known], {}), kinds=(known.kind,))

    @classmethod
    def joined(cls, tables: "Sequence[FileTable]") -> "FileTable":
        """Lay tables end to end."""
        tables = [table for table in tables if len(table)]
        if len(tables) == 1:
            return tables[0]
        kinds: dict[Kind, int] = {}
        facts = [np.zeros(0, FACTS)]
        for table in tables:
            codes = np.array([kinds.setdefault(kind, len(kinds)) for kind in table.kinds])
            facts.append(table.facts.copy())
            facts[-1]["kind"] = codes[table.facts["kind"]]
        files = FileList.of([t.name(k) for t in tables for k in range(len(t))])
        return cls(files=files, facts=np.concatenate(facts), kinds=tuple(kinds))

    def take(self, numbers: Ints) -> "FileTable":
        """Give the files of these numbers."""
        files = self.files.take(numbers.tolist())
        return FileTable(files=files, facts=self.facts[numbers], kinds=self.kinds)

    def __len__(self) -> int:
        return len(self.files)

    def require(self, number: int, now: os.stat_result) -> None:
        """Raise `ChangedFileError` unless `now` is file `number` as it was looked at."""
        seen = now.st_ino & INODE, now.st_size, now.st_mtime_ns
        kept = self.facts.item(number)[:3]
        if seen != kept:
            _identity(*kept).require(_identity(*seen), self.name(number))

    def check(self, number: int) -> None:
        """Raise `ChangedFileError` unless file `number` is as it was looked at."""
        path = self.files.path(number)
        try:
            now = os.stat(path)  # noqa: PTH116
        except FileNotFoundError:
            raise gone(path) from None
        self.require(number, now)

    @contextlib.contextmanager
    def opened(self, number: int) -> Iterator[int]:
        """Open file `number` for a while; `ChangedFileError` where it is gone or has changed."""
        held: list[int] = []
        try:
            yield keep_at_once(held, os.open, self.files.path(number), READING)
        except OSError as error:
            self.require_read(number, held, error)
            raise
        finally:
            for each in held:
                os.close(each)

    def require_read(self, number: int, held: list[int], error: OSError) -> None:
        """Raise `ChangedFileError` where a file is no longer what it was; else name it.

        `error` came of opening or reading it, and `held` has its descriptor if it is open. What is
        a folder or a pipe by now cannot be read, and a socket not even opened.
        """
        if held:
            self.require(number, os.fstat(held[0]))
        elif isinstance(error, FileNotFoundError) or error.errno == errno.ENXIO:
            self.check(number)
        error.filename = self.name(number)

    def name(self, number: int) -> str:
        """Give the absolute path of file `number`, as text."""
        return os.fsdecode(self.files.path(number))

    @property
    def packings(self) -> list[Packing | None]:
        """What the numbers in each file stand for."""
        kinds = [kind.packing for kind in self.kinds]
        return [kinds[code] for code in self.facts["kind"].tolist()]

    def shape(self, number: int) -> tuple[int, ...]:
        """Give the shape of the array in file `number`."""
        return self.kind(number).shape(int(self.facts["length"][number]))

    def kind(self, number: int) -> Kind:
        """Give what the array in file `number` is like."""
        kind: Kind = self.kinds[self.facts["kind"][number]]
        return kind

    def source(self, number: int) -> Source:
        """Open the array of file `number` as a source of its own."""
        return open_alone(self.files, number, self.raw)

    def __reduce__(self) -> tuple[Any, ...]:
        columns = [compressed(self.facts[name]) for name in KnownFile._fields]
        return _unpickled, (self.files, self.kinds, self.raw, *columns)


def _unpickled(
    files: FileList, kinds: tuple[Kind, ...], raw: RawFormat | None, *columns: Any
) -> FileTable:
    facts = np.empty(len(files), FACTS)
    for name, column in zip(KnownFile._fields, columns, strict=True):
        facts[name] = decompressed(column)
    return FileTable(files=files, facts=facts, kinds=kinds, raw=raw)


def _identity(inode: int, size: int, mtime_ns: int) -> FileIdentity:
    """Give the identity of a file, of which the device is not kept."""
    return FileIdentity(device=0, inode=inode, size=size, mtime_ns=mtime_ns)


def _facts(known: list[KnownFile], kinds: dict[Kind, int]) -> NDArray[Any]:
    """Give what is known as `FACTS`, with the place of each kind in `kinds`, which grows."""
    return np.array([(*k[:5], kinds.setdefault(k.kind, len(kinds))) for k in known], FACTS)
