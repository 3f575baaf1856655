"""Reports as a table for people: a row an array, then why it is so, and what to do about it.

Idea: reasons and advice are sentences, and go below the table, each once, with the arrays that it
holds for. Where the screen is too narrow for all columns, they are stacked in pairs. Invariant:
nothing is cut off; what does not fit is folded. It computes nothing but text.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from npdata.arrays.dtypes import DType, is_variable_text
from npdata.cli.console import bytes_text, count_text, printable, shape_text
from npdata.cli.inspect.advice import advise_kind
from npdata.cli.inspect.report import DatasetReport, Facts, FileReport, FilterUse
from npdata.cli.inspect.survey import Kind
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
_ACCESS = ("memory", "mapped", "decoded", "library")
_MOST_NAMES = 4
_DEAR = 4.0
_FORMATS = {"npy": ".npy", "npz": ".npz", "hdf5": "HDF5", "raw": "raw", None: "raw"}
_KIND_NOTE = (
    "arrays that are stored alike are one line, and the largest of them was looked at; FILE::GROUP "
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
_MOST_WHY, _MOST_ADVICE = 5, 3
"""Sentences below a summary, so that it fits a screen."""

Cell: TypeAlias = tuple[str, str]
"""A text and its style."""
Note: TypeAlias = tuple[str, str, str]
"""A word of the table, the sentence that explains it, and the array that it is about."""


def print_reports(console: Any, reports: Sequence[FileReport]) -> None:
    """Print everything about the files; `console` is rich's."""
    _print_table(console, _HEADS, [row for report in reports for row in _rows(report)])
    console.print(_NOTE, style="dim")
    several = sum(max(1, len(report.datasets)) for report in reports) > 1
    _print_notes(console, "Why", _merged(_reasons(reports)), named=several)
    _print_notes(console, "Advice", _merged(_advice(reports)), named=several)


def print_summary(
    console: Any,
    kinds: Sequence[tuple[Kind, DatasetReport]],
    left_out: Sequence[Kind],
    failures: Sequence[tuple[str, str]],
) -> None:
    """Print kinds of arrays, of each of which one was looked at, in about a screen."""
    rows = [((printable(kind.pattern), ""), _kind_cells(kind, one)) for kind, one in kinds]
    _print_table(console, _KIND_HEADS, rows)
    if left_out:
        count = sum(kind.count for kind in left_out)
        size = bytes_text(sum(kind.nbytes for kind in left_out))
        console.print(f"and {count_text(len(left_out), 'more kind')}: {count:,} arrays, {size}")
    console.print(_KIND_NOTE, style="dim")
    why = [("failed", reason, where) for where, reason in failures]
    why += [note for kind, one in kinds for note in _why(kind.pattern, one)]
    advice = [("-", text, kind.pattern) for kind, one in kinds for text in advise_kind(kind, one)]
    _print_notes(console, "Why", _merged(why), most=_MOST_WHY)
    _print_notes(console, "Advice", _merged(advice), most=_MOST_ADVICE)


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


def _print_table(
    console: Any, heads: Sequence[str], rows: Sequence[tuple[Cell, list[Cell]]]
) -> None:
    table = _table(heads, rows, stacked=False)
    if console.measure(table, options=console.options.update(width=10_000)).maximum > console.width:
        table = _table(heads, rows, stacked=True)
    console.print(table)


def _table(heads: Sequence[str], rows: Sequence[tuple[Cell, list[Cell]]], *, stacked: bool) -> Any:
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
            upper, *lower = cells[first : first + step]
            lines = [_text(*upper), *(_text(text, style or "dim") for text, style in lower)]
            stacks.append(_text("\n").join(lines))
        table.add_row(_text(*name), *stacks)
    return table


def _print_notes(
    console: Any,
    head: str,
    notes: dict[tuple[str, str], list[str]],
    *,
    named: bool = True,
    most: int | None = None,
) -> None:
    if not notes:
        return
    grid = _rich("table").Table.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    for (word, sentence), names in list(notes.items())[:most]:
        text = _text(printable(sentence))
        if named:
            text.append(f"\n{printable(_listed(names))}", "dim")
        grid.add_row(_text(word, _STYLES.get(word, "")), text)
    console.print(f"\n{head}", style="bold")
    console.print(grid)


def _rich(module: str) -> Any:
    return require(f"rich.{module}", extra="cli", purpose="output other than --json")


def _text(text: str, style: str = "") -> Any:
    return _rich("text").Text(text, style)


def _rows(report: FileReport) -> Iterator[tuple[Cell, list[Cell]]]:
    """Give a row for a file, unless it is an array by itself, and for each of its arrays."""
    if report.datasets and report.datasets[0].name is None:
        yield (printable(report.path), ""), _array_cells(report.datasets[0])
        return
    yield (printable(report.path), "bold"), _file_cells(report)
    for dataset in report.datasets:
        yield (f"  {printable(dataset.name or '')}", ""), _array_cells(dataset)


def _file_cells(report: FileReport) -> list[Cell]:
    if report.failure is not None and not report.datasets:
        return [("failed" if head == "access" else "", _STYLES["failed"]) for head in _HEADS]
    known = {
        "shape": count_text(len(report.datasets), "array"),
        "stored as": _FORMATS[report.format],
        "bytes": bytes_text(report.nbytes),
        "stored": bytes_text(min(report.nbytes, report.disk_bytes)),
    }
    return [(known.get(head, ""), "bold") for head in _HEADS]


def _array_cells(dataset: DatasetReport) -> list[Cell]:
    facts = dataset.facts
    access = "refused" if dataset.refusal is not None or facts is None else facts.access
    if facts is None:
        return [(access if head == "access" else "", _STYLES[access]) for head in _HEADS]
    return [
        (shape_text(facts.shape), ""),
        (_layout(facts), ""),
        (dtype_text(facts.dtype), ""),
        (", ".join(map(_filter, facts.filters)), ""),
        (bytes_text(facts.nbytes), ""),
        (bytes_text(facts.stored_bytes), ""),
        (access, _STYLES[access]),
        (facts.sample, _STYLES.get(facts.sample, "")),
        _factor(facts.cost.full),
        _factor(facts.cost.block),
    ]


def _kind_cells(kind: Kind, one: DatasetReport) -> list[Cell]:
    brief = kind.brief
    layout = brief.storage
    if kind.count == 1 and one.facts is not None:
        layout = _layout(one.facts)
    access, sample = "refused", ""
    if one.facts is not None and one.refusal is None:
        access, sample = one.facts.access, one.facts.sample
    return [
        (f"{kind.count:,}", ""),
        ("" if kind.low is None else _range(kind.low, kind.high or kind.low), ""),
        (layout, ""),
        ("" if brief.dtype is None else dtype_text(brief.dtype), ""),
        (", ".join(brief.filters), ""),
        (bytes_text(kind.nbytes), ""),
        (bytes_text(kind.stored_bytes), ""),
        (access, _STYLES[access]),
        (sample, _STYLES.get(sample, "")),
    ]


def _range(low: tuple[int, ...], high: tuple[int, ...]) -> str:
    """Give the sizes of arrays, each from the smallest to the largest.

    Examples:
        >>> _range((57, 7), (312, 7))
        '57..312×7'
    """
    sizes = zip(low, high, strict=True)
    return "×".join(f"{a:,}" if a == b else f"{a:,}..{b:,}" for a, b in sizes)


def _named(reports: Sequence[FileReport]) -> Iterator[tuple[str, DatasetReport]]:
    """Give every array with its name, which names the file only where there are several."""
    for report in reports:
        for dataset in report.datasets:
            short = dataset.name is not None and len(reports) == 1
            yield (dataset.name or "") if short else dataset.where, dataset


def _reasons(reports: Sequence[FileReport]) -> Iterator[Note]:
    for report in reports:
        if report.failure is not None:
            yield "failed", report.failure, report.path
    why = [note for name, dataset in _named(reports) for note in _why(name, dataset)]
    yield from sorted(why, key=lambda note: (note[0] != "refused") + (note[0] not in _ACCESS))


def _why(name: str, dataset: DatasetReport) -> Iterator[Note]:
    facts = dataset.facts
    if dataset.refusal is not None:
        yield "refused", dataset.refusal, name
    elif facts is not None:
        yield facts.access, facts.access_reason, name
        yield facts.sample, facts.sample_reason, name


def _advice(reports: Sequence[FileReport]) -> Iterator[Note]:
    for name, dataset in _named(reports):
        for text in dataset.advice:
            yield "-", text, name


def _merged(notes: Iterable[Note]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for word, text, name in notes:
        found.setdefault((word, text), []).append(name)
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    left = len(names) - _MOST_NAMES
    return f"{shown} and {left:,} more" if left > 0 else shown


def _layout(facts: Facts) -> str:
    chunks = facts.chunks
    if chunks is None:
        return facts.layout
    total = math.prod(chunks.grid)
    partly = "" if chunks.stored == total else f", {chunks.stored:,} of {total:,} stored"
    return f"chunks {shape_text(chunks.shape)}{partly}"


def _filter(step: FilterUse) -> str:
    level = f" {step.values[0]}" if step.name in ("deflate", "zstd") and step.values else ""
    return f"{step.name or step.id}{level}"


def _factor(value: float) -> Cell:
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return text, "red" if value >= _DEAR else ""
