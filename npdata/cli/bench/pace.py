"""How the time is divided: passes of what is fast, one look at what is too slow for that.

Idea: every contender has the same share of the time, in up to five rounds; whoever needs much more
than its share for a single batch is told by what it took in the trial, a few rows. Invariant: the
passes together take about the time that there is, whatever the data. Pure: no clock.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

ROUNDS = 5
_PASS_SECONDS = 0.25
"""A pass of at least so long, rather than more rounds."""
_PATIENCE = 3
"""A batch may take so many times the share, since its cost is the guess of a few rows."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """`rounds` passes of `seconds` each for all but those `too_slow`."""

    rounds: int
    seconds: float
    too_slow: frozenset[Hashable]

    @property
    def share(self) -> float:
        """The seconds of one contender in all rounds."""
        return self.rounds * self.seconds


def pace_of(costs: Mapping[Key, float], *, seconds: float) -> Pace:
    """Divide `seconds` among contenders that need `costs` seconds for one batch.

    Examples:
        >>> pace = pace_of({"fast": 0.001, "slow": 100.0}, seconds=6.0)
        >>> pace.rounds, pace.seconds, sorted(pace.too_slow)
        (5, 1.2, ['slow'])
    """
    share = seconds / max(1, len(costs))
    too_slow = frozenset(key for key, cost in costs.items() if cost > _PATIENCE * share)
    share = seconds / max(1, len(costs) - len(too_slow))
    rounds = max(1, min(ROUNDS, int(share / _PASS_SECONDS)))
    return Pace(rounds=rounds, seconds=share / rounds, too_slow=too_slow)
