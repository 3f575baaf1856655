"""Rows gathered from decoded chunks, wherever those lie: in the chunk cache, or in a file.

Idea: a plan says which chunks a read needs; the cache gives references to them, decoding what is
not there, and the copy kernel gathers from the whole span of addresses in which they lie. With a
`Kept`, threads look for a chunk there before they decode it, and write it there afterwards; once
all are there and hold whole rows, they are gathered like those of a `.npy`. Invariant: references
are held until the gather has ended, so no chunk moves or goes meanwhile.
"""

import math
import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.gather import ByteRows, RowTable, without_threads
from npdata.arrays.per_process import PerProcess, cores
from npdata.errors import CacheWarning
from npdata.sources.base import Source, rows_of_runs
from npdata.sources.cache.cache import Kept
from npdata.sources.cache.entry import Entry
from npdata.sources.hdf5.budget import default_budget
from npdata.sources.hdf5.chunk_cache import Decode, SourceChunks, chunk_cache
from npdata.sources.hdf5.chunk_memory import Chunk
from npdata.sources.hdf5.chunk_table import ChunkTable
from npdata.sources.hdf5.chunked import ChunkSpec
from npdata.sources.hdf5.rows import gather_rows
from npdata.sources.hdf5.tiling import Pieces, Step, plan_steps

WORD = 16
"""The most bytes that torch copies as one element."""
FEW_CORES = 2
"""On so many, torch's threads copy nothing while chunks are missing: they spin for 5 ms after it.

An epoch of gzip chunks of 800 KB without a `Loader` takes 0.90 of the time, 0.93 in windows of
80 MB, and 0.75 of the processor's. More cores were not measured; one may be too slow beside them.
"""
LONG_RUN = 32
"""Runs of so many rows are copied by slices of chunks: 0.5 µs a slice, and 8 ns a row else."""


@dataclass(frozen=True, kw_only=True)
class _Span:
    """Memory from address `low` to `high`, ready for rows to be gathered from."""

    low: int
    high: int
    rows: ByteRows


@dataclass(frozen=True, kw_only=True)
class _Keeper:
    """Decodes a chunk once: what is kept already is found, and what is decoded is kept."""

    entry: Entry
    decode: Decode

    def __call__(self, number: int, out: NDArray[np.uint8], ahead: bool) -> Chunk | None:
        kept = self.entry.find(number, out)
        if kept is None:
            self.decode(number, out, ahead)
            kept = self.entry.keep(number, out)
        return None if kept is None else Chunk(kept)


class DecodedRows:
    """The rows of one source in one process: its chunk table, its chunks, and counts."""

    def __init__(
        self,
        table: ChunkTable,
        spec: ChunkSpec,
        decode: Decode,
        kept: Kept | None,
    ) -> None:
        """Cut rows as `spec` says; `decode` must not refer to the source.

        OSError where the file of `kept` cannot be opened.
        """
        self.table = table
        self.spec = spec
        self.cache = chunk_cache()
        self._few_cores = cores() <= FEW_CORES
        self.entry = None if kept is None else kept.open()
        self._decode = decode
        self._fill = np.frombuffer(spec.fill, np.uint8)
        self._reused: dict[int, int] = {}
        """A count for each thread, which no other thread changes."""
        self._span: _Span | None = None
        self._rows: RowTable | None = None
        self._warned = self._decoded_before = 0
        self._begin()

    def _begin(self) -> None:
        entry, decode = self.entry, self._decode
        kept = decode if entry is None else _Keeper(entry=entry, decode=decode)
        self.chunks = SourceChunks(self.spec.chunk_bytes, kept)
        self.forget = weakref.finalize(self, self.cache.forget, self.chunks)

    @property
    def decoded(self) -> int:
        """How many chunks were decoded here so far."""
        found = 0 if self.entry is None else self.entry.found
        return self._decoded_before + self.chunks.decoded - found

    @property
    def reused(self) -> int:
        """How often a chunk was there already."""
        return sum(list(self._reused.values()))

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Gather rows; what is missing is decoded first."""
        self._copy(
            lambda rows: rows.gather(indices, out),
            lambda: self._gather(indices, out),
        )

    def read_runs(
        self, starts: NDArray[np.int64], stops: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        """Copy the runs of rows `[starts[k], stops[k])` end to end; long ones not row by row."""
        tiling = self.spec.tiling
        cut = Pieces.of_runs(starts, stops, tiling.chunk_rows)
        if not self._whole_rows or len(out) <= LONG_RUN * len(cut):
            self.read(rows_of_runs(starts, stops), out)
            return
        self._copy(
            lambda rows: np.concatenate(_slices(rows.array, starts, stops), out=out),
            lambda: self._copy_pieces(cut, out),
        )

    def _copy(
        self, from_rows: Callable[[RowTable], object], from_chunks: Callable[[], object]
    ) -> None:
        """Copy from the rows in place, or else from chunks, and again from these if need be."""
        entry = self.entry
        if entry is None:
            from_chunks()
            return
        if entry.intact():
            rows = self._rows_in_place(entry)
            if rows is None:
                from_chunks()
            else:
                from_rows(rows)
            if entry.intact():
                if entry.trouble is not None:
                    self._warn(f"no more rows are kept: {entry.trouble}")
                return
        self._leave(entry)
        from_chunks()

    @property
    def _whole_rows(self) -> bool:
        tiling = self.spec.tiling
        return tiling.count == 1 and tiling.seamless and self.table.complete

    def select(self, indices: NDArray[np.int64], out: Tensor) -> bool:
        """Gather rows into a tensor, where they are kept in place; False where they are not.

        It spares a tenth of a batch of 256 rows of 3 KiB, which views of the tensor as arrays cost.
        """
        entry = self.entry
        if entry is None or not entry.complete or not entry.intact():
            return False
        rows = self._rows_in_place(entry)
        if rows is None or not rows.typed or not len(indices):
            return False
        rows.select(indices, out)
        return entry.intact()

    def _rows_in_place(self, entry: Entry) -> RowTable | None:
        """Give the rows where they are kept; None where chunks are tiles, or not all are there."""
        if self._rows is None and entry.complete and self._whole_rows:
            self._rows = RowTable.of(entry.rows(self.spec.shape, self.spec.dtype))
            self.chunks.ready.clear()
        return self._rows

    def _leave(self, entry: Entry) -> None:
        """Decode as without a cache, since the file was cut short and its map must not be read."""
        self._decoded_before = self.decoded
        self.forget()
        self.entry = self._rows = None
        self._begin()
        self._warn("its file was cut short, and rows are decoded as without it")

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = 1
            warnings.warn(CacheWarning(f"cache of {self.spec.where}: {what}"), stacklevel=2)

    def _gather(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        chunks, tiling = self.chunks, self.spec.tiling
        blocks, within = np.divmod(indices, tiling.chunk_rows)
        within *= tiling.tile_bytes
        steps = list(plan_steps(blocks, tiling.count, self.cache.most(chunks.nbytes)))
        if len(steps) > 1:
            # First what is there, which the others might drive out.
            steps.sort(key=lambda step: not self._is_there(step, chunks))
        for step in steps:
            self._gather_step(step, chunks, within, out)

    def _copy_pieces(self, cut: Pieces, out: NDArray[Any]) -> None:
        chunks, width = self.chunks, self.spec.tiling.tile_bytes
        flat = out.reshape(-1).view(np.uint8)
        for step in plan_steps(cut.blocks, 1, self.cache.most(chunks.nbytes)):
            # Held until their slices are copied: nothing else keeps the memory of the chunks.
            held, there = self.cache.get(chunks, step.blocks.tolist())
            chosen = slice(None) if step.places is None else step.places
            bounds = [cut.firsts[chosen], cut.counts[chosen], cut.places[chosen]]
            pieces = zip(step.inverse.tolist(), *(b.tolist() for b in bounds), strict=True)
            for number, first, count, place in pieces:
                part = held[number].data[first * width : (first + count) * width]
                flat[place * width : (place + count) * width] = part
            del held
            self._count_reused(there)

    def _count_reused(self, there: int) -> None:
        thread = threading.get_ident()
        self._reused[thread] = self._reused.get(thread, 0) + there

    def _is_there(self, step: Step, chunks: SourceChunks) -> bool:
        first = int(step.blocks[0]) * self.spec.tiling.count + step.tiles.start
        return int(self.table.find(np.array([first]))[0]) in chunks.ready

    def _gather_step(
        self, step: Step, chunks: SourceChunks, within: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        tiling, table = self.spec.tiling, self.table
        blocks, count = step.blocks[:, None], tiling.count
        entries = table.find(blocks if count == 1 else blocks * count + np.array(step.tiles))
        stored = None if table.complete else entries >= 0
        numbers = entries.ravel() if stored is None else entries[stored]
        # Held until the gather has ended: nothing else keeps the memory of the chunks.
        held, there = self.cache.get(chunks, numbers.tolist())
        addresses = [chunk.address for chunk in held]
        within = (within if step.places is None else within[step.places])[:, None]
        rows = None
        if addresses:
            span = self._spanning(min(addresses), max(addresses) + chunks.nbytes)
            rows = span.rows
            within = within - span.low
        if stored is None:
            starts = np.array(addresses).reshape(entries.shape).take(step.inverse, axis=0) + within
        else:
            bases = np.full(entries.shape, -1)
            bases[stored] = addresses
            starts = bases.take(step.inverse, axis=0)
            starts = np.where(starts < 0, -1, starts + within)
        parts = (rows, starts, tiling, step.tiles, self._fill, out, step.places)
        if self._on_one_core:
            without_threads(gather_rows, *parts)
        else:
            gather_rows(*parts)
        del held
        self._count_reused(there)

    @property
    def _on_one_core(self) -> bool:
        """Whether threads that decode need the cores, now or, where these are few, soon."""
        return self.cache.busy or (self._few_cores and len(self.chunks.ready) < len(self.table))

    def _spanning(self, low: int, high: int) -> _Span:
        """Give a span of memory that reaches from `low` to `high`; it keeps no memory alive."""
        span = self._span
        if span is None or low < span.low or high > span.high:
            # To make one costs some 10 us, so it grows to where every chunk so far was.
            low, high = (low, high) if span is None else (min(low, span.low), max(high, span.high))
            tile_bytes = self.spec.tiling.tile_bytes
            step = math.gcd(tile_bytes, WORD)
            rows = ByteRows.between(low, high, tile_bytes, step=step)
            span = self._span = _Span(low=low, high=high, rows=rows)
        return span

    def will_need(self, first: int, stop: int) -> None:
        """Decode the chunks of these rows before they are asked for, into half of the cache."""
        entry, row_bytes = self.entry, self.spec.tiling.tile_bytes
        if entry is not None and self._rows is not None:
            entry.will_need(first * row_bytes, (stop - first) * row_bytes)
            return
        tiling, chunks = self.spec.tiling, self.chunks
        blocks = range(first // tiling.chunk_rows, -(-stop // tiling.chunk_rows))
        stored = self.table.span(blocks.start * tiling.count, blocks.stop * tiling.count)
        self.cache.announce(chunks, stored[: self.cache.budget // 2 // chunks.nbytes])

    def dont_need(self, first: int, stop: int) -> None:
        """Let the kernel take rows out of memory that lie in a file."""
        entry, row_bytes = self.entry, self.spec.tiling.tile_bytes
        if entry is not None and self._rows is not None:
            entry.dont_need(first * row_bytes, (stop - first) * row_bytes)


class OfDecodedRows(Source):
    """What sources share that read through `DecodedRows`, cut by `_spec`, one in each process."""

    _spec: ChunkSpec
    _kept: Kept | None
    _state: PerProcess[DecodedRows]

    @property
    def decoded_chunks(self) -> int:
        """How many chunks this process has decoded for this source so far."""
        return self._state.get().decoded

    @property
    def reused_chunks(self) -> int:
        """How often a read in this process found a chunk that it needs decoded already."""
        return self._state.get().reused

    @property
    def rows_in_memory(self) -> int | None:
        """The rows of as many blocks, with all tiles of a row, as the whole budget holds."""
        if self._kept is not None and self._kept.whole:
            return None
        tiling = self._spec.tiling
        return default_budget() // (tiling.count * self._spec.chunk_bytes) * tiling.chunk_rows

    @property
    def ahead_bytes(self) -> int:
        """A quarter of the cache; a window that is announced whole may be as much again."""
        return chunk_cache().budget // 4

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Gather the rows from decoded chunks; what is missing is decoded first."""
        if out.size:
            self.check()
            self._state.get().read(indices, out)

    def runs(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Give runs of rows, all from one read."""
        sizes = stops - starts
        read = np.empty((int(sizes.sum()), *self.shape[1:]), self.dtype)
        if read.size:
            self.check()
            self._state.get().read_runs(starts, stops, read)
        ends = np.cumsum(sizes)
        return _slices(read, ends - sizes, ends)

    def select(self, indices: NDArray[np.int64], out: Tensor) -> bool:
        """Gather the rows into a tensor, where they are kept in place."""
        if self._kept is None:
            return False
        self.check()
        return self._state.get().select(indices, out)

    def will_need(self, first: int, stop: int) -> None:
        """Decode the chunks of these rows before they are asked for, into half of the cache."""
        self._state.get().will_need(first, stop)

    def dont_need(self, first: int, stop: int) -> None:
        """Let the kernel take rows out of memory that lie in a file of decoded chunks."""
        state = self._state.made()
        if state is not None:
            state.dont_need(first, stop)

    def close_idle(self) -> None:
        """Close files until the next read; decoded chunks stay."""
        super().close_idle()
        state = self._state.made()
        if state is not None and state.entry is not None:
            state.entry.close_idle()

    def close(self) -> None:
        """Close files and drop the decoded chunks."""
        super().close()
        self._drop()
        self._kept = None

    def _drop(self) -> None:
        state = self._state.take()
        if state is not None:
            if state.entry is not None:
                state.entry.close()
            state.forget()


def _slices(
    rows: NDArray[Any], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> list[NDArray[Any]]:
    return [rows[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
