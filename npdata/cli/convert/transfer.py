"""The rows, moved: read by threads block by block, handed to a writer or compared, in order.

Idea: `_blocks` gives what `work` makes of each block, in order; writing and verifying are two kinds
of work. What is verified is what the library will read, so it reads both sides. Invariant: at any
time no more blocks are in memory than the plan has counted; every row of every array is compared,
NaNs by their bits, records field by field (what lies between is no data).
"""

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from npdata.cli.convert.plan import ConvertError
from npdata.cli.convert.writer import Array, Writer
from npdata.loading.prefetcher import Prefetcher
from npdata.sources.base import Source
from npdata.sources.many_files.file_list import SEPARATOR
from npdata.sources.open import open_source

AHEAD = 2

Rows = NDArray[Any]
Result = TypeVar("Result")
Done = Callable[[int], None]
"""Is called with the bytes of each block that is done."""


def write_array(source: Source, array: Array, writer: Writer, threads: int, wrote: Done) -> None:
    """Write all rows of a source as one array; raises as `Writer.write`."""
    work = functools.partial(writer.prepare, array)
    with closing(_blocks(source, array, threads, work, wrote)) as blocks:
        writer.write(array, blocks)


def verify_array(
    source: Source, array: Array, path: Path, kind: type[Writer], threads: int, compared: Done
) -> None:
    """Compare a source with its copy in the file at `path`.

    Raises `ConvertError` with the first row that differs.
    """
    where = str(path) if kind.format in (".npy", "raw") else f"{path}{SEPARATOR}{array.name}"
    if kind.format != "raw":
        copy = open_source(where)
    elif array.nbytes:
        # The rows of a raw file may begin with what would make them a file of another format.
        copy = open_source(where, dtype=array.dtype, shape=array.shape)
    else:
        return
    if (copy.shape, copy.dtype) != (source.shape, source.dtype):
        raise ConvertError(
            f"{source.where} is {source.shape} of {source.dtype}, and its copy {copy.shape} of "
            f"{copy.dtype}; the copy is discarded"
        )

    def compare(first: int, rows: Rows) -> int | None:
        found = differing_row(rows, _read(copy, first, np.empty_like(rows)))
        copy.dont_need(first, first + len(rows))
        return found

    with closing(copy), closing(_blocks(source, array, threads, compare, compared)) as verdicts:
        for first, differs in verdicts:
            if differs is not None:
                raise ConvertError(
                    f"row {first + differs} of {source.where} differs from its copy, which is "
                    f"discarded; the disk or the memory is at fault, or the source changed"
                )


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
    source: Source, array: Array, threads: int, work: Callable[[int, Rows], Result], done: Done
) -> Generator[tuple[int, Result], None, None]:
    """Give the first row of each block in order, and what `work(first, rows)` makes of it.

    Until it is closed threads may read the source and be at `work`, also after an error in the
    loop over it.
    """

    def starts() -> Iterator[int]:
        for first in range(0, len(source), array.block_rows):
            source.will_need(first, min(first + array.block_rows, len(source)))
            yield first

    def do(first: int) -> tuple[int, int, Result]:
        rows = np.empty((min(array.block_rows, len(source) - first), *array.shape[1:]), array.dtype)
        return first, len(rows), work(first, _read(source, first, rows))

    with Prefetcher(do, starts(), threads=threads, depth=threads + AHEAD - 1) as results:
        for first, count, result in results:
            yield first, result
            done(count * array.row_bytes)
            source.dont_need(first, first + count)


def _read(source: Source, first: int, out: Rows) -> Rows:
    """Read the rows from `first` on; gaps between the fields of records become zeros."""
    if source.dtype.names is not None:
        out.reshape(-1).view(np.uint8)[...] = 0
    source.read_run(first, out)
    return out
