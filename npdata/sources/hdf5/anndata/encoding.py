"""Which array a group stands for, by its attributes, or by the parts of a sparse matrix."""

from typing import Any

import h5py
import numpy as np

from npdata.sources.hdf5.examine.links import found_inside, has_own_data

SPARSE_PARTS = ("data", "indices", "indptr")


def encoded_kind(group: h5py.Group, *, outside: bool = False) -> str | None:
    """Give "csr_matrix", "csc_matrix", "categorical" or "nullable-..." of a group for one array.

    A group that says nothing of itself is a sparse matrix where it has the parts and the shape of
    one; the length of its `indptr` shows which, unless rows are as many as columns. With `barcodes`
    it is of 10x Genomics, whose columns are cells. `outside` lets links to other files be followed.
    """
    kind = group.attrs.get("encoding-type", group.attrs.get("h5sparse_format"))
    if kind is None:
        *others, indptr = (_dataset(group, part, outside) for part in SPARSE_PARTS)
        if indptr is None or None in others or not (outside or has_own_data(indptr)):
            return None
        shape = sparse_shape(group, outside=outside)
        if shape is None:
            return None
        if shape[0] == shape[1]:
            return "csc_matrix" if _dataset(group, "barcodes", outside) is not None else None
        spans = indptr.size - 1
        return {shape[0]: "csr_matrix", shape[1]: "csc_matrix"}.get(spans)
    text = text_of(kind)
    if text in ("csr", "csc"):
        return f"{text}_matrix"
    known = ("csr_matrix", "csc_matrix", "categorical")
    return text if text in known or text.startswith("nullable-") else None


def sparse_shape(group: h5py.Group, *, outside: bool = False) -> tuple[int, int] | None:
    """Give the shape of a sparse matrix: of an attribute, or of a dataset of that name."""
    shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    if shape is None and (found := _dataset(group, "shape", outside)) is not None:
        shape = found[()] if outside or has_own_data(found) else None
    if shape is None or np.shape(shape) != (2,):
        return None
    return int(shape[0]), int(shape[1])


def _dataset(group: h5py.Group, name: str, outside: bool) -> h5py.Dataset | None:
    if not group.id.links.exists(name.encode()):  # most groups have none, and errors take long
        return None
    found = group.get(name) if outside else found_inside(group, name)
    return found if isinstance(found, h5py.Dataset) else None


def text_of(value: Any) -> str:
    """Give an attribute as text."""
    return value.decode() if isinstance(value, bytes) else str(value)
