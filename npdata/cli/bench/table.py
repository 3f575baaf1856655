"""The report for people and for machines: one table with what has to be known to read it; JSON.

Idea: a section for each order, the bars showing the part of the roofline. Invariant: all of it fits
80 columns, and what it says in bars it says in numbers too. JSON has rows a second, seconds and
bytes, nothing rounded.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from npdata.cli.bench.advice import Recommendation
from npdata.cli.bench.report import ORDERS, TITLES, Figure, Report
from npdata.cli.console import bytes_text, count_text, printable, shape_text
from npdata.errors import require

_BAR = 6
_STYLES = {"loader": "green", "dataloader": "green", "roofline": "cyan"}


def print_report(console: Any, report: Report, advice: Recommendation) -> None:
    """Print a report to a `rich.console.Console`."""
    for line in _head(report):
        console.print(printable(line))
    console.print()
    console.print(_table(report))
    for line in notes(report):
        console.print(line, style="dim")
    console.print("\nAdvice", style="bold")
    console.print(f"  {advice.code}", style="green")
    padding = require("rich.padding", extra="cli", purpose="a table")
    for sentence in advice.sentences:
        bullet = f"- {printable(sentence)}"
        console.print(padding.Padding(bullet, (0, 0, 0, 2), expand=False))


def as_json(report: Report, advice: Recommendation) -> dict[str, Any]:
    """Give a report and its advice as dicts, lists, strings and numbers, with what follows."""
    plain = asdict(report)
    conditions = plain.pop("conditions")
    for figure, values in zip(report.figures, plain["figures"], strict=True):
        values["rows_per_second"] = figure.rate
        values["bytes_per_second"] = figure.rate * report.conditions.row_bytes
        values["spread"] = figure.spread
        values["of_roofline"] = report.of_roofline(figure)
    return {**conditions, **plain, "advice": asdict(advice)}


def _head(report: Report) -> Iterator[str]:
    """Give what was measured, and whether from memory, in lines."""
    about = report.conditions
    for path, field in zip(about.paths, about.fields, strict=True):
        yield f"{path}: {shape_text(field.shape)}, {field.dtype}, {field.access}"
    part = (
        "read to the end, from memory"
        if report.rows_measured == about.rows
        else f"the first {report.rows_measured:,} of {about.rows:,} rows stand for all, and were "
        "read from memory"
    )
    batch = count_text(about.batch_size, "row")
    yield f"batches of {batch}, {bytes_text(about.batch_bytes)}; {part}"
    fits = "fit into" if about.fits_memory else "do not fit into"
    memory = bytes_text(about.memory_bytes)
    yield f"files of {bytes_text(about.file_bytes)} {fits} {memory} of free memory"


def _table(report: Report) -> Any:
    rich = require("rich.table", extra="cli", purpose="a table")
    box = require("rich.box", extra="cli", purpose="a table")
    table = rich.Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for head in ("rows/s", "bytes/s", "±", "start"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("of roofline", no_wrap=True)
    for order in ORDERS:
        table.add_section()
        table.add_row(TITLES[order], style="bold")
        for figure in report.of(order):
            table.add_row(*_cells(report, figure))
    return table


def _cells(report: Report, figure: Figure) -> Iterator[Any]:
    text = require("rich.text", extra="cli", purpose="a table").Text
    part, kind = report.of_roofline(figure), figure.method.kind
    start = None if kind == "roofline" else figure.seconds_to_first_row
    yield f"  {figure.method.name}"
    yield rate_text(figure.rate)
    yield f"{bytes_text(figure.rate * report.conditions.row_bytes)}"
    yield "guess" if figure.estimate else f"{figure.spread:.0%}" if len(figure.passes) > 1 else ""
    yield "" if start is None else f"{start * 1e3:,.0f} ms"
    bar = "█" * round(_BAR * part)
    yield text.assemble((f"{bar:<{_BAR}}", _STYLES.get(kind, "yellow")), f"{part:>5.0%}")


def rate_text(rate: float) -> str:
    """Give rows a second, with digits behind the point where there are few.

    Examples:
        >>> rate_text(4041150.2), rate_text(3.14159)
        ('4,041,150', '3.1')
    """
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def notes(report: Report) -> Iterator[str]:
    """Give what has to be known to read the table, and what it does not show."""
    rounds = count_text(report.rounds, "round")
    spread = "" if report.rounds > 1 else "a single pass gives no ±, more --seconds do; "
    yield (
        f"{rounds} in turns, passes of about {report.pass_seconds:.2g} s, {report.seconds:.0f} s "
        f"in all; {spread}every method gave the same rows. start: to the first row"
    )
    if any(figure.estimate for figure in report.figures):
        yield "guess: a batch takes too long, so this is the rate of its first rows"
    bare = [report.bare(order) for order in ORDERS]
    beaten = [figure.order for figure in bare if report.of_roofline(figure) < 1]
    if beaten:
        yield (
            f"roofline: {bare[0].method.name}, or the fastest method where that is faster "
            f"({', '.join(beaten)}): it reads in larger pieces, decodes fewer chunks, "
            "or something else ran on the machine"
        )
    for left_out in report.not_measured:
        yield f"not measured: {left_out}"
