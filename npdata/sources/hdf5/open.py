"""Finding a dataset: path and name, or an open `h5py.Dataset`, to a source.

Idea: what cannot be sent to another process (a handle) is turned into what can (path and name),
once, at construction, and everything that would fail later fails here with the names of what is
there. Invariant: no handle of the user is kept, used for reading, or closed. Reading
is left to the sources.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import h5py

from npdata.errors import (
    DirectAccessError,
    FieldError,
    FormatError,
    MemberNotFoundError,
    SourceError,
    TruncatedError,
    UnsupportedSourceError,
)
from npdata.sources.base import Source
from npdata.sources.file import FileIdentity, FileMap, require_local
from npdata.sources.hdf5.budget import default_budget
from npdata.sources.hdf5.decide import Decision, decide, exaggeration
from npdata.sources.hdf5.decoded import DecodedSource
from npdata.sources.hdf5.details import Details, details
from npdata.sources.hdf5.layout import Layout, LayoutKeeper, Locking, open_file, read_layout
from npdata.sources.hdf5.library import LibrarySource
from npdata.sources.hdf5.links import require_inside, require_own_data
from npdata.sources.hdf5.mapped import ChunkMappedSource
from npdata.sources.hdf5.probe import surprise
from npdata.sources.hdf5.rows import ChunkSpec
from npdata.sources.hdf5.variable import VariableSource, variable_numbers
from npdata.sources.mapped import MappedSource, Place

MOST_NAMES = 20


def is_open_dataset(value: object) -> TypeGuard[h5py.Dataset]:
    """Tell whether `value` is an `h5py.Dataset`."""
    return isinstance(value, h5py.Dataset)


def address_of(dataset: h5py.Dataset) -> tuple[str, str, "Hdf5Options"]:
    """Give path, name and options to open a dataset again by, after a flush of its file.

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
    return os.fsdecode(file.filename), str(dataset.name), Hdf5Options(locking=_locking(file))


def _locking(file: h5py.File) -> Locking:
    """Give the way a file was locked: HDF5 opens it a second time only in the same way."""
    used, ignored = file.id.get_access_plist().get_file_locking()
    if not used:
        return False
    return "best-effort" if ignored else True


@dataclass(frozen=True, kw_only=True)
class Hdf5Options:
    """How to open HDF5 files: as in `NumpyDataset.from_hdf5`."""

    access: Literal["auto", "library", "direct"] = "auto"
    allow_external: bool = False
    locking: Locking = None

    def __post_init__(self) -> None:
        """Refuse what is none of the choices."""
        if self.access not in ("auto", "library", "direct"):
            raise FieldError(
                f"access={self.access!r} is none of 'auto', 'library' (h5py) and 'direct' (npdata)"
            )


AUTO = Hdf5Options()


def open_hdf5(path: str, name: str, options: Hdf5Options = AUTO) -> Source:
    """Open the dataset `name` of the HDF5 file `path` as a source of rows.

    Raises `MemberNotFoundError` (a KeyError), which lists the datasets that are there,
    `FormatError` where the file or the dataset cannot be opened, `SourceError` for a group or
    for a dataset without rows, `FileLockError`, `ExternalDataError`, and with `access="direct"`
    `DirectAccessError` where only h5py can read it.
    """
    path = require_file(path)
    with open_file(path, options.locking) as file:
        examined = examine(file, path, name, options)
    return source_of(examined, options)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """A dataset, known before any row is read: where it is, how it is stored and will be read."""

    where: str
    layout: Layout
    decision: Decision


def require_file(path: str) -> str:
    """Give the absolute path; raises for a missing, an empty and for no file."""
    require_local(path)
    path = str(Path(path).absolute())
    identity = FileIdentity.of(path)
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder, and an HDF5 file is needed")
    if identity.size == 0:
        raise TruncatedError(f"{path} is empty (0 bytes)")
    return path


def examine(file: h5py.File, path: str, name: str, options: Hdf5Options = AUTO) -> Examined:
    """Learn how the dataset `name` of a file opened at `path` is stored; raises as `open_hdf5`."""
    where = f"{path}::{name}"
    if not options.allow_external:
        require_inside(file, name)
    dataset = find(file, name, where)
    where = f"{path}::{dataset.name}"
    if dataset.shape is None or dataset.shape == ():
        kind = "a null" if dataset.shape is None else "a scalar"
        raise SourceError(f"{where} is {kind} dataset and has no rows")
    if not options.allow_external:
        require_own_data(dataset, where)
    try:
        layout = read_layout(dataset)
    except (TypeError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{where} has a type that NumPy has not: {error}") from error
    exaggerated = exaggeration(layout)
    if exaggerated is not None:
        raise FormatError(f"{where} is refused: {exaggerated}")
    return Examined(where=where, layout=layout, decision=_decided(dataset, layout, options))


def source_of(examined: Examined, options: Hdf5Options = AUTO) -> Source:
    """Make the source that was decided for; `DirectAccessError` where only h5py can read it."""
    where, layout, decision = examined.where, examined.layout, examined.decision
    if decision.kind == "library" and options.access == "direct":
        raise DirectAccessError(
            f'{where} cannot be read with access="direct": {decision.reason}; with access="auto" '
            f"h5py reads it"
        )
    about = details(layout, decision, default_budget())
    if decision.kind == "library":
        chunk_shape = layout.chunk_shape
        rows = LibrarySource(
            layout.path,
            layout.name,
            identity=layout.identity,
            shape=layout.shape,
            dtype=layout.dtype,
            chunk_rows=chunk_shape[0] if chunk_shape else None,
            reason=f"h5py reads it, in sorted runs of rows: {decision.reason}",
            rank=layout.rank,
            fill_is_written=layout.fill_is_written,
            locking=options.locking,
            details=about,
        )
        numbers = variable_numbers(layout.dtype) if len(layout.shape) == 1 else None
        return rows if numbers is None else VariableSource(rows, numbers)
    return _direct(layout, decision, where, about, options.locking)


def _decided(dataset: h5py.Dataset, layout: Layout, options: Hdf5Options) -> Decision:
    if options.access == "library":
        return Decision(kind="library", reason="as asked")
    decision = decide(layout)
    wrong = None if decision.kind == "library" else surprise(dataset, layout)
    return decision if wrong is None else Decision(kind="library", reason=wrong)


def _direct(
    layout: Layout, decision: Decision, where: str, about: Details, locking: Locking
) -> Source:
    if layout.storage == "contiguous":
        file = FileMap(layout.path, layout.identity)
        place = Place.contiguous(offset=layout.offset or 0, dtype=layout.dtype, shape=layout.shape)
        return MappedSource(file, place, decision.reason, where, about)
    keeper = LayoutKeeper(layout, locking)
    spec = ChunkSpec.of(layout, where=where, reason=decision.reason, details=about)
    if decision.kind == "mapped":
        return ChunkMappedSource(keeper, spec)
    return DecodedSource(keeper, spec)


def find(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    """Give the dataset `name`; raises `MemberNotFoundError` with the names of what is there."""
    try:
        found: Any = file[name] if name else file
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        target = _target(file, name)
        if target is not None:
            raise MemberNotFoundError(
                f"{file.filename} has no dataset {name!r}: it links to {target}, and "
                f"that leads nowhere"
            ) from None
        raise MemberNotFoundError(
            f"{file.filename} has no dataset {name!r} ({error}); {_listing(file)}"
        ) from None
    if isinstance(found, h5py.Group):
        raise MemberNotFoundError(
            f"{where.removesuffix('::')} is a group, and a dataset is needed; {_listing(found)}"
        )
    if not isinstance(found, h5py.Dataset):
        raise MemberNotFoundError(f"{where} is a named type and no dataset; {_listing(file)}")
    return found


def _target(file: h5py.File, name: str) -> str | None:
    """Give where a soft link leads, None for what is none."""
    with contextlib.suppress(KeyError, OSError, RuntimeError, ValueError):
        link = file.get(name, getlink=True)
        return str(link.path) if isinstance(link, h5py.SoftLink) else None
    return None


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
