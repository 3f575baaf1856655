"""The report for people: what was measured, a table with bars, what is left out, the advice.

Idea: one table, a section for each order, the bars showing the distance to the ceiling. Invariant:
all of it fits 80 columns, and what it says in bars it says in numbers too. It computes only text.
"""

from collections.abc import Iterator
from typing import Any

from npdata.cli.bench.advice import Advice
from npdata.cli.bench.facts import Facts
from npdata.cli.bench.report import Figure, Report
from npdata.cli.bench.way import TITLES
from npdata.cli.console import bytes_text, count_text, printable, shape_text
from npdata.errors import require

_BAR = 8
_STYLES = {"loader": "green", "dataloader": "green", "ceiling": "cyan"}


def print_report(console: Any, report: Report, advice: Advice) -> None:
    """Print a report to a `rich.console.Console`."""
    for line in facts_text(report):
        console.print(printable(line))
    console.print()
    console.print(_table(report))
    for line in notes(report):
        console.print(line, style="dim")
    console.print("\nAdvice", style="bold")
    console.print(f"  {advice.code}", style="green")
    for sentence in advice.sentences:
        console.print(_bullet(sentence))


def facts_text(report: Report) -> Iterator[str]:
    """Give what was measured, and whether from memory, in lines."""
    facts = report.facts
    for path, field in zip(facts.paths, facts.fields, strict=True):
        yield f"{path}: {shape_text(field.shape)}, {field.dtype}, {field.access}"
    batch = count_text(facts.batch_size, "row")
    yield f"batches of {batch}, {bytes_text(facts.batch_bytes)}; {_part(report)}"
    yield _storage(facts)


def _part(report: Report) -> str:
    facts = report.facts
    if report.rows == facts.rows:
        return "read to the end, from memory"
    return (
        f"the first {report.rows:,} of {facts.rows:,} rows stand for all, and were read from memory"
    )


def _storage(facts: Facts) -> str:
    storage, memory = facts.storage, facts.machine.memory_bytes
    fits = "fit into" if facts.fits_memory else "do not fit into"
    parts = [f"files of {bytes_text(storage.file_bytes)} {fits} {bytes_text(memory)} of memory"]
    if storage.cached is not None:
        parts.append(f"{storage.cached:.0%} was in the page cache before")
    rates = []
    if storage.memory_rate is not None:
        rates.append(f"{bytes_text(storage.memory_rate)}/s from memory")
    if storage.disk_rate is not None:
        rates.append(f"{bytes_text(storage.disk_rate)}/s from the disk")
    if rates:
        parts.append(f"plain reading gives {', '.join(rates)}")
    return "; ".join(parts)


def _table(report: Report) -> Any:
    rich = require("rich.table", extra="cli", purpose="a table")
    box = require("rich.box", extra="cli", purpose="a table")
    table = rich.Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for head in ("rows/s", "bytes/s", "±", "start"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("of the ceiling", no_wrap=True)
    for number, order in enumerate(report.orders):
        if number:
            table.add_section()
        table.add_row(TITLES[order], style="bold")
        ceiling = report.ceiling(order).rate
        figures = sorted(report.of(order), key=lambda figure: -figure.rate)
        for figure in sorted(figures, key=lambda figure: figure.way.kind != "ceiling"):
            table.add_row(*_cells(figure, report.facts.row_bytes, ceiling))
    return table


def _cells(figure: Figure, row_bytes: int, ceiling: float) -> Iterator[Any]:
    text = require("rich.text", extra="cli", purpose="a table").Text
    part = figure.rate / ceiling if ceiling else 0.0
    yield f"  {figure.way.name}"
    yield rate_text(figure.rate)
    yield f"{bytes_text(figure.rate * row_bytes)}"
    yield "guess" if figure.trial else f"{figure.spread:.0%}" if len(figure.rates) > 1 else ""
    yield "" if figure.way.kind == "ceiling" else f"{figure.first * 1e3:,.0f} ms"
    bar = "█" * round(_BAR * min(1.0, part))
    yield text.assemble((f"{bar:<{_BAR}}", _STYLES.get(figure.way.kind, "yellow")), f"{part:>5.0%}")


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
    spread = "" if report.rounds > 1 else "a single pass tells no ±, more --seconds do; "
    yield (
        f"{rounds} in turns, passes of about {report.pass_seconds:.2g} s, {report.seconds:.0f} s "
        f"in all; {spread}every way gave the same rows. start: to the first row"
    )
    if any(figure.trial for figure in report.figures):
        yield "guess: a batch takes too long, so this is what a few rows of one took"
    if any(figure.rate > report.ceiling(figure.order).rate for figure in report.figures):
        if report.facts.slowest_access == "decoded":
            yield "over 100%: chunks that are still decoded from before are used again"
        else:
            yield (
                "over 100%: rows in order are read in larger pieces, or something else ran on the "
                "machine while the ceiling was measured"
            )
    for left_out in report.left_out:
        order = f"{left_out.order}: " if left_out.order else ""
        yield f"not measured: {order}{left_out.way.name}: {left_out.reason}"


def _bullet(sentence: str) -> Any:
    padding = require("rich.padding", extra="cli", purpose="a table")
    return padding.Padding(f"- {printable(sentence)}", (0, 0, 0, 2), expand=False)
