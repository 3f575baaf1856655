"""A batch: a list of samples that already holds them stacked, field by field.

Idea: torch stacks the list of samples that `__getitems__` gives. A `Batch` is that list for
everybody who looks (`Subset`, `default_collate`), but its samples are made only on the first look;
`npdata.collate` never looks. Invariant: samples and the collated batch both have gone through
`batch_transform`, which sees the batch whole; from the first look on it is an ordinary list. With a
mask it gives no samples, which could not show what is padding. Code in C that reaches into the list
without a call sees a stand-in; `torch.stack` and its like then ask that.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch.utils.data._utils.pin_memory import pin_memory

from npdata.arrays.dtypes import Ints
from npdata.dataset.field import Field, rows_of
from npdata.dataset.nested import map_fields
from npdata.dataset.ragged_form import RaggedForm, marked
from npdata.dataset.stacking import stack_samples, take_apart
from npdata.dataset.transforms import Bound, Transform, transformed_batch
from npdata.dataset.varied_field import Varied
from npdata.errors import FieldError, MaskLostError, UnequalShapesError
from npdata.runtime.made_once import made_once


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleForm:
    """What a sample looks like: `names` for dicts; without, a tuple, or with `bare` one value.

    `ragged` has for each field whose samples differ in length, or are sparse in a batch, what their
    batch is, by its name or position.
    """

    names: tuple[str | int, ...] | None = None
    bare: bool = False
    ragged: Mapping[str | int, RaggedForm] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, fields: Sequence[Field], *, named: bool) -> Self:
        """Give the form of samples of these fields: dicts if they are `named`."""
        return cls(
            names=tuple(field.label for field in fields) if named else None,
            bare=not named and len(fields) == 1,
            ragged={field.label: field.form for field in fields if field.form is not None},
        )

    @made_once
    def is_tuple(self) -> bool:
        """Whether a sample is a tuple."""
        return self.names is None and not self.bare

    def build(self, values: tuple[Any, ...]) -> Any:
        """Make a sample, or a stacked batch of the same form, of a value per field."""
        if self.names is not None:
            return dict(zip(self.names, values, strict=True))
        return values[0] if self.bare else values

    def marked(self, sample: Any) -> Any:
        """Let `default_collate` know of samples that differ in length, or are sparse in a batch.

        Examples:
            >>> form = SampleForm(ragged={0: RaggedForm()})
            >>> [type(part).__name__ for part in form.marked((torch.ones(2), torch.ones(2)))]
            ['RaggedSample', 'Tensor']
        """
        if not self.ragged:
            return sample
        forms = self.ragged
        return map_fields(lambda k, v: marked(v, forms[k]) if k in forms else v, sample)


class _Unmade:
    """Stands in the list for samples that nobody has looked at.

    torch.stack and its like take the items out of a list from C, without a call that could make
    them first; they do ask an item that is no tensor for `__torch_function__`.
    """

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = (list(arg) if isinstance(arg, Batch) else arg for arg in args)
        named = {k: list(v) if isinstance(v, Batch) else v for k, v in (kwargs or {}).items()}
        return func(*made, **named)


_UNMADE = (_Unmade(),)


class Batch(list[Any]):
    """The samples of one batch, and the same rows stacked in `stacked`.

    What `NumpyDataset.__getitems__` returns. `stacked` has the form of a sample with each field of
    shape (n, *row shape); it is None once somebody has looked at the samples, which may then have
    been changed. `mask`, if there is one, is a bool tensor of shape (n,): False for padding. `rows`
    are the numbers of the rows, for errors; None where they are not known, and after a look.

    Examples:
        >>> batch = npdata.NumpyDataset(np.arange(6).reshape(3, 2)).__getitems__([2, 0])
        >>> batch.stacked
        tensor([[4, 5],
                [0, 1]])
        >>> batch[0], len(batch)
        (tensor([4, 5]), 2)
    """

    _values: tuple[Any, ...] | None = None
    _length = 0
    form = SampleForm()
    batch_transform: Transform | None = None
    mask: torch.Tensor | None = None
    rows: Ints | None = None

    @classmethod
    def of(
        cls,
        values: tuple[Any, ...],
        length: int,
        form: SampleForm,
        batch_transform: Transform | None = None,
        mask: torch.Tensor | None = None,
    ) -> Self:
        """Hold `values`, one stacked value of `length` rows per field."""
        batch = cls(_UNMADE)
        batch._values, batch._length, batch.form = values, length, form
        batch.batch_transform, batch.mask = batch_transform, mask
        return batch

    @property
    def stacked(self) -> Any:
        """The stacked fields in the form of a sample, before any transform."""
        return None if self._values is None else self.form.build(self._values)

    def pin_memory(self, device: object = None) -> "Batch":
        """Give the same batch with its stacked fields in pinned memory."""
        if self._values is None:
            return self
        values = tuple(map(pin_memory, self._values))
        return Batch.of(values, self._length, self.form, self.batch_transform, self.mask)

    def collated(self) -> Any:
        """Give the batch stacked, in the form of `default_collate`, after `batch_transform`."""
        values, form = self._values, self.form
        if values is None or (self._length and Varied in map(type, values)):
            samples = list(map(form.marked, self._untransformed()))
            try:
                result: Any = stack_samples(samples, self.rows)
            except UnequalShapesError as error:
                if values is not None:
                    error.add_note("ragged='list' of the dataset gives a list of its samples")
                raise
        elif not form.is_tuple:
            result = form.build(values)
        elif list in map(type, values):
            result = [tuple(value) if _is_texts(value) else value for value in values]
        else:
            result = list(values)
        if self.batch_transform is None:
            return result
        changed = transformed_batch(self.batch_transform, result)
        if changed is None:
            raise FieldError("batch_transform= returned None: end the function with return batch")
        return changed

    def samples(self) -> list[Any]:
        """Give the samples as a plain list; a mask stays behind in `mask`.

        `batch_transform` is applied to the whole batch, and its result taken apart; raises
        `BatchTransformError` (a ValueError) where that has not one row for each sample.
        """
        if self.batch_transform is None or not len(self):
            return list(map(self.form.marked, self._untransformed()))
        forms = self.form.ragged
        return take_apart(self.collated(), len(self), forms.get(0) if self.form.bare else forms)

    def _untransformed(self) -> list[Any]:
        values = self._values
        if values is None:
            return list.copy(self)
        columns = (rows_of(value, self._length) for value in values)
        return [self.form.build(row) for row in zip(*columns, strict=True)]

    def transformed(self, functions: Bound) -> "Batch":
        """Give a batch of the transformed samples, which has no stacked fields."""
        assert self.rows is not None  # which errors of a function name
        made = map(functions.transformed, self._untransformed(), itertools.count(), self.rows)
        batch = Batch(map(self.form.marked, made))
        batch.form = self.form
        batch.batch_transform, batch.mask, batch.rows = self.batch_transform, self.mask, self.rows
        return batch

    def _make(self) -> None:
        if self.mask is not None:
            raise MaskLostError(
                f"a batch of {len(self)} rows with a mask (uneven='mask') was taken apart into "
                "samples, which would lose the mask: use collate_fn=npdata.collate, or for a "
                "StackDataset npdata.Loader"
            )
        if self._values is not None or self.batch_transform is not None:
            list.__setitem__(self, slice(None), self.samples())
            self._values = self.batch_transform = None
        self.rows = None  # samples may be put in and taken out from now on

    def __repr__(self) -> str:
        """Give the samples; of a batch with a mask, its length."""
        if self.mask is not None:
            return f"<Batch of {len(self)} rows with a mask>"
        return list.__repr__(self[:])

    def __len__(self) -> int:
        return list.__len__(self) if self._values is None else self._length

    def __radd__(self, other: list[Any]) -> list[Any]:
        return other + list(self)

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        if self._values is not None and self.batch_transform is None:
            return Batch.of, (self._values, self._length, self.form, None, self.mask)
        if self.mask is None:
            return list, (self.samples(),)
        return Batch, (self.samples(),), {"mask": self.mask}


def _is_texts(value: Any) -> bool:
    return type(value) is list and not any(isinstance(part, torch.Tensor) for part in value[:1])


def _after_making(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    @functools.wraps(method)
    def call(self: Batch, *args: Any, **kwargs: Any) -> Any:
        self._make()
        return method(self, *args, **kwargs)

    return call


_LOOKS = (
    "__getitem__ __iter__ __reversed__ __contains__ __eq__ __ne__ __lt__ __le__ __gt__ "
    "__ge__ __add__ __mul__ __rmul__ copy count index __setitem__ __delitem__ __iadd__ __imul__ "
    "append clear extend insert pop remove reverse sort"
)
for _name in _LOOKS.split():
    setattr(Batch, _name, _after_making(_name))
