"""Blosc 1: a frame with its sizes in a header of 16 bytes."""

import struct

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs.base import MISSING, Bytes, Decoder, as_array, blosc, require_room

HEADER = struct.Struct("<4BIII")


def decompress(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Give the content of a frame."""
    source = as_array(data)
    if len(source) < HEADER.size:
        raise ValueError(f"a blosc frame of {len(source)} bytes is too short for its header")
    *_, size, _, stored = HEADER.unpack(source[: HEADER.size].data)
    require_room(size, limit)
    if stored != len(source):
        raise ValueError(f"the blosc frame declares {stored} bytes and has {len(source)}")
    out = into if into is not None and len(into) == size else np.empty(size, np.uint8)
    try:
        blosc.decompress(source, out)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the blosc frame is damaged: {error}") from None
    return out


BLOSC = Decoder(name="blosc", by="numcodecs", decode=decompress, missing=MISSING)
