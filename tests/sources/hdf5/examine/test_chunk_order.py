"""Rows along the first axes of a dataset lie in its chunks where their places say."""

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from npdata.sources.hdf5.examine.chunk_order import ChunkOrder


@st.composite
def orders(draw: st.DrawFn) -> ChunkOrder:
    lengths = draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    chunk = [draw(st.integers(1, length + 2)) for length in lengths]
    return ChunkOrder(lengths=tuple(lengths), chunk=tuple(chunk))


def chunk_by_chunk(order: ChunkOrder) -> np.ndarray:
    """The numbers of the rows as the chunks have them, one after the other; -1 is no row."""
    padded = np.full([g * c for g, c in zip(order.grid, order.chunk, strict=True)], -1)
    numbers = np.arange(order.count).reshape(order.lengths)
    padded[tuple(slice(0, n) for n in order.lengths)] = numbers
    chunks = [
        padded[tuple(slice(k * c, (k + 1) * c) for k, c in zip(place, order.chunk, strict=True))]
        for place in np.ndindex(*order.grid)
    ]
    return np.concatenate([chunk.ravel() for chunk in chunks])


@given(orders())
def test_each_place_has_its_row(order: ChunkOrder) -> None:
    found = chunk_by_chunk(order)
    assert len(found) == math.prod(order.grid) * order.chunk_rows
    numbers = np.arange(order.count)
    assert (found[order.places(numbers)] == numbers).all()


@given(orders())
def test_of_straight_ones_each_place_is_the_number(order: ChunkOrder) -> None:
    if order.straight:
        assert order.places(np.arange(order.count)).tolist() == list(range(order.count))


def test_whole_pieces_of_one_recording_are_straight_and_so_are_whole_recordings() -> None:
    chunks = ((1, 5), (3, 20), (4, 20), (1, 1), (1, 6), (2, 5), (3, 24))
    found = [ChunkOrder(lengths=(9, 20), chunk=chunk).straight for chunk in chunks]
    assert found == [True, True, True, True, False, False, False]
    assert ChunkOrder(lengths=(2, 3, 4), chunk=(1, 1, 1)).straight


@given(orders(), st.data())
def test_a_span_has_the_chunks_of_a_run_of_rows(order: ChunkOrder, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, order.count))
    stop = data.draw(st.integers(first, order.count))
    low, high = order.span(first, stop)
    places = order.places(np.arange(first, stop))
    assert ((low <= places) & (places < high)).all()
    assert low % order.chunk_rows == high % order.chunk_rows == 0
    if first == stop:
        assert low == high
    elif first // order.lengths[-1] == (stop - 1) // order.lengths[-1]:
        assert places.min() - low < order.chunk_rows
        assert high - places.max() <= order.chunk_rows


def test_a_span_across_recordings_has_the_chunks_of_these_alone() -> None:
    assert ChunkOrder(lengths=(9, 5), chunk=(1, 3)).span(14, 17) == (2 * 6, 4 * 6)


def test_a_span_of_one_row_is_one_chunk() -> None:
    assert ChunkOrder(lengths=(2, 3, 5), chunk=(1, 1, 3)).span(9, 10) == (3 * 3, 4 * 3)


def test_memory_holds_as_many_rows_as_places_where_chunks_have_no_others() -> None:
    order = ChunkOrder(lengths=(2, 900), chunk=(1, 45))
    assert [order.rows_held(held) for held in (90, 90_000)] == [90, 90_000]


@given(orders(), st.integers(1, 200))
def test_blocks_fit_into_memory_and_share_few_chunks(order: ChunkOrder, held: int) -> None:
    blocks, times = order.blocks(held), order.times(held)
    assert blocks.total_rows == order.count
    chunks = np.split(
        order.places(np.arange(order.count)) // order.chunk_rows, blocks.edges()[1:-1]
    )
    largest = max(len(set(each)) for each in chunks) * order.chunk_rows
    if times is not None:
        most = np.bincount(np.concatenate([np.unique(each) for each in chunks])).max()
        assert most <= times
        assert largest <= held
        assert order.rows_held(held) <= held * blocks.largest // largest


@given(orders(), st.integers(0, 1), st.integers(0, 9))
@example(ChunkOrder(lengths=(3, 4), chunk=(1, 4)), 1, 3)
def test_without_rows_there_are_no_blocks(order: ChunkOrder, axis: int, held: int) -> None:
    lengths = (*order.lengths[:axis], 0, *order.lengths[axis + 1 :])
    empty = ChunkOrder(lengths=lengths, chunk=order.chunk)
    assert empty.blocks(held).count == empty.blocks(None).count == 0


@given(orders())
def test_blocks_without_a_limit_share_no_chunk(order: ChunkOrder) -> None:
    rows = np.arange(order.count)
    chunks = order.places(rows) // order.chunk_rows
    (block_rows,) = order.blocks(None).block_rows
    blocks = rows // block_rows
    owners = {chunk: set(blocks[chunks == chunk].tolist()) for chunk in set(chunks.tolist())}
    assert all(len(found) == 1 for found in owners.values())
    assert order.times(None) == 1
