"""The rows, moved: read by threads block by block, handed to a writer in order.

Idea: `blocks` gives what some work makes of each block, in order, with the kernel told what comes
next and what is done; writing and comparing are two kinds of that work. Invariant: at any time no
more blocks are in memory than the plan has counted. h5py is read in the caller's thread alone.
"""

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from npdata.cli.convert.writer import FieldPlan, Writer
from npdata.loading.prefetcher import Lookahead
from npdata.sources.base import Source

AHEAD = 2
FLUSH_BYTES = 64 << 20

Rows = NDArray[Any]
Result = TypeVar("Result")


def read_rows(source: Source, first: int, out: Rows) -> Rows:
    """Read the rows from `first` on into `out`; gaps between the fields of records become zeros."""
    if source.dtype.names is not None:
        out.reshape(-1).view(np.uint8)[...] = 0
    source.read_run(first, out)
    return out


def blocks(
    source: Source, block_rows: int, threads: int, work: Callable[[int, Rows], Result]
) -> Generator[tuple[int, int, Result], None, None]:
    """Give `first`, `stop` and what `work(first, rows)` makes of it, for each block in order.

    The rows are used again as soon as the next one is asked for. Until it is closed threads may
    read the source and be at `work`, also after an error in the loop over it.
    """
    used: queue.SimpleQueue[Rows] = queue.SimpleQueue()
    through_h5py = source.access.kind == "library"

    def buffer(count: int) -> Rows:
        with suppress(queue.Empty):
            return used.get_nowait()[:count]
        return np.empty((block_rows, *source.shape[1:]), source.dtype)[:count]

    def jobs() -> Iterator[tuple[int, int, Rows | None]]:
        for first in range(0, len(source), block_rows):
            stop = min(first + block_rows, len(source))
            source.will_need(first, stop)
            rows = read_rows(source, first, buffer(stop - first)) if through_h5py else None
            yield first, stop, rows

    def do(job: tuple[int, int, Rows | None]) -> tuple[int, int, Rows, Result]:
        first, stop, rows = job
        if rows is None:
            rows = read_rows(source, first, buffer(stop - first))
        return first, stop, rows, work(first, rows)

    with Lookahead(do, jobs(), threads=threads, depth=threads + AHEAD - 1) as results:
        for first, stop, rows, result in results:
            yield first, stop, result
            if len(rows) == block_rows:
                used.put(rows)
            source.dont_need(first, stop)


def write_field(
    source: Source,
    field: FieldPlan,
    writer: Writer,
    threads: int,
    wrote: Callable[[int], None],
) -> None:
    """Write all rows of a source as one array; `wrote` is told the bytes of each block."""
    writer.begin(field)
    with closing(blocks(source, field.block_rows, threads, writer.prepare)) as written:
        for first, stop, prepared in written:
            writer.accept(first, prepared)
            wrote((stop - first) * field.row_bytes)
    writer.end()


@contextmanager
def written_behind(path: Path) -> Iterator[Callable[[int], None]]:
    """Let the kernel write a growing file all the time, and keep little of it in memory.

    Gives a function to tell of bytes that were written. The system would wait until a tenth of
    the memory is full, and then let the program wait for the disk.
    """
    if not hasattr(os, "posix_fadvise"):
        yield lambda count: None
        return
    descriptor = os.open(path, os.O_RDONLY)
    asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
    waiting = 0

    def serve() -> None:
        while asked.get():
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def wrote(count: int) -> None:
        nonlocal waiting
        waiting += count
        if waiting >= FLUSH_BYTES:
            waiting = 0
            asked.put(True)

    thread = threading.Thread(target=serve, name="npdata-flush", daemon=True)
    thread.start()
    try:
        yield wrote
    finally:
        asked.put(False)
        thread.join()
        os.close(descriptor)
