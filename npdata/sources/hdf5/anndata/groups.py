"""Groups that stand for one array, as AnnData writes them: sparse matrices, categories, nullables.

Idea: such a group says by its attribute `encoding-type` what its datasets are together; they are
opened like any dataset. Invariant: a matrix that is stored by columns is refused, since its rows
lie nowhere together, and so are values of which some are missing, which no tensor holds.
Attributes of AnnData from 0.6 on are known, and sparse parts without any.
"""

import h5py
import numpy as np

from npdata.errors import FieldError, FormatError, UnsupportedSourceError
from npdata.sources.base import Source
from npdata.sources.hdf5.anndata.encoding import SPARSE_PARTS, encoded_kind, sparse_shape, text_of
from npdata.sources.hdf5.examine.links import require_inside
from npdata.sources.hdf5.file import Hdf5Options, open_file, require_file
from npdata.sources.hdf5.open import open_hdf5
from npdata.sources.labels import LabelSource, shown_categories
from npdata.sources.sparse import CsrSource


def open_encoded(path: str, name: str, options: Hdf5Options) -> Source | None:
    """Open a group that stands for one array; None where it is none.

    Raises `UnsupportedSourceError` for a matrix stored by columns, `FormatError` for a group
    without the datasets that it needs, and what opening these raises.
    """
    path = require_file(path)
    with open_file(path, options.locking) as file:
        if not options.allow_external:
            require_inside(file, name)
        try:
            group = file.get(name) if name else None
        except (OSError, RuntimeError, ValueError):  # such as a circle of links: no group
            return None
        if not isinstance(group, h5py.Group):
            return None
        kind, where = encoded_kind(group), f"{path}::{group.name}"
        name = str(group.name)
        if kind is None:
            return None
        if kind.startswith("csc"):
            raise UnsupportedSourceError(
                f"{where} is sparse and stored by columns (CSC), so that a row lies nowhere "
                "together; write it by rows once: adata.X = adata.X.tocsr(), then write_h5ad"
            )
        needed = ("values", "mask") if kind.startswith("nullable") else ("codes", "categories")
        if kind.startswith("csr"):
            needed = SPARSE_PARTS  # type: ignore[assignment]
        for part in needed:
            if part not in group:
                raise FormatError(f"{where} says that it is {kind!r} and has no {part!r}")
            if not options.allow_external:
                require_inside(file, f"{name}/{part}")
        shape = sparse_shape(group) if kind.startswith("csr") else (0, 0)
        if shape is None:
            raise FormatError(f"{where} is sparse and has no attribute shape of two numbers")
        names = tuple(map(text_of, group["categories"][:])) if kind == "categorical" else ()
        if kind.startswith("nullable"):
            _require_all(where, group["mask"])
    if kind == "categorical":
        codes = open_hdf5(path, f"{name}/codes", options)
        read = np.empty(codes.shape, codes.dtype)
        codes.read_run(0, read)
        codes.close()
        reason = "codes of a categorical column, read at opening"
        return LabelSource(read, names, where, reason, shown_categories(names))
    if kind.startswith("nullable"):
        return open_hdf5(path, f"{name}/values", options)
    data, indices, indptr = (open_hdf5(path, f"{name}/{part}", options) for part in needed)
    return CsrSource(data, indices, indptr, shape)


def _require_all(where: str, mask: h5py.Dataset) -> None:
    """Raise `FieldError` where the mask of a column says that values are missing."""
    missing = np.flatnonzero(mask[:])
    if missing.size:
        raise FieldError(
            f"{where} has no value in {missing.size} rows, such as row {missing[0]}, and a tensor "
            "has a value in each: open its values and where none is as two fields, "
            f"x={f'{where}/values'!r}, missing={f'{where}/mask'!r}"
        )
