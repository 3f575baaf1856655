"""Borders are taken as recordings, and what cannot be one is named."""

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from npdata.arrays.recordings import Recordings, changes, even_borders, shown_lengths
from npdata.errors import FieldError


@given(st.lists(st.integers(0, 20), max_size=6).map(sorted))
def test_borders_are_taken_in_each_form(inner: list[int]) -> None:
    rows = 20
    expected = sorted({0, *inner, rows})
    for given_borders in (inner, [0, *inner], [*inner, rows], [0, *inner, rows]):
        edges = Recordings.of_borders(given_borders, rows).edges
        assert edges[0] == 0
        assert edges[-1] == rows
        assert sorted(set(edges.tolist())) == expected


@pytest.mark.parametrize(
    ("borders", "rows", "edges", "origin"),
    [
        (np.array([3, 7], np.uint8), 10, [0, 3, 7, 10], "2 rows where a recording begins"),
        ([3, 10], 10, [0, 3, 10], "2 rows where a recording ends"),
        ([10], 10, [0, 10], "1 row where a recording ends"),
        (np.array([], np.uint8), 10, [0, 10], "0 rows where a recording begins"),
        (
            np.array([3, 1 << 62], np.uint64),
            1 << 62,
            [0, 3, 1 << 62],
            "2 rows where a recording ends",
        ),
        ([0, 3, 10], 10, [0, 3, 10], "3 offsets, from 0 to the end"),
        ([0], 0, [0, 0], "1 row where a recording begins"),
        ([0, 0], 0, [0, 0], "2 rows where a recording begins"),
        ([], 0, [0, 0], "0 rows where a recording begins"),
    ],
)
def test_borders_say_how_they_were_taken(
    borders: Any, rows: int, edges: list[int], origin: str
) -> None:
    told = Recordings.of_borders(borders, rows)
    assert (told.edges.tolist(), told.origin) == (edges, origin)


@pytest.mark.parametrize(
    ("borders", "message"),
    [
        ([5, 3], "border 1 is 3, after 5$"),
        ([1, 0], "border 1 is 0, after 1$"),
        ([-1, 3], "border -1 lies outside the 10 rows"),
        ([0, 5, 11], "border 11 lies outside the 10 rows"),
        ([11] * 10, "border 11 lies outside .* a number for each of the 10 rows"),
        ([-1, 11], r"border -1 lies outside .* if they are lengths \(10 rows"),
        ([1, 0, 0, 1, 0, 0, 0, 0, 0, 0], "border 1 is 0, after 1; for flags of first rows give"),
        ([[1], [2, 3]], "borders: expected a list of row numbers: "),
        ([2.5], "dtype float64: expected .* the name of one field$"),
        ([[1, 2]], r"shape \(1, 2\)"),
        ([True, False], r"dtype bool: .*give borders=np.flatnonzero\(flags\)"),
        (["run"], "or the name of one field; of flags in several fields"),
        (torch.ones(2, requires_grad=True), "borders: expected a list of row numbers: "),
        ([0, 0, 2, 2, 1, 1, 1, 1, 1, 1], "border 4 is 1, after 2; if they are a number for each"),
        ([4, 6, 0], r"border 2 is 0, after 6; if they are lengths \(10 rows"),
        (
            [7, 7, 7, 7, 3, 3, 3, 3, 3, 3],
            r"border 4 is 3, after 7; if they are a number for each of the 10",
        ),
        (np.array([3, 1 << 63], np.uint64), "borders: 9223372036854775808 is no row number"),
        (
            np.ma.array([3, 5, 7], mask=[False, True, False]),
            r"borders is masked at 1 of 3 places, as at place 1, .*borders=x.compressed\(\)",
        ),
    ],
)
def test_borders_that_cannot_be_are_named(borders: object, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        Recordings.of_borders(borders, 10)


@pytest.mark.parametrize(
    ("borders", "meant"),
    [
        (
            [5, 5],
            r"^, some of which are empty; if they are lengths .* borders=np.cumsum\(lengths\)",
        ),
        ([2, 2, 2, 2, 2], "lengths"),
        ([0, 2, 4, 4], "lengths"),
        ([0, 0, 0, 0, 1, 1, 1, 2, 2, 2], "a number for each of the 10 rows.* its name"),
        ([5, 5, 10], None),
        ([10], None),
        ([0, 0, 10], None),
        ([3, 7], "^; if they are lengths"),
        ([0, 3, 7], None),
        ([3, 6], None),
        ([4, 4], None),
    ],
)
def test_borders_that_may_mean_more_are_taken_as_borders(
    borders: list[int], meant: str | None
) -> None:
    told = Recordings.of_borders(borders, 10)
    assert told.edges.tolist() == [
        *([0] * (borders[0] != 0)),
        *borders,
        *([10] * (10 not in borders)),
    ]
    assert re.search(meant, told.doubt) if meant else not told.doubt


@given(st.lists(st.sampled_from([0.0, 1.0, float("nan")]), max_size=9))
def test_changes_are_where_a_value_differs(values: list[float]) -> None:
    texts = [str(value) for value in values]
    expected = [k for k in range(1, len(values)) if texts[k] != texts[k - 1]]
    array = np.array(values)
    days = np.where(np.isnan(array), np.datetime64("NaT", "D"), array.astype("M8[D]"))
    records = np.zeros(len(array), [("id", int), ("at", float, 2)])
    records["at"] = array[:, None]
    for rows in (array, days, array.astype(ml_dtypes.bfloat16), records):
        assert changes(rows).tolist() == expected


@pytest.mark.parametrize(
    "rows",
    [
        np.array([[0, 1], [0, 2], [0, 2], [5, 2]]),
        np.array([(np.nan, 1), (np.nan, 2), (np.nan, 2), (5, 2)], [("at", float), ("id", int)]),
    ],
)
def test_a_row_differs_where_any_of_its_numbers_does(rows: Any) -> None:
    assert changes(rows).tolist() == [1, 3]


def test_recordings_of_one_row_are_recordings() -> None:
    borders = even_borders(3, 1)
    assert borders is not None
    assert borders.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("lengths", "shown"), [([], "0"), ([0, 0], "0"), ([0, 2], "0 to 2")])
def test_lengths_are_shown_also_where_none_has_rows(lengths: list[int], shown: str) -> None:
    assert shown_lengths(np.array(lengths, np.int64)) == shown
