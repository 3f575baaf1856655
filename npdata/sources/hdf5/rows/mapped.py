"""Rows in chunks without filters: gathered from the map of the file, chunk by offset.

Idea: the chunk table says where each chunk lies in the file, and the copy kernel needs no more
than a row's offset. Invariant: every offset was checked against the file's size when the dataset
was opened, and the file is seen unchanged before and after each read. Rows are always copied:
those in tiles lie in no one place. Contiguous datasets need nothing of this (`sources.mapped`).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import ByteRows, copy_spans
from npdata.arrays.runs import cut
from npdata.runtime.made_once import made_once
from npdata.sources.file import File
from npdata.sources.hdf5.examine.table_keeper import TableKeeper
from npdata.sources.hdf5.rows.chunked import ChunkedSource, ChunkSpec, gather_rows
from npdata.sources.hdf5.rows.tiling import Pieces
from npdata.sources.mapped import InFile

MOST_STARTS = 1 << 18
"""So many offsets are worked out at a time."""


class _Ready(NamedTuple):
    """The map of the file, and where rows begin in it.

    Row r of the dataset, in chunk k, begins at `bases[k] + r * row_bytes`. `bases` is None where
    chunks hold parts of rows, or not all are stored.
    """

    data: ByteRows
    bases: Ints | None


class ChunkMappedSource(InFile, ChunkedSource):
    """The rows of a chunked dataset without filters, in the map of its file."""

    _of_map = "_ready"

    def __init__(self, file: File, keeper: TableKeeper, spec: ChunkSpec) -> None:
        super().__init__(file, spec)
        self.file = file
        self._keeper = keeper

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Gather the rows, a tile at a time where chunks split a row."""
        if out.size == 0:
            return
        self.file.check_size()
        data, bases = self._ready
        tiling = self._spec.tiling
        if bases is None:
            self._gather_tiles(data, indices, out)
        else:
            starts = indices * tiling.tile_bytes
            starts += bases.take(indices // tiling.chunk_rows)
            data.gather(starts, out.view(np.uint8).reshape(len(indices), tiling.tile_bytes))
        self.file.check()

    def runs(self, starts: Ints, stops: Ints) -> list[NDArray[Any]]:
        """Give runs of rows in the map, chunk by chunk: narrow rows are not gathered one by one."""
        bases = self._ready.bases
        if bases is None:
            return super().runs(starts, stops)
        self.file.check_size()
        pieces = Pieces.of_runs(starts, stops, self._spec.tiling.chunk_rows)
        begins, ends = self._bytes_of(pieces, bases)
        out = np.empty((int((stops - starts).sum()), *self.shape[1:]), self.dtype)
        if out.size:
            copy_spans(self.file.array, begins, ends, out)
        self.file.check()
        return cut(out, stops - starts)

    def read_run(self, first: int, out: NDArray[Any]) -> None:
        """Read rows from the file, chunk by chunk, past the map and its page faults."""
        bases = self._ready.bases
        if bases is None or out.size == 0:
            super().read_run(first, out)
            return
        run = np.array([first]), np.array([first + len(out)])
        pieces = Pieces.of_runs(*run, self._spec.tiling.chunk_rows)
        rest, done = out.reshape(-1).view(np.uint8), 0
        begins, ends = (each.tolist() for each in self._bytes_of(pieces, bases))
        for begin, end in zip(begins, ends, strict=True):
            self.file.read_into(begin, rest[done : done + end - begin])
            done += end - begin

    def _bytes_of(self, pieces: Pieces, bases: Ints) -> tuple[Ints, Ints]:
        """Give where pieces begin and end in the file, of which chunks hold whole rows."""
        tiling = self._spec.tiling
        firsts = pieces.blocks * tiling.chunk_rows + pieces.firsts
        begins = bases.take(pieces.blocks) + firsts * tiling.tile_bytes
        return begins, begins + pieces.counts * tiling.tile_bytes

    @made_once
    def _ready(self) -> _Ready:
        tiling, table = self._spec.tiling, self._keeper.table
        data = ByteRows.of(self.file.array, tiling.tile_bytes)
        if tiling.count > 1 or not tiling.seamless or not table.complete:
            return _Ready(data, None)
        bases = table.offsets - np.arange(len(table)) * tiling.chunk_bytes
        return _Ready(data, bases)

    def _gather_tiles(self, data: ByteRows, indices: Ints, out: NDArray[Any]) -> None:
        table = self._keeper.table
        tiling, fill = self._spec.tiling, np.frombuffer(self._spec.fill, np.uint8)
        blocks, within = np.divmod(indices, tiling.chunk_rows)
        within *= tiling.tile_bytes
        width = max(1, MOST_STARTS // len(blocks))
        for first in range(0, tiling.count, width):
            tiles = range(first, min(first + width, tiling.count))
            places = table.places(table.find(blocks[:, None] * tiling.count + np.array(tiles)))
            starts = np.where(places < 0, -1, places + within[:, None])
            gather_rows(data, starts, tiling, tiles, fill, out, None)

    def _spans(self, first: int, stop: int) -> list[tuple[int, int]]:
        if first >= stop:
            return []
        tiling = self._spec.tiling
        blocks = first // tiling.chunk_rows, -(-stop // tiling.chunk_rows)
        return self._keeper.table.runs(blocks[0] * tiling.count, blocks[1] * tiling.count)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.file, self._keeper, self._spec)
