"""Rows that h5py reads, once: then they are gathered from where they are kept.

Idea: the blocks of rows of a `LibrarySource` are taken for chunks, and reading one by h5py for
decoding it; so the rows along the last axis of a file of MATLAB, and those of virtual datasets, are
in the end as fast as others. Invariant: the files behind the rows are seen unchanged before each
read.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.per_process import PerProcess
from npdata.sources.base import Access, Source
from npdata.sources.cache.cache import Cache, Kept, plan_of, with_cache
from npdata.sources.derived import DerivedSource
from npdata.sources.file import FileIdentity
from npdata.sources.hdf5.chunk_table import ChunkTable
from npdata.sources.hdf5.chunked import ChunkSpec
from npdata.sources.hdf5.decoded_rows import DecodedRows, OfDecodedRows
from npdata.sources.hdf5.tiling import Tiling

Files: TypeAlias = Sequence[tuple[str, FileIdentity]]

LARGEST_BLOCK = 64 << 20
"""So many bytes of rows are read at a time, where blocks are larger."""


@dataclass(frozen=True, kw_only=True)
class _BlockReader:
    """Reads a block of rows; knows no `KeptLibrarySource`, which may go while this is used."""

    rows: Source
    block_rows: int

    def decode(self, number: int, out: NDArray[np.uint8], ahead: bool) -> None:
        rows, first = self.rows, number * self.block_rows
        there = out.view(rows.dtype).reshape(self.block_rows, *rows.shape[1:])
        rows.read_run(first, there[: len(rows) - first])


class KeptLibrarySource(OfDecodedRows, DerivedSource):
    """The rows of a source that h5py reads, of which each block is read once and kept."""

    def __init__(self, rows: Source, spec: ChunkSpec, kept: Kept) -> None:
        """Read `rows` in blocks, the chunks of `spec`."""
        super().__init__(rows)
        self.access = Access(kind="decoded", reason=rows.access.reason)
        self.details = with_cache(rows.details, kept.text)
        self.packing, self.matlab = rows.packing, rows.matlab
        self._spec = spec
        self._kept: Kept | None = kept
        self._state = PerProcess(functools.partial(_opened, rows, spec, kept))

    @classmethod
    def of(cls, rows: Source, place: dict[str, Any], files: Files, cache: Cache) -> Source:
        """Keep `rows`, which `place` names in the first of `files`, in `cache`."""
        most = max(1, LARGEST_BLOCK // rows.row_bytes)
        block_rows = min(rows.blocks.block_rows[0], most, len(rows))
        tiling = Tiling.of(rows.shape, (block_rows, *rows.shape[1:]), rows.dtype.itemsize)
        spec = ChunkSpec(
            where=rows.where,
            access=rows.access,
            details=(),
            shape=rows.shape,
            dtype=rows.dtype,
            tiling=tiling,
            chunk_bytes=block_rows * rows.row_bytes,
            filters=(),
            fill=bytes(rows.dtype.itemsize),
        )
        what = place | {"shape": rows.shape, "dtype": str(rows.dtype), "rows": block_rows}
        plan = plan_of(files, what, spec.chunk_bytes, -(-len(rows) // block_rows))
        return cls(rows, spec, cache.keep(plan))

    @property
    def blocks(self) -> Blocks:
        """The blocks that are kept."""
        return Blocks.uniform(len(self), self._spec.tiling.chunk_rows)

    def close(self) -> None:
        """Close the files."""
        super().close()
        self._state = PerProcess(functools.partial(_opened, self.rows, self._spec))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the rows by what they are, and where they are kept."""
        return type(self), (self.rows, self._spec, self._kept)


def _opened(rows: Source, spec: ChunkSpec, kept: Kept | None = None) -> DecodedRows:
    reader = _BlockReader(rows=rows, block_rows=spec.tiling.chunk_rows)
    count = -(-len(rows) // spec.tiling.chunk_rows)
    table = ChunkTable.of(
        shape=(count,),
        chunk_shape=(1,),
        coordinates=np.arange(count),
        offsets=range(count),
        sizes=[1] * count,
        masks=(),
    )
    return DecodedRows(table, spec, reader.decode, kept)
