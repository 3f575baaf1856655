"""Which of two figures is the faster one, if that can be told.

Idea: a figure is known to its spread, and one of a single pass hardly at all. Invariant: a
difference within what the passes differ by is none. Pure, and it knows nothing of what is compared.
"""

import math
from dataclasses import dataclass

from npdata.cli.bench.report import Figure

ONE_PASS = 0.5
"""The spread of a single pass is not known; half of it was seen on busy machines."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`factor` is the first rate over the second, `doubt` the part by which that may be wrong."""

    factor: float
    doubt: float

    @property
    def same(self) -> bool:
        """Whether no difference can be told."""
        return max(self.factor, 1 / self.factor if self.factor else math.inf) - 1 <= self.doubt

    @property
    def gap_text(self) -> str:
        """Say how far apart they are.

        Examples:
            >>> Comparison(factor=1.043, doubt=0.1).gap_text
            'within 5%'
        """
        apart = max(self.factor, 1 / self.factor) - 1
        return f"within {max(1, math.ceil(round(apart * 100, 6)))}%"


def compare(one: Figure, other: Figure) -> Comparison:
    """Compare two figures; each adds half the range of its passes to the doubt."""
    factor = one.rate / other.rate if other.rate else 1.0
    return Comparison(factor=factor, doubt=_doubt(one) + _doubt(other))


def _doubt(figure: Figure) -> float:
    return figure.spread if len(figure.rates) > 1 else ONE_PASS
