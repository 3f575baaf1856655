"""How many samples an epoch has: all rows, so many samples, or so many steps of all ranks.

Idea: the order of an epoch does not depend on where the epoch ends, so a length is no part of the
recipe, and a state fits any. Invariant: without weights no epoch is longer than its order.
"""

from dataclasses import dataclass
from typing import Self

from npdata.errors import SamplerError
from npdata.sampling.order.checks import whole_number
from npdata.sampling.order.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class EpochLength:
    """The length of an epoch of `recipe`: all of its order, unless `count` or `steps` are given.

    Examples:
        >>> recipe = Recipe.of(9, shuffle="full", seed=0)
        >>> EpochLength(recipe=recipe, batch_size=2, steps=2).samples(world_size=2)
        8
    """

    recipe: Recipe
    batch_size: int
    count: int | None = None
    steps: int | None = None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        batch_size: int,
        *,
        num_samples: int | None,
        steps_per_epoch: int | None,
    ) -> Self:
        """Check the arguments of a sampler; each fault is a SamplerError."""
        if num_samples is not None and steps_per_epoch is not None:
            raise SamplerError("num_samples= and steps_per_epoch= both end the epoch: give one")
        count = steps = None
        if num_samples is not None:
            count = whole_number("num_samples", num_samples, least=1)
        if steps_per_epoch is not None:
            steps = whole_number("steps_per_epoch", steps_per_epoch, least=1)
        length = cls(recipe=recipe, batch_size=batch_size, count=count, steps=steps)
        length.samples(1)
        return length

    @property
    def whole(self) -> bool:
        """Whether an epoch is all of the order."""
        return self.count is None and self.steps is None

    def samples(self, world_size: int) -> int:
        """Give the samples of an epoch, over all ranks."""
        rows = wanted = self.recipe.samples
        what = ""
        if self.count is not None:
            wanted, what = self.count, f"num_samples={self.count}"
        elif self.steps is not None:
            wanted = self.steps * self.batch_size * world_size
            ranks = f" on {world_size} ranks" if world_size > 1 else ""
            what = f"steps_per_epoch={self.steps} of {self.batch_size} samples{ranks}"
        if wanted > rows and self.recipe.totals is None:
            raise SamplerError(
                f"{what} asks for {wanted} samples of {rows} rows: give weights= to draw rows "
                "again and again (numpy.ones(len(data)) for all alike), or ask for fewer"
            )
        return wanted
