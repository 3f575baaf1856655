"""Which fields of a dataset are to be resident: held whole where batches are made.

Idea: what a field needs, what keeps it from being held and what is free are values, and the
decision is a pure function of them and of what was asked for. Invariant: with True everything is
held or an error says what is in the way; "auto" changes where rows come from, never which. It reads
no rows; `load_resident` does.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import StackDataset

from npdata.arrays.dtypes import Ints
from npdata.dataset.field import Field
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.dataset.rows_field import RowsField
from npdata.errors import DoesNotFitError, LoaderError, an
from npdata.loading.schedule import Auto
from npdata.loading.to_device import lacks
from npdata.loading.wrapped_datasets import is_direct, parts_of
from npdata.sampling.order.wrapped import why_unknown
from npdata.sources.base import Source
from npdata.sources.derived.chosen_rows import ChosenRows
from npdata.sources.derived.subset import Places
from npdata.sources.derived.windows import WindowSource

AUTO_SHARE, MOST_SHARE = 0.5, 0.9
"""The parts of the free memory that "auto" and True take, at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldField:
    """A field as something to load: its `sources`, or the rows `used` of its only one.

    A source is held once, so `used`, ascending row numbers, are those that any field of it uses;
    None: all. `obstacle` says why the field cannot be held; `quick` whether its rows are read as
    fast without.
    """

    field: Field
    sources: tuple[Source, ...]
    used: Ints | None
    obstacle: str | None
    quick: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """What may be held on `device` (None: in memory), as `asked`; `obstacle` to all of it."""

    asked: bool | Auto
    device: torch.device | None
    fields: tuple[HeldField, ...] = ()
    obstacle: str | None = None


@dataclass(frozen=True, kw_only=True)
class Residence:
    """Which fields are held, by their number through all datasets, their bytes, and why so."""

    reason: str
    chosen: frozenset[int] = frozenset()
    nbytes: int = 0


def candidates_of(
    dataset: Any,
    chosen: Ints | None = None,
    *,
    asked: bool | Auto,
    device: torch.device | None = None,
    budget: int | None = None,
) -> Candidates:
    """Look at the fields of the datasets within, in their order; `chosen` are the rows in use.

    `budget` bounds the bytes of rows in memory. Raises `LoaderError` (a ValueError) where True asks
    for what cannot be held.

    Examples:
        >>> ds = npdata.NumpyDataset("x.npy", np.arange(5))
        >>> [(len(held.sources), held.quick) for held in candidates_of(ds, asked=True).fields]
        [(1, True), (0, True)]
    """
    if not isinstance(asked, bool) and asked != "auto":
        raise LoaderError(
            f"resident={asked!r}: expected True, False or 'auto'; device= says where, as in "
            'resident=True, device="cuda"'
        )
    parts = list(parts_of(dataset))
    obstacle = _obstacle_to_all(dataset, [part for part, _ in parts], asked, device, budget)
    fields: list[HeldField] = []
    for inner, rows in () if obstacle else parts:
        used = rows if chosen is None else chosen if rows is None else rows[chosen]
        used = None if used is None else np.unique(used)
        if used is not None and len(used) == len(inner):
            used = None
        fields += [_held(inner, field, used, device) for field in inner.fields.values()]
    shared = _with_shared_rows(fields)
    found = Candidates(asked=asked, device=device, fields=shared, obstacle=obstacle)
    decide_residence(found, free=None)
    return found


def _obstacle_to_all(
    dataset: Any,
    parts: list[NumpyDataset],
    asked: bool | Auto,
    device: torch.device | None,
    budget: int | None,
) -> str | None:
    if budget is not None:
        return "memory_budget= bounds the rows that are kept in memory"
    if not parts:
        name = an(type(dataset).__name__)
        return why_unknown(dataset) if asked is True else f"which rows {name} reads is not known"
    if device is None:
        return None
    if isinstance(dataset, StackDataset):
        return f"a StackDataset takes batches apart, which is slow on {device}"
    if asked is not True and any(part.transforms.batch is not None for part in parts):
        return f"batch_transform= would get its batches on {device}, which resident=True allows"
    return None


def _held(
    inner: NumpyDataset, field: Field, used: Ints | None, device: torch.device | None
) -> HeldField:
    stored, bases = field.source, field.source.bases
    if isinstance(stored, ChosenRows):
        used = np.unique(stored.numbers if used is None else stored.numbers[used])
        stored = stored.rows
        used = None if len(used) == len(stored) else used
    if bases != (stored,) or not isinstance(field, RowsField):
        used = None
    to_load = tuple(base for base in bases if device is not None or base.access.kind != "memory")
    obstacle = _obstacle_to(inner, field, to_load, device)
    if obstacle is not None:
        to_load = ()
    return HeldField(
        field=field,
        sources=to_load,
        used=used if to_load else None,
        obstacle=obstacle,
        quick=all(base.access.in_place for base in bases),
    )


def _with_shared_rows(fields: Sequence[HeldField]) -> tuple[HeldField, ...]:
    """Let each field of rows have those that any field of the same source uses."""
    used: dict[Source, list[Ints | None]] = defaultdict(list)
    for held in fields:
        for source in held.sources:
            used[source].append(held.used)
    together = {source: _union(each, len(source)) for source, each in used.items()}
    return tuple(
        held if held.used is None else replace(held, used=together[held.sources[0]])
        for held in fields
    )


def _union(used: Sequence[Ints | None], count: int) -> Ints | None:
    """Give the rows that are in any of these, ascending; None where that is all of them."""
    first, *others = used
    if all(each is first for each in others):
        return first
    parts = [each for each in used if each is not None]
    rows = np.unique(np.concatenate(parts))
    return None if len(parts) < len(used) or len(rows) == count else rows


def _obstacle_to(
    inner: NumpyDataset, field: Field, bases: tuple[Source, ...], device: torch.device | None
) -> str | None:
    if type(inner) is not NumpyDataset or not is_direct(inner):
        return f"{type(inner).__name__} may read its fields in ways of its own"
    if device is not None and inner.transforms.sample is not None:
        return (
            f"transform= gets samples in the memory of the machine, and not on {device}; "
            "batch_transform= gets batches there"
        )
    source = field.source
    if any(base.dtype.hasobject for base in bases):
        return "the bytes of its samples are known only when they are read"
    if device is None or not bases:
        return None
    if type(field) is not RowsField or field.rule.kind != "number":
        return f"only numbers in rows of one shape are held on {device}"
    rule = field.rule
    lacking = [each for each in (rule.tensor, rule.cast) if lacks(device, each)]
    if lacking:
        return f"{device} has no {lacking[0]}; streamed rows may be cast before, by dtype="
    made_of = source.rows if isinstance(source, WindowSource) else source
    made_of = made_of.rows if isinstance(made_of, ChosenRows) else made_of
    if source.bases != (made_of,):
        return f"what its rows are made of is not read row by row on {device}"
    return None


def decide_residence(found: Candidates, *, free: int | None, shared_by: int = 1) -> Residence:
    """Decide; `free` bytes of the device (None: not known) are shared by so many processes.

    Raises `LoaderError` (a ValueError) for what True cannot have, `DoesNotFitError` (a MemoryError)
    where it does not fit.

    Examples:
        >>> ds = npdata.NumpyDataset("x.npy")
        >>> decide_residence(candidates_of(ds, asked=True), free=1000).reason
        '120 bytes of 1 field are held in memory'
        >>> decide_residence(candidates_of(ds, asked="auto"), free=1000).reason
        'rows are read where they lie: memory and mapped files are as fast'
    """
    device, fields = found.device, found.fields
    required = found.asked is True
    where = "in memory" if device is None else f"on {device}"
    obstacle = found.obstacle or next(
        (f"field {h.field.label!r} ({h.field.where}): {h.obstacle}" for h in fields if h.obstacle),
        None,
    )
    if obstacle and required:
        raise LoaderError(f"resident=True, but {obstacle}; leave it out, or write resident='auto'")
    if found.obstacle or (obstacle and device is not None):
        return Residence(reason=f"rows are streamed: {obstacle}")
    chosen = {
        number: held
        for number, held in enumerate(fields)
        if held.sources and (required or device is not None or not held.quick)
    }
    if not chosen:
        where_they_lie = "rows are read where they lie: memory and mapped files are as fast"
        return Residence(reason="all rows are in memory already" if required else where_they_lie)
    used = {source: held.used for held in chosen.values() for source in held.sources}
    nbytes = sum(
        source.row_bytes * (len(source) if rows is None else len(rows))
        for source, rows in used.items()
    )
    places = {
        id(rows): Places.nbytes(rows, len(source))
        for source, rows in used.items()
        if rows is not None
    }
    nbytes += sum(places.values())
    share = MOST_SHARE if required else AUTO_SHARE
    most = None if free is None else int(free * share) // shared_by
    if most is None and not required:
        return Residence(reason=f"rows are streamed: what is free {where} is not known")
    if most is not None and nbytes > most:
        part = f"{share:.0%} of the {free} bytes that are free {where}"
        part += f", for each of {shared_by} processes" if shared_by > 1 else ""
        if required:
            raise DoesNotFitError(
                f"resident=True needs {nbytes} bytes {where}, and may take {most}: {part}. Use "
                "fewer rows (indices=), a smaller dtype in the file, or resident='auto', which "
                "reads them from where they are if they do not fit"
            )
        return Residence(reason=f"rows are streamed: {nbytes} bytes do not fit into {part}")
    count = "1 field" if len(chosen) == 1 else f"{len(chosen)} fields"
    return Residence(
        reason=f"{nbytes} bytes of {count} are held {where}",
        chosen=frozenset(chosen),
        nbytes=nbytes,
    )
