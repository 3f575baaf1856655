"""From figures to settings, in plain words.

Idea: each piece of advice is a rule over one report: which shuffle, whether threads, when the file
itself is what has to change. Invariant: every sentence rests on figures of this report, and names
them; of two methods that cannot be told apart the simpler is taken, and that is said. Pure: nothing
is read or timed.
"""

import math
from dataclasses import dataclass

from npdata.cli.arguments import convert_command
from npdata.cli.bench.report import Figure, OrderName, Report
from npdata.cli.console import bytes_text
from npdata.loading.schedule import SMALL_BYTES

FULL_IS_FREE, FULL_IS_HOPELESS = 0.8, 0.2
"""Rates of a full shuffle as a part of a block shuffle: it is free from, or hopeless below."""
ONE_PASS = 0.5
"""The spread of a single pass is not known; half of it was seen on busy machines."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to do: `code` makes the loader, `sentences` say why so and what else."""

    code: str
    sentences: tuple[str, ...]


def alike(one: Figure, other: Figure) -> str | None:
    """Say how close two figures are, where their spreads hide which one is faster; else None.

    Examples:
        >>> from npdata.cli.bench.report import Method
        >>> slow, fast = (Figure(order="full", method=Method(kind="loader", name="x"), passes=rates)
        ...               for rates in [(95, 100, 105), (96, 104, 110)])
        >>> alike(slow, fast)
        'within 4%, less than can be told apart: either will do'
    """
    doubt = sum(each.spread if len(each.passes) > 1 else ONE_PASS for each in (one, other))
    slow, fast = sorted((one.rate, other.rate))
    apart = fast / slow - 1 if slow else math.inf if fast else 0.0
    if apart > doubt:
        return None
    percent = max(1, math.ceil(round(apart * 100, 6)))
    return f"within {percent}%, less than can be told apart: either will do"


def advise(report: Report) -> Recommendation:
    """Recommend settings for the data of a report."""
    about = report.conditions
    fields = [repr(path) for path in about.paths]
    if about.raw is not None:
        fields = [f"npdata.open_source({field}, {about.raw})" for field in fields]
    made = f"npdata.NumpyDataset({', '.join(fields)}), {about.batch_size}"
    if about.batch_size == about.rows:
        why = "all rows are one batch, so there is little to choose: a Loader will do as it is"
        return Recommendation(code=f"npdata.Loader({made})", sentences=(why,))
    order, why = _shuffle(report)
    threads, why_threads = _threads(report, order)
    code = f'npdata.Loader({made}, shuffle="{order}"{threads})'
    return Recommendation(code=code, sentences=(why, why_threads, *_convert(report)))


def _shuffle(report: Report) -> tuple[OrderName, str]:
    about, block, full = report.conditions, report.best("block"), report.best("full")
    if not about.fits_memory:
        return "block", (
            f"the files have {bytes_text(about.file_bytes)} and the free memory "
            f"{bytes_text(about.memory_bytes)}: a block shuffle reads them from the disk in large "
            "pieces, a full shuffle row by row; the rates above are from memory"
        )
    rates = f"{full.rate:,.0f} rows/s, {block.rate:,.0f} with a block shuffle"
    if apart := alike(full, block):
        return "full", f'shuffle="full" and "block" are {apart}, and "full" mixes best: {rates}'
    part = full.rate / block.rate if block.rate else 1.0
    if part >= FULL_IS_FREE:
        return "full", f'shuffle="full" costs little here, and mixes best: {rates}'
    times = 1 / part if part else math.inf
    return "block", (
        f'shuffle="block" is {times:,.{0 if times >= 10 else 1}f} times as fast as "full": '
        f"{block.rate:,.0f} rows/s, {full.rate:,.0f} with a full shuffle"
    )


def _threads(report: Report, order: OrderName) -> tuple[str, str]:
    """Choose among the loaders: threads, unless the caller is faster and batches are small."""
    loaders = [f for f in report.of(order) if f.method.kind == "loader"]
    alone = next(f for f in loaders if not f.method.helpers)
    helped = next((f for f in loaders if f.method.helpers), None)
    seconds = report.conditions.batch_size / alone.rate if alone.rate else 0.0
    batch = f"{seconds * 1e3:,.2g} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"
    if helped is None:
        return "", f"a batch takes {batch} in the caller; threads were not measured"
    rates = f"{helped.rate:,.0f} rows/s, {alone.rate:,.0f} without"
    if apart := alike(helped, alone):
        return "", f"with threads or without is {apart} ({rates})"
    if helped.rate > alone.rate:
        return f", num_threads={helped.method.helpers}", f"{helped.method.name}: {rates}"
    if report.conditions.batch_bytes < SMALL_BYTES:
        why = f"a batch takes {batch} in the caller, less than a thread needs to hand it over"
        return ", num_threads=0", why
    return "", (
        f"in a loop that does nothing but load, num_threads=0 is faster ({rates}); with threads, "
        f"the loop does not wait the {batch} that a batch takes"
    )


def _convert(report: Report) -> list[str]:
    """Advise a conversion where chunks make single rows too expensive to shuffle fully."""
    about = report.conditions
    block, full = report.best("block"), report.best("full")
    decoded = [f for f in about.fields if f.access in ("decoded", "library")]
    if not decoded or not block.rate or full.rate / block.rate >= FULL_IS_HOPELESS:
        return []
    costly = max(decoded, key=lambda field: field.row_bytes)
    path = about.paths[about.fields.index(costly)]
    size = bytes_text(costly.row_bytes * about.rows)
    return [
        f"for a full shuffle the file is the limit: {full.rate:,.0f} rows/s, since a row costs a "
        f"chunk of {about.block_rows:,} rows; as a .npy ({size}) it would be read in place:\n"
        f"{convert_command(path, '.npy')}"
    ]
