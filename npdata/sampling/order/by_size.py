"""Batches of as many samples as fit into a number of rows, for samples of different lengths.

Idea: the order of an epoch is cut into pools of a fixed number of positions. Inside a pool, samples
are sorted by length, cut into batches as full as can be, and the batches permuted; so a batch holds
samples of similar length, and pools mix as the order does. Invariant: the sequence of batches is a
function of the order, the seed and the epoch alone, and holds every position once; ranks take turns
in it, so a count of samples is a place in it for any number of ranks. It plans one pool at a time.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

import numpy as np

from npdata.arrays.dtypes import Ints
from npdata.errors import SamplerError, StateError
from npdata.runtime.made_once import made_once
from npdata.sampling.order.checks import whole_number
from npdata.sampling.order.epoch_order import BATCH_PURPOSE, Order
from npdata.sampling.order.permutation import Permutations
from npdata.sampling.order.ranks import Ranks, Step
from npdata.sampling.order.recipe import Recipe
from npdata.sampling.order.wrapped import chosen_rows

POOL_BATCHES = 64
"""A pool holds about so many batches: their padding is 2 % for lengths that differ tenfold."""
LARGEST_POOL = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class BySize:
    """Batches of at most `max_rows` rows out of samples of `lengths` rows.

    `padded` counts a batch as its number of samples times the longest. `recipe` gives the orders.
    """

    recipe: Recipe
    lengths: Ints
    max_rows: int
    padded: bool
    counted: dict[int, int] = field(default_factory=dict)
    """Batches of the epochs that were counted."""

    @classmethod
    def of(cls, data: Any, recipe: Recipe, *, max_rows: int, padded: bool) -> Self:
        """Check the arguments of a sampler; each fault is a SamplerError."""
        if recipe.lanes > 1:
            raise SamplerError(
                f"lanes={recipe.lanes} with max_rows=, whose batches the ranks take in turn: leave "
                f"lanes= out"
            )
        subset = recipe.subset
        max_rows = whole_number("max_rows", max_rows, least=1)
        inner, chosen = chosen_rows(data) or (data, None)
        lengths = getattr(inner, "lengths", None)
        if lengths is None:
            raise SamplerError(
                f"max_rows={max_rows} of {type(data).__name__}, which has no lengths: expected a "
                "NumpyDataset with a field of samples of different lengths, or a Subset of one; "
                "give batch_size for others"
            )
        sizes = np.maximum(1, np.asarray(lengths, np.int64))
        sizes = sizes if chosen is None else sizes[chosen]
        used = sizes if subset is None else sizes[subset]
        if used.max(initial=0) > max_rows:
            first = int((used > max_rows).argmax())
            row = first if subset is None else subset[first]
            raise SamplerError(
                f"sample {row} has {sizes[row]} rows, more than max_rows={max_rows}: give at least "
                f"{used.max()}, or leave out long samples by indices="
            )
        return cls(recipe=recipe, lengths=sizes, max_rows=max_rows, padded=padded)

    @made_once
    def pool(self) -> int:
        """The positions of a pool."""
        mean = int(self.lengths.mean()) if len(self.lengths) else 1
        return min(LARGEST_POOL, max(POOL_BATCHES, POOL_BATCHES * self.max_rows // mean))

    @made_once
    def identity(self) -> dict[str, int]:
        """The integers that must agree for a position to mean the same samples."""
        return {
            "max_rows": self.max_rows,
            "padded": int(self.padded),
            "lengths_checksum": zlib.crc32(np.ascontiguousarray(self.lengths).data),
        }

    def steps(self, epoch: int, position: int, ranks: Ranks) -> int:
        """Give the number of steps of a rank from `position` on; of a whole epoch it is kept."""
        if position:
            return sum(1 for _ in self.own(epoch, position, ranks))
        whole, more = divmod(self._count(epoch), ranks.world_size)
        uneven = ranks.uneven
        return whole + (more > (ranks.rank if uneven == "ragged" else 0) and uneven != "drop")

    def own(self, epoch: int, position: int, ranks: Ranks) -> Iterator[tuple[Step, int]]:
        """Give the batches of a rank from `position` on, where a batch begins.

        With each comes the number of samples of all ranks up to its end.
        """
        rank, world, uneven = ranks.rank, ranks.world_size, ranks.uneven
        stream, consumed = self._sequence(epoch, position), position
        nothing = np.zeros(0, np.int64)
        while turn := list(islice(stream, world)):
            if len(turn) < world and uneven == "drop":
                return
            consumed += sum(map(len, turn))
            if rank < len(turn):
                yield Step(turn[rank], nothing), consumed
            elif uneven == "pad":
                first = list(islice(self._sequence(epoch, 0), world))
                yield Step(nothing, first[(rank - len(turn)) % len(first)]), consumed
            elif uneven == "mask":
                yield Step(nothing, turn[-1]), consumed

    def _sequence(self, epoch: int, position: int) -> Iterator[Ints]:
        """Give the positions of each batch of an epoch, from `position` on."""
        order = self.recipe.order(epoch)
        for number in range(position // self.pool, -(-self.recipe.samples // self.pool)):
            batches = self._pool(order, epoch, number)
            skip, first = 0, number * self.pool
            while first < position and skip < len(batches):
                first += len(batches[skip])
                skip += 1
            if skip and first != position:
                raise StateError(
                    f"position={position} is inside a batch: expected the end of one, as "
                    "state_dict() gives it"
                )
            yield from batches[skip:]

    def _pool(self, order: Order, epoch: int, number: int) -> list[Ints]:
        first = number * self.pool
        positions = np.arange(first, min(first + self.pool, self.recipe.samples))
        sizes = self.lengths[order(positions)]
        if self.recipe.shuffle is False:
            return batches_of(positions, sizes, self.max_rows, self.padded)
        by_size = np.argsort(sizes, kind="stable")
        batches = batches_of(positions[by_size], sizes[by_size], self.max_rows, self.padded)
        count, family = len(batches), Permutations.of(self.recipe.seed, epoch, BATCH_PURPOSE)
        turns = family.one(np.arange(count), count, member=number)
        return [batches[turn] for turn in turns.tolist()]

    def _count(self, epoch: int) -> int:
        """Count the batches of an epoch, which takes planning them all, once."""
        if epoch not in self.counted:
            self.counted[epoch] = sum(1 for _ in self._sequence(epoch, 0))
        return self.counted[epoch]


def batches_of(positions: Ints, sizes: Ints, max_rows: int, padded: bool) -> list[Ints]:
    """Cut positions into batches of at most `max_rows` rows, each as full as can be.

    Examples:
        >>> sizes = np.array([1, 2, 2, 5])
        >>> [batch.tolist() for batch in batches_of(np.arange(4), sizes, 6, True)]
        [[0, 1, 2], [3]]
        >>> [batch.tolist() for batch in batches_of(np.arange(4), sizes, 10, False)]
        [[0, 1, 2, 3]]
    """
    batches: list[Ints] = []
    first = 0
    while first < len(positions):
        if padded:
            near = sizes[first : first + max_rows // int(sizes[first])]
            rows = np.maximum.accumulate(near) * np.arange(1, len(near) + 1)
        else:
            near = sizes[first : first + max_rows]
            rows = np.cumsum(near)
        count = int(np.searchsorted(rows, max_rows, side="right"))
        batches.append(positions[first : first + count])
        first += count
    return batches
