"""Finding a dataset: path and name, or an open `h5py.Dataset`, to a source.

Idea: what cannot be sent to another process (a handle) is turned into what can (path and name),
once, at construction, and everything that would fail later fails here with the names of what is
there. Invariant: no handle of the user is kept, used for reading, or closed. Reading is
`library`'s.
"""

import os
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np

from npdata.dtypes import DType
from npdata.errors import (
    FormatError,
    MemberNotFoundError,
    SourceError,
    UnsupportedSourceError,
)
from npdata.sources.base import Source
from npdata.sources.filemap import FileIdentity
from npdata.sources.hdf5.library import LibrarySource

MOST_NAMES = 20


def is_open_dataset(value: object) -> TypeGuard[h5py.Dataset]:
    """Tell whether `value` is an `h5py.Dataset`."""
    return isinstance(value, h5py.Dataset)


def address_of(dataset: h5py.Dataset) -> tuple[str, str]:
    """Give the path and name of an open dataset, whose written rows are flushed to its file.

    Raises `UnsupportedSourceError` where no other process could find it: a closed dataset, one
    without a name, one of an in-memory file.
    """
    if not dataset:
        raise UnsupportedSourceError("the h5py.Dataset is closed; give an open one, or its path")
    file = dataset.file
    if file.driver not in ("sec2", "stdio"):
        raise UnsupportedSourceError(
            f"the h5py.Dataset {dataset.name!r} is in a file of driver {file.driver!r}, which no "
            f"other process can open; pass dataset[:] or write the file to disk"
        )
    if dataset.name is None:
        raise UnsupportedSourceError("the h5py.Dataset has no name to find it by; link it first")
    if file.mode != "r":
        file.flush()
    return os.fsdecode(file.filename), str(dataset.name)


def open_hdf5(path: str, name: str) -> Source:
    """Open the dataset `name` of the HDF5 file `path` as a source of rows.

    Raises `MemberNotFoundError` (a KeyError), which lists the datasets that are there,
    `FormatError` where the file or the dataset cannot be opened, and `SourceError` for a group or
    for a dataset without rows.
    """
    path = str(Path(path).absolute())
    identity = FileIdentity.of(path)
    where = f"{path}::{name}"
    with _opened(path) as file:
        dataset = _found(file, name, where)
        if dataset.shape is None or dataset.shape == ():
            kind = "a null" if dataset.shape is None else "a scalar"
            raise SourceError(f"{where} is {kind} dataset and has no rows")
        try:
            dtype = _plain(dataset.dtype)
        except (TypeError, ValueError) as error:
            raise SourceError(f"{where} has a type that NumPy has not: {error}") from error
        chunks = dataset.chunks
        return LibrarySource(
            path,
            str(dataset.name),
            identity=identity,
            shape=tuple(int(n) for n in dataset.shape),
            dtype=dtype,
            chunk_rows=int(chunks[0]) if chunks else None,
            reason="h5py reads it, in sorted runs of rows",
        )


def _opened(path: str) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        hint = ""
        if "lock" in str(error):
            hint = "; close the program that writes to it"
        raise FormatError(f"{path} cannot be opened as HDF5: {error}{hint}") from error


def _found(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    try:
        found: Any = file[name] if name else file
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        raise MemberNotFoundError(
            f"{file.filename} has no dataset {name!r} ({error}); {_listing(file)}"
        ) from None
    if isinstance(found, h5py.Group):
        raise MemberNotFoundError(f"{where} is a group, and a dataset is needed; {_listing(found)}")
    if not isinstance(found, h5py.Dataset):
        raise MemberNotFoundError(f"{where} is a named type and no dataset; {_listing(file)}")
    return found


def _listing(group: h5py.Group) -> str:
    names: list[str] = []

    def visit(name: str, item: object) -> bool | None:
        if isinstance(item, h5py.Dataset):
            names.append(f"{group.name.rstrip('/')}/{name}".lstrip("/"))
        return True if len(names) > MOST_NAMES else None

    group.visititems(visit)
    if not names:
        return "there is no dataset in it"
    more = ", ..." if len(names) > MOST_NAMES else ""
    return "it has " + ", ".join(repr(name) for name in names[:MOST_NAMES]) + more


def _plain(dtype: DType) -> DType:
    """Drop h5py's remarks from a dtype that NumPy knows fully without them."""
    if dtype.kind in "OV" or dtype.names is not None:
        return dtype
    return np.dtype(dtype.str)
