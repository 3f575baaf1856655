"""Samples and batches as trees of lists, tuples and dicts: each tensor, or each field, changed.

Idea: fields are what the outermost holds, and a value that is none of these is the only one.
Invariant: the form stays, and so does what is no tensor.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor


def map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Give `value` with every tensor inside lists, tuples and dicts replaced.

    Examples:
        >>> map_tensors(lambda t: len(t), {"x": [torch.zeros(3)], "name": "text"})
        {'x': [3], 'name': 'text'}
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        parts = {name: map_tensors(function, part) for name, part in value.items()}
        if type(value) is dict:
            return parts
        made = copy.copy(value)
        for name, part in parts.items():  # some refuse to be updated
            made[name] = part
        return made
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, part) for part in value))
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(function, part) for part in value)
    return value


def map_fields(function: Callable[[Any, Any], Any], batch: Any) -> Any:
    """Give `batch` with `function(label, part)` in place of each field; a bare one has label 0.

    Examples:
        >>> map_fields(lambda label, part: (label, part), ["a", "b"])
        [(0, 'a'), (1, 'b')]
    """
    if isinstance(batch, dict):
        return {label: function(label, part) for label, part in batch.items()}
    if isinstance(batch, list | tuple):
        made = [function(label, part) for label, part in enumerate(batch)]
        return getattr(type(batch), "_make", type(batch))(made)
    return function(0, batch)


def nbytes_of(value: Any) -> int:
    """Give the bytes of all tensors in `value`.

    Examples:
        >>> nbytes_of([torch.zeros(3), {"n": torch.zeros(2, dtype=torch.int64), "s": "text"}])
        28
    """
    if isinstance(value, Tensor):
        return sum(part.nbytes for part in buffers_of(value)) if value.is_sparse else value.nbytes
    total = 0
    if isinstance(value, list | tuple | dict):  # a call fewer for each tensor of a batch
        for part in value.values() if isinstance(value, dict) else value:
            plain = isinstance(part, Tensor) and not part.is_sparse
            total += part.nbytes if plain else nbytes_of(part)
    return total


def buffers_of(tensor: Tensor) -> tuple[Tensor, ...]:
    """Give the plain tensors that a tensor is made of: itself, or the parts of its layout.

    Examples:
        >>> buffers_of(torch.zeros(2))
        (tensor([0., 0.]),)
    """
    if tensor.is_sparse:
        return tensor._indices(), tensor._values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    if tensor.is_nested:
        jagged: Any = tensor
        return jagged.values(), jagged.offsets()
    return (tensor,)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Give all tensors inside lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(part)
