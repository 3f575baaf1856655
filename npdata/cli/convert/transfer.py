"""The rows, moved: blocks of them are read by threads, and written or compared in order.

Idea: a block has about 8 MiB, and as many threads work on one each as `--memory` holds. What is
verified is what the library will read, so both sides are read by it. Invariant: what is in memory
at one time is counted by `pace`; every row of every array is compared, NaNs by their bits,
records field by field (what lies between is no data).
"""

import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from npdata.cli.console import UsageError, bytes_text
from npdata.cli.convert.formats import NPZ, RAW, Array, ConvertError, Format, Write
from npdata.loading.prefetcher import Prefetcher
from npdata.sources.base import Source
from npdata.sources.formats.npz import DecodedMember
from npdata.sources.hdf5.rows.h5py_rows import H5pySource

MEMORY = 232_000_000
"""The most memory to take for rows, where nothing else is asked for and nothing needs more."""
SPARE = 48_000_000
"""What the process takes beside rows and what it took before: threads, buffers, what malloc keeps,
and the code of torch that is mapped when it first runs, which is 4 to 14 MB."""
MOVED_BYTES = 8 << 20
"""A block of rows that is moved, unless a row or a chunk is larger."""
WAITING = 2
"""Blocks beyond those that threads work on: one that waits, and one that is being written."""
COPIES = 2
"""A block is in memory as rows and as what is written, or what is compared."""
CODING = 3
"""A chunk is in memory so often, beside its rows, while it is decoded or compressed."""

Rows = NDArray[Any]
Result = TypeVar("Result")
Done = Callable[[int], None]
"""Is called with the bytes of each block that is done."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """`threads` work on a block of `block_bytes` each; 0 threads: one block, read and written.

    `cache_bytes` are for decoded chunks.
    """

    threads: int
    block_bytes: int
    cache_bytes: int

    def rows(self, array: Array) -> int:
        """Give the rows of a block: whole chunks, about 8 MiB, or as many as lie together."""
        row, unit = max(1, array.source.row_bytes), array.unit_rows
        wanted = max(MOVED_BYTES // row, array.source.blocks.largest)
        return max(1, min(wanted, self.block_bytes // row) // unit) * unit


def pace(
    arrays: Sequence[Array],
    kind: Format,
    *,
    memory: int | None,
    runtime: int,
    verify: bool,
    cores: int,
) -> Pace:
    """Decide in what blocks and by how many threads the arrays, at least one, are moved.

    `memory` are the bytes of the whole process, of which `runtime` are taken before a row is read:
    0.25 GB where torch is for the CPU, 0.75 where it is for CUDA. Without `memory` the rows take
    `MEMORY`, or as much as a row, a chunk or a member needs. Raises `UsageError` where it is too
    little.
    """
    held = {array: _held(array, kind, verify=verify) for array in arrays}
    units = {array: array.unit_rows * array.source.row_bytes for array in arrays}
    decoded = max(max(each.chunk_bytes, each.packed_bytes * verify) for each in arrays)
    packed = max(array.packed_bytes for array in arrays)

    def paced(threads: int, block: int) -> tuple[Pace, int]:
        blocks = threads + WAITING if threads else 1
        cached = blocks * max(block, decoded) if decoded else 0
        moved = blocks * (COPIES * block + CODING * (decoded + packed))
        in_use = runtime + SPARE + max(held.values()) + cached + moved
        return Pace(threads=threads, block_bytes=block, cache_bytes=cached), in_use

    unit = max(units.values())
    _, least = paced(0, unit)
    memory = max(runtime + SPARE + MEMORY, least) if memory is None else memory
    if least > memory:
        largest = max(arrays, key=lambda each: held[each] + units[each] + each.chunk_bytes)
        raise UsageError(
            f"--memory {bytes_text(memory)} is too little: {largest.source.where} takes "
            f"{bytes_text(least)} in all, with its rows, chunks or members that are decoded "
            f"whole; --memory {-(-(least + SPARE) // 10**6)}MB would do"
        )
    together = (array.source.blocks.largest * array.source.row_bytes for array in arrays)
    how, in_use = paced(cores, max(MOVED_BYTES, unit, *together))
    while in_use > memory:
        fewer, half = max(0, how.threads - 1), max(unit, how.block_bytes // 2)
        how, in_use = paced(fewer, how.block_bytes if how.threads else half)
    return how


def _held(array: Array, kind: Format, *, verify: bool) -> int:
    """Give the bytes that are in memory all the time: members of a `.npz` are decoded whole."""
    read_back = verify and kind is NPZ and array.level is not None
    return array.nbytes * (isinstance(array.source, DecodedMember) + read_back)


def write_array(array: Array, kind: Format, write: Write, how: Pace, wrote: Done) -> None:
    """Write all rows of an array; raises as `Write`."""
    if isinstance(array.source, H5pySource):
        array.source.keep_decoded(how.cache_bytes)
    with closing(_blocks(array, how, functools.partial(kind.encode, array), wrote)) as blocks:
        write(array, blocks)
    _close_idle(array.source)


def verify_array(array: Array, path: Path, kind: Format, how: Pace, compared: Done) -> None:
    """Compare an array with its copy in the file at `path`.

    Raises `ConvertError` with the first row that differs.
    """
    source = array.source
    if kind is RAW and not array.nbytes:
        return
    copy = kind.read(str(path), array)
    if (copy.shape, copy.dtype) != (source.shape, source.dtype):
        raise ConvertError(
            f"{source.where} is {source.shape} of {source.dtype}, and its copy {copy.shape} of "
            f"{copy.dtype}; the copy is discarded"
        )

    def compare(first: int, rows: Rows) -> int | None:
        again = _room(len(rows), copy)
        copy.read_run(first, again)
        copy.dont_need(first, first + len(rows))
        return differing_row(rows, again)

    with closing(copy), closing(_blocks(array, how, compare, compared)) as verdicts:
        for first, differs in verdicts:
            if differs is not None:
                raise ConvertError(
                    f"row {first + differs} of {source.where} differs from its copy, which is "
                    f"discarded; the disk or the memory is at fault, or the source changed"
                )
    _close_idle(source)


def differing_row(one: Rows, other: Rows) -> int | None:
    """Give the first row in which two arrays of one shape and dtype differ, None if none does.

    Examples:
        >>> differing_row(np.array([1.0, np.nan, 3.0]), np.array([1.0, np.nan, 4.0]))
        2
    """
    if one.dtype.names is not None:
        found = [differing_row(one[name], other[name]) for name in one.dtype.names]
        return min((row for row in found if row is not None), default=None)
    if one.size == 0 or one.dtype.itemsize == 0:
        return None
    left, right = (np.ascontiguousarray(a).reshape(len(a), -1).view(np.uint8) for a in (one, other))
    if np.array_equal(left, right):
        return None
    return int(np.flatnonzero((left != right).any(axis=1))[0])


def _blocks(
    array: Array, how: Pace, work: Callable[[int, Rows], Result], done: Done
) -> Generator[tuple[int, Result], None, None]:
    """Give the first row of each block in order, and what `work(first, rows)` makes of it.

    Until it is closed threads may read the source and be at `work`, also after an error in the
    loop over it.
    """
    source, block_rows = array.source, how.rows(array)

    def starts() -> Iterator[int]:
        for first in range(0, len(source), block_rows):
            source.will_need(first, min(first + block_rows, len(source)))
            yield first

    def do(first: int) -> tuple[int, int, Result]:
        rows = _room(min(block_rows, len(source) - first), source)
        source.read_run(first, rows)
        return first, len(rows), work(first, rows)

    threads = how.threads if len(source) > block_rows else 0  # to start one takes 0.7 ms
    with Prefetcher(do, starts(), threads=threads, depth=max(1, threads)) as results:
        for first, count, result in results:
            yield first, result
            done(count * source.row_bytes)
            source.dont_need(first, first + count)


def _room(count: int, source: Source) -> Rows:
    """Give memory for rows; what lies between the fields of records is never read, and zeros."""
    make = np.empty if source.dtype.names is None else np.zeros
    return make((count, *source.shape[1:]), source.dtype)


def _close_idle(source: Source) -> None:
    """Close the file, and drop a member that was decoded whole, until the next read."""
    if isinstance(source, DecodedMember):
        source.close()
    source.close_idle()
