"""The filters of HDF5, forwards: shuffle and deflate, on the bytes of one chunk.

Idea: what `npdata.sources.hdf5.codecs` undoes, by the same packages. isal compresses ten times as
fast as zlib, to about the same size. Invariant: the result is what HDF5's own filters would undo;
a chunk that does not get smaller is kept as it is, without any filter. No file, any thread.
"""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs.base import igzip_lib

FASTEST = 0
"""The level that stands for isal where it is installed, and for zlib's 4 where it is not."""
ZLIB_LEVEL = 4
NO_FILTERS = 0b11
"""The mask of a chunk that neither filter was applied to."""


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
