"""The genes of AnnData files: what the columns of their matrices stand for.

Idea: matrices of several files are joined by the place of their columns, so a place must stand for
one gene. Invariant: files whose genes differ, or come in another order, are refused; other HDF5
files are not looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.errors import FieldError
from npdata.sources.base import Source
from npdata.sources.derived.base import origin
from npdata.sources.hdf5.anndata.encoding import text_of
from npdata.sources.hdf5.examine.links import found_inside, has_own_data
from npdata.sources.hdf5.file import H5PY_ERRORS, Locking, open_file


@dataclass(frozen=True, kw_only=True)
class Genes:
    """Where the names of the columns of a matrix lie: in the dataframe `var` of a file."""

    path: str
    var: str
    locking: Locking

    @classmethod
    def of(cls, path: str, name: str, locking: Locking) -> "Genes | None":
        """Give those of a dataset that has the name of a matrix of AnnData; None for others."""
        parts = name.strip("/").split("/")
        if parts not in (["X"], ["raw", "X"]) and parts[0] != "layers":
            return None
        return cls(path=path, var="raw/var" if parts[0] == "raw" else "var", locking=locking)

    def read(self) -> NDArray[Any] | None:
        """Read the names; None where the file has none."""
        with open_file(self.path, self.locking) as file:
            try:
                var = found_inside(file, self.var)
                if isinstance(var, h5py.Dataset):  # AnnData 0.6
                    return np.asarray(var["index"]) if has_own_data(var) else None
                if not isinstance(var, h5py.Group):
                    return None
                found = found_inside(var, text_of(var.attrs["_index"]))
            except H5PY_ERRORS:
                return None
            if not isinstance(found, h5py.Dataset) or not has_own_data(found):
                return None
            return found[:] if found.ndim == 1 else None


def same_genes(sources: Sequence[Source]) -> Genes | None:
    """Give the genes of matrices that are to be laid end to end; None where no file names them.

    Raises `FieldError` where two have other ones. Reads nothing where none is a matrix of AnnData.
    """
    first: Genes | None = None
    known: NDArray[Any] | None = None
    for source in sources:
        place = origin(source).genes
        genes = None if place is None else place.read()
        if genes is None:
            continue
        if first is None or known is None:
            first, known = place, genes
        if np.array_equal(known, genes):
            continue
        shared = min(len(known), len(genes))
        different = np.flatnonzero(known[:shared] != genes[:shared])
        what = f"{len(genes)} and {len(known)} of them"
        if len(different):
            k = int(different[0])
            what = f"column {k} is {text_of(genes[k])!r}, and {text_of(known[k])!r} there"
        raise FieldError(
            f"{place.path} has other genes than {first.path}, or in another order ({what}), and "
            "rows are joined by the place of their columns; write files with the same genes, as "
            "adata[:, genes].write_h5ad(...) does"
        )
    return first
