"""The command `npdata inspect`.

Idea: look at every path, then show all that was found, as a table or as JSON. Invariant: exit
code 1 tells that a file could not be inspected, in whole or in part; an array that is refused with
a reason is an answer, and no failure. Wrong paths show before anything is looked at.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from npdata.cli.console import (
    FAILED,
    SUCCESS,
    Command,
    UsageError,
    bytes_text,
    interrupts_wait,
    new_console,
    print_json,
    shape_text,
)
from npdata.cli.inspect.examine import examine
from npdata.cli.inspect.report import DatasetReport, Facts, FileReport
from npdata.cli.inspect.table import dtype_text, print_reports
from npdata.cli.plot import Panel, draw_arrays, require_format, save_figure, shortened
from npdata.cli.raw import RawLayout, add_raw_arguments, raw_layout
from npdata.errors import NpdataError, SourceError
from npdata.sources.hdf5 import list_datasets
from npdata.sources.open import open_source

_MOST_PANELS = 8


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
        save_figure(_picture(reports, raw, failed=failed), arguments.plot)
    return FAILED if failed else SUCCESS


def _picture(reports: Sequence[FileReport], raw: RawLayout | None, *, failed: bool) -> Any:
    arrays = [
        (report, dataset, dataset.facts)
        for report in reports
        for dataset in report.datasets
        if dataset.facts is not None and _has_numbers(dataset, dataset.facts)
    ]
    if not arrays:
        text = "--plot draws arrays of numbers, and there is none to be read"
        raise SourceError(text) if failed else UsageError(text)
    panels = [
        _panel(report, dataset, facts, raw) for report, dataset, facts in arrays[:_MOST_PANELS]
    ]
    return draw_arrays(panels, left_out=len(arrays) - len(panels))


def _has_numbers(dataset: DatasetReport, facts: Facts) -> bool:
    return dataset.refusal is None and facts.nbytes > 0 and facts.sample in ("view", "copy")


def _panel(
    report: FileReport, dataset: DatasetReport, facts: Facts, raw: RawLayout | None
) -> Panel:
    table = None
    try:
        if report.format == "raw" and raw is not None:
            source: Any = raw.open(dataset.where)
        else:
            source = open_source(dataset.where)
        if facts.chunks is not None:
            (listed,) = list_datasets(report.path, dataset.name or "").datasets
            table = None if listed.examined is None else listed.examined.layout.chunks
    except (NpdataError, OSError) as error:
        source = str(error)
    title = (
        f"{shortened(dataset.where)}   {shape_text(facts.shape)} {dtype_text(facts.dtype)}, "
        f"{bytes_text(facts.nbytes)}, {facts.access}"
    )
    return Panel(title=title, facts=facts, source=source, chunks=table)


INSPECT = Command(
    name="inspect",
    summary="Tell how arrays in files are stored and read, what random access costs, what to do.",
    add_arguments=_add_arguments,
    run=_run,
)
