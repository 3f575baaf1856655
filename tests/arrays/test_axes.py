"""Several axes as one: a view where rows lie evenly, and boxes that cover a run of rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npdata.arrays.axes import as_one, boxes, pieces_of_row


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.data())
def test_boxes_are_the_rows_in_order(lengths: list[int], data: st.DataObject) -> None:
    numbers = np.arange(np.prod(lengths)).reshape(lengths)
    start = data.draw(st.integers(0, numbers.size))
    stop = data.draw(st.integers(start, numbers.size))
    found = [numbers[box].ravel() for box in boxes(start, stop, tuple(lengths))]
    assert np.concatenate([np.zeros(0, int), *found]).tolist() == list(range(start, stop))
    assert all(len(each) for each in found)
    assert len(found) < 2 * len(lengths)


ROWS = np.arange(4 * 3 * 2).reshape(4, 3, 2)
ARRAYS: dict[str, Any] = {
    "in C order": ROWS,
    "reversed": ROWS[::-1, ::-1],
    "every second element": np.repeat(ROWS, 2, axis=2)[:, :, ::2],
    "one value": np.broadcast_to(np.int64(7), (4, 3, 2)),
    "of one recording": ROWS[:1],
    "of recordings of one row": ROWS[:, 1:2],
    "without rows": ROWS[:, :0],
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_rows_that_lie_evenly_are_a_view(kind: str) -> None:
    array = ARRAYS[kind]
    view = as_one(array, 2)
    assert view is not None
    assert view.tolist() == array.reshape(-1, 2).tolist()
    assert np.shares_memory(view, array) or not array.size


LAID_OUT: dict[str, Any] = {
    "in C order": ROWS,
    "in Fortran order": ROWS.reshape(2, 3, 4).T,
    "reversed": ROWS[:, ::-1, ::-1],
    "with a new axis": ROWS[..., None],
}
"""Arrays whose values say where they lie."""


@pytest.mark.parametrize("kind", LAID_OUT)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (2, 1), (0, 1, 2)])
def test_a_row_lies_in_as_many_pieces_as_its_bytes_have_gaps(kind: str, axes: Any) -> None:
    places = LAID_OUT[kind]
    row = np.sort(np.moveaxis(places, axes, range(len(axes)))[(0,) * len(axes)], axis=None)
    assert pieces_of_row(places, axes) == 1 + np.count_nonzero(np.diff(row) > 1)


@pytest.mark.parametrize("array", [ROWS[:, ::2], ROWS.transpose(1, 0, 2), ROWS[::-1]])
def test_others_are_none(array: Any) -> None:
    assert as_one(array, 2) is None
