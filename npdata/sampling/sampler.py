"""Batches of row numbers for any DataLoader: shuffled by blocks, split over ranks, resumable.

Idea: the order is a function of seed, epoch and position (`order`), a rank's share of it arithmetic
(`order.ranks`), so a sampler's own state is an epoch and a position. Invariant: a state says how
many samples all ranks together have consumed, so it fits any batch size, number of ranks and
workers. The sampler reads no data; it learns its rank from torch.distributed as an epoch begins.
"""

import warnings
from collections.abc import Iterator, Mapping, Sized
from dataclasses import replace
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import ArrayLike
from torch.utils.data import BatchSampler, Sampler, get_worker_info

from npdata.errors import SamplerError, StateError, StateWarning, explained
from npdata.sampling.iteration import Batches, Place, Run, RunBatches, Start
from npdata.sampling.order.by_size import BySize
from npdata.sampling.order.checks import whole_number
from npdata.sampling.order.epoch_length import EpochLength
from npdata.sampling.order.epoch_order import Ints, Order, Shuffle
from npdata.sampling.order.ranks import UNEVEN, Ranks, Step, Uneven
from npdata.sampling.order.recipe import Recipe, shuffle_name
from npdata.sampling.row_numbers import MaskedRows, SeededRows, listed
from npdata.sampling.torch_arguments import WORDS
from npdata.sampling.trainers import (
    Asking,
    FoundByLightning,
    RowSampler,
    is_for_predicting,
    refuse_overfitting_other_rows,
    require_divisible,
    skip_what_comes_again,
    state_within,
    warn_of_repeated_predictions,
    who_asks,
)

_FIRST_CHUNK, _CHUNK = 1 << 12, 1 << 16
"""Row numbers made at a time: first few, for an early batch; 2**17 leave the cache: 11 ms for 8."""
_SPAN = 1 << 21
"""Positions of all ranks that are gone through at a time, for the memory of small windows."""


class BlockBatchSampler(FoundByLightning, BatchSampler):
    """Yield batches of row numbers, int64 arrays, to give to a DataLoader as `batch_sampler`.

    `data` is a dataset (its `blocks`, if it has any, are the blocks of the shuffle) or a number
    of rows. `batch_size` is per rank.

    - `shuffle`: "block" permutes blocks, pools `window_blocks` of them and permutes the rows of
      the pool; "full" permutes all rows; False keeps the order of the file.
    - `block_rows`: rows of a block, instead of the dataset's own blocks.
    - `rank`, `world_size`: taken from torch.distributed when an epoch begins, unless given.
    - `uneven`, what happens after the last step in which every rank has a whole batch: "pad"
      repeats fewer rows than there are ranks, so that ranks have equally many; "mask" fills up
      likewise and yields `MaskedRows` that mark the padding; "ragged" gives ranks different
      numbers of rows, perhaps none; "drop" leaves the rest out, as `drop_last=True` does with any.
    - `lanes`: deal the blocks to so many lanes, of which each rank owns its share; a multiple of
      every world size to come. None is one lane that all ranks share.
    - `max_rows`: in place of `batch_size`, as many samples of different lengths as make at most so
      many rows, after padding or with `padded=False` without it. Samples of similar length come
      together, inside pools of some 64 batches of the shuffle. Ranks take turns, and "pad" and
      "mask" repeat whole batches in the last turn.
    - `indices`: only these rows: row numbers, or a bool mask of the dataset. `weights`: draw with
      replacement, one weight for each row of the dataset, as many draws as there are rows.
    - `num_samples`: so many samples an epoch, over all ranks, or `steps_per_epoch`: so many steps.
      Without weights they are no more than there are rows, and each epoch begins a new order.

    Over a dataset with a transform that takes `rng`, batches are `SeededRows`.

    Each iteration is the next epoch, from 0 on, unless `set_epoch` or `load_state_dict` says
    otherwise. Raises SamplerError (a ValueError) for what cannot be.

    Examples:
        >>> sampler = BlockBatchSampler(5, 2, shuffle=False)
        >>> [batch.tolist() for batch in sampler]
        [[0, 1], [2, 3], [4]]
    """

    @explained(WORDS, usage="BlockBatchSampler(dataset, 64)")
    def __init__(
        self,
        data: int | Sized,
        batch_size: int | None = None,
        *,
        shuffle: Shuffle | bool = "block",
        max_rows: int | None = None,
        padded: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        block_rows: int | None = None,
        window_blocks: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "pad",
        lanes: int | None = None,
        weights: ArrayLike | None = None,
        indices: ArrayLike | None = None,
        num_samples: int | None = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        if isinstance(batch_size, BlockBatchSampler):
            self._made_anew(batch_size, data)
            return
        if isinstance(data, Sampler):
            raise SamplerError(
                f"data is a {type(data).__name__}: expected the dataset or its number of rows. A "
                "trainer that puts a sampler here would split the rows among ranks a second time: "
                "tell it not to, in Lightning with Trainer(use_distributed_sampler=False)"
            )
        if (batch_size is None) == (max_rows is None):
            given = "one is needed" if batch_size is None else "not both"
            raise SamplerError(f"give batch_size or max_rows: {given}")
        batch_size = 1 if batch_size is None else whole_number("batch_size", batch_size, least=1)
        if uneven not in UNEVEN:
            raise SamplerError(f"uneven={uneven!r}: expected one of {', '.join(UNEVEN)}")
        if (rank is None) != (world_size is None):
            raise SamplerError(
                f"rank={rank} and world_size={world_size}: give both, or none to take them from "
                "torch.distributed"
            )
        order: Shuffle = "full" if shuffle is True else shuffle
        self._recipe = Recipe.of(
            data,
            shuffle=order,
            seed=seed,
            block_rows=block_rows,
            window_blocks=window_blocks,
            lanes=lanes,
            indices=indices,
            weights=weights,
        )
        self._length = EpochLength.of(
            self._recipe, batch_size, num_samples=num_samples, steps_per_epoch=steps_per_epoch
        )
        self.batch_size = batch_size
        self._sized = None
        if max_rows is not None:
            if not self._length.whole:
                raise SamplerError("num_samples= and steps_per_epoch= need batch_size=")
            self._sized = BySize.of(data, self._recipe, max_rows=max_rows, padded=padded)
            self.batch_size = None  # type: ignore[assignment]
        self._uneven: Uneven = "drop" if drop_last else uneven
        self.drop_last = self._uneven == "drop"
        self._masked = uneven == "mask"
        self._seeded = bool(getattr(data, "takes_rng", False))
        self._rank = None if rank is None else whole_number("rank", rank, least=0)
        self._world_size = (
            None if world_size is None else whole_number("world_size", world_size, least=1)
        )
        self._place = Place(coming=Start(0, 0))
        if rank is not None:
            self._ranks()

    def _made_anew(self, other: "BlockBatchSampler", injected: object) -> None:
        """Be `other`, which divides its rows itself, where a trainer injects a sampler into it."""
        if is_for_predicting(injected):
            self.__dict__ = dict(other.__dict__)
            self._uneven = "ragged" if self._uneven in ("pad", "drop") else self._uneven
            self.drop_last = False
            self._place = Place(coming=Start(0, 0))
        else:
            self.__dict__ = other.__dict__

    @property
    def sampler(self) -> RowSampler:  # type: ignore[override]
        """The rows of the batches one by one: where trainers look for `set_epoch`."""
        return RowSampler(self, self._recipe.samples)

    @property
    def rows(self) -> int:
        """The rows of the dataset that it numbers; `subset` may choose some."""
        return self._recipe.rows

    @property
    def subset(self) -> Ints | None:
        """The only rows that any batch is made of, in no order of meaning; None: all."""
        return self._recipe.subset

    @property
    def limited_window(self) -> int | None:
        """The rows of a window of chunks that the memory limits; None where it does not."""
        recipe = self._recipe
        return None if recipe.blocks_held is None else recipe.window_blocks * recipe.layout.size

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch, or go on where a loaded state was; see `set_epoch`.

        It begins with the first batch that is asked for: an iterator that is never asked for one,
        as some trainers make, uses up no epoch.
        """
        self._place = replace(self._place, run=None)
        skip_what_comes_again(lambda: self._next_run(peek=True))
        return RunBatches(self)

    def _next_run(self, peek: bool = False) -> Run:
        """Give the run of the epoch that comes, which is then the one under way."""
        asking, counted = self._asked_for()
        coming = self._not_at_end(self._place.coming, counted)
        ranks = asking.reads(coming.position, counted)
        run = Run(start=coming, ranks=ranks, counted=counted, sized=self._sized)
        run.lists, run.filled = asking.divides, asking.fills and not self.drop_last
        run.again = asking.again(coming.position, counted)
        if not peek:
            self._place = replace(self._place, coming=coming, run=run)
            warn_of_repeated_predictions(asking, counted, coming.position)
        return run

    def _asked_for(self) -> tuple[Asking, Ranks]:
        """Give who asks, and the ranks to count by."""
        asking = who_asks()
        refuse_overfitting_other_rows(asking, bool(self._recipe.shuffle))
        self._recipe.warn_of_workers(0 if self._place.begun else asking.workers)
        if not asking.divides:
            return asking, self._ranks()
        require_divisible(
            asking,
            lanes=self._recipe.lanes,
            uneven=self._uneven,
            masked=self._masked,
            ranked=(self._world_size or 1) > 1,
            size=self.batch_size,
        )
        uneven: Uneven = "drop" if self.drop_last else "ragged"
        return asking, self._ranks_of(0, 1 if asking.split else asking.processes, uneven)

    def _begin(self, run: Run) -> None:
        if self._place.coming is run.start:
            self._place = Place(coming=Start(run.start.epoch + 1, 0), begun=True, run=run)
        elif not self._place.begun:
            self._place = replace(self._place, begun=True)

    def _sized_chunks(self, run: Run, sized: BySize) -> Iterator[Batches]:
        start, ranks = run.start, run.ranks
        order = self._recipe.order(start.epoch)
        run.consumed = [start.position]
        for step, consumed in sized.own(start.epoch, start.position, ranks):
            (batch,) = self._cut(order, step, len(step.positions) + len(step.fill), run)
            run.consumed.append(consumed)
            yield (batch,)
        run.ended = True

    def _chunks(self, run: Run) -> Iterator[Batches]:
        """Give the batches of a run, as many at a time as were numbered together."""
        self._begin(run)
        if self._sized is not None:
            yield from self._sized_chunks(run, self._sized)
            return
        order = self._recipe.order(run.start.epoch)
        position, ranks = run.start.position, run.ranks
        if run.again:
            again = Step(np.arange(run.counted.step_size), np.arange(0))
            yield self._cut(order, again, ranks.batch_size, run)
        steps, size = ranks.whole_steps(position), _FIRST_CHUNK
        while steps:
            count = min(size // ranks.batch_size, _SPAN // ranks.step_size)
            count = min(steps, max(1, count))
            size = min(4 * size, _CHUNK)
            chunk = ranks.positions(position, count)
            chunk_rows = order(chunk.reshape(-1)).reshape(chunk.shape)
            if self._masked or self._seeded or run.lists:
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
        ascending = np.argsort(positions, kind="stable")
        rows = np.empty_like(positions)
        rows[ascending] = order(positions[ascending])
        cuts = (slice(k, k + size) for k in range(0, len(rows), size))
        return [self._batch(rows[cut], positions[cut], len(step.fill), run) for cut in cuts]

    def __len__(self) -> int:
        """Give the number of batches of the iteration under way, else of the one that comes.

        After a state was loaded that is what is left of its epoch. To Lightning, which counts the
        batches that it had before, it is always a whole epoch.
        """
        asking, counted = self._asked_for()
        run = self._place.run
        if asking.lightning is not None:
            start = Start(self.epoch, 0)
        elif run is not None and not run.ended:
            start = run.start
        else:
            start = self._not_at_end(self._place.coming, counted)
        return self._steps(start, asking.reads(start.position, counted))

    def _steps(self, start: Start, ranks: Ranks) -> int:
        """Give the number of batches of a rank from `start` on."""
        if self._sized is None:
            return ranks.steps(start.position)
        return self._sized.steps(start.epoch, start.position, ranks)

    def _not_at_end(self, start: Start, ranks: Ranks) -> Start:
        """Give the start of the next epoch where nothing is left of this one on any rank."""
        # Rank 0 has a batch wherever any rank has one.
        ended = start.position > 0 and self._ends(start, replace(ranks, rank=0))
        return Start(start.epoch + 1, 0) if ended else start

    def _ends(self, start: Start, ranks: Ranks) -> bool:
        """Tell whether this rank has no batch from `start` on."""
        if self._sized is None:
            return ranks.steps(start.position) == 0
        return next(self._sized.own(start.epoch, start.position, ranks), None) is None

    def __repr__(self) -> str:
        """Say in one line what decides the order."""
        recipe, length = self._recipe, self._length.samples(1)
        return (
            f"BlockBatchSampler({recipe.rows} rows, {length} samples an epoch, batch_size="
            f"{self.batch_size}, shuffle={recipe.shuffle!r}, seed={recipe.seed}, "
            f"uneven={self._uneven!r})"
        )

    @property
    def epoch(self) -> int:
        """The epoch being read; before the first iteration, the one that comes."""
        place = self._place
        return (place.coming if place.run is None else place.run.start).epoch

    @explained()
    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration this epoch.

        A loaded state of this epoch is kept: the iteration goes on from its position. A trainer
        that counts its own epochs calls `set_epoch(0)` before its first one, and that keeps a state
        of a later epoch too. Any other epoch drops the state and begins at its start. Both issue a
        `StateWarning` (a UserWarning).
        """
        epoch = whole_number("epoch", epoch, least=0, below=1 << 64)
        place = self._place = replace(self._place, run=None)
        coming = place.coming
        if epoch == coming.epoch:
            return
        kept = place.loaded and epoch == 0 and not place.begun
        if place.loaded:
            at = f"epoch {coming.epoch} at position {coming.position}"
            what = (
                f"the state is kept, and this iteration is epoch {coming.epoch}"
                if kept
                else f"the state is dropped, and epoch {epoch} begins at its start"
            )
            warnings.warn(
                f"set_epoch({epoch}) after a state of {at} was loaded: {what}; begin the loop over "
                f"epochs at {coming.epoch}",
                StateWarning,
                stacklevel=2,
            )
        if not kept:
            self._place = Place(coming=Start(epoch, 0), begun=place.begun)

    @explained()
    def state_dict(self, consumed: int | None = None) -> dict[str, int]:
        """Give the state after `consumed` batches of the iteration under way.

        Count the batches that you received since the iteration began, and pass that number.
        Without `consumed`, all that the sampler gave out counts as received. A DataLoader with
        workers takes batches ahead, so then the state would skip those that are still on the
        way; with `num_workers=0`, and inside a StatefulDataLoader, nothing is taken ahead.

        After the last batch of an epoch it is the state of the next epoch, at position 0.
        """
        run = self._place.run
        return self._state(self._place.coming if run is None else run.start, run, consumed)

    def _state(self, start: Start, run: Run | None, consumed: int | None) -> dict[str, int]:
        given = 0 if run is None else run.steps
        count = given if consumed is None else whole_number("consumed", consumed, least=0)
        if count > given:
            raise StateError(
                f"consumed={count}, but this iteration has given {given} batches: count from where "
                "the iteration began, on a process that reads (with dispatch_batches=True of "
                "Accelerate that is the first)"
            )
        ranks = self._ranks() if run is None else run.counted
        if run is not None and run.ended and count == given:
            start = Start(start.epoch + 1, 0)
        else:
            position = start.position if run is None else run.position(count)
            start = self._not_at_end(Start(start.epoch, min(position, ranks.n)), ranks)
        return {
            **self._identity,
            "epoch": start.epoch,
            "position": start.position,
            "batch_size": self.batch_size or 0,
            "world_size": ranks.world_size,
        }

    @explained()
    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iteration go on after the samples that the state counts as consumed.

        A whole state of torchdata's StatefulDataLoader will do, of any number of workers. Whatever
        decides the order must agree; batch size, ranks, `uneven` and workers need not.
        The next iteration is what is left of the state's epoch, or, if that was at its end, the
        epoch after it. Raises StateError, which names both values, for any other state.
        """
        state = state_within(state)
        expected = self._identity
        names = {*expected, "epoch", "position", "batch_size", "world_size"}
        if not isinstance(state, Mapping) or set(state) != names:
            got = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise StateError(f"the state has {got}: expected {sorted(names)}, as of state_dict()")
        for name, value in state.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise StateError(f"the state has {name}={value!r}: expected an int of at least 0")
        for name, value in expected.items():
            if state[name] != value:
                show = shuffle_name if name == "shuffle" else repr
                raise StateError(
                    f"the state is of {name}={show(state[name])}, this sampler of "
                    f"{name}={show(value)}: a position in another order means other samples; make "
                    "the sampler as it was, or begin an epoch without the state"
                )
        most = max(expected["samples"], self._length.samples(self._ranks().world_size))
        if state["position"] > most:
            raise StateError(
                f"the state has position={state['position']} of {most} samples: "
                "expected no more than there are"
            )
        coming = self._not_at_end(Start(state["epoch"], state["position"]), self._ranks())
        self._place = Place(coming=coming, loaded=True, begun=self._place.begun)

    def _batch(
        self, rows: Ints, positions: Ints, padding: int, run: Run
    ) -> Ints | MaskedRows | SeededRows | list[int]:
        seed, epoch = self._recipe.seed, run.start.epoch
        if run.lists:
            return listed(rows, positions, seed, epoch) if self._seeded else rows.tolist()
        batch = MaskedRows(rows=rows, filler=padding) if self._masked else rows
        if not self._seeded:
            return batch
        return SeededRows(rows=batch, seed=seed, epoch=epoch, positions=positions)

    @property
    def _identity(self) -> dict[str, int]:
        sized = {} if self._sized is None else self._sized.identity
        return {**self._recipe.identity, **sized}

    def _ranks(self) -> Ranks:
        rank, world_size = self._rank, self._world_size
        if rank is None or world_size is None:
            worker = get_worker_info()
            if worker is not None:
                raise SamplerError(
                    f"worker {worker.id} of {worker.num_workers} of a DataLoader iterates a "
                    "BlockBatchSampler, or a Loader, and every worker would read all rows: give "
                    "the sampler rank=info.id, world_size=info.num_workers, uneven='ragged', with "
                    "info = torch.utils.data.get_worker_info(), or iterate in the main process"
                )
            present = dist.is_available() and dist.is_initialized()
            rank, world_size = (dist.get_rank(), dist.get_world_size()) if present else (0, 1)
        return self._ranks_of(rank, world_size, self._uneven)

    def _ranks_of(self, rank: int, world_size: int, uneven: Uneven) -> Ranks:
        return Ranks(
            n=self._length.samples(world_size),
            batch_size=self.batch_size or 1,
            rank=rank,
            world_size=world_size,
            uneven=uneven,
            lanes=self._recipe.lanes,
        )
