"""How the batches of an iteration are made: of which dataset, on which threads, in which memory.

Idea: what a loader decides once about a dataset is one frozen value, which starts the prefetcher of
each iteration. Invariant: the batches are those of the dataset for the rows that the sampler gives;
it refers to no loader and no iterator.
"""

import functools
import itertools
import sys
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch

from npdata.dataset.batch_memory import (
    REUSE_BYTES,
    Allocate,
    pinned_memory,
    pins_memory,
    plain_memory,
)
from npdata.loading.batch_task import BatchTask, Made
from npdata.loading.buffer_pool import BufferPool
from npdata.loading.comparison import Comparison
from npdata.loading.finish_on_device import sent_as_stored
from npdata.loading.late_casts import LateCasts
from npdata.loading.prefetcher import Prefetcher
from npdata.loading.readahead import Job, ReadAhead
from npdata.loading.schedule import Data, Options, Schedule, decide_schedule
from npdata.loading.small_batches import RunTask, gathered_row_bytes, gathers_in_runs, runs_of
from npdata.loading.to_device import Sender
from npdata.loading.turns import Turns
from npdata.loading.wrapped_datasets import (
    Stack,
    choose_alike,
    datasets_within,
    is_direct,
    one_dataset,
    parts_of,
    rebuilt,
)
from npdata.runtime.machine import cores
from npdata.sampling.run_batches import RunBatches
from npdata.sampling.sampler import BlockBatchSampler
from npdata.sources.derived.base import RegroupedSource
from npdata.sources.many_files.file_reader import LARGE_FILE


@dataclass(frozen=True, kw_only=True, eq=False)
class Pipeline:
    """What makes the batches of `dataset`; `sent` is the dataset as it travels to a device.

    `buffers` are the memory of large batches; None where none is used again.
    """

    dataset: Any
    sent: Any
    sender: Sender | None
    ordered: bool
    options: Options
    schedule: Schedule
    buffers: BufferPool | None = None
    comparison: Comparison = field(default_factory=Comparison)
    batch_size: int | None = None
    """What the schedule was decided for."""

    @classmethod
    def of(cls, dataset: Any, sampler: Any, options: Options) -> Self:
        """Decide for a dataset, of which `sampler` gives batches of row numbers."""
        sent, sender = dataset, None
        if options.device is not None:
            sent, finish = sent_as_stored(dataset, options.device)
            sender = Sender(options.device, options.dtype, finish=finish)
        data = _data_of(dataset, sampler, options)
        schedule = decide_schedule(
            options, data, cores=cores(), pins=pins_memory(), torch_threads=torch.get_num_threads()
        )
        buffers = None
        if data.batch_bytes is None or data.batch_bytes >= REUSE_BYTES or schedule.run > 1:
            # Kept from one epoch to the next: memory that was used before is what makes it fast.
            batches = schedule.depth + schedule.threads + schedule.helps + 2
            fields = sum(len(each.sources) for each in datasets_within(dataset))
            buffers = BufferPool(most=batches * max(1, fields))
        return cls(
            dataset=dataset,
            sent=sent,
            sender=sender,
            ordered=isinstance(sampler, BlockBatchSampler),
            options=options,
            schedule=schedule,
            buffers=buffers,
            batch_size=getattr(sampler, "batch_size", None),
        )

    def renewed(self, dataset: Any, sampler: Any) -> Self:
        """Read the rows that the subsets within `dataset`, for which it was made, choose by now.

        It is decided anew where the batch size of the sampler was set since.
        """
        made, size = self, getattr(sampler, "batch_size", None)
        if not choose_alike(self.sent, dataset):
            sent = rebuilt(dataset, datasets_within(self.sent))
            made = replace(self, sent=sent, dataset=sent if self.dataset is self.sent else dataset)
        if self.batch_size in (None, size):
            return made
        return self.of(made.dataset, sampler, self.options)

    @classmethod
    def on_device(cls, dataset: Any, options: Options, sender: Sender) -> Self:
        """Give the pipeline of a dataset whose rows lie on a device, where each batch is a gather.

        They are rows as `sender` would get them. It is all done in the stream of the loop, so there
        is nothing to do ahead.
        """
        reason = f"rows are gathered on {sender.device}, in the stream of the loop"
        return cls(
            dataset=dataset,
            sent=dataset,
            sender=Sender(sender.device, options.dtype, finish=sender.finish, aside=False),
            ordered=False,
            options=options,
            schedule=Schedule(threads=0, depth=1, pinned=False, reason=reason),
        )

    def start(self, batches: Iterator[Any]) -> Prefetcher[Job, Made]:
        """Begin to make the batches of these row numbers, one by one or in runs."""
        schedule, options = self.schedule, self.options
        dataset, chosen = one_dataset(self.sent) or (self.sent, None)
        allocate: Allocate = pinned_memory if schedule.pinned else self.buffers or plain_memory
        task = BatchTask(
            dataset=dataset,
            chosen=chosen,
            stack=Stack.of(dataset),
            direct=is_direct(dataset),
            threaded=schedule.threads > 0,
            allocate=allocate,
            pinned=schedule.pinned,
            sender=self.sender,
            dtype=options.dtype,
        )
        function: Callable[[Job], Made] = task
        taken: Iterator[Any] = batches
        if (
            schedule.run > 1
            and isinstance(batches, RunBatches)
            and batches.rows <= len(self.sent)
            and gathers_in_runs(dataset)
        ):
            casts_late = schedule.casts_late
            late = LateCasts.of(dataset.fields.values(), options.dtype) if casts_late else None
            function, taken = RunTask(task, late), runs_of(batches, schedule.run)
        elif schedule.threads and not self.ordered:
            taken = map(_kept, batches)
        plan = ReadAhead.of(self.dataset, options.memory_budget) if self.ordered else None
        jobs = map(Job, itertools.count(), taken) if plan is None else plan.jobs(taken)
        begin: Callable[[], object] = int
        if schedule.pinned or self.sender is not None:
            device = options.device
            index = torch.accelerator.current_device_index() if device is None else device.index
            begin = functools.partial(torch.accelerator.set_device_index, index)
        return Prefetcher(
            function,
            jobs,
            threads=schedule.threads,
            depth=schedule.depth,
            begin=begin,
            helps=schedule.helps,
            turns=Turns(schedule.alone, self.comparison) if schedule.alone else None,
            cores=schedule.cores,
        )


def _data_of(dataset: Any, sampler: Any, options: Options) -> Data:
    """Give what the schedule of a loader depends on."""
    sources = [source for each in datasets_within(dataset) for source in each.sources]
    row_bytes = sum(source.row_bytes for source in sources)
    small_files = any(s.access.kind == "files" and s.row_bytes < LARGE_FILE for s in sources)
    parts = [part for part, _ in parts_of(dataset)]
    gathers = bool(parts) and all(is_direct(part) and not part.transforms.any for part in parts)
    size, gathered = getattr(sampler, "batch_size", None), None
    stored = most = sys.maxsize
    if isinstance(sampler, BlockBatchSampler) and size is not None:
        in_runs = gathered_row_bytes(dataset, options.dtype)
        if in_runs is not None:
            gathered, stored = (nbytes * size for nbytes in in_runs)
        if (window := sampler.limited_window) is not None:
            # Runs that cross windows, on two threads, would decode the chunks of one twice.
            most = window // size
    spans = any(isinstance(source, RegroupedSource) for source in sources)
    return Data(
        batch_bytes=row_bytes * size if sources and size is not None else None,
        library=any(source.access.kind == "library" for source in sources),
        gathered_bytes=gathered,
        stored_bytes=stored,
        most_batches=most,
        epoch_bytes=row_bytes * len(dataset) if isinstance(dataset, Sized) else 0,
        small_files=small_files and gathers,
        gathers=gathers and all(source.access.kind != "files" for source in sources),
        copies=gathers and not spans and all(source.access.in_place for source in sources),
        spans=spans,
    )


def _kept(rows: Any) -> Any:
    """Copy row numbers that a sampler might overwrite with those of the next batch."""
    if isinstance(rows, torch.Tensor):
        return rows.clone()
    return rows.copy() if isinstance(rows, list | np.ndarray) else rows
