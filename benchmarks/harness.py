"""What the benchmarks share with the command `npdata bench`, and the tables of its timings.

Idea: candidates for the same rows are checked and timed by `npdata.cli.bench`; here are only the
figures that come from loops of another form, and the step from timings to a table.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Column, Measured, Table, measured
from benchmarks.timing import Pass, Timing, compare
from npdata.cli.bench.candidate import Candidate

__all__ = [
    "Bench",
    "Candidate",
    "Timing",
    "UnavailableError",
    "compare",
    "imported",
    "of_seconds",
    "rates",
    "ratio",
    "table",
]


class UnavailableError(Exception):
    """What a question needs is not on this machine; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where a question may write, and how long it may take."""

    folder: Path
    quick: bool = False
    say: Callable[[str], None] = print

    @property
    def rounds(self) -> int:
        """So many passes of each candidate."""
        return 3 if self.quick else 5


def imported(module: str) -> Any:
    """Import a module of the benchmarks; `UnavailableError` where a package that it needs lacks."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("benchmarks"):
            raise
        raise UnavailableError(f"no {error.name}; pip install 'npdata[bench]'") from error


def of_seconds(name: str, rows: int, seconds: Sequence[float]) -> Timing:
    """Give the timing of whole passes over `rows` rows that were timed elsewhere."""
    passes = [Pass(samples=rows, seconds=each, first=each, first_samples=rows) for each in seconds]
    return Timing(name=name, passes=tuple(passes))


def rates(timing: Timing, *, steady: bool = False) -> Measured:
    """Give rows a second, of whole passes or of what follows the first batch."""
    return measured([one.steady_rate if steady else one.rate for one in timing.passes])


def ratio(fast: Timing, slow: Timing) -> float:
    """Give how many times as fast."""
    return slow.median / fast.median


def table(timings: dict[str, Timing], row_bytes: int) -> Table:
    """Give rows and bytes a second of whole passes, and the time beside the fastest."""
    best = min(timings.values(), key=lambda timing: timing.median)
    columns = (
        Column(name=""),
        Column(name="rows/s", format=",.0f"),
        Column(name="GB/s"),
        Column(name="time, fastest = 1"),
    )
    rows = [
        (name, rates(each), rates(each).median * row_bytes / 1e9, each.median / best.median)
        for name, each in timings.items()
    ]
    return Table(columns=columns, rows=tuple(rows))
