"""Members of a `.npz`: mapped in place where the zip stores them as they are, else decoded once.

Idea: a `.npz` is a zip of `.npy` files, and `np.savez` does not compress, so its rows lie in the
file like those of a `.npy`. A compressed member is decoded when it is opened, which also proves
its checksum, and again in each process that gets the source by pickle. Invariant: a header's size
is compared with the size of its member before memory is allocated. The checksum of a stored member
is not verified: that would read it all.
"""

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import RowTable
from npdata.errors import FormatError, MemberNotFoundError, TruncatedError, UnsupportedSourceError
from npdata.runtime.per_process import ForkSafeLock
from npdata.sources.base import Access, InPlaceSource, Source
from npdata.sources.file import File, FileIdentity
from npdata.sources.formats.foreign import foreign_zip
from npdata.sources.formats.npy import NpyHeader, read_header
from npdata.sources.formats.zip_members import (
    PIECE,
    data_start,
    directory_of,
    info_of,
    member_stream,
)
from npdata.sources.mapped import MappedSource

MAGIC = b"PK"
METHODS = {8: "deflate", 12: "bzip2", 14: "lzma", 93: "zstd"}


def npz_members(path: str) -> list[str]:
    """Name the arrays of the `.npz` at `path`, in the order of the file.

    Raises `FormatError` where it is no zip, or one of another kind.
    """
    names = [name.removesuffix(".npy") for name in directory_of(path).names]
    what = None if names else foreign_zip(path)
    if what is not None:
        raise FormatError(f"{path} is {what}")
    return names


def require_no_matrix(path: str, names: Collection[str]) -> None:
    """Raise `UnsupportedSourceError` where arrays of these names are one matrix of scipy."""
    if {"data", "shape", "format"} <= set(names):
        raise UnsupportedSourceError(
            f"{path} is a sparse matrix of scipy: with m = scipy.sparse.load_npz({path!r}).tocsr() "
            "give npdata.csr(m.data, m.indices, m.indptr, m.shape)"
        )


def require_name(path: str, member: str | None) -> None:
    """Raise `MemberNotFoundError`, with the names of all arrays, where none is named."""
    if member:
        return
    names = npz_members(path)
    if not names:
        raise MemberNotFoundError(f"{path} holds no array")
    require_no_matrix(path, names)
    known = ", ".join(map(repr, names))
    raise MemberNotFoundError(f"{path} holds named arrays: write {path}::NAME, with one of {known}")


def open_npz(path: str, member: str) -> Source:
    """Open one array of the `.npz` at `path`.

    Raises `MemberNotFoundError` (a KeyError), which lists the members that are there, and
    `FormatError` for a broken zip or member.
    """
    source = find_member(path, member)
    if isinstance(source, DecodedMember):
        source.table  # noqa: B018  # decoded now, so that a broken member shows at once
    return source


def find_member(path: str, member: str) -> "MappedSource | DecodedMember":
    """Open one array by its header, and decode none of its rows; raises as `open_npz`."""
    where = f"{path}::{member}"
    directory = directory_of(path)
    info = info_of(directory, path, member)
    if info.compress_type != zipfile.ZIP_STORED:
        with member_stream(path, info, where) as stream:
            header = _header(stream, info, where)
        return DecodedMember(path, directory.identity, info, header, where)
    file = File(path, directory.identity)
    with Path(path).open("rb") as stream:
        start = data_start(stream, info, where)
        stream.seek(start)
        header = _header(stream, info, where)
    reason = "the zip stores this member uncompressed, so its rows lie in the file"
    return MappedSource(file, header.place(start), reason, where)


def read_member(path: str, member: str, out: NDArray[Any]) -> bool:
    """Decode a member into `out`, C-contiguous; False where it has not the shape and dtype of that.

    Raises as `open_npz`.
    """
    where = f"{path}::{member}"
    info = info_of(directory_of(path), path, member)
    with member_stream(path, info, where, at_once=True) as stream:
        header = read_header(stream, where, one_value=True)
        if (header.shape, header.dtype) != (out.shape, out.dtype):
            return False
        array = np.empty_like(out, order="F") if header.fortran else out
        _fill(array, stream, where)
    if array is not out:
        out[...] = array
    return True


class Value(NamedTuple):
    """A member that has no axes; `offset` is where it lies in the file of `identity`.

    That is None where the zip compresses the member.
    """

    array: NDArray[Any]
    identity: FileIdentity
    offset: int | None


def value_of(path: str, member: str) -> Value | None:
    """Read a member that has no axes, None where it has rows; raises as `open_npz`."""
    where = f"{path}::{member}"
    directory = directory_of(path)
    info = info_of(directory, path, member)
    with member_stream(path, info, where) as stream:
        header = _header(stream, info, where, one_value=True)
        if header.shape:
            return None
        array = np.empty((), header.dtype)
        _fill(array, stream, where)
    offset = None
    if info.compress_type == zipfile.ZIP_STORED:
        with Path(path).open("rb") as file:
            offset = data_start(file, info, where) + header.size
    return Value(array, directory.identity, offset)


class DecodedMember(InPlaceSource):
    """The rows of a compressed member, held in memory once per process.

    `method` compressed them to `compressed_bytes`; `fortran` is their order.
    """

    def __init__(
        self,
        path: str,
        identity: FileIdentity,
        info: zipfile.ZipInfo,
        header: NpyHeader,
        where: str,
    ) -> None:
        """Take the member of `info` and `header` in the zip at `path`, the file of `identity`."""
        self.where = where
        self.access = Access(
            kind="decoded", reason="the zip compresses this member; it is decoded once per process"
        )
        self._spec = (str(Path(path).absolute()), identity, info, header, where)
        self._table: RowTable | None = None
        self._lock = ForkSafeLock()
        self.method = METHODS.get(info.compress_type, f"method {info.compress_type}")
        self.compressed_bytes = info.compress_size
        self.shape, self.dtype, self.fortran = header.shape, header.dtype, header.fortran

    @property
    def table(self) -> RowTable:
        """The decoded rows, writable memory of this process."""
        table = self._table
        if table is None:
            with self._lock.get():
                table = self._table
                if table is None:
                    table = self._table = RowTable.of(self._decode())
        return table

    def _decode(self) -> NDArray[Any]:
        path, identity, info, header, where = self._spec
        identity.require(FileIdentity.of(path), path)
        order = "F" if self.fortran else "C"
        array: NDArray[Any] = np.empty(self.shape, self.dtype, order)  # type: ignore[call-overload]
        try:
            with member_stream(path, info, where) as stream:
                stream.read(header.size)
                _fill(array, stream, where)
        finally:
            identity.require(FileIdentity.of(path), path)
        return array

    def close(self) -> None:
        """Drop the rows."""
        self._table = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._spec


def _fill(array: NDArray[Any], stream: BinaryIO, where: str) -> None:
    """Decode all of an array, in its own order, from where its data begin to the member's end."""
    target = memoryview(array.reshape(-1, order="A").view(np.uint8).data)
    filled = 0
    while filled < len(target):
        count = stream.readinto(target[filled : filled + PIECE])  # type: ignore[attr-defined]
        if count == 0:
            raise TruncatedError(
                f"{where} has {filled} bytes of data, not {len(target)}; it was cut short"
            )
        filled += count
    while stream.read(PIECE):  # to the end, where the checksum is compared
        pass


def _header(
    stream: BinaryIO, info: zipfile.ZipInfo, where: str, *, one_value: bool = False
) -> NpyHeader:
    """Read the header of a member; `TruncatedError` where it declares more than that holds."""
    header = read_header(stream, where, one_value=one_value)
    if header.size + header.data_bytes > info.file_size:
        raise TruncatedError(
            f"{where} declares {header.shape} of {header.dtype}, {header.data_bytes} bytes, but "
            f"the member has {info.file_size - header.size}; it was cut short, or its header lies"
        )
    return header
