"""Batches cast to the dtypes that a `Loader` is asked for, all of it or field by field.

Invariant: what is neither a tensor nor an array of numbers stays as it is, and no number is lost in
silence. It knows no device and reads no rows.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import StackDataset, Subset

from npdata.arrays.convert import as_tensor, refuse_lost_numbers
from npdata.arrays.dtypes import torch_dtype
from npdata.arrays.values import copy_values
from npdata.dataset.arguments import require_fields
from npdata.dataset.batch_memory import batch_memory
from npdata.dataset.nested import map_fields
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.dataset.padded import Padded
from npdata.errors import ConversionError, LoaderError
from npdata.loading.wrapped_datasets import is_direct

DTypes: TypeAlias = torch.dtype | Mapping[Any, torch.dtype] | None


def cast(batch: Any, dtype: DTypes, growing: bool | None = None) -> Any:
    """Cast the tensors of a batch: all of them to one dtype, or fields by name or position.

    Arrays of numbers become tensors of it. The lengths of a `Padded` stay int64.

    `growing` True casts only those that get more bytes, which the device does after the copy, False
    only the others; None casts all. Raises `LoaderError` (a ValueError) where a name is no field of
    the batch, `ConversionError` with the field for floats that no integer of the dtype can hold.

    Examples:
        >>> cast([torch.zeros(2), torch.zeros(2)], {1: torch.int8})
        [tensor([0., 0.]), tensor([0, 0], dtype=torch.int8)]
    """
    if dtype is None:
        return batch
    if isinstance(dtype, Mapping):
        several = isinstance(batch, list | tuple) and not isinstance(batch, Padded)
        labels = batch if isinstance(batch, dict) else range(len(batch) if several else 1)
        require_fields("dtype", dtype, list(labels), LoaderError)

    def field(label: Any, part: Any) -> Any:
        wanted = dtype.get(label) if isinstance(dtype, Mapping) else dtype
        try:
            return part if wanted is None else _cast_all(part, wanted, growing)
        except ConversionError as error:
            raise ConversionError(f"field {label!r} (dtype= of the Loader): {error}") from None

    return field(0, batch) if isinstance(batch, Padded) else map_fields(field, batch)


def known_dtypes(dtype: Any) -> DTypes:
    """Give torch dtypes for what a user names, as a dataset takes them, else `LoaderError`."""
    if isinstance(dtype, Mapping):
        return {name: _known(each) for name, each in dtype.items() if each is not None}
    return None if dtype is None else _known(dtype)


def _known(dtype: Any) -> torch.dtype:
    try:
        return torch_dtype(dtype)
    except TypeError:
        raise LoaderError(
            f"dtype={dtype!r}: expected a torch.dtype, or a mapping of fields to it: one "
            "that numbers are cast to, such as torch.float32"
        ) from None


def dtypes_of(dataset: Any, dtype: DTypes) -> DTypes:
    """Give dtypes for the batches of a dataset: for all of a batch that is one field without name.

    Raises `LoaderError` (a ValueError) for names of no field, and for floats of missing times,
    which are integers here, of which the smallest would become a number like any other. Functions
    and subclasses may give other fields: their names are looked at with the first batch.
    """
    if isinstance(dataset, NumpyDataset):
        return _dtypes_of_fields(dataset, dtype)
    if _has_fields_of(Subset, dataset):
        return dtypes_of(dataset.dataset, dtype)
    if _has_fields_of(StackDataset, dataset):
        parts = dataset.datasets
        named = dict(parts if isinstance(parts, Mapping) else enumerate(parts))
        if isinstance(dtype, Mapping):
            require_fields("dtype", dtype, list(named), LoaderError)
        for label, part in named.items():
            dtypes_of(part, dtype.get(label) if isinstance(dtype, Mapping) else dtype)
    return dtype


def _dtypes_of_fields(dataset: NumpyDataset, dtype: DTypes) -> DTypes:
    fields = dataset.fields
    if isinstance(dtype, Mapping) and is_direct(dataset) and not dataset.transforms.any:
        if list(dtype) == list(fields) == [0]:
            dtype = dtype[0]
        elif list(fields) != [0] or fields[0].dtype.names is None:  # else a dict of columns
            require_fields("dtype", dtype, list(fields), LoaderError)
    for label, field in fields.items():
        wanted = dtype.get(label) if isinstance(dtype, Mapping) else dtype
        if wanted is not None and wanted.is_floating_point and field.missing is not None:
            raise LoaderError(
                f"dtype={wanted} would make numbers of missing times in field {label!r}, which "
                "are the smallest int64 here: give dtype= to the NumpyDataset, where times "
                "that are decoded become NaN, or name the other fields in dtype={...}"
            )
    return dtype


def _has_fields_of(kind: Any, dataset: Any) -> bool:
    """Whether it gives the fields that `kind` of torch gives, if perhaps with more attributes."""
    method = getattr(dataset, "__getitems__", None)
    return isinstance(dataset, kind) and getattr(method, "__func__", None) is kind.__getitems__


def _cast_all(part: Any, dtype: torch.dtype, growing: bool | None) -> Any:
    if isinstance(part, Padded):
        try:
            return part._replace(values=_cast(part.values, dtype, growing))
        except ConversionError:
            there = part.mask()
            refuse_lost_numbers(part.values[there], dtype)
            padding = part.values[~there].reshape(-1)[0].item()
            raise ConversionError(f"the padding, {padding}, is no {dtype}: give padding=") from None
    if isinstance(part, list | tuple | dict):
        return map_fields(lambda _, each: _cast_all(each, dtype, growing), part)
    if isinstance(part, np.ndarray) and part.dtype.kind in "biufc":
        part = as_tensor(part)
    return _cast(part, dtype, growing) if isinstance(part, Tensor) else part


def _cast(tensor: Tensor, dtype: torch.dtype, growing: bool | None) -> Tensor:
    grows = dtype.itemsize > tensor.dtype.itemsize
    if tensor.dtype == dtype or growing not in (None, grows):
        return tensor
    refuse_lost_numbers(tensor, dtype)
    plain = tensor.layout == torch.strided and not tensor.is_nested
    if tensor.device.type != "cpu" or not plain:
        return tensor.to(dtype)
    out = batch_memory()(tuple(tensor.shape), dtype)
    return copy_values(tensor, out) if tensor.is_contiguous() else out.copy_(tensor)
