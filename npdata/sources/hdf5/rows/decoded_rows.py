"""Rows gathered from decoded chunks, which lie in the chunk cache.

Idea: a plan says which chunks a read needs; the cache gives references to them, decoding what is
not there, and the copy kernel gathers from the whole span of addresses in which they lie. Long runs
of rows are copied by slices. Invariant: references are held until the gather has ended, so no chunk
moves or goes meanwhile.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.cores import without_threads
from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import ByteRows
from npdata.arrays.runs import rows_of_runs
from npdata.runtime.machine import cores
from npdata.sources.hdf5.chunks.cache import chunk_cache
from npdata.sources.hdf5.chunks.memory import Chunk
from npdata.sources.hdf5.chunks.source_chunks import ChunkPlaces, DecodeChunk, SourceChunks
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.rows.chunked import ChunkSpec, gather_rows
from npdata.sources.hdf5.rows.tiling import Pieces, Step, plan_steps, unique_below

FEW_CORES = 2
"""On so many, torch's threads copy nothing while chunks are missing: they spin for 5 ms after it.

An epoch of gzip chunks of 800 KB without a `Loader` takes 0.90 of the time, 0.93 in windows of
80 MB, and 0.75 of the processor's. More cores were not measured; one may be too slow beside them.
"""
LONG_RUN = 32
"""Runs of so many rows are copied by slices of chunks: 0.5 µs a slice, and 8 ns a row else."""


class DecodedRows:
    """The rows of one source in one process: its chunk table, its chunks, and counts."""

    def __init__(self, table: ChunkTable, spec: ChunkSpec, decode: DecodeChunk) -> None:
        """Cut rows as `spec` says; `decode` must not refer to the source."""
        self.table = table
        self.spec = spec
        self.cache = chunk_cache()
        self.chunks = SourceChunks(spec.tiling.chunk_bytes, decode)
        tiling = spec.tiling
        self.whole_rows = tiling.count == 1 and tiling.seamless and table.complete
        """Whether a chunk is rows, end to end, and all of them were written."""
        self._count = len(table)
        self._few_cores = cores() <= FEW_CORES
        self._fill = np.frombuffer(spec.fill, np.uint8)
        self._reused: dict[int, int] = {}
        """A count for each thread, which no other thread changes."""
        self._span: ByteRows | None = None

    def forget(self) -> None:
        """Drop the chunks of the source, as soon as a thread comes to it; idempotent."""
        self.cache.forget(self.chunks)

    def __del__(self) -> None:
        """No `weakref.finalize`, as of `Descriptor`."""
        if hasattr(self, "chunks"):  # else there was no cache to make it with
            self.forget()

    @property
    def decoded(self) -> int:
        """How many chunks were decoded here so far."""
        return self.chunks.decoded

    @property
    def reused(self) -> int:
        """How often a chunk was there already."""
        return sum(list(self._reused.values()))

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Gather rows; what is missing is decoded first."""
        tiling, nbytes = self.spec.tiling, self.chunks.nbytes
        if self.whole_rows and self._gather_whole(indices, out):
            return
        blocks, within = np.divmod(indices, tiling.chunk_rows)
        within *= tiling.tile_bytes
        steps = plan_steps(blocks, tiling.count, self.cache.most(nbytes))
        if len(steps) > 1:
            # First what is there, which the others might drive out.
            steps.sort(key=lambda step: not self._is_there(step))
        for step in steps:
            self._gather_step(step, within, out)

    def read_runs(self, starts: Ints, stops: Ints, out: NDArray[Any]) -> None:
        """Copy the runs of rows `[starts[k], stops[k])` end to end; long ones not row by row."""
        pieces = Pieces.of_runs(starts, stops, self.spec.tiling.chunk_rows)
        if not self.whole_rows or len(out) <= LONG_RUN * len(pieces):
            self.read(rows_of_runs(starts, stops), out)
        else:
            self._copy_pieces(pieces, out)

    def _gather_whole(self, indices: Ints, out: NDArray[Any]) -> bool:
        """Gather rows each of which one chunk holds; False where one read may not hold so many.

        Chunks that reads found are at hand: for 256 narrow rows of 64 chunks that takes 16 µs, of
        1,500 chunks 18, and to look all of them up took 35 and 65.
        """
        blocks = indices // self.spec.tiling.chunk_rows
        unique = unique_below(self._count, blocks)
        near = self._near(unique)
        if near is None:
            return False
        starts, rows = near.starts(blocks, indices), near.rows
        flat = out.reshape(-1).view(np.uint8).reshape(len(starts), -1)
        # Held until the gather has ended: nothing else keeps the memory of the chunks.
        held: Any = near
        if self.cache.tight:
            held = [near.chunks[number] for number in unique.tolist()]
            self.cache.use(held)
        del near
        self._copied(functools.partial(rows.select, starts, flat))
        del held
        return True

    def _near(self, numbers: Ints) -> ChunkPlaces | None:
        """Give the places of these chunks (unique), and of others that reads found.

        None where one read may not hold so many.
        """
        near = self.chunks.near
        missing = numbers if near is None else near.missing(numbers)
        if near is not None and not len(missing):
            self._count_reused(len(numbers))
            return near
        if len(numbers) > self.cache.most(self.chunks.nbytes):
            return None
        new = missing.tolist()
        found, there = self.cache.get(self.chunks, new)
        self._count_reused(len(numbers) - len(new) + there)
        span = self._spanning(found)
        if near is None or near.rows is not span:
            before = {} if near is None else near.chunks.copy()  # at once: threads add to it
            # Another thread's span has what it found, and perhaps not what this one did.
            span = self._spanning([*found, *before.values()])
            near = ChunkPlaces(span, self._count, self.spec.tiling.chunk_rows)
            near.add(before.keys(), before.values())
        near.add(new, found)
        self.chunks.keep_near(near, new)
        return near

    def _is_there(self, step: Step) -> bool:
        first = int(step.blocks[0]) * self.spec.tiling.count + step.tiles.start
        return int(self.table.find(np.array([first]))[0]) in self.chunks.ready

    def _gather_step(self, step: Step, within: Ints, out: NDArray[Any]) -> None:
        tiling, table = self.spec.tiling, self.table
        numbers = step.blocks
        if tiling.count > 1:
            numbers = (numbers[:, None] * tiling.count + np.array(step.tiles)).ravel()
        entries = table.find(numbers)
        stored = None if table.complete else entries >= 0
        # Held until the gather has ended: nothing else keeps the memory of the chunks.
        held = self._held(entries if stored is None else entries[stored])
        starts, rows = np.array([chunk.address for chunk in held], np.int64), None
        if held:
            rows = self._spanning(held)
            starts -= rows.low
        if stored is not None:
            there, starts = starts, np.full(len(entries), -1)
            starts[stored] = there
        places = step.places
        starts = starts.reshape(len(step.blocks), -1).take(step.inverse, axis=0)
        inside = (within if places is None else within[places])[:, None]
        starts = np.where(starts < 0, -1, starts + inside)
        parts = (rows, starts, tiling, step.tiles, self._fill, out, places)
        self._copied(functools.partial(gather_rows, *parts))
        del held

    @property
    def _on_one_core(self) -> bool:
        """Whether threads that decode need the cores, now or, where these are few, soon."""
        return self.cache.busy or (self._few_cores and len(self.chunks.ready) < self._count)

    def _copied(self, gather: Callable[[], object]) -> None:
        if self._on_one_core:
            without_threads(gather)
        else:
            gather()

    def _copy_pieces(self, pieces: Pieces, out: NDArray[Any]) -> None:
        width = self.spec.tiling.tile_bytes
        flat = out.reshape(-1).view(np.uint8)
        for step in plan_steps(pieces.blocks, 1, self.cache.most(self.chunks.nbytes)):
            # Held until their slices are copied: nothing else keeps the memory of the chunks.
            held = self._held(step.blocks)
            chosen = slice(None) if step.places is None else step.places
            bounds = [pieces.firsts[chosen], pieces.counts[chosen], pieces.places[chosen]]
            cuts = zip(step.inverse.tolist(), *(b.tolist() for b in bounds), strict=True)
            for number, first, count, place in cuts:
                part = held[number].data[first * width : (first + count) * width]
                flat[place * width : (place + count) * width] = part
            del held

    def _held(self, entries: Ints) -> list[Chunk]:
        """Give the chunks of these entries, which stay for as long as the caller holds them."""
        held, there = self.cache.get(self.chunks, entries.tolist())
        self._count_reused(there)
        return held

    def _count_reused(self, chunks: int) -> None:
        thread = threading.get_ident()
        self._reused[thread] = self._reused.get(thread, 0) + chunks

    def _spanning(self, chunks: list[Chunk]) -> ByteRows:
        """Give a span of memory with these chunks, at least one; it keeps no memory alive."""
        addresses = [chunk.address for chunk in chunks]
        low, high = min(addresses), max(addresses) + self.chunks.nbytes
        span = self._span
        if span is None or low < span.low or high > span.high:
            # To make one costs some 10 us, so it grows to where every chunk so far was.
            low, high = (low, high) if span is None else (min(low, span.low), max(high, span.high))
            span = self._span = ByteRows.between(low, high, self.spec.tiling.tile_bytes)
        return span

    def will_need(self, first: int, stop: int) -> None:
        """Decode the chunks of these rows before they are asked for, into half of the cache."""
        tiling = self.spec.tiling
        blocks = range(first // tiling.chunk_rows, -(-stop // tiling.chunk_rows))
        stored = self.table.span(blocks.start * tiling.count, blocks.stop * tiling.count)
        self.cache.announce(self.chunks, stored[: self.cache.budget // 2 // self.chunks.nbytes])
