"""The command `npdata inspect`.

Idea: look at every path, then show all that was found, as a table or as JSON. Invariant: exit
code 1 means that a file could not be inspected, in whole or in part; an array that is refused with
a reason is an answer, and no failure. Wrong paths show before anything is looked at.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from npdata.cli.arguments import RawLayout, add_raw_arguments, raw_layout
from npdata.cli.console import (
    FAILED,
    SUCCESS,
    Command,
    UsageError,
    interrupts_wait,
    new_console,
    print_json,
    printable,
)
from npdata.cli.inspect.examine import examine, files_of
from npdata.cli.inspect.kinds import Kind, kinds_of
from npdata.cli.inspect.layouts import recognised
from npdata.cli.inspect.report import DatasetReport, Stored
from npdata.cli.inspect.table import print_arrays
from npdata.cli.plot import draw_arrays, require_format, save_figure
from npdata.errors import SourceError
from npdata.sources.base import Source
from npdata.sources.open import identify, open_source

_MOST_ARRAYS = 50
"""More arrays than these are summed up."""
_MOST_PANELS = 8


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help=".npy, .npz, HDF5, FILE::MEMBER, raw binary, or a folder of them",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw values and some samples of the arrays: .png, .svg or .pdf",
    )
    add_raw_arguments(parser)


def _run(arguments: argparse.Namespace) -> int:
    raw = raw_layout(arguments)
    if arguments.plot is not None:
        require_format(arguments.plot)
    console = None if arguments.json else new_console()
    reports = []
    for path in [path for text in arguments.paths for path in files_of(text, raw)]:
        with interrupts_wait():
            reports.append(examine(path, raw))
    if raw is not None and not {"raw", None} & {report.format for report in reports}:
        raise UsageError("--dtype describes raw binary files, and none is among the paths")
    arrays = [dataset for report in reports for dataset in report.datasets]
    failed = any(report.failure for report in reports)
    summed = len(arrays) + failed > _MOST_ARRAYS
    kinds = [Kind(pattern=each.where, members=(each,)) for each in arrays]
    if summed:
        kinds = sorted(kinds_of(arrays), key=lambda kind: -kind.nbytes)
    if console is None:
        print_json({"files": [report.as_json() for report in reports]})
    else:
        print_arrays(console, kinds, reports, summed=summed)
        for line in recognised(array.where for array in arrays):
            # Not broken, so that it can be pasted.
            console.print(f"\n{printable(line)}", soft_wrap=True)
    if arguments.plot is not None:
        figure = _picture([kind.largest for kind in kinds], raw, failed=failed)
        save_figure(figure, arguments.plot)
    return FAILED if failed else SUCCESS


def _picture(arrays: Sequence[DatasetReport], raw: RawLayout | None, *, failed: bool) -> Any:
    drawn = [
        (each.where, each.stored)
        for each in arrays
        if each.stored is not None and each.refusal is None and _has_numbers(each.stored)
    ]
    if not drawn:
        text = "--plot draws arrays of numbers, and there is none to be read"
        raise SourceError(text) if failed else UsageError(text)

    def open_array(where: str) -> Source:
        described = raw is not None and identify(where).format == "raw"
        return raw.open(where) if raw is not None and described else open_source(where)

    shown = drawn[:_MOST_PANELS]
    return draw_arrays(shown, open_array, left_out=len(drawn) - len(shown))


def _has_numbers(stored: Stored) -> bool:
    return stored.nbytes > 0 and stored.sample.kind in ("view", "copy")


INSPECT = Command(
    name="inspect",
    summary="Tell how arrays in files are stored and read, what random access costs, what to do.",
    add_arguments=_add_arguments,
    run=_run,
)
