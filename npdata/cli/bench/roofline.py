"""What reading cannot be faster than: the bare operation, with nothing around it.

Idea: rows in place are gathered into a buffer that is used again; other rows are read in whole
blocks, in file order, by all cores, and thrown away. Of several fields that are not all in place,
the costliest stands for all. Limits: a method may still be faster, since rows in order are copied
in larger pieces; the roofline of a report is then the fastest method.
"""

import itertools
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from npdata.arrays.dtypes import NATIVE
from npdata.cli.bench.plain import Rows
from npdata.sources.base import Source


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """A bare operation over `fields`, by number; `checked` where it gives the very rows."""

    name: str
    fields: tuple[int, ...]
    checked: bool = False

    @classmethod
    def of(cls, sources: Sequence[Source]) -> "Roofline":
        """Decide which bare operation bounds reading these sources."""
        tables = [source.table for source in sources]
        slow = [
            (source.access.cost, source.row_bytes, number)
            for number, source in enumerate(sources)
            if tables[number] is None and source.access.kind not in ("memory", "mapped")
        ]
        if slow:
            return cls(name="bare reading, blocks", fields=(max(slow)[-1],))
        checked = all(
            table is not None
            and table.view is not None
            and table.view.dtype == NATIVE.get(source.dtype.name)
            for table, source in zip(tables, sources, strict=True)
        )
        return cls(name="bare gather", fields=tuple(range(len(sources))), checked=checked)

    def once(
        self, sources: Sequence[Source], batches: Sequence[Rows], *, rows: int, threads: int
    ) -> Iterator[Any]:
        """Do it for `batches`, or for the first `rows` rows by so many threads."""
        if self.name == "bare gather":
            return _gather(sources, batches)
        return _read_blocks(sources[self.fields[0]], rows, threads)


def gather(
    views: Sequence[Tensor], batches: Iterable[Rows], *, most: int, buffers: int = 1
) -> Iterator[tuple[Tensor, ...]]:
    """Copy the rows of each batch by one `index_select` a tensor, into `buffers` used in turn.

    `most` is the largest number of rows of a batch.

    Examples:
        >>> batches = [np.array([8, 3]), np.array([0])]
        >>> [x.tolist() for x, in gather([torch.arange(9)], batches, most=2)]
        [[8, 3], [0]]
    """
    outs = [[view.new_empty(most, *view.shape[1:]) for view in views] for _ in range(buffers)]
    for rows, pair in zip(batches, itertools.cycle(outs), strict=False):
        index = torch.from_numpy(rows)
        yield tuple(
            torch.index_select(view, 0, index, out=out[: len(rows)])
            for view, out in zip(views, pair, strict=True)
        )


def _gather(sources: Sequence[Source], batches: Sequence[Rows]) -> Iterator[Any]:
    most = max(map(len, batches))
    tables = [source.table for source in sources]
    views = [table.view for table in tables if table is not None and table.view is not None]
    if len(views) == len(sources):
        yield from gather(views, batches, most=most)
        return
    # Chunks without filters: their source gathers them.
    outs = [np.empty((most, *source.shape[1:]), source.dtype) for source in sources]
    for rows in batches:
        for source, out in zip(sources, outs, strict=True):
            source.read(rows, out[: len(rows)])
        yield torch.empty(len(rows), 0)


def _read_blocks(source: Source, rows: int, threads: int) -> Iterator[Tensor]:
    block_rows = source.blocks.block_rows[0]
    mine = threading.local()

    def read(first: int) -> int:
        if not hasattr(mine, "out"):
            mine.out = np.empty((block_rows, *source.shape[1:]), source.dtype)
        count = min(block_rows, rows - first)
        source.read_run(first, mine.out[:count])
        return count

    with ThreadPoolExecutor(threads) as pool:
        firsts = iter(range(0, rows, block_rows))
        ahead = deque(pool.submit(read, first) for first in itertools.islice(firsts, 2 * threads))
        try:
            while ahead:
                done = ahead.popleft().result()
                ahead.extend(pool.submit(read, first) for first in itertools.islice(firsts, 1))
                yield torch.empty(done, 0)
        finally:
            pool.shutdown(cancel_futures=True)
