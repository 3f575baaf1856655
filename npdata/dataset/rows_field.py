"""A field of rows of one shape: a source, the dtype wanted, and how its rows become tensors.

Idea: both ways out of a source are decided once. A single row, or a slice, is converted where it
lies (`Conversion`); a set of rows is gathered into one buffer (`stack`). Invariant: both give the
same values as NumPy's `array[indices]`, cast to the dtype asked for. A field knows nothing of the
other fields.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.convert import ArrayLayout, apply, as_tensor, decide, stored_in
from npdata.arrays.dtypes import Ints, dtype_rule
from npdata.dataset.batch_memory import Allocate, scratch_memory
from npdata.dataset.field import Field, Value
from npdata.errors import ConversionError
from npdata.sources.base import Source
from npdata.sources.packed.decode import require_one_packing


class RowsField(Field):
    """The rows of one source as tensors.

    Raises `ConversionError` (a TypeError) where no tensor can hold them as they are or as `dtype`.
    """

    def __init__(self, label: str | int, source: Source, dtype: object = None) -> None:
        super().__init__(label, source, dtype)
        self._row_shape = source.shape[1:]
        require_one_packing(source)
        if self.rule.kind == "text" and len(source.shape) > 1:
            raise self.refused(
                "text is kept for one string a row only; a=x[:, 0], b=x[:, 1] are columns of an "
                "array, np.unique(x, return_inverse=True)[1] the numbers of its classes"
            )
        if self.rule.kind == "refused":
            raise self.refused(self.rule.reason)
        if self.conversion.action == "refuse":
            raise self.refused(self.conversion.reason)
        self.require_times()

    @property
    def plain(self) -> bool:
        """Whether a batch is one tensor: for numbers, and not for records and text."""
        return self.rule.kind == "number"

    @property
    def joins(self) -> tuple[Any, ...] | None:
        """The shape and dtype of its rows; numbers that stand for names may be of any width."""
        dtype = "codes" if self.source.categories else self.source.dtype
        return type(self), self._row_shape, dtype, self.asked

    def refused(self, reason: str) -> ConversionError:
        """Give the error for rows that no tensor can hold."""
        if self.source.matlab == "char":
            reason += '; it is a char array of MATLAB: give decode="matlab" and dtype=str'
        return super().refused(reason)

    def row(self, index: int, *, independent: bool = False) -> Value:
        """Give row `index`, in [0, len): a view of the data where that is sound, else a copy."""
        there = None if self.rule.kind == "text" else self.source.row_in_place(index)
        if there is None:
            return super().row(index)
        self.source.check()
        try:
            if independent:
                sample = as_tensor(there, copy=True, dtype=self.asked)
            else:
                sample = apply(self.conversion, there)
        except ConversionError as error:
            raise self.lost(error) from None
        if independent or self.conversion.action != "view":
            self.source.check()
        return sample

    def views(self, rows: Ints) -> list[Value] | None:
        """Give rows as views of the data, or None where that is not sound."""
        if self.conversion.action != "view":
            return None
        self.source.check()
        there = [self.source.row_in_place(row) for row in rows.tolist()]
        if any(row is None for row in there):
            return None
        return [apply(self.conversion, row) for row in there if row is not None]

    def span(self, rows: slice) -> Value | None:
        """Give consecutive or strided rows without a copy, or None where that is not sound."""
        table = self.source.table
        if table is None or self.rule.kind != "number":
            return None
        conversion = decide(ArrayLayout.of(table.array[rows]), dtype=self.asked)
        if conversion.action != "view":
            return None
        self.source.check()
        return apply(conversion, table.array[rows])

    def stack(self, indices: Ints, allocate: Allocate) -> Value:
        """Gather rows (int64, each in [0, len)) into one new tensor of shape (n, *row shape).

        A structured field gives a dict of such tensors, a text field a list.
        """
        tensor, cast = self.rule.tensor, self.rule.cast
        if tensor is None:
            return self._texts_or_records(indices, allocate)
        source, shape = self.source, (len(indices), *self._row_shape)
        own, table = allocate if cast is None else scratch_memory, source.table
        if table is None or not table.typed or not len(indices):
            out = own(shape, tensor)
            if not source.select(indices, out):
                self._read(indices, out)
        else:
            source.check_size()
            # torch gives the interpreter away to make memory, and NumPy does not: an epoch of small
            # batches takes 0.95 of the time.
            new = math.prod(shape) * tensor.itemsize < getattr(own, "new_below", 0)
            few = table.few(indices) if new else None
            if few is None:
                out = own(shape, tensor)
                table.select(indices, out)
            else:
                out = torch.from_numpy(few)
            source.check()
        return out if cast is None else self.cast(out, cast, allocate)

    def _read(self, indices: Ints, out: Tensor) -> None:
        """Have the source read rows, and put their bytes into native order."""
        raw = stored_in(out, self.rule, self.source.dtype)
        self.source.read(indices, raw.view(self.source.dtype))
        if self.rule.swapped:
            np.copyto(raw, raw.view(raw.dtype.newbyteorder()))  # a quarter of the time of byteswap

    def _texts_or_records(self, indices: Ints, allocate: Allocate) -> Value:
        staged = np.empty((len(indices), *self._row_shape), self.source.dtype)
        self.source.read(indices, staged)
        if hasattr(staged.dtype, "na_object"):
            self._require_texts(staged.tolist(), indices)
        try:
            if self.rule.kind == "text":
                return _texts(staged, bytes if self.asked is bytes else str)
            return _fields(staged, allocate)
        except UnicodeDecodeError as error:
            held = (row if isinstance(row, tuple) else (row,) for row in staged.tolist())
            place = next(k for k, texts in enumerate(held) if error.object in texts)
            raise ConversionError(
                f"row {indices[place]} of field {self.label!r} ({self.where}) holds no text: "
                f"{error}; dtype=bytes keeps the bytes (of a column, as a field of its own)"
            ) from error

    def _require_texts(self, values: list[object], indices: Ints) -> None:
        for value, row in zip(values, indices.tolist(), strict=True):
            if not isinstance(value, str):
                raise ConversionError(
                    f"row {row} of field {self.label!r} ({self.where}) is missing, as {value!r}: "
                    "put a text in its place, as np.array([t if isinstance(t, str) else '' for t "
                    "in x.tolist()])"
                )


def _texts(values: NDArray[Any], kind: type) -> list[str | bytes]:
    if kind is bytes:
        return [v if isinstance(v, bytes) else str(v).encode() for v in values.tolist()]
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]


def _fields(records: NDArray[Any], allocate: Allocate) -> dict[str, Any]:
    stacked: dict[str, Any] = {}
    for name in records.dtype.names or ():
        column = records[name]
        if column.dtype.names is not None:
            stacked[name] = _fields(column, allocate)
            continue
        rule = dtype_rule(column.dtype)
        if rule.tensor is None:
            stacked[name] = _texts(column, str)
            continue
        out = stacked[name] = allocate(column.shape, rule.tensor)
        stored_in(out, rule, column.dtype)[...] = column
    return stacked
