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
from typing import TypeAlias

import numpy as np

from npdata.arrays.dtypes import Ints
from npdata.cli.bench.candidate import Candidate, Pass, require_same, time_pass
from npdata.cli.bench.methods import Batches, methods_of, read
from npdata.cli.bench.report import ORDERS, Figure, Kind, Method, OrderName, Report
from npdata.cli.bench.target import Target
from npdata.sampling.sampler import BlockBatchSampler

Turn: TypeAlias = tuple[OrderName, Method]

_ROUNDS, _PASS_SECONDS, _PASS_BATCHES = 5, 0.5, 8
"""At most so many rounds; a pass has so many seconds and batches where the time is enough."""
_MOST_BYTES = 2 << 30
"""So many bytes of rows are measured, or a quarter of the memory."""
_COMPARED_BATCHES = 3
_GROWTH = 8
"""Of a first batch so many times as many rows are read, as long as that is quick."""


def measure(target: Target, *, helpers: int, seconds: float, show: Callable[[str], None]) -> Report:
    """Measure for about `seconds`; `show` is called with what is being done.

    Raises `RowsDifferError` where a method gives other rows than the plain one.
    """
    begun = time.perf_counter()
    about = target.about
    methods, not_measured = methods_of(about, helpers=helpers)
    show("reading the first rows")
    rows = _warm_up(target, seconds=seconds / 10)
    turns, estimates, too_slow = _compared(target, methods, rows, seconds=seconds, show=show)
    spent = time.perf_counter() - begun
    share = max(seconds / 3, seconds - spent) / max(1, len(turns))
    rounds = max(1, min(_ROUNDS, int(share / _PASS_SECONDS)))
    passes = _timed(turns, rounds, share=share, show=show)
    timed = [
        Figure(
            order=order,
            method=method,
            passes=tuple(one.steady_rate for one in each),
            seconds_to_first_row=statistics.median(one.first for one in each),
        )
        for (order, method), each in passes.items()
    ]
    return Report(
        conditions=about,
        rows_measured=rows,
        rounds=rounds,
        pass_seconds=share / rounds,
        seconds=time.perf_counter() - begun,
        figures=(*estimates, *timed),
        not_measured=(*not_measured, *too_slow),
    )


def _compared(
    target: Target,
    methods: Sequence[Method],
    rows: int,
    *,
    seconds: float,
    show: Callable[[str], None],
) -> tuple[dict[Turn, Candidate], list[Figure], list[str]]:
    """Give what is to be timed, all of the same rows, estimates, and what is left out and why.

    Methods for which a batch takes too long are estimated, or left out where they have helpers.
    """
    about, estimates, too_slow = target.about, [], []
    turns: dict[Turn, Candidate] = {}
    limit = seconds / len(ORDERS) / (len(methods) + 1)
    for order, shuffle in ORDERS.items():
        show(f"{order}: comparing the rows")
        batches = functools.partial(
            BlockBatchSampler,
            about.rows,
            about.batch_size,
            indices=np.arange(rows),
            shuffle=shuffle,
            block_rows=about.block_rows,
        )
        slow = _too_slow(target, next(iter(batches())), methods, seconds=limit)
        quick: dict[Turn, Candidate] = {}
        for method in methods:
            rate = slow.get(method.kind)
            if rate is None:
                quick[order, method] = _candidate(target, method, batches)
            elif method.helpers:
                took = f"a batch takes about {about.batch_size / rate:.2g} s"
                too_slow.append(f"{order}: {method.name}: {took}")
            else:
                estimates.append(Figure(order=order, method=method, passes=(rate,), estimate=True))
        if quick:
            require_same([*quick.values()], batches=_COMPARED_BATCHES)
        turns |= quick
    return turns, estimates, too_slow


def _timed(
    turns: dict[Turn, Candidate], rounds: int, *, share: float, show: Callable[[str], None]
) -> dict[Turn, list[Pass]]:
    """Let all take turns, each for about `share` seconds in all."""
    passes: dict[Turn, list[Pass]] = {turn: [] for turn in turns}
    for number in range(rounds):
        for (order, method), candidate in turns.items():
            # A batch may take longer than a pass should; no method takes more than its share.
            left = share - sum(one.seconds for one in passes[order, method])
            if left > 0:
                show(f"{order}: {method.name}, pass {number + 1} of {rounds}")
                one = time_pass(
                    candidate, seconds=share / rounds, batches=_PASS_BATCHES, most_seconds=left
                )
                passes[order, method].append(one)
    return passes


def _warm_up(target: Target, *, seconds: float) -> int:
    """Read batches in file order until a limit of bytes or time; give how many rows these are."""
    about = target.about
    most = min(_MOST_BYTES, about.memory_bytes // 4) // about.row_bytes
    most = min(about.rows, max(most, about.batch_size))
    begun, done = time.perf_counter(), 0
    while done < most and (done == 0 or time.perf_counter() - begun < seconds):
        stop = min(most, done + about.batch_size)
        target.dataset.__getitems__(np.arange(done, stop))
        done = stop
    return done


def _too_slow(
    target: Target, batch: Ints, methods: Sequence[Method], *, seconds: float
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
