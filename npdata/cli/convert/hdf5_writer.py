"""An HDF5 file: chunks compressed by threads past HDF5, and written by one.

Idea: HDF5's own filters run on one core under a lock; a chunk that is already encoded is written
directly, and one that does not get smaller without any filter. Invariant: what is written is read
by plain h5py; the bytes of a chunk are those of the rows, padded with zeros at the edge. Attributes
are not written. The chunks of a block begin with its first row.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.cli.convert.writer import ALIGNMENT, ZLIB_LEVEL, FieldPlan, Writer
from npdata.sources.hdf5.codecs.base import igzip_lib
from npdata.sources.hdf5.tiling import Tiling

FASTEST = 0
"""The level that stands for isal where it is installed (ten times as fast), else for zlib's 4."""
NO_FILTERS = 0b11
"""The mask of a chunk that neither filter was applied to."""

Encoded = tuple[tuple[int, ...], int, Any]
"""Where a chunk begins, its filter mask and its bytes."""


class Hdf5Writer(Writer):
    """Writes the datasets of an HDF5 file."""

    format = "HDF5"
    suffixes = (".h5", ".hdf5")
    holds_many = True
    has_chunks = True
    compresses = True

    @staticmethod
    def refusal(dtype: DType) -> str | None:
        """Say why HDF5 cannot hold a dtype, bit by bit; None where it can."""
        if dtype.hasobject:
            return "its elements are Python objects"
        try:
            same = h5py.h5t.py_create(dtype, logical=True).dtype == dtype
        except (TypeError, ValueError) as error:
            return f"h5py has no HDF5 type for {dtype} ({error})"
        return None if same else f"HDF5 has no type with the bits of {dtype}"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = h5py.File(path, "w", alignment_threshold=1, alignment_interval=ALIGNMENT)
        self._field: FieldPlan | None = None
        self._dataset: Any = None
        self._tiling: Tiling | None = None

    def begin(self, field: FieldPlan) -> None:
        """Create the dataset, with its groups."""
        filters: dict[str, Any] = {}
        if field.compression is not None and field.chunk_shape is not None:
            level = field.compression or ZLIB_LEVEL
            filters = {"compression": level, "shuffle": True}
        self._dataset = self._file.create_dataset(
            field.name, field.shape, field.dtype, chunks=field.chunk_shape, **filters
        )
        if self._dataset.name != f"/{field.name}":
            raise ValueError(f"HDF5 would name it {self._dataset.name}")
        self._field = field
        self._tiling = None
        if field.chunk_shape is not None:
            self._tiling = Tiling.of(field.shape, field.chunk_shape, field.dtype.itemsize)

    def prepare(self, first: int, rows: NDArray[Any]) -> list[Encoded] | NDArray[Any]:
        """Cut the rows into chunks, and compress each; one piece stays as it is."""
        field, tiling = self._field, self._tiling
        if field is None or tiling is None:
            return rows
        chunks = _cut(first, rows, tiling)
        level, size = field.compression, field.dtype.itemsize
        if level is None:
            return [(start, 0, raw) for start, raw in chunks]
        return [(start, *encode_chunk(raw, size, level)) for start, raw in chunks]

    def accept(self, first: int, prepared: list[Encoded] | NDArray[Any]) -> None:
        """Write the chunks, or the rows of a dataset in one piece."""
        if isinstance(prepared, np.ndarray):
            if prepared.size:
                self._dataset[first : first + len(prepared)] = prepared
            return
        for start, mask, data in prepared:
            self._dataset.id.write_direct_chunk(start, data, mask)

    def finish(self) -> None:
        """Close the file; OSError where the disk does not take what HDF5 still holds."""
        self._dataset = None
        try:
            self._file.flush()
            self._file.close()
        except RuntimeError as error:
            raise OSError(f"{self._path}: HDF5 cannot complete the file: {error}") from error

    def abandon(self) -> None:
        """Close the file, emptied: where the disk is full HDF5 could not close it otherwise."""
        self._dataset = None
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._file.close()


def shuffle(data: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Put the first bytes of all elements of `size` bytes first, then the second bytes, and so on.

    Examples:
        >>> shuffle(np.frombuffer(b"abcd", np.uint8), 2).tobytes()
        b'acbd'
    """
    if size == 1:
        return data
    elements = data.reshape(-1, size)
    out = np.empty((size, len(elements)), np.uint8)
    for byte in range(size):
        out[byte] = elements[:, byte]
    return out.reshape(-1)


def deflate(data: NDArray[np.uint8], level: int) -> bytes:
    """Compress to a zlib stream, at zlib's `level` 1 to 9, or `FASTEST`.

    Examples:
        >>> len(deflate(np.zeros(1000, np.uint8), FASTEST)) < 100
        True
    """
    if level == FASTEST and igzip_lib is not None:
        packed: bytes = igzip_lib.compress(data.data, 1, igzip_lib.COMP_ZLIB)
        return packed
    return zlib.compress(data.data, level or ZLIB_LEVEL)


def encode_chunk(raw: NDArray[np.uint8], size: int, level: int) -> tuple[int, Any]:
    """Give the filter mask and the bytes to store for a chunk with elements of `size` bytes."""
    packed = deflate(shuffle(raw, size), level)
    return (NO_FILTERS, raw) if len(packed) >= len(raw) else (0, packed)


def _cut(
    first: int, rows: NDArray[Any], tiling: Tiling
) -> Iterator[tuple[tuple[int, ...], NDArray[np.uint8]]]:
    """Give each chunk of a block of rows: where it begins in the dataset, and its bytes."""
    for row in range(0, len(rows), tiling.chunk_rows):
        part = rows[row : row + tiling.chunk_rows]
        for tile in range(tiling.count):
            target, inside = tiling.cuts(tile)
            chunk = part[(slice(None), *target)]
            if chunk.shape != (tiling.chunk_rows, *tiling.tile):
                whole = np.zeros((tiling.chunk_rows, *tiling.tile), rows.dtype)
                whole[(slice(0, len(part)), *inside)] = chunk
                chunk = whole
            start = (first + row, *(cut.start for cut in target))
            yield start, np.ascontiguousarray(chunk).reshape(-1).view(np.uint8)
