"""The picture of `npdata bench`: bars for each order, on a scale on which slow methods show."""

from typing import Any

import numpy as np

from npdata.cli.bench.report import ORDERS, TITLES, Report
from npdata.cli.console import bytes_text, shape_text
from npdata.cli.plot import new_figure, shortened
from npdata.cli.table import rate_text

_COLOURS = {
    "loader": "#2a7f62",
    "dataloader": "#5aa786",
    "plain": "#b0855a",
    "h5py": "#c9a66b",
}


def draw_figures(report: Report) -> Any:
    """Give a `matplotlib.figure.Figure` of a report of `npdata bench`."""
    most = max(len(report.of(order)) for order in ORDERS)
    figure = new_figure(9, 0.8 + len(ORDERS) * (0.5 + 0.3 * most))
    panels = figure.subplots(len(ORDERS), 1, sharex=True, squeeze=False)[:, 0]
    for panel, order in zip(panels, ORDERS, strict=True):
        figures = report.of(order)[::-1]
        rates = np.array([each.rate for each in figures])
        least, most_seen = (np.array([f(each.passes) for each in figures]) for f in (min, max))
        bars = panel.barh(
            [each.method.name for each in figures],
            rates,
            xerr=(rates - least, most_seen - rates),
            color=[_COLOURS[each.method.kind] for each in figures],
            height=0.75,
            error_kw={"lw": 1},
        )
        texts = [f"{rate_text(each.rate)}  ({report.of_fastest(each):.0%})" for each in figures]
        panel.bar_label(bars, texts, padding=4, fontsize=8)
        panel.set_title(TITLES[order], loc="left", fontsize=10)
        panel.set_xscale("log")
        panel.spines[["top", "right"]].set_visible(False)
    everything = [rate for each in report.figures for rate in each.passes]
    # Room for the figures beside the bars.
    panels[0].set_xlim(min(everything) / 3, max(everything) * 5)
    panels[-1].set_xlabel("rows/s (part of the fastest of all)")
    about = report.conditions
    fields = "\n".join(
        f"{shortened(path)}: {shape_text(field.shape)}, {field.dtype}, {field.access}"
        for path, field in zip(about.paths, about.fields, strict=True)
    )
    batch = f"batches of {about.batch_size:,}, {bytes_text(about.batch_bytes)}"
    title = f"{fields}\n{batch}, from memory, {about.cores} cores"
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure
