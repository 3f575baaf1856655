"""Rows put together from chunks that lie raw in memory: a file map, or decoded chunks.

Idea: where each chunk starts is an array of offsets, -1 for a chunk that was never written; the
copy kernel takes a row's part of each of them in one call. Invariant: the caller's chunks are
whole and stay in place during the call; only rows asked for are written. This module knows no
file and decodes nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import ByteRows
from npdata.sources.hdf5.tiling import Tiling


def gather_rows(
    data: ByteRows | None,
    starts: NDArray[np.int64],
    tiling: Tiling,
    tiles: range,
    fill: NDArray[np.uint8],
    out: NDArray[Any],
    places: NDArray[np.int64] | None,
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
    data: ByteRows | None,
    starts: NDArray[np.int64],
    out: NDArray[np.uint8],
    fill: NDArray[np.uint8],
) -> None:
    if data is not None and starts.min() >= 0:
        data.gather(starts, out)
        return
    missing = starts < 0
    there = np.flatnonzero(~missing)
    if data is not None and len(there):
        instead = np.where(missing, starts[there[0]], starts)
        data.gather(instead, out)
    out.reshape(len(out), -1, len(fill))[missing] = fill
