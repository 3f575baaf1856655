"""What sources of chunks share: how the rows are cut, the file, and how another process finds them.

Idea: a `ChunkSpec` is what is small of a layout, and travels; the chunk table stays with a
`LayoutKeeper`, which reads it again in another process. Invariant: a source is pickled by these
two and its file, never by its table or content. This module reads no rows.
"""

from dataclasses import dataclass
from typing import Any

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import DType
from npdata.sources.base import Access, Source
from npdata.sources.file import File
from npdata.sources.hdf5.details import Details
from npdata.sources.hdf5.kinds import Filter
from npdata.sources.hdf5.layout import Layout, LayoutKeeper
from npdata.sources.hdf5.tiling import Tiling


@dataclass(frozen=True, kw_only=True)
class ChunkSpec:
    """A chunked dataset without its table; `details` are for people, `fill` one element."""

    where: str
    access: Access
    details: Details
    shape: tuple[int, ...]
    dtype: DType
    tiling: Tiling
    chunk_bytes: int
    filters: tuple[Filter, ...]
    fill: bytes

    @classmethod
    def of(cls, layout: Layout, *, where: str, access: Access, details: Details) -> "ChunkSpec":
        """Take from a layout what is small."""
        chunk_shape = layout.chunk_shape or layout.shape
        return cls(
            where=where,
            access=access,
            details=details,
            shape=layout.shape,
            dtype=layout.dtype,
            tiling=Tiling.of(layout.shape, chunk_shape, layout.dtype.itemsize),
            chunk_bytes=layout.chunk_bytes,
            filters=layout.filters,
            fill=layout.fill or bytes(layout.dtype.itemsize),
        )


class ChunkedSource(Source):
    """The rows of a chunked dataset; subclasses read them."""

    def __init__(self, file: File, keeper: LayoutKeeper, spec: ChunkSpec) -> None:
        """Read the dataset of `keeper` from `file`, whose rows are cut as `spec` says."""
        self.shape = spec.shape
        self.dtype = spec.dtype
        self.where = spec.where
        self.access = spec.access
        self.details = spec.details
        self._keeper = keeper
        self._spec = spec
        self._file = file

    @property
    def blocks(self) -> Blocks:
        """The rows of its chunks."""
        return Blocks.uniform(len(self), self._spec.tiling.chunk_rows)

    def check(self) -> None:
        """Raise `ChangedFileError` if the file changed since it was opened."""
        self._file.check()

    def close_idle(self) -> None:
        """Close the file until the next read; decoded chunks stay."""
        self._file.close_idle()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address and the cut, never the chunk table or the content."""
        return type(self), (self._file, self._keeper, self._spec)
