"""Reports as a table for people: a row an array, then why it is so, and what to do about it.

Idea: reasons and advice are sentences, and go below the table, each once, with the arrays that it
holds for. Where the screen is too narrow for all columns, they are stacked in pairs. Invariant:
nothing is cut off; what does not fit is folded. It computes nothing but text.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
_NAMES = {"npy": ".npy", "npz": ".npz", "hdf5": "HDF5", "raw": "raw"}
_NOTE = "full, block: bytes decoded for each byte used, with rows shuffled fully or by blocks"


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column: its head, what an array has there, in which style, and what a file has."""

    head: str
    cell: Callable[[Facts], str]
    style: Callable[[Facts], str] = lambda facts: ""
    file: Callable[[FileReport], str] = lambda report: ""
    right: bool = False


_COLUMNS = (
    _Column(
        head="shape",
        cell=lambda facts: shape_text(facts.shape),
        file=lambda report: count_text(len(report.datasets), "array"),
    ),
    _Column(
        head="stored as",
        cell=lambda facts: _layout(facts),
        file=lambda report: _NAMES[report.format or "raw"],
    ),
    _Column(head="dtype", cell=lambda facts: dtype_text(facts.dtype)),
    _Column(head="filters", cell=lambda facts: ", ".join(map(_filter, facts.filters))),
    _Column(
        head="bytes",
        cell=lambda facts: bytes_text(facts.nbytes),
        file=lambda report: bytes_text(report.nbytes),
        right=True,
    ),
    _Column(
        head="stored",
        cell=lambda facts: bytes_text(facts.stored_bytes),
        file=lambda report: bytes_text(min(report.nbytes, report.disk_bytes)),
        right=True,
    ),
    _Column(
        head="access",
        cell=lambda facts: facts.access,
        style=lambda facts: _STYLES[facts.access],
    ),
    _Column(
        head="sample",
        cell=lambda facts: facts.sample,
        style=lambda facts: _STYLES.get(facts.sample, ""),
    ),
    _Column(
        head="full",
        cell=lambda facts: _factor(facts.cost.full),
        style=lambda facts: "red" if facts.cost.full >= _DEAR else "",
        right=True,
    ),
    _Column(
        head="block",
        cell=lambda facts: _factor(facts.cost.block),
        style=lambda facts: "red" if facts.cost.block >= _DEAR else "",
        right=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Note:
    """A sentence about arrays, with the word of the table that it explains."""

    word: str
    text: str
    of: tuple[str, ...]


def print_reports(console: Any, reports: Sequence[FileReport]) -> None:
    """Print everything about the files; `console` is rich's."""
    draw = _Draw()
    table = draw.table(reports, stacked=False)
    if console.measure(table, options=console.options.update(width=10_000)).maximum > console.width:
        table = draw.table(reports, stacked=True)
    console.print(table)
    console.print(_NOTE, style="dim")
    several = sum(max(1, len(report.datasets)) for report in reports) > 1
    for head, notes in (("Why", _reasons(reports)), ("Advice", _advice(reports))):
        merged = _merged(notes)
        if merged:
            console.print(f"\n{head}", style="bold")
            console.print(draw.notes(merged, named=several))


def dtype_text(dtype: DType) -> str:
    """Name a dtype in few words.

    Examples:
        >>> dtype_text(np.dtype(">f4")), dtype_text(np.dtype([("x", "f4"), ("y", "i8")]))
        ('>f4', 'record of 2')
    """
    if dtype.names is not None:
        return f"record of {len(dtype.names)}"
    return "text" if is_variable_text(dtype) else str(dtype)


class _Draw:
    """What is drawn by rich, which is there only where it is installed."""

    def __init__(self) -> None:
        modules = [
            require(f"rich.{name}", extra="cli", purpose="output other than --json")
            for name in ("table", "text", "box")
        ]
        self._table, self._text, self._box = modules

    def table(self, reports: Sequence[FileReport], *, stacked: bool) -> Any:
        """Give the table, with a line for every column, or for every two."""
        step = 2 if stacked else 1
        groups = [_COLUMNS[first : first + step] for first in range(0, len(_COLUMNS), step)]
        table = self._table.Table(
            box=self._box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold"
        )
        table.add_column(self._text.Text("array"), overflow="fold")
        for group in groups:
            table.add_column(
                self._text.Text("\n".join(column.head for column in group)),
                justify="right" if group[0].right else "left",
                overflow="fold",
            )
        for report in reports:
            for first, dataset in _rows(report):
                cells = [self._cell(group, report, dataset) for group in groups]
                table.add_row(
                    self._text.Text(printable(first), style="" if dataset else "bold"), *cells
                )
        return table

    def _cell(
        self, group: Sequence[_Column], report: FileReport, dataset: DatasetReport | None
    ) -> Any:
        lines = [self._line(column, report, dataset) for column in group]
        for line in lines[1:]:
            line.style = line.style or "dim"
        return self._text.Text("\n").join(lines)

    def _line(self, column: _Column, report: FileReport, dataset: DatasetReport | None) -> Any:
        if dataset is None:
            if report.datasets or report.failure is None:
                return self._text.Text(column.file(report), style="bold")
            return self._text.Text("failed" if column.head == "access" else "", _STYLES["failed"])
        if column.head == "access" and dataset.refusal is not None:
            return self._text.Text("refused", _STYLES["refused"])
        if dataset.facts is None:
            return self._text.Text()
        return self._text.Text(column.cell(dataset.facts), column.style(dataset.facts))

    def notes(self, notes: Sequence[_Note], *, named: bool) -> Any:
        """Give sentences below each other, with the names of the arrays."""
        grid = self._table.Table.grid(padding=(0, 2, 0, 0))
        grid.add_column()
        grid.add_column(overflow="fold")
        for note in notes:
            text = self._text.Text(printable(note.text))
            if named and note.of:
                text.append(f"\n{printable(_listed(note.of))}", "dim")
            grid.add_row(self._text.Text(note.word, _STYLES.get(note.word, "")), text)
        return grid


def _rows(report: FileReport) -> Iterator[tuple[str, DatasetReport | None]]:
    if report.datasets and report.datasets[0].name is None:
        yield report.path, report.datasets[0]
        return
    yield report.path, None
    for dataset in report.datasets:
        yield f"  {dataset.name}", dataset


def _named(reports: Sequence[FileReport]) -> Iterator[tuple[str, DatasetReport]]:
    """Give every array with its name, which tells the file only where there are several."""
    for report in reports:
        for dataset in report.datasets:
            short = dataset.name is not None and len(reports) == 1
            yield (dataset.name or "") if short else dataset.where, dataset


def _reasons(reports: Sequence[FileReport]) -> Iterator[_Note]:
    for report in reports:
        if report.failure is not None:
            yield _Note(word="failed", text=report.failure, of=(report.path,))
    for name, dataset in _named(reports):
        if dataset.refusal is not None:
            yield _Note(word="refused", text=dataset.refusal, of=(name,))
    read = [(name, d.facts) for name, d in _named(reports) if d.facts and d.refusal is None]
    for name, facts in read:
        yield _Note(word=facts.access, text=facts.access_reason, of=(name,))
    for name, facts in read:
        yield _Note(word=facts.sample, text=facts.sample_reason, of=(name,))


def _advice(reports: Sequence[FileReport]) -> Iterator[_Note]:
    for name, dataset in _named(reports):
        for text in dataset.advice:
            yield _Note(word="-", text=text, of=(name,))


def _merged(notes: Iterator[_Note]) -> list[_Note]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for note in notes:
        key = note.word, note.text
        found[key] = found.get(key, ()) + note.of
    return [_Note(word=word, text=text, of=of) for (word, text), of in found.items()]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    left = len(names) - _MOST_NAMES
    return f"{shown} and {left:,} more" if left > 0 else shown


def _layout(facts: Facts) -> str:
    chunks = facts.chunks
    if chunks is None:
        return facts.layout
    total = 1
    for count in chunks.grid:
        total *= count
    partly = "" if chunks.stored == total else f", {chunks.stored:,} of {total:,} stored"
    return f"chunks {shape_text(chunks.shape)}{partly}"


def _filter(step: FilterUse) -> str:
    level = f" {step.values[0]}" if step.name in ("deflate", "zstd") and step.values else ""
    return f"{step.name or step.id}{level}"


def _factor(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
