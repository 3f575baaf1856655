"""What a source of chunks needs to know without its chunk table: small, and sent to workers.

Idea: the table can be large and is read again where it is needed; the rest of a layout is a few
hundred bytes. Invariant: a spec and the table of the same file state belong together; the
`LayoutKeeper` sees to that. Plain values, no behaviour.
"""

from dataclasses import dataclass

from npdata.dtypes import DType
from npdata.sources.hdf5.layout import Filter, Layout
from npdata.sources.hdf5.tiles import Tiling

Details = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class ChunkSpec:
    """A chunked dataset without its table; `details` are for people, `fill` one element."""

    where: str
    reason: str
    details: Details
    shape: tuple[int, ...]
    dtype: DType
    tiling: Tiling
    chunk_bytes: int
    filters: tuple[Filter, ...]
    fill: bytes

    @classmethod
    def of(cls, layout: Layout, *, where: str, reason: str, details: Details) -> "ChunkSpec":
        """Take from a layout what is small."""
        chunk_shape = layout.chunk_shape or layout.shape
        return cls(
            where=where,
            reason=reason,
            details=details,
            shape=layout.shape,
            dtype=layout.dtype,
            tiling=Tiling.of(layout.shape, chunk_shape, layout.dtype.itemsize),
            chunk_bytes=layout.chunk_bytes,
            filters=layout.filters,
            fill=layout.fill or bytes(layout.dtype.itemsize),
        )
