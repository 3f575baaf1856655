"""The moments of the rows of fields, in one pass in the order of the file.

Idea: pieces of a field are read and summed up by threads (`moments`), and merged in order.
Invariant: the figures do not depend on the threads, and memory is a few pieces, whatever the length
of the file.
"""

import math
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.dtypes import DType, Ints
from npdata.arrays.scratch import Scratch
from npdata.dataset.arguments import require_fields
from npdata.dataset.batch_memory import plain_memory
from npdata.dataset.field import Field
from npdata.dataset.moments import BLOCK, Moments, moments_of
from npdata.dataset.progress import Bar
from npdata.dataset.ragged_field import RaggedField
from npdata.dataset.rows_field import RowsField
from npdata.dataset.sparse_field import SparseField
from npdata.dataset.varied_field import VariedField
from npdata.errors import FieldError
from npdata.runtime.machine import cores
from npdata.runtime.shared_calls import shared_calls
from npdata.sources.ragged import RaggedSource

PIECE_BYTES = 32 << 20
"""So many bytes are summed up at a time where they lie; 8 MiB take a fifth more processor time."""
READ_BYTES = 8 << 20
"""So many bytes are read at a time into the memory of a thread."""
AHEAD = 4
"""So many pieces ahead of those that are read, the disk is asked for a piece."""
MERGED = 64
"""So many pieces are kept apart before they are merged."""

KeepAxes = int | Sequence[int] | Mapping[Any, int | Sequence[int]]
Piece = dict[str | int, Moments]
"""What one piece of a field gives for the field, or for each of its columns."""


def moments_of_fields(
    fields: Sequence[Field], rows: Ints | None, keep_axes: KeepAxes, *, progress: bool
) -> dict[str | int, Moments]:
    """Sum up `rows` (ascending; None: all) of fields of numbers, and of each of their columns.

    Raises `FieldError` (a ValueError) for `keep_axes` that name no field or no axis.
    """
    labels = [
        name
        for field in fields
        for name in dict.fromkeys((field.label, *_labels(field.label, field.source.dtype)))
    ]
    require_fields("keep_axes", keep_axes if isinstance(keep_axes, Mapping) else (), labels)
    passes = [_Pass(field, rows) for field in fields if field.conversion.action != "text"]
    found: dict[str | int, list[Moments]] = {}
    total = sum(len(each.parts) for each in passes)
    with closing(Bar(total, "statistics", shown=progress)) as bar:
        for each in passes:
            with closing(_pieces(each, keep_axes)) as pieces:
                for piece in pieces:
                    _add(found, piece)
                    bar.advance()
    return {label: Moments.joined(some) for label, some in found.items()}


def _add(found: dict[str | int, list[Moments]], piece: Piece) -> None:
    """Put a piece behind those before it, of which many, or large ones, are merged."""
    for label, moments in piece.items():
        some = found.setdefault(label, [])
        some.append(moments)
        if len(some) > max(2, min(MERGED, BLOCK // max(1, moments.mean.size))):
            found[label] = [Moments.joined(some)]


class _Pass:
    """The `rows` of a field (ascending; None: all), cut into pieces, the first of them short."""

    def __init__(self, field: Field, rows: Ints | None) -> None:
        if isinstance(field, SparseField):  # with its zeros
            field = RowsField(field.label, field.source, field.asked)
        if isinstance(field, VariedField) and isinstance(field.source, RaggedSource):
            field = RaggedField(field.label, field.source, field.asked)
        self.field = field
        self._rows = rows
        whole = field.span(slice(None)) if rows is None else None
        self._whole = whole if whole is not None and whole.is_contiguous() else None
        """All rows, where they lie without gaps."""
        count = len(field) if rows is None else len(rows)
        self.first: tuple[int, ...] = ()
        """The shape of the first sample, where others have other shapes."""
        if isinstance(field, VariedField) and count:
            self.first = tuple(field.row(0 if rows is None else int(rows[0])).shape)
        stored, cast = field.source.row_bytes, field.conversion.dtype
        grown = 1 if cast is None else max(1, cast.itemsize // max(1, field.source.dtype.itemsize))
        most = READ_BYTES if self._whole is None else PIECE_BYTES
        step = max(1, most // max(1, stored * grown))
        edges = [0, *range(-(-step // 16), count, step), count]
        self.parts = [slice(first, stop) for first, stop in pairwise(edges)]

    def prepare(self, k: int) -> None:
        """Have a piece in memory where it lies; where pieces are read, ask for a later one."""
        in_place = self._whole is not None
        part = self.parts[k if in_place else min(k + AHEAD, len(self.parts) - 1)]
        chosen = range(part.start, part.stop) if self._rows is None else self._rows[part]
        if len(chosen) and chosen[-1] - chosen[0] < 2 * len(chosen):
            source = self.field.source
            advise = source.load if in_place else source.will_need
            advise(int(chosen[0]), int(chosen[-1]) + 1)

    def value(self, k: int, scratch: Scratch) -> Any:
        """Give the rows of a piece where they lie, or in the memory of this thread.

        Fresh memory for each piece stayed with the threads that freed it: 300 MiB in place of 20.
        """
        part = self.parts[k]
        if self._whole is not None:
            return self._whole[part]
        chosen = np.arange(part.start, part.stop) if self._rows is None else self._rows[part]
        if isinstance(self.field, RaggedField):
            return self.field.flat(chosen)
        if not self.field.plain:
            return self.field.stack(chosen, plain_memory)

        def again(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
            held = scratch.array("rows", (math.prod(shape) * dtype.itemsize,), np.uint8)
            return torch.from_numpy(held).view(-1, dtype.itemsize).view(dtype).view(shape)

        return self.field.stack(chosen, again)


def _pieces(rows: _Pass, keep_axes: KeepAxes) -> Generator[Piece, None, None]:
    """Sum up each piece, by threads where the source can be read by them; give them in order.

    The first piece finds numbers near the means, around which all others are summed up.
    """
    memory = threading.local()
    near: dict[str | int, NDArray[np.float64] | None] = {}
    field = rows.field

    def summed(k: int) -> Piece:
        if not hasattr(memory, "scratch"):
            memory.scratch = Scratch()
        rows.prepare(k)
        found: Piece = {}
        value = rows.value(k, memory.scratch)
        if isinstance(field, VariedField):
            value = _end_to_end(value, field, keep_axes, rows.first)
        for label, array in _arrays(field.label, value):
            array = _known(array, field.missing)
            kept = kept_axes(keep_axes, field, label, array.shape)
            over = _over(field, label, array.shape, kept)
            found[label], beside = moments_of(array, over, memory.scratch, near.get(label))
            if k == 0:
                near[label] = beside
        field.source.check()
        return found

    yield summed(0)
    rest = range(1, len(rows.parts))
    threads = 1 if field.source.access.kind == "library" else min(cores(), len(rest))
    with shared_calls(summed, rest, threads=threads - 1, ahead=2 * threads) as pieces:
        yield from pieces


def _end_to_end(
    samples: list[Tensor], field: Field, keep_axes: KeepAxes, first: tuple[int, ...]
) -> Tensor:
    """Lay the values of samples of different shapes end to end, apart in the axes to keep.

    Raises `FieldError` for a sample that is not as long in these as the `first`, by its shape.
    """
    label = field.label
    asked = kept_axes(keep_axes, field, label, (0, *first))
    if not asked or not samples:
        none = torch.empty(0, dtype=field.conversion.dtype)
        return torch.cat([none, *map(torch.ravel, samples)])
    of_first, laid = _over(field, label, (0, *first), asked), []
    for sample in samples:
        over = _over(field, label, (0, *sample.shape), asked)
        others = [k - 1 for k in over[1:]]
        kept = [k for k in range(sample.ndim) if k not in others]
        ends = [1 if k in others else size for k, size in enumerate(sample.shape)]
        if over != of_first or any(ends[k] != first[k] for k in kept):
            raise FieldError(
                f"keep_axes={asked} of field {label!r}: one sample has shape {first}, another "
                f"{tuple(sample.shape)}, and only axes in which all are alike have figures of "
                "their own; without keep_axes there is one for all"
            )
        apart = math.prod(sample.shape[k] for k in others)
        laid.append(sample.permute(*others, *kept).reshape(apart, *ends))
    return torch.cat(laid)


def _arrays(label: str | int, value: Any) -> Iterator[tuple[str | int, NDArray[Any]]]:
    if isinstance(value, dict):
        for name, column in value.items():
            yield from _arrays(f"{label}.{name}", column)
        return
    if isinstance(value, list):  # text
        return
    half = value.is_floating_point() and value.dtype not in (torch.float32, torch.float64)
    if value.dtype == torch.complex32:
        value = value.to(torch.complex64)
    yield label, (value.float() if half else value).numpy()


def _known(values: NDArray[Any], missing: int | None) -> NDArray[Any]:
    """Give times with NaN for those that are missing, where some are; all else as it is."""
    if missing is None or values.dtype != np.int64:
        return values
    absent = values == missing
    return np.where(absent, np.nan, values) if absent.any() else values


def kept_axes(
    keep_axes: KeepAxes, field: Field, label: str | int, shape: Sequence[int]
) -> tuple[int, ...]:
    """Give the axes asked for, of the values `label` of a field, which have this shape.

    Those for all fields, or for all columns of one, leave out samples that are one number.
    """
    if isinstance(keep_axes, Mapping) and label in keep_axes:
        asked = keep_axes[label]
    elif len(shape) == 1 and not isinstance(field, RaggedField):
        asked = ()
    else:
        asked = keep_axes.get(field.label, ()) if isinstance(keep_axes, Mapping) else keep_axes
    axes = tuple(asked) if isinstance(asked, Sequence | np.ndarray) else (asked,)
    if any(isinstance(each, bool) or not isinstance(each, int | np.integer) for each in axes):
        raise FieldError(
            f"keep_axes={keep_axes!r}: expected axes of a sample, as 0 or (0, 1), or a mapping "
            f"from fields to them, as {{{field.label!r}: 0}}"
        )
    return axes


def _labels(label: str | int, dtype: DType) -> Iterator[str | int]:
    """Give the names of a field, or of all columns in it, as statistics have them."""
    for name in dtype.names or ():
        yield from _labels(f"{label}.{name}", dtype[name].base)
    if dtype.names is None:
        yield label


def _over(
    field: Field, label: str | int, shape: Sequence[int], asked: tuple[int, ...]
) -> tuple[int, ...]:
    """Give the axes of a stacked value to sum up over: all but those of a sample to keep."""
    ragged = isinstance(field, RaggedField)  # laid end to end, so that axis 0 is that of samples
    sample = (-1, *shape[1:]) if ragged else tuple(shape[1:])
    wrong = [axis for axis in asked if axis not in range(-len(sample), len(sample))]
    if wrong:
        raise FieldError(
            f"keep_axes={wrong[0]} of field {label!r}: a sample has shape {sample}, "
            f"whose axes count from 0, without that of the rows; a mapping gives each field its "
            f"own axes, as keep_axes={{{label!r}: 0}}"
        )
    first = len(shape) - len(sample)
    kept = {first + axis % len(sample) for axis in asked}
    if 0 in kept:
        raise FieldError(f"keep_axes={asked} of field {label!r}: samples differ in their axis 0")
    return tuple(k for k in range(len(shape)) if k not in kept)
