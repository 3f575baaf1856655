"""The command `npdata inspect`.

Idea: look at every path, then show all that was found, as a table or as JSON. Invariant: exit
code 1 means that a file could not be inspected, in whole or in part; an array that is refused with
a reason is an answer, and no failure. Wrong paths show before anything is looked at.
"""

import argparse
from collections.abc import Collection, Sequence
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
from npdata.cli.inspect.layouts import recognised
from npdata.cli.inspect.report import DatasetReport, Facts, FileReport
from npdata.cli.inspect.survey import Survey, expanded, kinds_of, survey
from npdata.cli.inspect.table import dtype_text, print_layouts, print_reports, print_summary
from npdata.cli.plot import Panel, draw_arrays, require_format, save_figure, shortened
from npdata.cli.raw import RawLayout, add_raw_arguments, raw_layout
from npdata.errors import NpdataError, SourceError
from npdata.sources.hdf5 import list_datasets
from npdata.sources.open import open_source

_MOST_ARRAYS = 50
"""More arrays than these are summed up."""
_MOST_KINDS = 13
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
        help="draw chunks, values and some samples of the arrays: .png, .svg or .pdf",
    )
    add_raw_arguments(parser)


def _run(arguments: argparse.Namespace) -> int:
    raw = raw_layout(arguments)
    if arguments.plot is not None:
        require_format(arguments.plot)
    console = None if arguments.json else new_console()
    paths = expanded(arguments.paths, raw)
    if console is not None:
        found = survey(paths, raw)
        _require_raw(raw, found.formats)
        known = recognised(found.arrays)
        if len(found.arrays) + len(found.failures) > _MOST_ARRAYS:
            return _summarise(console, found, raw, arguments.plot, known)
    reports = []
    for path in paths:
        with interrupts_wait():
            reports.append(examine(path, raw))
    _require_raw(raw, {report.format for report in reports})
    if console is None:
        print_json({"files": [report.as_json() for report in reports]})
    else:
        print_reports(console, reports)
        print_layouts(console, known)
    return _end(reports, raw, arguments.plot, failed=any(report.failure for report in reports))


def _summarise(
    console: Any, found: Survey, raw: RawLayout | None, picture: str | None, known: Sequence[str]
) -> int:
    """Show kinds of arrays, and look at the largest of each."""
    kinds = kinds_of(found.arrays)
    shown = sorted(kinds, key=lambda kind: kind.nbytes, reverse=True)[:_MOST_KINDS]
    reports = []
    for kind in shown:
        with interrupts_wait():
            reports.append(examine(kind.largest, raw))
    ones = [report.datasets[0] for report in reports]
    left_out = [kind for kind in kinds if kind not in shown]
    print_summary(console, list(zip(shown, ones, strict=True)), left_out, found.failures)
    print_layouts(console, known)
    return _end(reports, raw, picture, failed=bool(found.failures))


def _end(
    reports: Sequence[FileReport], raw: RawLayout | None, picture: str | None, *, failed: bool
) -> int:
    if picture is not None:
        save_figure(_picture(reports, raw, failed=failed), picture)
    return FAILED if failed else SUCCESS


def _require_raw(raw: RawLayout | None, formats: Collection[str | None]) -> None:
    if raw is not None and formats and not {"raw", None} & set(formats):
        raise UsageError("--dtype describes raw binary files, and none is among the paths")


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
