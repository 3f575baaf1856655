"""Rows that h5py reads, as chunks: each block of rows is read once, and then kept.

Idea: a block of rows is taken for a chunk, and reading it by h5py for decoding it; so the rows of
virtual datasets, and of rare filters, are in the end as fast as others. Invariant: blocks cover the
rows once, in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.sources.base import Access, Source
from npdata.sources.cache.plan import Plan
from npdata.sources.file import FileIdentity
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.rows.chunked import ChunkSpec
from npdata.sources.hdf5.rows.decoded import ChunkOrigin, DecodedSource
from npdata.sources.hdf5.rows.tiling import Tiling

Files: TypeAlias = Sequence[tuple[str, FileIdentity]]
LARGEST_BLOCK = 64 << 20
"""So many bytes of rows are read at a time, where blocks are larger."""


@dataclass(frozen=True, kw_only=True)
class H5pyBlocks(ChunkOrigin):
    """Blocks of `block_rows` of the rows that h5py reads from `files`, where `place` names them.

    The rows are its own.
    """

    opened: Source
    block_rows: int
    files: Files
    place: dict[str, Any]

    @property
    def table(self) -> ChunkTable:
        """One entry for each block."""
        count = -(-len(self.opened) // self.block_rows)
        return ChunkTable.of(
            shape=(count,),
            chunk_shape=(1,),
            coordinates=np.arange(count),
            offsets=range(count),
            sizes=[1] * count,
            masks=(),
        )

    def plan(self) -> Plan:
        """Plan what to keep: the files, the dataset in the first, and its cut."""
        rows, block_rows = self.opened, self.block_rows
        what = self.place | {"shape": rows.shape, "dtype": str(rows.dtype), "rows": block_rows}
        return Plan.of(self.files, what, block_rows * rows.row_bytes, len(self.table))

    def decode(self, number: int, out: NDArray[np.uint8], ahead: bool) -> None:
        """Read a block of rows."""
        rows, first = self.opened, number * self.block_rows
        there = out.view(rows.dtype).reshape(self.block_rows, *rows.shape[1:])
        rows.read_run(first, there[: len(rows) - first])


def in_blocks(rows: Source, files: Files, place: dict[str, Any]) -> DecodedSource:
    """Give the rows that h5py reads as chunks; `place` names them in the first of `files`.

    It closes `rows`, which are to be its own.
    """
    most = max(1, LARGEST_BLOCK // rows.row_bytes)
    block_rows = min(rows.blocks.block_rows[0], most, len(rows))
    spec = ChunkSpec(
        where=rows.where,
        access=Access(kind="decoded", reason=rows.access.reason),
        details=rows.details,
        shape=rows.shape,
        dtype=rows.dtype,
        tiling=Tiling.of(rows.shape, (block_rows, *rows.shape[1:]), rows.dtype.itemsize),
        filters=(),
        fill=bytes(rows.dtype.itemsize),
    )
    origin = H5pyBlocks(opened=rows, block_rows=block_rows, files=files, place=place)
    return DecodedSource(origin, spec)
