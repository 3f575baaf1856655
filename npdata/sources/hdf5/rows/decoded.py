"""Rows in chunks that are decoded once: by npdata from the file, or by h5py where that reads.

Idea: a `ChunkOrigin` gives any chunk, in any thread; `DecodedRows` holds the chunks of one process
and gathers from them. Invariant: files are seen unchanged before each read of rows, and after each
of a chunk. A source is pickled by its address and its cut, never by its table or content.
"""

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.axes import as_before
from npdata.arrays.dtypes import Ints
from npdata.arrays.runs import cut
from npdata.errors import CacheWarning, FormatError, warn
from npdata.runtime.lazy_torch import torch
from npdata.runtime.per_process import PerProcess
from npdata.sources.base import Source, with_detail
from npdata.sources.cache.cache import Keep, Kept
from npdata.sources.cache.plan import Plan
from npdata.sources.file import File
from npdata.sources.hdf5.chunks.budget import default_budget
from npdata.sources.hdf5.chunks.cache import chunk_cache
from npdata.sources.hdf5.codecs.pipeline import decode_chunk
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.examine.table_keeper import TableKeeper
from npdata.sources.hdf5.rows.chunked import ChunkedSource, ChunkSpec
from npdata.sources.hdf5.rows.decoded_rows import DecodedRows
from npdata.sources.hdf5.rows.kept_rows import KeptRows


class ChunkOrigin(ABC):
    """Where chunks come from; it pickles, and knows no source: that may go while this is used.

    `opened` is what is read from, to be checked and closed.
    """

    opened: File | Source

    @property
    @abstractmethod
    def table(self) -> ChunkTable:
        """Which chunks there are."""

    @abstractmethod
    def plan(self) -> Plan:
        """Plan what to keep: the chunks as these files have them in this state."""

    @abstractmethod
    def decode(self, number: int, out: NDArray[np.uint8], ahead: bool) -> None:
        """Put a chunk into `out`; `FormatError` where it is damaged.

        Ahead of any read, a file that was closed is opened for this chunk alone.
        """

    def again(self) -> Self:
        """Give the same for another source, to be closed apart where several may have it."""
        return self


@dataclass(frozen=True, kw_only=True)
class FileChunks(ChunkOrigin):
    """The chunks of a dataset in a file, read and decoded past h5py and its lock."""

    opened: File
    keeper: TableKeeper
    spec: ChunkSpec

    @property
    def table(self) -> ChunkTable:
        """Which chunks were written; no h5py object is touched once it is known."""
        return self.keeper.table

    def plan(self) -> Plan:
        """Plan what to keep: the file, the dataset in it, and its cut."""
        spec, keeper = self.spec, self.keeper
        cut_as: dict[str, Any] = {
            "shape": spec.shape,
            "dtype": str(spec.dtype),
            "chunks": spec.tiling.chunk_shape,
        }
        if keeper.axes is not None:
            cut_as["axes"] = keeper.axes
        return Plan.of(
            [(keeper.path, keeper.identity)],
            {"dataset": keeper.name, **cut_as},
            spec.tiling.chunk_bytes,
            len(keeper.table),
        )

    def decode(self, number: int, out: NDArray[np.uint8], ahead: bool) -> None:
        """Read a chunk, undo its filters, and put its axes into the order of the rows."""
        table, spec, keeper = self.table, self.spec, self.keeper
        place, size = int(table.offsets[number]), int(table.sizes[number])
        data = self.opened.read(place, size, briefly=ahead)
        stored = out if keeper.axes is None else np.empty_like(out)
        try:
            decode_chunk(spec.filters, table.mask(number), data, stored)
        except ValueError as error:
            raise FormatError(
                f"{spec.where}: the chunk at {keeper.coordinates(number)} "
                f"(file offset {place}, {size} bytes) does not decode: {error}; the file is damaged"
            ) from error
        if keeper.axes is not None:
            turned = out.view(spec.dtype).reshape(keeper.chunk_shape)
            as_stored = turned.transpose(as_before(range(turned.ndim), keeper.axes))
            as_stored[...] = stored.view(spec.dtype).reshape(as_stored.shape)

    def again(self) -> Self:
        """Give the same: the file is open once for both."""
        return replace(self, opened=self.opened.again())


class DecodedSource(ChunkedSource):
    """The rows of chunks that are decoded, each once while the chunk cache or `kept` holds it."""

    def __init__(self, origin: ChunkOrigin, spec: ChunkSpec, kept: Kept | None = None) -> None:
        super().__init__(origin.opened, spec)
        self._origin = origin
        self._keep_in(kept)

    def _keep_in(self, kept: Kept | None) -> None:
        self._kept = kept
        self._state = PerProcess(functools.partial(_opened, self._origin, self._spec, kept))

    @property
    def decoded_chunks(self) -> int:
        """How many chunks this process has decoded for this source so far."""
        state = self._state.made()  # to count opens nothing
        return 0 if state is None else state.decoded

    @property
    def reused_chunks(self) -> int:
        """How often a read in this process found a chunk that it needs decoded already."""
        state = self._state.made()
        return 0 if state is None else state.reused

    @property
    def rows_in_memory(self) -> int | None:
        """The rows of as many blocks, with all tiles of a row, as the whole budget holds."""
        if self._kept is not None and self._kept.whole:
            return None
        tiling = self._spec.tiling
        return default_budget() // (tiling.count * tiling.chunk_bytes) * tiling.chunk_rows

    @property
    def ahead_bytes(self) -> int:
        """A quarter of the cache; a window that is announced whole may be as much again."""
        return chunk_cache().budget // 4

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Gather the rows from decoded chunks; what is missing is decoded first."""
        if out.size:
            self.check()
            self._state.get().read(indices, out)

    def runs(self, starts: Ints, stops: Ints) -> list[NDArray[Any]]:
        """Give runs of rows, all from one read."""
        sizes = stops - starts
        read = np.empty((int(sizes.sum()), *self.shape[1:]), self.dtype)
        if read.size:
            self.check()
            self._state.get().read_runs(starts, stops, read)
        return cut(read, sizes)

    def select(self, indices: Ints, out: "torch.Tensor") -> bool:
        """Gather the rows into a tensor, where they are kept in place."""
        state = None if self._kept is None else self._state.get()
        if not isinstance(state, KeptRows):
            return False
        self.check()
        return state.select(indices, out)

    def will_need(self, first: int, stop: int) -> None:
        """Decode the chunks of these rows before they are asked for, into half of the cache."""
        self._state.get().will_need(first, stop)

    def dont_need(self, first: int, stop: int) -> None:
        """Let the kernel take rows out of memory that lie in a file of decoded chunks."""
        state = self._state.made()
        if isinstance(state, KeptRows):
            state.dont_need(first, stop)

    def cached(self, keep: Keep) -> Source:
        """Give the same rows, of which each chunk is decoded once and kept."""
        origin, spec = self._origin.again(), self._spec
        kept = keep(origin.plan())
        spec = replace(spec, details=with_detail(spec.details, "cache", kept.text))
        made = DecodedSource(origin, spec, kept)
        made.tell_of(self)
        return made

    def close_idle(self) -> None:
        """Close files until the next read; decoded chunks stay."""
        super().close_idle()
        state = self._state.made()
        if isinstance(state, KeptRows):
            state.close_idle()

    def close(self) -> None:
        """Close files and drop the decoded chunks."""
        super().close()
        state = self._state.take()
        if state is not None:
            state.forget()
        self._keep_in(None)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._origin, self._spec, self._kept)


def _opened(origin: ChunkOrigin, spec: ChunkSpec, kept: Kept | None) -> DecodedRows | KeptRows:
    if kept is not None and kept.limit:
        try:
            return KeptRows(kept.open(), origin.table, spec, origin.decode)
        except OSError as error:
            left = "it cannot be opened, and rows are decoded as without it"
            warn(f"cache of {spec.where}: {left}: {error}", CacheWarning)
    return DecodedRows(origin.table, spec, origin.decode)
