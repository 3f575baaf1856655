"""The command `npdata bench`.

Idea: open, look, measure, advise, show. Invariant: exit code 1 tells that ways of reading gave
different rows, or that nothing could be measured; whatever is wrong with the arguments shows
before any time is spent.
"""

import argparse
import warnings

from npdata.cli.bench.advice import advise
from npdata.cli.bench.document import as_json
from npdata.cli.bench.measure import measure
from npdata.cli.bench.picture import draw
from npdata.cli.bench.progress import Progress
from npdata.cli.bench.storage import this_machine
from npdata.cli.bench.subject import Subject
from npdata.cli.bench.table import print_report
from npdata.cli.console import SUCCESS, Command, new_console, print_json
from npdata.cli.plot import new_figure, require_format, save_figure
from npdata.cli.raw import add_raw_arguments, raw_layout
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
        type=_whole,
        metavar="N",
        help="rows of a batch (default 256, fewer where rows are large)",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="worker processes and threads that are tried, beside none (default: the cores, up to "
        f"{MOST_THREADS}; 0: none)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=SECONDS,
        metavar="S",
        help=f"about so long in all, divided among the ways to read (default {SECONDS:g})",
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
    subject = Subject(arguments.paths, raw=raw)
    try:
        with Progress(arguments.seconds) as progress, warnings.catch_warnings():
            # More workers than cores are what was asked for.
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            machine = this_machine()
            helpers = arguments.workers
            progress.tell("looking at the files")
            report = measure(
                subject,
                subject.facts(
                    arguments.batch_size, machine=machine, seconds=arguments.seconds / 60
                ),
                helpers=min(machine.cores, MOST_THREADS) if helpers is None else helpers,
                seconds=arguments.seconds,
                tell=progress.tell,
            )
    finally:
        subject.close()
    advice = advise(report)
    if console is None:
        print_json(as_json(report, advice))
    else:
        print_report(console, report, advice)
    if arguments.plot is not None:
        save_figure(draw(report), arguments.plot)
    return SUCCESS


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows; give 1 or more")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers; give 0 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, as in 20 or 0.5")
    return seconds


BENCH = Command(
    name="bench",
    summary="Measure how fast this machine reads the rows for training, and recommend settings.",
    add_arguments=_add_arguments,
    run=_run,
)
