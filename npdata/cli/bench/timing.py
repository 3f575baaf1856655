"""How long contenders take for the same rows.

Idea: machines drift, so every round times each contender once, one after the other, and the
figure is the median of its passes; how far the passes lie apart is told with it. Invariant: what
begins a pass is timed apart from the batches that follow, so that the start of worker processes
does not pass for a slow reader; nothing is timed before it was warmed up and shown to deliver the
same rows.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from npdata.cli.bench.contender import Contender, leaves, require_same


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One timed pass: `samples` rows in `seconds`, of which `first` until the first batch.

    `first_samples` are the rows of that first batch.
    """

    samples: int
    seconds: float
    first: float
    first_samples: int

    @property
    def rate(self) -> float:
        """Samples per second of the whole pass."""
        return self.samples / self.seconds if self.seconds else 0.0

    @property
    def steady_rate(self) -> float:
        """Samples per second after the first batch; of the whole pass where there is no second."""
        rest = self.samples - self.first_samples
        return rest / (self.seconds - self.first) if rest else self.rate


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The passes of one contender.

    Examples:
        >>> passes = tuple(Pass(samples=30, seconds=s, first=1.0, first_samples=10)
        ...                for s in (2.0, 3.0, 5.0))
        >>> timing = Timing(name="ours", passes=passes)
        >>> timing.median, timing.rate, timing.steady_rate, timing.spread, timing.first
        (3.0, 10.0, 10.0, 0.45, 1.0)
    """

    name: str
    passes: tuple[Pass, ...]

    @property
    def median(self) -> float:
        """Seconds of the median pass."""
        return statistics.median(one.seconds for one in self.passes)

    @property
    def rate(self) -> float:
        """Samples per second of whole passes, the median."""
        return statistics.median(one.rate for one in self.passes)

    @property
    def steady_rate(self) -> float:
        """Samples per second after the first batch, the median."""
        return statistics.median(one.steady_rate for one in self.passes)

    @property
    def spread(self) -> float:
        """Half the range of the rates, as a part of their median."""
        rates = [one.rate for one in self.passes]
        return (max(rates) - min(rates)) / 2 / self.rate if self.rate else 0.0

    @property
    def first(self) -> float:
        """Seconds until the first batch, the median."""
        return statistics.median(one.first for one in self.passes)


def time_pass(contender: Contender, *, seconds: float | None = None) -> Pass:
    """Time one pass, to the end of the batches, or until `seconds` after the first of them."""
    samples = first_samples = 0
    first = 0.0
    begun = now = time.perf_counter()
    for batch in contender.batches():
        if contender.lazy:
            for leaf in leaves(batch):
                leaf.clone()
        samples += len(next(leaves(batch)))
        now = time.perf_counter()
        if not first:
            first, first_samples = now - begun, samples
        elif seconds is not None and now - begun - first >= seconds:
            break
    else:
        now = time.perf_counter()
    return Pass(samples=samples, seconds=now - begun, first=first, first_samples=first_samples)


def in_turns(
    contenders: Sequence[Contender], *, rounds: int, seconds: float | None = None
) -> Iterator[tuple[str, Pass]]:
    """Time `rounds` passes of each, one after the other, and give each as it is done."""
    for _ in range(rounds):
        for contender in contenders:
            yield contender.name, time_pass(contender, seconds=seconds)


def compare(contenders: Sequence[Contender], *, rounds: int = 5) -> dict[str, Timing]:
    """Check that all contenders deliver the same batches, then time `rounds` passes of each.

    Raises `RowsDifferError` (a RuntimeError) where they do not.
    """
    require_same(contenders)
    return collected(contenders, in_turns(contenders, rounds=rounds))


def collected(
    contenders: Sequence[Contender], passes: Iterator[tuple[str, Pass]]
) -> dict[str, Timing]:
    """Put the passes of `in_turns` together, by name, in the order of the contenders."""
    found: dict[str, list[Pass]] = {contender.name: [] for contender in contenders}
    for name, one in passes:
        found[name].append(one)
    return {name: Timing(name=name, passes=tuple(each)) for name, each in found.items()}
