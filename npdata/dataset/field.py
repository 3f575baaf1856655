"""One field of a dataset, whatever its samples are: what the dataset asks of it.

Idea: a dataset picks samples by number and knows no kinds of data; each kind of field decides how
one sample becomes a tensor, and how many become a batch. Invariant: sample and batch hold the same
values. Here is the interface alone; rows of one shape are `rows_field`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.convert import Conversion, refuse_lost_numbers
from npdata.arrays.dtypes import DType, DTypeRule, Ints, dtype_rule, numpy_name
from npdata.arrays.indexing import row_number, row_numbers, selects_many
from npdata.arrays.values import casts_by_numpy, copy_values
from npdata.arrays.windows import Windows
from npdata.dataset.batch_memory import Allocate, plain_memory
from npdata.dataset.padded import Padded
from npdata.dataset.ragged_form import RaggedForm
from npdata.dataset.sparse_tensors import dense_row
from npdata.errors import ConversionError
from npdata.runtime.made_once import made_once
from npdata.sources.base import Category, Details, Source
from npdata.sources.concatenated.end_to_end import end_to_end
from npdata.sources.conversion import conversion_of
from npdata.sources.packed.times import MISSING_TIME
from npdata.sources.ragged import PiecesSource

Value: TypeAlias = Any
"""A tensor; a dict of values (structured), a str or a list of them (text), or a ragged batch."""


class Field(ABC):
    """The samples of one source as tensors.

    `label` is the field's name or position, `asked` the dtype asked for, None for as it is. `notes`
    are details, as a source has them, that hold for this field alone. `form` is what a batch is of
    samples that differ in length, or are sparse; None for all others. `windows` is the plan that
    numbers the samples of its dataset, which another dataset of this field keeps.
    """

    notes: Details = ()
    form: RaggedForm | None = None
    windows: Windows | None = None

    def __init__(self, label: str | int, source: Source, asked: object = None) -> None:
        self.label = label
        self.source = source
        self.asked = asked

    @made_once
    def conversion(self) -> Conversion:
        """How one sample becomes a tensor, and why so."""
        return conversion_of(self.source, self.asked)

    @made_once
    def rule(self) -> DTypeRule:
        """How the elements of the values become those of a tensor."""
        return dtype_rule(self.dtype, self.asked)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is decided again from the source, which another process may open anew."""
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(type(self), name, None), made_once)
        }

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: object) -> Value:
        """Give samples as a dataset of this field alone does.

        Examples:
            >>> data = npdata.NumpyDataset(x=np.eye(3), y=np.array([5, 6, 7]))
            >>> data.fields["y"][:], data.fields["y"][-1]
            (tensor([5, 6, 7]), tensor(7))
        """
        if not selects_many(index):
            return self.row(row_number(index, len(self)))
        view = self.span(index) if isinstance(index, slice) else None
        return self.stack(row_numbers(index, len(self)), plain_memory) if view is None else view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Give all samples, read at once: NumPy would ask for one after the other."""
        return np.array(np.asarray(self[:]), dtype, copy=copy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r}, {self.source!r})"

    @property
    def where(self) -> str:
        """What the source is, for people."""
        return self.source.where

    @property
    def paths(self) -> Sequence[str]:
        """The files that the samples come from, in their order; empty where there is one or none.

        They can be counted, indexed and gone through; no list of texts is kept.
        """
        return self.source.paths

    @property
    def categories(self) -> tuple[Category, ...]:
        """What the numbers 0, 1, ... of a label stand for, as names; empty for other fields."""
        return self.source.categories

    @property
    def dtype(self) -> DType:
        """The dtype of the values, as stored."""
        return self.source.dtype

    @property
    def missing(self) -> int | None:
        """The integer that stands for a missing time; None for what are no times."""
        source = self.source
        stored = source.values_dtype if isinstance(source, PiecesSource) else source.dtype
        return MISSING_TIME if stored.kind in "mM" else source.missing

    @property
    def plain(self) -> bool:
        """Whether a batch is one tensor, of which a sample is a row."""
        return False

    @property
    def joins(self) -> tuple[Any, ...] | None:
        """What a field has in common with this one that its samples can follow; None: with none."""
        return None

    def goes_on_with(self, other: "Field") -> bool:
        """Whether the samples of another field, behind those of this one, are of the same kind."""
        mine, others = self.windows, other.windows
        alike = mine is others if mine is None or others is None else mine.alike(others)
        return alike and self.joins is not None and self.joins == other.joins

    def then(self, other: "Field") -> "Field":
        """Give these samples and, behind them, those of a field that they go on with."""
        made = self.over(end_to_end([self.source, other.source]))
        if self.windows is not None and other.windows is not None:
            made.windows = self.windows.then(other.windows)
        return made

    def over(self, source: Source) -> "Field":
        """Give a field of the same kind and dtype over another source."""
        return type(self)(self.label, source, self.asked)

    def row(self, index: int, *, independent: bool = False) -> Value:
        """Give sample `index`, in [0, len): a view of the data where that is sound, else a copy.

        With `independent`, always a copy.
        """
        return row_of(self.stack(np.array([index]), plain_memory), 0)

    def views(self, rows: Ints) -> list[Value] | None:
        """Give samples as views of the data, or None where that is not sound."""
        return None

    @abstractmethod
    def stack(self, indices: Ints, allocate: Allocate) -> Value:
        """Gather samples (int64, each in [0, len)) into one new value of a batch."""

    def span(self, rows: slice) -> Value | None:
        """Give consecutive or strided rows without a copy, or None where that is not sound."""
        return None

    def cast(self, values: Tensor, dtype: torch.dtype, allocate: Allocate) -> Tensor:
        """Give values in another dtype; `ConversionError` for floats that are no integers of it."""
        try:
            refuse_lost_numbers(values, dtype)
        except ConversionError as error:
            raise self.lost(error) from None
        new = values.numel() * dtype.itemsize < getattr(allocate, "new_below", 0)
        if new and casts_by_numpy(values, dtype):
            # 64 x 1,025 numbers from uint16 to int64 take 18 µs, and 28 in memory of torch.
            return torch.from_numpy(values.numpy().astype(numpy_name(dtype)))
        return copy_values(values, allocate(tuple(values.shape), dtype))

    def refused(self, reason: str) -> ConversionError:
        """Give the error for samples that no tensor can hold."""
        return ConversionError(
            f"field {self.label!r} ({self.where}, dtype {self.dtype}) cannot become a tensor: "
            f"{reason}"
        )

    def require_times(self) -> None:
        """Raise where missing times, integers here, would become floats like any other."""
        result = self.conversion.dtype
        if self.source.missing is not None and result is not None and result.is_floating_point:
            raise self.refused(
                f"its missing times are the smallest int64, which {result} would make numbers; "
                "give dtype= where they are decoded, as NumpyDataset('d.nc::time', decode='cf', "
                f"dtype={result}), which gives NaN"
            )

    def lost(self, error: ConversionError) -> ConversionError:
        """Give the error of a cast, with the name of the field."""
        return ConversionError(f"field {self.label!r} ({self.where}): {error}")


def rows_of(stacked: Any, length: int) -> Iterable[Any]:
    """Give the rows of a stacked value as `row_of` does, which takes twice as long for each."""
    if isinstance(stacked, Tensor) and stacked.layout == torch.strided and not stacked.is_nested:
        return stacked.unbind()
    return [row_of(stacked, index) for index in range(length)]


def row_of(stacked: Any, index: int) -> Any:
    """Give one row of a stacked value: of a tensor, a list, or a dict of them."""
    if isinstance(stacked, dict):
        return {name: row_of(value, index) for name, value in stacked.items()}
    if isinstance(stacked, Padded):
        return stacked.values[index, : int(stacked.lengths[index])]
    if isinstance(stacked, Tensor) and stacked.layout == torch.sparse_csr:
        return dense_row(stacked, index)
    return stacked[index]
