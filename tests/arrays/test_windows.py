"""The plan of windows names the rows that trying every row names."""

import itertools
from typing import Any

import numpy as np
import spans
from hypothesis import given
from hypothesis import strategies as st

from npdata.arrays.recordings import Recordings
from npdata.arrays.windows import EDGES, Windows, step_of

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
    anchors = list(spans.anchors(edges, named, stride, edge))
    full = [(low, high) for low, high in itertools.pairwise(edges) if low < high]
    assert plan.left_out[0] == sum(not any(a in range(*each) for a in anchors) for each in full)


@given(lengths, offsets, st.integers(1, 4), st.lists(st.integers(0, 54), max_size=8))
def test_windows_before_a_row_are_counted(
    sizes: list[int], named: list[int], stride: int, rows: list[int]
) -> None:
    plan = Windows.of(recordings(sizes), named, stride=stride, edge="drop")
    anchors = plan.anchors(np.arange(len(plan)))
    ends = np.minimum(np.array(rows, np.int64), sum(sizes))
    assert plan.before_row(ends).tolist() == [int((anchors < row).sum()) for row in ends]


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
