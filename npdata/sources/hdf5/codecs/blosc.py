"""Blosc 1: a frame with its sizes in a header of 16 bytes."""

import struct

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs import packages
from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array, header_of, room

HEADER = struct.Struct("<4BIII")
SNAPPY = 3
"""The one compressor that numcodecs lacks, as the seventh value of the filter names it."""


def decompress(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Give the content of a frame."""
    source = as_array(data)
    *_, size, _, stored = header_of(source, HEADER, "a blosc frame")
    out = room(size, limit, into)
    if stored != len(source):
        raise ValueError(f"the blosc frame declares {stored} bytes and has {len(source)}")
    try:
        packages.blosc.decompress(source, out)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the blosc frame is damaged: {error}") from None
    return out


BLOSC = Decoder(name="blosc", by="numcodecs", decode=decompress, missing=packages.NO_NUMCODECS)
