"""The plan of windows names the rows that trying every row names."""

import re
from typing import Any

import numpy as np
import pytest
import spans
from hypothesis import given
from hypothesis import strategies as st

from npdata.arrays.spans import EDGES, Recordings, Windows, changes, step_of
from npdata.errors import FieldError

lengths = st.lists(st.integers(0, 9), min_size=1, max_size=6)
offsets = st.lists(st.integers(-5, 5), min_size=1, max_size=5)


def recordings(sizes: list[int]) -> Recordings:
    return Recordings(edges=np.append(0, np.cumsum(sizes)).astype(np.int64), origin="test")


@given(lengths, offsets, st.integers(1, 4), st.sampled_from(EDGES))
def test_windows_are_those_found_by_trying(
    sizes: list[int], named: list[int], stride: int, edge: str
) -> None:
    plan = Windows.of(recordings(sizes), [*named, 0], stride=stride, edge=edge)
    expected = spans.windows(plan.recordings.edges.tolist(), named, stride, edge, [*named, 0])
    assert len(plan) == len(expected)
    every, at = np.arange(len(plan)), np.array(named)
    assert plan.rows(every, at).tolist() == [window.rows for window in expected]
    if edge != "drop":
        assert plan.padded(every, at).tolist() == [window.padded for window in expected]


def test_row_numbers_that_changed_in_place_are_placed_anew() -> None:
    plan = Windows.of(Recordings.of_borders([3], 7), [0, 1], stride=1, edge="repeat")
    other = Windows.of(Recordings.of_borders([5], 7), [0, 1], stride=1, edge="repeat")
    numbers, at = np.array([2, 4]), np.array([0, 1])
    assert plan.rows(numbers, at).tolist() == [[2, 2], [4, 5]]
    assert other.rows(numbers, at).tolist() == [[2, 3], [4, 4]]
    assert plan.rows(numbers, at).tolist() == [[2, 2], [4, 5]]
    numbers[:] = 6, 0
    assert plan.rows(numbers, at).tolist() == [[6, 6], [0, 1]]
    assert plan.padded(numbers, at).tolist() == [[False, True], [False, False]]


@given(lengths, offsets, st.integers(1, 4), st.sampled_from(EDGES))
def test_rows_left_out_are_counted(
    sizes: list[int], named: list[int], stride: int, edge: str
) -> None:
    asked: Any = {"stride": stride, "edge": edge}
    plan = Windows.of(recordings(sizes), named, **asked)
    assert plan.left_out == Windows.of(recordings(sizes), named[:1], named, **asked).left_out
    edges = plan.recordings.edges.tolist()
    seen = {
        row
        for window in spans.windows(edges, named, stride, edge)
        for row, padded in zip(window.rows, window.padded, strict=True)
        if not padded
    }
    assert sum(plan.left_out[1:]) == sum(sizes) - len(seen)


@given(lengths, st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(0, 54), max_size=8))
def test_windows_before_a_row_are_counted(
    sizes: list[int], length: int, stride: int, rows: list[int]
) -> None:
    plan = Windows.of(recordings(sizes), range(length), stride=stride, edge="drop")
    anchors = plan.anchors(np.arange(len(plan)))
    ends = np.minimum(np.array(rows, np.int64), sum(sizes))
    assert plan.before_row(ends).tolist() == [int((anchors < row).sum()) for row in ends]


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
    ("borders", "message"),
    [
        ([5, 3], "border 1 is 3, after 5"),
        ([-1, 3], "border -1 lies outside the 10 rows"),
        ([3, 11], "border 11 lies outside the 10 rows"),
        ([11] * 10, "border 11 lies outside .* a number for each of the 10 rows"),
        ([-1, 11], r"border -1 lies outside .* if they are lengths \(10 rows"),
        ([2.5], "dtype float64"),
        ([[1, 2]], r"shape \(1, 2\)"),
        ([True, False], r"dtype bool: .*give np.flatnonzero\(flags\)"),
        (["run"], "or the name of one field"),
        ([4, 6, 0], r"border 2 is 0, after 6; if they are lengths \(10 rows"),
        (
            [7, 7, 7, 7, 3, 3, 3, 3, 3, 3],
            r"border 4 is 3, after 7; if they are a number for each of the 10",
        ),
        (np.array([1 << 63], np.uint64), "is no row number"),
    ],
)
def test_borders_that_cannot_be_are_named(borders: object, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        Recordings.of_borders(borders, 10)


@pytest.mark.parametrize(
    ("borders", "meant"),
    [
        ([5, 5], r"lengths \(10 rows together\), give borders=np.cumsum\(lengths\)"),
        ([2, 2, 2, 2, 2], "lengths"),
        ([0, 2, 4, 4], "lengths"),
        ([0, 0, 0, 0, 1, 1, 1, 2, 2, 2], "a number for each of the 10 rows.* its name"),
        ([5, 5, 10], None),
        ([3, 7], "lengths"),
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


def test_a_billion_windows_take_no_memory() -> None:
    plan = Windows.of(Recordings.one(10**9), range(1024), stride=1, edge="drop")
    assert len(plan) == 10**9 - 1023
    assert plan.starts.nbytes + plan.firsts.nbytes + plan.recordings.edges.nbytes <= 64
    assert plan.anchors(np.array([len(plan) - 1])).tolist() == [10**9 - 1024]


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=5))
def test_a_step_is_the_distance_of_even_offsets(named: list[int]) -> None:
    step = step_of(np.array(named))
    even = [k for k in range(1, 9) if named == [named[0] + k * j for j in range(len(named))]]
    assert step == (even[0] if even else None)


@given(st.lists(st.sampled_from([0.0, 1.0, float("nan")]), max_size=9))
def test_changes_are_where_a_value_differs(values: list[float]) -> None:
    texts = [str(value) for value in values]
    expected = [k for k in range(1, len(values)) if texts[k] != texts[k - 1]]
    assert changes(np.array(values)).tolist() == expected
