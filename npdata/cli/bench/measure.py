"""The run: warm up, try, prove that all read the same, then time in turns.

Idea: rows are first read in file order until a limit of bytes or time; what was reached is what
is measured, from memory, and stands for the rest. Then contenders take turns until the time is
over. Invariant: nothing is timed that was not shown to give the plain reader's rows, and the run
takes about the time it was given. What the figures mean is decided elsewhere.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np

from npdata.cli.bench.ceiling import ceiling_of
from npdata.cli.bench.facts import Facts
from npdata.cli.bench.pace import Pace, pace_of
from npdata.cli.bench.report import Figure, Report
from npdata.cli.bench.subject import Subject
from npdata.cli.bench.timing import Pass, time_pass
from npdata.cli.bench.trial import Entry, Setup, try_order
from npdata.cli.bench.way import ORDERS, LeftOut, OrderName, ways_of
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.loading.loader import Loader

Tell = Callable[[str], None]

_MOST_BYTES = 2 << 30
"""So many bytes of rows are measured, or a quarter of the memory."""
_PASS_BATCHES = 8
"""A pass has about so many batches at least, where its share of the time is enough."""


def measure(subject: Subject, facts: Facts, *, helpers: int, seconds: float, tell: Tell) -> Report:
    """Measure for about `seconds`; `tell` is told what is being done.

    Raises `RowsDifferError` where a contender gives other rows than the plain one.
    """
    begun = time.perf_counter()
    ceiling = ceiling_of(subject.dataset.sources)
    ways, left_out = ways_of(facts, helpers=helpers, ceiling=ceiling.name)
    tell("reading the first rows")
    rows = warm_up(subject.dataset, facts, seconds=seconds / 10)
    setup = Setup(subject=subject, facts=facts, ceiling=ceiling, ways=ways, rows=rows)
    entries: list[Entry] = []
    for order in ORDERS:
        tell(f"{order}: comparing the rows")
        entries += try_order(setup, order, seconds=seconds / 60)
    left = max(seconds / 3, seconds - (time.perf_counter() - begun))
    pace = pace_of({entry.key: entry.cost for entry in entries}, seconds=left)
    passes = _take_turns(entries, pace, tell)
    slow = [entry for entry in entries if not passes[entry.key] and entry.trial is None]
    with subject.opened() as dataset:
        auto = Loader(dataset, facts.batch_size).describe().threads
    return Report(
        facts=facts,
        rows=rows,
        auto_threads=auto,
        rounds=pace.rounds,
        pass_seconds=pace.seconds,
        seconds=time.perf_counter() - begun,
        figures=tuple(
            _figure(e, passes[e.key], facts.batch_size) for e in entries if e not in slow
        ),
        left_out=left_out
        + tuple(
            LeftOut(way=e.way, order=e.order, reason=f"a batch takes about {e.cost:.2g} s")
            for e in slow
        ),
    )


def _take_turns(
    entries: list[Entry], pace: Pace, tell: Tell
) -> dict[tuple[OrderName, str], list[Pass]]:
    passes: dict[tuple[OrderName, str], list[Pass]] = {entry.key: [] for entry in entries}
    for number in range(pace.rounds):
        for entry in entries:
            done = passes[entry.key]
            # A batch may take longer than a pass should; no contender takes more than its share.
            if entry.key in pace.too_slow or sum(one.seconds for one in done) > pace.share:
                continue
            tell(f"{entry.order}: {entry.way.name}, pass {number + 1} of {pace.rounds}")
            seconds = min(pace.share, max(pace.seconds, _PASS_BATCHES * entry.cost))
            done.append(time_pass(entry.contender, seconds=seconds))
    return passes


def warm_up(dataset: NumpyDataset, facts: Facts, *, seconds: float) -> int:
    """Read rows in file order until a limit of bytes or time; give how many are to be measured.

    These are whole blocks, and at least one batch, where there are more rows than that.
    """
    most = min(_MOST_BYTES, facts.machine.memory_bytes // 4) // max(1, facts.row_bytes)
    most = min(facts.rows, max(most, facts.batch_size))
    begun = time.perf_counter()
    step = max(1, min(facts.batch_size, facts.block_rows))
    done = 0
    while done < most and (done == 0 or time.perf_counter() - begun < seconds):
        stop = min(most, done + step)
        dataset.__getitems__(np.arange(done, stop))
        done = stop
    if done == facts.rows:
        return done
    whole = max(1, done // facts.block_rows) * facts.block_rows
    return min(facts.rows, max(whole, facts.batch_size))


def _figure(entry: Entry, passes: list[Pass], batch_rows: int) -> Figure:
    rates = [one.steady_rate for one in passes]
    firsts = [one.first for one in passes]
    if not passes and entry.trial is not None:
        rates, firsts = [batch_rows / entry.cost if entry.cost else 0.0], [entry.trial.first]
    return Figure(
        order=entry.order,
        way=entry.way,
        rates=tuple(rates),
        first=statistics.median(firsts),
        trial=not passes,
    )
