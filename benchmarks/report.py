"""What was measured, as values, and its form as Markdown and JSON.

Idea: a question gives `Section`s; everything that is written comes from them, and they come back
from JSON as they were, so that what README shows can be checked against the figures. Invariant:
all here is pure. It draws nothing (`charts.py`) and measures nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A median, and the lowest and the highest of what it is the median of."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the range, as a part of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0

    def overlaps(self, other: "Measured") -> bool:
        """Tell whether the two ranges have a value in common."""
        return self.low <= other.high and other.low <= self.high

    def over(self, other: "Measured") -> "Measured":
        """Give the ratio to `other`, from the least that the two ranges allow to the most."""
        return Measured(
            median=self.median / other.median,
            low=self.low / other.high,
            high=self.high / other.low,
        )

    def scaled(self, factor: float) -> "Measured":
        """Give it in another unit."""
        return Measured(median=self.median * factor, low=self.low * factor, high=self.high * factor)


Cell = str | float | Measured | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading, and how its numbers are written."""

    name: str
    format: str = ".2f"

    def text(self, cell: Cell) -> str:
        """Give a cell as text; an empty one is a dash."""
        match cell:
            case None:
                return "-"
            case str():
                return cell
            case Measured():
                return f"{cell.median:{self.format}} ±{cell.spread:.0%}"
        return f"{cell:{self.format}}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells; the first column says what the row is of."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def markdown(self) -> str:
        """Give it as Markdown."""
        lines = [
            "| " + " | ".join(column.name for column in self.columns) + " |",
            "|---|" + "---:|" * (len(self.columns) - 1),
        ]
        for row in self.rows:
            texts = (column.text(cell) for column, cell in zip(self.columns, row, strict=True))
            lines.append("| " + " | ".join(texts) + " |")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A figure that may have a goal: at least it, or with `most` at most it."""

    what: str
    value: float
    goal: float | None = None
    most: bool = False

    @property
    def reached(self) -> bool:
        """Tell whether the goal is reached."""
        if self.goal is None:
            return True
        return self.value <= self.goal if self.most else self.value >= self.goal

    def markdown(self) -> str:
        """Give it as a line of a list."""
        line = f"- {self.what}: **{self.value:.3g}**"
        if self.goal is None:
            return line
        limit = "at most" if self.most else "at least"
        return f"{line} (goal: {limit} {self.goal:g}, {'reached' if self.reached else 'missed'})"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """How the table of a section is drawn, into `file`.

    `bars`: a bar a row, of the columns `series` (one by one, as panels). `lines`: a line for each
    of `series`, over the first column.
    """

    kind: str
    file: str
    x: str
    y: str
    series: tuple[str, ...]
    log_y: bool = True


@dataclass(frozen=True, kw_only=True)
class Section:
    """The answer to one question. `name` is unique in a report."""

    name: str
    title: str
    note: str = ""
    table: Table | None = None
    ratios: tuple[Ratio, ...] = ()
    charts: tuple[Chart, ...] = ()

    def markdown(self, images: str) -> str:
        """Give it as Markdown; `images` is the path to where the charts are."""
        parts = [f"## {self.title}", self.note]
        if self.table:
            parts.append(self.table.markdown())
        parts.append("\n".join(ratio.markdown() for ratio in self.ratios))
        parts += [f"![{self.title}: {each.y}]({images}/{each.file})" for each in self.charts]
        return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All sections, what they were measured on, and why there are not more of them."""

    machine: str
    versions: dict[str, str]
    seconds: float
    skipped: tuple[str, ...]
    sections: tuple[Section, ...]
    failed: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Tell whether there is a section of that name."""
        return any(section.name == name for section in self.sections)

    def section(self, name: str) -> Section:
        """Give the section of that name; raises KeyError without one."""
        found = [section for section in self.sections if section.name == name]
        if not found:
            raise KeyError(f"no section {name!r}; there are {[s.name for s in self.sections]}")
        return found[0]

    def markdown(self, images: str = "../docs/img") -> str:
        """Give the whole report."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        parts = [
            "# Results",
            "Written by `make bench`. Figures are medians of passes taken in turns in one process, "
            "± half their range; ratios are of medians of one run. Before anything is timed, all "
            "sides are checked to deliver the same rows. GB are 10⁹ bytes.",
            f"Machine: {self.machine}. Versions: {versions}. The run took "
            f"{self.seconds / 60:.0f} minutes.",
            "\n".join(f"- {line}" for line in self.skipped),
            "\n".join(f"- **failed**: {line}" for line in self.failed),
            *(section.markdown(images) for section in self.sections),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def json(self) -> str:
        """Give it as JSON, numbers unrounded; `from_json` gives it back."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Report:
    """Give the report that `Report.json` wrote."""
    read = json.loads(text)
    sections = tuple(_section(each) for each in read.pop("sections"))
    lines = {name: tuple(read.pop(name, ())) for name in ("skipped", "failed")}
    return Report(**read, **lines, sections=sections)


def _section(read: dict[str, Any]) -> Section:
    table = read["table"] and Table(
        columns=tuple(Column(**column) for column in read["table"]["columns"]),
        rows=tuple(tuple(map(_cell, row)) for row in read["table"]["rows"]),
    )
    return Section(
        **{
            **read,
            "table": table,
            "ratios": tuple(Ratio(**ratio) for ratio in read["ratios"]),
            "charts": tuple(
                Chart(**{**chart, "series": tuple(chart["series"])}) for chart in read["charts"]
            ),
        }
    )


def _cell(read: Any) -> Cell:
    return Measured(**read) if isinstance(read, dict) else read


def kept(before: Report, question: str, machine: str) -> list[Section]:
    """Give the sections that answered a question before, and say that this was another run.

    `machine` is that of the run which asks. A section that says where it was measured stays.

    Examples:
        >>> section = Section(name="gpu-sparse", title="Sparse rows", note="512 rows.")
        >>> before = Report(machine="16 cores", versions={}, seconds=1.0, skipped=(),
        ...                 sections=(section,))
        >>> kept(before, "gpu", "2 cores")[0].note
        '512 rows. Measured in an earlier run, on 16 cores.'
    """
    where = "" if before.machine == machine else f", on {before.machine}"
    return [
        section
        if "Measured " in section.note
        else replace(section, note=f"{section.note} Measured in an earlier run{where}.")
        for section in before.sections
        if section.name.split("-")[0] == question
    ]


def with_section(text: str, mark: str, section: Section, images: str = "docs/img") -> str:
    """Give a page with the note, the table and the charts of a section between two marks.

    The marks are `<!-- mark -->` and `<!-- /mark -->`.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    parts = [section.note, section.table.markdown() if section.table else ""]
    parts += [f"![{section.title}: {each.y}]({images}/{each.file})" for each in section.charts]
    body = "\n\n".join(part for part in parts if part)
    return f"{head}{begin}\n{body}\n{end}{tail}"


def repeated(before: Section, now: Section, unit: str) -> Section:
    """Compare what `now` measured with `before`, each rate over that of row `unit` in its own run.

    The machine's speed drifts from run to run, and such ratios hardly do. Two agree where their
    ranges meet, which hold the spreads of the rate and of the unit.
    """
    old, new = _rates(before), _rates(now)
    if not any(row == unit for row, _ in old.keys() & new.keys()):
        raise ValueError(f"{now.name} has no rates to compare, or no {unit!r}")
    was, bare = (next(v for (row, _), v in e.items() if row == unit) for e in (old, new))
    rows: list[tuple[Cell, ...]] = []
    for (row, column), rate in new.items():
        if row == unit or (row, column) not in old:
            continue
        first, second = old[row, column].over(was), rate.over(bare)
        within = (
            "yes" if first.overlaps(second) else f"no: {second.median / first.median:.2f} of it"
        )
        rows.append((f"{row}, {column}", first, second, within))
    met = sum(row[-1] == "yes" for row in rows)
    note = (
        f"Rates over that of the {unit} of the same run, which was "
        f"{bare.median / was.median:.2f} of README's: {met} of {len(rows)} are within the spread "
        "of both runs."
    )
    columns = ("", "README", "now", "within the spread")
    table = Table(
        columns=tuple(Column(name=name, format=".3g") for name in columns), rows=tuple(rows)
    )
    return Section(name="beside", title="Beside README", note=note, table=table)


def _rates(section: Section) -> dict[tuple[str, str], Measured]:
    """Give the measured cells of a section by row and column."""
    if section.table is None:
        return {}
    return {
        (str(row[0]), column.name): cell
        for row in section.table.rows
        for column, cell in zip(section.table.columns, row, strict=True)
        if isinstance(cell, Measured)
    }


def measured(values: Sequence[float]) -> Measured:
    """Give the median and the range of some values."""
    ordered = sorted(values)
    middle = (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2
    return Measured(median=middle, low=ordered[0], high=ordered[-1])
