"""The report for people: one table, with what has to be known to read it, and the advice.

Idea: a section for each order, the bars showing the part of the fastest. Invariant: all of it fits
80 columns, and what it says in bars it says in numbers too.
"""

from collections.abc import Iterator
from typing import Any

from npdata.cli.bench.advice import Recommendation
from npdata.cli.bench.report import TITLES, Figure, Report
from npdata.cli.console import bytes_text, count_text, printable, shape_text
from npdata.cli.show import print_notes, print_table, styled

_BAR = 6
_STYLES = {"loader": "green", "dataloader": "green", "bare": "cyan"}
_HEADS = ("", "rows/s", "bytes/s", "±", "start", "of fastest")


def print_report(console: Any, report: Report, advice: Recommendation) -> None:
    """Print a report to a `rich.console.Console`."""
    for line in _head(report):
        console.print(printable(line))
    print_table(console, _HEADS, _rows(report), numbers=_HEADS[1:5])
    for line in notes(report):
        console.print(line, style="dim")
    print_notes(console, "Advice", [("-", text, "") for text in advice.sentences], named=False)
    console.print(f"\n{advice.code}", style="green", soft_wrap=True)


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
    for left_out in report.not_measured:
        yield f"not measured: {left_out}"


def _head(report: Report) -> Iterator[str]:
    """Give what was measured, and whether from memory, in lines."""
    about = report.conditions
    for path, field in zip(about.paths, about.fields, strict=True):
        yield f"{path}: {shape_text(field.shape)}, {field.dtype}, {field.access}"
    part = "read to the end, from memory"
    if report.rows_measured < about.rows:
        measured = f"the first {report.rows_measured:,} of {about.rows:,} rows"
        part = f"{measured} stand for all, and were read from memory"
    batch = count_text(about.batch_size, "row")
    yield f"batches of {batch}, {bytes_text(about.batch_bytes)}; {part}"
    fits = "fit into" if about.fits_memory else "do not fit into"
    memory = bytes_text(about.memory_bytes)
    yield f"files of {bytes_text(about.file_bytes)} {fits} {memory} of free memory"


def _rows(report: Report) -> Iterator[list[Any]]:
    for order, title in TITLES.items():
        yield [styled(title, "bold"), *[""] * (len(_HEADS) - 1)]
        for figure in report.of(order):
            yield list(_cells(report, figure))
        if order != "full":
            yield [""] * len(_HEADS)


def _cells(report: Report, figure: Figure) -> Iterator[Any]:
    start, part = figure.seconds_to_first_row, report.of_fastest(figure)
    yield f"  {figure.method.name}"
    yield rate_text(figure.rate)
    yield bytes_text(figure.rate * report.conditions.row_bytes)
    yield "guess" if figure.estimate else f"{figure.spread:.0%}" if len(figure.passes) > 1 else ""
    yield "" if start is None else f"{start * 1e3:,.0f} ms"
    bar = styled(f"{'█' * round(_BAR * part):<{_BAR}}", _STYLES.get(figure.method.kind, "yellow"))
    yield bar.append(f"{part:>5.0%}", "default")
