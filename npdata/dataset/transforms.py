"""The two functions of a dataset, and whether they draw random numbers.

Idea: a function with a parameter named `rng` gets a NumPy generator there; that is seen from its
signature once, when the dataset is made. Invariant: what a function draws depends on the seed, the
epoch and the position of the sample or batch alone, so rows that come without them are refused
and nothing falls back to a global generator. It calls no function itself.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from npdata.errors import RandomnessError
from npdata.sampling.rows import SeededRows

Transform = Callable[..., Any]
SampleRng = Callable[[int], np.random.Generator]


class Bound(NamedTuple):
    """The functions for one batch; `sample_rng` gives the generator of each of its samples."""

    sample: Transform | None
    batch: Transform | None
    sample_rng: SampleRng | None = None


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """`sample` for each sample, `batch` for each stacked batch; None where there is none.

    Examples:
        >>> Transforms.of(lambda sample, rng: sample, None).seeded
        True
    """

    sample: Transform | None
    batch: Transform | None
    sample_draws: bool
    batch_draws: bool

    @classmethod
    def of(cls, sample: Transform | None, batch: Transform | None) -> Self:
        """Look at the signatures of both."""
        draws = _takes_rng(sample), _takes_rng(batch)
        return cls(sample=sample, batch=batch, sample_draws=draws[0], batch_draws=draws[1])

    @property
    def any(self) -> bool:
        """Tell whether there is a function at all."""
        return self.sample is not None or self.batch is not None

    @property
    def seeded(self) -> bool:
        """Tell whether any of them needs `SeededRows`."""
        return self.sample_draws or self.batch_draws

    def for_one(self, row: int) -> Transform | None:
        """Give the function for a sample alone; raises `RandomnessError` where it takes `rng`."""
        if self.sample_draws:
            raise _unseeded(row)
        return self.sample

    def bound(self, indices: object) -> Bound:
        """Give the functions for a batch of `indices`, with its generators.

        `sample_rng` is None where `sample` takes no `rng`. Raises `RandomnessError` (a ValueError)
        where a function takes `rng` and `indices` are no `SeededRows`.
        """
        if not self.seeded:
            return Bound(self.sample, self.batch)
        if not isinstance(indices, SeededRows):
            raise _unseeded(indices)
        batch = self.batch
        if batch is not None and self.batch_draws:
            batch = functools.partial(_with_rng, batch, indices)
        return Bound(self.sample, batch, indices.sample_rng if self.sample_draws else None)


def _takes_rng(function: Transform | None) -> bool:
    if function is None:
        return False
    try:
        return "rng" in inspect.signature(function).parameters
    except (ValueError, TypeError):
        return False


def _unseeded(indices: object) -> RandomnessError:
    return RandomnessError(
        f"a transform takes rng, which is made of seed, epoch and position, and the rows came "
        f"without them, as {type(indices).__name__}: iterate with npdata.Loader, or with "
        f"BlockBatchSampler(dataset, ...) over the dataset itself (indices= selects a subset), or "
        f"call ds.__getitems__ with npdata.SeededRows"
    )


def _with_rng(function: Transform, rows: SeededRows, batch: Any) -> Any:
    return function(batch, rng=rows.batch_rng())
