"""The rows, moved: read by threads block by block, handed to a writer or compared, in order.

Idea: `blocks` gives what `work` makes of each block, in order; writing and verifying are two kinds
of work. What is verified is what the library will read, so it reads both sides. Invariant: at any
time no more blocks are in memory than the plan has counted; every row of every array is compared,
NaNs by their bits, records field by field (what lies between is no data).
"""

import queue
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from npdata.cli.console import UsageError
from npdata.cli.convert.plan import ConvertError
from npdata.cli.convert.writer import FieldPlan, Writer
from npdata.loading.prefetcher import Prefetcher
from npdata.sources.base import Source
from npdata.sources.file_list import SEPARATOR
from npdata.sources.open import open_source

AHEAD = 2

Rows = NDArray[Any]
Result = TypeVar("Result")


def write_field(
    source: Source, field: FieldPlan, writer: Writer, threads: int, wrote: Callable[[int], None]
) -> None:
    """Write all rows of a source as one array; `wrote` gets the bytes of each block.

    Raises `UsageError` where the format has no such name, or has it already.
    """
    try:
        writer.begin(field)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{field.name!r} cannot name an array of {writer.format}: {error}"
        ) from error
    with closing(_blocks(source, field.block_rows, threads, writer.prepare)) as written:
        for first, stop, prepared in written:
            writer.accept(first, prepared)
            wrote((stop - first) * field.row_bytes)
    writer.end()


def open_written(path: Path, held: str, field: FieldPlan) -> Source | None:
    """Open an array of the file written in the format `held`; None for a raw one without bytes.

    The rows of a raw file may begin with what would make them a file of another format.
    """
    if held != "raw":
        return open_source(str(path) if held == ".npy" else f"{path}{SEPARATOR}{field.name}")
    return open_source(path, dtype=field.dtype, shape=field.shape) if field.nbytes else None


def verify_field(
    source: Source, field: FieldPlan, copy: Source, threads: int, compared: Callable[[int], None]
) -> None:
    """Compare a source with its copy, which is closed then.

    Raises `ConvertError` with the first row that differs. `compared` gets the bytes of each block.
    """
    if (copy.shape, copy.dtype) != (source.shape, source.dtype):
        raise ConvertError(
            f"{source.where} is {source.shape} of {source.dtype}, and its copy {copy.shape} of "
            f"{copy.dtype}; the copy is discarded"
        )

    def compare(first: int, rows: Rows) -> int | None:
        return differing_row(rows, _read(copy, first, np.empty_like(rows)))

    try:
        with closing(_blocks(source, field.block_rows, threads, compare)) as verdicts:
            for first, stop, differs in verdicts:
                if differs is not None:
                    raise ConvertError(
                        f"row {first + differs} of {source.where} differs from its copy, which is "
                        f"discarded; the disk or the memory is at fault, or the source changed"
                    )
                copy.dont_need(first, stop)
                compared((stop - first) * field.row_bytes)
    finally:
        copy.close()


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
    source: Source, block_rows: int, threads: int, work: Callable[[int, Rows], Result]
) -> Generator[tuple[int, int, Result], None, None]:
    """Give `first`, `stop` and what `work(first, rows)` makes of it, for each block in order.

    The rows are used again as soon as the next one is asked for. Until it is closed threads may
    read the source and be at `work`, also after an error in the loop over it.
    """
    used: queue.SimpleQueue[Rows] = queue.SimpleQueue()

    def jobs() -> Iterator[tuple[int, int]]:
        for first in range(0, len(source), block_rows):
            stop = min(first + block_rows, len(source))
            source.will_need(first, stop)
            yield first, stop

    def do(job: tuple[int, int]) -> tuple[int, int, Rows, Result]:
        first, stop = job
        buffer = None
        with suppress(queue.Empty):
            buffer = used.get_nowait()
        if buffer is None:
            buffer = np.empty((block_rows, *source.shape[1:]), source.dtype)
        rows = _read(source, first, buffer[: stop - first])
        return first, stop, buffer, work(first, rows)

    with Prefetcher(do, jobs(), threads=threads, depth=threads + AHEAD - 1) as results:
        for first, stop, buffer, result in results:
            yield first, stop, result
            used.put(buffer)
            source.dont_need(first, stop)


def _read(source: Source, first: int, out: Rows) -> Rows:
    """Read the rows from `first` on; gaps between the fields of records become zeros."""
    if source.dtype.names is not None:
        out.reshape(-1).view(np.uint8)[...] = 0
    source.read_run(first, out)
    return out
