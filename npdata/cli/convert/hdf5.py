"""An HDF5 file: chunks compressed by threads past HDF5, and written by one.

Idea: HDF5's own filters run on one core under a lock; a chunk that is already compressed is written
directly, and one that does not get smaller without any filter. Chunks that HDF5 kept would not let
it close a file on a full disk. Invariant: what is written is read by plain h5py; the bytes of a
chunk are those of the rows, padded with zeros at the edge. Attributes are not written. The chunks
of a block begin with its first row.
"""

import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import BLOCK_BYTES
from npdata.arrays.dtypes import DType
from npdata.cli.console import UsageError
from npdata.cli.convert.formats import ALIGNMENT, ZLIB_LEVEL, Array, Encoded, Format, Write, naming
from npdata.sources.hdf5.codecs.packages import igzip_lib
from npdata.sources.hdf5.open import open_hdf5
from npdata.sources.hdf5.rows.tiling import Tiling

FASTEST = 0
"""The level that stands for isal where it is installed (ten times as fast), else for zlib's 4."""
NO_FILTERS = 0b11
"""The mask of a chunk that neither filter was applied to."""
LARGEST_ROW = 16 << 20
"""Larger rows are cut into chunks, so that one row can be decoded by several threads."""
LARGEST_CHUNK = (1 << 32) - 1


def _refusal(dtype: DType) -> str | None:
    """Refuse what HDF5 cannot hold bit by bit."""
    if dtype.hasobject:
        return "its elements are Python objects"
    try:
        same = h5py.h5t.py_create(dtype, logical=True).dtype == dtype
    except (TypeError, ValueError) as error:
        return f"h5py has no HDF5 type for {dtype} ({error})"
    return None if same else f"HDF5 has no type with the bits of {dtype}"


def _encode(array: Array, first: int, rows: NDArray[Any]) -> Any:
    """Cut the rows into chunks, and compress each; one piece stays as it is."""
    if array.chunk_shape is None:
        return rows
    chunks = _cut(first, rows, array.chunk_shape)
    return [(at, *encode_chunk(raw, rows.itemsize, array.level)) for at, raw in chunks]


@contextmanager
def _opened(path: Path) -> Iterator[Write]:
    file = h5py.File(path, "w", alignment_threshold=1, alignment_interval=ALIGNMENT)

    def write(array: Array, blocks: Encoded) -> None:
        filters: dict[str, Any] = {}
        if array.level is not None and array.chunk_shape is not None:
            filters = {"compression": array.level or ZLIB_LEVEL, "shuffle": True}
        shape, dtype, chunks = array.source.shape, array.source.dtype, array.chunk_shape
        with naming(array, "HDF5"):
            dataset = file.create_dataset(array.name, shape, dtype, chunks=chunks, **filters)
            if dataset.name != f"/{array.name}":
                raise ValueError(f"HDF5 would name it {dataset.name}")
        for first, encoded in blocks:
            if array.chunk_shape is not None:
                for at, mask, data in encoded:
                    dataset.id.write_direct_chunk(at, data, mask)
            elif encoded.size:
                dataset[first : first + len(encoded)] = encoded

    try:
        yield write
        file.flush()
        file.close()
    except BaseException as error:
        # Emptied first: a full disk lets HDF5 close no other file.
        with suppress(OSError):
            os.truncate(path, 0)
        with suppress(OSError, RuntimeError, ValueError):
            file.close()
        if isinstance(error, RuntimeError):
            raise OSError(f"{path}: HDF5 cannot complete the file: {error}") from error
        raise


HDF5 = Format(
    name="HDF5",
    suffixes=(".h5", ".hdf5"),
    refusal=_refusal,
    opened=_opened,
    read=lambda path, array: open_hdf5(path, array.name),
    encode=_encode,
    holds_many=True,
    compresses=True,
)


def parse_chunks(text: str) -> tuple[int, ...] | None:
    """Read the option `--chunks`, for `chunk_shape`; ValueError for what is none.

    Examples:
        >>> [parse_chunks(text) for text in ("256", "64,8,8", "none", "auto")]
        [(256,), (64, 8, 8), (), None]
    """
    if text in ("auto", "none"):
        return None if text == "auto" else ()
    sizes = tuple(int(part) for part in text.split(","))
    if min(sizes) < 1:
        raise ValueError(text)
    return sizes


def chunk_shape(
    asked: tuple[int, ...] | None, name: str, shape: tuple[int, ...], itemsize: int
) -> tuple[int, ...] | None:
    """Give the shape of a chunk, None where the dataset lies in one piece.

    Asked for are sizes, the rows alone, `()` for one piece, or None: about 1 MiB of whole rows,
    which a disk reads at its full speed; rows above 16 MiB are cut. Raises `UsageError` where what
    was asked for does not fit the array.

    Examples:
        >>> chunk_shape(None, "x", (60000, 28, 28), 1)
        (1337, 28, 28)
        >>> chunk_shape((64,), "x", (60000, 28, 28), 1)
        (64, 28, 28)
        >>> chunk_shape(None, "x", (10, 512, 512, 300), 4)
        (1, 27, 512, 300)
    """
    if asked == () or 0 in shape or itemsize == 0:
        return None
    if asked is None:
        return _about_a_block(shape, itemsize)
    if len(asked) not in (1, len(shape)):
        raise UsageError(
            f"--chunks {','.join(map(str, asked))} has {len(asked)} sizes, and {name} has the "
            f"shape {shape}; give {len(shape)}, or one for whole rows"
        )
    sizes = (asked[0], *shape[1:]) if len(asked) == 1 else asked
    chunk = tuple(min(size, length) for size, length in zip(sizes, shape, strict=True))
    if math.prod(chunk) * itemsize > LARGEST_CHUNK:
        raise UsageError(f"chunks of {chunk} for {name} are larger than HDF5's 4 GiB")
    return chunk


def _about_a_block(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    tile = list(shape[1:])
    row_bytes = math.prod(tile) * itemsize
    if row_bytes <= LARGEST_ROW:
        return (min(shape[0], max(1, BLOCK_BYTES // row_bytes)), *tile)
    for axis, size in enumerate(tile):
        pieces = -(-math.prod(tile) * itemsize // LARGEST_ROW)
        tile[axis] = -(-size // min(pieces, size))
    return (1, *tile)


def encode_chunk(raw: NDArray[np.uint8], size: int, level: int | None) -> tuple[int, Any]:
    """Give the filter mask and the bytes to store for a chunk with elements of `size` bytes.

    They are shuffled (first bytes of all elements first) and compressed to a zlib stream, at zlib's
    `level` 1 to 9, or `FASTEST`; with None they stay as they are.

    Examples:
        >>> mask, data = encode_chunk(np.frombuffer(b"abcd" * 100, np.uint8), 2, 9)
        >>> mask, zlib.decompress(data)[198:202]
        (0, b'acbd')
    """
    if level is None:
        return 0, raw
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
