"""What an HDF5 file has, for the error that names what it has not.

Idea: the names listed are those that a user would write: a group that stands for one array (a
sparse matrix or categories of AnnData) comes as that group. Invariant: a file of very many names
is looked at as far as the error lists them.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from npdata.suggestions import did_you_mean

MOST_NAMES = 20
SPARSE_PARTS = ("data", "indices", "indptr")


def listing(group: h5py.Group) -> str:
    """Say which names there are below a group."""
    return _listed(_names(group))


def lost(file: h5py.File, name: str) -> str:
    """Say what was perhaps meant by `name`, which the file has not, and which names it has."""
    if os.path.isfile(name):  # noqa: PTH113 - a name may be no path at all
        return (
            f"it is the name of a file: several files are one list, as in "
            f"from_hdf5([{Path(file.filename).name!r}, {name!r}], ...)"
        )
    names = _names(file)
    tail = "/" + name.replace(".", "/").strip("/").casefold()
    found = [each for each in names if f"/{each}".casefold().endswith(tail)]
    meant = f"; did you mean {found[0]}?" if found else did_you_mean(name, names, "")
    return f"{meant.removeprefix('; ')} {_listed(names)}".lstrip()


def encoded_kind(group: h5py.Group) -> str | None:
    """Give "csr_matrix", "csc_matrix", "categorical" or "nullable-..." of a group for one array.

    A group that says nothing of itself is a sparse matrix where it has the parts and the shape of
    one; the length of its `indptr` shows which, unless rows are as many as columns.
    """
    kind = group.attrs.get("encoding-type", group.attrs.get("h5sparse_format"))
    if kind is None:
        shape = sparse_shape(group) if all(part in group for part in SPARSE_PARTS) else None
        if shape is None or shape[0] == shape[1]:
            return None
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
    """Give an attribute as text.

    Examples:
        >>> text_of(b"csr")
        'csr'
    """
    return value.decode() if isinstance(value, bytes) else str(value)


def _names(group: h5py.Group) -> list[str]:
    """Give the names of arrays below a group, one more than are listed at most."""
    names: list[str] = []
    array = "\0"  # the group seen last that stands for one array

    def visit(name: str, item: object) -> bool | None:
        nonlocal array
        if name.startswith(f"{array}/"):
            return None
        if isinstance(item, h5py.Group):
            kind = None
            with contextlib.suppress(OSError, RuntimeError, ValueError, TypeError):
                kind = encoded_kind(item)
            if kind is None:
                return None
            array = name
        # PyTables keeps the indexes of its columns beside a table.
        if isinstance(item, h5py.Dataset | h5py.Group) and "/_i_" not in f"/{name}":
            names.append(f"{group.name.rstrip('/')}/{name}".lstrip("/"))
        return True if len(names) > MOST_NAMES else None

    group.visititems(visit)
    return names


def _listed(names: list[str]) -> str:
    if not names:
        return "there is no dataset in it"
    more = ", ..." if len(names) > MOST_NAMES else ""
    return "it has " + ", ".join(repr(name) for name in names[:MOST_NAMES]) + more
