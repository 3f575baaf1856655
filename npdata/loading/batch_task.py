"""What is done for one batch: advice, the gather, the cast, the copy to the device.

Idea: everything a thread needs is in one frozen value, so a task depends on nothing that changes.
Invariant: it refers to no loader and no iterator, so that threads never keep these alive. It
decides nothing: neither which rows, nor which memory, nor which thread.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from npdata.arrays.dtypes import Ints
from npdata.arrays.indexing import holds_rows, row_numbers
from npdata.dataset.batch import Batch
from npdata.dataset.batch_memory import Allocate, allocating_from
from npdata.dataset.collate import collate
from npdata.dataset.nested import map_tensors, nbytes_of
from npdata.errors import LoaderError, MaskLostError
from npdata.loading.cast import DTypes, cast
from npdata.loading.readahead import Job
from npdata.loading.shared_generators import warning_of_draws
from npdata.loading.to_device import Sender
from npdata.loading.wrapped_datasets import Stack
from npdata.sampling.row_numbers import MaskedRows, RowNumbers, SeededRows


class Made(NamedTuple):
    """Batches that were made together, the samples of each, and the bytes of all.

    `error` is raised in the place of the batch after them.
    """

    batches: Iterator[Any]
    sizes: Sequence[int]
    nbytes: int
    error: Exception | None = None


@dataclass(frozen=True, kw_only=True)
class BatchTask:
    """What is done for a batch; it must not refer to the loader or an iterator.

    `chosen` has the row of `dataset` for each row number, where these are places in a `Subset`:
    to look them up one by one takes half as long as to gather rows of 3 KiB.
    `stack` are the datasets of a `StackDataset`, of which no sample is made.
    `direct`: whether batches are those of `NumpyDataset` itself, which may then be gathered.
    Without it an epoch of 128 rows of 3 KiB takes 1.3 times the processor time.
    `threaded`: whether other threads do the same at the same time.
    """

    dataset: Any
    chosen: Ints | None
    stack: Stack | None
    direct: bool
    threaded: bool
    allocate: Allocate
    pinned: bool
    sender: Sender | None
    dtype: DTypes

    def __call__(self, job: Job) -> Made:
        """Make the batch of a job; an error gets a note that names the batch and its rows."""
        try:
            for advice in job.advice:
                advice.send()
            dataset, rows = self.dataset, job.rows
            if self.chosen is not None:
                rows = _looked_up(rows, self.chosen)
            if self.direct and dataset.gathers_only and not isinstance(rows, RowNumbers):
                rows = row_numbers(rows, len(dataset), masks=False)
                mask = () if rows is job.rows else _mask_of(job.rows, rows)
                return self._finished(job, dataset.gathered(rows, self.allocate), mask)
            shares = self.threaded and job.number == 0
            with warning_of_draws() if shares else contextlib.nullcontext():
                samples, fields = allocating_from(self.allocate, self._collated, rows)
            if isinstance(samples, Batch) and samples.mask is not None:
                return self._finished(job, fields[0], fields[1:])
            return self._finished(job, fields, _mask_of(job.rows, samples))
        except Exception as error:
            if not holds_rows(job.rows):
                raise LoaderError(
                    f"sampler= gave {job.rows!r} where a batch of rows was expected; for one "
                    "row at a time, wrap it: BatchSampler(sampler, batch_size, drop_last=False)"
                ) from error
            name_the_batch(error, job.number, job.rows)
            raise

    def _collated(self, rows: Any) -> tuple[Any, Any]:
        """Give the samples of rows, and their batch; of stacked datasets those of each."""
        rows = rows if self.direct else _without_mask(rows)
        if self.stack is None:
            samples = self.dataset.__getitems__(rows)
            return samples, collate(samples)
        of_parts = [
            part.__getitems__(rows if chosen is None else _looked_up(rows, chosen))
            for part, chosen in self.stack.parts
        ]
        batches, names = [collate(samples) for samples in of_parts], self.stack.names
        return of_parts[0], batches if names is None else dict(zip(names, batches, strict=True))

    def _finished(self, job: Job, fields: Any, mask: tuple[Any, ...] = ()) -> Made:
        if self.dtype is not None:
            fields = self.cast_here(fields)
        if self.pinned:
            fields = map_tensors(_pinned, fields)
        nbytes = nbytes_of(fields)
        batches = iter(((fields, *mask) if mask else fields,))
        if self.sender is not None:
            batches = map(self.sender.receive, [self.sender.send(fields, mask)])
        return Made(batches, (len(job.rows),), nbytes)

    def cast_here(self, fields: Any) -> Any:
        """Cast all but what the device casts: what grows, or all that is finished there."""
        if self.sender is not None and self.sender.finish is not None:
            return fields
        growing = None if self.sender is None else False
        return allocating_from(self.allocate, cast, fields, self.dtype, growing)


def _looked_up(rows: Any, chosen: Ints) -> Any:
    """Give `chosen` of rows, with what random transforms need where they bring it."""
    found = chosen[row_numbers(_plain(rows), len(chosen), masks=False)]
    return replace(rows, rows=found) if isinstance(rows, SeededRows) else found


def name_the_batch(error: Exception, number: int, rows: Any) -> None:
    """Add a note to the error of a batch, with its number and its rows."""
    numbers = list(rows)
    shown = ", ".join(map(str, numbers[:8]))
    more = f", ...] ({len(numbers)} of them)" if len(numbers) > 8 else "]"
    error.add_note(f"in batch {number} of this iteration, rows [{shown}{more}")


def _plain(rows: Any) -> Any:
    """Give row numbers without what a sampler says of them."""
    while isinstance(rows, RowNumbers):
        rows = rows.rows
    return rows


def _without_mask(rows: Any) -> Any:
    """Give rows for a dataset that takes batches apart into samples, which show no padding."""
    if isinstance(rows, SeededRows):
        return replace(rows, rows=rows.rows.rows) if isinstance(rows.rows, MaskedRows) else rows
    return rows.rows if isinstance(rows, MaskedRows) else rows


def _mask_of(rows: Any, samples: Any) -> tuple[Tensor, ...]:
    """Give the mask of rows whose dataset got none, as a `Subset` or `StackDataset`."""
    plain = rows.rows if isinstance(rows, SeededRows) else rows
    if not isinstance(plain, MaskedRows):
        return ()
    if len(samples) != len(plain):
        raise MaskLostError(
            f"__getitems__ of the dataset gave {len(samples)} samples for {len(plain)} rows with a "
            "mask (uneven='mask'), so it is not known which of them count: give one for each row, "
            "or use uneven='ragged'"
        )
    return (torch.from_numpy(plain.mask),)


def _pinned(tensor: Tensor) -> Tensor:
    plain = tensor.layout == torch.strided and not tensor.is_nested
    return tensor.pin_memory() if plain and not tensor.is_pinned() else tensor
