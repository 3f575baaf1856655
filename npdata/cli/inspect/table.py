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
from npdata.cli.inspect.report import DatasetReport, Facts, FileReport, FilterUse
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
_MOST_NAMES = 4
_DEAR = 4.0
_FORMATS = {"npy": ".npy", "npz": ".npz", "hdf5": "HDF5", "raw": "raw", None: "raw"}
_NOTE = "full, block: bytes decoded for each byte used, with rows shuffled fully or by blocks"
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
_RIGHT = ("bytes", "stored", "full", "block")

Cell: TypeAlias = tuple[str, str]
"""A text and its style."""
Note: TypeAlias = tuple[str, str, str]
"""A word of the table, the sentence that explains it, and the array that it is about."""


def print_reports(console: Any, reports: Sequence[FileReport]) -> None:
    """Print everything about the files; `console` is rich's."""
    rows = [row for report in reports for row in _rows(report)]
    table = _table(rows, stacked=False)
    if console.measure(table, options=console.options.update(width=10_000)).maximum > console.width:
        table = _table(rows, stacked=True)
    console.print(table)
    console.print(_NOTE, style="dim")
    several = sum(max(1, len(report.datasets)) for report in reports) > 1
    for head, notes in (("Why", _reasons(reports)), ("Advice", _advice(reports))):
        merged = _merged(notes)
        if merged:
            console.print(f"\n{head}", style="bold")
            console.print(_sentences(merged, named=several))


def dtype_text(dtype: DType) -> str:
    """Name a dtype in few words.

    Examples:
        >>> dtype_text(np.dtype(">f4")), dtype_text(np.dtype([("x", "f4"), ("y", "i8")]))
        ('>f4', 'record of 2')
    """
    if dtype.names is not None:
        return f"record of {len(dtype.names)}"
    return "text" if is_variable_text(dtype) else str(dtype)


def _table(rows: Sequence[tuple[Cell, list[Cell]]], *, stacked: bool) -> Any:
    """Give the table, with a line for every column, or for every two."""
    step = 2 if stacked else 1
    firsts = range(0, len(_HEADS), step)
    table = _rich("table").Table(
        box=_rich("box").SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold"
    )
    table.add_column(_text("array"), overflow="fold")
    for first in firsts:
        table.add_column(
            _text("\n".join(_HEADS[first : first + step])),
            justify="right" if _HEADS[first] in _RIGHT else "left",
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


def _sentences(notes: dict[tuple[str, str], list[str]], *, named: bool) -> Any:
    grid = _rich("table").Table.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    for (word, sentence), names in notes.items():
        text = _text(printable(sentence))
        if named:
            text.append(f"\n{printable(_listed(names))}", "dim")
        grid.add_row(_text(word, _STYLES.get(word, "")), text)
    return grid


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


def _named(reports: Sequence[FileReport]) -> Iterator[tuple[str, DatasetReport]]:
    """Give every array with its name, which tells the file only where there are several."""
    for report in reports:
        for dataset in report.datasets:
            short = dataset.name is not None and len(reports) == 1
            yield (dataset.name or "") if short else dataset.where, dataset


def _reasons(reports: Sequence[FileReport]) -> Iterator[Note]:
    for report in reports:
        if report.failure is not None:
            yield "failed", report.failure, report.path
    arrays = list(_named(reports))
    for name, dataset in arrays:
        if dataset.refusal is not None:
            yield "refused", dataset.refusal, name
    read = [(name, d.facts) for name, d in arrays if d.facts and d.refusal is None]
    for name, facts in read:
        yield facts.access, facts.access_reason, name
    for name, facts in read:
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
