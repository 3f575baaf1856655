"""The trial of an order: rows that every way reads, are compared, and tell what a batch costs.

Idea: how many rows a trial has is found by letting the plain way, mostly the slowest, read more
and more of the first batch, so that a row of a huge chunk does not take the time of all.
Invariant: every way that delivers rows gives the plain reader's, byte for byte, or the run ends.
What has helpers is taken to cost what the same way costs without, since the start of processes is
no matter of the data.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from npdata.cli.bench.ceiling import Ceiling
from npdata.cli.bench.contender import Contender, require_same
from npdata.cli.bench.contenders import ceiling_contender, contender_of
from npdata.cli.bench.facts import Facts
from npdata.cli.bench.plain import Rows
from npdata.cli.bench.subject import Subject
from npdata.cli.bench.timing import Pass, time_pass
from npdata.cli.bench.way import ORDERS, Kind, OrderName, Way
from npdata.loading.readahead import take_batches
from npdata.sampling.sampler import BlockBatchSampler

_CEILING_ROWS = 1 << 22
_BATCHES, _GROWTH = 4, 4
_GREETING = np.zeros(1, np.int64)


class Greeting(BlockBatchSampler):
    """An order with a batch of one row before its first epoch.

    What begins a pass (opening, processes, threads) is over when that row arrives, and is not
    taken for the reading of a first batch, which may well decode what the next ones need too.
    """

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch."""
        if not self._greeted:
            self._greeted = True
            yield _GREETING
        yield from super().__iter__()

    _greeted = False


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is compared on which rows: the first `rows` of `subject`."""

    subject: Subject
    facts: Facts
    ceiling: Ceiling
    ways: tuple[Way, ...]
    rows: int

    def sampler(
        self, order: OrderName, kind: type[BlockBatchSampler] = BlockBatchSampler
    ) -> BlockBatchSampler:
        """Give a fresh sampler of an order, at its first epoch."""
        return kind(
            self.rows,
            self.facts.batch_size,
            shuffle=ORDERS[order],
            block_rows=self.facts.block_rows,
        )

    def contender(self, way: Way, order: OrderName) -> Contender:
        """Give a contender that reads this order without an end, after one row as a greeting."""
        if way.kind == "ceiling":
            return self.bare(way, take_batches(iter(self.sampler(order)), _CEILING_ROWS))
        greeting = functools.partial(self.sampler, order, Greeting)
        return contender_of(way, self.subject, greeting, endless=True)

    def tried(self, way: Way, batches: list[Rows]) -> Contender:
        """Give a contender that reads these batches once; the ceiling again and again."""
        if way.kind == "ceiling":
            return self.bare(way, batches)
        return contender_of(way, self.subject, lambda: batches, endless=False)

    def bare(self, way: Way, batches: list[Rows]) -> Contender:
        """Give the ceiling as a contender, over these batches again and again."""
        return ceiling_contender(
            self.ceiling,
            self.subject,
            batches,
            rows=self.rows,
            threads=self.facts.machine.cores,
            name=way.name,
        )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A way in an order: what is timed, and what the trial told.

    `cost` is what a whole batch takes, in seconds; `trial` is None for what has helpers.
    """

    order: OrderName
    way: Way
    contender: Contender
    trial: Pass | None
    cost: float

    @property
    def key(self) -> tuple[OrderName, str]:
        """What tells it from the others."""
        return self.order, self.way.name


def try_order(setup: Setup, order: OrderName, *, seconds: float) -> list[Entry]:
    """Let every way read the same rows, about as many as the plain one reads in `seconds`.

    A greeting of one row comes first, and what it takes is no part of a batch's cost.

    Raises `RowsDifferError` where one gives other rows than the first way, the plain one.
    """
    batches = _rows_of_trial(setup, order, seconds)
    whole = take_batches(iter(setup.sampler(order)), 1)
    tried = [setup.tried(way, [_GREETING, *batches]) for way in setup.ways]
    delivering = [
        contender
        for way, contender in zip(setup.ways, tried, strict=True)
        if way.kind != "ceiling" or setup.ceiling.checked
    ]
    require_same(delivering, batches=1 + len(batches))
    costs: dict[Kind, float] = {}
    entries = []
    for way, contender in zip(setup.ways, tried, strict=True):
        trial = None
        if way.kind == "ceiling":
            trial = time_pass(contender, seconds=seconds)
            costs[way.kind] = len(whole[0]) / trial.steady_rate
        elif not way.helpers:
            trial = time_pass(contender)
            scale = _weight(whole, way, setup.facts) / _weight(batches, way, setup.facts)
            costs[way.kind] = (trial.seconds - trial.first) * scale
        entries.append(
            Entry(
                order=order,
                way=way,
                contender=setup.contender(way, order),
                trial=trial,
                cost=costs[way.kind],
            )
        )
    return entries


def _rows_of_trial(setup: Setup, order: OrderName, seconds: float) -> list[Rows]:
    """Give the first batches of an order, or as many rows of the first as take `seconds`."""
    sampler = setup.sampler(order)
    batches: list[Rows] = [rows for rows, _ in zip(sampler, range(_BATCHES), strict=False)]
    first, count = batches[0], 1
    while True:
        tried = time_pass(setup.tried(setup.ways[0], [_GREETING, first[:count]]))
        spent = tried.seconds - tried.first
        if count == len(first):
            return batches if spent * len(batches) < seconds else batches[:1]
        if spent * _GROWTH > seconds:
            return [first[:count]]
        count = min(len(first), count * _GROWTH)


def _weight(batches: list[Rows], way: Way, facts: Facts) -> int:
    """Tell what batches cost a way, as a number to compare.

    Who reads a batch at once reads each block that it touches once; who goes row by row may have
    to decode one for every row.
    """
    if way.kind != "plain" and facts.slowest_access in ("decoded", "library"):
        return sum(len(np.unique(rows // facts.block_rows)) for rows in batches)
    return sum(map(len, batches))
