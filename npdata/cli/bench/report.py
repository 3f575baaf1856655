"""What was measured: a figure for every way in every order, and how it came about.

Idea: frozen values between the measuring and everything that is made of it: the table, the
picture, JSON, the advice. Invariant: a rate counts the samples after the first row of a pass, the
median over passes; the time to that row stands beside it.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from npdata.cli.bench.facts import Facts
from npdata.cli.bench.way import LeftOut, OrderName, Way


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One way in one order: `rates` in samples a second, one for each pass.

    `first` is the time to the first row in seconds: opening files, starting processes. With
    `trial`, a batch takes too long to be timed, and the one rate is a guess from the few rows of
    the trial.
    """

    order: OrderName
    way: Way
    rates: tuple[float, ...]
    first: float
    trial: bool = False

    @property
    def rate(self) -> float:
        """Samples a second, the median."""
        return statistics.median(self.rates)

    @property
    def spread(self) -> float:
        """Half the range of the rates, as a part of the median."""
        return (max(self.rates) - min(self.rates)) / 2 / self.rate if self.rate else 0.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """All figures of one run; `rows` were read of those that there are.

    `auto_threads` is what `Loader` takes where no number is given, `rounds` and `pass_seconds`
    how the contenders took turns.
    """

    facts: Facts
    rows: int
    auto_threads: int
    rounds: int
    pass_seconds: float
    seconds: float
    figures: tuple[Figure, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def orders(self) -> tuple[OrderName, ...]:
        """The orders that were measured."""
        return tuple(dict.fromkeys(figure.order for figure in self.figures))

    def of(self, order: OrderName) -> tuple[Figure, ...]:
        """Give the figures of an order."""
        return tuple(figure for figure in self.figures if figure.order == order)

    def ceiling(self, order: OrderName) -> Figure:
        """Give the bare operation of an order."""
        return next(figure for figure in self.of(order) if figure.way.kind == "ceiling")

    def best(self, order: OrderName) -> Figure:
        """Give the fastest way of npdata in an order."""
        return fastest([figure for figure in self.of(order) if figure.way.ours])

    def plain(self, order: OrderName) -> Figure:
        """Give the fastest way without npdata in an order."""
        others = [f for f in self.of(order) if not f.way.ours and f.way.kind != "ceiling"]
        return fastest(others)


def fastest(figures: Sequence[Figure]) -> Figure:
    """Give the figure with the highest rate."""
    return max(figures, key=lambda figure: figure.rate)
