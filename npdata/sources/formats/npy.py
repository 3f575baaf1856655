"""The `.npy` header, read where it lies: in a file of its own or in a member of a zip.

Idea: a header is a few bytes that say dtype, order and shape; the rows behind it are raw bytes.
Invariant: every declared size is compared with what the file holds before anything is mapped or
allocated; pickled objects are never read. Format: NumPy Enhancement Proposal 1 and the versions
2.0 (longer header) and 3.0 (UTF-8). This module maps no file by itself.
"""

import ast
import functools
import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from npdata.arrays.dtypes import DType
from npdata.errors import FormatError, MemberNotFoundError, TruncatedError
from npdata.runtime.per_process import ForkSafeLock
from npdata.sources.file import File
from npdata.sources.mapped import MappedSource, Place

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 1 << 20

_FLOAT8_E5M2 = ("<f1", "|f1")
"""What `np.save` writes for `ml_dtypes.float8_e5m2`, and no NumPy reads."""

_VERSIONS = {(1, 0): ("<H", "latin1"), (2, 0): ("<I", "latin1"), (3, 0): ("<I", "utf8")}


@dataclass(frozen=True, kw_only=True)
class NpyHeader:
    """What a `.npy` header declares; `size` is the length of the header in bytes."""

    dtype: DType
    shape: tuple[int, ...]
    fortran: bool
    size: int

    @property
    def data_bytes(self) -> int:
        """The bytes of data that the header declares."""
        return math.prod(self.shape) * self.dtype.itemsize

    def refusal(self, *, one_value: bool = False) -> str | None:
        """Say why a whole file of this header gives no rows, or no value; None where it does."""
        if self.dtype.hasobject:
            return (
                f"holds pickled Python objects (dtype {self.dtype}), which could run any code when "
                "read; save numbers of a fixed dtype instead, in rows of one shape, or of several "
                "lengths end to end beside these: npdata.ragged(values, lengths=...)"
            )
        if len(self.shape) == 0 and not one_value:
            return (
                "holds one value and no rows; save it with an axis 0, or make a row of each such "
                "file by npdata.stack"
            )
        return None

    def place(self, start: int) -> Place:
        """Give the place of the data in a file where the header begins at byte `start`."""
        return Place.contiguous(
            offset=start + self.size, dtype=self.dtype, shape=self.shape, fortran=self.fortran
        )


def read_header(stream: BinaryIO, where: str, *, one_value: bool = False) -> NpyHeader:
    """Read the header at the stream's position; `where` names the file in errors.

    A file of one value, without an axis, is taken with `one_value`. Raises `FormatError` for what
    is no `.npy` header or holds pickled objects, `TruncatedError` for one that ends too early.
    """
    header = declared(stream, where)
    why = header.refusal(one_value=one_value)
    if why is not None:
        raise FormatError(f"{where} {why}")
    return header


def declared(stream: BinaryIO, where: str) -> NpyHeader:
    """Read what a header declares, whether that can be read or not; raises as `read_header`."""
    magic = _take(stream, len(MAGIC) + 2, where)
    if not magic.startswith(MAGIC):
        raise FormatError(f"{where} is no .npy: it begins with {magic[:6]!r}, not {MAGIC!r}")
    version = (magic[-2], magic[-1])
    if version not in _VERSIONS:
        raise FormatError(f"{where} has .npy version {version}; known are 1.0, 2.0 and 3.0")
    length_format, encoding = _VERSIONS[version]
    prefix = _take(stream, struct.calcsize(length_format), where)
    (length,) = struct.unpack(length_format, prefix)
    if length > LONGEST_HEADER:
        raise FormatError(f"{where} declares a header of {length} bytes; the file is damaged")
    raw = _take(stream, length, where)
    try:
        dtype, shape, fortran = _fields(raw.decode(encoding))
    except (ValueError, TypeError, SyntaxError, LookupError, MemoryError, RecursionError) as error:
        raise FormatError(f"{where} has a .npy header that cannot be read: {error}") from None
    size = len(magic) + len(prefix) + length
    return NpyHeader(dtype=dtype, shape=shape, fortran=fortran, size=size)


def header_size(start: bytes) -> int:
    """Give how many bytes a header has by its first ones, as far as any is read.

    Examples:
        >>> header_size(MAGIC + bytes([1, 0, 118, 0])), header_size(MAGIC)
        (128, 10)
    """
    first = len(MAGIC) + 2
    width = 2 if start[len(MAGIC) : first] < bytes([2, 0]) else 4
    length = int.from_bytes(start[first : first + width], "little")
    return first + width + min(length, LONGEST_HEADER)


def open_npy(path: str) -> MappedSource:
    """Map the `.npy` file at `path`; raises the errors of `read_header` and OSError."""
    file = File(path)
    with Path(path).open("rb") as stream:
        header = read_header(stream, str(path))
        if file.identity.size > header.size + header.data_bytes:
            require_last(stream.fileno(), header.size + header.data_bytes, str(path))
    layout = "in Fortran order" if header.fortran else "as one run of rows"
    reason = f"a .npy file holds its data uncompressed, {layout}"
    return MappedSource(file, header.place(0), reason, str(path))


def require_last(descriptor: int, end: int, where: str) -> None:
    """Raise `FormatError` where another array begins at byte `end`, which nobody would see."""
    if os.pread(descriptor, len(MAGIC), end) == MAGIC:
        raise FormatError(
            f"{where} holds several arrays, since np.save was called more than once on an open "
            "file; np.load(stream) gives one after the other: save them as one array, or each in "
            "a file of its own"
        )


def _take(stream: BinaryIO, count: int, where: str) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise TruncatedError(f"{where} ends inside its .npy header; it was cut short")
    return data


def no_member(path: str, member: str) -> MemberNotFoundError:
    """Give the error for a name behind the :: of a `.npy`, which has no members."""
    return MemberNotFoundError(
        f"{path} is a .npy of one array and has no {member!r}: leave out what stands behind "
        f"::, and of records take the column by columns={member!r}"
    )


_parsing = ForkSafeLock()
"""Python 3.11 counts the depth of what all threads parse together: SystemError where the collector
of garbage lets another one run meanwhile."""


@functools.lru_cache(64)  # of many files the headers are alike, and to parse one takes 60 µs
def _fields(text: str) -> tuple[DType, tuple[int, ...], bool]:
    """Give dtype, shape and order out of the text of a header; ValueError for what is none."""
    fields = _literal(text)
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"it is no dict of descr, fortran_order and shape: {fields!r:.80}")
    shape, fortran = fields["shape"], fields["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"shape {shape!r:.80} is no tuple of sizes")
    if not isinstance(fortran, bool):
        raise ValueError(f"fortran_order {fortran!r:.80} is no bool")
    if len(shape) > 64 or math.prod(max(1, n) for n in shape) >= 1 << 62:
        raise ValueError(f"shape {shape!r:.80} is larger than any array")
    descr = _of_today(fields["descr"])
    dtype = np.dtype("V1") if descr in _FLOAT8_E5M2 else np.lib.format.descr_to_dtype(descr)
    return dtype, shape, fortran


def _literal(text: str) -> object:
    with _parsing.get():
        try:
            return ast.literal_eval(text)
        except SyntaxError:
            # Python 2 wrote long integers as 10L.
            return ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text))


def _of_today(descr: Any) -> Any:
    """Give what describes a dtype with "S" for bytes, for which NumPy knew "a" until 2.4."""
    if isinstance(descr, str):
        return re.sub(r"^([|<>=]?)a(?=\d*$)", r"\1S", descr)
    if isinstance(descr, tuple):
        return _of_today(descr[0]), *descr[1:]
    if isinstance(descr, list):
        return [(name, _of_today(of), *shape) for name, of, *shape in descr]
    return descr
