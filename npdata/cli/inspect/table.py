"""Reports as a table for people: a row an array, then why it is so, and what to do about it.

Idea: reasons and advice are sentences, and go below the table, each once, with the arrays that it
holds for. Where the screen is too narrow for all columns, they are stacked in pairs. Invariant:
nothing is cut off; what does not fit is folded. It computes nothing but text.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from npdata.arrays.dtypes import DType, is_variable_text
from npdata.cli.console import bytes_text, count_text, printable, shape_text
from npdata.cli.inspect.kinds import Kind
from npdata.cli.inspect.report import DatasetReport, FileReport, FilterUse, Stored
from npdata.errors import require

_STYLES = {
    "memory": "green",
    "mapped": "green",
    "view": "green",
    "decoded": "yellow",
    "library": "magenta",
    "refused": "red",
    "failed": "bold red",
}
_SAMPLES = ("view", "copy", "fields")
_MOST_NAMES = 4
_DEAR = 4.0
_FORMATS = {"npy": ".npy", "npz": ".npz", "hdf5": "HDF5", "raw": "raw", None: "raw"}
_KIND_NOTE = (
    "arrays that are stored alike are one line, with how the largest of them is read; FILE::GROUP "
    "or --json shows each"
)
_NOTE = "full, block: bytes decoded for each byte used, shuffled fully or by blocks, at most"
_HEADS = (
    "shape",
    "stored as",
    "dtype",
    "filters",
    "bytes",
    "stored",
    "access",
    "sample",
    "full",
    "block",
)
_KIND_HEADS = ("arrays", *_HEADS[:-2])
_RIGHT = ("arrays", "bytes", "stored", "full", "block")
_MOST_KINDS, _MOST_WHY, _MOST_ADVICE = 13, 5, 3
"""So much of a summary fits a screen: lines, and sentences below them."""

Cell: TypeAlias = tuple[str, str]
"""A text and its style."""
Row: TypeAlias = tuple[Cell, Mapping[str, Cell]]
"""The name of an array, and its cells by their heads."""
Note: TypeAlias = tuple[str, str, str]
"""A word of the table, the sentence that explains it, and the array that it is about."""


def print_reports(console: Any, reports: Sequence[FileReport]) -> None:
    """Print everything about the files; `console` is rich's."""
    _print_table(console, _HEADS, [row for report in reports for row in _rows(report)])
    console.print(_NOTE, style="dim")
    several = sum(max(1, len(report.datasets)) for report in reports) > 1
    named = list(_named(reports))
    why = [*_failures(reports), *(note for name, each in named for note in _why(name, each))]
    # What fails or is refused first, then the access, then the sample.
    why.sort(key=lambda note: (note[0] not in ("failed", "refused")) + (note[0] in _SAMPLES))
    advice = [("-", text, name) for name, each in named for text in each.advice]
    _print_notes(console, "Why", why, named=several)
    _print_notes(console, "Advice", advice, named=several)


def print_kinds(console: Any, kinds: Sequence[Kind], reports: Sequence[FileReport]) -> None:
    """Print the largest kinds of arrays in about a screen, and what could not be inspected."""
    shown, left_out = kinds[:_MOST_KINDS], kinds[_MOST_KINDS:]
    rows = [((printable(kind.pattern), ""), _kind_cells(kind)) for kind in shown]
    _print_table(console, _KIND_HEADS, rows)
    if left_out:
        count = sum(len(kind.members) for kind in left_out)
        size = bytes_text(sum(kind.nbytes for kind in left_out))
        console.print(f"and {count_text(len(left_out), 'more kind')}: {count:,} arrays, {size}")
    console.print(_KIND_NOTE, style="dim")
    why = [note for kind in shown for note in _why(kind.pattern, kind.largest)]
    advice = [("-", text, kind.pattern) for kind in shown for text in kind.advice]
    _print_notes(console, "Why", [*_failures(reports), *why], most=_MOST_WHY)
    _print_notes(console, "Advice", advice, most=_MOST_ADVICE)


def print_layouts(console: Any, lines: Sequence[str]) -> None:
    """Print which known layouts were found; a line is not broken, so that it can be pasted."""
    for line in lines:
        console.print(printable(line), soft_wrap=True, markup=False, highlight=False)


def dtype_text(dtype: DType) -> str:
    """Name a dtype in few words.

    Examples:
        >>> dtype_text(np.dtype(">f4")), dtype_text(np.dtype([("x", "f4"), ("y", "i8")]))
        ('>f4', 'record of 2')
    """
    if dtype.names is not None:
        return f"record of {len(dtype.names)}"
    return "text" if is_variable_text(dtype) else str(dtype)


def _print_table(console: Any, heads: Sequence[str], rows: Sequence[Row]) -> None:
    table = _table(heads, rows, stacked=False)
    if console.measure(table, options=console.options.update(width=10_000)).maximum > console.width:
        table = _table(heads, rows, stacked=True)
    console.print(table)


def _table(heads: Sequence[str], rows: Sequence[Row], *, stacked: bool) -> Any:
    """Give the table, with a line for every column, or for every two."""
    step = 2 if stacked else 1
    firsts = range(0, len(heads), step)
    table = _rich("table").Table(
        box=_rich("box").SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold"
    )
    table.add_column(_text("array"), overflow="fold")
    for first in firsts:
        table.add_column(
            _text("\n".join(heads[first : first + step])),
            justify="right" if heads[first] in _RIGHT else "left",
            overflow="fold",
        )
    for name, cells in rows:
        stacks = []
        for first in firsts:
            known = [cells.get(head, ("", "")) for head in heads[first : first + step]]
            upper, *lower = known
            lines = [_text(*upper), *(_text(text, style or "dim") for text, style in lower)]
            stacks.append(_text("\n").join(lines))
        table.add_row(_text(*name), *stacks)
    return table


def _print_notes(
    console: Any, head: str, notes: Sequence[Note], *, named: bool = True, most: int | None = None
) -> None:
    """Print each sentence once, with the arrays that it is about."""
    merged: dict[tuple[str, str], list[str]] = {}
    for word, sentence, name in notes:
        merged.setdefault((word, sentence), []).append(name)
    if not merged:
        return
    grid = _rich("table").Table.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    for (word, sentence), names in list(merged.items())[:most]:
        text = _text(printable(sentence))
        if named:
            more = len(names) - _MOST_NAMES
            listed = ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
            text.append(f"\n{printable(listed)}", "dim")
        grid.add_row(_text(word, _STYLES.get(word, "")), text)
    console.print(f"\n{head}", style="bold")
    console.print(grid)


def _rich(module: str) -> Any:
    return require(f"rich.{module}", extra="cli", purpose="output other than --json")


def _text(text: str, style: str = "") -> Any:
    return _rich("text").Text(text, style)


def _rows(report: FileReport) -> Iterator[Row]:
    """Give a row for a file, unless it is an array by itself, and for each of its arrays."""
    if report.datasets and report.datasets[0].name is None:
        yield (printable(report.path), ""), _cells(report.datasets[0])
        return
    if report.failure is not None and not report.datasets:
        yield (printable(report.path), "bold"), {"access": ("failed", _STYLES["failed"])}
        return
    stored = bytes_text(min(report.nbytes, report.disk_bytes))
    cells = {
        "shape": count_text(len(report.datasets), "array"),
        "stored as": _FORMATS[report.format],
        "bytes": bytes_text(report.nbytes),
        "stored": stored,
    }
    yield (printable(report.path), "bold"), {head: (text, "bold") for head, text in cells.items()}
    for dataset in report.datasets:
        yield (f"  {printable(dataset.name or '')}", ""), _cells(dataset)


def _cells(dataset: DatasetReport) -> dict[str, Cell]:
    stored = dataset.stored
    access = "refused" if dataset.refusal is not None or stored is None else stored.access
    cells = {"access": (access, _STYLES[access])}
    if stored is not None:
        cells |= {
            "shape": (shape_text(stored.shape), ""),
            "stored as": (_layout(stored), ""),
            "dtype": (dtype_text(stored.dtype), ""),
            "filters": (", ".join(map(_filter, stored.filters)), ""),
            "bytes": (bytes_text(stored.nbytes), ""),
            "stored": (bytes_text(stored.stored_bytes), ""),
            "sample": (stored.sample, _STYLES.get(stored.sample, "")),
            "full": _factor(stored.decoded_per_used.full),
            "block": _factor(stored.decoded_per_used.block),
        }
    return cells


def _kind_cells(kind: Kind) -> dict[str, Cell]:
    """Give the cells of the largest array, with the sizes and the sums of all."""
    cells = _cells(kind.largest) | {
        "arrays": (f"{len(kind.members):,}", ""),
        "bytes": (bytes_text(kind.nbytes), ""),
        "stored": (bytes_text(kind.stored_bytes), ""),
    }
    stored = kind.largest.stored
    if len(kind.members) > 1 and stored is not None:
        cells["shape"] = (_range(kind.shapes), "")
        cells["stored as"] = (stored.layout, "")
    return cells


def _range(shapes: Sequence[tuple[int, ...]]) -> str:
    """Give the sizes of arrays, each from the smallest to the largest.

    Examples:
        >>> _range([(57, 7), (312, 7)])
        '57..312×7'
    """
    sizes = [(min(axis), max(axis)) for axis in zip(*shapes, strict=True)]
    return "×".join(f"{a:,}" if a == b else f"{a:,}..{b:,}" for a, b in sizes)


def _named(reports: Sequence[FileReport]) -> Iterator[tuple[str, DatasetReport]]:
    """Give every array with its name, which names the file only where there are several."""
    for report in reports:
        for dataset in report.datasets:
            short = dataset.name is not None and len(reports) == 1
            yield (dataset.name or "") if short else dataset.where, dataset


def _failures(reports: Sequence[FileReport]) -> Iterator[Note]:
    for report in reports:
        if report.failure is not None:
            yield "failed", report.failure, report.path


def _why(name: str, dataset: DatasetReport) -> Iterator[Note]:
    stored = dataset.stored
    if dataset.refusal is not None:
        yield "refused", dataset.refusal, name
    elif stored is not None:
        yield stored.access, stored.access_reason, name
        yield stored.sample, stored.sample_reason, name


def _layout(stored: Stored) -> str:
    chunks = stored.chunks
    if chunks is None:
        return stored.layout
    total = math.prod(chunks.grid)
    partly = "" if chunks.stored == total else f", {chunks.stored:,} of {total:,} stored"
    return f"chunks {shape_text(chunks.shape)}{partly}"


def _filter(step: FilterUse) -> str:
    level = f" {step.values[0]}" if step.name in ("deflate", "zstd") and step.values else ""
    return f"{step.name or step.id}{level}"


def _factor(value: float) -> Cell:
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return text, "red" if value >= _DEAR else ""
