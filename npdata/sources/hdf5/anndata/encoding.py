"""Which array a group stands for, by its attributes, or by the parts of a sparse matrix."""

from typing import Any

import h5py
import numpy as np

SPARSE_PARTS = ("data", "indices", "indptr")


def encoded_kind(group: h5py.Group) -> str | None:
    """Give "csr_matrix", "csc_matrix", "categorical" or "nullable-..." of a group for one array.

    A group that says nothing of itself is a sparse matrix where it has the parts and the shape of
    one; the length of its `indptr` shows which, unless rows are as many as columns. With `barcodes`
    it is of 10x Genomics, whose columns are cells.
    """
    kind = group.attrs.get("encoding-type", group.attrs.get("h5sparse_format"))
    if kind is None:
        shape = sparse_shape(group) if all(part in group for part in SPARSE_PARTS) else None
        if shape is None:
            return None
        if shape[0] == shape[1]:
            return "csc_matrix" if "barcodes" in group else None
        spans = group["indptr"].size - 1
        return {shape[0]: "csr_matrix", shape[1]: "csc_matrix"}.get(spans)
    text = text_of(kind)
    if text in ("csr", "csc"):
        return f"{text}_matrix"
    known = ("csr_matrix", "csc_matrix", "categorical")
    return text if text in known or text.startswith("nullable-") else None


def sparse_shape(group: h5py.Group) -> tuple[int, int] | None:
    """Give the shape of a sparse matrix: of an attribute, or of a dataset of that name."""
    shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    if shape is None and isinstance(found := group.get("shape"), h5py.Dataset):
        shape = found[()]
    if shape is None or np.shape(shape) != (2,):
        return None
    return int(shape[0]), int(shape[1])


def text_of(value: Any) -> str:
    """Give an attribute as text."""
    return value.decode() if isinstance(value, bytes) else str(value)
