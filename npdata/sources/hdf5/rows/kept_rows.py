"""Rows of chunks that are kept decoded in a file (`cache=`): read in place, once all are there.

Idea: threads look for a chunk in the file before they decode it, and write it there afterwards.
Once all are there and hold whole rows, these are gathered like those of a `.npy`. Invariant: the
file has its length before and after each copy; where it was cut short, rows are copied again from
chunks, which are decoded from then on as without it.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import RowTable
from npdata.arrays.runs import rows_of_runs
from npdata.errors import CacheWarning, warn
from npdata.runtime.lazy_torch import torch
from npdata.sources.cache.entry import Entry
from npdata.sources.hdf5.chunks.memory import Chunk
from npdata.sources.hdf5.chunks.source_chunks import DecodeChunk
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.rows.chunked import ChunkSpec
from npdata.sources.hdf5.rows.decoded_rows import LONG_RUN, DecodedRows


class KeptRows:
    """The rows of one source in one process, whose chunks `entry` keeps; None once it was left."""

    def __init__(
        self, entry: Entry, table: ChunkTable, spec: ChunkSpec, decode: DecodeChunk
    ) -> None:
        """Cut rows as `spec` says; `decode` must not refer to the source."""
        self.entry: Entry | None = entry
        self._spec = spec
        self._decode = decode
        self._decoded_rows = DecodedRows(
            table, spec, functools.partial(_found_or_decoded, entry, decode)
        )
        self._rows: RowTable | None = None
        self._warned = False
        self._before = 0, 0
        """How many chunks had been decoded and reused when the file was left."""

    @property
    def decoded(self) -> int:
        """How many chunks were decoded here so far."""
        found = 0 if self.entry is None else self.entry.found
        return self._before[0] + self._decoded_rows.decoded - found

    @property
    def reused(self) -> int:
        """How often a chunk was there already."""
        return self._before[1] + self._decoded_rows.reused

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Gather rows; what is missing is decoded first."""
        self._copy(lambda rows: rows.gather(indices, out), lambda chunks: chunks.read(indices, out))

    def read_runs(self, starts: Ints, stops: Ints, out: NDArray[Any]) -> None:
        """Copy the runs of rows `[starts[k], stops[k])` end to end; long ones not row by row."""

        def from_rows(rows: RowTable) -> None:
            if len(out) <= LONG_RUN * len(starts):
                rows.gather(rows_of_runs(starts, stops), out)
            else:
                bounds = zip(starts.tolist(), stops.tolist(), strict=True)
                np.concatenate([rows.array[a:b] for a, b in bounds], out=out)

        self._copy(from_rows, lambda chunks: chunks.read_runs(starts, stops, out))

    def _copy(
        self, from_rows: Callable[[RowTable], object], from_chunks: Callable[[DecodedRows], object]
    ) -> None:
        """Copy from the rows in place, or else from chunks, and again from these if need be."""
        entry = self.entry
        if entry is not None and entry.intact():
            rows = self._rows_in_place(entry)
            if rows is None:
                from_chunks(self._decoded_rows)
            else:
                from_rows(rows)
            if entry.intact():
                if entry.trouble is not None:
                    self._warn(f"no more rows are kept: {entry.trouble}")
                return
        if entry is not None:
            self._leave()
        from_chunks(self._decoded_rows)

    def select(self, indices: Ints, out: "torch.Tensor") -> bool:
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
        if self._rows is None and entry.complete and self._decoded_rows.whole_rows:
            self._rows = RowTable.of(entry.rows(self._spec.shape, self._spec.dtype))
            self._decoded_rows.chunks.clear()
        return self._rows

    def _leave(self) -> None:
        """Decode as without a cache, since the file may be cut short: its map must not be read."""
        left, self._before = self._decoded_rows, (self.decoded, self.reused)
        self._decoded_rows = DecodedRows(left.table, self._spec, self._decode)
        self.entry = self._rows = None
        left.forget()
        self._warn("its file is out of reach or was cut short, and rows are decoded as without it")

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            warn(f"cache of {self._spec.where}: {what}", CacheWarning)

    def will_need(self, first: int, stop: int) -> None:
        """Ask the kernel for rows in place; else decode their chunks before they are asked for."""
        entry, row_bytes = self.entry, self._spec.tiling.tile_bytes
        if entry is not None and self._rows is not None:
            entry.will_need(first * row_bytes, (stop - first) * row_bytes)
        else:
            self._decoded_rows.will_need(first, stop)

    def dont_need(self, first: int, stop: int) -> None:
        """Let the kernel take rows in place out of memory."""
        entry, row_bytes = self.entry, self._spec.tiling.tile_bytes
        if entry is not None and self._rows is not None:
            entry.dont_need(first * row_bytes, (stop - first) * row_bytes)

    def close_idle(self) -> None:
        """Close the file until it is needed; its map stays."""
        if self.entry is not None:
            self.entry.close_idle()

    def forget(self) -> None:
        """Close the file, and drop the decoded chunks."""
        if self.entry is not None:
            self.entry.close()
        self._decoded_rows.forget()


def _found_or_decoded(
    entry: Entry, decode: DecodeChunk, number: int, out: NDArray[np.uint8], ahead: bool
) -> Chunk | None:
    """Give a chunk that is kept, after decoding it where it was not; None: it is in `out`."""
    kept = entry.find(number, out)
    if kept is None:
        decode(number, out, ahead)
        kept = entry.keep(number, out)
    return None if kept is None else Chunk(kept)
