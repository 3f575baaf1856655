"""Rows in filtered chunks: read and decoded by several threads, then gathered from the slab.

Idea: where all chunks of a read are in the slab, their rows are gathered at once by the copy
kernel. Else a plan says which chunks are needed; they are leased from the slab, and those that are
not there yet are decoded past h5py and its lock. Chunks that are announced are decoded before
they are needed. Invariant: each chunk is decoded once, whichever thread asks, for as long as the
slab keeps it; the file is seen unchanged before each read of rows, and after each of a chunk. No
h5py object is touched once the layout is known.
"""

import functools
import threading
import weakref
from collections import deque
from concurrent.futures import wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.per_process import PerProcess
from npdata.errors import FormatError
from npdata.sources.base import Access, Source
from npdata.sources.hdf5.chunk_cache import Lease, slab
from npdata.sources.hdf5.chunk_table import ChunkTable
from npdata.sources.hdf5.codecs.pipeline import decode_chunk
from npdata.sources.hdf5.decode_ahead import ahead
from npdata.sources.hdf5.descriptor import Descriptor
from npdata.sources.hdf5.layout import LayoutKeeper
from npdata.sources.hdf5.residents import Entry, Residents
from npdata.sources.hdf5.rows import ChunkSpec, gather_rows
from npdata.sources.hdf5.tiling import Step, plan_steps

MOST_PLACES = 1 << 16
"""So many places in the slab are looked up at a time; more rows or tiles go step by step."""


class _Decoding:
    """What one process knows of a source: its chunk table, its chunks in the slab, and counts."""

    def __init__(self, keeper: LayoutKeeper, spec: ChunkSpec) -> None:
        self.table = keeper.table
        self.slab = slab()
        self.chunks = Residents(len(self.table), spec.chunk_bytes)
        self.data = self.slab.arena(self.chunks.slot_bytes).rows(spec.tiling.tile_bytes)
        self.range = range(spec.tiling.count)
        self.tiles = np.arange(spec.tiling.count)
        self.fill = np.frombuffer(spec.fill, np.uint8)
        self.ahead = False
        """Whether chunks are decoded ahead, by threads that share the cores with the gather."""
        self.decoded = 0
        self.reused = 0
        self.lock = threading.Lock()
        self.forget = weakref.finalize(self, self.slab.forget, self.chunks)

    def count(self, *, decoded: int = 0, reused: int = 0) -> None:
        with self.lock:
            self.decoded += decoded
            self.reused += reused


class DecodedSource(Source):
    """The rows of a dataset whose chunks npdata decodes."""

    def __init__(self, keeper: LayoutKeeper, spec: ChunkSpec) -> None:
        """Read the dataset of `keeper`, whose rows are cut as `spec` says."""
        self.shape = spec.shape
        self.dtype = spec.dtype
        self.where = spec.where
        self.access = Access(kind="decoded", reason=spec.reason)
        self.details = spec.details
        self._keeper = keeper
        self._spec = spec
        self._file = Descriptor(keeper.path, keeper.identity)
        self._state = PerProcess(functools.partial(_Decoding, keeper, spec))

    @property
    def blocks(self) -> Blocks:
        """The rows of its chunks."""
        return Blocks.uniform(len(self), self._spec.tiling.chunk_rows)

    @property
    def decoded_chunks(self) -> int:
        """How many chunks this process has decoded for this source so far."""
        return self._state.get().decoded

    @property
    def reused_chunks(self) -> int:
        """How often a read in this process found a chunk that it needs decoded already."""
        return self._state.get().reused

    @property
    def ahead_bytes(self) -> int:
        """A quarter of the slab; a window that is announced whole may be as much again."""
        return slab().budget // 4

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Gather the rows from decoded chunks; what is missing is decoded first."""
        if out.size == 0:
            return
        self._file.check()
        state, tiling = self._state.get(), self._spec.tiling
        blocks, within = np.divmod(indices, tiling.chunk_rows)
        within *= tiling.tile_bytes
        if self._gather_resident(state, blocks, within, out):
            return
        most = state.slab.most(state.chunks.slot_bytes)
        for step in plan_steps(blocks, tiling.count, most):
            self._read_step(step, state, within, out)

    def _gather_resident(
        self,
        state: _Decoding,
        blocks: NDArray[np.int64],
        within: NDArray[np.int64],
        out: NDArray[Any],
    ) -> bool:
        """Gather the rows if all their chunks are in the slab; tell whether they were."""
        tiling, table, chunks = self._spec.tiling, state.table, state.chunks
        if len(blocks) * tiling.count > MOST_PLACES:
            return False
        entries = table.find(blocks[:, None] * tiling.count + state.tiles)
        reads, ticket = state.slab.reads, state.slab.ticket()
        try:
            reads[ticket] = None
            starts = chunks.places.take(entries)
            absent = starts < 0
            starts += within[:, None]
            if absent.any():
                if (absent & (entries >= 0)).any():
                    return False
                starts[absent] = -1
            chunks.used[entries] = ticket
            self._gather(state, starts, state.range, out, None)
        finally:
            reads.pop(ticket, None)
            state.slab.settle()
        state.count(reused=_distinct(entries))
        return True

    def _read_step(
        self, step: Step, state: _Decoding, within: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        tiling = self._spec.tiling
        entries = state.table.find(step.blocks[:, None] * tiling.count + np.array(step.tiles))
        stored = entries[entries >= 0]
        # Whoever read ahead has ended where nothing is announced any more and chunks are missing.
        state.ahead = state.ahead and ahead().busy
        lease = Lease()
        try:
            state.slab.lease(lease, state.chunks, stored.tolist())
            self._decode(lease, state)
            state.slab.wait(lease)
            bases = np.full(entries.shape, -1)
            bases[entries >= 0] = [entry.offset for entry in lease.entries]
            rows = bases[step.inverse]
            places = within if step.places is None else within[step.places]
            starts = np.where(rows < 0, -1, rows + places[:, None])
            self._gather(state, starts, step.tiles, out, step.places)
        finally:
            state.slab.release(lease)
        state.count(reused=len(stored) - len(lease.fresh))

    def _gather(
        self,
        state: _Decoding,
        starts: NDArray[np.int64],
        tiles: range,
        out: NDArray[Any],
        places: NDArray[np.int64] | None,
    ) -> None:
        data, tiling, fill = state.data, self._spec.tiling, state.fill
        gather_rows(data, starts, tiling, tiles, fill, out, places, on_one_core=state.ahead)

    def _decode(self, lease: Lease, state: _Decoding) -> None:
        """Decode the fresh chunks of a lease, in this thread and those of the slab."""
        if not lease.fresh:
            return
        queue = deque(lease.fresh)
        helpers = min(state.slab.threads, len(queue)) - 1
        others = [state.slab.pool.submit(self._decode_all, queue, state) for _ in range(helpers)]
        try:
            self._decode_all(queue, state)
        finally:
            # Also when interrupted: the lease ends only when nobody writes to its slots.
            queue.clear()
            wait([other for other in others if not other.cancel()])

    def _decode_all(self, queue: deque[Entry], state: _Decoding) -> None:
        while True:
            try:
                entry = queue.popleft()
            except IndexError:
                return
            self._decode_one(state, entry)

    def _decode_one(self, state: _Decoding, entry: Entry, *, briefly: bool = False) -> None:
        error: Exception | None = None
        try:
            self._decode_into(entry, state.table, briefly)
            state.count(decoded=1)
        except Exception as caught:
            error = caught
        state.slab.done(entry, error)

    def _decode_into(self, entry: Entry, table: ChunkTable, briefly: bool) -> None:
        number = entry.number
        spec = self._spec
        place, size = int(table.offsets[number]), int(table.sizes[number])
        data = self._file.read(place, size, briefly=briefly)
        try:
            part = entry.arena.part(entry.slot, spec.chunk_bytes)
            decode_chunk(spec.filters, table.mask(number), data, part)
        except ValueError as error:
            shape = (spec.tiling.chunk_rows, *spec.tiling.tile)
            raise FormatError(
                f"{self.where}: the chunk at {table.coordinates(number, shape)} (file offset "
                f"{place}, {size} bytes) does not decode: {error}; the file is damaged"
            ) from error

    def will_need(self, first: int, stop: int) -> None:
        """Decode the chunks of these rows before they are asked for, into half of the slab."""
        state = self._state.get()
        state.ahead = True
        most = state.slab.budget // 2 // state.chunks.slot_bytes
        chunks = self._stored(state, first, stop)[:most]
        # Its files may have been released when a thread comes to it: then it opens none to stay.
        decode = functools.partial(self._decode_one, state, briefly=True)
        ahead().announce(state.chunks, chunks, decode)

    def _stored(self, state: _Decoding, first: int, stop: int) -> range:
        tiling = self._spec.tiling
        blocks = range(first // tiling.chunk_rows, -(-stop // tiling.chunk_rows))
        return state.table.span(blocks.start * tiling.count, blocks.stop * tiling.count)

    def check(self) -> None:
        """Raise `ChangedFileError` if the file changed since it was opened."""
        self._file.check()

    def close_idle(self) -> None:
        """Let go of the file until the next read; decoded chunks stay."""
        self._file.close_idle()

    def close(self) -> None:
        """Let go of the file and of the decoded chunks."""
        self._file.close()
        state = self._state.take()
        if state is not None:
            ahead().withdraw(state.chunks)
            state.forget()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address and the cut, never the chunk table or the content."""
        return type(self), (self._keeper, self._spec)


def _distinct(entries: NDArray[np.int64]) -> int:
    """Count the different entries of the chunk table, without -1; keeps the interpreter."""
    return len(set(entries.ravel().tolist()) - {-1})
