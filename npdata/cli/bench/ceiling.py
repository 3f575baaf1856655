"""What reading cannot be faster than: the bare operation, with nothing around it.

Idea: rows in place are gathered by one call into a buffer that is used again; filtered chunks are
read and decoded, each once, by all cores, and thrown away; what only h5py can read is read by it,
block after block. Of several fields that are not all in place, the costliest stands for all.
Invariant: a ceiling does the least that any reader has to do, so it may deliver no rows; where it
does, they are checked like everybody's.
"""

import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.dtypes import NATIVE
from npdata.arrays.gather import ByteRows
from npdata.cli.bench.plain import PlainFile, Rows, opened
from npdata.sources.base import Source
from npdata.sources.hdf5.codecs.pipeline import decode_chunk
from npdata.sources.hdf5.layout import Layout, open_file, read_layout
from npdata.sources.hdf5.tiling import Tiling

GATHER, DECODE, BLOCKS = "bare gather", "bare decode", "h5py, whole blocks"


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """Which bare operation, over which fields; `checked` where it gives the very rows."""

    name: str
    fields: tuple[int, ...]
    checked: bool


def ceiling_of(sources: Sequence[Source]) -> Ceiling:
    """Decide which bare operation bounds reading these sources."""
    tables = [source.table for source in sources]
    if all(table is not None and table.view is not None for table in tables):
        typed = all(table is not None and table.typed for table in tables)
        return Ceiling(name=GATHER, fields=tuple(range(len(sources))), checked=typed)
    costs = [(source.access.cost, source.row_bytes) for source in sources]
    costliest = max(range(len(sources)), key=costs.__getitem__)
    name = {"mapped": GATHER, "memory": GATHER, "decoded": DECODE}.get(
        sources[costliest].access.kind, BLOCKS
    )
    return Ceiling(name=name, fields=(costliest,), checked=False)


def bare(
    ceiling: Ceiling,
    sources: Sequence[Source],
    files: Sequence[PlainFile],
    batches: Sequence[Rows],
    *,
    rows: int,
    threads: int,
) -> Iterator[Any]:
    """Do the bare operation over `batches`, or over the first `rows` rows, again and again."""
    chosen = [sources[number] for number in ceiling.fields]
    if ceiling.name == GATHER:
        if chosen[0].table is None:
            return _gather_chunks(files[ceiling.fields[0]], batches)
        return _gather(chosen, batches)
    block_rows = chosen[0].blocks.block_rows[0]
    if ceiling.name == DECODE:
        return _decode(files[ceiling.fields[0]], rows, threads)
    return _whole_blocks(files[ceiling.fields[0]], rows, block_rows)


def _gather(sources: Sequence[Source], batches: Sequence[Rows]) -> Iterator[Any]:
    most = max(map(len, batches))
    pairs = []
    for source in sources:
        table = source.table
        if table is not None and table.view is not None:
            dtype = NATIVE[source.dtype.name] if table.typed else torch.uint8
            pairs.append((table, torch.empty((most, *table.view.shape[1:]), dtype=dtype)))
    while True:
        for rows in batches:
            for table, out in pairs:
                table.select(rows, out[: len(rows)])
            yield tuple(out[: len(rows)] for _, out in pairs)


def _gather_chunks(file: PlainFile, batches: Sequence[Rows]) -> Iterator[Tensor]:
    """Gather rows of chunks without filters; a row that is cut into tiles counts as its first."""
    layout, tiling = _layout(file)
    offsets = np.zeros(1, np.int64)
    stored: NDArray[np.uint8] = np.zeros(layout.chunk_bytes, np.uint8)
    if layout.chunks is not None and len(layout.chunks):
        offsets, stored = layout.chunks.offsets, np.memmap(file.path, np.uint8, "r")
    data = ByteRows.of(stored, tiling.tile_bytes)
    starts = []
    for rows in batches:
        block, within = np.divmod(rows, tiling.chunk_rows)
        chunk = np.minimum(block * tiling.count, len(offsets) - 1)
        starts.append(offsets[chunk] + within * tiling.tile_bytes)
    out = np.empty((max(map(len, batches)), tiling.tile_bytes), np.uint8)
    while True:
        for each in starts:
            for _ in range(tiling.count):
                data.gather(each, out[: len(each)])
            yield torch.from_numpy(out[: len(each)])


def _decode(file: PlainFile, rows: int, threads: int) -> Iterator[Tensor]:
    layout, tiling = _layout(file)
    table = layout.chunks
    if table is None:
        return
    scratch = threading.local()
    descriptor = os.open(file.path, os.O_RDONLY)

    def work(block: int) -> int:
        if not hasattr(scratch, "out"):
            scratch.out = np.empty(layout.chunk_bytes, np.uint8)
        chunks = np.arange(block * tiling.count, (block + 1) * tiling.count)
        for entry in table.find(chunks).tolist():
            if entry >= 0:
                data = os.pread(descriptor, int(table.sizes[entry]), int(table.offsets[entry]))
                decode_chunk(layout.filters, table.mask(entry), data, scratch.out)
        return min(tiling.chunk_rows, rows - block * tiling.chunk_rows)

    pool = ThreadPoolExecutor(threads)
    try:
        blocks = itertools.cycle(range(-(-rows // tiling.chunk_rows)))
        ahead: deque[Future[int]] = deque(
            pool.submit(work, block) for block in itertools.islice(blocks, 2 * threads)
        )
        for block in blocks:
            done = ahead.popleft().result()
            ahead.append(pool.submit(work, block))
            yield torch.empty(done, 0)
    finally:
        pool.shutdown(cancel_futures=True)
        os.close(descriptor)


def _whole_blocks(file: PlainFile, rows: int, block_rows: int) -> Iterator[Tensor]:
    with opened([file]) as (dataset,):
        while True:
            for first in range(0, rows, block_rows):
                block: NDArray[Any] = dataset[first : min(rows, first + block_rows)]
                yield torch.empty(len(block), 0)


def _layout(file: PlainFile) -> tuple[Layout, Tiling]:
    with open_file(file.path, None) as opened_file:
        layout = read_layout(opened_file[file.member])
    chunk_shape = layout.chunk_shape or layout.shape
    return layout, Tiling.of(layout.shape, chunk_shape, layout.dtype.itemsize)
