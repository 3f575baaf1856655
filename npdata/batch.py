"""A batch: a list of samples that already holds them stacked, field by field.

Idea: torch asks a dataset's `__getitems__` for a list of samples and then stacks them, one Python
object per sample. A `Batch` is that list, for everybody who looks (`Subset`, `default_collate`, a
user's own function), but its samples are made only on the first look, and `npdata.collate` never
looks: it takes the stacked fields as they are. Invariant: a batch is either stacked fields that
nobody has looked into, or, from the first look on, an ordinary list of samples, which may be
changed like any list. A batch reads nothing: it is made of fields that were gathered.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from npdata.field import row_of
from npdata.transforms import SampleRng, Transform


@dataclass(frozen=True, kw_only=True)
class SampleForm:
    """What a sample looks like: `names` for dicts; without, a tuple, or with `bare` one value."""

    names: tuple[str, ...] | None = None
    bare: bool = False

    def build(self, values: tuple[Any, ...]) -> Any:
        """Make a sample, or a stacked batch of the same form, of a value per field.

        Examples:
            >>> SampleForm(names=("x", "y")).build((1, 2)), SampleForm().build((1, 2))
            ({'x': 1, 'y': 2}, (1, 2))
        """
        if self.names is not None:
            return dict(zip(self.names, values, strict=True))
        return values[0] if self.bare else values


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


class Batch(list[Any]):
    """The samples of one batch, and the same rows stacked in `stacked`.

    What `NumpyDataset.__getitems__` returns. `stacked` has the form of a sample with each field of
    shape (n, *row shape); it is None once somebody has looked at the samples, which may then have
    been changed. `mask`, if there is one, is a bool tensor of shape (n,): False for filler rows.

    Examples:
        >>> batch = npdata.NumpyDataset(np.arange(6).reshape(3, 2)).__getitems__([2, 0])
        >>> batch.stacked
        tensor([[4, 5],
                [0, 1]])
        >>> batch[0], len(batch)
        (tensor([4, 5]), 2)
    """

    def __init__(
        self,
        values: tuple[Any, ...],
        length: int,
        form: SampleForm,
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        mask: torch.Tensor | None = None,
        sample_rng: SampleRng | None = None,
    ) -> None:
        """Hold `values`, one stacked value of `length` rows per field.

        With `sample_rng`, `transform` gets the generator of each sample as `rng`.
        """
        super().__init__((_Unmade(),))
        self._values: tuple[Any, ...] | None = values
        self._length = length
        self._form = form
        self.transform = transform
        self.batch_transform = batch_transform
        self.mask = mask
        self._sample_rng = sample_rng

    @property
    def stacked(self) -> Any:
        """The stacked fields in the form of a sample, before any transform."""
        return None if self._values is None else self._form.build(self._values)

    def pin_memory(self, device: object = None) -> "Batch":
        """Give the same batch with its stacked fields in page-locked memory."""
        if self._values is None:
            return self
        values = tuple(_pinned(value) for value in self._values)
        return Batch(values, *self._rest)

    @property
    def _rest(self) -> tuple[Any, ...]:
        functions = self.transform, self.batch_transform, self.mask, self._sample_rng
        return self._length, self._form, *functions

    def _make(self) -> None:
        values = self._values
        if values is None:
            return
        self._values = None
        rows = (tuple(row_of(value, k) for value in values) for k in range(self._length))
        samples: Iterable[Any] = map(self._form.build, rows)
        rng, transform = self._sample_rng, self.transform
        if transform is not None and rng is not None:
            samples = (transform(sample, rng=rng(k)) for k, sample in enumerate(samples))
        elif transform is not None:
            samples = map(transform, samples)
        list.__setitem__(self, slice(None), list(samples))

    def __len__(self) -> int:
        return list.__len__(self) if self._values is None else self._length

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        if self._values is None:
            return list, (list(self),)
        return Batch, (self._values, *self._rest)


def _pinned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _pinned(part) for name, part in value.items()}
    return value.pin_memory() if isinstance(value, torch.Tensor) else value


def _after_making(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    @functools.wraps(method)
    def call(self: Batch, *args: Any, **kwargs: Any) -> Any:
        self._make()
        return method(self, *args, **kwargs)

    return call


_LOOKS = (
    "__getitem__ __iter__ __reversed__ __contains__ __repr__ __eq__ __ne__ __lt__ __le__ __gt__ "
    "__ge__ __add__ __mul__ __rmul__ copy count index __setitem__ __delitem__ __iadd__ __imul__ "
    "append clear extend insert pop remove reverse sort"
)
for _name in _LOOKS.split():
    setattr(Batch, _name, _after_making(_name))
