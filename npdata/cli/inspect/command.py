"""The command `npdata inspect`.

Idea: look at every path, then show all that was found, as a table or as JSON. Invariant: exit
code 1 means that a file could not be inspected, in whole or in part; an array that is refused with
a reason is an answer, and no failure. Wrong paths show before anything is looked at.
"""

import argparse
import math
from collections.abc import Sequence
from typing import Any

from npdata.cli.arguments import add_raw_arguments, raw_format
from npdata.cli.console import (
    FAILED,
    SUCCESS,
    UsageError,
    bytes_text,
    count_text,
    new_console,
    print_json,
    printable,
    shape_text,
)
from npdata.cli.files import files_of
from npdata.cli.inspect.advice import DEAR
from npdata.cli.inspect.examine import Seen, examine
from npdata.cli.inspect.kinds import Kind, Overview, overview
from npdata.cli.inspect.known_programs import recognised
from npdata.cli.inspect.picture import draw_arrays
from npdata.cli.inspect.report import DatasetReport, FileReport, Stored
from npdata.cli.plot import require_drawing, save_figure
from npdata.cli.table import Note, dtype_text, print_notes, print_table, styled
from npdata.errors import SourceError
from npdata.sources.formats.raw import RawFormat
from npdata.sources.hdf5.examine.creation_properties import Filter
from npdata.sources.many_files.file_list import SEPARATOR

_MOST_PANELS = 8
_HEADS = ("array", "shape", "stored as", "bytes", "access", "cost")
_SAMPLES = ("copy", "fields", "text")
_MOST_KINDS, _MOST_WHY, _MOST_ADVICE = 13, 5, 3
"""So much of a summary fits a screen: lines, and sentences below them."""
_FORMATS = {"npy": ".npy", "npz": ".npz", "hdf5": "HDF5", "raw": "raw", None: "of no known format"}
_COST = "cost: bytes decoded for each byte used, at most: shuffled fully / by blocks"
_ALIKE = (
    "arrays that are stored alike are one line, with how the largest of them is read; FILE::GROUP "
    "or --json shows each"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
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


def run(arguments: argparse.Namespace) -> int:
    """Look at every path and print what was found; gives the exit code."""
    raw = raw_format(arguments)
    if arguments.plot is not None:
        require_drawing(arguments.plot)
    console = None if arguments.json else new_console()
    paths = [path for text in arguments.paths for path in files_of(text, raw)]
    seen = Seen()
    reports = [examine(path, raw, seen) for path in paths]
    if raw is not None and not {"raw", None} & {report.format for report in reports}:
        raise UsageError("--dtype describes raw binary files, and none is among the paths")
    found = overview(reports)
    if console is None:
        print_json({"files": [report.as_json() for report in reports]})
    else:
        _print(console, found, reports)
    if arguments.plot is not None:
        largest = [kind.largest for kind in found.kinds]
        save_figure(_picture(largest, raw, failed=found.failed > 0), arguments.plot)
    return FAILED if found.failed else SUCCESS


def _print(console: Any, found: Overview, reports: Sequence[FileReport]) -> None:
    """Print the files, the kinds of their arrays, why they are read so, and what to do.

    Where they are summed up it fits a screen: only the first kinds are shown. `console` is rich's.
    """
    kinds, summed = found.kinds, found.summed
    prefix = f"{reports[0].path}{SEPARATOR}" if len(reports) == 1 else ""
    named = [(kind.pattern.removeprefix(prefix), kind) for kind in kinds]
    shown, left_out = (named[:_MOST_KINDS], kinds[_MOST_KINDS:]) if summed else (named, ())
    arrays = count_text(len(found.arrays), "array")
    console.print(f"{printable(_files(reports))}, {arrays}")
    if shown:
        rows = [(printable(name), *_cells(kind)) for name, kind in shown]
        print_table(console, _HEADS, rows, numbers=("bytes", "cost"))
        console.print(_COST, style="dim")
    if left_out:
        size = bytes_text(sum(kind.nbytes for kind in left_out))
        more = count_text(len(left_out), "more kind")
        count = sum(len(kind.members) for kind in left_out)
        console.print(f"and {more}: {count:,} arrays, {size}")
    if summed:
        console.print(_ALIKE, style="dim")
    why = [("failed", r.failure, r.path) for r in reports if r.failure is not None]
    why += [note for name, kind in shown for note in _why(name, kind)]
    # What fails or is refused first, then the access, then the sample.
    why.sort(key=lambda note: (note[0] not in ("failed", "refused")) + (note[0] in _SAMPLES))
    advice = [("-", text, name) for name, kind in shown for text in kind.advice]
    several = len(reports) > 1 or len(kinds) > 1
    print_notes(console, "Why", why, named=several, most=_MOST_WHY if summed else None)
    print_notes(console, "Advice", advice, named=several, most=_MOST_ADVICE if summed else None)
    if found.indexes:
        indexes = count_text(found.indexes, "array")
        console.print(f"{indexes} of PyTables' indexes left out; --json lists them", style="dim")
    for line in recognised({each.where: each.shape for each in found.arrays}):
        # Not broken, so that it can be pasted.
        console.print(f"\n{printable(line)}", soft_wrap=True)


def _files(reports: Sequence[FileReport]) -> str:
    size = bytes_text(sum(report.bytes for report in reports))
    if len(reports) > 1:
        return f"{len(reports):,} files, {size}"
    return f"{reports[0].path}: {_FORMATS[reports[0].format]}, {size}"


def _cells(kind: Kind) -> tuple[Any, ...]:
    """Give the cells of the largest array, with the sizes and the sums of all."""
    stored = kind.largest.stored
    if stored is None:
        return "", "", "", styled("refused"), ""
    access = stored.access.kind if kind.largest.readable else "refused"
    many = f"{len(kind.members):,} of " if len(kind.members) > 1 else ""
    cost = stored.decoded_per_used
    style = "red" if cost.full >= DEAR else ""
    return (
        f"{many}{_range(kind.shapes)} {dtype_text(stored.dtype)}",
        _layout(stored, kind),
        bytes_text(kind.nbytes),
        styled(access).append(", ", "").append_text(styled(stored.sample.kind)),
        styled(f"{_factor(cost.full)} / {_factor(cost.block)}", style),
    )


def _range(shapes: Sequence[tuple[int, ...]]) -> str:
    """Give the sizes of arrays, each from the smallest to the largest.

    Examples:
        >>> _range([(57, 7), (312, 7)])
        '57..312×7'
    """
    sizes = [(min(axis), max(axis)) for axis in zip(*shapes, strict=True)]
    return "×".join(f"{a:,}" if a == b else f"{a:,}..{b:,}" for a, b in sizes)


def _layout(stored: Stored, kind: Kind) -> str:
    parts, chunks = [stored.layout], stored.chunks
    if chunks is not None and len(kind.members) == 1:
        parts = [f"chunks {shape_text(chunks.shape)}"]
        if chunks.stored < math.prod(chunks.grid):
            parts.append(f"{chunks.stored:,} of {math.prod(chunks.grid):,} stored")
    parts += map(_filter, stored.filters)
    size = "" if kind.stored_bytes == kind.nbytes else f": {bytes_text(kind.stored_bytes)}"
    return f"{', '.join(parts)}{size}"


def _filter(step: Filter) -> str:
    level = f" {step.values[0]}" if step.name in ("deflate", "zstd") and step.values else ""
    return f"{step.name or step.id}{level}"


def _factor(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _why(name: str, kind: Kind) -> list[Note]:
    """Give the reasons of the largest array; that of a view is always the same."""
    stored, refusal = kind.largest.stored, kind.largest.refusal
    if refusal is not None or stored is None:
        return [("refused", refusal or "", name)]
    known: list[Note] = [(stored.access.kind, stored.access.reason, name)]
    if stored.sample.kind != "view":
        known.append((stored.sample.kind, stored.sample.reason, name))
    return known


def _picture(arrays: Sequence[DatasetReport], raw: RawFormat | None, *, failed: bool) -> Any:
    drawn = [
        (each.where, each.stored)
        for each in arrays
        if each.stored is not None
        and each.readable
        and each.nbytes > 0
        and each.stored.sample.kind in ("view", "copy")
    ]
    if not drawn:
        text = "--plot draws arrays of numbers, and there is none to be read"
        raise SourceError(text) if failed else UsageError(text)

    shown = drawn[:_MOST_PANELS]
    return draw_arrays(shown, raw, left_out=len(drawn) - len(shown))
