"""The command `npdata bench`.

Idea: open, look, measure, advise, show. Invariant: exit code 1 means that methods gave different
rows, or that nothing could be measured; whatever is wrong with the arguments shows before any time
is spent.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

from npdata.cli.arguments import add_raw_arguments, raw_format, typed
from npdata.cli.bench.advice import Recommendation, advise
from npdata.cli.bench.measure import measure
from npdata.cli.bench.picture import draw_figures
from npdata.cli.bench.report import OURS, TITLES, Figure, Report
from npdata.cli.bench.target import open_target
from npdata.cli.console import (
    SUCCESS,
    bytes_text,
    count_text,
    new_console,
    print_json,
    printable,
    shape_text,
    status_line,
)
from npdata.cli.plot import require_drawing, save_figure
from npdata.cli.table import print_notes, print_table, rate_text, styled
from npdata.loading.schedule import MOST_ASKED, MOST_THREADS

SECONDS = 60.0
_BAR = 6
_HEADS = ("", "rows/s", "bytes/s", "±", "start", "of fastest")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help=".npy, FILE::MEMBER of .npz or HDF5, or raw binary; several are fields of one dataset",
    )
    parser.add_argument(
        "--batch-size",
        type=_number(int, 1, "a number of rows, 1 or more"),
        metavar="N",
        help="rows of a batch (default 256, fewer where rows are large)",
    )
    parser.add_argument(
        "--workers",
        type=_number(int, 0, f"a number of workers, 0 to {MOST_ASKED}", MOST_ASKED),
        metavar="N",
        help="worker processes and threads that are tried, beside none (default: the cores, up to "
        f"{MOST_THREADS}; 0: none)",
    )
    parser.add_argument(
        "--seconds",
        type=_number(float, 1e-3, "seconds, as in 20 or 0.5"),
        default=SECONDS,
        metavar="S",
        help=f"time budget of all together, about, divided among the methods (default {SECONDS:g})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--plot", metavar="FILE", help="draw the figures: .png, .svg or .pdf")
    add_raw_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; gives the exit code."""
    raw = raw_format(arguments)
    if arguments.plot is not None:
        require_drawing(arguments.plot)
    console = None if arguments.json else new_console()
    with status_line() as show, warnings.catch_warnings():
        # More workers than cores are what was asked for.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        show("looking at the files")
        target = open_target(arguments.paths, raw=raw, batch_size=arguments.batch_size)
        with closing(target):
            helpers = arguments.workers
            if helpers is None:
                helpers = min(target.about.cores, MOST_THREADS)
            report = measure(target, helpers=helpers, seconds=arguments.seconds, show=show)
    advice = advise(report)
    if console is None:
        print_json({**report.as_json(), "advice": asdict(advice)})
    else:
        _print(console, report, advice)
    if arguments.plot is not None:
        save_figure(draw_figures(report), arguments.plot)
    return SUCCESS


def _print(console: Any, report: Report, advice: Recommendation) -> None:
    for line in _head(report):
        console.print(printable(line))
    print_table(console, _HEADS, _rows(report), numbers=_HEADS[1:5])
    for line in notes(report):
        console.print(line, style="dim")
    print_notes(console, "Advice", [("-", text, "") for text in advice.sentences], named=False)
    console.print(f"\n{advice.code}", style="green", soft_wrap=True)


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
        yield [styled(title, "bold")]
        yield from (list(_cells(report, figure)) for figure in report.of(order))
        if order != "full":
            yield []


def _cells(report: Report, figure: Figure) -> Iterator[Any]:
    start, part = figure.seconds_to_first_row, report.of_fastest(figure)
    yield f"  {figure.method.name}"
    yield rate_text(figure.rate)
    yield bytes_text(figure.rate * report.conditions.row_bytes)
    yield "guess" if figure.estimate else f"{figure.spread:.0%}" if len(figure.passes) > 1 else ""
    yield "" if start is None else f"{start * 1e3:,.0f} ms"
    colour = "green" if figure.method.kind in OURS else "yellow"
    bar = styled(f"{'█' * round(_BAR * part):<{_BAR}}", colour)
    yield bar.append(f"{part:>5.0%}", "default")


def _number(
    kind: type[int] | type[float], least: float, hint: str, most: float = sys.float_info.max
) -> Callable[[str], Any]:
    """Give the `type=` of an option that is a number from `least` to `most`."""

    def read(text: str) -> Any:
        value = kind(text)
        if not least <= value <= most:
            raise ValueError
        return value

    return typed(read, "such number", hint)
