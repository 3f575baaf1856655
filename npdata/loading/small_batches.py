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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.dtypes import NATIVE, Ints, torch_dtype
from npdata.dataset.field import Field
from npdata.dataset.nested import nbytes_of
from npdata.dataset.rows_field import RowsField
from npdata.loading.batch_task import BatchTask, Made, name_the_batch
from npdata.loading.cast import DTypes
from npdata.loading.late_casts import LateCasts, bytes_of_row
from npdata.loading.readahead import Job
from npdata.loading.wrapped_datasets import is_direct
from npdata.sampling.epochs import Batches
from npdata.sampling.order.wrapped import chosen_of
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


def gathers_in_runs(dataset: Any) -> bool:
    """Whether there is no more to a batch of a dataset than to gather its rows."""
    return is_direct(dataset) and dataset.gathers_only


def gathered_row_bytes(dataset: Any, dtype: DTypes) -> tuple[int, int] | None:
    """Give the bytes of a row in a run, at most: as in a batch, and where casts wait.

    None where batches cannot be gathered in runs: functions, fields that are no plain tensors,
    dtypes that NumPy lacks.

    Examples:
        >>> ds = npdata.NumpyDataset(np.zeros((5, 3), np.uint8), np.arange(5))
        >>> gathered_row_bytes(ds, None), gathered_row_bytes(ds, torch.float32)
        ((11, 11), (20, 20))
        >>> gathered_row_bytes(ds, {0: torch.float32})
        (20, 11)
        >>> gathered_row_bytes(ds, torch.bfloat16) is None
        True
    """
    inner = chosen_of(dataset)
    wanted = set(dtype.values()) if isinstance(dtype, Mapping) else {dtype} - {None}
    if not gathers_in_runs(inner) or not wanted <= _SHARED:
        return None
    fields = tuple(inner.fields.values())
    if not all(type(field) is RowsField and field.rule.result in _SHARED for field in fields):
        return None

    def most(read: Iterable[Field], *others: torch.dtype | None) -> int:
        return sum(bytes_of_row(f, f.rule.tensor, f.rule.cast, *others) for f in read)

    late = LateCasts.of(fields, dtype)
    gathered = most(fields, *wanted)
    return gathered, gathered if late is None else most(late.fields)


@dataclass(frozen=True)
class RunTask:
    """What is done for a run.

    `one` makes a batch by itself, where they cannot be made at once. With `late` casts a run is
    gathered as it is stored, and each batch is cast when the loop asks for it.
    """

    one: BatchTask
    late: LateCasts | None = None

    def __call__(self, job: Job) -> Made:
        """Gather a run, or what of it comes before an error; raises that of its first batch."""
        run: RunRows = job.rows
        for advice in job.advice:
            advice.send()
        try:
            return self._together(run)
        except Exception as error:
            return self._singly(run, error)  # made one by one, they tell which of them it is

    def _together(self, run: RunRows) -> Made:
        one, late, dtypes = self.one, self.late, None
        rows = run.rows if one.chosen is None else one.chosen[run.rows]
        sizes, mask = [len(run.batches[0])] * len(run.batches), _mask_of(run.batches)
        # To look at the row numbers again would wait for the interpreter once more: 1.08 times.
        if late is None:
            fields = one.cast_here(one.dataset.gathered(rows, one.allocate))
            nbytes = nbytes_of(fields)
        else:
            fields = one.dataset.gathered(rows, one.allocate, late.fields)
            nbytes, dtypes = len(rows) * late.row_bytes, late.dtypes
        apart = functools.partial(_taken_apart, sizes=sizes, dtypes=dtypes)
        if one.sender is None:
            made = apart((fields, *mask) if mask else fields)
        else:  # taken apart when the loop asks for the first batch
            arrived = map(one.sender.receive, [one.sender.send(fields, mask)])
            made = itertools.chain.from_iterable(map(apart, arrived))
        return Made(_ended_by_an_error(made, run), sizes, nbytes)

    def _singly(self, run: RunRows, failed: Exception) -> Made:
        made: list[Made] = []
        try:
            for number, rows in enumerate(run.batches, run.first):
                made.append(self.one(Job(number=number, rows=rows)))
        except Exception as error:
            if not made:
                raise
            failed = error
        if len(made) == len(run.batches):
            raise failed  # of no batch: a signal handler of the user raised it
        batches = itertools.chain.from_iterable(each.batches for each in made)
        sizes = [size for each in made for size in each.sizes]
        return Made(batches, sizes, sum(each.nbytes for each in made), failed)


def _mask_of(batches: Batches) -> tuple[Tensor, ...]:
    if isinstance(batches, np.ndarray):
        return ()
    masks = [rows.mask for rows in batches if isinstance(rows, MaskedRows)]
    return (torch.from_numpy(np.concatenate(masks)),) if masks else ()


def _taken_apart(
    run: Any, sizes: list[int], dtypes: Sequence[str | None] | None = None
) -> Iterator[Any]:
    """Give each batch of a stacked run: a tensor, a list or a dict, or a pair of it and its mask.

    Its tensors have a storage of their own over the memory of the run, and are no views for
    autograd: views of one tensor would share a version, and `torch.save` would write the run. On a
    device they have one storage. `dtypes` are what the tensors of each field are cast to, in memory
    of their own.

    Examples:
        >>> [batch[0].tolist() for batch in _taken_apart([torch.arange(4), torch.zeros(4)], [2, 2])]
        [[0, 1], [2, 3]]
    """
    if isinstance(run, tuple):
        fields, mask = run
        return zip(_taken_apart(fields, sizes, dtypes), _parts(mask, sizes), strict=True)
    if isinstance(run, Tensor):
        return _parts(run, sizes, dtypes[0] if dtypes else None)
    fields = run.values() if isinstance(run, dict) else run
    parts = map(_parts, fields, itertools.repeat(sizes), dtypes or itertools.repeat(None))
    columns = zip(*parts, strict=True)
    if isinstance(run, dict):
        names = tuple(run)
        return (dict(zip(names, values, strict=True)) for values in columns)
    return map(list, columns)


def _ended_by_an_error(made: Iterator[Any], run: RunRows) -> Iterator[Any]:
    """Give what is `made`; an error ends it, and gets a note of the batch that it came in.

    There may be no memory for one field of a batch, after there was some for another.
    """
    given = itertools.count(1)
    try:
        yield from itertools.compress(made, given)  # C counts them: 0.02 µs a batch
    except Exception as error:
        place = next(given) - 1
        name_the_batch(error, run.first + place, run.batches[place])
        raise


def _parts(tensor: Tensor, sizes: list[int], dtype: str | None = None) -> Iterator[Tensor]:
    if tensor.device.type != "cpu":
        return iter(torch.unsafe_split_with_sizes(tensor, sizes))  # each with a version of its own
    # One call of C after the other, 0.6 µs a tensor; torch.split_copy takes 1.5.
    array = tensor.numpy()
    parts: Iterable[NDArray[Any]] = array.reshape(len(sizes), sizes[0], *array.shape[1:])
    if dtype is not None:
        parts = map(methodcaller("astype", dtype), parts)
    return map(torch.from_numpy, parts)
