"""A picture of arrays: where their chunks are, how their values spread, how samples look.

Idea: a line of pictures an array, for the first few arrays of numbers. Invariant: it reads what
`samples` chose and no more, whatever the size of a file; what cannot be read is said in its
place. It decides nothing about the data.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.cli.console import UsageError, bytes_text, count_text, shape_text
from npdata.cli.inspect.report import DatasetReport, Facts, FileReport
from npdata.cli.inspect.samples import Samples, as_image, read_samples
from npdata.cli.inspect.table import dtype_text
from npdata.cli.plot import new_figure, shortened
from npdata.cli.raw import RawLayout
from npdata.errors import NpdataError
from npdata.sources.hdf5 import list_datasets
from npdata.sources.hdf5.chunk_table import ChunkTable
from npdata.sources.open import open_source

MOST_ARRAYS = 8
IMAGES = 4
CELLS = (48, 64)
"""So many cells of a chunk grid are drawn at most, downwards and across."""
_COLOUR, _PALE, _GREY, _UNSTORED = "#2f6690", "#d6e4ee", "#777777", "#f3e9dc"


def draw(reports: Sequence[FileReport], raw: RawLayout | None) -> Any:
    """Draw a `matplotlib.figure.Figure`; raises `UsageError` where no array holds numbers."""
    arrays = [(r, d, d.facts) for r in reports for d in r.datasets if d.facts and _has_numbers(d)]
    if not arrays:
        raise UsageError("--plot draws arrays of numbers, and there is none to be read")
    shown = arrays[:MOST_ARRAYS]
    figure = new_figure(13, 0.4 + 2.6 * len(shown))
    parts = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
    for part, (report, dataset, facts) in zip(parts, shown, strict=True):
        part.suptitle(
            f"{shortened(dataset.where)}   {shape_text(facts.shape)} {dtype_text(facts.dtype)}, "
            f"{bytes_text(facts.nbytes)}, {facts.access}",
            fontsize=10,
            x=0.01,
            ha="left",
            weight="bold",
            parse_math=False,
        )
        _draw_array(part, report, dataset, facts, raw if report.format == "raw" else None)
    if len(arrays) > len(shown):
        figure.supxlabel(
            f"the first {len(shown)} of {count_text(len(arrays), 'array')}",
            fontsize=9,
            color=_GREY,
        )
    return figure


def cells_of(table: ChunkTable, chunk_bytes: int) -> NDArray[np.float64]:
    """Give stored by decoded bytes of the chunks, in at most `CELLS` cells; NaN where none is.

    Downwards are rows, across the chunks of one row; neighbours share a cell where there are more.

    Examples:
        >>> table = ChunkTable.of(
        ...     shape=(5, 4), chunk_shape=(2, 4), coordinates=np.array([[4, 0], [0, 0]]),
        ...     offsets=np.array([900, 500]), sizes=np.array([16, 32]), masks=np.array([0, 0]))
        >>> cells_of(table, 32).tolist()
        [[1.0], [nan], [0.5]]
    """
    down, across = table.grid[0], math.prod(table.grid[1:])
    high, wide = min(down, CELLS[0]), min(across, CELLS[1])
    block, tile = np.divmod(table.numbers, across)
    cells = block * high // down * wide + tile * wide // across
    counts = np.bincount(cells, minlength=high * wide)
    sizes = np.bincount(cells, weights=table.sizes, minlength=high * wide)
    mean = np.full(high * wide, np.nan)
    np.divide(sizes, counts * chunk_bytes, out=mean, where=counts > 0)
    return mean.reshape(high, wide)


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
    return (
        low
        - 0.5
        + width * np.arange((high - low + 1) // width + 1 + bool((high - low + 1) % width))
    )


def _has_numbers(dataset: DatasetReport) -> bool:
    facts = dataset.facts
    if facts is None or dataset.refusal is not None or not facts.nbytes:
        return False
    return facts.sample in ("view", "copy")


def _draw_array(
    part: Any, report: FileReport, dataset: DatasetReport, facts: Facts, raw: RawLayout | None
) -> None:
    samples = _samples(dataset.where, facts, raw)
    pictures = [as_image(row) for row in _some(samples.rows)]
    images = [picture for picture in pictures if picture is not None]
    wide = [1.5, 2.0, *([1.0] * IMAGES if images else [float(IMAGES)])]
    axes = part.subplots(1, len(wide), width_ratios=wide)
    for axis in axes:
        axis.tick_params(labelsize=7)
    _draw_chunks(part, axes[0], report, dataset, facts)
    _draw_values(axes[1], samples, facts)
    if not images:
        _draw_rows(axes[2], samples)
        return
    for axis, image, number in zip(axes[2:], images, _some(samples.numbers), strict=False):
        axis.imshow(image, cmap="gray")
        axis.set_title(f"row {number:,}", fontsize=8)
    for axis in axes[2:]:
        axis.set_axis_off()


def _samples(where: str, facts: Facts, raw: RawLayout | None) -> Samples:
    try:
        if raw is None:
            source = open_source(where)
        else:
            source = open_source(where, dtype=raw.dtype, shape=raw.shape, offset=raw.offset)
        samples = read_samples(facts, source)
        source.close()
    except (NpdataError, OSError) as error:
        return Samples(
            numbers=np.zeros(0, np.int64), rows=np.zeros(0, facts.dtype), reason=str(error)
        )
    return samples


def _draw_chunks(
    part: Any, axis: Any, report: FileReport, dataset: DatasetReport, facts: Facts
) -> None:
    chunks = facts.chunks
    across = max(1, facts.row_bytes // max(1, facts.dtype.itemsize))
    axis.set_ylabel("row", fontsize=8)
    axis.set_xlabel("element of a row", fontsize=8)
    axis.set_ylim(facts.rows, 0)
    axis.set_xlim(0, across)
    axis.set_xticks([0, across])
    axis.locator_params(axis="y", nbins=4, integer=True)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.yaxis.set_major_formatter("{x:,.0f}")
    table = None if chunks is None else _chunk_table(report.path, dataset.name or "")
    if chunks is None or table is None or table.fault is not None:
        axis.set_facecolor(_PALE)
        axis.set_title(f"one piece, {facts.layout}", fontsize=8)
        return
    cells = cells_of(table, chunks.nbytes)
    high = chunks.grid[0] * chunks.shape[0]
    shown = axis.imshow(
        cells,
        aspect="auto",
        cmap="Blues",
        vmin=0,
        vmax=max(1.0, float(np.nanmax(cells, initial=0.0))),
        extent=(0, across, high, 0),
        interpolation="nearest",
    )
    for edge in np.linspace(0, high, cells.shape[0] + 1)[1:-1]:
        axis.axhline(edge, color="white", linewidth=0.6)
    for edge in np.linspace(0, across, cells.shape[1] + 1)[1:-1]:
        axis.axvline(edge, color="white", linewidth=0.6)
    bar = part.colorbar(shown, ax=axis)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("stored / decoded bytes", fontsize=7)
    axis.set_facecolor(_UNSTORED)
    total = math.prod(chunks.grid)
    count = count_text(total, "chunk")
    partly = "" if chunks.stored == total else f", {chunks.stored:,} stored"
    shared = " (a cell is several)" if cells.size < total else ""
    axis.set_title(f"{count} of {shape_text(chunks.shape)}{partly}{shared}", fontsize=8)


def _chunk_table(path: str, name: str) -> ChunkTable | None:
    (listed,) = list_datasets(path, name).datasets
    return None if listed.examined is None else listed.examined.layout.chunks


def _draw_values(axis: Any, samples: Samples, facts: Facts) -> None:
    values = samples.rows.reshape(-1)
    values = np.abs(values) if values.dtype.kind == "c" else values
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    axis.set_yticks([])
    if not len(finite):
        axis.text(
            0.5,
            0.5,
            samples.reason or "no finite values",
            ha="center",
            fontsize=8,
            wrap=True,
            parse_math=False,
        )
        axis.set_axis_off()
        return
    whole = facts.dtype.kind in "biu"
    bins = bins_of(finite, whole=whole)
    axis.hist(finite, bins=bins, color=_COLOUR, rwidth=0.9 if len(bins) <= 33 else 1.0)
    axis.locator_params(axis="x", integer=whole)
    left = len(numbers) - len(finite)
    strange = f", {left:,} not finite" if left else ""
    what = "magnitudes" if facts.dtype.kind == "c" else "values"
    axis.set_title(
        f"{what} of {len(samples.numbers):,} of {count_text(facts.rows, 'row')}{strange}",
        fontsize=8,
    )


def _draw_rows(axis: Any, samples: Samples) -> None:
    rows = samples.rows
    if not len(rows) or rows.dtype.kind == "c":
        axis.set_axis_off()
        return
    if rows[0].size > 1:
        for number, row in zip(_some(samples.numbers), _some(rows), strict=True):
            line = row.reshape(-1)[:512].astype(np.float64)
            axis.plot(line, linewidth=0.8, label=f"row {number:,}")
        axis.legend(fontsize=7, loc="best")
        axis.set_xlabel("element of a row", fontsize=8)
        return
    axis.plot(
        samples.numbers, rows.reshape(-1).astype(np.float64), ".", markersize=2, color=_COLOUR
    )
    axis.set_xlabel("row", fontsize=8)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_title("value by row", fontsize=8)


def _some(values: NDArray[Any]) -> NDArray[Any]:
    return values[np.linspace(0, len(values) - 1, IMAGES).astype(np.int64)[: len(values)]]
