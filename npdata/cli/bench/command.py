"""The command `npdata bench`.

Idea: open, look, measure, advise, show. Invariant: exit code 1 means that methods gave different
rows, or that nothing could be measured; whatever is wrong with the arguments shows before any time
is spent.
"""

import argparse
import math
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from typing import Any

from npdata.cli.arguments import add_raw_arguments, raw_layout
from npdata.cli.bench.advice import advise
from npdata.cli.bench.measure import measure
from npdata.cli.bench.table import print_report
from npdata.cli.bench.target import open_target
from npdata.cli.console import SUCCESS, Command, new_console, print_json, status_line
from npdata.cli.plot import draw_figures, new_figure, require_format, save_figure
from npdata.loading.schedule import MOST_THREADS

SECONDS = 60.0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
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
        type=_number(int, 0, "a number of workers, 0 or more"),
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


def _run(arguments: argparse.Namespace) -> int:
    raw = raw_layout(arguments)
    if arguments.plot is not None:
        require_format(arguments.plot)
        new_figure(1, 1)
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
        print_report(console, report, advice)
    if arguments.plot is not None:
        save_figure(draw_figures(report), arguments.plot)
    return SUCCESS


def _number(kind: type[int] | type[float], least: float, hint: str) -> Callable[[str], Any]:
    """Give the `type=` of an option that is a number from `least` on."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is none; give {hint}")
        return value

    return read


BENCH = Command(
    name="bench",
    summary="Measure how fast this machine reads the rows for training, and recommend settings.",
    add_arguments=_add_arguments,
    run=_run,
)
