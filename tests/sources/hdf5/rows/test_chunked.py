"""Rows are put together from their tiles, however these cut them: by one call, or tile by tile."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npdata.arrays.gather import ByteRows
from npdata.sources.hdf5.rows import chunked
from npdata.sources.hdf5.rows.chunked import gather_rows
from npdata.sources.hdf5.rows.tiling import Tiling

FILL = -1.0


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    row = draw(st.lists(st.integers(1, 7), max_size=3))
    tile = [draw(st.integers(1, n + 2) | st.just(1) | st.just(n)) for n in row]
    return Tiling.of((8, *row), (2, *tile), 4)


def in_chunks(rows: np.ndarray, tiling: Tiling) -> np.ndarray:
    """The rows as chunks have them: the tiles of two rows, block by block."""
    padded = [(0, g * t - n) for g, t, n in zip(tiling.grid, tiling.tile, tiling.row, strict=True)]
    whole = np.pad(rows, [(0, 0), *padded], constant_values=99)
    chunks = [
        whole[
            (
                slice(first, first + 2),
                *(slice(k * t, (k + 1) * t) for k, t in zip(at, tiling.tile, strict=True)),
            )
        ]
        for first in range(0, len(rows), 2)
        for at in np.ndindex(*tiling.grid)
    ]
    return np.concatenate([chunk.ravel() for chunk in chunks])


@pytest.mark.parametrize("largest", [0, 1 << 30])
@pytest.mark.parametrize("most", [1, 1 << 30])
def test_rows_are_those_of_the_array(
    largest: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "SMALL_TILE", largest)
    monkeypatch.setattr(chunked, "MOST_PART", most)
    require_rows()


@given(tilings(), st.lists(st.integers(0, 7), min_size=1, max_size=9), st.data())
def require_rows(tiling: Tiling, asked: list[int], data: st.DataObject) -> None:
    rows = np.arange(8 * math.prod(tiling.row), dtype=np.float32).reshape(8, *tiling.row)
    memory = in_chunks(rows, tiling).view(np.uint8)
    numbers = np.array(asked, np.int64)
    tiles = np.arange(tiling.count)
    chunks = (numbers // 2)[:, None] * tiling.count + tiles
    starts = chunks * tiling.chunk_bytes + (numbers % 2)[:, None] * tiling.tile_bytes
    expected: Any = rows[numbers].copy()
    lost = data.draw(st.sets(st.integers(0, tiling.count - 1)))
    for tile in lost:
        starts[:, tile] = -1
        expected[(slice(None), *tiling.cuts(tile)[0])] = FILL
    source = ByteRows.of(memory, tiling.tile_bytes)
    fill = np.array([FILL], np.float32).view(np.uint8)
    out = np.empty_like(expected)
    gather_rows(source, starts, tiling, range(tiling.count), fill, out, None)
    np.testing.assert_array_equal(out, expected)
    places = np.random.default_rng(0).permutation(len(numbers))
    placed = np.empty_like(expected)
    gather_rows(source, starts, tiling, range(tiling.count), fill, placed, places)
    np.testing.assert_array_equal(placed[places], expected)


def test_the_axis_that_tiles_cut_is_known() -> None:
    cuts = {
        ((), ()): None,
        ((6,), (4,)): 0,
        ((3, 5), (3, 5)): 0,
        ((3, 5), (2, 5)): 0,
        ((3, 5), (1, 2)): 1,
        ((3, 5), (2, 2)): None,
        ((3, 5), (1, 7)): 1,
    }
    found = {key: Tiling.of((8, *key[0]), (2, *key[1]), 4) for key in cuts}
    assert {key: tiling.cut for key, tiling in found.items()} == cuts
    assert [tiling.seamless for tiling in found.values()] == [True, False, True, *[False] * 4]
