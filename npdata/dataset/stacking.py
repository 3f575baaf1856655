"""Samples into one stacked value, and a stacked value into samples again.

Idea: a stacked value is a tree of lists, tuples and dicts whose leaves have the rows of the batch
along axis 0. Invariant: `stack_samples(take_apart(value, n))` has the rows of `value`; what has no
such rows is refused, never guessed. It reads no data and calls no transform.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data._utils.collate import collate, collate_tensor_fn, default_collate_fn_map

from npdata.arrays.dtypes import Ints
from npdata.dataset.batch_memory import LARGE_BYTES, batch_memory
from npdata.dataset.field import rows_of
from npdata.dataset.padded import Padded
from npdata.dataset.ragged_form import LIST, SPARSE, RaggedForm, form_of, marked
from npdata.errors import BatchTransformError, FieldError, UnequalShapesError


def take_apart(
    value: Any, length: int, of: RaggedForm | Mapping[Any, RaggedForm] | None = None
) -> list[Any]:
    """Give the `length` samples of a stacked value: its dicts and tuples, with one row each.

    A list of fields gives tuples, as `default_collate` made it of tuples. `of` is the form of a
    field whose samples differ in length, or has those of such fields by name or position. Raises
    `BatchTransformError` (a ValueError) where a part has not one row for each sample.

    Examples:
        >>> take_apart({"x": torch.arange(2), "name": ["a", "b"]}, 2)
        [{'x': tensor(0), 'name': 'a'}, {'x': tensor(1), 'name': 'b'}]
    """
    forms = of if isinstance(of, Mapping) else {}
    form = of if isinstance(of, RaggedForm) else RaggedForm()
    if isinstance(value, Padded):
        kept = form if form.form == "padded" else RaggedForm()
        return [marked(sample, kept) for sample in value.samples()]
    if getattr(value, "is_nested", False):
        return [marked(sample, RaggedForm(form="jagged")) for sample in value.unbind()]
    if form.form == "list" and isinstance(value, list) and len(value) == length:
        return [marked(sample, form) for sample in value]
    shape = getattr(value, "shape", None)
    if shape and shape[0] == length:
        rows = list(rows_of(value, length))
        sparse = form == SPARSE and getattr(value, "layout", None) == torch.sparse_csr
        return [marked(row, SPARSE) for row in rows] if sparse else rows
    if isinstance(value, Mapping):
        columns = [take_apart(part, length, forms.get(name)) for name, part in value.items()]
        return [dict(zip(value, row, strict=True)) for row in _rows(columns, length)]
    if isinstance(value, list | tuple):
        return _of_sequence(value, length, forms)
    what = f"of shape {tuple(shape)}" if shape else repr(value)[:40]
    raise BatchTransformError(
        f"batch_transform gave {type(value).__name__} {what} for a batch of {length} rows, which "
        "cannot be taken apart into samples: use collate_fn=npdata.collate, or npdata.Loader, "
        "which take the batch whole"
    )


def _of_sequence(value: Sequence[Any], length: int, forms: Mapping[Any, RaggedForm]) -> list[Any]:
    if len(value) == length and all(isinstance(text, str | bytes) for text in value):
        return list(value)
    columns = [take_apart(part, length, forms.get(k)) for k, part in enumerate(value)]
    rows = _rows(columns, length)
    named = getattr(type(value), "_make", tuple)
    return [named(row) for row in rows]


def _rows(columns: list[list[Any]], length: int) -> list[tuple[Any, ...]]:
    return list(zip(*columns, strict=True)) if columns else [()] * length


def stack_samples(samples: Sequence[Any], rows: Ints | None = None) -> Any:
    """Give `torch.utils.data.default_collate(samples)`; errors name their `rows`, if given.

    Raises `UnequalShapesError` (a ValueError and RuntimeError), which names the first sample that
    does not fit, its field and both shapes; `FieldError` (a ValueError) for a sample that is None.

    Examples:
        >>> stack_samples([(torch.zeros(2), 1), (torch.ones(2), 2)])
        [tensor([[0., 0.],
                [1., 1.]]), tensor([1, 2])]
    """
    for number, sample in enumerate(samples):
        if sample is None:
            raise FieldError(
                f"transform= returned None for {_named(number, rows)} of a batch: end the function "
                "with return sample, or leave such samples out in a collate_fn of your own"
            )
    try:
        return collate(samples, collate_fn_map={**default_collate_fn_map, Tensor: _stacked})
    except TypeError as error:
        error.add_note(
            "samples of other kinds stay apart, or go into a function of your own: "
            "DataLoader(dataset, 64, collate_fn=list)"
        )
        raise
    except (RuntimeError, KeyError) as error:
        difference = _difference(samples, rows)
        if difference is None:
            raise
        raise UnequalShapesError(
            f"{difference}; pad or crop them in transform, or keep the samples apart: "
            "DataLoader(dataset, 64, collate_fn=list)"
        ) from error


def _stacked(samples: Sequence[Tensor], *, collate_fn_map: object = None) -> Any:
    """Stack tensors as torch does, but many bytes in the memory of a batch."""
    first, as_torch = samples[0], default_collate_fn_map[Tensor]
    plain = type(first) is Tensor and not (first.is_nested or first.is_sparse)
    if plain and as_torch is collate_tensor_fn:
        allocate = batch_memory()
        least = min(LARGE_BYTES, getattr(allocate, "new_below", LARGE_BYTES))
        if len(samples) * first.nbytes >= least and _are_plain(samples):
            out = allocate((len(samples), *first.shape), first.dtype)
            return torch.stack(list(samples), out=out)
    return as_torch(samples, collate_fn_map=collate_fn_map)  # which may be taught another way


def _are_plain(samples: Sequence[Tensor]) -> bool:
    """Tell whether tensors have one dtype, and torch would stack them in the order of C."""
    dtype = samples[0].dtype
    return all(
        type(each) is Tensor
        and each.dtype == dtype
        and each.device.type == "cpu"
        and each.layout == torch.strided
        and each.is_contiguous()
        and not each.requires_grad
        for each in samples
    )


def _named(number: int, rows: Ints | None) -> str:
    return f"sample {number}" if rows is None else f"sample {number} (row {rows[number]})"


def _difference(samples: Sequence[Any], rows: Ints | None) -> str | None:
    first, its_name = dict(_leaves(samples[0])), _named(0, rows)
    for number, sample in enumerate(samples):
        leaves, name = dict(_leaves(sample)), _named(number, rows)
        if leaves.keys() != first.keys():
            fields, others = ", ".join(leaves) or "none", ", ".join(first) or "none"
            return f"{name} has fields {fields}, {its_name} has {others}"
        for field, shape in leaves.items():
            if shape != first[field]:
                where = f"field {field}" if field else "it"
                return (
                    f"{name} cannot be stacked with {its_name}: {where} has shape {shape} and "
                    f"there {first[field]}"
                )
    return None


def _leaves(sample: Any, path: str = "") -> list[tuple[str, tuple[int, ...]]]:
    form = form_of(sample)
    if form not in (None, SPARSE):
        return [(path, () if form == LIST else tuple(sample.shape[1:]))]
    if isinstance(sample, torch.Tensor) or hasattr(sample, "shape"):
        return [(path, tuple(sample.shape))]
    if isinstance(sample, Mapping):
        items: Any = sample.items()
    elif isinstance(sample, Sequence) and not isinstance(sample, str | bytes):
        items = enumerate(sample)
    else:
        return [(path, ())]
    return [leaf for key, value in items for leaf in _leaves(value, f"{path}[{key!r}]")]
