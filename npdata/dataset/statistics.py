"""Mean, deviation and range of every field, in one pass over the rows in the order of the file.

Idea: pieces of a field are read and summed up by threads (`moments`), and merged in order.
Invariant: the figures do not depend on the threads, and memory is a few pieces, whatever the length
of the file.
"""

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from npdata.arrays.indexing import row_numbers
from npdata.arrays.per_process import cores
from npdata.dataset.batch_memory import plain_memory
from npdata.dataset.field import Field
from npdata.dataset.html import table
from npdata.dataset.moments import BLOCK, Memory, Moments, moments_of
from npdata.dataset.progress import Bar
from npdata.dataset.ragged_field import RaggedField
from npdata.errors import FieldError, explained

PIECE_BYTES = 16 << 20
"""So many bytes of a field are read at a time; a thread needs half a millisecond for each."""
MOST_LINES = 24
"""So many lines of a field are printed."""
AHEAD = 4
"""So many pieces ahead, the disk is asked for what lies in a file and not in memory."""

MERGED = 64
"""So many pieces are kept apart before they are merged."""

KeepAxes = int | Sequence[int] | Mapping[Any, int | Sequence[int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldStatistics:
    """One field: arrays that broadcast against a sample, of shape () or with the axes kept.

    `count` values went into `mean`, `std` (of the whole population, as `numpy.std`), `min` and
    `max`; `missing` (NaN) did not. Where no value counts, they are NaN.

    Examples:
        >>> found = npdata.NumpyDataset(x=np.arange(4.0)).statistics()["x"]
        >>> float(found.mean), float(found.max)
        (1.5, 3.0)
    """

    count: NDArray[np.int64]
    missing: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    min: NDArray[Any]
    max: NDArray[Any]
    floating: bool
    """Whether the field holds floating-point numbers."""


Piece = dict[str | int, Moments]
"""What one piece of a field gives for the field, or for each of its columns."""


class Statistics(Mapping[str | int, FieldStatistics]):
    """The statistics of each field, by name or position; print it for a table.

    A column of a structured field is found as `"field.column"`. Text fields have none. A note says
    where a field of columns has one figure for all of them. Raises KeyError for a field without
    statistics.

    Examples:
        >>> found = npdata.NumpyDataset(np.array([[1.0, 30.0], [3.0, np.nan]])).statistics()
        >>> print(found)
        field  count  missing     mean      std  min  max
        0          3        1  11.3333  13.2246    1   30
        one line for 2 columns; statistics(keep_axes={0: 0}) gives one for each
        >>> found[0].mean.shape
        (1,)
    """

    def __init__(
        self,
        fields: Mapping[str | int, FieldStatistics],
        notes: Sequence[str] = (),
        *,
        alone: bool = False,
    ) -> None:
        """Hold the statistics of each field; `alone` says that a batch is one value, no tuple."""
        self._fields = dict(fields)
        self.alone = alone
        self._notes = tuple(notes)

    def __getitem__(self, label: str | int) -> FieldStatistics:
        if label in self._fields:
            return self._fields[label]
        raise KeyError(
            f"no statistics of a field {label!r}; the fields of numbers are {list(self._fields)}"
        )

    def __getattr__(self, name: str) -> Any:
        """Say where the figures are."""
        if name in FieldStatistics.__dataclass_fields__ and "_fields" in self.__dict__:
            label = next(iter(self._fields), 0)
            raise AttributeError(f"each field has its own {name}: found[{label!r}].{name}")
        if name in self.__dict__.get("_fields", ()):
            raise AttributeError(f"the statistics of field {name!r} are found[{name!r}]")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __iter__(self) -> Iterator[str | int]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """Give it as a table, for notebooks."""
        head, *rows = self._table()
        return table("; ".join(["statistics", *self._notes]), head, rows)

    def _table(self) -> list[tuple[str, ...]]:
        names = ("count", "missing", "mean", "std", "min", "max")
        lines: list[tuple[str, ...]] = [("field", *names)]
        for label, found in self._fields.items():
            columns = [np.asarray(getattr(found, name)) for name in names]
            for place in islice(np.ndindex(found.mean.shape), MOST_LINES):
                kept = [str(k) for k, n in zip(place, found.mean.shape, strict=True) if n > 1]
                where = f"{label}[{', '.join(kept)}]" if kept else str(label)
                lines.append((where, *(_number(column[place]) for column in columns)))
            if found.mean.size > MOST_LINES:
                lines.append((f"{label}: {found.mean.size - MOST_LINES} more", *[""] * len(names)))
        return lines

    def __str__(self) -> str:
        """Give a line per field, or per channel where axes were kept."""
        lines = self._table()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = (
            "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])
            for first, *rest in lines
        )
        return "\n".join([*map(str.rstrip, rows), *self._notes])


def chosen_rows(indices: object, count: int) -> NDArray[np.int64] | None:
    """Give the rows that statistics are of, ascending; None for all `count`.

    Raises `FieldError` (a ValueError) for rows that come twice, and for a name.
    """
    if isinstance(indices, str):
        raise FieldError(
            f"statistics() is of all fields, and {indices!r} chooses no rows: "
            f"statistics()[{indices!r}] are those of one"
        )
    if indices is None:
        return None
    rows = np.sort(row_numbers(indices, count))
    if (np.diff(rows) == 0).any():
        raise FieldError("statistics of rows that come twice; pass each row number once")
    return rows


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, np.integer) else f"{value:.6g}"


_WORDS = dict.fromkeys(
    ("axis", "axes", "dim", "keepdims", "keep_axis", "per_channel", "channels"),
    "axes of a sample that keep their own figures are keep_axes=",
)
_WORDS |= dict.fromkeys(
    ("field", "fields", "name", "names", "columns"),
    "it is of all fields: found = ds.statistics(), and found[name] are those of one",
)
"""Words of other libraries, and what to write for them."""


class Summed(ABC):
    """The method `statistics` of a dataset."""

    _fields: tuple[Field, ...]

    @abstractmethod
    def _require_open(self) -> None:
        """Raise `ClosedError` for a closed dataset."""

    @explained(_WORDS)
    def statistics(
        self,
        indices: object = None,
        *,
        keep_axes: KeepAxes = (),
        progress: bool = False,
    ) -> Statistics:
        """Compute count, mean, standard deviation, minimum and maximum of every field of numbers.

        The rows are read once, in the order of the file and by threads, as they are stored and
        cast by `dtype=`, before any transform. `indices` chooses rows: a mask, or row numbers
        without duplicates, such as a part of `split`. `keep_axes` are the axes of a sample that
        keep figures of their own: 0 for each column of a table, and for each channel of images of
        shape (C, H, W). It is for all fields but those whose samples are one number; a mapping, as
        `{"image": 0}`, gives fields their own. NaN counts as missing. Sums are float64, whatever
        the field's dtype.

        Raises `FieldError` (a ValueError) for an axis that is not there and for complex numbers,
        `RowIndexError` (an IndexError) for rows out of range.

        Examples:
            >>> found = npdata.NumpyDataset(np.arange(6.0).reshape(3, 2)).statistics(keep_axes=0)
            >>> found[0].mean.tolist(), found[0].max.tolist()
            ([2.0, 3.0], [4.0, 5.0])
        """
        self._require_open()
        rows = chosen_rows(indices, len(self._fields[0]))
        return statistics_of(self._fields, rows, keep_axes, progress=progress)


def statistics_of(
    fields: Sequence[Field],
    rows: NDArray[np.int64] | None,
    keep_axes: KeepAxes,
    *,
    progress: bool,
) -> Statistics:
    """Compute the statistics of `rows` (ascending; None: all) of fields of numbers.

    Raises `FieldError` (a ValueError) for `keep_axes` that name no field or no axis.
    """
    labels = [field.label for field in fields]
    unknown = [k for k in keep_axes if k not in labels] if isinstance(keep_axes, Mapping) else []
    if unknown:
        raise FieldError(f"keep_axes names {unknown[0]!r}, which is no field; fields are {labels}")
    count = len(fields[0]) if rows is None else len(rows)
    numbers = [field for field in fields if field.conversion.action != "text"]
    parts = {field.label: _parts(count, _row_bytes(field)) for field in numbers}
    found: dict[str | int, list[Moments]] = {}
    bar = Bar(sum(map(len, parts.values())), "statistics") if progress else None
    try:
        for field in numbers:
            asked = _keep_of(keep_axes, field)
            for piece in _pieces(field, parts[field.label], rows, asked):
                for label, moments in piece.items():
                    some = found.setdefault(label, [])
                    some.append(moments)
                    if len(some) > max(2, min(MERGED, BLOCK // max(1, moments.mean.size))):
                        found[label] = [Moments.joined(some)]
                if bar is not None:
                    bar.advance("")
    finally:
        if bar is not None:
            bar.close()
    notes = [note for field in numbers for note in _note(field, _keep_of(keep_axes, field))]
    alone = len(fields) == 1 and fields[0].label == 0
    return Statistics({k: _finished(parts) for k, parts in found.items()}, notes, alone=alone)


def _note(field: Field, kept: tuple[int, ...]) -> Iterator[str]:
    """Say where one figure stands for a few columns, as of a table."""
    shape = field.source.shape[1:]
    if isinstance(field, RaggedField) or kept or len(shape) != 1 or not 1 < shape[0] <= MOST_LINES:
        return
    yield (
        f"one line for {shape[0]} columns; statistics(keep_axes={{{field.label!r}: 0}}) gives one "
        "for each"
    )


def _finished(parts: list[Moments]) -> FieldStatistics:
    moments = Moments.joined(parts)
    none = moments.count == 0
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(moments.squares / np.maximum(1, moments.count))
    return FieldStatistics(
        count=moments.count,
        missing=moments.missing,
        mean=np.where(none, np.nan, moments.mean),
        std=np.where(none, np.nan, deviation),
        min=np.where(none, np.nan, moments.low) if none.any() else moments.low,
        max=np.where(none, np.nan, moments.high) if none.any() else moments.high,
        floating=moments.low.dtype.kind == "f",
    )


def _row_bytes(field: Field) -> int:
    """Give the bytes of a row as it is stored, or as it is cast where these are more."""
    stored, cast = field.source.row_bytes, field.conversion.dtype
    if cast is None:
        return stored
    return max(stored, stored // max(1, field.source.dtype.itemsize) * cast.itemsize)


def _parts(count: int, row_bytes: int) -> list[slice]:
    """Cut `count` rows into pieces, the first short; one, without rows, where there are none."""
    step = max(1, PIECE_BYTES // max(1, row_bytes))
    edges = [0, *range(-(-step // 16), count, step), count]
    return [slice(first, stop) for first, stop in pairwise(edges)]


def _pieces(
    field: Field, parts: Sequence[slice], rows: NDArray[np.int64] | None, asked: tuple[int, ...]
) -> Iterator[Piece]:
    """Sum up each part, by threads where the source can be read by them; give them in order.

    The first part finds numbers near the means, around which all others are summed up.
    """
    memories = threading.local()
    near: dict[str | int, NDArray[np.float64] | None] = {}
    whole = field.span(slice(None)) if rows is None else None

    def summed(k: int) -> Piece:
        if not hasattr(memories, "one"):
            memories.one, memories.rows = Memory(), Memory()
        _will_need(field, parts[min(k + AHEAD, len(parts) - 1)], rows)
        found: Piece = {}
        if whole is not None and whole.is_contiguous():
            value = whole[parts[k]]
        else:
            value = _read(field, parts[k], rows, memories.rows)
        for label, array in _arrays(field.label, value):
            over = _over(field, label, array.shape, asked)
            found[label], beside = moments_of(array, over, memories.one, near.get(label))
            if k == 0:
                near[label] = beside
        field.source.check()
        return found

    yield summed(0)
    threads = 1 if field.source.access.kind == "library" else cores()
    if threads == 1 or len(parts) == 1:
        yield from map(summed, range(1, len(parts)))
        return
    with ThreadPoolExecutor(threads, "npdata") as pool:
        waiting = iter(range(1, len(parts)))
        begun: list[Future[Piece]] = []
        try:
            begun.extend(pool.submit(summed, k) for k in islice(waiting, 2 * threads))
            while begun:
                yield begun.pop(0).result()
                begun.extend(pool.submit(summed, k) for k in islice(waiting, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _will_need(field: Field, part: slice, rows: NDArray[np.int64] | None) -> None:
    """Have the rows of a later part read from the disk now, unless most between them are others."""
    chosen = range(part.start, part.stop) if rows is None else rows[part]
    if len(chosen) and chosen[-1] - chosen[0] < 2 * len(chosen):
        field.source.will_need(int(chosen[0]), int(chosen[-1]) + 1)


def _read(field: Field, part: slice, rows: NDArray[np.int64] | None, memory: Memory) -> Any:
    """Give the rows of a part in the memory of this thread.

    Fresh memory for each part stayed with the threads that freed it: 300 MiB in place of 20.
    """
    chosen = np.arange(part.start, part.stop) if rows is None else rows[part]
    if isinstance(field, RaggedField):
        return field.flat(chosen)
    if not field.plain:
        return field.stack(chosen, plain_memory)

    def again(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        held = memory.of((math.prod(shape) * dtype.itemsize,), np.dtype(np.uint8))
        return torch.from_numpy(held).view(-1, dtype.itemsize).view(dtype).view(shape)

    return field.stack(chosen, again)


def _arrays(label: str | int, value: Any) -> Iterator[tuple[str | int, NDArray[Any]]]:
    if isinstance(value, dict):
        for name, column in value.items():
            yield from _arrays(f"{label}.{name}", column)
        return
    if isinstance(value, list):  # text
        return
    if value.is_complex():
        raise FieldError(f"field {label!r} holds complex numbers, which have no order and no range")
    half = value.is_floating_point() and value.dtype not in (torch.float32, torch.float64)
    yield label, (value.float() if half else value).numpy()


def _keep_of(keep_axes: KeepAxes, field: Field) -> tuple[int, ...]:
    """Give the axes asked for; those for all fields leave out samples that are one number."""
    if isinstance(keep_axes, Mapping):
        asked = keep_axes.get(field.label, ())
    else:
        asked = () if field.plain and not field.source.shape[1:] else keep_axes
    axes = tuple(asked) if isinstance(asked, Sequence | np.ndarray) else (asked,)
    if any(not isinstance(axis, int | np.integer) for axis in axes):
        raise FieldError(
            f"keep_axes={keep_axes!r}: expected axes of a sample, as 0 or (0, 1), or a mapping "
            f"from fields to them, as {{{field.label!r}: 0}}"
        )
    return axes


def _over(
    field: Field, label: str | int, shape: Sequence[int], asked: tuple[int, ...]
) -> tuple[int, ...]:
    """Give the axes of a stacked value to sum up over: all but those of a sample to keep."""
    if isinstance(field, RaggedField):
        if 0 in asked:
            raise FieldError(f"keep_axes=0 of field {label!r}: its samples differ in it")
        asked = tuple(axis - 1 if axis > 0 else axis for axis in asked)
    axes = range(-(len(shape) - 1), len(shape) - 1)
    wrong = [axis for axis in asked if axis not in axes]
    if wrong:
        raise FieldError(
            f"keep_axes={wrong[0]} of field {label!r}: a sample has shape {tuple(shape[1:])}; a "
            f"mapping gives each field its own axes, as keep_axes={{{label!r}: 0}}"
        )
    kept = {1 + axis % (len(shape) - 1) for axis in asked}
    return tuple(k for k in range(len(shape)) if k not in kept)
