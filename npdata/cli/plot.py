"""The pictures of `inspect` and `bench`, and their files.

Idea: for `inspect` a line of panels for each array: how values spread, how samples look; for
`bench` bars for each order, on a scale on which slow methods can be seen. matplotlib
belongs to the extra `plot`, is imported when a picture is asked for, and draws without a screen.
Invariant: no more than `MOST_BYTES` of rows and `MOST_DECODED` of chunks are read for an
array, else the reason stands in their place; a file under the name asked for is complete.
"""

import errno
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.cli.bench.report import ORDERS, TITLES, Report
from npdata.cli.bench.table import rate_text
from npdata.cli.console import UsageError, bytes_text, count_text, shape_text
from npdata.cli.inspect.report import Stored
from npdata.cli.inspect.table import dtype_text
from npdata.cli.output import new_output, without_links
from npdata.errors import NpdataError, require
from npdata.sources.base import Source

FORMATS = (".png", ".svg", ".pdf")
MOST_BYTES = 32 << 20
MOST_DECODED = 512 << 20
ALL_BYTES = 4 << 20
"""An array of no more bytes is read as a whole."""
MOST_ROWS = 4096
PLACES, DECODED_PLACES = 256, 16
"""Of others so many runs of neighbours: few where each place has to be decoded."""
IMAGES = 4
_BLUE, _GREY = "#2f6690", "#777777"

_METHODS = {
    "loader": "#2a7f62",
    "dataloader": "#5aa786",
    "plain": "#b0855a",
    "h5py": "#c9a66b",
    "roofline": "#999999",
}


Picked: TypeAlias = tuple[NDArray[np.int64], NDArray[Any], str]
"""Some numbers of rows, ascending, and these rows; or none of them and the reason why."""


def require_format(path: str) -> None:
    """Raise `UsageError` or OSError where a picture cannot be written under this name.

    Examples:
        >>> require_format("a.gif")
        Traceback (most recent call last):
        npdata.cli.console.UsageError: a.gif: a picture is written as .png, .svg or .pdf
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a picture is written as .png, .svg or .pdf")
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no folder {folder}")
    if Path(path).is_dir():
        raise UsageError(f"{path} is a folder; name a file for the picture")
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def new_figure(width: float, height: float) -> Any:
    """Give an empty `matplotlib.figure.Figure` of so many inches.

    Raises `MissingExtraError` (an ImportError) without matplotlib.
    """
    matplotlib = require("matplotlib.figure", extra="plot", purpose="--plot")
    return matplotlib.Figure(figsize=(width, height), dpi=120, layout="constrained")


def save_figure(figure: Any, path: str) -> None:
    """Write a figure in the format of the name's suffix, over a file that may be there."""
    require_format(path)
    target = without_links(Path(path))
    with new_output(target) as output, warnings.catch_warnings():
        # A letter of a name that no font here has is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(output.path, facecolor="white", format=Path(path).suffix[1:].lower())
        output.publish(force=True)


def shortened(name: str, most: int = 80) -> str:
    """Give a name that fits a title, without its middle where it is long.

    Examples:
        >>> shortened("d.h5::x"), shortened("abcdefghijklmnop", 9)
        ('d.h5::x', 'abcd…mnop')
    """
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def draw_arrays(
    arrays: Sequence[tuple[str, Stored]], open_array: Callable[[str], Source], *, left_out: int
) -> Any:
    """Draw a line of panels for each array, by its place; `left_out` arrays are only counted."""
    figure = new_figure(13, 0.4 + 2.6 * len(arrays))
    parts = figure.subfigures(len(arrays), 1, squeeze=False)[:, 0]
    for part, (where, stored) in zip(parts, arrays, strict=True):
        title = (
            f"{shortened(where)}   {shape_text(stored.shape)} {dtype_text(stored.dtype)}, "
            f"{bytes_text(stored.nbytes)}, {stored.access.kind}"
        )
        part.suptitle(title, fontsize=10, x=0.01, ha="left", weight="bold", parse_math=False)
        _draw_array(part, stored, _picked(where, stored, open_array))
    if left_out:
        text = f"the first {len(arrays)} of {len(arrays) + left_out:,} arrays"
        figure.supxlabel(text, fontsize=9, color=_GREY)
    return figure


def draw_figures(report: Report) -> Any:
    """Give a `matplotlib.figure.Figure` of a report of `npdata bench`."""
    most = max(len(report.of(order)) for order in ORDERS)
    figure = new_figure(9, 0.8 + len(ORDERS) * (0.5 + 0.3 * most))
    panels = figure.subplots(len(ORDERS), 1, sharex=True, squeeze=False)[:, 0]
    rates = [rate for each in report.figures for rate in each.passes]
    for panel, order in zip(panels, ORDERS, strict=True):
        figures = report.of(order)[::-1]
        for place, each in enumerate(figures):
            panel.barh(place, each.rate, color=_METHODS[each.method.kind], height=0.75)
            panel.plot([min(each.passes), max(each.passes)], [place, place], color="black", lw=1)
            text = f" {rate_text(each.rate)}  ({report.of_roofline(each):.0%})"
            label = panel.text(max(each.passes), place, text, va="center", fontsize=8)
            # Legible where the line of the roofline goes through it.
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        panel.axvline(figures[-1].rate, color=_GREY, ls="--", lw=1)
        panel.set_yticks(range(len(figures)), [each.method.name for each in figures], fontsize=8)
        panel.set_ylim(-0.6, len(figures) - 0.4)
        panel.set_title(TITLES[order], loc="left", fontsize=10)
        panel.set_xscale("log")
        panel.spines[["top", "right"]].set_visible(False)
    # Room for the figures beside the bars.
    panels[0].set_xlim(min(rates) / 3, max(rates) * 5)
    panels[-1].set_xlabel("rows/s (part of the roofline, dashed: the fastest that was seen)")
    about = report.conditions
    fields = "\n".join(
        f"{shortened(path)}: {shape_text(field.shape)}, {field.dtype}, {field.access}"
        for path, field in zip(about.paths, about.fields, strict=True)
    )
    batch = f"batches of {about.batch_size:,}, {bytes_text(about.batch_bytes)}"
    title = f"{fields}\n{batch}, from memory, {about.cores} cores"
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def choose_rows(stored: Stored) -> tuple[NDArray[np.int64], str]:
    """Choose the numbers of rows to read, or none and the reason why.

    Examples:
        >>> from npdata.cli.inspect.examine import examine
        >>> (array,) = examine("x.npy", None).datasets
        >>> choose_rows(array.stored)
        (array([0, 1, 2, 3, 4]), '')
    """
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
    places = DECODED_PLACES if stored.filters else PLACES
    places = max(1, min(places, MOST_DECODED // place_bytes, MOST_BYTES // stored.row_bytes))
    run = max(1, min(MOST_ROWS, MOST_BYTES // stored.row_bytes) // places)
    starts = np.linspace(0, max(0, stored.rows - run), places).astype(np.int64)
    numbers = np.unique(starts[:, None] + np.arange(run))
    return numbers[numbers < stored.rows], ""


def as_image(row: NDArray[Any]) -> NDArray[Any] | None:
    """Give a row as an image for matplotlib, (h, w) or (h, w, 3), None where it is none.

    Two axes are a grey image. Three are one in colour, where the first or the last has size 1, 3
    or 4, else a volume, of which the middle is shown.

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
    step = max(1, max(row.shape[:2]) // 256)
    row = row[::step, ::step]
    if row.ndim == 2 or row.dtype == np.uint8:
        return row
    values = np.nan_to_num(row.astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    return (values - low) / ((high - low) or 1.0)


def bins_of(values: NDArray[np.float64], *, whole: bool) -> NDArray[np.float64]:
    """Give the edges of at most 64 bins; `whole` numbers get bins of equally many numbers each.

    Examples:
        >>> bins_of(np.array([0.0, 3.0]), whole=True).tolist()
        [-0.5, 0.5, 1.5, 2.5, 3.5]
    """
    low, high = float(values.min()), float(values.max())
    if not whole or high - low >= 1 << 52:
        return np.histogram_bin_edges(values, bins=64)
    width = -(-(high - low + 1) // 64)
    return low - 0.5 + width * np.arange(-(-(high - low + 1) // width) + 1)


def _draw_array(part: Any, stored: Stored, picked: Picked) -> None:
    numbers, rows, _ = picked
    pictures = [as_image(row) for row in _some(rows)]
    images = [picture for picture in pictures if picture is not None]
    wide = [2.0, *([1.0] * IMAGES if images else [float(IMAGES)])]
    values, *axes = part.subplots(1, len(wide), width_ratios=wide)
    for axis in (values, *axes):
        axis.tick_params(labelsize=7)
    _draw_values(values, stored, picked)
    if not images:
        _draw_rows(axes[0], stored, numbers, rows)
        return
    for axis, image, number in zip(axes, images, _some(numbers), strict=False):
        axis.imshow(image, cmap="gray")
        axis.set_title(f"row {number:,}", fontsize=8)
    for axis in axes:
        axis.set_axis_off()


def _picked(where: str, stored: Stored, open_array: Callable[[str], Source]) -> Picked:
    numbers, reason = choose_rows(stored)
    try:
        with closing(open_array(where)) as source:
            rows = np.empty((len(numbers), *stored.shape[1:]), stored.dtype)
            if len(numbers):
                source.read(numbers, rows)
            return numbers, rows, reason
    except (NpdataError, OSError) as error:
        return numbers[:0], np.zeros((0, *stored.shape[1:]), stored.dtype), str(error)


def _draw_values(axis: Any, stored: Stored, picked: Picked) -> None:
    numbers, rows, reason = picked
    kind = stored.dtype.kind
    values = (np.abs(rows) if kind == "c" else rows).reshape(-1).astype(np.float64)
    finite = values[np.isfinite(values)]
    axis.set_yticks([])
    if not len(finite):
        text = reason or "no finite values"
        axis.text(0.5, 0.5, text, ha="center", fontsize=8, wrap=True, parse_math=False)
        axis.set_axis_off()
        return
    whole = kind in "biu"
    bins = bins_of(finite, whole=whole)
    axis.hist(finite, bins=bins, color=_BLUE, rwidth=0.9 if len(bins) <= 33 else 1.0)
    axis.locator_params(axis="x", integer=whole)
    left = len(values) - len(finite)
    strange = f", {left:,} not finite" if left else ""
    what = "magnitudes" if kind == "c" else "values"
    looked = f"{len(numbers):,} of {count_text(stored.rows, 'row')}"
    axis.set_title(f"{what} of {looked}{strange}", fontsize=8)


def _draw_rows(axis: Any, stored: Stored, numbers: NDArray[np.int64], rows: NDArray[Any]) -> None:
    if not len(rows) or rows.dtype.kind == "c":
        axis.set_axis_off()
        return
    if rows[0].size > 1:
        for number, row in zip(_some(numbers), _some(rows), strict=True):
            line = row.reshape(-1)[:512].astype(np.float64)
            axis.plot(line, linewidth=0.8, label=f"row {number:,}")
        axis.legend(fontsize=7, loc="best")
        axis.set_xlabel("element of a row", fontsize=8)
        return
    # Not every n-th row: labels may have a period.
    some = np.random.default_rng(0).permutation(len(rows))[:MOST_ROWS]
    values = rows[some].reshape(-1).astype(np.float64)
    axis.plot(numbers[some], values, ".", markersize=2, color=_BLUE)
    shown = "" if len(some) == stored.rows else f", {len(some):,} of {stored.rows:,} rows"
    axis.set_title(f"value by row{shown}", fontsize=8)
    axis.set_xlim(0, stored.rows)
    axis.set_xlabel("row", fontsize=8)
    axis.xaxis.set_major_formatter("{x:,.0f}")


def _some(values: NDArray[Any]) -> NDArray[Any]:
    return values[np.linspace(0, len(values) - 1, IMAGES).astype(np.int64)[: len(values)]]
