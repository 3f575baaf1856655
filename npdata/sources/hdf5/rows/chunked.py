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

SMALL_TILE = 1 << 12
"""Tiles of so many bytes are gathered all by one call: 64 rows of 61 tiles of 104 bytes take 0.3 ms
in place of 3.4."""
MOST_PART = 4 << 20
"""So many bytes of them at a time."""


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
    if tiling.cut is not None and len(tiles) == tiling.count and tiling.tile_bytes <= SMALL_TILE:
        _gather_row_by_row(data, starts, tiling, tiling.cut, fill, out, places)
        return
    part = np.empty((len(starts), tiling.tile_bytes), np.uint8)
    shaped = part.view(out.dtype).reshape(len(starts), *tiling.tile)
    rows: Any = slice(None) if places is None else places
    for j, tile in enumerate(tiles):
        target, inside = tiling.cuts(tile)
        _gather(data, np.ascontiguousarray(starts[:, j]), part, fill)
        out[(rows, *target)] = shaped[(slice(None), *inside)]


def _gather_row_by_row(
    data: ByteRows | None,
    starts: Ints,
    tiling: Tiling,
    cut: int,
    fill: NDArray[np.uint8],
    out: NDArray[Any],
    places: Ints | None,
) -> None:
    """Copy all tiles of rows by one call, and then the rows without what tiles have beside them."""
    padded = [*tiling.row]
    padded[cut] = tiling.grid[cut] * tiling.tile[cut]
    inside = (slice(None),) * (cut + 1) + (slice(tiling.row[cut]),)
    most = max(1, MOST_PART // (tiling.count * tiling.tile_bytes))
    for first in range(0, len(starts), most):
        some = starts[first : first + most]
        part = np.empty((some.size, tiling.tile_bytes), np.uint8)
        _gather(data, some.ravel(), part, fill)
        rows = part.reshape(-1).view(out.dtype).reshape(len(some), *padded)[inside]
        out[slice(first, first + most) if places is None else places[first : first + most]] = rows


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
