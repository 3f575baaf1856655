"""What sources of chunks share: how the rows are cut, and how they are put together from chunks.

Idea: a `ChunkSpec` is what is small of a layout, and travels; the chunk table is read again in
another process. Where each chunk starts in memory is an array of offsets, -1 for a chunk that was
never written, and the copy kernel takes a row's part of each of them in one call. Invariant: the
caller's chunks are whole and stay in place during the call; only rows asked for are written.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import DType, Ints
from npdata.arrays.gather import ByteRows
from npdata.sources.base import Access, Details, Source
from npdata.sources.file import File
from npdata.sources.hdf5.examine.creation_properties import Filter
from npdata.sources.hdf5.examine.layout import Layout
from npdata.sources.hdf5.rows.tiling import Tiling


@dataclass(frozen=True, kw_only=True)
class ChunkSpec:
    """A chunked dataset without its table; `details` are for people, `fill` one element."""

    where: str
    access: Access
    details: Details
    shape: tuple[int, ...]
    dtype: DType
    tiling: Tiling
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
            filters=layout.filters,
            fill=layout.fill or bytes(layout.dtype.itemsize),
        )


class ChunkedSource(Source):
    """The rows of a chunked dataset; subclasses read them."""

    def __init__(self, opened: File | Source, spec: ChunkSpec) -> None:
        self.shape = spec.shape
        self.dtype = spec.dtype
        self.where = spec.where
        self.access = spec.access
        self.details = spec.details
        self._spec = spec
        # Bound once: a method around it would be one more call for each read.
        self.check = opened.check  # type: ignore[method-assign]
        self._opened = opened

    @property
    def blocks(self) -> Blocks:
        """The rows of its chunks."""
        return Blocks.uniform(len(self), self._spec.tiling.chunk_rows)

    def close_idle(self) -> None:
        """Close files until the next read; decoded chunks stay."""
        self._opened.close_idle()

    def close(self) -> None:
        """Close files."""
        self._opened.close()


def gather_rows(
    data: ByteRows | None,
    starts: Ints,
    tiling: Tiling,
    tiles: range,
    fill: NDArray[np.uint8],
    out: NDArray[Any],
    places: Ints | None,
) -> None:
    """Copy `tiles` of rows to `out`, or with `places` to those rows of `out`.

    `starts[k, j]` is the offset of row k's part of tile `tiles[j]`, or -1 for the fill value;
    `fill` is one element. `out` is C-contiguous, of the row shape and the stored dtype. `data` is
    None where every start is -1.
    """
    if places is None and tiling.seamless and len(tiles) == tiling.count:
        flat = out.reshape(-1).view(np.uint8).reshape(starts.size, tiling.tile_bytes)
        _gather(data, starts.ravel(), flat, fill)
        return
    part = np.empty((len(starts), tiling.tile_bytes), np.uint8)
    shaped = part.view(out.dtype).reshape(len(starts), *tiling.tile)
    rows: Any = slice(None) if places is None else places
    for j, tile in enumerate(tiles):
        target, inside = tiling.cuts(tile)
        _gather(data, np.ascontiguousarray(starts[:, j]), part, fill)
        out[(rows, *target)] = shaped[(slice(None), *inside)]


def _gather(
    data: ByteRows | None, starts: Ints, out: NDArray[np.uint8], fill: NDArray[np.uint8]
) -> None:
    if data is not None and np.minimum.reduce(starts) >= 0:
        data.gather(starts, out)
        return
    missing = starts < 0
    there = np.flatnonzero(~missing)
    if data is not None and len(there):
        data.gather(np.where(missing, starts[there[0]], starts), out)
    out.reshape(len(out), -1, len(fill))[missing] = fill
