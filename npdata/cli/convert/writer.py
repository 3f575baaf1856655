"""What writes a kind of file: one class for each, called in the same order.

Idea: the costly part of a block (compressing it) is done by any thread, the rest by one thread, in
the order of the rows. Files that are their rows (raw binary, `.npy` with a header before them, a
zip of those) are a stream of bytes. Invariant: a writer writes to the path it is given and nowhere
else, rows in C order and the byte order of the source, aligned in the file where they are not
compressed; it decides nothing, and reads no source.
"""

import contextlib
import math
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.cli.console import UsageError
from npdata.sources.npy import MAGIC

ALIGNMENT = 64
"""Rows in one piece begin at a multiple of so many bytes, so that they can be used in place."""
ZLIB_LEVEL = 4
"""The level of zlib where none was asked for."""
GROWTH_DIGITS = 21


@dataclass(frozen=True, kw_only=True)
class Array:
    """An array to convert, by its `name` in the target; `where` is for people.

    Of its source: `source_rows` is the number of rows that are cheapest to read together, 1 where
    that is the same for all; `held_bytes` what it keeps in memory all the time; `chunk_bytes` the
    size of a chunk that has to be decoded, 0 where there is none, and `decoding_bytes` what it
    takes beside that until it is.

    As planned: `block_rows` rows are read and handed on at a time, of which all but the last block
    have as many. `chunk_shape` is that of an HDF5 dataset, None for one that lies in one piece;
    `compression` is None, or the level of gzip (0 for the fastest that is installed).
    """

    name: str
    where: str
    shape: tuple[int, ...]
    dtype: DType
    source_rows: int = 1
    held_bytes: int = 0
    chunk_bytes: int = 0
    decoding_bytes: int = 0
    block_rows: int = 1
    chunk_shape: tuple[int, ...] | None = None
    compression: int | None = None

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return self.shape[0] * self.row_bytes

    @property
    def unit_rows(self) -> int:
        """The rows that are written together: those of a chunk."""
        return self.chunk_shape[0] if self.chunk_shape else 1

    @property
    def written_bytes(self) -> int:
        """The bytes of a chunk of the target."""
        return math.prod(self.chunk_shape or ()) * self.dtype.itemsize


class Writer(ABC):
    """Writes the arrays of a file, one after the other: `write` for each, and at last `close`."""

    format: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    holds_many: ClassVar[bool] = False
    """Whether a file holds several arrays, by name."""
    has_chunks: ClassVar[bool] = False
    compresses: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def refusal(dtype: DType) -> str | None:
        """Say why the format cannot hold a dtype exactly; None where it can."""

    @abstractmethod
    def __init__(self, path: Path) -> None:
        """Write to `path`, an empty file that is there."""

    @abstractmethod
    def prepare(self, array: Array, first: int, rows: NDArray[Any]) -> Any:
        """Do what can be done in any thread for the rows from row `first` on."""

    @abstractmethod
    def write(self, array: Array, blocks: Iterable[tuple[int, Any]]) -> None:
        """Write an array; `blocks` gives, in order, a first row and what `prepare` made of them.

        Raises `UsageError` where the format has no such name, or has it already.
        """

    @abstractmethod
    def close(self, *, whole: bool) -> None:
        """Complete and close the file; OSError where the disk says only now that it is full.

        One that is not `whole` is closed as it is, and nothing is raised.
        """

    @contextlib.contextmanager
    def naming(self, array: Array) -> Iterator[None]:
        """Let an error in the block, which makes room for the array, be one of its name."""
        try:
            yield
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{array.name!r} cannot name an array of {self.format}: {error}"
            ) from error


class RawWriter(Writer):
    """Writes the rows of one array, and nothing else."""

    format = "raw"
    suffixes: ClassVar[tuple[str, ...]] = (".bin", ".raw", ".dat")

    @staticmethod
    def refusal(dtype: DType) -> str | None:
        """Refuse what has no bytes."""
        if dtype.hasobject or dtype.itemsize == 0:
            return "its elements have no bytes of a fixed number"
        return None

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b")

    def prepare(self, array: Array, first: int, rows: NDArray[Any]) -> NDArray[Any]:
        """Give the bytes of the rows."""
        return rows.reshape(-1).view(np.uint8)

    def write(self, array: Array, blocks: Iterable[tuple[int, Any]]) -> None:
        """Write the rows."""
        self._append(self._file, b"", blocks)

    def _append(self, stream: IO[bytes], head: bytes, blocks: Iterable[tuple[int, Any]]) -> None:
        stream.write(head)
        for _, prepared in blocks:
            stream.write(prepared.data)

    def close(self, *, whole: bool) -> None:
        """Close the file."""
        with contextlib.nullcontext() if whole else contextlib.suppress(OSError):
            self._file.close()


class NpyWriter(RawWriter):
    """Writes a `.npy`."""

    format = ".npy"
    suffixes = (".npy",)

    @staticmethod
    def refusal(dtype: DType) -> str | None:
        """Refuse what NumPy would pickle, and what its header has no words for."""
        if dtype.hasobject:
            return "its elements are Python objects, and they would be pickled"
        if dtype.itemsize == 0:
            return "its elements have no bytes"
        known = dtype.kind != "V" or dtype.names is not None or type(dtype) is np.dtypes.VoidDType
        if not known or not _described(dtype):
            return f"the header of a .npy has no way to say {dtype}"
        return None

    def write(self, array: Array, blocks: Iterable[tuple[int, Any]]) -> None:
        """Write the header, and the rows."""
        self._append(self._file, npy_header(array.dtype, array.shape), blocks)


class NpzWriter(NpyWriter):
    """Writes the arrays of a `.npz`, each a member; not compressed, its rows are aligned."""

    format = ".npz"
    suffixes = (".npz",)
    holds_many = True
    compresses = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._archive = zipfile.ZipFile(self._file, "w")

    def write(self, array: Array, blocks: Iterable[tuple[int, Any]]) -> None:
        """Write a member, with its checksum."""
        if array.compression is not None:
            self._archive.compression = zipfile.ZIP_DEFLATED
            self._archive.compresslevel = array.compression or ZLIB_LEVEL
        with self.naming(array):
            member = self._archive.open(f"{array.name}.npy", "w", force_zip64=True)
        with member:
            head = npy_header(array.dtype, array.shape, self._file.tell())
            self._append(member, head, blocks)

    def close(self, *, whole: bool) -> None:
        """Write the directory of the zip, if it is whole, and close the file."""
        if whole:
            self._archive.close()
        self._archive.fp = None
        super().close(whole=whole)


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
