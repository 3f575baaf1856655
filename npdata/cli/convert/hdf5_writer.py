"""An HDF5 file: chunks compressed by threads past HDF5, and written by one.

Idea: HDF5's own filters run on one core under a lock; a chunk that is already encoded is written
directly, and one that does not get smaller without any filter. Invariant: what is written is read
by plain h5py; the bytes of a chunk are those of the rows, padded with zeros at the edge. Attributes
are not written. The chunks of a block begin with its first row.
"""

import contextlib
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.cli.convert.writer import ALIGNMENT, ZLIB_LEVEL, Array, Writer
from npdata.sources.hdf5.codecs.base import igzip_lib
from npdata.sources.hdf5.tiling import Tiling

FASTEST = 0
"""The level that stands for isal where it is installed (ten times as fast), else for zlib's 4."""
NO_FILTERS = 0b11
"""The mask of a chunk that neither filter was applied to."""

Encoded = tuple[tuple[int, ...], int, Any]
"""Where a chunk begins, its filter mask and its bytes."""


class Hdf5Writer(Writer):
    """Writes the datasets of an HDF5 file, with their groups."""

    format = "HDF5"
    suffixes = (".h5", ".hdf5")
    holds_many = True
    has_chunks = True
    compresses = True

    @staticmethod
    def refusal(dtype: DType) -> str | None:
        """Refuse what HDF5 cannot hold bit by bit."""
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

    def prepare(self, array: Array, first: int, rows: NDArray[Any]) -> Any:
        """Cut the rows into chunks, and compress each; one piece stays as it is."""
        if array.chunk_shape is None:
            return rows
        chunks = _cut(first, rows, array.chunk_shape)
        if array.compression is None:
            return [(start, 0, raw) for start, raw in chunks]
        size, level = array.dtype.itemsize, array.compression
        return [(start, *encode_chunk(raw, size, level)) for start, raw in chunks]

    def write(self, array: Array, blocks: Iterable[tuple[int, Any]]) -> None:
        """Write a dataset: its chunks, or its rows where it lies in one piece."""
        filters: dict[str, Any] = {}
        if array.compression is not None and array.chunk_shape is not None:
            filters = {"compression": array.compression or ZLIB_LEVEL, "shuffle": True}
        with self.naming(array):
            dataset = self._file.create_dataset(
                array.name, array.shape, array.dtype, chunks=array.chunk_shape, **filters
            )
            if dataset.name != f"/{array.name}":
                raise ValueError(f"HDF5 would name it {dataset.name}")
        for first, prepared in blocks:
            if array.chunk_shape is not None:
                for start, mask, data in prepared:
                    dataset.id.write_direct_chunk(start, data, mask)
            elif prepared.size:
                dataset[first : first + len(prepared)] = prepared

    def close(self, *, whole: bool) -> None:
        """Close the file, emptied where it is not whole: a full disk lets HDF5 close no other."""
        if not whole:
            with contextlib.suppress(OSError):
                os.truncate(self._path, 0)
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                self._file.close()
            return
        try:
            self._file.flush()
            self._file.close()
        except RuntimeError as error:
            raise OSError(f"{self._path}: HDF5 cannot complete the file: {error}") from error


def encode_chunk(raw: NDArray[np.uint8], size: int, level: int) -> tuple[int, Any]:
    """Give the filter mask and the bytes to store for a chunk with elements of `size` bytes.

    They are shuffled (first bytes of all elements first) and compressed to a zlib stream, at zlib's
    `level` 1 to 9, or `FASTEST`.

    Examples:
        >>> mask, data = encode_chunk(np.frombuffer(b"abcd" * 100, np.uint8), 2, 9)
        >>> mask, zlib.decompress(data)[198:202]
        (0, b'acbd')
    """
    shuffled = np.ascontiguousarray(raw.reshape(-1, size).T).reshape(-1)
    if level == FASTEST and igzip_lib is not None:
        packed = igzip_lib.compress(shuffled.data, 1, igzip_lib.COMP_ZLIB)
    else:
        packed = zlib.compress(shuffled.data, level or ZLIB_LEVEL)
    return (NO_FILTERS, raw) if len(packed) >= len(raw) else (0, packed)


def _cut(
    first: int, rows: NDArray[Any], chunk_shape: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], NDArray[np.uint8]]]:
    """Give each chunk of a block of rows: where it begins in the dataset, and its bytes."""
    tiling = Tiling.of(rows.shape, chunk_shape, rows.dtype.itemsize)
    for row in range(0, len(rows), tiling.chunk_rows):
        part = rows[row : row + tiling.chunk_rows]
        for tile in range(tiling.count):
            target, inside = tiling.cuts(tile)
            chunk = part[(slice(None), *target)]
            if chunk.shape != chunk_shape:
                whole = np.zeros(chunk_shape, rows.dtype)
                whole[(slice(0, len(part)), *inside)] = chunk
                chunk = whole
            start = (first + row, *(cut.start for cut in target))
            yield start, np.ascontiguousarray(chunk).reshape(-1).view(np.uint8)
