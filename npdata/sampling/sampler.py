"""Batches of row numbers for any DataLoader: shuffled by blocks, split over ranks, resumable.

Idea: the order is a function of seed, epoch and position (`order`), a rank's share of it arithmetic
(`order.ranks`), so a sampler is a frozen value (`epochs`) and a place in it (`cursor`). Invariant:
a state says how many samples all ranks together have consumed, so it fits any batch size, number of
ranks and workers. It reads no data, and learns its rank from torch.distributed as an epoch begins.
"""

import copy
import inspect
from collections.abc import Iterator, Mapping, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike
from torch.utils.data import BatchSampler, Sampler

from npdata.arrays.dtypes import Ints
from npdata.arrays.flag import flag
from npdata.errors import SamplerError, StateWarning, an, warn
from npdata.sampling.cursor import Cursor, Place
from npdata.sampling.epochs import Epochs, Start
from npdata.sampling.order.by_size import BySize
from npdata.sampling.order.checks import whole_number, whole_or_none
from npdata.sampling.order.epoch_order import Shuffle
from npdata.sampling.order.ranks import UNEVEN, Ranks, Uneven
from npdata.sampling.order.recipe import Recipe
from npdata.sampling.order.wrapped import draws, is_loader
from npdata.sampling.run_batches import RunBatches
from npdata.sampling.states import start_in, state_within
from npdata.sampling.trainers import (
    FoundByLightning,
    RowSampler,
    is_for_predicting,
    is_resumed_midway,
)
from npdata.sampling.who_asks import who_asks
from npdata.suggestions import each_word, explained, refuse_to_set

WORDS = {
    "dataset data_source": "data",
    "num_replicas": "world_size",
    "generator rng": "the order is made of a number: write seed=",
    "sampler": "it numbers the rows itself; rows to choose from are indices=",
    "replacement": "weights= draws with replacement, and all else without",
    "window": "window_blocks",
    "drop": "drop_last",
    "random_state": "seed",
    "even_batches pad_last": "uneven",
    "class_weights class_weight balanced balance oversample": (
        "each row has a weight: weights=(1 / np.bincount(labels))[labels] draws all classes alike"
    ),
    "num_workers collate_fn pin_memory": (
        "what reads the rows has it: DataLoader(dataset, batch_sampler=sampler, ...), or a Loader"
    ),
    "stratify": "the split does that: train, test = dataset.split(0.8, stratify='label')",
    "filter": "rows are chosen by their numbers or a mask: write indices=labels >= 0",
    "max_tokens": "max_rows",
    "bucket bucket_size bucket_boundaries sort_key group_by_length": (
        "samples of similar length come together in BlockBatchSampler(dataset, max_rows=4096)"
    ),
    "buffer buffer_size shuffle_buffer shuffle_buffer_size": (
        "all rows are at hand: shuffle=True mixes all of them, shuffle='block' those of 64 blocks"
    ),
    "order": "shuffle",
    "steps num_steps": "steps_per_epoch",
    "max_steps max_batches limit": (
        "each epoch has steps_per_epoch= batches; a loop over itertools.islice(loader, 100) ends "
        "after so many"
    ),
    "infinite repeat cycle endless": (
        "each loop over it is the next epoch; one over itertools.chain.from_iterable("
        "itertools.repeat(loader)) has no end"
    ),
    "gradient_accumulation_steps accumulate_grad_batches": (
        "the training loop, or a trainer, accumulates gradients: leave it out"
    ),
}
"""Arguments of torch's samplers, and ours for them."""


class BlockBatchSampler(FoundByLightning, BatchSampler):
    """Yield batches of row numbers, int64 arrays, to give to a DataLoader as `batch_sampler`.

    Each iteration is the next epoch, from 0 on, unless `set_epoch` or `load_state_dict` says
    otherwise. Over a dataset with a transform that takes `rng`, batches are `SeededRows`.

    Args:
        data: a dataset (its `blocks`, if it has any, are the blocks of the shuffle), or a number of
            rows.
        batch_size: samples of a batch, on each rank.
        shuffle: "block" (the default) permutes blocks, pools `window_blocks` of them and permutes
            the rows of the pool; "full", or True, permutes all rows; False keeps the order of the
            file.
        max_rows: in place of `batch_size`: as many samples of different lengths as make at most so
            many rows. Samples of similar length come together, inside pools of some 64 batches of
            the shuffle. Ranks take turns, and "pad" and "mask" repeat whole batches in the last
            turn.
        padded: whether `max_rows` counts padding. Default: True.
        seed: an int of at least 0, which decides every order. Default: 0.
        drop_last: whether what makes no whole step of all ranks is left out, as `uneven="drop"`
            does, whatever `uneven` says. Default: False.
        block_rows: rows of a block, instead of the dataset's own blocks.
        window_blocks: blocks whose rows are mixed. None: 64, or fewer where decoded chunks would
            take more than a quarter of the memory for them.
        rank: the number of this process, from 0 on. None: that of torch.distributed when an epoch
            begins.
        world_size: the number of processes that divide the rows; given with `rank`, or not at all.
        uneven: what happens after the last step in which every rank has a whole batch: "pad" (the
            default) repeats fewer rows than there are ranks, so that ranks have equally many;
            "mask" fills up likewise and yields `MaskedRows` that mark the padding; "ragged" gives
            ranks different numbers of rows, perhaps none; "drop" leaves the rest out.
        lanes: deals the blocks to so many lanes, of which each rank owns its share; a multiple of
            every world size to come. None: one lane that all ranks share.
        weights: one weight for each row of the dataset: rows are drawn with replacement, as many as
            the dataset has. They and `indices` are copied here: what is written into them later
            changes no epoch.
        indices: only these rows: row numbers, or a bool mask of the dataset. None: all.
        num_samples: samples of an epoch, over all ranks; without weights no more than there are
            rows. Each epoch begins a new order. None: as many as there are rows.
        steps_per_epoch: batches of an epoch on each rank, in place of `num_samples`.

    Raises:
        SamplerError: a ValueError, for an order, a batch or a rank that cannot be.

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
        weights: "ArrayLike | None" = None,
        indices: "ArrayLike | None" = None,
        num_samples: int | None = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        if isinstance(batch_size, BlockBatchSampler):
            self._made_anew(batch_size, data)
            return
        _refuse_samplers_and_loaders(data)
        if (batch_size is None) == (max_rows is None):
            given = "one is needed" if batch_size is None else "not both"
            raise SamplerError(f"give batch_size or max_rows: {given}")
        padded = flag("padded", padded, SamplerError)
        if max_rows is None and not padded:
            raise SamplerError("padded=False counts the rows of max_rows=, which is not given")
        batch_size = whole_or_none("batch_size", batch_size)
        if uneven not in UNEVEN:
            raise SamplerError(f"uneven={uneven!r}: expected one of {', '.join(UNEVEN)}")
        if (rank is None) != (world_size is None):
            raise SamplerError(
                f"rank={rank} and world_size={world_size}: give both, or none to take them from "
                "torch.distributed"
            )
        drops = flag("drop_last", drop_last, SamplerError)
        rank = None if rank is None else whole_number("rank", rank, least=0)
        recipe = Recipe.of(
            data,
            shuffle=shuffle,
            seed=seed,
            block_rows=block_rows,
            window_blocks=window_blocks,
            lanes=lanes,
            indices=indices,
            weights=weights,
        )
        if num_samples is not None and steps_per_epoch is not None:
            raise SamplerError("num_samples= and steps_per_epoch= both end the epoch: give one")
        num_samples = whole_or_none("num_samples", num_samples)
        steps_per_epoch = whole_or_none("steps_per_epoch", steps_per_epoch)
        sized = None
        if max_rows is not None:
            if num_samples or steps_per_epoch:
                raise SamplerError("num_samples= and steps_per_epoch= need batch_size=")
            sized = BySize.of(data, recipe, max_rows=max_rows, padded=padded)
        epochs = Epochs(
            recipe=recipe,
            batch_size=batch_size,
            sized=sized,
            rank=rank,
            world_size=whole_or_none("world_size", world_size),
            uneven="drop" if drops else uneven,
            masked=uneven == "mask",
            seeded=draws(data),
            num_samples=num_samples,
            steps_per_epoch=steps_per_epoch,
        )
        if rank is not None:
            epochs.ranks()  # refuses a rank outside the world, and lanes that do not divide
        self.cursor = Cursor(epochs)

    def _made_anew(self, other: "BlockBatchSampler", injected: object) -> None:
        """Be `other`, which divides its rows itself, where a trainer injects a sampler into it."""
        if is_for_predicting(injected):
            self.__dict__ = dict(other.__dict__)
            epochs = other.cursor.epochs
            if epochs.uneven in ("pad", "drop"):
                epochs = replace(epochs, uneven="ragged")
            self.cursor = Cursor(epochs)
        else:
            self.__dict__ = other.__dict__

    def __getstate__(self) -> dict[str, Any]:
        """Give what a copy has too, with a place of its own."""
        return {**vars(self), "cursor": copy.copy(self.cursor)}

    @property
    def _recipe(self) -> Recipe:
        return self.cursor.epochs.recipe

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse arguments, except as attributes of a subclass, which may use them so."""
            refuse_to_set(self, BlockBatchSampler, name, value, _DECIDED, _SETTINGS)
            super().__setattr__(name, value)

    @property
    def sampler(self) -> RowSampler:  # type: ignore[override]
        """The rows of the batches one by one: where trainers look for `set_epoch`."""
        return RowSampler(self, self._samples)

    def _samples(self) -> int:
        return self.cursor.epochs.samples_of(*self._coming())

    @property  # type: ignore[override]
    def batch_size(self) -> int | None:
        """The samples of a batch of this rank, None with `max_rows`; set, of the next epoch on."""
        return self.cursor.epochs.batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        epochs = self.cursor.epochs
        if epochs.sized is not None:
            raise SamplerError(
                f"batch_size={size} of a sampler with max_rows={epochs.sized.max_rows}, which "
                "decides how many samples a batch has: make a new sampler with batch_size="
            )
        size = whole_number("batch_size", size, least=1)
        self.cursor.epochs = replace(epochs, batch_size=size)

    @property
    def drop_last(self) -> bool:  # type: ignore[override]
        """Whether what makes no whole step of all ranks is left out."""
        return self.cursor.epochs.drop_last

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
        window = recipe.window
        return None if window.held is None else window.blocks * recipe.layout.size

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch, or go on where a loaded state was; see `set_epoch`.

        It begins with the first batch that is asked for: an iterator that is never asked for one,
        as some trainers make, uses up no epoch.
        """
        self.cursor.leave()
        return RunBatches(self.cursor)

    def __len__(self) -> int:
        """Give the number of batches of the iteration under way, else of the one that comes.

        After a state was loaded that is what is left of its epoch. To Lightning, which counts the
        batches that it had before, it is always a whole epoch.
        """
        return self.cursor.epochs.steps(*self._coming())

    def _coming(self) -> tuple[Start, Ranks]:
        """Give where the iteration that `len` counts begins, and the ranks that read it."""
        asking = who_asks()
        counted = self.cursor.counted_for(asking)
        place, epochs = self.cursor.place, self.cursor.epochs
        if asking.lightning is not None:
            start = Start(self.epoch, 0)
        elif place.run is not None and not place.run.ended:
            start = place.run.start
        else:
            start = epochs.or_next(place.coming, counted)
        return start, asking.reads(start.position, counted)

    def __repr__(self) -> str:
        epochs, recipe = self.cursor.epochs, self._recipe
        order = f"shuffle={recipe.shuffle!r}" if recipe.totals is None else "weights=..."
        return (
            f"BlockBatchSampler({recipe.rows} rows, {epochs.samples(1)} samples an epoch, "
            f"batch_size={self.batch_size}, {order}, seed={recipe.seed}, "
            f"uneven={epochs.uneven!r})"
        )

    @property
    def epoch(self) -> int:
        """The epoch being read; before the first iteration, the one that comes."""
        place = self.cursor.place
        return (place.coming if place.run is None else place.run.start).epoch

    @explained()
    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration this epoch.

        A loaded state of this epoch is kept: the iteration goes on from its position. A trainer
        that counts its own epochs calls `set_epoch(0)` before its first one, and that keeps a state
        of a later epoch too. Any other epoch drops the state and begins at its start. Both issue a
        `StateWarning` (a UserWarning). Lightning, resumed in mid-epoch, keeps all states: a
        loader that it cycles beside a longer one is epochs ahead.

        Examples:
            >>> sampler = BlockBatchSampler(50, 50)
            >>> first = next(iter(sampler))
            >>> sampler.set_epoch(0)
            >>> np.array_equal(next(iter(sampler)), first)
            True
        """
        epoch = whole_number("epoch", epoch, least=0, below=1 << 64)
        cursor = self.cursor
        place = cursor.place = replace(cursor.place, run=None, was_set=True)
        coming = place.coming
        if epoch == coming.epoch:
            return
        resumed = place.loaded and is_resumed_midway(who_asks().lightning)
        kept = resumed or (place.loaded and epoch == 0 and not place.begun)
        if place.loaded and not resumed:
            at = f"epoch {coming.epoch} at position {coming.position}"
            what = (
                f"the state is kept, and this iteration is epoch {coming.epoch}"
                if kept
                else f"the state is dropped, and epoch {epoch} begins at its start"
            )
            warn(
                f"set_epoch({epoch}) after a state of {at} was loaded: {what}; begin the loop over "
                f"epochs at {coming.epoch}",
                StateWarning,
            )
        if not kept:
            cursor.place = Place(coming=Start(epoch, 0), begun=place.begun, was_set=True)

    @explained()
    def state_dict(self, consumed: int | None = None) -> dict[str, int]:
        """Give the state after `consumed` batches of the iteration under way.

        Count the batches that you received since the iteration began, and pass that number.
        Without `consumed`, all that the sampler gave out counts as received. A DataLoader with
        workers takes batches ahead, and so does Accelerate. The state would skip those that are
        still on the way, which a `StateWarning` (a UserWarning) says; with `num_workers=0`, and
        inside a StatefulDataLoader, nothing is taken ahead.

        After the last batch of an epoch it is the state of the next epoch, at position 0.

        Examples:
            >>> sampler = BlockBatchSampler(5, 2, shuffle=False)
            >>> batches = iter(sampler)
            >>> taken = next(batches), next(batches)
            >>> sampler.load_state_dict(sampler.state_dict(consumed=1))
            >>> [batch.tolist() for batch in sampler]
            [[2, 3], [4]]
        """
        run = self.cursor.place.run
        if consumed is None and run is not None and run.ahead and not run.ended:
            warn(
                f"state_dict() counts all {run.steps} batches that the sampler gave out, and "
                "a DataLoader with workers, or Accelerate, takes some of them before your loop: a "
                "resumed run would leave those out. Write state_dict(consumed=step), the number of "
                "batches that your loop received in this epoch",
                StateWarning,
            )
        return self.cursor.state(run, consumed)

    @explained()
    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iteration go on after the samples that the state counts as consumed.

        An example is at `state_dict`.
        A whole state of torchdata's StatefulDataLoader will do, of any number of workers. Whatever
        decides the order must agree; batch size, ranks, `uneven` and workers need not.
        The next iteration is what is left of the state's epoch, or, if that was at its end, the
        epoch after it.

        Raises:
            StateError: a ValueError, which names both values, for any other state.
        """
        cursor = self.cursor
        coming = start_in(state_within(state), cursor.epochs)
        begun = cursor.place.begun
        cursor.place = Place(coming=coming, loaded=True, begun=begun, was_set=True)


def _refuse_samplers_and_loaders(data: object) -> None:
    if isinstance(data, Sampler):
        raise SamplerError(
            f"data is {an(type(data).__name__)}: expected the dataset or its number of rows. A "
            "trainer that puts a sampler here would split the rows among ranks a second time: "
            "switch that off, in Lightning with Trainer(use_distributed_sampler=False)"
        )
    if is_loader(data):
        raise SamplerError(
            f"data is {an(type(data).__name__)}, whose length counts batches: expected the "
            "dataset or its number of rows, as BlockBatchSampler(loader.dataset, 64)"
        )


_DECIDED = inspect.signature(BlockBatchSampler).parameters.keys() - {"batch_size"}
"""The arguments that decide the order once, where `batch_size` may be set for the next epoch."""
_SETTINGS = each_word(WORDS)
