"""The genes of AnnData files: what the columns of their matrices stand for.

Idea: matrices of several files are joined by the place of their columns, so a place must stand for
one gene. Invariant: files whose genes differ, or come in another order, are refused; other HDF5
files are not looked at.
"""

from collections.abc import Iterable
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.errors import ExternalDataError, FieldError
from npdata.sources.hdf5.layout import Locking, open_file
from npdata.sources.hdf5.links import require_inside
from npdata.sources.hdf5.listing import text_of


def require_same_genes(files: Iterable[tuple[str, str | None]], locking: Locking = None) -> None:
    """Raise `FieldError` where matrices, each a file and a name in it, have other genes.

    Takes no further file where the first has no such matrix.
    """
    path, first = "", None
    for each, name in files:
        genes = _genes(each, name or "", locking)
        if first is None:
            path, first = each, genes
            if first is None:
                return
        elif genes is not None and not np.array_equal(first, genes):
            shared = min(len(first), len(genes))
            places = np.flatnonzero(first[:shared] != genes[:shared])
            what = f"{len(genes)} and {len(first)} of them"
            if len(places):
                k = int(places[0])
                what = f"column {k} is {text_of(genes[k])!r}, and {text_of(first[k])!r} there"
            raise FieldError(
                f"{each} has other genes than {path}, or in another order ({what}), and rows are "
                "joined by the place of their columns; write files with the same genes, as "
                "adata[:, genes].write_h5ad(...) does"
            )


def _genes(path: str, name: str, locking: Locking) -> NDArray[Any] | None:
    """Give the names of the columns of a matrix; None for what is no matrix of AnnData."""
    parts = name.strip("/").split("/")
    var = "raw/var" if parts == ["raw", "X"] else "var"
    if parts not in (["X"], ["raw", "X"]) and parts[0] != "layers":
        return None
    if not h5py.is_hdf5(path):
        return None
    with open_file(path, locking) as file:
        try:
            require_inside(file, var)
            group = file[var]
            index = f"{var}/{text_of(group.attrs['_index'])}"
            require_inside(file, index)
            found = file[index]
        except (ExternalDataError, KeyError, OSError, RuntimeError, ValueError):
            return None
        return found[:] if isinstance(found, h5py.Dataset) and found.ndim == 1 else None
