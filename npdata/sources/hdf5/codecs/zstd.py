"""Zstandard: one frame that declares its size."""

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs import packages
from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array, room

MAGIC = b"\x28\xb5\x2f\xfd"


def content_size(frame: bytes) -> int:
    """Give the size that a frame's header declares; ValueError where it declares none."""
    if len(frame) < 6 or frame[:4] != MAGIC:
        raise ValueError("the zstd frame has no zstd header")
    descriptor = frame[4]
    single = descriptor >> 5 & 1
    width = (single, 2, 4, 8)[descriptor >> 6]
    if width == 0:
        raise ValueError('the zstd frame declares no size; read it with access="library"')
    start = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(frame[start : start + width], "little")
    return size + 256 if width == 2 else size


def block(frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Decompress one frame that fills `out` exactly.

    numcodecs accepts a frame that fills less, and leaves the rest of `out` as it was.
    """
    size = content_size(frame[:18].tobytes())
    if size != len(out):
        raise ValueError(f"the zstd frame declares {size} bytes, not {len(out)}")
    try:
        packages.zstd.decompress(frame, out)
    except RuntimeError as error:
        raise ValueError(f"the zstd frame is damaged: {error}") from None


def decompress(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Give the content of a frame."""
    source = as_array(data)
    out = room(content_size(source[:18].tobytes()), limit, into)
    block(source, out)
    return out


ZSTD = Decoder(name="zstd", by="numcodecs", decode=decompress, missing=packages.NO_NUMCODECS)
