"""The run: warm up, show that all methods read the same rows, then time them in turns.

Idea: rows are first read in file order until a limit of bytes or time; what was reached is what is
measured, from memory, and stands for the rest. Then methods take turns until the time budget is
used. Invariant: nothing is timed that was not shown to give the rows of the others, byte for byte.
A method for which a batch takes too long is judged by the first rows of one.
"""

import functools
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from npdata.cli.bench.candidate import Candidate, Pass, require_same, time_pass
from npdata.cli.bench.methods import Batches, Rows, bare, bare_method, methods_of, read
from npdata.cli.bench.report import ORDERS, Conditions, Figure, Kind, Method, OrderName, Report
from npdata.cli.bench.target import Target
from npdata.sampling.sampler import BlockBatchSampler

_ROUNDS, _PASS_SECONDS, _PASS_BATCHES = 5, 0.5, 8
"""At most so many rounds; a pass has so many seconds and batches where the time is enough."""
_MOST_BYTES = 2 << 30
"""So many bytes of rows are measured, or a quarter of the memory."""
_COMPARED_BATCHES = 3
_GROWTH = 8
"""Of a first batch so many times as many rows are read, as long as that is quick."""
Turn = tuple[OrderName, Method]


def measure(
    target: Target,
    about: Conditions,
    *,
    helpers: int,
    seconds: float,
    show: Callable[[str], None],
) -> Report:
    """Measure for about `seconds`; `show` is called with what is being done.

    Raises `RowsDifferError` where a method gives other rows than the plain one.
    """
    begun = time.perf_counter()
    roofline = bare_method(target.dataset.sources)
    methods, not_measured = methods_of(about, helpers=helpers)
    show("reading the first rows")
    rows = _warm_up(target, about, seconds=seconds / 10)
    figures: list[Figure] = []
    turns: dict[Turn, Candidate] = {}
    for order, shuffle in ORDERS.items():
        show(f"{order}: comparing the rows")
        batches = functools.partial(
            BlockBatchSampler,
            rows,
            about.batch_size,
            shuffle=shuffle,
            block_rows=about.block_rows,
        )
        limit = seconds / len(ORDERS) / (len(methods) + 1)
        slow = _too_slow(target, next(iter(batches())), methods, seconds=limit)
        quick: dict[Turn, Candidate] = {}
        for method in methods:
            rate = slow.get(method.kind)
            if rate is None:
                quick[order, method] = _candidate(target, method, batches)
            elif method.helpers:
                took = f"a batch takes about {about.batch_size / rate:.2g} s"
                not_measured.append(f"{order}: {method.name}: {took}")
            else:
                figures.append(Figure(order=order, method=method, passes=(rate,), estimate=True))
        if quick:
            require_same(list(quick.values()), batches=_COMPARED_BATCHES)
        turns |= quick
        turns[order, roofline] = Candidate(
            name=roofline.name,
            batches=functools.partial(bare, target, batches, rows=rows, threads=about.cores),
        )
    share = max(seconds / 3, seconds - (time.perf_counter() - begun)) / len(turns)
    rounds = max(1, min(_ROUNDS, int(share / _PASS_SECONDS)))
    for (order, method), passes in _take_turns(turns, rounds, share, show).items():
        figures.append(
            Figure(
                order=order,
                method=method,
                passes=tuple(one.steady_rate for one in passes),
                seconds_to_first_row=statistics.median(one.first for one in passes),
            )
        )
    return Report(
        conditions=about,
        rows_measured=rows,
        rounds=rounds,
        pass_seconds=share / rounds,
        seconds=time.perf_counter() - begun,
        figures=tuple(figures),
        not_measured=tuple(not_measured),
    )


def _warm_up(target: Target, about: Conditions, *, seconds: float) -> int:
    """Read rows in file order until a limit of bytes or time; give how many are to be measured.

    These are whole blocks, and at least one batch, where there are more rows than that.
    """
    most = min(_MOST_BYTES, about.memory_bytes // 4) // about.row_bytes
    most = min(about.rows, max(most, about.batch_size))
    begun = time.perf_counter()
    step = max(1, min(about.batch_size, about.block_rows))
    done = 0
    while done < most and (done == 0 or time.perf_counter() - begun < seconds):
        stop = min(most, done + step)
        target.dataset.__getitems__(np.arange(done, stop))
        done = stop
    if done == about.rows:
        return done
    whole = max(1, done // about.block_rows) * about.block_rows
    return min(about.rows, max(whole, about.batch_size))


def _too_slow(
    target: Target, batch: Rows, methods: Sequence[Method], *, seconds: float
) -> dict[Kind, float]:
    """Give the rows a second of each kind of method for which the batch would take too long.

    They read more and more rows of it, as long as the next step can be expected to take less than
    `seconds`, and are compared. Raises `RowsDifferError` where the rows differ.
    """
    slow: dict[Kind, float] = {}
    alone = [method for method in methods if not method.helpers]
    count = 1
    while alone and count < len(batch):
        more = min(len(batch), count * _GROWTH)
        rows: Batches = functools.partial(list, [batch[:count]])
        tried = [_candidate(target, method, rows) for method in alone]
        spent = require_same(tried, batches=2)  # behind the first row
        for method, each in zip(alone, spent, strict=True):
            if each * more / count > seconds:
                slow[method.kind] = count / each
        alone = [method for method in alone if method.kind not in slow]
        count = more
    return slow


def _candidate(target: Target, method: Method, batches: Batches) -> Candidate:
    return Candidate(name=method.name, batches=functools.partial(read, method, target, batches))


def _take_turns(
    turns: dict[Turn, Candidate], rounds: int, share: float, show: Callable[[str], None]
) -> dict[Turn, list[Pass]]:
    passes: dict[Turn, list[Pass]] = {turn: [] for turn in turns}
    for number in range(rounds):
        for turn, candidate in turns.items():
            # A batch may take longer than a pass should; no method takes more than its share.
            left = share - sum(one.seconds for one in passes[turn])
            if number and left <= 0:
                continue
            show(f"{turn[0]}: {candidate.name}, pass {number + 1} of {rounds}")
            limits = {"seconds": share / rounds, "most_seconds": left}
            passes[turn].append(time_pass(candidate, batches=_PASS_BATCHES, **limits))
    return passes
