"""What the arguments of a sampler come to: the batches of any epoch, from any position on.

Idea: one frozen value makes the batches of a run, many at a time, and counts them without making
any. Invariant: which batches a run has follows from this value and the start and ranks of the run
alone. It does not know which epoch comes: that is `cursor`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import torch.distributed as dist
from torch.utils.data import get_worker_info

from npdata.arrays.dtypes import Ints
from npdata.errors import SamplerError
from npdata.sampling.order.by_size import BySize
from npdata.sampling.order.epoch_order import Order
from npdata.sampling.order.ranks import Ranks, Step, Uneven
from npdata.sampling.order.recipe import Recipe
from npdata.sampling.row_numbers import MaskedRows, SeededRows, listed

Batches: TypeAlias = Sequence[Any] | Ints
"""Batches of one size that were numbered together; plain row numbers are one array of two axes."""

SHARE_OF_A_WORKER = (
    "rank=rank * info.num_workers + info.id, world_size=ranks * info.num_workers, "
    "uneven='ragged', with info = torch.utils.data.get_worker_info() and the rank and the number "
    "of ranks of the training (0 and 1 without torch.distributed)"
)
"""What gives each worker of each rank rows of its own."""
_FIRST_CHUNK, _CHUNK = 1 << 12, 1 << 17
"""Row numbers made at a time: first few, for an early batch."""
_SPAN = 1 << 21
"""Positions of all ranks that are gone through at a time, for the memory of small windows."""


@dataclass(frozen=True)
class Start:
    """Where an iteration begins."""

    epoch: int
    position: int


@dataclass(kw_only=True)
class Run:
    """An iteration, from the moment that it is asked for a batch.

    `counted` are the ranks that a state counts by: not `ranks` where a trainer divides the batches.
    `filled`: the last batches are filled up to a whole step of those ranks. `again`: so many
    batches of the epoch's start come first, which the trainer skips. `ahead`: batches are taken
    before the loop gets them.
    """

    start: Start
    ranks: Ranks
    counted: Ranks
    lists: bool = False
    filled: bool = False
    again: int = 0
    ahead: bool = False
    given: int = 0
    ended: bool = False
    consumed: list[int] = field(default_factory=list)
    """By size, the samples consumed before the first batch, and after each one given."""

    @property
    def remainder(self) -> int:
        """The samples, of all ranks, that count in a last step which is not whole; else 0."""
        return self.counted.remainder(self.start.position)

    def position(self, count: int) -> int:
        """Give the position after `count` steps of those given."""
        if self.consumed:
            return self.consumed[count]
        return self.start.position + count * self.counted.step_size

    @property
    def steps(self) -> int:
        """The steps of all ranks that the batches given make; `drop` gives no part of a step."""
        batches = self.counted.step_size // self.ranks.step_size
        whole, more = divmod(max(0, self.given - self.again), batches)
        return whole + (more > 0 and self.counted.uneven != "drop")


@dataclass(frozen=True, kw_only=True, eq=False)
class Epochs:
    """The batches of every epoch of `recipe`, which is all of its order if nothing ends it before.

    Batches have `batch_size` samples, or are those of `sized`. `rank` is one of `world_size` (None:
    of torch.distributed). `masked`: batches mark their padding; `seeded`: they bring what random
    numbers are made of. An epoch ends after `num_samples`, or `steps_per_epoch` steps of all ranks;
    the order does not depend on that, so a state fits any length. Raises `SamplerError` for one
    that is longer than an order without weights.
    """

    recipe: Recipe
    batch_size: int | None
    sized: BySize | None
    rank: int | None
    world_size: int | None
    uneven: Uneven
    masked: bool
    seeded: bool
    num_samples: int | None
    steps_per_epoch: int | None

    def __post_init__(self) -> None:
        """Refuse an epoch that is too long on one rank."""
        self.samples(1)

    @property
    def drop_last(self) -> bool:
        """Whether what makes no whole step is left out."""
        return self.uneven == "drop"

    @property
    def identity(self) -> dict[str, int]:
        """The integers that must agree for a position to mean the same samples."""
        sized = {} if self.sized is None else self.sized.identity
        return {**self.recipe.identity, **sized}

    def samples(self, world_size: int) -> int:
        """Give the samples of an epoch, over all ranks."""
        rows = wanted = self.recipe.samples
        what = ""
        if self.num_samples is not None:
            wanted, what = self.num_samples, f"num_samples={self.num_samples}"
        elif self.steps_per_epoch is not None:
            size = self.batch_size or 1
            wanted = self.steps_per_epoch * size * world_size
            ranks = f" on {world_size} ranks" if world_size > 1 else ""
            what = f"steps_per_epoch={self.steps_per_epoch} of {size} samples{ranks}"
        if wanted > rows and self.recipe.totals is None:
            raise SamplerError(
                f"{what} asks for {wanted} samples of {rows} rows: give weights= to draw rows "
                "again and again (numpy.ones(len(data)) for all alike), or ask for fewer"
            )
        return wanted

    def ranks(self) -> Ranks:
        """Give the share of this process; raises `SamplerError` in a worker that was given none.

        torch.distributed is asked as an epoch begins: it starts after samplers are made.
        """
        if self.rank is not None and self.world_size is not None:
            return self.ranks_of(self.rank, self.world_size, self.uneven)
        worker = get_worker_info()
        if worker is not None:
            raise SamplerError(
                f"worker {worker.id} of {worker.num_workers} of a DataLoader iterates a "
                "BlockBatchSampler, or a Loader, and every worker would read all rows: give the "
                f"sampler {SHARE_OF_A_WORKER}, or iterate in the main process"
            )
        present = dist.is_available() and dist.is_initialized()
        here = (dist.get_rank(), dist.get_world_size()) if present else (0, 1)
        return self.ranks_of(*here, self.uneven)

    def ranks_of(self, rank: int, world_size: int, uneven: Uneven) -> Ranks:
        """Give the share of one of `world_size` ranks."""
        return Ranks(
            n=self.samples(world_size),
            batch_size=self.batch_size or 1,
            rank=rank,
            world_size=world_size,
            uneven=uneven,
            lanes=self.recipe.lanes,
        )

    def steps(self, start: Start, ranks: Ranks) -> int:
        """Give the number of batches of a rank from `start` on."""
        if self.sized is None:
            return ranks.steps(start.position)
        return self.sized.steps(start.epoch, start.position, ranks)

    def samples_of(self, start: Start, ranks: Ranks) -> int:
        """Give the number of samples of a rank from `start` on, padding included."""
        if self.sized is None:
            return ranks.samples(start.position)
        steps = self.sized.own(start.epoch, start.position, ranks)
        return sum(len(step.positions) + len(step.fill) for step, _ in steps)

    def or_next(self, start: Start, ranks: Ranks) -> Start:
        """Give the start of the next epoch where nothing is left of this one on any rank."""
        # Rank 0 has a batch wherever any rank has one.
        ended = start.position > 0 and self.ends(start, replace(ranks, rank=0))
        return Start(start.epoch + 1, 0) if ended else start

    def ends(self, start: Start, ranks: Ranks) -> bool:
        """Tell whether this rank has no batch from `start` on."""
        if self.sized is None:
            return ranks.steps(start.position) == 0
        return next(self.sized.own(start.epoch, start.position, ranks), None) is None

    def batches(self, run: Run) -> Iterator[Batches]:
        """Give the batches of a run, as many at a time as were numbered together."""
        return self._in_steps(run) if self.sized is None else self._by_size(run, self.sized)

    def _in_steps(self, run: Run) -> Iterator[Batches]:
        order = self.recipe.order(run.start.epoch)
        position, ranks = run.start.position, run.ranks
        if run.again:
            again = Step(np.arange(run.counted.step_size), np.arange(0))
            yield self._cut(order, again, ranks.batch_size, run)
        steps, size = ranks.whole_steps(position), _FIRST_CHUNK
        while steps:
            count = max(1, min(steps, size // ranks.batch_size, _SPAN // ranks.step_size))
            size = min(4 * size, _CHUNK)
            chunk = ranks.positions(position, count)
            chunk_rows = order(chunk.reshape(-1)).reshape(chunk.shape)
            if self.masked or self.seeded or run.lists:
                pairs = zip(chunk_rows, chunk, strict=True)
                yield [self._batch(rows, positions, 0, run) for rows, positions in pairs]
            else:
                yield chunk_rows
            position += count * ranks.step_size
            steps -= count
        last = ranks.last_step(position) if ranks.steps(position) else None
        if run.filled:
            last = ranks.filled(position, run.start.position, run.counted.step_size)
        if last is not None and len(last.positions) + len(last.fill):
            yield self._cut(order, last, ranks.batch_size, run)
        run.ended = True

    def _cut(self, order: Order, step: Step, size: int, run: Run) -> Batches:
        """Give the batches, of `size`, of the positions of a step."""
        positions = np.append(step.positions, step.fill)
        ascending = np.argsort(positions)
        rows = np.empty_like(positions)
        rows[ascending] = order(positions[ascending])
        cuts = (slice(k, k + size) for k in range(0, len(rows), size))
        return [self._batch(rows[cut], positions[cut], len(step.fill), run) for cut in cuts]

    def _by_size(self, run: Run, sized: BySize) -> Iterator[Batches]:
        start, ranks = run.start, run.ranks
        order = self.recipe.order(start.epoch)
        run.consumed = [start.position]
        for step, consumed in sized.own(start.epoch, start.position, ranks):
            (batch,) = self._cut(order, step, len(step.positions) + len(step.fill), run)
            run.consumed.append(consumed)
            yield (batch,)
        run.ended = True

    def _batch(
        self, rows: Ints, positions: Ints, padding: int, run: Run
    ) -> Ints | MaskedRows | SeededRows | list[int]:
        seed, epoch = self.recipe.seed, run.start.epoch
        if run.lists:
            return listed(rows, positions, seed, epoch) if self.seeded else rows.tolist()
        batch = MaskedRows(rows=rows, filler=padding) if self.masked else rows
        if not self.seeded:
            return batch
        return SeededRows(rows=batch, seed=seed, epoch=epoch, positions=positions)
