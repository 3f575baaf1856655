"""What the benchmarks share with the command `npdata bench`, and their tables in Markdown.

Idea: contenders for the same rows are checked and timed by `npdata.cli.bench`; here are only the
figures that come from loops of another form, and the form of the report.
"""

from collections.abc import Sequence

from npdata.cli.bench.contender import Contender
from npdata.cli.bench.timing import Pass, Timing, compare

__all__ = ["Contender", "Timing", "compare", "of_seconds", "table"]


def of_seconds(name: str, rows: int, seconds: Sequence[float]) -> Timing:
    """Give the timing of whole passes over `rows` rows that were timed elsewhere."""
    passes = [Pass(samples=rows, seconds=each, first=each, first_samples=rows) for each in seconds]
    return Timing(name=name, passes=tuple(passes))


def table(timings: dict[str, Timing], rows: int, row_bytes: int) -> str:
    """Give the timings as a Markdown table: rows and bytes a second, ratio to the fastest."""
    best = min(timings.values(), key=lambda timing: timing.median)
    lines = ["| | rows/s | GB/s | spread | time, fastest = 1 |", "|---|---:|---:|---:|---:|"]
    for name, timing in timings.items():
        rate = rows / timing.median
        lines.append(
            f"| {name} | {rate:,.0f} | {rate * row_bytes / 1e9:.2f} | ±{timing.spread:.0%} | "
            f"{timing.median / best.median:.2f} |"
        )
    return "\n".join(lines)
