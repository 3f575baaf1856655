"""How long candidates take for the same rows, in turns.

Idea: machines drift, so every round times each candidate once, one after the other, and a figure
is the median of its passes; how far the passes lie apart stands beside it. Invariant: `compare`
times nothing before it was shown to deliver the same rows.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from npdata.cli.bench.candidate import Candidate, Pass, require_same, time_pass


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The passes of one candidate.

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


def compare(candidates: Sequence[Candidate], *, rounds: int = 5) -> dict[str, Timing]:
    """Check that all candidates deliver the same batches, then time `rounds` passes of each.

    Raises `RowsDifferError` (a RuntimeError) where they do not.
    """
    require_same(candidates)
    return in_turns(candidates, rounds=rounds)


def in_turns(
    candidates: Sequence[Candidate], *, rounds: int, seconds: float = math.inf
) -> dict[str, Timing]:
    """Time `rounds` passes of each, one after the other; give them by name."""
    found: dict[str, list[Pass]] = {candidate.name: [] for candidate in candidates}
    for _ in range(rounds):
        for candidate in candidates:
            found[candidate.name].append(time_pass(candidate, seconds=seconds))
    return {name: Timing(name=name, passes=tuple(passes)) for name, passes in found.items()}
