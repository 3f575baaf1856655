"""Runs of small batches: gathered by one call, and handed out one by one.

Idea: a batch of a few KiB costs more in Python than in copying, so the rows of many are gathered
together; each batch is then a tensor of its own over a part of that memory, which no other batch
has a row of. Row numbers are not looked at: the sampler numbers no others. Invariant: batches,
errors and counts are those of batches made one by one: where a run fails, its batches are made
again, each by itself, up to the one that cannot be. A run holds at most `RUN_BYTES`, so that is the
most that a batch which is kept keeps alive.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.dtypes import NATIVE, Ints, torch_dtype
from npdata.dataset.nested import nbytes_of
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.dataset.rows_field import RowsField
from npdata.loading.batch_task import BatchTask, Made
from npdata.loading.cast import DTypes
from npdata.loading.readahead import Job
from npdata.loading.wrapped_datasets import is_direct, one_dataset
from npdata.sampling.epochs import Batches
from npdata.sampling.row_numbers import MaskedRows, RowNumbers

_SHARED = frozenset(map(torch_dtype, NATIVE))
"""The dtypes that tensors and arrays have in common."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRows(RowNumbers):
    """The rows of batches of one size that follow each other, the first of number `first`."""

    first: int
    batches: Batches
    rows: Ints


def runs_of(batches: Any, most: int) -> Iterator[RunRows]:
    """Give `batches`, the `RunBatches` of a sampler, in runs of 1, 2, 4, ... `most` of them.

    The first are short, so that who looks at one batch alone does not wait for many.

    Examples:
        >>> batches = iter(npdata.BlockBatchSampler(8, 1, shuffle=False))
        >>> [run.rows.tolist() for run in runs_of(batches, 4)]
        [[0], [1, 2], [3, 4, 5, 6], [7]]
    """
    first, size = 0, 1
    while len(taken := batches.take(size)):
        if isinstance(taken, np.ndarray):
            rows = taken.reshape(-1)
        else:
            plain = [part.rows if isinstance(part, MaskedRows) else part for part in taken]
            rows = np.concatenate(plain)
        yield RunRows(first=first, batches=taken, rows=rows)
        first += len(taken)
        size = min(2 * size, most)


def gathered_in_runs(dataset: Any, rows: int = 0) -> tuple[NumpyDataset, Ints | None] | None:
    """Give the dataset whose rows are gathered in runs, and its row for each; see `one_dataset`.

    None where there is more to a batch, or `dataset` has fewer than `rows` rows.
    """
    found = one_dataset(dataset)
    if found is None or rows > len(dataset):
        return None
    return found if is_direct(found[0]) and found[0].gathers_only else None


def gathered_row_bytes(dataset: Any, dtype: DTypes) -> int | None:
    """Give the bytes of a row in a batch, at most, where batches can be gathered in runs.

    None where they cannot: functions, fields that are no plain tensors, dtypes that NumPy lacks.

    Examples:
        >>> ds = npdata.NumpyDataset(np.zeros((5, 3), np.uint8), np.arange(5))
        >>> gathered_row_bytes(ds, None), gathered_row_bytes(ds, torch.float32)
        (11, 20)
        >>> gathered_row_bytes(ds, torch.bfloat16) is None
        True
    """
    found = gathered_in_runs(dataset)
    wanted = set(dtype.values()) if isinstance(dtype, Mapping) else {dtype} - {None}
    if found is None or not wanted <= _SHARED:
        return None
    total = 0
    for field in found[0].fields.values():
        if type(field) is not RowsField or field.rule.result not in _SHARED:
            return None
        words = [*wanted, *(d for d in (field.rule.tensor, field.rule.cast) if d is not None)]
        elements = int(np.prod(field.source.shape[1:], dtype=np.int64))
        total += elements * max(word.itemsize for word in words)
    return total


@dataclass(frozen=True)
class RunTask:
    """What is done for a run of `dataset`, of whose rows `chosen` has one for each row number.

    `one` makes a batch by itself, where they cannot be made at once.
    """

    one: BatchTask
    dataset: NumpyDataset
    chosen: Ints | None

    def __call__(self, job: Job) -> Made:
        """Gather a run, or what of it comes before an error; raises that of its first batch."""
        run: RunRows = job.rows
        if job.advice is not None:
            job.advice.send()
        try:
            return self._together(run)
        except Exception as error:
            return self._singly(run, error)  # made one by one, they tell which of them it is

    def _together(self, run: RunRows) -> Made:
        rows = run.rows if self.chosen is None else self.chosen[run.rows]
        # To look at the row numbers again would wait for the interpreter once more: 1.08 times.
        fields = self.one.cast_here(self.dataset.gathered(rows, self.one.allocate))
        sizes, mask = [len(run.batches[0])] * len(run.batches), _mask_of(run.batches)
        sender = self.one.sender
        if sender is None:
            made = _taken_apart(((fields, *mask) if mask else fields), sizes, masked=bool(mask))
        else:  # when the loop asks for the first
            arrived = map(sender.receive, [sender.send(fields, mask)])
            apart = functools.partial(_taken_apart, sizes=sizes, masked=bool(mask))
            made = itertools.chain.from_iterable(map(apart, arrived))
        return Made(_ended_by_an_error(made), sizes, nbytes_of(fields))

    def _singly(self, run: RunRows, failed: Exception) -> Made:
        made: list[Made] = []
        for number, rows in enumerate(run.batches, run.first):
            try:
                made.append(self.one(Job(number=number, rows=rows)))
            except Exception as error:
                if not made:
                    raise
                failed = error
                break
        else:
            raise failed  # of no batch: a signal handler of the user raised it
        batches = itertools.chain.from_iterable(each.batches for each in made)
        sizes = [size for each in made for size in each.sizes]
        return Made(batches, sizes, sum(each.nbytes for each in made), failed)


def _mask_of(batches: Batches) -> tuple[Tensor, ...]:
    if isinstance(batches, np.ndarray):
        return ()
    masks = [rows.mask for rows in batches if isinstance(rows, MaskedRows)]
    return (torch.from_numpy(np.concatenate(masks)),) if masks else ()


def _taken_apart(run: Any, sizes: list[int], *, masked: bool = False) -> Iterator[Any]:
    """Give the part of each batch in a stacked run: a tensor, a list or a dict of them.

    If it is `masked`, a pair with its mask. Each is a tensor with a storage of its own over the
    memory of the run, and no view for autograd: views of one tensor would share a version, and
    `torch.save` would write the run. On a device they have one storage.

    Examples:
        >>> [batch[0].tolist() for batch in _taken_apart([torch.arange(4), torch.zeros(4)], [2, 2])]
        [[0, 1], [2, 3]]
    """
    if masked:
        fields, mask = run
        return zip(_taken_apart(fields, sizes), _parts(mask, sizes), strict=True)
    if isinstance(run, Tensor):
        return _parts(run, sizes)
    if isinstance(run, dict):
        columns = zip(*[_parts(part, sizes) for part in run.values()], strict=True)
        names = tuple(run)
        return (dict(zip(names, values, strict=True)) for values in columns)
    return map(list, zip(*[_parts(part, sizes) for part in run], strict=True))


def _ended_by_an_error(made: Iterator[Any]) -> Iterator[Any]:
    """Give what is `made`, and nothing after an error, which may have come between two fields."""
    yield from made


def _parts(tensor: Tensor, sizes: list[int]) -> Iterator[Tensor]:
    if tensor.device.type != "cpu":
        return iter(torch.unsafe_split_with_sizes(tensor, sizes))  # each with a version of its own
    # One call of C after the other, 0.6 µs a tensor; torch.split_copy takes 1.5.
    array: NDArray[Any] = tensor.numpy()
    return map(torch.from_numpy, array.reshape(len(sizes), sizes[0], *array.shape[1:]))
