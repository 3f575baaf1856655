"""Rows in filtered chunks: read and decoded by several threads, then gathered from the slab.

Idea: a read plans which chunks it needs, leases them from the slab, decodes those that are not
there yet, past h5py and its lock, and gathers its rows with the copy kernel. Invariant: each
chunk that is needed is decoded once, whichever thread asks, for as long as the slab keeps it; the
file is seen unchanged before and after. No h5py object is touched once the layout is known.
"""

import threading
import weakref
from collections import deque
from concurrent.futures import wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.blocks import Blocks
from npdata.errors import FormatError
from npdata.process import PerProcess
from npdata.sources.base import Access, Source
from npdata.sources.hdf5.chunks import ChunkTable
from npdata.sources.hdf5.descriptor import Descriptor
from npdata.sources.hdf5.filters import decode_chunk
from npdata.sources.hdf5.layout import LayoutKeeper
from npdata.sources.hdf5.rows import gather_rows
from npdata.sources.hdf5.slab import Entry, Lease, Slab, new_owner, slab
from npdata.sources.hdf5.spec import ChunkSpec
from npdata.sources.hdf5.tiles import Step, plan_steps


class _Decoding:
    """What one process knows of a source: its number in the slab, and the chunks it decoded."""

    def __init__(self) -> None:
        self.slab = slab()
        self.owner = new_owner()
        self.decoded = 0
        self.reused = 0
        self.lock = threading.Lock()
        weakref.finalize(self, self.slab.forget, self.owner)


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
        self._state = PerProcess(_Decoding)

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

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Gather the rows from their decoded chunks, a quarter of the slab at a time."""
        if out.size == 0:
            return
        self._file.check()
        table, state, spec = self._keeper.table, self._state.get(), self._spec
        blocks, within = np.divmod(indices, spec.tiling.chunk_rows)
        most = state.slab.most(spec.chunk_bytes)
        for step in plan_steps(blocks, spec.tiling.count, most):
            self._read_step(step, table, state, within, out)
        self._file.check()

    def _read_step(
        self,
        step: Step,
        table: ChunkTable,
        state: _Decoding,
        within: NDArray[np.int64],
        out: NDArray[Any],
    ) -> None:
        spec = self._spec
        tiling = spec.tiling
        entries = table.find(step.blocks[:, None] * tiling.count + np.array(step.tiles))
        stored = entries[entries >= 0]
        lease = state.slab.lease(state.owner, stored.tolist(), spec.chunk_bytes)
        try:
            self._decode(lease, table, state)
            with state.lock:
                state.decoded += len(lease.fresh)
                state.reused += len(lease.entries) - len(lease.fresh)
            state.slab.wait(lease)
            bases = np.full(entries.shape, -1)
            bases[entries >= 0] = [entry.offset for entry in lease.entries]
            rows = bases[step.inverse]
            places = within if step.places is None else within[step.places]
            starts = np.where(rows < 0, -1, rows + (places * tiling.tile_bytes)[:, None])
            fill = np.frombuffer(spec.fill, np.uint8)
            data = lease.arena.rows(tiling.tile_bytes)
            gather_rows(data, starts, tiling, step.tiles, fill, out, step.places)
        finally:
            state.slab.release(lease)

    def _decode(self, lease: Lease, table: ChunkTable, state: _Decoding) -> None:
        """Decode the fresh chunks of a lease, in this thread and those of the slab."""
        fresh = lease.fresh
        if not fresh:
            return
        queue = deque(fresh)
        helpers = min(state.slab.threads, len(fresh)) - 1
        others = [
            state.slab.pool.submit(self._decode_all, queue, table, state.slab)
            for _ in range(helpers)
        ]
        try:
            self._decode_all(queue, table, state.slab)
        finally:
            # Also when interrupted: the lease ends only when nobody writes to its slots.
            queue.clear()
            wait(others)

    def _decode_all(self, queue: deque[Entry], table: ChunkTable, target: Slab) -> None:
        while True:
            try:
                entry = queue.popleft()
            except IndexError:
                return
            error: Exception | None = None
            try:
                self._decode_one(entry, table)
            except Exception as caught:
                error = caught
            target.done(entry, error)

    def _decode_one(self, entry: Entry, table: ChunkTable) -> None:
        number = entry.key[1]
        spec = self._spec
        data = self._file.read(int(table.offsets[number]), int(table.sizes[number]))
        out = entry.arena.part(entry.slot, spec.chunk_bytes)
        try:
            decode_chunk(spec.filters, table.mask(number), data, out)
        except ValueError as error:
            self._file.check()
            shape = (spec.tiling.chunk_rows, *spec.tiling.tile)
            raise FormatError(
                f"{self.where}: the chunk at {table.coordinates(number, shape)} (file offset "
                f"{table.offsets[number]}, {table.sizes[number]} bytes) does not decode: {error}; "
                f"the file is damaged"
            ) from error

    def check(self) -> None:
        """Raise `ChangedFileError` if the file changed since it was opened."""
        self._file.check()

    def release(self) -> None:
        """Let go of the file until the next read; decoded chunks stay."""
        self._file.release()

    def close(self) -> None:
        """Let go of the file and of the decoded chunks."""
        self._file.close()
        state = self._state.take()
        if state is not None:
            state.slab.forget(state.owner)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address and the cut, never the chunk table or the content."""
        return type(self), (self._keeper, self._spec)
