"""The picture of `npdata inspect`: for each array how its values spread, and how samples look.

Invariant: no more than `MOST_BYTES` of rows and `MOST_DECODED` of chunks are read for an array,
else the reason stands in their place.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.cli.console import bytes_text, count_text, printable, shape_text
from npdata.cli.files import opened
from npdata.cli.inspect.report import Stored
from npdata.cli.plot import new_figure, shortened
from npdata.cli.table import dtype_text
from npdata.errors import NpdataError
from npdata.sources.formats.raw import RawFormat

MOST_BYTES = 32 << 20
MOST_DECODED = 512 << 20
ALL_BYTES = 4 << 20
"""An array of no more bytes is read as a whole."""
MOST_ROWS, PLACES = 4096, 16
"""Of others so many rows at most, in so many runs of neighbours."""
IMAGES = 4
_BLUE, _GREY = "#2f6690", "#777777"


class Picked(NamedTuple):
    """The rows that are drawn, and their numbers, ascending; where there are none, the reason."""

    numbers: Ints
    rows: NDArray[Any]
    reason: str

    def some(self) -> list[tuple[int, NDArray[Any]]]:
        """Give a few from all over these rows, each with its number."""
        places = np.linspace(0, len(self.rows) - 1, IMAGES).astype(np.int64)[: len(self.rows)]
        return [(int(self.numbers[place]), self.rows[place]) for place in places.tolist()]


def draw_arrays(
    arrays: Sequence[tuple[str, Stored]], raw: RawFormat | None, *, left_out: int
) -> Any:
    """Draw a line of panels for each array, by its place; `left_out` arrays are only counted."""
    figure = new_figure(13, 0.4 + 2.6 * len(arrays))
    grid = figure.add_gridspec(len(arrays), 1 + IMAGES, width_ratios=[2] + [1] * IMAGES)
    for line, (where, stored) in enumerate(arrays):
        picked = _picked(where, stored, raw)
        title = (
            f"{shortened(where)}   {shape_text(stored.shape)} {dtype_text(stored.dtype)}, "
            f"{bytes_text(stored.nbytes)}, {stored.access.kind}"
        )
        values = figure.add_subplot(grid[line, 0])
        looked = _draw_values(values, stored, picked)
        values.set_title(f"{title}\n{looked}", loc="left", fontsize=9, parse_math=False)
        pictures = [(number, as_image(row)) for number, row in picked.some()]
        if all(image is None for _, image in pictures):
            _draw_rows(figure.add_subplot(grid[line, 1:]), stored, picked)
            continue
        for place, (number, image) in enumerate(pictures):
            panel = figure.add_subplot(grid[line, 1 + place])
            panel.imshow(image, cmap="gray")
            panel.set_title(f"row {number:,}", fontsize=8)
            panel.set_axis_off()
    for panel in figure.axes:
        panel.tick_params(labelsize=7)
    if left_out:
        text = f"the first {len(arrays)} of {len(arrays) + left_out:,} arrays"
        figure.supxlabel(text, fontsize=9, color=_GREY)
    return figure


def choose_rows(stored: Stored) -> tuple[Ints, str]:
    """Choose the numbers of rows to read, or none and the reason why."""
    nothing = np.zeros(0, np.int64)
    if stored.nbytes == 0:
        return nothing, "it holds no rows"
    place_bytes = stored.row_bytes
    if stored.chunks is not None and stored.filters:
        place_bytes = max(place_bytes, stored.chunks.block_bytes)
    elif stored.filters:
        # A member of a zip is decoded as a whole.
        place_bytes = stored.nbytes
    if stored.row_bytes > MOST_BYTES or place_bytes > MOST_DECODED:
        return nothing, f"a look at it takes {bytes_text(place_bytes)}"
    if stored.nbytes <= ALL_BYTES:
        return np.arange(stored.rows), ""
    rows = max(1, min(MOST_ROWS, MOST_BYTES // stored.row_bytes))
    places = max(1, min(PLACES, rows, MOST_DECODED // place_bytes))
    run = rows // places
    starts = np.linspace(0, max(0, stored.rows - run), places).astype(np.int64)
    numbers = np.unique(starts[:, None] + np.arange(run))
    return numbers[numbers < stored.rows], ""


def as_image(row: NDArray[Any]) -> NDArray[Any] | None:
    """Give a row as an image for matplotlib, (h, w) or (h, w, 3), None where it is none.

    Two axes are a grey image. Three are one in colour, where the first or the last has size 1, 3
    or 4, else a volume, of which the middle is shown. Complex numbers are shown by magnitude.

    Examples:
        >>> as_image(np.zeros((3, 32, 32), np.uint8)).shape, as_image(np.zeros((9, 32, 32))).shape
        ((32, 32, 3), (32, 32))
        >>> as_image(np.zeros(10)) is None
        True
    """
    if row.ndim == 3:
        if row.shape[0] in (1, 3, 4) and row.shape[2] not in (1, 3, 4):
            row = np.moveaxis(row, 0, 2)
        if row.shape[2] in (3, 4):
            row = row[..., :3]
        else:
            row = row[..., 0] if row.shape[2] == 1 else row[row.shape[0] // 2]
    if row.ndim < 2 or min(row.shape[:2]) < 4:
        return None
    if row.dtype == np.uint8:
        return row
    values = np.nan_to_num(_drawable(row))
    values -= values.min()
    return values / (values.max() or 1.0)


def bins_of(values: NDArray[np.float64], *, whole: bool) -> NDArray[np.float64]:
    """Give the edges of at most 64 bins; `whole` numbers get bins of equally many numbers each.

    Fewer than 64 where fewer floats lie in the range.

    Examples:
        >>> bins_of(np.array([0.0, 3.0]), whole=True).tolist()
        [-0.5, 0.5, 1.5, 2.5, 3.5]
    """
    low, high = float(values.min()), float(values.max())
    if not whole or high - low >= 1 << 52:
        low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
        edges = np.unique(np.linspace(low, high, 65))
        return edges if len(edges) > 1 else np.nextafter(low, [-np.inf, np.inf])
    width = -(-(high - low + 1) // 64)
    return low - 0.5 + width * np.arange(-(-(high - low + 1) // width) + 1)


def _picked(where: str, stored: Stored, raw: RawFormat | None) -> Picked:
    numbers, reason = choose_rows(stored)
    try:
        with closing(opened(where, raw)) as source:
            rows = np.empty((len(numbers), *stored.shape[1:]), stored.dtype)
            if len(numbers):
                source.read(numbers, rows)
            return Picked(numbers, rows, reason)
    except (NpdataError, OSError) as error:
        return Picked(numbers[:0], np.zeros((0, *stored.shape[1:]), stored.dtype), str(error))


def _draw_values(axis: Any, stored: Stored, picked: Picked) -> str:
    numbers, rows, reason = picked
    kind = stored.dtype.kind
    values = _drawable(rows.reshape(-1))
    finite = values[np.isfinite(values)]
    axis.set_yticks([])
    if not len(finite):
        text = printable(reason) or "no finite values up to 1e300"
        axis.text(0.5, 0.5, text, ha="center", fontsize=8, wrap=True, parse_math=False)
        axis.set_axis_off()
        return ""
    whole = kind in "biu"
    bins = bins_of(finite, whole=whole)
    axis.hist(finite, bins=bins, color=_BLUE, rwidth=0.9 if len(bins) <= 33 else 1.0)
    axis.locator_params(axis="x", integer=whole)
    left = len(values) - len(finite)
    strange = f", {left:,} not finite or above 1e300" if left else ""
    what = "magnitudes" if kind == "c" else "values"
    looked = f"{len(numbers):,} of {count_text(stored.rows, 'row')}"
    return f"{what} of {looked}{strange}"


def _draw_rows(axis: Any, stored: Stored, picked: Picked) -> None:
    numbers, rows, _ = picked
    if not len(rows) or rows.dtype.kind == "c":
        axis.set_axis_off()
        return
    if rows[0].size > 1:
        for number, row in picked.some():
            line = _drawable(row.reshape(-1)[:512])
            axis.plot(line, linewidth=0.8, label=f"row {number:,}")
        axis.legend(fontsize=7, loc="best")
        axis.set_xlabel("element of a row", fontsize=8)
        return
    # Not every n-th row: labels may have a period.
    some = np.random.default_rng(0).permutation(len(rows))[:MOST_ROWS]
    values = _drawable(rows[some].reshape(-1))
    axis.plot(numbers[some], values, ".", markersize=2, color=_BLUE)
    axis.set_title(f"value by row, {len(some):,} of {stored.rows:,}", fontsize=8)
    axis.set_xlim(0, stored.rows)
    axis.set_xlabel("row", fontsize=8)
    axis.xaxis.set_major_formatter("{x:,.0f}")


def _drawable(values: NDArray[Any]) -> NDArray[np.float64]:
    """Give values, complex ones by magnitude; NaN beyond 1e300, where matplotlib finds no ticks."""
    wide = (np.abs(values) if values.dtype.kind == "c" else values).astype(np.float64)
    return np.where(np.abs(wide) <= 1e300, wide, np.nan)
