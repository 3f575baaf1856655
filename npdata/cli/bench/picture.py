"""The report as a picture: bars for each order, on a scale on which slow ways can still be seen.

Idea: rows a second on a logarithmic axis shared by all orders, the ceiling as a line, the range of
the passes as a whisker. Invariant: the figures are those of the table. It saves no file.
"""

from typing import Any

from npdata.cli.bench.report import Report
from npdata.cli.bench.table import rate_text
from npdata.cli.bench.way import TITLES
from npdata.cli.console import bytes_text, shape_text
from npdata.cli.plot import new_figure, shortened

_COLORS = {"loader": "#2a7f62", "dataloader": "#5aa786", "plain": "#b0855a", "h5py": "#c9a66b"}


def draw(report: Report) -> Any:
    """Give a `matplotlib.figure.Figure` of the report."""
    orders = report.orders
    most = max(len(report.of(order)) for order in orders)
    figure = new_figure(9, 0.8 + len(orders) * (0.5 + 0.3 * most))
    panels = figure.subplots(len(orders), 1, sharex=True, squeeze=False)[:, 0]
    rates = [each.rate for each in report.figures]
    low, high = min(rates), max(rates)
    for panel, order in zip(panels, orders, strict=True):
        ceiling = report.ceiling(order)
        figures = [each for each in report.of(order) if each.way.kind != "ceiling"]
        figures.sort(key=lambda each: each.rate)
        for place, each in enumerate(figures):
            panel.barh(place, each.rate, color=_COLORS[each.way.kind], height=0.75)
            panel.plot([min(each.rates), max(each.rates)], [place, place], color="black", lw=1)
            share = f"{each.rate / ceiling.rate:.0%}" if ceiling.rate else ""
            text = f" {rate_text(each.rate)}  ({share})"
            label = panel.text(max(each.rates), place, text, va="center", fontsize=8)
            # Legible where the line of the ceiling goes through it.
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        panel.axvline(ceiling.rate, color="#c0392b", ls="--", lw=1)
        name = f"{ceiling.way.name}: {rate_text(ceiling.rate)}"
        panel.text(ceiling.rate, len(figures) - 0.4, name, color="#c0392b", fontsize=8, ha="right")
        panel.set_yticks(range(len(figures)), [each.way.name for each in figures], fontsize=8)
        panel.set_ylim(-0.6, len(figures) + 0.1)
        panel.set_title(TITLES[order], loc="left", fontsize=10)
        panel.set_xscale("log")
        panel.spines[["top", "right"]].set_visible(False)
    # Room for the figures beside the bars.
    panels[0].set_xlim(low / 3, high * 6)
    panels[-1].set_xlabel("rows/s (part of the ceiling)")
    figure.suptitle(_title(report), fontsize=10, parse_math=False)
    return figure


def _title(report: Report) -> str:
    facts = report.facts
    fields = "\n".join(
        f"{shortened(path)}: {shape_text(field.shape)}, {field.dtype}, {field.access}"
        for path, field in zip(facts.paths, facts.fields, strict=True)
    )
    batch = f"batches of {facts.batch_size:,}, {bytes_text(facts.batch_bytes)}"
    return f"{fields}\n{batch}, from memory, {facts.machine.cores} cores"
