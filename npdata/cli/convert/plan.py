"""What a conversion will do, decided before anything is written: pure arithmetic.

Idea: from shapes, dtypes and options to how each array is cut into chunks and blocks, and to how
many threads work on blocks of one size. Invariant: `in_use` counts what is in memory at one time,
and the division chosen fits `memory`; whatever the target cannot hold, and whatever does not fit
the disk, is an error here. No file is opened.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from npdata.arrays.blocks import BLOCK_BYTES as CHUNK_BYTES
from npdata.cli.console import UsageError, bytes_text
from npdata.cli.convert.writer import Array, FieldPlan, Writer
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
class FieldSpec(Array):
    """An array to convert; `where` is for people.

    `source_rows` is the number of rows that are cheapest to read together, 1 where that is the
    same for all; `held_bytes` what the source keeps in memory all the time; `chunk_bytes` the size
    of a chunk that has to be decoded, 0 where there is none, and `decoding_bytes` what it takes
    beside that until it is.
    """

    where: str
    source_rows: int = 1
    held_bytes: int = 0
    chunk_bytes: int = 0
    decoding_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Options:
    """As asked for: chunks, the level of gzip or None, bytes of memory, and whether to verify.

    Without `memory` it is `MEMORY`, or as much as a row, a chunk or a member needs.
    """

    chunks: Chunks | None
    compression: int | None
    memory: int | None
    verify: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`cache_bytes` are for decoded chunks; `threads` read and compress, each one block at a time.

    With 0 threads there is one block at a time, from the reading to the writing.
    """

    fields: tuple[FieldPlan, ...]
    threads: int
    cache_bytes: int

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return sum(field.nbytes for field in self.fields)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the work takes, in bytes.

    `held` all the time; `block` for the smallest block of rows; `chunk` for a chunk that has to be
    decoded, 0 where there is none, and `decoding` beside it until it is; `encoding` beside a block
    while it is compressed.
    """

    block: int
    held: int = 0
    chunk: int = 0
    decoding: int = 0
    encoding: int = 0

    @property
    def least(self) -> int:
        """The bytes in all, with one block and one chunk at a time."""
        return self.in_use(threads=0, block=self.block, chunks=1)

    def in_use(self, *, threads: int, block: int, chunks: int) -> int:
        """Give the bytes in all, while `chunks` chunks are decoded and `threads` work on blocks."""
        decoded = chunks * (self.chunk + self.decoding)
        blocks = threads + WAITING if threads else 1
        encoded = max(1, threads) * self.encoding
        return RUNTIME_BYTES + self.held + decoded + blocks * COPIES * block + encoded


def make_plan(
    specs: Sequence[FieldSpec],
    target: type[Writer],
    options: Options,
    *,
    cores: int,
    free_bytes: int,
) -> Plan:
    """Decide how to convert these arrays, of which there is at least one.

    Raises `UsageError` for options that do not fit the target or the arrays and for too little
    memory, and `ConvertError` for a dtype that it cannot hold and a disk that is too small.
    """
    _require_options(target, options)
    _require_names(specs, target)
    for spec in specs:
        why = target.refusal(spec.dtype)
        if why is not None:
            raise ConvertError(f"{spec.where} ({spec.dtype}) does not fit {target.format}: {why}")
    nbytes = sum(spec.nbytes for spec in specs)
    if options.compression is None and nbytes > free_bytes:
        raise ConvertError(
            f"the rows take {bytes_text(nbytes)}, and the disk has {bytes_text(free_bytes)} free"
        )
    asked = options.chunks or "auto"
    chunks = [
        chunk_shape(asked, spec.name, spec.shape, spec.dtype.itemsize)
        if target.has_chunks
        else None
        for spec in specs
    ]
    units = [shape[0] if shape else 1 for shape in chunks]
    need = _need(specs, chunks, units, options)
    memory = max(MEMORY, need.least) if options.memory is None else options.memory
    if need.least > memory:
        raise UsageError(_too_little(specs, need, memory))
    wanted = max(BLOCK_BYTES, *(spec.source_rows * spec.row_bytes for spec in specs))
    threads, block, cache = _divided(memory, need, wanted, cores)
    fields = tuple(
        FieldPlan(
            name=spec.name,
            shape=spec.shape,
            dtype=spec.dtype,
            block_rows=_block_rows(spec, unit, block),
            chunk_shape=shape,
            compression=options.compression,
        )
        for spec, shape, unit in zip(specs, chunks, units, strict=True)
    )
    return Plan(fields=fields, threads=threads, cache_bytes=cache)


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


def _require_options(target: type[Writer], options: Options) -> None:
    if options.chunks is not None and not target.has_chunks:
        raise UsageError(f"--chunks is for HDF5; {target.format} has no chunks")
    if options.compression is not None and not target.compresses:
        raise UsageError(f"--compression is for HDF5 and .npz; {target.format} is not compressed")
    if options.compression is not None and options.chunks == "none":
        raise UsageError("--compression needs chunks, and --chunks none was given")


def _require_names(specs: Sequence[FieldSpec], target: type[Writer]) -> None:
    names = [spec.name for spec in specs]
    if len(names) > 1 and not target.holds_many:
        known = ", ".join(repr(name) for name in names)
        raise UsageError(
            f"{target.format} holds one array, and {len(names)} were given; name one, as in "
            f"SRC::NAME, of {known}"
        )
    if target.holds_many and not target.has_chunks:
        names = [name.removesuffix(".npy") for name in names]
    for spec, name in zip(specs, names, strict=True):
        if names.count(name) > 1:
            raise UsageError(f"two arrays would be named {name!r}, one of them {spec.where}")


def _need(
    specs: Sequence[FieldSpec],
    chunks: Sequence[tuple[int, ...] | None],
    units: Sequence[int],
    options: Options,
) -> Need:
    written, members = 0, [spec.held_bytes for spec in specs]
    if options.compression is not None:
        for place, (spec, shape) in enumerate(zip(specs, chunks, strict=True)):
            if shape is not None:
                written = max(written, math.prod(shape) * spec.dtype.itemsize)
            elif options.verify:
                # A compressed member of a .npz is read back as one piece.
                members[place] += spec.nbytes
    read = written if options.verify else 0
    return Need(
        held=max(members),
        block=max(unit * spec.row_bytes for unit, spec in zip(units, specs, strict=True)),
        chunk=max(read, *(spec.chunk_bytes for spec in specs)),
        decoding=max((1 + BETWEEN_FILTERS) * read, *(spec.decoding_bytes for spec in specs)),
        encoding=ENCODING * written,
    )


def _too_little(specs: Sequence[FieldSpec], need: Need, memory: int) -> str:
    largest = max(specs, key=lambda spec: spec.row_bytes + spec.held_bytes + spec.chunk_bytes)
    return (
        f"--memory {bytes_text(memory)} is too little: {largest.where} takes "
        f"{bytes_text(need.least)} in all, with its rows, chunks or members that are decoded "
        f"whole; --memory {-(-need.least // 10**6)}MB would do"
    )


def _divided(memory: int, need: Need, wanted: int, cores: int) -> tuple[int, int, int]:
    """Give threads, the bytes of a block, and those for decoded chunks: as many threads as fit.

    Where not even one does, one block is read and written after the other.

    Examples:
        >>> _divided(512_000_000, Need(block=1 << 20), 8 << 20, cores=2)
        (2, 8388608, 0)
    """
    block = max(wanted, need.block)
    for threads in range(cores, 0, -1):
        chunks = threads + max(1, cores - 1)
        left = memory - need.in_use(threads=threads, block=block, chunks=chunks)
        if left >= 0:
            kept = min(left, CACHE_BYTES) if need.chunk else 0
            return threads, block, chunks * need.chunk + kept
    left = memory - need.in_use(threads=0, block=0, chunks=1)
    return 0, left // COPIES, need.chunk


def _block_rows(spec: FieldSpec, unit: int, block: int) -> int:
    """Give a multiple of `unit` rows: about 8 MiB, or more where the source's blocks are larger."""
    row = max(1, spec.row_bytes)
    wanted = max(BLOCK_BYTES // row, spec.source_rows)
    return max(1, min(wanted, block // row) // unit) * unit
