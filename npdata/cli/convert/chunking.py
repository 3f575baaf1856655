"""Which chunks an HDF5 dataset gets: about 1 MiB of whole rows, or as told. Pure arithmetic.

Idea: a chunk is what one row costs when it is read alone, and what a window of shuffling moves as
one; 1 MiB is read at the full speed of a disk. Invariant: a chunk is no larger than the dataset
along any axis, and only rows larger than 16 MiB are ever cut by themselves.
"""

import argparse
import math
from typing import Literal, TypeAlias

from npdata.arrays.blocks import BLOCK_BYTES
from npdata.cli.console import UsageError

LARGEST_ROW = 16 << 20
"""Larger rows are cut, so that one row can be decoded by several threads."""
LARGEST_CHUNK = (1 << 32) - 1

Chunks: TypeAlias = Literal["auto", "none"] | tuple[int, ...]


def parse_chunks(text: str) -> Chunks:
    """Read the option `--chunks`.

    Examples:
        >>> parse_chunks("256"), parse_chunks("64,8,8"), parse_chunks("none")
        ((256,), (64, 8, 8), 'none')
    """
    if text == "auto":
        return "auto"
    if text == "none":
        return "none"
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} are no chunks; give rows (256), sizes along every axis (256,28,28), auto "
            f"or none"
        )
    return sizes


def chunk_shape(
    asked: Chunks, name: str, shape: tuple[int, ...], itemsize: int
) -> tuple[int, ...] | None:
    """Give the shape of a chunk, None where the dataset lies in one piece.

    Raises `UsageError` where what was asked for does not fit the array.

    Examples:
        >>> chunk_shape("auto", "x", (60000, 28, 28), 1)
        (1337, 28, 28)
        >>> chunk_shape((64,), "x", (60000, 28, 28), 1)
        (64, 28, 28)
        >>> chunk_shape("auto", "x", (10, 512, 512, 300), 4)
        (1, 27, 512, 300)
    """
    if asked == "none" or 0 in shape or itemsize == 0:
        return None
    if asked == "auto":
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
