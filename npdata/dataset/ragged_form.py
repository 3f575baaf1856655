"""What a batch of samples of different lengths is: padded, jagged, or a list; and of sparse rows.

Idea: the samples lie end to end in one tensor; a list is views of it, a jagged tensor is it with
offsets, and a padded batch is a copy with every sample in its row. Invariant: all three hold the
same values. A sample that somebody takes out of a batch knows its form, so that torch's
`default_collate` makes the same batch of such samples. This module reads no source.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

from npdata.arrays.dtypes import Ints
from npdata.dataset.arguments import as_field
from npdata.dataset.batch_memory import Allocate, batch_memory, memory_for_torch
from npdata.dataset.padded import Padded
from npdata.dataset.sparse_tensors import sparse_of
from npdata.errors import FieldError

Form = Literal["padded", "jagged", "list", "stacked"]
FORMS: tuple[Form, ...] = ("padded", "jagged", "list", "stacked")
"""The last has samples that a transform brings to one shape, and a list may be of any shapes."""


@dataclass(frozen=True, kw_only=True)
class RaggedForm:
    """What a batch of ragged samples is: `form`, and for "padded" the value of `padding`.

    "csr" is that of sparse rows, whose samples are dense.
    """

    form: Form | Literal["csr"] = "padded"
    padding: Any = 0

    @classmethod
    def of(cls, form: Any, padding: Any) -> "RaggedForm":
        """Take what the user asked for, None where nothing; each fault is a `FieldError`.

        Examples:
            >>> RaggedForm.of(None, -100)
            RaggedForm(form='padded', padding=-100)
        """
        if form is not None and (not isinstance(form, str) or form not in FORMS):
            raise FieldError(
                f"ragged={form!r:.60}: expected 'padded', 'jagged', 'list' or 'stacked'; "
                f"{as_field('ragged')}"
            )
        if padding is None:
            return cls(form=form or "padded")
        if not isinstance(padding, int | float | complex | np.number | np.bool_):
            raise FieldError(
                f"padding= takes a number, and what was given is of type "
                f"{type(padding).__name__}; {as_field('padding')}"
            )
        if form not in (None, "padded"):
            raise FieldError(f"padding={padding!r} with ragged={form!r}, which pads nothing")
        return cls(padding=padding)


SPARSE, LIST = RaggedForm(form="csr"), RaggedForm(form="list")


def batch_of(
    flat: Tensor, sizes: Ints, form: RaggedForm, allocate: Allocate
) -> Padded | Tensor | list[Tensor]:
    """Make a batch of samples of `sizes` rows that lie end to end in `flat`.

    Examples:
        >>> from npdata.dataset.batch_memory import plain_memory
        >>> batch_of(torch.arange(3), np.array([2, 1]), RaggedForm(), plain_memory).values
        tensor([[0, 1],
                [2, 0]])
    """
    parts = torch.split(flat, sizes.tolist())
    if form.form == "list":
        return list(parts)
    longest = int(sizes.max(initial=0))
    if form.form == "jagged":
        offsets = numbers_in(memory_for_torch(allocate), np.append(0, np.cumsum(sizes)))
        shortest = int(sizes.min(initial=longest))
        return torch.nested.nested_tensor_from_jagged(
            flat, offsets, min_seqlen=shortest, max_seqlen=longest
        )
    values = allocate((len(sizes), longest, *flat.shape[1:]), flat.dtype)
    lay(parts, values, form.padding)
    return Padded(values, numbers_in(allocate, sizes))


def lay(samples: Iterable[Any], places: Any, fill: Any) -> None:
    """Copy each sample to the beginning of its place, and `fill` what is left of it.

    Samples and places are tensors or arrays.
    """
    for place, sample in zip(places, samples, strict=True):
        place[: len(sample)] = sample
        place[len(sample) :] = fill


def numbers_in(
    allocate: Allocate, numbers: NDArray[Any], dtype: torch.dtype = torch.int64
) -> Tensor:
    """Copy integers into memory of a batch."""
    out = allocate(numbers.shape, dtype)
    out.numpy()[...] = numbers
    return out


class RaggedSample(Tensor):
    """A sample that `default_collate` puts into a batch of `form`; an operation gives a Tensor.

    Examples:
        >>> samples = [marked(torch.ones(n), RaggedForm()) for n in (2, 1)]
        >>> torch.utils.data.default_collate(samples).lengths
        tensor([2, 1])
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    form = RaggedForm()

    def __repr__(self, *, tensor_contents: Any = None) -> Any:  # type: ignore[override]
        return repr(self.as_subclass(Tensor))


class RaggedArray(np.ndarray[Any, Any]):
    """An array that a transform gives, as `RaggedSample`; what is made of it has no form.

    Examples:
        >>> torch.utils.data.default_collate([marked(np.ones(2), RaggedForm())]).lengths
        tensor([2])
    """

    form: RaggedForm | None = None


def marked(sample: Any, form: RaggedForm) -> Any:
    """Give a tensor as a `RaggedSample`, an array as a `RaggedArray`; anything else as it is."""
    made: Any
    if isinstance(sample, Tensor):
        made = sample.as_subclass(RaggedSample)
    elif type(sample) in (np.ndarray, np.memmap) and sample.dtype.kind in "biufc":
        made = sample.view(RaggedArray)
    else:
        return sample
    made.form = form
    return made


def form_of(sample: Any) -> RaggedForm | None:
    """Give the form of the batch that a sample was marked for; None where it was not."""
    return sample.form if isinstance(sample, RaggedSample | RaggedArray) else None


def _collate(samples: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    """Make a batch of samples, equal in all axes but the first; a list is of any.

    For "csr" they are rows of one length; others, as a transform may give them, stay dense. Numbers
    that a transform made of samples, as their means, have no lengths and are stacked.
    """
    form = form_of(samples[0])
    tensors = [x if isinstance(x, Tensor) else torch.from_numpy(x) for x in samples]
    if form is not None and form.form == "list" and tensors[0].dim():
        return [x.as_subclass(Tensor) for x in tensors]
    if form is None or form == SPARSE or not tensors[0].dim():
        rows = torch.stack(tensors)
        return sparse_of(rows) if form == SPARSE and rows.dim() == 2 else rows
    sizes = np.array([len(sample) for sample in tensors], np.int64)
    return batch_of(torch.cat(tensors), sizes, form, batch_memory())


# torch's own way to teach default_collate a type.
default_collate_fn_map[RaggedSample] = default_collate_fn_map[RaggedArray] = _collate
