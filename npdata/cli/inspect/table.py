"""What was found as a table for people: a row a kind of arrays, why it is so, and what to do.

Idea: an array is a kind of one; of more arrays than fit a screen, the largest kinds are shown.
Invariant: every array that is not shown is counted. It computes nothing but text.
"""

import math
from collections.abc import Sequence
from typing import Any

from npdata.arrays.dtypes import DType, is_variable_text
from npdata.cli.console import bytes_text, count_text, printable, shape_text
from npdata.cli.inspect.kinds import Kind
from npdata.cli.inspect.report import FileReport, Stored
from npdata.cli.show import Note, print_notes, print_table, styled
from npdata.sources.hdf5.kinds import Filter
from npdata.sources.many_files.file_list import SEPARATOR

_HEADS = ("array", "shape", "stored as", "bytes", "access", "cost")
_SAMPLES = ("copy", "fields", "text")
_DEAR = 4.0
_MOST_KINDS, _MOST_WHY, _MOST_ADVICE = 13, 5, 3
"""So much of a summary fits a screen: lines, and sentences below them."""
_FORMATS = {"npy": ".npy", "npz": ".npz", "hdf5": "HDF5", "raw": "raw", None: "of no known format"}
_COST = "cost: bytes decoded for each byte used, at most: shuffled fully / by blocks"
_ALIKE = (
    "arrays that are stored alike are one line, with how the largest of them is read; FILE::GROUP "
    "or --json shows each"
)


def print_arrays(
    console: Any, kinds: Sequence[Kind], reports: Sequence[FileReport], *, summed: bool
) -> None:
    """Print the files, the kinds of their arrays, why they are read so, and what to do.

    With `summed` it fits a screen: only the first kinds are shown. `console` is rich's.
    """
    prefix = f"{reports[0].path}{SEPARATOR}" if len(reports) == 1 else ""
    named = [(kind.pattern.removeprefix(prefix), kind) for kind in kinds]
    shown, left_out = (named[:_MOST_KINDS], kinds[_MOST_KINDS:]) if summed else (named, [])
    console.print(f"{printable(_files(reports))}, {count_text(_count(kinds), 'array')}")
    if shown:
        rows = [(printable(name), *_cells(kind)) for name, kind in shown]
        print_table(console, _HEADS, rows, numbers=("bytes", "cost"))
    if left_out:
        size = bytes_text(sum(kind.nbytes for kind in left_out))
        more = count_text(len(left_out), "more kind")
        console.print(f"and {more}: {_count(left_out):,} arrays, {size}")
    console.print(_ALIKE if summed else _COST, style="dim")
    why = [("failed", r.failure, r.path) for r in reports if r.failure is not None]
    why += [note for name, kind in shown for note in _why(name, kind)]
    # What fails or is refused first, then the access, then the sample.
    why.sort(key=lambda note: (note[0] not in ("failed", "refused")) + (note[0] in _SAMPLES))
    advice = [("-", text, name) for name, kind in shown for text in kind.advice]
    several = len(reports) > 1 or len(kinds) > 1
    print_notes(console, "Why", why, named=several, most=_MOST_WHY if summed else None)
    print_notes(console, "Advice", advice, named=several, most=_MOST_ADVICE if summed else None)


def dtype_text(dtype: DType) -> str:
    """Name a dtype in few words.

    Examples:
        >>> dtype_text(np.dtype(">f4")), dtype_text(np.dtype([("x", "f4"), ("y", "i8")]))
        ('>f4', 'record of 2')
    """
    if dtype.names is not None:
        return f"record of {len(dtype.names)}"
    return "text" if is_variable_text(dtype) else str(dtype)


def _files(reports: Sequence[FileReport]) -> str:
    size = bytes_text(sum(report.bytes for report in reports))
    if len(reports) > 1:
        return f"{len(reports):,} files, {size}"
    return f"{reports[0].path}: {_FORMATS[reports[0].format]}, {size}"


def _count(kinds: Sequence[Kind]) -> int:
    return sum(len(kind.members) for kind in kinds)


def _cells(kind: Kind) -> tuple[Any, ...]:
    """Give the cells of the largest array, with the sizes and the sums of all."""
    stored = kind.largest.stored
    access = stored.access.kind if stored is not None and kind.largest.readable else "refused"
    if stored is None:
        return "", "", "", styled(access), ""
    many = f"{len(kind.members):,} of " if len(kind.members) > 1 else ""
    cost = stored.decoded_per_used
    style = "red" if cost.full >= _DEAR else ""
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
