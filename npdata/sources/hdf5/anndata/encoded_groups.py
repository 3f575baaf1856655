"""Groups that stand for one array, as AnnData writes them: sparse matrices, categories, nullables.

Idea: such a group says by its attribute `encoding-type` what its datasets are together; they are
opened like any dataset. Invariant: a matrix that is stored by columns is refused, since its rows
lie nowhere together, and so are values of which some are missing, which no tensor holds.
Attributes of AnnData from 0.6 on are known, and sparse parts without any.
"""

import os
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.errors import FieldError, FormatError, UnsupportedSourceError
from npdata.sources.base import Source
from npdata.sources.hdf5.anndata.encoding import SPARSE_PARTS, encoded_kind, sparse_shape
from npdata.sources.hdf5.examine.links import found_inside, require_inside
from npdata.sources.hdf5.file import H5PY_ERRORS, Hdf5Options, absolute_path, opened_anew
from npdata.sources.hdf5.open import file_of, open_hdf5, open_labels, whole
from npdata.sources.sparse import CsrSource

PARTS = {"csr_matrix": SPARSE_PARTS, "categorical": ("codes", "categories")}
"""The datasets of a group of each kind; "nullable-..." has values and where there are none."""


def stands_for_array(value: object) -> bool:
    """Tell whether `value` is an open group that stands for one array."""
    try:
        return isinstance(value, h5py.Group) and encoded_kind(value) is not None
    except H5PY_ERRORS:
        return False


def open_group(group: h5py.Group) -> Source:
    """Open a group that stands for one array by its path and name, as `open_encoded`.

    Raises `UnsupportedSourceError` for one that does not, with what it has.
    """
    path, options, _ = file_of(group)
    found = open_encoded(path, os.fsdecode(group.name), options)
    if found is None:
        where = f"{path}::{group.name}"
        raise UnsupportedSourceError(
            f"{where} is a group, and a dataset is needed; it has "
            f"{', '.join(map(repr, list(group)[:20])) or 'nothing'}; give one by its name, "
            f"{where.rstrip('/') + '/NAME'!r}, or each as a field: NumpyDataset(group)"
        )
    return found


def open_encoded(path: str, name: str, options: Hdf5Options) -> Source | None:
    """Open a group that stands for one array; None where it is none.

    Raises `UnsupportedSourceError` for a matrix stored by columns, `FormatError` for a group
    without the datasets that it needs, and what opening these raises.
    """
    path = absolute_path(path)
    with opened_anew(path, options.locking) as file:
        group = _group(file, name, options)
        outside = options.allow_external
        if group is None or (kind := encoded_kind(group, outside=outside)) is None:
            return None
        path = absolute_path(group.file.filename)  # a link may lead to another file
        where = f"{path}::{group.name}"
        parts = _parts(where, group, kind, options)
        if kind == "csr_matrix":
            shape = sparse_shape(group, outside=outside)
            if shape is None:
                raise FormatError(f"{where} is sparse and has no attribute shape of two numbers")
            data, indices, indptr = (open_hdf5(path, part, options) for part in parts)
            return CsrSource(data, indices, indptr, shape)
        if kind == "categorical":
            codes, categories = parts
            if isinstance(group["categories"], h5py.Group):
                categories += "/values"  # text that may be missing, of which no category is
            return open_labels(open_hdf5(path, codes, options), path, categories, where, options)
        values, mask = parts
        _require_all(where, whole(open_hdf5(path, mask, options)))
        return open_hdf5(path, values, options)


def _group(file: h5py.File, name: str, options: Hdf5Options) -> h5py.Group | None:
    if not options.allow_external:
        require_inside(file, name)
    try:
        group = file.get(name) if name else None
    except H5PY_ERRORS:  # such as a circle of links: no group
        return None
    return group if isinstance(group, h5py.Group) else None


def _parts(where: str, group: h5py.Group, kind: str, options: Hdf5Options) -> list[str]:
    """Give the names of the datasets that a group of this kind needs, all of them there."""
    if kind == "csc_matrix":
        raise UnsupportedSourceError(
            f"{where} is sparse and stored by columns (CSC), so that a row lies nowhere "
            f"together; {_by_rows(group)}"
        )
    needed = PARTS.get(kind, ("values", "mask"))
    for part in needed:
        if not options.allow_external:
            require_inside(group.file, f"{group.name}/{part}")
        if part not in group:
            raise FormatError(f"{where} says that it is {kind!r} and has no {part!r}")
    return [f"{group.name}/{part}" for part in needed]


def _by_rows(group: h5py.Group) -> str:
    """Say how to have a matrix that is stored by columns by rows."""
    name, shape = str(group.name).strip("/"), sparse_shape(group)
    first, _, last = name.partition("/")
    if shape is not None and found_inside(group, "barcodes") is not None:
        parts = ", ".join(repr(f"{group.file.filename}::{name}/{part}") for part in SPARSE_PARTS)
        return (
            f"its columns are the cells (barcodes), and npdata.csr({parts}, {shape[::-1]}) has a "
            "row for each"
        )
    if first in ("layers", "obsm", "obsp", "varm", "varp") and last:
        place = f"adata.{first}[{last!r}]"
    elif name in ("X", "raw/X"):
        place = "adata.X"
    else:
        return "write it by rows once, as scipy's m.tocsr() has it"
    raw = "adata = adata.raw.to_adata(), " if first == "raw" else ""
    return f"write it by rows once: {raw}{place} = {place}.tocsr(), then write_h5ad"


def _require_all(where: str, mask: NDArray[Any]) -> None:
    """Raise `FieldError` where the mask of a column says that values are missing."""
    missing = np.flatnonzero(mask)
    if missing.size:
        raise FieldError(
            f"{where} has no value in {missing.size} rows, such as row {missing[0]}, and a tensor "
            "has a value in each: open its values and where none is as two fields, "
            f"x={f'{where}/values'!r}, missing={f'{where}/mask'!r}"
        )
