"""What is known of many files before any row is read: where the array in each lies, and its shape.

Idea: a `.npy` header takes a few microseconds to read, and files written by one program have the
same one, so that each header is understood once; what differs fits into five numbers a file.
Invariant: every declared size was compared with the size of its file, and every file has its
identity (inode, size, time of change), by which a reader sees that it is still the same. Members of
`.npz` and HDF5 files that lie uncompressed in their file are known in the same way; for others
`offset` is -1, and they are read by their own source. It keeps no file open.
"""

import contextlib
import errno
import io
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.errors import (
    ChangedFileError,
    FormatError,
    MemberNotFoundError,
    SourceError,
    TruncatedError,
)
from npdata.sources.base import Source
from npdata.sources.file import FileIdentity
from npdata.sources.formats import npy, npz
from npdata.sources.formats.foreign import foreign_file
from npdata.sources.formats.npy import NpyHeader, read_header
from npdata.sources.formats.npz import npz_members
from npdata.sources.formats.raw import open_raw
from npdata.sources.hdf5 import open_hdf5
from npdata.sources.many_files.file_list import FileList, packed, unpacked
from npdata.sources.many_files.file_threads import for_each
from npdata.sources.many_files.one_value import OneValue, hdf5_value, npz_value
from npdata.sources.mapped import MappedSource, Place
from npdata.sources.packed.packing import Packing

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_NO_WAIT = os.O_NONBLOCK  # to open a pipe would wait for whoever writes into it
_HEADER = 128
_PART = 512
UNKNOWN = -1
ONE_DTYPE = "all files of a field hold one dtype"
INODE = (1 << 63) - 1
"""So much of an inode is kept: some file systems use all 64 bits."""


class Kind(NamedTuple):
    """What an array is like but for the length of axis 0; `rest` is None where it has no axis.

    `packing` is what its numbers stand for by the attributes of a dataset.
    """

    dtype: DType
    rest: tuple[int, ...] | None
    fortran: bool
    packing: Packing | None = None

    def shape(self, length: int) -> tuple[int, ...]:
        """Give the shape of an array of this kind with `length` rows."""
        return () if self.rest is None else (length, *self.rest)


class RawFormat(NamedTuple):
    """What raw files hold, as in `NumpyDataset.from_raw`."""

    dtype: Any
    shape: int | tuple[int, ...]
    offset: int


class KnownFile(NamedTuple):
    """What is known of one file; `offset` is -1 where its array has no place of its own."""

    inode: int
    size: int
    mtime_ns: int
    offset: int
    length: int
    kind: Kind


@dataclass(frozen=True, kw_only=True, eq=False)
class FileTable:
    """The facts of all `files`, as int64 arrays with one entry per file.

    `kind[k]` is the place in `kinds`. Where a file was not looked at yet, `size[k]` is -1, and the
    rest holds what is expected of it.
    """

    files: FileList
    inode: NDArray[np.int64]
    size: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    kind: NDArray[np.int32]
    kinds: tuple[Kind, ...]

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
            return cls._of(files, numbers, kinds)
        known: dict[bytes, Any] = {}

        def looked(number: int) -> KnownFile:
            return look(files, number, raw, known)

        done = []
        for first in range(0, len(files), _PART):
            part = range(first, min(first + _PART, len(files)))
            # h5py does one thing at a time.
            facts = list(map(looked, part)) if files.has_members else for_each(looked, part)
            done.append(_numbers(facts, kinds))
        return cls._of(files, np.concatenate(done, axis=1), kinds)

    @classmethod
    def _of(
        cls, files: FileList, numbers: NDArray[np.int64], kinds: dict[Kind, int]
    ) -> "FileTable":
        *columns, kind = numbers.copy()
        named = dict(zip(_COLUMNS, columns, strict=True))
        return cls(files=files, kind=kind.astype(np.int32), kinds=tuple(kinds), **named)

    @classmethod
    def of_mapped(cls, source: Source) -> "FileTable | None":
        """Give a source that is one run of rows in a file, as a table of it; None for others."""
        if type(source) is not MappedSource:
            return None
        path, identity, _ = source.stored
        facts = _known_of(source, path)
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
        return self._of(self.files.take(numbers.tolist()), columns, dict.fromkeys(self.kinds, 0))

    def __len__(self) -> int:
        return len(self.files)

    def known(self, numbers: NDArray[np.int64]) -> list[tuple[int, ...]]:
        """Give number, inode, size, mtime_ns, offset and the place in `kinds` of these files.

        All at once: a number taken after a file was read is no longer in the processor's cache.
        """
        columns = self.inode, self.size, self.mtime_ns, self.offset, self.kind
        each = (column[numbers].tolist() for column in columns)
        return list(zip(numbers.tolist(), *each, strict=True))

    def identity(self, number: int) -> FileIdentity:
        """Give what file `number` was when it was looked at; its device is not kept."""
        return FileIdentity(
            device=0,
            inode=int(self.inode[number]),
            size=int(self.size[number]),
            mtime_ns=int(self.mtime_ns[number]),
        )

    def require(self, number: int, now: os.stat_result) -> None:
        """Raise `ChangedFileError` unless `now` is file `number` as it was looked at."""
        if (
            now.st_size != self.size[number]
            or now.st_mtime_ns != self.mtime_ns[number]
            or now.st_ino & INODE != self.inode[number]
        ):
            found = FileIdentity(
                device=0, inode=now.st_ino & INODE, size=now.st_size, mtime_ns=now.st_mtime_ns
            )
            self.identity(number).require(found, self.name(number))

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

    def source(self, number: int, raw: RawFormat | None = None) -> Source:
        """Open the array of file `number` as a source of its own."""
        return _opened_alone(self.files, number, raw)

    def __reduce__(self) -> tuple[Any, ...]:
        columns: list[NDArray[Any]] = [*self._columns, self.kind]
        return _unpickled, (self.files, self.kinds, *map(packed, columns))

    @property
    def _columns(self) -> list[NDArray[np.int64]]:
        return [getattr(self, name) for name in _COLUMNS]


_COLUMNS = KnownFile._fields[:-1]


def _unpickled(files: FileList, kinds: tuple[Kind, ...], *columns: Any) -> FileTable:
    numbers = np.stack([unpacked(column) for column in columns])
    return FileTable._of(files, numbers, dict.fromkeys(kinds, 0))


def _numbers(facts: list[KnownFile], kinds: dict[Kind, int]) -> NDArray[np.int64]:
    """Give the facts as columns, with the place of each kind in `kinds`, which grows."""
    rows = [(*each[:5], kinds.setdefault(each.kind, len(kinds))) for each in facts]
    return np.array(rows, np.int64).T


def look(files: FileList, number: int, raw: RawFormat | None, known: Any) -> KnownFile:
    """Look at one file; `known` remembers headers that were understood before."""
    if raw is not None or files.member(number) is not None:
        return _known_of(_opened_alone(files, number, raw), os.fsdecode(files.path(number)))
    path = files.path(number)
    descriptor = opened(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(path, status)
        return _of_npy(descriptor, status, path, known)
    finally:
        os.close(descriptor)


def _of_npy(descriptor: int, status: os.stat_result, path: bytes, known: Any) -> KnownFile:
    """Understand the header of an open `.npy`."""
    start = os.pread(descriptor, _HEADER, 0)
    found = known.get(start[: 10 + start[8] + 256 * start[9]]) if len(start) > 9 else None
    if found is None:
        found = _understood(descriptor, start, path, known)
    kind, length, offset, nbytes = found
    if status.st_size < offset + nbytes:
        raise TruncatedError(
            f"{os.fsdecode(path)} declares {kind.shape(length)} of {kind.dtype}, bytes {offset} to "
            f"{offset + nbytes}, but it has {status.st_size} bytes; it was cut short, or its "
            f"header lies"
        )
    if status.st_size > offset + nbytes:
        npy.require_last(descriptor, offset + nbytes, os.fsdecode(path))
    return KnownFile(
        status.st_ino & INODE, status.st_size, status.st_mtime_ns, offset, length, kind
    )


def _understood(
    descriptor: int, start: bytes, path: bytes, known: Any
) -> tuple[Kind, int, int, int]:
    where = os.fsdecode(path)
    if not start.startswith(npy.MAGIC):
        raise _no_npy(start, where)
    if len(start) == _HEADER:
        start = os.pread(descriptor, npy.LONGEST_HEADER + 12, 0)
    header = read_header(io.BytesIO(start), where, one_value=True)
    found = (_kind(header), header.shape[0] if header.shape else 1, header.size, header.data_bytes)
    known[start[: header.size]] = found
    return found


def _kind(header: NpyHeader) -> Kind:
    fortran = header.fortran and len(header.shape) > 1
    return Kind(header.dtype, header.shape[1:] if header.shape else None, fortran)


def _known_of(source: Source, path: str) -> KnownFile:
    rest = None if isinstance(source, OneValue) else source.shape[1:]
    kind, offset = Kind(source.dtype, rest, False, source.packing), UNKNOWN
    if isinstance(source, MappedSource):
        _, identity, place = source.stored
        of: dict[str, Any] = {"offset": place.offset, "dtype": place.dtype, "shape": place.shape}
        orders = [Place.contiguous(fortran=fortran, **of).strides for fortran in (False, True)]
        if place.strides in orders:
            kind = kind._replace(fortran=place.strides != orders[0])
            offset = place.offset
    else:
        identity = FileIdentity.of(path)
    inode, mtime_ns = identity.inode & INODE, identity.mtime_ns or 0
    return KnownFile(inode, identity.size, mtime_ns, offset, len(source), kind)


def _opened_alone(files: FileList, number: int, raw: RawFormat | None) -> Source:
    path, member = os.fsdecode(files.path(number)), files.member(number)
    if raw is not None:
        return open_raw(path, *raw)
    if member is None:
        return npy.open_npy(path)
    with Path(path).open("rb") as stream:
        magic = stream.read(2)
    if magic == npy.MAGIC[:2]:
        raise MemberNotFoundError(f"{path} is a .npy of one array and has no {member!r}")
    zipped = magic == npz.MAGIC
    try:
        return npz.examine_npz(path, member).source if zipped else open_hdf5(path, member)
    except SourceError as error:
        value = None
        with contextlib.suppress(OSError, ValueError, KeyError):
            value = npz_value(path, member) if zipped else hdf5_value(path, member)
        if value is None:
            raise error from None
        return value


def opened(path: bytes) -> int:
    """Open a file for reading, and wait for nobody; errors name it as text."""
    try:
        return os.open(path, os.O_RDONLY | _NO_WAIT)
    except OSError as error:
        error.filename = os.fsdecode(path)
        raise


def _not_regular(path: bytes, status: os.stat_result) -> Exception:
    """Give the error for what is no file."""
    where = os.fsdecode(path)
    if stat.S_ISDIR(status.st_mode):
        return IsADirectoryError(errno.EISDIR, "is a folder, and a file is needed", where)
    return FormatError(f"{where} is a pipe or a device; copy what it gives into a file first")


def gone(path: bytes) -> ChangedFileError:
    """Give the error for a file that was there when it was looked at."""
    return ChangedFileError(f"{os.fsdecode(path)} is gone since it was opened; open it again")


def _no_npy(start: bytes, where: str) -> Exception:
    if not start:
        return TruncatedError(f"{where} is empty (0 bytes)")
    if start.startswith(npz.MAGIC):
        names = npz_members(where)
        example = f"as '*{Path(where).suffix}::{names[0] if names else 'NAME'}'"
        listed = ", ".join(map(repr, names))
        return MemberNotFoundError(
            f"{where} is a .npz; name one of its arrays behind the files, {example}, of {listed}"
        )
    if start.startswith(HDF5_MAGIC):
        return MemberNotFoundError(
            f"{where} is HDF5; name one of its datasets behind the files, as "
            f"'*{Path(where).suffix}::NAME', or take all of one file, as "
            f"'{Path(where).name}::*'; `npdata inspect` lists them"
        )
    if npy.MAGIC.startswith(start):
        return TruncatedError(f"{where} ends inside its .npy header; it was cut short")
    what = foreign_file(where)
    if what is not None:
        return FormatError(f"{where} is {what}")
    return FormatError(
        f"{where} begins with {start[:6]!r} and is neither .npy nor .npz nor HDF5; for raw "
        f"binary say what all files hold: dtype=..., shape=..."
    )
