"""Rows in filtered chunks: read and decoded by threads, then gathered from where they lie.

Idea: the chunk table says where each chunk lies in the file, and a chunk is read and decoded past
h5py and its lock; `decoded_rows` gathers the rows. Invariant: the file is seen unchanged before
each read of rows, and after each of a chunk. No h5py object is touched once the layout is known.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.per_process import PerProcess
from npdata.errors import FormatError
from npdata.sources.base import Source
from npdata.sources.cache.cache import Cache, Kept, plan_of, with_cache
from npdata.sources.file import File
from npdata.sources.hdf5.chunk_table import ChunkTable
from npdata.sources.hdf5.chunked import ChunkedSource, ChunkSpec
from npdata.sources.hdf5.codecs.pipeline import decode_chunk
from npdata.sources.hdf5.decoded_rows import DecodedRows, OfDecodedRows
from npdata.sources.hdf5.layout import LayoutKeeper


@dataclass(frozen=True, kw_only=True)
class _ChunkReader:
    """Reads and decodes a chunk of one file; knows no source, which may go while this is used."""

    file: File
    table: ChunkTable
    spec: ChunkSpec

    def decode(self, number: int, out: NDArray[np.uint8], ahead: bool) -> None:
        """Decode a chunk into `out`; `FormatError` where it is damaged.

        Ahead of any read, a file that was closed is opened for this chunk alone.
        """
        table, spec = self.table, self.spec
        place, size = int(table.offsets[number]), int(table.sizes[number])
        data = self.file.read(place, size, briefly=ahead)
        try:
            decode_chunk(spec.filters, table.mask(number), data, out)
        except ValueError as error:
            shape = (spec.tiling.chunk_rows, *spec.tiling.tile)
            raise FormatError(
                f"{spec.where}: the chunk at {table.coordinates(number, shape)} (file offset "
                f"{place}, {size} bytes) does not decode: {error}; the file is damaged"
            ) from error


class DecodedSource(OfDecodedRows, ChunkedSource):
    """The rows of a dataset whose chunks npdata decodes."""

    def __init__(
        self, file: File, keeper: LayoutKeeper, spec: ChunkSpec, kept: Kept | None = None
    ) -> None:
        """Read the dataset of `keeper` from `file`, cut as `spec` says; `kept` decoded."""
        super().__init__(file, keeper, spec)
        self._kept = kept
        self._state = PerProcess(functools.partial(_opened, keeper, spec, self._file, kept))

    def cached(self, cache: Cache) -> Source:
        """Give the same rows, of which each chunk is decoded once and kept."""
        keeper, spec = self._keeper, self._spec
        plan = plan_of(
            [(keeper.path, keeper.identity)],
            {
                "dataset": keeper.name,
                "shape": spec.shape,
                "dtype": str(spec.dtype),
                "chunks": (spec.tiling.chunk_rows, *spec.tiling.tile),
            },
            spec.chunk_bytes,
            len(keeper.table),
        )
        kept = cache.keep(plan)
        spec = replace(spec, details=with_cache(spec.details, kept.text))
        made = DecodedSource(self._file.again(), keeper, spec, kept)
        made.packing, made.matlab = self.packing, self.matlab
        return made

    def close(self) -> None:
        """Close the file and drop the decoded chunks."""
        super().close()
        self._state = PerProcess(functools.partial(_opened, self._keeper, self._spec, self._file))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address and the cut, never the chunk table or the content."""
        return type(self), (self._file, self._keeper, self._spec, self._kept)


def _opened(
    keeper: LayoutKeeper, spec: ChunkSpec, file: File, kept: Kept | None = None
) -> DecodedRows:
    table = keeper.table
    reader = _ChunkReader(file=file, table=table, spec=spec)
    return DecodedRows(table, spec, reader.decode, kept)
