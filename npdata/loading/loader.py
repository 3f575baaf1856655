"""`Loader`: batches made ahead by threads of this process, in order, wherever they are needed.

Idea: a batch is one task: advice to the kernel, the gather, the copy to the device. The gathers
release the GIL, so threads do what worker processes do, without a way for a batch to travel.
Invariant: the batches are those of a DataLoader with the same sampler and `npdata.collate`,
whatever the threads; a state counts what the loop received, not what was read ahead. It only
counts: the order is the sampler's, the rows the dataset's, how a batch is made `pipeline`'s, the
accelerator `to_device`'s.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self, Unpack

import torch
from numpy.typing import ArrayLike
from torch.utils.data import IterableDataset, get_worker_info

from npdata.arrays.flag import flag
from npdata.dataset.collate import collate
from npdata.dataset.html_table import table
from npdata.dataset.nested import map_tensors
from npdata.dataset.progress import require_bar
from npdata.errors import ClosedError, LoaderError, NotBatchedError
from npdata.loading.accelerate import refuse_a_second_division
from npdata.loading.cast import DTypes, cast, dtypes_of, known_dtypes
from npdata.loading.choose_sampler import refuse_other_rows, refuse_to_begin_again, sampler_for
from npdata.loading.dataloader_arguments import (
    ATTRIBUTES,
    SETTINGS,
    Words,
    no_dataset,
    refuse_batches_of_batches,
    require_npdata_words,
)
from npdata.loading.iteration import Iteration
from npdata.loading.load_resident import load_resident
from npdata.loading.pipeline import Pipeline
from npdata.loading.residence import Candidates, Residence, candidates_of
from npdata.loading.schedule import Auto, Options, Schedule
from npdata.loading.stats import Counter, LoaderStats
from npdata.loading.to_device import accelerator_of
from npdata.loading.under_way import Counted, UnderWay
from npdata.loading.wrapped_datasets import datasets_within
from npdata.sampling.epochs import SHARE_OF_A_WORKER
from npdata.sampling.order.epoch_order import Shuffle
from npdata.sampling.order.ranks import Uneven
from npdata.sampling.run_batches import RunBatches
from npdata.sampling.sampler import BlockBatchSampler
from npdata.suggestions import explained, no_attribute, refuse_to_set


class Loader:
    """Iterate over the batches of a dataset, made by threads of this process, in order.

    Batches are what `npdata.collate` gives, and each iteration is the next epoch. An error is
    raised in the place of its batch, with a note of the batch and its rows, and ends the iteration.
    What takes only a DataLoader, as Keras does, takes `DataLoader(loader, batch_size=None)`.

    Args:
        dataset: a map-style dataset with `__getitems__`: a `NumpyDataset`, a `Subset` or
            `StackDataset` of them, one of your own.
        batch_size: samples of a batch, on each rank. None: `sampler` decides.
        shuffle: False (the default) keeps the order of the file, as a DataLoader does. True
            permutes all rows, as "full" does; "block" reads compressed or cold files faster: see
            `BlockBatchSampler`.
        seed: an int of at least 0, which decides every order and random number. Default: 0.
        drop_last: whether rows at the end that make no whole batch on each rank are left out,
            whatever `uneven` says. Default: False.
        sampler: an iterable of batches of row numbers, which decides the order, the batch size and
            the ranks; or of single row numbers beside a `batch_size`, as in a DataLoader.
        indices: only these rows: row numbers, or a bool mask of the dataset. None: all.
        weights: one weight for each row of the dataset: rows are drawn with replacement. They and
            `indices` are copied here: what is written into them later changes no epoch.
        rank: the number of this process, from 0 on. None: that of torch.distributed.
        world_size: the number of processes that divide the rows; given with `rank`, or not at all.
        uneven: what happens to rows that do not divide by the ranks: "pad" (the default), "mask",
            "ragged" or "drop", as in `BlockBatchSampler`.
        num_samples: samples of an epoch, over all ranks. None: as many as there are rows.
        steps_per_epoch: batches of an epoch on each rank, in place of `num_samples`.
        num_threads: "auto" (the default) looks at the size of a batch and how it is read, and
            `describe()` gives the reason; 0 makes each batch when it is asked for, in the caller.
        prefetch: batches that are ready or being made while the loop uses one. Default: 4.
        device: a device of torch or its name: batches arrive there, copied from pinned memory on a
            stream of their own. None: they stay in memory.
        pin_memory: whether batches in memory are pinned; "auto" (the default) pins where an
            accelerator is there, but no small batches that are gathered together.
        dtype: a dtype, or a mapping from field name or position to one. The cast comes after
            the copy to the device where fewer bytes are copied so. None: as the dataset has it.
            Floats that an integer cannot hold, such as NaN, raise a `ConversionError`.
        memory_budget: bytes of files and batches that the loader keeps in memory; blocks already
            read are dropped, where the order has blocks. None: the system decides.
        progress: whether a bar is drawn, which needs the extra `cli`. Default: False.
        resident: True loads the rows once, with the first batch, into memory or onto `device`, and
            gathers all batches there; "auto" does so where it is faster and they fit into half of
            what is free. The file is not looked at any more after that. Default: False.
        **words: other arguments of a DataLoader. They are understood where they ask for nothing
            else than what is done here (`num_workers=0`, `collate_fn=npdata.collate`,
            `batch_sampler=`), and refused with npdata's word where not.

    Raises:
        LoaderError: a ValueError, for options that cannot be, or not together.
        NotBatchedError: a TypeError, for a dataset without `__getitems__`.
        DeviceError: a RuntimeError, for a device that is not there.
        DoesNotFitError: a MemoryError, with the first batch, for rows that `resident=True` cannot
            hold.
        MissingExtraError: an ImportError, for `progress=True` without its package.

    Examples:
        >>> loader = npdata.Loader(npdata.NumpyDataset(np.arange(5)), 2)
        >>> [batch.tolist() for batch in loader]
        [[0, 1], [2, 3], [4]]
    """

    @explained(usage="Loader(dataset, 64)")
    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = None,
        *,
        shuffle: Shuffle | bool | None = False,
        seed: int = 0,
        drop_last: bool = False,
        sampler: Any = None,
        indices: "ArrayLike | None" = None,
        weights: "ArrayLike | None" = None,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "pad",
        num_samples: int | None = None,
        steps_per_epoch: int | None = None,
        num_threads: int | Auto = "auto",
        prefetch: int = 4,
        device: str | torch.device | None = None,
        pin_memory: bool | Auto = "auto",
        dtype: DTypes = None,
        memory_budget: int | None = None,
        progress: bool = False,
        resident: bool | Auto = False,
        **words: Unpack[Words],
    ) -> None:
        require_npdata_words(words, _ARGUMENTS)
        if not callable(getattr(dataset, "__getitems__", None)):
            raise NotBatchedError(no_dataset(dataset))
        sampler = sampler_for(
            dataset,
            batch_size,
            sampler,
            words.get("batch_sampler"),
            shuffle=False if shuffle is None else shuffle,
            seed=seed,
            drop_last=drop_last,
            indices=indices,
            weights=weights,
            rank=rank,
            world_size=world_size,
            uneven=uneven,
            num_samples=num_samples,
            steps_per_epoch=steps_per_epoch,
        )
        if num_threads == "auto" and words.get("num_workers") == 0:
            num_threads = 0
        dtype = dtypes_of(dataset, known_dtypes(dtype))
        if flag("progress", progress, LoaderError):
            require_bar()
        self._dataset, self._sampler = dataset, sampler
        self._options = Options(
            num_threads=num_threads,
            prefetch=prefetch,
            pin_memory=pin_memory,
            dtype=dtype,
            memory_budget=memory_budget,
            device=accelerator_of(device),
            progress=progress,
            resident=resident,
        )
        self._closed = False
        self._set_up()

    def _set_up(self) -> None:
        sampler, options = self._sampler, self._options
        self._pipeline = Pipeline.of(self._dataset, sampler, options)
        if options.resident is not False:
            self._look()  # which refuses what cannot be held
        self._held: _Held | None = None
        self._sources = tuple(s for each in datasets_within(self._dataset) for s in each.sources)
        self._under_way = UnderWay()
        self._begun: Iterator[Any] | None = None

    def _look(self) -> Candidates:
        """Look at what may be resident."""
        sampler, options = self._sampler, self._options
        return candidates_of(
            self._pipeline.sent,
            sampler.subset if isinstance(sampler, BlockBatchSampler) else None,
            asked=options.resident,
            device=options.device,
            budget=options.memory_budget,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Give what a copy has too; iterations, threads and resident rows it makes itself."""
        return {name: value for name, value in vars(self).items() if name not in _NOT_COPIED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be a copy, which begins where the sampler has the next epoch."""
        vars(self).update(state)
        self._set_up()

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch, or go on where a loaded state was; see `BlockBatchSampler`.

        It begins, and so does reading, with the first batch that is asked for.
        """
        if self._closed:
            raise ClosedError("the loader was closed; make a new one")
        refuse_batches_of_batches()
        refuse_a_second_division()
        refuse_other_rows(self._dataset, self._sampler)
        if get_worker_info() is not None and not isinstance(self._sampler, BlockBatchSampler):
            raise LoaderError(
                "a worker of a DataLoader iterates a Loader, and every worker would read all rows "
                f"of its {type(self._sampler).__name__}: give it a BlockBatchSampler with "
                f"{SHARE_OF_A_WORKER}, or iterate the Loader in the main process"
            )
        progress = self._options.progress
        iteration = Iteration(self._sampler, self._sources, self._begin, progress=progress)
        self._under_way.add(iteration)
        return iteration.received()

    def __len__(self) -> int:
        """Give the number of batches of the iteration under way, else of the one that comes.

        After a state was loaded that is what is left of its epoch.
        """
        now, length = self._followed, len(self._sampler)
        if now is not None and not now.counter.ended and isinstance(now.batches, RunBatches):
            return now.batches.length(length)
        return length

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, which says what to give to code that needs a DataLoader."""
            raise no_attribute(self, name, ATTRIBUTES)

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse arguments, except as attributes of a subclass, which may use them so."""
            if name == "batch_size" and isinstance(vars(self).get("_sampler"), BlockBatchSampler):
                raise AttributeError(
                    "batch_size of a Loader is that of its sampler: write "
                    f"loader.batch_sampler.batch_size = {value!r:.60}, for the next epoch on"
                )
            refuse_to_set(self, Loader, name, value, _ARGUMENTS, SETTINGS)
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        sampler, size = self._sampler, self.batch_size
        order = repr(sampler) if isinstance(sampler, BlockBatchSampler) else type(sampler).__name__
        of = type(self._dataset).__name__
        threads = self._now.schedule.threads
        asked = self._options.resident
        held = "" if asked is False else f", resident={asked!r}"
        return f"Loader({of}, batch_size={size}, {order}, num_threads={threads}{held})"

    def _repr_html_(self) -> str:
        """Say it as a table, for notebooks."""
        said = [("dataset", self._dataset), ("order", self._sampler), ("batches", self.describe())]
        return table(f"Loader of {len(self)} batches", (), said)

    @property
    def dataset(self) -> Any:
        """The dataset."""
        return self._dataset

    @property
    def batch_size(self) -> int | None:
        """The samples of a batch; None where the sampler does not tell."""
        return getattr(self._sampler, "batch_size", None)

    @property
    def drop_last(self) -> bool:
        """Whether what makes no whole batch is left out."""
        return bool(getattr(self._sampler, "drop_last", False))

    @property
    def batch_sampler(self) -> Any:
        """What gives the batches of row numbers."""
        return self._sampler

    @property
    def sampler(self) -> Any:
        """What gives single row numbers, where trainers look for `set_epoch`."""
        return getattr(self._sampler, "sampler", self._sampler)

    @property
    def num_workers(self) -> int:
        """0: there are no worker processes."""
        return 0

    @property
    def prefetch_factor(self) -> None:
        """None, as of a DataLoader without worker processes."""

    @property
    def collate_fn(self) -> Callable[[Any], Any]:
        """The function that makes a batch of a DataLoader the same as one of this loader."""
        device, dtype = self._options.device, self._options.dtype
        if device is None and dtype is None:
            return collate
        return functools.partial(_as_batch_of, device, dtype)

    @explained()
    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration this epoch; see `BlockBatchSampler.set_epoch`.

        Examples:
            >>> loader = npdata.Loader(npdata.NumpyDataset(np.arange(50)), 50, shuffle=True)
            >>> first = next(iter(loader))
            >>> loader.set_epoch(0)
            >>> torch.equal(next(iter(loader)), first)
            True
        """
        refuse_a_second_division()
        outer = self._sampler if hasattr(self._sampler, "set_epoch") else self.sampler
        _method_of(outer, "set_epoch")(epoch)
        self._forget()

    @explained({"consumed step": "it counts what the loop received: write loader.state_dict()"})
    def state_dict(self) -> dict[str, Any]:
        """Give the state after the batches that the iteration begun last has given.

        It is the sampler's, so it fits any number of threads, a DataLoader and other ranks.
        An iteration that has gone on since another was made counts in place of that one. Where
        more than one is in the middle of its epoch, a `StateWarning` (a UserWarning) says so.

        Raises:
            LoaderError: a ValueError, for a sampler without states.

        Examples:
            >>> loader = npdata.Loader(npdata.NumpyDataset(np.arange(6)), 2)
            >>> first = next(iter(loader))
            >>> state = loader.state_dict()
            >>> loader.load_state_dict(state)
            >>> [batch.tolist() for batch in loader]
            [[2, 3], [4, 5]]
        """
        sampler, now = self._sampler, self._followed
        if now is None:
            if isinstance(sampler, BlockBatchSampler):
                return sampler.cursor.state(None, 0)
        else:
            self._under_way.warn_of_others(now)
            if isinstance(now.batches, RunBatches):
                return now.batches.state_after(now.counter.batches)
        method = _method_of(sampler, "state_dict", takes="consumed")
        state: dict[str, Any] = method(consumed=0 if now is None else now.counter.batches)
        return state

    @explained()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on where the state was; an example is at `state_dict`.

        Raises:
            StateError: a ValueError, which names both values, for the state of another order.
        """
        _method_of(self._sampler, "load_state_dict")(state)
        self._forget()

    @explained()
    def stats(self) -> LoaderStats:
        """Report what the iteration begun last did, and whether it waited for data; printable.

        One that has gone on since another was begun counts in its place, as for `state_dict`.

        Examples:
            >>> loader = npdata.Loader(npdata.NumpyDataset(np.arange(5)), 2)
            >>> batches = list(loader)
            >>> loader.stats().batches, loader.stats().samples
            (3, 5)
        """
        now = self._under_way.meant
        stats = (Counter() if now is None else now.counter).stats()
        held = self._held
        return stats if held is None else replace(stats, resident_bytes=held.residence.nbytes)

    @explained()
    def describe(self) -> Schedule:
        """Report on how many threads batches are made, how far ahead, in which memory; printable.

        Examples:
            >>> print(npdata.Loader(npdata.NumpyDataset(np.arange(5)), 2).describe())
            in the caller, 65536 batches at once, ordinary memory: a batch of 16 bytes is ...
        """
        if self._options.resident is False:
            return self._pipeline.schedule
        held = self._held
        when = "with the first batch it is decided which rows are held"
        return replace(self._now.schedule, resident=when if held is None else held.residence.reason)

    @explained()
    def close(self) -> None:
        """End all iterations and their threads; the dataset stays open. Idempotent.

        Examples:
            >>> with npdata.Loader(npdata.NumpyDataset(np.arange(5)), 2) as loader:
            ...     [len(batch) for batch in loader]
            [2, 2, 1]
        """
        self._closed = True
        self._under_way.end_all()
        if self._pipeline.buffers is not None:
            self._pipeline.buffers.clear()
        self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _now(self) -> Pipeline:
        """How batches are made now."""
        return self._pipeline if self._held is None else self._held.pipeline

    @property
    def _followed(self) -> Counted | None:
        """The iteration that is meant, unless an epoch or a state of the sampler was set since."""
        sampler = self._sampler
        was_set = isinstance(sampler, BlockBatchSampler) and sampler.cursor.place.was_set
        return None if was_set else self._under_way.meant

    def _forget(self) -> None:
        """Count nothing of what was begun before; a `BlockBatchSampler` says so by itself."""
        if not isinstance(self._sampler, BlockBatchSampler):
            self._under_way.forget()

    def _begin(self, batches: Iterator[Any]) -> Pipeline:
        """Give how batches are made to an iteration that begins, of the size that is set by now."""
        dataset, sampler = self._dataset, self._sampler
        refuse_to_begin_again(sampler, batches, self._begun)
        self._pipeline = self._pipeline.renewed(dataset, sampler)
        if self._options.resident is not False:
            held = self._held or self._load()
            pipeline = held.pipeline.renewed(dataset, sampler)
            if pipeline.sender is not None:  # the streamed one has worked out what makes a run
                run = self._pipeline.schedule.run
                pipeline = replace(pipeline, schedule=replace(pipeline.schedule, run=run))
            self._held = held._replace(pipeline=pipeline)
        self._begun = batches
        return self._now

    def _load(self) -> "_Held":
        """Load what is to be resident, and decide how batches are made of it."""
        pipeline, options = self._pipeline, self._options
        residence, dataset = load_resident(pipeline.sent, self._look(), progress=options.progress)
        if not residence.chosen:
            return _Held(residence, pipeline)
        if pipeline.sender is None:
            return _Held(residence, Pipeline.of(dataset, self._sampler, options))
        return _Held(residence, Pipeline.on_device(dataset, options, pipeline.sender))


def _method_of(sampler: Any, name: str, takes: str = "") -> Any:
    method = getattr(sampler, name, None)
    if method is None or (takes and takes not in inspect.signature(method).parameters):
        raise LoaderError(
            f"{type(sampler).__name__} has no {name}({takes}); without sampler= a Loader has its "
            "own, a BlockBatchSampler, which resumes and divides rows among ranks"
        )
    return method


class _Held(NamedTuple):
    """What was decided to be resident, and how batches are made since then."""

    residence: Residence
    pipeline: Pipeline


def _as_batch_of(device: torch.device | None, dtype: DTypes, samples: Any) -> Any:
    batch = cast(collate(samples), dtype)
    return batch if device is None else map_tensors(lambda tensor: tensor.to(device), batch)


_NOT_COPIED = ("_pipeline", "_held", "_sources", "_under_way", "_begun")
IterableDataset.register(Loader)  # so that DataLoader(loader, batch_size=None) hands its batches on
_ARGUMENTS = tuple(name for name in inspect.signature(Loader).parameters if name != "words")
