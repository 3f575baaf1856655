"""What is known of one file among many: where the array in it lies, and what it is like.

Idea: a `.npy` header takes a few microseconds to read, and files written by one program have the
same one, so that each header is understood once. Members of `.npz` and HDF5 files that lie
uncompressed in their file are known in the same way; the others are read by a source of their own.
Invariant: every declared size was compared with the size of its file. It keeps no file open.
"""

import errno
import io
import os
import stat
from collections.abc import Sequence
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
from npdata.sources.file import READING, Descriptor, FileIdentity
from npdata.sources.formats import npy, npz
from npdata.sources.formats.foreign import refuse_foreign
from npdata.sources.formats.raw import RawFormat, open_raw
from npdata.sources.hdf5.file import HDF5_MAGIC
from npdata.sources.hdf5.open import open_datasets, open_hdf5, scalar
from npdata.sources.many_files.file_list import FileList
from npdata.sources.mapped import MappedSource, Place
from npdata.sources.memory import MemorySource
from npdata.sources.packed.packing import Packing
from npdata.sources.paths import require_file

INODE = (1 << 63) - 1
"""So much of an inode is kept: some file systems use all 64 bits."""
NOWHERE = -1
"""The offset of an array that has no place of its own in its file."""
ZIPPED = -2
"""The offset of an array that a `.npz` compresses."""
_FOLDER = "is a folder, and a file is needed"
_HEADER = 128
"""The bytes of a header as NumPy writes it, but for records and arrays of many axes."""


class Kind(NamedTuple):
    """What an array is like but for the length of axis 0; `rest` is None where it has no axis.

    `packing` is what its numbers stand for by the attributes of a dataset, `matlab` what MATLAB
    means by them.
    """

    dtype: DType
    rest: tuple[int, ...] | None
    fortran: bool
    packing: Packing | None = None
    matlab: str | None = None

    def shape(self, length: int) -> tuple[int, ...]:
        """Give the shape of an array of this kind with `length` rows."""
        return () if self.rest is None else (length, *self.rest)


class KnownFile(NamedTuple):
    """What is known of one file; `offset` is below 0 where its array has no place of its own."""

    inode: int
    size: int
    mtime_ns: int
    offset: int
    length: int
    kind: Kind


class OneValue(MemorySource):
    """The value of an array without axes, as the only row, of the file and member `where`.

    It lies from byte `offset` on in the file of `identity`, unless it has no place of its own.
    """

    def __init__(
        self,
        value: NDArray[Any],
        where: str,
        identity: FileIdentity | None = None,
        offset: int = NOWHERE,
    ) -> None:
        super().__init__(value.reshape(1))
        self.where = where
        self.identity = identity
        self.offset = offset


def look(files: FileList, number: int, raw: RawFormat | None, known: Any) -> KnownFile:
    """Look at one file; `known` remembers headers that were understood before."""
    if raw is not None or files.member(number) is not None:
        return known_of(open_alone(files, number, raw), os.fsdecode(files.path(number)))
    path = files.path(number)
    try:
        file = opened(path)
    except OSError as error:
        if error.errno == errno.ENXIO:  # it is a socket
            require_file(os.stat(path).st_mode, os.fsdecode(path), _FOLDER)  # noqa: PTH116
        raise
    with file as descriptor:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):  # else its path need not be text
            require_file(status.st_mode, os.fsdecode(path), _FOLDER)
        return _of_npy(descriptor, status, path, known)


def look_together(files: FileList, numbers: Sequence[int]) -> list[KnownFile] | None:
    """Look at several datasets of one HDF5 file, which is opened once.

    None where each is to be looked at by itself, which also says what is wrong with it.
    """
    path, members = os.fsdecode(files.path(numbers[0])), map(files.member, numbers)
    names = [name for name in members if name is not None]
    if len(names) < len(numbers):
        return None
    try:
        return [known_of(source, path) for source in open_datasets(path, names)]
    except (SourceError, OSError):
        return None


def _of_npy(descriptor: int, status: os.stat_result, path: bytes, known: Any) -> KnownFile:
    start = os.pread(descriptor, _HEADER, 0)
    if not start.startswith(npy.MAGIC):
        raise _no_npy(start, os.fsdecode(path))
    size = npy.header_size(start)
    if size > len(start) == _HEADER:
        start = os.pread(descriptor, size, 0)
    found = known.get(start[:size])
    if found is None:
        found = known[start[:size]] = _understood(start, os.fsdecode(path))
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


def _understood(start: bytes, where: str) -> tuple[Kind, int, int, int]:
    """Give what a header says: the kind, the length, and the bytes of the header and behind it."""
    header = npy.read_header(io.BytesIO(start), where, one_value=True)
    shape, fortran = header.shape, header.fortran and len(header.shape) > 1
    kind = Kind(header.dtype, shape[1:] if shape else None, fortran)
    return kind, shape[0] if shape else 1, header.size, header.data_bytes


def known_of(source: Source, path: str) -> KnownFile:
    """Give what a source that was opened for the file at `path` shows of it."""
    rest = None if isinstance(source, OneValue) else source.shape[1:]
    kind, offset = Kind(source.dtype, rest, False, source.packing, source.matlab), NOWHERE
    if isinstance(source, OneValue) and source.identity is not None:
        identity, offset = source.identity, source.offset
    elif isinstance(source, MappedSource):
        identity, place = source.file.identity, source.place
        of: dict[str, Any] = {"offset": place.offset, "dtype": place.dtype, "shape": place.shape}
        orders = [Place.contiguous(fortran=fortran, **of).strides for fortran in (False, True)]
        if place.strides in orders:
            kind = kind._replace(fortran=place.strides != orders[0])
            offset = place.offset
    else:
        identity = FileIdentity.of(path)
        offset = ZIPPED if isinstance(source, npz.DecodedMember) else NOWHERE
    inode, mtime_ns = identity.inode & INODE, identity.mtime_ns or 0
    return KnownFile(inode, identity.size, mtime_ns, offset, len(source), kind)


def open_alone(files: FileList, number: int, raw: RawFormat | None) -> Source:
    """Open the array of one file as a source of its own; one value is a row."""
    path, member = os.fsdecode(files.path(number)), files.member(number)
    if raw is not None:
        return open_raw(path, *raw)
    if member is None:
        return npy.open_npy(path)
    require_file(os.stat(path).st_mode, path, _FOLDER)  # noqa: PTH116  # a pipe waits for a writer
    with Path(path).open("rb") as stream:
        magic = stream.read(2)
    if magic == npy.MAGIC[:2]:
        raise npy.no_member(path, member)
    zipped = magic == npz.MAGIC
    try:
        return npz.find_member(path, member) if zipped else open_hdf5(path, member)
    except SourceError as error:
        value = (_value_of_zip if zipped else _number_of_hdf5)(path, member)
        if value is None:
            raise error from None
        return value


def _value_of_zip(path: str, member: str) -> OneValue | None:
    try:
        found = npz.value_of(path, member)
    except SourceError as error:
        raise error from None
    if found is None:
        return None
    offset = ZIPPED if found.offset is None else found.offset
    return OneValue(found.array, f"{path}::{member}", found.identity, offset)


def _number_of_hdf5(path: str, member: str) -> OneValue | None:
    try:
        value = scalar(path, member)
    except SourceError:
        return None
    array = np.asarray(value)
    if value is None or array.ndim:
        return None
    if array.dtype.kind not in "biufc":
        raise SourceError(
            f"{path}::{member} is one value that is no number, and of HDF5 files "
            "npdata.stack reads single numbers; of a label it makes one by label_from=, a "
            "function that opens the path and reads it"
        ) from None
    return OneValue(array, f"{path}::{member}")


def opened(path: bytes) -> Descriptor:
    """Open a file for reading, and wait for nobody; errors name it as text."""
    try:
        return Descriptor(os.open, path, READING)
    except OSError as error:
        error.filename = os.fsdecode(path)
        raise


def gone(path: bytes) -> ChangedFileError:
    """Give the error for a file that was there when it was looked at."""
    return ChangedFileError(f"{os.fsdecode(path)} is gone since it was opened; open it again")


def _no_npy(start: bytes, where: str) -> Exception:
    if not start:
        return TruncatedError(f"{where} is empty (0 bytes)")
    if start.startswith(npz.MAGIC):
        names = npz.npz_members(where)
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
    refuse_foreign(where)
    return FormatError(
        f"{where} begins with {start[:6]!r} and is neither .npy nor .npz nor HDF5; for raw "
        f"binary say what all files hold by both of dtype= and shape=: dtype='uint16', shape=(-1,)"
    )
