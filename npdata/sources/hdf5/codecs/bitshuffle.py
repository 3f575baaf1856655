"""Bitshuffle: the first bits of all elements of a block, then the second, and so on.

Client data: version, version, element size, block size in elements (0: chosen from the element
size), compression (0 none, 2 LZ4, 3 zstd). Blocks have a multiple of eight elements; what is left
over at the end is as it was. The bits are put back in NumPy, eight by eight as 64-bit words.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs import lz4, packages, zstd
from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array, header_of, require_room

TARGET_BYTES = 8192
MULTIPLE = 8
Block: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.uint8]], None]
BLOCKS: dict[int, Block] = {2: lz4.block, 3: zstd.block}
"""How to decompress a block into memory that it must fill, by the compression of the filter."""


def unshuffle_bits(data: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Put the bits of a block of 8k elements of `size` bytes together again."""
    count = len(data) // size
    # Byte j of the elements: eight rows of bits, as one word of 8 x 8 bits per eight elements.
    rows = data.reshape(size, 8, count // 8).transpose(0, 2, 1)
    words = np.ascontiguousarray(rows).view("<u8")[..., 0]
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0xF0F0F0F0)):
        swap = (words ^ (words >> np.uint64(shift))) & np.uint64(mask)
        words = words ^ swap ^ (swap << np.uint64(shift))
    elements = words.view(np.uint8).reshape(size, count)
    return np.ascontiguousarray(elements.T).reshape(-1)


def decompress(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Give the bytes before bitshuffle and its compression."""
    source = as_array(data)
    if len(values) < 3 or values[2] == 0:
        raise ValueError(f"bitshuffle has client data {values}, and no element size in it")
    size = values[2]
    method = values[4] if len(values) > 4 else 0
    if method == 0:
        require_room(len(source), limit)
        asked = values[3] if len(values) > 3 else 0
        chosen = max(TARGET_BYTES // size // MULTIPLE * MULTIPLE, 128)  # by bitshuffle
        return _plain(source, size, asked or chosen)
    if method not in BLOCKS:
        raise ValueError(f"bitshuffle has compression {method}; known are 0, 2 (LZ4), 3 (zstd)")
    total, block_bytes = header_of(source, lz4.HEADER, "bitshuffle data")
    require_room(total, limit)
    block = block_bytes // size
    if block == 0 or block % MULTIPLE:
        raise ValueError(f"bitshuffle declares blocks of {block_bytes} bytes")
    return _compressed(source[lz4.HEADER.size :], total, size, block, BLOCKS[method])


def _blocks(elements: int, block: int) -> list[int]:
    last = elements % block // MULTIPLE * MULTIPLE
    return [block] * (elements // block) + ([last] if last else [])


def _plain(source: NDArray[np.uint8], size: int, block: int) -> NDArray[np.uint8]:
    out = source.copy()
    done = 0
    for count in _blocks(len(source) // size, block):
        part = slice(done, done + count * size)
        out[part] = unshuffle_bits(source[part], size)
        done = part.stop
    return out


def _compressed(
    source: NDArray[np.uint8], total: int, size: int, block: int, decompress_block: Block
) -> NDArray[np.uint8]:
    out = np.empty(total, np.uint8)
    place = done = 0
    for count in _blocks(total // size, block):
        stored, place = lz4.stored_block(source, place, "bitshuffle")
        bits = np.empty(count * size, np.uint8)
        decompress_block(stored, bits)
        out[done : done + len(bits)] = unshuffle_bits(bits, size)
        done += len(bits)
    rest = source[place : place + total - done]
    if len(rest) != total - done:
        raise ValueError("the bitshuffle data breaks off at its end")
    out[done:] = rest
    return out


BITSHUFFLE = Decoder(
    name="bitshuffle", by="NumPy, numcodecs", decode=decompress, missing=packages.NO_NUMCODECS
)
