"""LZ4 as the HDF5 filter stores it: a header of 12 bytes, then blocks with their lengths."""

import struct

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs.base import MISSING, Bytes, Decoder, as_array, lz4, require_room

HEADER = struct.Struct(">QI")
LENGTH = struct.Struct(">I")


def block(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Decompress one raw LZ4 block that fills `out` exactly."""
    # numcodecs wants the decoded size before the block.
    framed = struct.pack("<I", len(out)) + data.tobytes()
    try:
        lz4.decompress(framed, out)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the LZ4 block is damaged: {error}") from None


def decompress(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Give the content of all blocks; one as long as its content is stored as it is."""
    source = as_array(data)
    if len(source) < HEADER.size:
        raise ValueError(f"LZ4 data of {len(source)} bytes is too short for its header")
    size, block_size = HEADER.unpack(source[: HEADER.size].data)
    require_room(size, limit)
    if block_size == 0 and size:
        raise ValueError("the LZ4 header declares blocks of 0 bytes")
    out = into if into is not None and len(into) == size else np.empty(size, np.uint8)
    place, done = HEADER.size, 0
    while done < size:
        content = min(block_size, size - done)
        (length,) = LENGTH.unpack(source[place : place + LENGTH.size].tobytes().ljust(4, b"\xff"))
        place += LENGTH.size
        stored = source[place : place + length]
        if len(stored) < length:
            raise ValueError("the LZ4 data breaks off inside a block")
        if length == content:
            out[done : done + content] = stored
        else:
            block(stored, out[done : done + content])
        place += length
        done += content
    return out


LZ4 = Decoder(name="lz4", by="numcodecs", decode=decompress, missing=MISSING)
