"""Rows in chunks without filters: gathered from the map of the file, chunk by offset.

Idea: the chunk table tells where each chunk lies in the file, and the copy kernel needs no more
than a row's offset. Invariant: every offset was checked against the file's size when the dataset
was opened, and the file is seen unchanged before and after each read. Rows are always copied:
those in tiles lie in no one place. Contiguous datasets need nothing of this (`sources.mapped`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.blocks import Blocks
from npdata.gather import ByteTable
from npdata.sources.base import Access, Source
from npdata.sources.filemap import FileMap
from npdata.sources.hdf5.layout import LayoutKeeper
from npdata.sources.hdf5.rows import gather_rows
from npdata.sources.hdf5.spec import ChunkSpec

MOST_STARTS = 1 << 18
"""So many offsets are worked out at a time."""


class ChunkMappedSource(Source):
    """The rows of a chunked dataset without filters, in the map of its file."""

    def __init__(self, keeper: LayoutKeeper, spec: ChunkSpec) -> None:
        """Read the dataset of `keeper`, whose rows are cut as `spec` says."""
        self.shape = spec.shape
        self.dtype = spec.dtype
        self.where = spec.where
        self.access = Access(kind="mapped", reason=spec.reason)
        self.details = spec.details
        self._keeper = keeper
        self._spec = spec
        self._file = FileMap(keeper.path, keeper.identity)
        self._bytes: ByteTable | None = None

    @property
    def blocks(self) -> Blocks:
        """The rows of its chunks."""
        return Blocks.uniform(len(self), self._spec.tiling.chunk_rows)

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Gather the rows, a tile at a time where chunks split a row."""
        if out.size == 0:
            return
        self._file.check()
        data = self._bytes
        if data is None:
            data = self._bytes = ByteTable.of(self._file.bytes)
        spec = self._spec
        tiling, fill = spec.tiling, np.frombuffer(spec.fill, np.uint8)
        table = self._keeper.table
        blocks, within = np.divmod(indices, tiling.chunk_rows)
        width = max(1, MOST_STARTS // len(indices))
        for first in range(0, tiling.count, width):
            tiles = range(first, min(first + width, tiling.count))
            entries = table.find(blocks[:, None] * tiling.count + np.arange(first, tiles.stop))
            starts = np.where(
                entries < 0, -1, table.offsets[entries] + (within * tiling.tile_bytes)[:, None]
            )
            gather_rows(data, starts, tiling, tiles, fill, out, None)
        self._file.check()

    def check(self) -> None:
        """Raise `ChangedFileError` if the file changed since it was opened."""
        self._file.check()

    def release(self) -> None:
        """Let go of the map until the next read."""
        self._bytes = None
        self._file.release()

    def close(self) -> None:
        """Let go of the map."""
        self._bytes = None
        self._file.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address and the cut, never the chunk table or the content."""
        return type(self), (self._keeper, self._spec)
