"""Rows in filtered chunks: read and decoded by threads, then gathered from where they lie.

Idea: a plan says which chunks a read needs; the cache gives references to them, decoding past h5py
and its lock what is not there, and the copy kernel gathers from the whole span of addresses in
which they lie. Invariant: the references are held until the gather has ended, so no chunk moves or
goes meanwhile; the file is seen unchanged before each read of rows, and after each of a chunk. No
h5py object is touched once the layout is known.
"""

import functools
import math
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import ByteRows
from npdata.arrays.per_process import PerProcess
from npdata.errors import FormatError
from npdata.sources.file import File
from npdata.sources.hdf5.budget import default_budget
from npdata.sources.hdf5.chunk_cache import SourceChunks, chunk_cache
from npdata.sources.hdf5.chunk_table import ChunkTable
from npdata.sources.hdf5.chunked import ChunkedSource, ChunkSpec
from npdata.sources.hdf5.codecs.pipeline import decode_chunk
from npdata.sources.hdf5.layout import LayoutKeeper
from npdata.sources.hdf5.rows import gather_rows
from npdata.sources.hdf5.tiling import Step, plan_steps

WORD = 16
"""The most bytes that torch copies as one element."""


@dataclass(frozen=True, kw_only=True)
class _ChunkReader:
    """Reads and decodes a chunk of one file; knows no source, which may go while this is used."""

    file: File
    table: ChunkTable
    spec: ChunkSpec

    def decode(self, number: int, out: NDArray[np.uint8], ahead: bool) -> None:
        """Decode a chunk into `out`; `FormatError` where it is damaged.

        Ahead of any read, a file that was closed is opened for this chunk alone.
        """
        table, spec = self.table, self.spec
        place, size = int(table.offsets[number]), int(table.sizes[number])
        data = self.file.read(place, size, briefly=ahead)
        try:
            decode_chunk(spec.filters, table.mask(number), data, out)
        except ValueError as error:
            shape = (spec.tiling.chunk_rows, *spec.tiling.tile)
            raise FormatError(
                f"{spec.where}: the chunk at {table.coordinates(number, shape)} (file offset "
                f"{place}, {size} bytes) does not decode: {error}; the file is damaged"
            ) from error


@dataclass(frozen=True, kw_only=True)
class _Span:
    """Memory from address `low` to `high`, ready for rows to be gathered from."""

    low: int
    high: int
    rows: ByteRows


class _Decoding:
    """What one process knows of a source: its chunk table, its chunks in the cache, and counts."""

    def __init__(self, keeper: LayoutKeeper, spec: ChunkSpec, file: File) -> None:
        self.table = keeper.table
        self.cache = chunk_cache()
        reader = _ChunkReader(file=file, table=self.table, spec=spec)
        self.chunks = SourceChunks(spec.chunk_bytes, reader.decode)
        self.fill = np.frombuffer(spec.fill, np.uint8)
        self.tile_bytes = spec.tiling.tile_bytes
        self.reused: dict[int, int] = {}
        """A count for each thread, which no other thread changes."""
        self._span: _Span | None = None
        self.forget = weakref.finalize(self, self.cache.forget, self.chunks)

    def count_reused(self, count: int) -> None:
        thread = threading.get_ident()
        self.reused[thread] = self.reused.get(thread, 0) + count

    def span(self, low: int, high: int) -> _Span:
        """Give a span of memory that reaches from `low` to `high`; it keeps no memory alive."""
        span = self._span
        if span is None or low < span.low or high > span.high:
            # To make one costs some 10 us, so it grows to where every chunk so far was.
            low, high = (low, high) if span is None else (min(low, span.low), max(high, span.high))
            step = math.gcd(self.tile_bytes, WORD)
            rows = ByteRows.between(low, high, self.tile_bytes, step=step)
            span = self._span = _Span(low=low, high=high, rows=rows)
        return span


class DecodedSource(ChunkedSource):
    """The rows of a dataset whose chunks npdata decodes."""

    def __init__(self, keeper: LayoutKeeper, spec: ChunkSpec) -> None:
        """Read the dataset of `keeper`, whose rows are cut as `spec` says."""
        super().__init__(keeper, spec)
        self._state = PerProcess(functools.partial(_Decoding, keeper, spec, self._file))

    @property
    def decoded_chunks(self) -> int:
        """How many chunks this process has decoded for this source so far."""
        return self._state.get().chunks.decoded

    @property
    def reused_chunks(self) -> int:
        """How often a read in this process found a chunk that it needs decoded already."""
        return sum(list(self._state.get().reused.values()))

    @property
    def rows_in_memory(self) -> int:
        """The rows of as many blocks, with all tiles of a row, as the whole budget holds."""
        tiling = self._spec.tiling
        return default_budget() // (tiling.count * self._spec.chunk_bytes) * tiling.chunk_rows

    @property
    def ahead_bytes(self) -> int:
        """A quarter of the cache; a window that is announced whole may be as much again."""
        return chunk_cache().budget // 4

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Gather the rows from decoded chunks; what is missing is decoded first."""
        if out.size == 0:
            return
        self._file.check()
        state, tiling = self._state.get(), self._spec.tiling
        blocks, within = np.divmod(indices, tiling.chunk_rows)
        within *= tiling.tile_bytes
        steps = list(plan_steps(blocks, tiling.count, state.cache.most(state.chunks.nbytes)))
        if len(steps) > 1:
            # First what is there, which the others might drive out.
            steps.sort(key=lambda step: not self._is_there(step, state))
        for step in steps:
            self._read_step(step, state, within, out)

    def _is_there(self, step: Step, state: _Decoding) -> bool:
        first = int(step.blocks[0]) * self._spec.tiling.count + step.tiles.start
        number = int(state.table.find(np.array([first]))[0])
        return number in state.chunks.ready

    def _read_step(
        self, step: Step, state: _Decoding, within: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        tiling, table = self._spec.tiling, state.table
        blocks, count = step.blocks[:, None], tiling.count
        entries = table.find(blocks if count == 1 else blocks * count + np.array(step.tiles))
        stored = None if table.complete else entries >= 0
        numbers = entries.ravel() if stored is None else entries[stored]
        # Held until the gather has ended: nothing else keeps the memory of the chunks.
        chunks, there = state.cache.get(state.chunks, numbers.tolist())
        addresses = [chunk.address for chunk in chunks]
        within = (within if step.places is None else within[step.places])[:, None]
        rows = None
        if addresses:
            span = state.span(min(addresses), max(addresses) + state.chunks.nbytes)
            rows = span.rows
            within = within - span.low
        if stored is None:
            starts = np.array(addresses).reshape(entries.shape).take(step.inverse, axis=0) + within
        else:
            bases = np.full(entries.shape, -1)
            bases[stored] = addresses
            starts = bases.take(step.inverse, axis=0)
            starts = np.where(starts < 0, -1, starts + within)
        gather_rows(
            rows,
            starts,
            tiling,
            step.tiles,
            state.fill,
            out,
            step.places,
            on_one_core=state.cache.busy,
        )
        del chunks
        state.count_reused(there)

    def will_need(self, first: int, stop: int) -> None:
        """Decode the chunks of these rows before they are asked for, into half of the cache."""
        state = self._state.get()
        most = state.cache.budget // 2 // state.chunks.nbytes
        state.cache.announce(state.chunks, self._stored(state, first, stop)[:most])

    def _stored(self, state: _Decoding, first: int, stop: int) -> range:
        tiling = self._spec.tiling
        blocks = range(first // tiling.chunk_rows, -(-stop // tiling.chunk_rows))
        return state.table.span(blocks.start * tiling.count, blocks.stop * tiling.count)

    def close(self) -> None:
        """Close the file and drop the decoded chunks."""
        super().close()
        state = self._state.take()
        if state is not None:
            state.forget()
