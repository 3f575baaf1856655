"""The command `npdata inspect`.

Idea: look at every path, then show all that was found, as a table or as JSON. Invariant: exit
code 1 tells that a file could not be inspected, in whole or in part; an array that is refused with
a reason is an answer, and no failure. Wrong paths show before anything is looked at.
"""

import argparse

import numpy as np

from npdata.cli.command import FAILED, SUCCESS, Command, UsageError
from npdata.cli.console import new_console, print_json
from npdata.cli.figure import require_format, save_figure
from npdata.cli.inspect.examine import Raw, examine
from npdata.cli.inspect.picture import draw
from npdata.cli.inspect.table import print_reports


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
    raw = parser.add_argument_group("raw binary files")
    raw.add_argument("--dtype", type=_dtype, help="what they hold, a NumPy dtype such as float32")
    raw.add_argument(
        "--shape",
        type=_shape,
        metavar="N,...",
        help="sizes, of which one may be -1, as in --shape=-1,28,28; else one long row of elements",
    )
    raw.add_argument("--offset", type=int, metavar="BYTES", help="where the rows begin")


def _run(arguments: argparse.Namespace) -> int:
    raw = _raw(arguments)
    if arguments.plot is not None:
        require_format(arguments.plot)
    console = None if arguments.json else new_console()
    reports = [examine(path, raw) for path in arguments.paths]
    if raw is not None and all(report.format not in ("raw", None) for report in reports):
        raise UsageError("--dtype describes raw binary files, and none is among the paths")
    if console is None:
        print_json({"files": [report.as_json() for report in reports]})
    else:
        print_reports(console, reports)
    if arguments.plot is not None:
        save_figure(draw(reports, raw), arguments.plot)
    return FAILED if any(report.failure is not None for report in reports) else SUCCESS


def _raw(arguments: argparse.Namespace) -> Raw | None:
    if arguments.dtype is not None:
        shape = (-1,) if arguments.shape is None else arguments.shape
        return Raw(dtype=arguments.dtype, shape=shape, offset=arguments.offset or 0)
    if arguments.shape is not None or arguments.offset is not None:
        raise UsageError("--shape and --offset describe raw binary files; give --dtype as well")
    return None


def _dtype(text: str) -> "np.dtype[np.generic]":
    try:
        return np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no dtype; give one of NumPy's, such as float32, uint16 or >i4"
        ) from None


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape; give sizes as in --shape=-1,28,28"
        ) from None


INSPECT = Command(
    name="inspect",
    summary="Tell how arrays in files are stored and read, what random access costs, what to do.",
    add_arguments=_add_arguments,
    run=_run,
)
