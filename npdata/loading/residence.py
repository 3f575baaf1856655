"""Which fields of a dataset are to be resident: held whole where batches are made.

Idea: what a field needs, what keeps it from being held and what is free are values, and the
decision is a pure function of them and of what was asked for. Invariant: with True everything is
held or an error says what is in the way; "auto" changes where rows come from, never which. It reads
no rows; `load_resident` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import StackDataset

from npdata.dataset.field import Field
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.dataset.rows_field import RowsField
from npdata.errors import DoesNotFitError, LoaderError
from npdata.loading.schedule import Auto
from npdata.loading.wrapped_datasets import is_direct, parts_of
from npdata.runtime.made_once import made_once
from npdata.sources.base import Source
from npdata.sources.derived.subset import Places
from npdata.sources.derived.windows import WindowSource

AUTO_SHARE, MOST_SHARE = 0.5, 0.9
"""The parts of the free memory that "auto" and True take, at most."""
_IN_PLACE = ("memory", "mapped")
"""What "auto" leaves where it is: on the machine itself it is read at the speed of memory."""


class UsedRows:
    """The rows of a dataset that are used, by their numbers, ascending, out of `count`."""

    def __init__(self, numbers: NDArray[np.int64], count: int) -> None:
        """Take the numbers."""
        self.numbers = numbers
        self.nbytes = Places.nbytes(numbers, count)
        self._count = count

    @made_once
    def places(self) -> Places:
        """Where each of them lies, once they are loaded: the same for all fields."""
        return Places(self.numbers, self._count)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldField:
    """A field as something to load: `nbytes` of `sources`, or of the rows `part` of it.

    `obstacle` says why it cannot be held; `quick` whether its rows are read as fast without.
    """

    field: Field
    sources: tuple[Source, ...]
    part: UsedRows | None
    nbytes: int
    obstacle: str | None
    quick: bool


@dataclass(frozen=True, kw_only=True)
class Residence:
    """Which fields are held, by their number through all datasets, their bytes, and why so."""

    chosen: frozenset[int]
    nbytes: int
    reason: str

    @classmethod
    def streamed(cls, reason: str) -> Self:
        """Hold none."""
        return cls(chosen=frozenset(), nbytes=0, reason=reason)


def held_fields(
    dataset: Any, chosen: NDArray[np.int64] | None, device: torch.device | None
) -> list[HeldField]:
    """Give the fields of the datasets within, in their order; `chosen` are the rows that are used.

    Empty where the rows that `dataset` reads are not known.

    Examples:
        >>> ds = npdata.NumpyDataset("x.npy", np.arange(5))
        >>> [(held.nbytes, held.quick) for held in held_fields(ds, None, None)]
        [(120, True), (0, True)]
    """
    found = []
    for inner, rows in parts_of(dataset):
        used = rows if chosen is None else chosen if rows is None else rows[chosen]
        numbers = None if used is None else np.unique(used)
        part = None
        if numbers is not None and len(numbers) < len(inner):
            part = UsedRows(numbers, len(inner))
        obstacle = _obstacle_of(inner, device)
        found += [_held(field, part, device, obstacle) for field in inner.fields.values()]
    return found


def _obstacle_of(inner: NumpyDataset, device: torch.device | None) -> str | None:
    if type(inner) is not NumpyDataset or not is_direct(inner):
        return f"{type(inner).__name__} may read its fields in ways of its own"
    if device is not None and inner.transforms.sample is not None:
        return (
            f"transform= gets samples in the memory of the machine, and not on {device}; "
            "batch_transform= gets batches there"
        )
    return None


def _held(
    field: Field, part: UsedRows | None, device: torch.device | None, obstacle: str | None
) -> HeldField:
    source = field.source
    bases = source.bases
    if bases != (source,) or not isinstance(field, RowsField):
        part = None
    to_load = tuple(base for base in bases if device is not None or base.access.kind != "memory")
    if obstacle is None:
        obstacle = _obstacle_to(field, to_load, device)
    if obstacle is not None:
        to_load = ()
    return HeldField(
        field=field,
        sources=to_load,
        part=part,
        nbytes=sum((len(b) if part is None else len(part.numbers)) * b.row_bytes for b in to_load),
        obstacle=obstacle,
        quick=all(base.access.kind in _IN_PLACE for base in bases),
    )


def _obstacle_to(field: Field, bases: Sequence[Source], device: torch.device | None) -> str | None:
    source = field.source
    if any(base.dtype.hasobject for base in bases):
        return "the bytes of its samples are known only when they are read"
    if device is None or not bases:
        return None
    if type(field) is not RowsField or field.rule.kind != "number":
        return f"only numbers in rows of one shape are held on {device}"
    made_of = source.made_of if isinstance(source, WindowSource) else (source,)
    if source.bases != made_of:
        return f"what its rows are made of is not read row by row on {device}"
    return None


def decide_residence(
    asked: bool | Auto,
    fields: Sequence[HeldField],
    *,
    free: int | None,
    shared_by: int = 1,
    device: torch.device | None = None,
    obstacle: str | None = None,
) -> Residence:
    """Decide; `obstacle` is what keeps all fields from being held.

    `free` bytes of the device are shared by so many processes. Raises `LoaderError` (a ValueError)
    for what True cannot have, `DoesNotFitError` (a MemoryError) where it does not fit.

    Examples:
        >>> held = held_fields(npdata.NumpyDataset("x.npy"), None, None)
        >>> decide_residence(True, held, free=1000).reason
        '120 bytes of 1 field are held in memory'
        >>> decide_residence("auto", held, free=1000).reason
        'rows are read where they lie: memory and mapped files are as fast'
    """
    where = "in memory" if device is None else f"on {device}"
    in_the_way = obstacle or next(
        (f"field {h.field.label!r} ({h.field.where}): {h.obstacle}" for h in fields if h.obstacle),
        None,
    )
    if in_the_way is not None and asked is True:
        raise LoaderError(
            f"resident=True, but {in_the_way}; leave it out, or write resident='auto'"
        )
    if obstacle is not None or (in_the_way is not None and device is not None):
        return Residence.streamed(f"rows are streamed: {in_the_way}")
    chosen = [k for k, held in enumerate(fields) if held.obstacle is None and held.sources]
    if asked is not True and device is None:
        chosen = [k for k in chosen if not fields[k].quick]
    if not chosen:
        if asked is True:
            return Residence(chosen=frozenset(), nbytes=0, reason="all rows are in memory already")
        return Residence.streamed(
            "rows are read where they lie: memory and mapped files are as fast"
        )
    used = {each for k in chosen if (each := fields[k].part) is not None}
    nbytes = sum(fields[k].nbytes for k in chosen) + sum(each.nbytes for each in used)
    share = MOST_SHARE if asked is True else AUTO_SHARE
    room = None if free is None else int(free * share) // shared_by
    if room is None and asked is not True:
        return Residence.streamed(f"rows are streamed: what is free {where} is not known")
    if room is not None and nbytes > room:
        part = f"{share:.0%} of the {free} bytes that are free {where}"
        part += f", for each of {shared_by} processes" if shared_by > 1 else ""
        if asked is True:
            raise DoesNotFitError(
                f"resident=True needs {nbytes} bytes {where}, and may take {room}: {part}. Use "
                "fewer rows (indices=), a smaller dtype in the file, or resident='auto', which "
                "reads them from where they are if they do not fit"
            )
        return Residence.streamed(f"rows are streamed: {nbytes} bytes do not fit into {part}")
    fields_text = "1 field" if len(chosen) == 1 else f"{len(chosen)} fields"
    return Residence(
        chosen=frozenset(chosen),
        nbytes=nbytes,
        reason=f"{nbytes} bytes of {fields_text} are held {where}",
    )


def obstacle_to_all(
    dataset: Any,
    asked: bool | Auto,
    device: torch.device | None,
    budget: int | None,
) -> str | None:
    """Give what keeps all fields of a dataset from being held, None where nothing does."""
    if budget is not None:
        return "memory_budget= bounds the rows that are kept in memory"
    parts = [part for part, _ in parts_of(dataset)]
    if not parts:
        return f"which rows a {type(dataset).__name__} reads is not known"
    if device is None:
        return None
    if isinstance(dataset, StackDataset):
        return f"a StackDataset takes batches apart, which is slow on {device}"
    if asked is not True and any(part.transforms.batch is not None for part in parts):
        return f"batch_transform= would get its batches on {device}, which resident=True allows"
    return None
