"""LZ4 as the HDF5 filter stores it: a header of 12 bytes, then blocks with their lengths."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs import packages
from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array, header_of, room

HEADER = struct.Struct(">QI")
LENGTH_BYTES = 4


def block(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Decompress one raw LZ4 block that fills `out` exactly."""
    # numcodecs wants the decoded size before the block.
    framed = struct.pack("<I", len(out)) + data.tobytes()
    try:
        packages.lz4.decompress(framed, out)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the LZ4 block is damaged: {error}") from None


def stored_block(source: NDArray[np.uint8], place: int, what: str) -> tuple[Any, int]:
    """Give the block that begins at `place` with its length, and where it ends."""
    begin = place + LENGTH_BYTES
    end = begin + int.from_bytes(source[place:begin].tobytes(), "big")
    if end > len(source):
        raise ValueError(f"the {what} data breaks off inside a block")
    return source[begin:end], end


def decompress(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Give the content of all blocks; one as long as its content is stored as it is."""
    source = as_array(data)
    size, block_size = header_of(source, HEADER, "LZ4 data")
    out = room(size, limit, into)
    if block_size == 0 and size:
        raise ValueError("the LZ4 header declares blocks of 0 bytes")
    place, done = HEADER.size, 0
    while done < size:
        content = min(block_size, size - done)
        stored, place = stored_block(source, place, "LZ4")
        if len(stored) == content:
            out[done : done + content] = stored
        else:
            block(stored, out[done : done + content])
        done += content
    return out


LZ4 = Decoder(name="lz4", by="numcodecs", decode=decompress, missing=packages.NO_NUMCODECS)
