"""Row numbers: what NumPy would select, or an error that says what was wrong."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from npdata import NumpyDataset
from npdata.arrays.indexing import array_of, row_number, row_numbers

INTEGERS = [
    np.dtype(f"{order}{kind}{size}") for order in "<>" for kind in "iu" for size in (1, 2, 4, 8)
]


@given(st.data(), st.integers(1, 3000))
def test_any_integer_array_selects_like_numpy(data: st.DataObject, rows: int) -> None:
    dtype = data.draw(st.sampled_from(INTEGERS))
    limits = np.iinfo(dtype)
    numbers = st.integers(max(-rows, limits.min), min(rows - 1, limits.max))
    indices = data.draw(npst.arrays(dtype, st.integers(0, 20), elements=numbers))
    picked = row_numbers(indices, rows)
    assert picked.dtype == np.int64
    assert picked.flags.c_contiguous
    assert (np.arange(rows)[indices] == picked).all()


@given(st.slices(20), st.integers(0, 20))
def test_any_slice_selects_like_numpy(rows: slice, length: int) -> None:
    assert (row_numbers(rows, length) == np.arange(length)[rows]).all()


@given(st.integers(-20, 20), st.integers(-20, 20), st.sampled_from([-3, -1, 1, 2, 1 << 70]))
def test_any_range_selects_like_its_list(start: int, stop: int, step: int) -> None:
    rows = range(start, stop, step)
    assert (row_numbers(rows, 21) == np.arange(21)[np.array(list(rows), np.int64)]).all()
    assert array_of(rows).tolist() == list(rows)


@given(st.lists(st.booleans(), max_size=20))
def test_any_mask_selects_like_numpy(mask: list[bool]) -> None:
    expected = np.arange(len(mask))[np.array(mask, bool)]
    for given_mask in (mask, np.array(mask, bool), torch.tensor(mask, dtype=torch.bool)):
        assert (row_numbers(given_mask, len(mask)) == expected).all()


@pytest.mark.parametrize("index", [np.iinfo(np.uint64).max, 10, -11, 1 << 63], ids=str)
def test_a_number_outside_is_named_with_its_position(index: int) -> None:
    inside, dtype = ([0, 9], np.uint64) if index > 10 else ([-10, 9], np.int64)
    with pytest.raises(IndexError, match=rf"row {index} at position 2 .* rows are -10 to 9"):
        row_numbers(np.array([*inside, index], dtype), 10)
    assert row_numbers([-10, 9], 10).tolist() == [0, 9]


@pytest.mark.parametrize("huge", [1 << 63, 1 << 70, -(1 << 70)], ids=str)
@pytest.mark.parametrize("beside", [[0], [-10], [np.uint64(0)]], ids=repr)
def test_an_int_that_no_array_of_integers_holds_is_outside_as_any_other(
    beside: list[int], huge: int
) -> None:
    spaced = range(0, 2 * huge, huge)
    for indices in ([*beside, huge], np.array([*beside, huge], object), spaced):
        with pytest.raises(IndexError, match=rf"row {huge} at position 1 .* rows are -10 to 9"):
            row_numbers(indices, 10)


def test_an_array_of_another_dtype_says_how_to_make_ints() -> None:
    for dtype in (object, np.float64):
        with pytest.raises(TypeError, match=rf"dtype {np.dtype(dtype)}; .*astype\(np.int64\)"):
            row_numbers(np.array([1, 2], dtype), 10)


def test_an_empty_dataset_has_no_rows() -> None:
    for none in ([], np.arange(3)[3:]):
        assert row_numbers(none, 0).tolist() == []
    with pytest.raises(IndexError, match="there are no rows"):
        row_number(0, 0)


@pytest.mark.parametrize(
    "index",
    [1.0, "a", None, (1,), True, np.True_, torch.tensor(True), np.float32(1), ...],
    ids=repr,
)
def test_what_is_no_integer_is_no_row(index: object) -> None:
    with pytest.raises(TypeError, match="selects no rows"):
        row_number(index, 10)


@pytest.mark.parametrize(
    ("index", "cure"), [("x", r"data\[:\]\['x'\]"), ((0, 1), r"data\[i\]\[j\]")], ids=repr
)
def test_a_field_or_an_element_is_chosen_after_the_row(index: object, cure: str) -> None:
    with pytest.raises(TypeError, match=cure):
        row_number(index, 10)


@pytest.mark.parametrize(
    "indices",
    [
        [1.0],
        ["a"],
        "ab",
        [[1]],
        np.zeros((2, 2), int),
        np.zeros(0),
        {1: 2},
        {1},
        [None],
        [1, [2]],
        5,
    ],
    ids=repr,
)
def test_what_is_no_list_of_integers_selects_no_rows(indices: object) -> None:
    with pytest.raises(TypeError):
        row_numbers(indices, 10)


@pytest.mark.parametrize(
    ("indices", "cure"),
    [
        ([[0, 1], [2, 3]], "these are 2 lists: take one, or give all in one dimension"),
        ([[0, 1], [2]], "these are 2 lists: take one, or give all in one dimension"),
        ([*torch.tensor([[0, 1], [2, 3]])], r"these are 2 arrays: take one, as train of train,"),
        ([([0, 1], [2]), ([2], [0, 1])], r"these are 2 folds: take one part of one,"),
        (np.array([[0, 1], [2, 3]]), r"indices of shape \(2, 2\) .*; give them in one dimension"),
    ],
    ids=repr,
)
def test_indices_in_two_dimensions_are_named_as_what_they_are(indices: object, cure: str) -> None:
    with pytest.raises(TypeError, match=cure):
        row_numbers(indices, 10)


def test_torch_takes_the_row_numbers_of_a_reversed_and_of_a_frozen_array() -> None:
    frozen = np.array([5])
    frozen.flags.writeable = False
    for last in (np.arange(6)[::-1][:1], frozen):
        picked = row_numbers(last, 6)
        assert picked.flags.writeable  # of another, torch warns once
        assert torch.from_numpy(picked).tolist() == [5]
        assert NumpyDataset(np.arange(6)).__getitems__(last)[0].item() == 5


def test_tensors_and_ranges_are_lists_of_integers() -> None:
    for indices in (
        torch.tensor([1, -1]),
        [torch.tensor(1), torch.tensor(-1)],
        (1, -1),
        range(1, 10, 8),
    ):
        assert row_numbers(indices, 10).tolist() == [1, 9]
