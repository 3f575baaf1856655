"""Windows made one by one, in plain Python: what the plan must come to."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """Rows of one window, and which of them stand in for rows outside the recording."""

    rows: list[int]
    padded: list[bool]


def anchors(edges: Sequence[int], reach: Sequence[int], stride: int, edge: str) -> Iterator[int]:
    """The anchors of all windows that name rows at `reach`, by trying each row."""
    for first, stop in itertools.pairwise(edges):
        whole = [
            row
            for row in range(first, stop)
            if edge != "drop" or all(first <= row + o < stop for o in reach)
        ]
        yield from whole[::stride]


def windows(
    edges: Sequence[int],
    offsets: Sequence[int],
    stride: int,
    edge: str,
    reach: Sequence[int] | None = None,
) -> list[Window]:
    """All windows of rows at `offsets`; `reach` has those of all fields."""
    made = []
    for anchor in anchors(edges, offsets if reach is None else reach, stride, edge):
        first = max(e for e in edges if e <= anchor)
        stop = min(e for e in edges if e > anchor)
        rows = [anchor + o for o in offsets]
        made.append(
            Window(
                rows=[min(max(row, first), stop - 1) for row in rows],
                padded=[not first <= row < stop for row in rows],
            )
        )
    return made


def values(x: np.ndarray, window: Window, edge: str) -> np.ndarray:
    """What the window holds."""
    picked = x[window.rows].copy()
    if edge == "zero":
        picked[window.padded] = np.zeros((), x.dtype)
    return picked
