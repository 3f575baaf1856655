"""The charts of a report, as SVG.

Idea: a chart is drawn from the table of its section and from nothing else. It has a white ground
of its own, so that it is read the same on a light and on a dark page, and its letters are paths,
so that it needs no font. Invariant: the same report gives the same bytes.
"""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks.report import Chart, Measured, Report, Section

STYLE = {
    "svg.hashsalt": "npdata",
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.axisbelow": True,
}
OURS = ("#0b5fb0", "#d1495b", "#2a9d8f", "#8f5fb0")
OTHERS = ("#8a6d3b", "#7a7a7a", "#c98b2b", "#4f8f4f", "#b06f9f", "#5f7f9f")
ROOFLINE = "#222222"
MARKS = "os^Dv<>P"
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def draw_all(report: Report, folder: Path) -> list[Path]:
    """Draw every chart of a report into a folder, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for section in report.sections:
        for chart in section.charts:
            paths.append(folder / chart.file)
            with matplotlib.rc_context(STYLE):
                figure = bars(section, chart) if chart.kind == "bars" else lines(section, chart)
                figure.savefig(paths[-1], metadata={"Date": None})
            _tidy(paths[-1])
    return paths


def _tidy(path: Path) -> None:
    text = "\n".join(line.rstrip() for line in path.read_text().splitlines())
    path.write_text(text + "\n")


def bars(section: Section, chart: Chart) -> Figure:
    """Draw a panel of horizontal bars for each series, longest first."""
    columns, rows = _columns(section), section.table.rows if section.table else ()
    figure = Figure(figsize=(4.4 * len(chart.series), 0.3 * len(rows) + 1.1), layout="constrained")
    panels = figure.subplots(1, len(chart.series), squeeze=False)[0]
    for axes, series in zip(panels, chart.series, strict=True):
        found = [(str(row[0]), row[columns[series]]) for row in rows]
        kept = [(name, _of(cell)) for name, cell in found if cell is not None]
        kept.sort(key=lambda pair: pair[1].median)
        names = [name for name, _ in kept]
        values = [value.median for _, value in kept]
        error = [[v.median - v.low for _, v in kept], [v.high - v.median for _, v in kept]]
        axes.barh(
            names,
            values,
            xerr=error,
            color=[_bar_color(name) for name in names],
            error_kw={"ecolor": "#333333", "elinewidth": 0.9, "capsize": 2},
        )
        for place, (_, value) in enumerate(kept):
            axes.annotate(
                short(value.median),
                (value.high, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.set(xlabel=chart.y, title=series)
        axes.margins(x=0.16)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.grid(axis="x", alpha=0.25)
    return figure


def lines(section: Section, chart: Chart) -> Figure:
    """Draw a line for each series over the first column, with the range of each point."""
    columns, rows = _columns(section), section.table.rows if section.table else ()
    figure = Figure(figsize=(7.2, 3.9), layout="constrained")
    axes = figure.subplots()
    places = [float(row[0]) for row in rows]
    for number, series in enumerate(chart.series):
        cells = [row[columns[series]] for row in rows]
        points = [(x, _of(cell)) for x, cell in zip(places, cells, strict=True) if cell is not None]
        if not points:
            continue
        values = [value for _, value in points]
        axes.errorbar(
            [x for x, _ in points],
            [value.median for value in values],
            yerr=[[v.median - v.low for v in values], [v.high - v.median for v in values]],
            marker=MARKS[number % len(MARKS)],
            markersize=4.5,
            linewidth=2 if series.startswith("npdata") else 1.4,
            linestyle="--" if series.startswith("bare") else "-",
            color=_line_color(series, chart.series),
            capsize=2,
            label=series,
        )
    axes.set(xlabel=chart.x, ylabel=chart.y, title=section.title)
    _scale(axes, chart, places)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def _scale(axes: Axes, chart: Chart, places: list[float]) -> None:
    if min(places) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [place_text(place) for place in places])
    if chart.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def place_text(place: float) -> str:
    """Write a value of the axis across as it was chosen: a power of two is one of 1024."""
    for unit, letter in ((1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")):
        if place >= max(unit, 10_000) and place % unit == 0:
            return f"{place / unit:,.0f} {letter}"
    return f"{place:,.0f}" if place < 10_000 else short(place)


def short(value: float) -> str:
    """Write a number in at most three digits and a unit.

    Examples:
        >>> [short(x) for x in (0, 0.25, 8, 1024, 65_536, 3_500_000, 10**9)]
        ['0', '0.25', '8', '1.02k', '65.5k', '3.5M', '1G']
    """
    for unit, letter in UNITS:
        if abs(value) >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"


def _columns(section: Section) -> dict[str, int]:
    if section.table is None:
        raise ValueError(f"section {section.name} has a chart but no table")
    return {column.name: number for number, column in enumerate(section.table.columns)}


def _of(cell: object) -> Measured:
    if isinstance(cell, Measured):
        return cell
    if isinstance(cell, int | float):
        return Measured(median=cell, low=cell, high=cell)
    raise TypeError(f"a chart is drawn of numbers, got {cell!r}")


def _bar_color(name: str) -> str:
    if name.startswith("bare"):
        return "#b9bcc2"
    return OURS[0] if name.startswith("npdata") else "#8d99a8"


def _line_color(name: str, names: tuple[str, ...]) -> str:
    if name.startswith("bare"):
        return ROOFLINE
    ours = name.startswith("npdata")
    alike = [each for each in names if each.startswith("npdata") == ours]
    alike = [each for each in alike if not each.startswith("bare")]
    colors = OURS if ours else OTHERS
    return colors[alike.index(name) % len(colors)]
