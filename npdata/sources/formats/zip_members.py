"""The arrays of a zip: what it holds, where each lies in the file, and their bytes.

Idea: what a zip holds is read once for all its members, and remembered for the zips that were read
last. Invariant: a member lies where the directory says, and what was decompressed to its end has
the checksum of the directory.
"""

import lzma
import struct
import time
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO, NamedTuple, cast

from npdata.errors import FormatError, MemberNotFoundError
from npdata.runtime.per_process import ForkSafeLock
from npdata.sources.file import SETTLED_NS, FileIdentity
from npdata.sources.paths import require_regular

DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
PIECE = 1 << 20
MOST_MEMBERS = 1 << 14
"""So many members of the zips that were read last are remembered, which takes some 10 MB."""
LOCAL_HEADER = struct.Struct("<4s2xH18xHH")
UTF8 = 0x800
"""The flag of a name that is UTF-8."""


class Directory(NamedTuple):
    """The arrays of a zip: their names as they are stored, in order, and what it says of each."""

    identity: FileIdentity
    names: tuple[str, ...]
    infos: dict[str, zipfile.ZipInfo]


class _Directories:
    """The directories of the zips that were read last, at least of one.

    To read that of 3,000 members takes 8 ms. Where each sample is a file, each field would read it
    again: an epoch of 1,000 compressed images and labels takes 150 ms, and 400 without this and
    without decompressing members `at_once`.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, FileIdentity], Directory] = OrderedDict()
        self._members = 0
        self._lock = ForkSafeLock()

    def get(self, path: str, identity: FileIdentity) -> Directory:
        """Give the directory of the zip at `path`, which is the file of `identity`."""
        with self._lock.get():
            found = self._known.get((path, identity))
        return self._add(path, _read_directory(path, identity)) if found is None else found

    def _add(self, path: str, directory: Directory) -> Directory:
        with self._lock.get():
            before = self._known.pop((path, directory.identity), None)
            self._known[path, directory.identity] = directory
            self._members += len(directory.names) - (0 if before is None else len(before.names))
            while self._members > MOST_MEMBERS and len(self._known) > 1:
                _, oldest = self._known.popitem(last=False)
                self._members -= len(oldest.names)
        return directory


_directories = _Directories()


def directory_of(path: str) -> Directory:
    """Give what the zip at `path` holds; raises `FormatError` where it is none."""
    require_regular(path)
    identity = FileIdentity.of(path)
    if time.time_ns() - (identity.mtime_ns or 0) < SETTLED_NS:
        return _read_directory(path, identity)
    return _directories.get(path, identity)


def _read_directory(path: str, identity: FileIdentity) -> Directory:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [each for each in archive.infolist() if each.filename.endswith(".npy")]
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # the system refused to open it
        raise FormatError(f"{path} is no readable .npz: {error}; it may be cut short") from error
    identity.require(FileIdentity.of(path), path)
    names = tuple(each.filename for each in infos)
    return Directory(identity, names, dict(zip(names, infos, strict=True)))


@contextmanager
def member_stream(
    path: str, info: zipfile.ZipInfo, where: str, *, at_once: bool = False
) -> Iterator[BinaryIO]:
    """Open a member to be read; decompress a small one `at_once`, where all of it is needed."""
    with open(path, "rb") as file:  # noqa: PTH123  # a Path takes a tenth of a small member
        file.seek(data_start(file, info, where))
        try:
            small = max(info.compress_size, info.file_size) <= PIECE
            if at_once and small and info.compress_type == zipfile.ZIP_DEFLATED:
                yield BytesIO(_inflated(file.read(info.compress_size), info))
                return
            with zipfile.ZipExtFile(file, "r", info) as stream:
                yield cast(BinaryIO, stream)
        except DAMAGE as error:
            raise FormatError(f"{where} cannot be decompressed: {error}") from error


def _inflated(data: bytes, info: zipfile.ZipInfo) -> bytes:
    """Give the bytes of a member, of which none are missing or wrong."""
    found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, info.file_size + 1)
    if (len(found), zlib.crc32(found)) != (info.file_size, info.CRC):
        raise zipfile.BadZipFile("its size or checksum is wrong, so it is damaged")
    return found


def info_of(directory: Directory, path: str, member: str) -> zipfile.ZipInfo:
    """Give what the directory of the zip at `path` says of an array.

    Raises `MemberNotFoundError`, which lists the arrays that are there, and `FormatError` for one
    that is encrypted.
    """
    info = directory.infos.get(f"{member}.npy") or directory.infos.get(member)
    if info is None:
        arrays = [name.removesuffix(".npy") for name in directory.names]
        known = ", ".join(map(repr, arrays)) or "none at all"
        columns = [member[len(n) + 1 :] for n in arrays if member.startswith(f"{n}.")]
        column = f"; columns={columns[0]!r} takes a column of records" if columns else ""
        raise MemberNotFoundError(f"{path} has no array {member!r}; it has {known}{column}")
    if info.flag_bits & 0x1:
        raise FormatError(f"{path}::{member} is encrypted; save it without a password")
    return info


def data_start(stream: BinaryIO, info: zipfile.ZipInfo, where: str) -> int:
    """Give the byte where the data of a member begin; `FormatError` where it is not there."""
    stream.seek(max(0, info.header_offset))
    raw = stream.read(LOCAL_HEADER.size)
    if len(raw) == LOCAL_HEADER.size and info.header_offset >= 0 and raw.startswith(b"PK\x03\x04"):
        _, flags, name_length, extra_length = LOCAL_HEADER.unpack(raw)
        name = stream.read(name_length).decode("utf8" if flags & UTF8 else "cp437", "replace")
        if name == info.orig_filename:
            return info.header_offset + len(raw) + int(name_length) + int(extra_length)
    raise FormatError(f"{where} is not where the zip's directory says; the file is damaged")
