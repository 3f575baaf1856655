"""The kinds of files that are written: what each can hold, and what writes it.

Idea: what is costly (compressing a block) is done by any thread, the rest by one, in the order of
the rows. Files that are their rows (raw binary, `.npy` with a header before them, a zip of those)
are a stream of bytes. Invariant: what writes a file writes to its path and nowhere else, rows in C
order and the byte order of the source, aligned in the file where they are not compressed; it reads
no source.
"""

import math
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.cli.console import UsageError
from npdata.cli.files import RAW_SUFFIXES
from npdata.errors import NpdataError
from npdata.sources.base import Source
from npdata.sources.formats.npy import MAGIC, open_npy
from npdata.sources.formats.npz import open_npz
from npdata.sources.formats.raw import open_raw

ALIGNMENT = 64
"""Rows in one piece begin at a multiple of so many bytes, so that they can be used in place."""
ZLIB_LEVEL = 4
"""The level of zlib where none was asked for."""
GROWTH_DIGITS = 21


class ConvertError(NpdataError, ValueError):
    """What was to be converted cannot be, or not into this kind of file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Array:
    """The rows of `source`, to be written under `name`.

    `chunk_bytes` is the size of a chunk of the source that has to be decoded, 0 where there is
    none. In the target, `chunk_shape` is that of an HDF5 dataset, None for one that lies in one
    piece, and `level` that of gzip: None without compression, 0 for the fastest.
    """

    name: str
    source: Source
    chunk_bytes: int = 0
    chunk_shape: tuple[int, ...] | None = None
    level: int | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return len(self.source) * self.source.row_bytes

    @property
    def unit_rows(self) -> int:
        """The rows that are written together: those of a chunk."""
        return self.chunk_shape[0] if self.chunk_shape else 1

    @property
    def packed_bytes(self) -> int:
        """The bytes of a chunk of the target that is compressed, before it is; 0 without one."""
        if self.level is None or self.chunk_shape is None:
            return 0
        return math.prod(self.chunk_shape) * self.source.dtype.itemsize


Encoded: TypeAlias = Iterable[tuple[int, Any]]
"""Of each block of rows, in order, the first row and what `Format.encode` made of it."""
Write: TypeAlias = Callable[[Array, Encoded], None]
"""Writes an array; `UsageError` where the file can have no array of its name."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file.

    `refusal` says why it cannot hold a dtype exactly, None where it can. `opened` takes the path of
    an empty file, and gives a context with what writes arrays, one after the other. It ends with a
    file that is complete, or OSError where the disk says only now that it is full; after an error
    in it the file is of no use. `read(path, array)` opens what was written of an array, by its name
    as it is. `encode(array, first, rows)` does what any thread can do for the rows from row `first`
    on, in C order.
    """

    name: str
    suffixes: tuple[str, ...]
    refusal: Callable[[DType], str | None]
    opened: Callable[[Path], AbstractContextManager[Write]]
    read: Callable[[str, Array], Source]
    encode: Callable[[Array, int, NDArray[Any]], Any] = lambda array, first, rows: rows
    holds_many: bool = False
    compresses: bool = False


@contextmanager
def naming(array: Array, kind: str) -> Iterator[None]:
    """Let an error in the block, which makes room for the array, be one of its name."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{array.name!r} cannot name an array of {kind}: {error}; convert this array by itself "
            f"into a .npy, which keeps no name"
        ) from error


def _raw_refusal(dtype: DType) -> str | None:
    if dtype.hasobject or dtype.itemsize == 0:
        return "its elements have no bytes of a fixed number"
    return None


def _npy_refusal(dtype: DType) -> str | None:
    """Refuse what NumPy would pickle, and what its header has no words for."""
    if dtype.hasobject:
        return "its elements are Python objects, and they would be pickled"
    if dtype.itemsize == 0:
        return "its elements have no bytes"
    known = dtype.kind != "V" or dtype.names is not None or type(dtype) is np.dtypes.VoidDType
    if not known or not _described(dtype):
        return f"the header of a .npy has no way to say {dtype}"
    return None


def _append(stream: IO[bytes], head: bytes, blocks: Encoded) -> None:
    stream.write(head)
    for _, rows in blocks:
        stream.write(rows.reshape(-1).view(np.uint8).data)


@contextmanager
def _raw(path: Path) -> Iterator[Write]:
    with path.open("r+b") as file:
        yield lambda array, blocks: _append(file, b"", blocks)


@contextmanager
def _npy(path: Path) -> Iterator[Write]:
    with path.open("r+b") as file:
        yield lambda array, blocks: _append(file, _header(array), blocks)


@contextmanager
def _npz(path: Path) -> Iterator[Write]:
    """Write members with their checksums; the rows of those that are not compressed are aligned."""
    with path.open("r+b") as file:
        archive = zipfile.ZipFile(file, "w")

        def write(array: Array, blocks: Encoded) -> None:
            if array.level is not None:
                archive.compression = zipfile.ZIP_DEFLATED
                archive.compresslevel = array.level or ZLIB_LEVEL
            with naming(array, ".npz"):
                member = archive.open(f"{array.name}.npy", "w", force_zip64=True)
            with member:
                _append(member, _header(array, file.tell()), blocks)

        try:
            yield write
            archive.close()
        finally:
            archive.fp = None  # after an error it would write its directory when it is collected


RAW = Format(
    name="raw",
    suffixes=RAW_SUFFIXES,
    refusal=_raw_refusal,
    opened=_raw,
    read=lambda path, array: open_raw(path, array.source.dtype, array.source.shape),
)
NPY = Format(
    name=".npy",
    suffixes=(".npy",),
    refusal=_npy_refusal,
    opened=_npy,
    read=lambda path, _: open_npy(path),
)
NPZ = Format(
    name=".npz",
    suffixes=(".npz",),
    refusal=_npy_refusal,
    opened=_npz,
    read=lambda path, array: open_npz(path, array.name),
    holds_many=True,
    compresses=True,
)


def _header(array: Array, start: int = 0) -> bytes:
    return npy_header(array.source.dtype, array.source.shape, start)


def npy_header(dtype: DType, shape: tuple[int, ...], start: int = 0) -> bytes:
    r"""Give the header of a `.npy` that begins at byte `start` of its file.

    It is padded so that the rows begin at a multiple of 64 bytes of the file, and the same as
    NumPy's where it begins the file. Format: NumPy Enhancement Proposal 1.

    Examples:
        >>> header = npy_header(np.dtype("<f4"), (5, 3))
        >>> len(header), header[:6]
        (128, b'\x93NUMPY')
    """
    text = f"{{'descr': {_descr(dtype)!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    # NumPy leaves room for more rows.
    text += " " * (GROWTH_DIGITS - len(repr(shape[0])))
    for version, width, encoding in ((1, 2, "latin1"), (2, 4, "latin1"), (3, 4, "utf8")):
        try:
            body = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        before = len(MAGIC) + 2 + width
        length = len(body) + 1
        length += ALIGNMENT - (start + before + length) % ALIGNMENT
        if length < 1 << 8 * width:
            prefix = MAGIC + bytes((version, 0)) + length.to_bytes(width, "little")
            return prefix + body.ljust(length - 1) + b"\n"
    raise ValueError(f"a .npy header of {len(text)} characters is longer than any")


def _described(dtype: DType) -> bool:
    try:
        return np.lib.format.descr_to_dtype(_descr(dtype)) == dtype
    except (TypeError, ValueError):
        return False


def _descr(dtype: DType) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the remarks that h5py makes on a dtype
        return np.lib.format.dtype_to_descr(dtype)
