"""What a conversion will do, decided before anything is written: pure arithmetic.

Idea: from shapes, dtypes and options to how each array is cut into chunks and blocks, and to how
many threads work on blocks of one size. Invariant: `_Need.in_use` counts what is in memory at one
time, and what is chosen fits `memory`; whatever the target cannot hold, and whatever does not fit
the disk, is an error here. No file is opened.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from npdata.arrays.blocks import BLOCK_BYTES as CHUNK_BYTES
from npdata.cli.console import UsageError, bytes_text
from npdata.cli.convert.writer import Array, Writer
from npdata.errors import NpdataError
from npdata.sources.hdf5.budget import CACHE_BYTES

MEMORY = 512_000_000
"""The most memory to take, where nothing else is asked for and nothing needs more."""
RUNTIME_BYTES = 280_000_000
"""What the process takes with no rows in memory: Python, NumPy, torch and h5py (seen: 265 MB)."""
BLOCK_BYTES = 8 << 20
"""A block of rows, unless a row or a chunk is larger."""
WAITING = 3
"""Blocks beyond those that threads work on: two that wait, and one that is being written."""
COPIES = 2
"""A block is in memory as rows and as what is written, or what is compared."""
BETWEEN_FILTERS = 2
"""A chunk is in memory so often while it is decoded, beside what is stored of it."""
ENCODING = 2
"""A chunk that is being compressed: cut out of its rows, and shuffled."""
LARGEST_ROW = 16 << 20
"""Larger rows are cut into chunks, so that one row can be decoded by several threads."""
LARGEST_CHUNK = (1 << 32) - 1

Chunks: TypeAlias = Literal["auto", "none"] | tuple[int, ...]


class ConvertError(NpdataError, ValueError):
    """What was to be converted cannot be, or not into this kind of file."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the arrays are cut, and the bytes of `cache_bytes` for decoded chunks.

    Each of the `threads` reads and compresses one block at a time. With 0 threads there is one
    block at a time, from the reading to the writing.
    """

    arrays: tuple[Array, ...]
    threads: int
    cache_bytes: int

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return sum(array.nbytes for array in self.arrays)


@dataclass(frozen=True, kw_only=True)
class _Need:
    """What the work takes, in bytes.

    `held` all the time; `block` for the smallest block of rows; `chunk` for a chunk that has to be
    decoded, 0 where there is none, and `decoding` beside it until it is; `encoding` beside a block
    while it is compressed.
    """

    block: int
    held: int
    chunk: int
    decoding: int
    encoding: int

    def in_use(self, *, threads: int, block: int, chunks: int) -> int:
        """Give the bytes in all, while `chunks` chunks are decoded and `threads` work on blocks."""
        decoded = chunks * (self.chunk + self.decoding)
        blocks = threads + WAITING if threads else 1
        encoded = max(1, threads) * self.encoding
        return RUNTIME_BYTES + self.held + decoded + blocks * COPIES * block + encoded


def make_plan(
    arrays: Sequence[Array],
    target: type[Writer],
    *,
    chunks: Chunks | None,
    compression: int | None,
    memory: int | None,
    verify: bool = False,
    cores: int,
    free_bytes: int,
) -> Plan:
    """Decide how to convert these arrays, of which there is at least one.

    `chunks`, `compression` (the level of gzip), `memory` (bytes) and `verify` are as asked for;
    without `memory` it is `MEMORY`, or as much as a row, a chunk or a member needs. Raises
    `UsageError` for options that do not fit the target or the arrays and for too little memory,
    and `ConvertError` for a dtype that it cannot hold and a disk that is too small.
    """
    _require_options(target, chunks, compression)
    _require_names(arrays, target)
    for array in arrays:
        why = target.refusal(array.dtype)
        if why is not None:
            raise ConvertError(f"{array.where} ({array.dtype}) does not fit {target.format}: {why}")
    nbytes = sum(array.nbytes for array in arrays)
    if compression is None and nbytes > free_bytes:
        raise ConvertError(
            f"the rows take {bytes_text(nbytes)}, and the disk has {bytes_text(free_bytes)} free"
        )
    cut = [replace(array, compression=compression) for array in arrays]
    if target.has_chunks:
        cut = [
            replace(each, chunk_shape=chunk_shape(chunks or "auto", each.name, each.shape, size))
            for each, size in ((array, array.dtype.itemsize) for array in cut)
        ]
    need = _need(cut, verify=verify)
    least = need.in_use(threads=0, block=need.block, chunks=1)
    memory = max(MEMORY, least) if memory is None else memory
    if least > memory:
        largest = max(cut, key=lambda each: each.row_bytes + each.held_bytes + each.chunk_bytes)
        raise UsageError(
            f"--memory {bytes_text(memory)} is too little: {largest.where} takes "
            f"{bytes_text(least)} in all, with its rows, chunks or members that are decoded "
            f"whole; --memory {-(-least // 10**6)}MB would do"
        )
    block = max(BLOCK_BYTES, need.block, *(each.source_rows * each.row_bytes for each in cut))
    threads, block, cache = _divided(memory, need, block, cores)
    return Plan(
        arrays=tuple(replace(each, block_rows=_block_rows(each, block)) for each in cut),
        threads=threads,
        cache_bytes=cache,
    )


def parse_chunks(text: str) -> Chunks:
    """Read the option `--chunks`.

    Examples:
        >>> parse_chunks("256"), parse_chunks("64,8,8"), parse_chunks("none")
        ((256,), (64, 8, 8), 'none')
    """
    if text in ("auto", "none"):
        return "auto" if text == "auto" else "none"
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} are no chunks; give rows (256), sizes along every axis (256,28,28), auto "
            f"or none"
        )
    return sizes


def chunk_shape(
    asked: Chunks, name: str, shape: tuple[int, ...], itemsize: int
) -> tuple[int, ...] | None:
    """Give the shape of a chunk of HDF5, None where the dataset lies in one piece.

    "auto" is about 1 MiB of whole rows, which a disk reads at its full speed; rows above 16 MiB
    are cut. Raises `UsageError` where what was asked for does not fit the array.

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
        return (min(shape[0], max(1, CHUNK_BYTES // row_bytes)), *tile)
    for axis, size in enumerate(tile):
        pieces = -(-math.prod(tile) * itemsize // LARGEST_ROW)
        tile[axis] = -(-size // min(pieces, size))
    return (1, *tile)


def _require_options(target: type[Writer], chunks: Chunks | None, compression: int | None) -> None:
    if chunks is not None and not target.has_chunks:
        raise UsageError(f"--chunks is for HDF5; {target.format} has no chunks")
    if compression is not None and not target.compresses:
        raise UsageError(f"--compression is for HDF5 and .npz; {target.format} is not compressed")
    if compression is not None and chunks == "none":
        raise UsageError("--compression needs chunks, and --chunks none was given")


def _require_names(arrays: Sequence[Array], target: type[Writer]) -> None:
    names = [array.name for array in arrays]
    if len(names) > 1 and not target.holds_many:
        known = ", ".join(repr(name) for name in names)
        raise UsageError(
            f"{target.format} holds one array, and {len(names)} were given; name one, as in "
            f"SRC::NAME, of {known}"
        )
    if target.holds_many and not target.has_chunks:
        names = [name.removesuffix(".npy") for name in names]
    for array, name in zip(arrays, names, strict=True):
        if names.count(name) > 1:
            raise UsageError(f"two arrays would be named {name!r}, one of them {array.where}")


def _need(arrays: Sequence[Array], *, verify: bool) -> _Need:
    packed = [array for array in arrays if array.compression is not None]
    written = max((each.written_bytes for each in packed if each.chunk_shape), default=0)
    # A compressed member of a .npz is read back as one piece.
    whole = [each for each in packed if each.chunk_shape is None and verify]
    read = written if verify else 0
    return _Need(
        held=max(each.held_bytes + (each.nbytes if each in whole else 0) for each in arrays),
        block=max(each.unit_rows * each.row_bytes for each in arrays),
        chunk=max(read, *(each.chunk_bytes for each in arrays)),
        decoding=max((1 + BETWEEN_FILTERS) * read, *(each.decoding_bytes for each in arrays)),
        encoding=ENCODING * written,
    )


def _divided(memory: int, need: _Need, block: int, cores: int) -> tuple[int, int, int]:
    """Give threads, the bytes of a block, and those for decoded chunks: as many threads as fit.

    Where not even one does, one block is read and written after the other.
    """
    for threads in range(cores, 0, -1):
        chunks = threads + max(1, cores - 1)
        left = memory - need.in_use(threads=threads, block=block, chunks=chunks)
        if left >= 0:
            kept = min(left, CACHE_BYTES) if need.chunk else 0
            return threads, block, chunks * need.chunk + kept
    left = memory - need.in_use(threads=0, block=0, chunks=1)
    return 0, left // COPIES, need.chunk


def _block_rows(array: Array, block: int) -> int:
    """Give a multiple of a chunk's rows: about 8 MiB, or more where the source's blocks have."""
    row, unit = max(1, array.row_bytes), array.unit_rows
    wanted = max(BLOCK_BYTES // row, array.source_rows)
    return max(1, min(wanted, block // row) // unit) * unit
