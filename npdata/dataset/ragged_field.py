"""A field of samples of different lengths: padded, jagged or a list in a batch.

Idea: a batch is put together once, from views of the values: each sample is copied to its place in
the last buffer, and only what is left of it is filled. Invariant: a batch holds the same values as
the samples, whatever its form; padding is never among the values of `lengths` or offsets. A sample
is a view of the data where that is sound.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.convert import apply, as_tensor, stored_in
from npdata.arrays.dtypes import CLASS_NUMBERS, DType, Ints
from npdata.dataset.batch_memory import Allocate, memory_for_torch, plain_memory, scratch_memory
from npdata.dataset.field import Field, Value
from npdata.dataset.padded import Padded
from npdata.dataset.ragged_form import RaggedForm, batch_of, lay, numbers_in
from npdata.errors import ConversionError, FieldError
from npdata.runtime.made_once import made_once
from npdata.sources.base import Source
from npdata.sources.concatenated.varied import VariedParts
from npdata.sources.ragged import RaggedSource, SpansSource


class RaggedField(Field):
    """Samples of different lengths as tensors.

    Raises `ConversionError` (a TypeError) where no tensor can hold the values as they are or as
    `dtype`, `FieldError` where `padding` is no value of that dtype.
    """

    source: RaggedSource
    form: RaggedForm

    def __init__(
        self,
        label: str | int,
        source: RaggedSource,
        dtype: object = None,
        form: RaggedForm | None = None,
    ) -> None:
        super().__init__(label, source, dtype)
        self.form = form or RaggedForm()
        if self.rule.kind != "number":
            reason = self.rule.reason
            if self.rule.kind != "refused":
                dtype = source.values_dtype
                reason = f"samples of different lengths hold numbers, and these are {dtype}"
                if dtype.names is None:
                    reason += f"; give {CLASS_NUMBERS}"
                elif isinstance(source, SpansSource):
                    reason += (
                        "; of one column make npdata.ragged(npdata.NumpyDataset(values, "
                        f"columns={dtype.names[0]!r}), lengths=...), or offsets=..."
                    )
                elif isinstance(source, VariedParts):
                    reason += (
                        f"; of one column of HDF5 give the name: 'FILE::NAME.{dtype.names[0]}'"
                    )
                else:
                    reason += (
                        "; of one column of all, end to end, make npdata.ragged("
                        "npdata.open_source('FILE::*/NAME.COLUMN'), lengths=...)"
                    )
            raise self.refused(reason)
        self.require_times()
        _require_value(self.form.padding, self.tensor_dtype, label)

    @made_once
    def _fill(self) -> Any:
        """The padding as it is stored, in native byte order: an array without axes."""
        value = torch.full((1,), self.form.padding, dtype=self.tensor_dtype, device="cpu")
        return self._raw(value)[0, ...]

    @property
    def tensor_dtype(self) -> torch.dtype:
        """The dtype of the tensors."""
        dtype = self.rule.result
        assert dtype is not None  # as of all numbers
        return dtype

    @property
    def dtype(self) -> DType:
        """The dtype of the values, as stored."""
        return self.source.values_dtype

    @property
    def joins(self) -> tuple[Any, ...] | None:
        """The shape and dtype of the rows of its samples."""
        return type(self), self.source.row_shape, self.source.values_dtype, self.asked

    def over(self, source: Source) -> "RaggedField":
        """Give a field of the same form over another source of spans."""
        assert isinstance(source, RaggedSource)  # as all that are made of this one
        return RaggedField(self.label, source, self.asked, self.form)

    def row(self, index: int, *, independent: bool = False) -> Value:
        """Give sample `index`, in [0, len): a view of the data where that is sound, else a copy."""
        self.source.check()
        (piece,) = self.source.pieces(np.array([index]))
        shared = self.source.pieces_layout is not None
        if shared and not independent and self.conversion.action == "view":
            return apply(self.conversion, piece)
        try:
            copied = as_tensor(piece, copy=True if shared else None, dtype=self.asked)
        except ConversionError as error:
            raise self.lost(error) from None
        self.source.check()
        return copied

    def stack(self, indices: Ints, allocate: Allocate) -> Value:
        """Gather samples (int64, each in [0, len)) into a batch of this field's form."""
        self.source.check()
        pieces = self.source.pieces(indices)
        sizes = np.fromiter(map(len, pieces), np.int64, len(pieces))
        if self.form.form == "padded" and self.rule.cast is None:
            shape = (len(pieces), int(sizes.max(initial=0)), *self.source.row_shape)
            values = allocate(shape, self.tensor_dtype)
            lay(pieces, self._raw(values), self._fill)
            self.source.check()
            return Padded(values, numbers_in(allocate, sizes))
        if self.form.form != "padded":
            allocate = memory_for_torch(allocate)
        flat = self._flat(pieces, int(sizes.sum()), allocate)
        self.source.check()
        return batch_of(flat, sizes, self.form, allocate)

    def flat(self, indices: Ints) -> Tensor:
        """Give the rows of these samples end to end, without padding."""
        self.source.check()
        pieces = self.source.pieces(indices)
        rows = self._flat(pieces, sum(map(len, pieces)), plain_memory)
        self.source.check()
        return rows

    def _flat(self, pieces: list[NDArray[Any]], rows: int, allocate: Allocate) -> Tensor:
        """Lay the pieces end to end, in the dtype asked for."""
        rule, shape = self.rule, (rows, *self.source.row_shape)
        stored = rule.tensor or self.tensor_dtype
        out = (allocate if rule.cast is None else scratch_memory)(shape, stored)
        if pieces:
            np.concatenate(pieces, out=self._raw(out))
        return out if rule.cast is None else self.cast(out, rule.cast, allocate)

    def _raw(self, out: Tensor) -> NDArray[Any]:
        """Give the memory of a tensor as an array of the stored dtype, in native byte order."""
        return stored_in(out, self.rule, self.source.values_dtype)


def _require_value(padding: Any, dtype: torch.dtype, label: str | int) -> None:
    try:
        kept = torch.full((1,), padding, dtype=dtype, device="cpu").item()
    except (RuntimeError, TypeError, ValueError, OverflowError):
        kept = None
    rounds = dtype.is_floating_point or dtype.is_complex
    lost = kept is None or (np.isinf(kept) and kept != padding if rounds else kept != padding)
    if lost:
        raise FieldError(
            f"padding={padding!r} of field {label!r} is no value of {dtype}; give another, or a "
            "wider dtype="
        )
