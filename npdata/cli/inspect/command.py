"""The command `npdata inspect`.

Idea: look at every path, then show all that was found, as a table or as JSON. Invariant: exit
code 1 tells that a file could not be inspected, in whole or in part; an array that is refused with
a reason is an answer, and no failure. Wrong paths show before anything is looked at.
"""

import argparse

from npdata.cli.console import (
    FAILED,
    SUCCESS,
    Command,
    UsageError,
    interrupts_wait,
    new_console,
    print_json,
)
from npdata.cli.inspect.examine import examine
from npdata.cli.inspect.picture import draw
from npdata.cli.inspect.table import print_reports
from npdata.cli.plot import require_format, save_figure
from npdata.cli.raw import add_raw_arguments, raw_layout
from npdata.errors import SourceError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help=".npy, .npz, HDF5, FILE::MEMBER, or raw binary"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw chunks, values and some samples of the arrays: .png, .svg or .pdf",
    )
    add_raw_arguments(parser)


def _run(arguments: argparse.Namespace) -> int:
    raw = raw_layout(arguments)
    if arguments.plot is not None:
        require_format(arguments.plot)
    console = None if arguments.json else new_console()
    reports = []
    for path in arguments.paths:
        with interrupts_wait():
            reports.append(examine(path, raw))
    if raw is not None and all(report.format not in ("raw", None) for report in reports):
        raise UsageError("--dtype describes raw binary files, and none is among the paths")
    if console is None:
        print_json({"files": [report.as_json() for report in reports]})
    else:
        print_reports(console, reports)
    failed = any(report.failure is not None for report in reports)
    if arguments.plot is not None:
        try:
            save_figure(draw(reports, raw), arguments.plot)
        except UsageError as error:
            if not failed:
                raise
            raise SourceError(str(error)) from error
    return FAILED if failed else SUCCESS


INSPECT = Command(
    name="inspect",
    summary="Tell how arrays in files are stored and read, what random access costs, what to do.",
    add_arguments=_add_arguments,
    run=_run,
)
