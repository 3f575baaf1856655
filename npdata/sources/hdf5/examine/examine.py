"""A dataset of an open file, examined: which one it is, how it is stored, how it will be read.

Idea: a file is opened once for all its datasets, and what is the same for them is learned once.
Invariant: nothing outside the file is opened unless that is allowed, and no rows are read, but for
the few by which the layout is proven.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from npdata.arrays.flag import flag
from npdata.errors import (
    FieldError,
    FileLockError,
    FormatError,
    MemberNotFoundError,
    SourceError,
    TruncatedError,
)
from npdata.sources.file import File, FileIdentity, require_regular
from npdata.sources.hdf5.examine.attributes import holds_pickles, read_meaning
from npdata.sources.hdf5.examine.creation_properties import Kinds
from npdata.sources.hdf5.examine.decide import Decision, decide, implausible_size
from npdata.sources.hdf5.examine.external_files import ExternalFile, external_files
from npdata.sources.hdf5.examine.layout import FileFacts, Layout, Locking, read_layout
from npdata.sources.hdf5.examine.links import HardGroups, encoded, require_own_data
from npdata.sources.hdf5.examine.listing import listing, lost
from npdata.sources.hdf5.examine.verify_offsets import kind_of, verify_offsets
from npdata.sources.hdf5.rows.h5py_rows import filters_missing
from npdata.sources.packed.packing import Packing

MOST_PROVEN = 8
"""So many datasets of a kind are checked against the file; where they are right, all are."""


@dataclass(frozen=True, kw_only=True)
class Hdf5Options:
    """How to open HDF5 files: as in `NumpyDataset.from_hdf5`."""

    access: Literal["auto", "library", "direct"] = "auto"
    allow_external: bool = False
    missing: Literal["error", "fill"] = "error"
    locking: Locking = None

    def __post_init__(self) -> None:
        """Refuse what is none of the choices."""
        if self.access not in ("auto", "library", "direct"):
            raise FieldError(
                f"access={self.access!r} is none of 'auto', 'library' (h5py) and 'direct' (npdata)"
            )
        if self.missing not in ("error", "fill"):
            raise FieldError(f"missing={self.missing!r} is none of 'error' and 'fill'")
        if self.locking not in (None, True, False, "true", "false", "best-effort"):
            raise FieldError(f"locking={self.locking!r} is none of True, False and 'best-effort'")
        flag("allow_external", self.allow_external, FieldError)
        if self.missing == "fill" and not self.allow_external:
            raise FieldError(
                'missing="fill" is for the sources of virtual datasets; they need '
                "allow_external=True"
            )


AUTO = Hdf5Options()


class OpenedFile:
    """A file open for looking at its datasets, and what is learned once for all of them."""

    def __init__(
        self, file: h5py.File, path: str, options: Hdf5Options = AUTO, reader: File | None = None
    ) -> None:
        """Look into `file`, which is open and lies at `path`; `FileLockError` in SWMR mode.

        `reader` is the file as it was opened before, where it was.
        """
        self.file = file
        self.path = path
        self.options = options
        self.facts = FileFacts.of(file)
        self.groups = HardGroups(file)
        self.kinds = Kinds()
        self.reader = File(path, self.facts.identity) if reader is None else reader
        """What sources read rows with, each by its own `reader.again()`; it opens nothing here."""
        self.proven: Counter[object] = Counter()
        """How many datasets of a kind were checked against the file."""
        if self.facts.swmr:
            raise FileLockError(
                f"{path} is open in this process in SWMR mode, in which it may grow and its chunks "
                f"move; npdata reads files that do not change: close it (also the writer), and "
                f"open it without swmr"
            )

    def facts_of(self, dataset: h5py.h5d.DatasetID) -> FileFacts:
        """Give the facts of the file that a dataset is in, which a link may have led to."""
        if not self.options.allow_external:
            return self.facts
        own = h5py.File(h5py.h5i.get_file_id(dataset))
        return self.facts if own.id == self.file.id else FileFacts.of(own)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """A dataset, known before any row is read: where it is, how it is stored and will be read.

    `external` are the files beside its own that hold rows; `missing` the filters, by number, that
    nothing here can undo, `packing` what its numbers stand for by its attributes,
    `matlab` what MATLAB means by them.
    """

    where: str
    layout: Layout
    decision: Decision
    file: File
    external: tuple[ExternalFile, ...] = ()
    missing: frozenset[int] = frozenset()
    packing: Packing | None = None
    matlab: str | None = None


def require_file(path: str) -> str:
    """Give the absolute path; raises for a missing, an empty and for no file."""
    require_regular(path)
    path = str(Path(path).absolute())
    if FileIdentity.of(path).size == 0:
        raise TruncatedError(f"{path} is empty (0 bytes)")
    return path


def examine(opened: OpenedFile, name: str, *, inside: bool = False) -> Examined:
    """Learn how the dataset `name` of an opened file is stored; raises as `open_hdf5`.

    With `inside` the name is known to lead through no link to another file.
    """
    options, path = opened.options, opened.path
    dataset = open_id(opened, name, inside=inside)
    named = h5py.h5i.get_name(dataset)
    where = f"{path}::{named.decode('utf8', 'replace')}"
    try:
        kind = opened.kinds.of(dataset, dataset.get_create_plist())
        if not options.allow_external:
            # Before its shape: that of a virtual dataset may be that of its sources.
            require_own_data(dataset, kind.storage, where)
        space = dataset.get_space()
        extent = space.get_simple_extent_type()
        if extent != h5py.h5s.SIMPLE:
            what = "a null" if extent == h5py.h5s.NULL else "a scalar"
            raise SourceError(f"{where} is {what} dataset and has no rows")
        facts = opened.facts_of(dataset)
        layout = read_layout(dataset, facts, kind, space, named.decode("utf8", "surrogateescape"))
    except (TypeError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{where} has a type that NumPy has not: {error}") from error
    if layout.dtype.hasobject and holds_pickles(dataset):
        raise FormatError(
            f"{where} holds pickled Python objects, which could run any code when read; "
            "store numbers of a fixed dtype instead"
        )
    implausible = implausible_size(layout)
    if implausible is not None:
        raise FormatError(f"{where} is refused: {implausible}")
    external: tuple[ExternalFile, ...] = ()
    if layout.storage in ("virtual", "external"):
        fill = options.missing == "fill"
        external = external_files(dataset, where, options.locking, fill=fill)
    decision = _decided(opened, dataset, layout)
    packing, matlab = read_meaning(dataset, layout.dtype)
    return Examined(
        where=where,
        layout=layout,
        decision=decision,
        file=opened.reader if facts is opened.facts else File(facts.path, facts.identity),
        external=external,
        missing=_missing(layout, decision),
        packing=packing,
        matlab=matlab,
    )


def _missing(layout: Layout, decision: Decision) -> frozenset[int]:
    """Give the filters that h5py lacks for chunks which it is to read."""
    if decision.kind != "library" or not layout.filters:
        return frozenset()
    missing = filters_missing(step.id for step in layout.filters)
    table = layout.chunks
    if not missing or table is None:
        return frozenset(missing)
    if table.masks is None:
        return frozenset(missing if len(table) else ())
    applied = ~np.bitwise_and.reduce(table.masks)
    return frozenset(
        step.id
        for position, step in enumerate(layout.filters)
        if step.id in missing and applied >> position & 1
    )


def _decided(opened: OpenedFile, dataset: h5py.h5d.DatasetID, layout: Layout) -> Decision:
    if opened.options.access == "library":
        return Decision(kind="library", reason="as asked")
    decision = decide(layout)
    if decision.kind == "library" or opened.proven[kind_of(layout)] >= MOST_PROVEN:
        return decision
    wrong = verify_offsets(dataset, layout)
    if wrong is not None:
        return Decision(kind="library", reason=wrong)
    opened.proven[kind_of(layout)] += 1
    return decision


def open_id(opened: OpenedFile, name: str, *, inside: bool = False) -> h5py.h5d.DatasetID:
    """Open the dataset `name`, below h5py's objects; raises as `find`, `inside` as in `examine`."""
    group, own = opened.file.id, encoded(name)
    if not inside and not opened.options.allow_external:
        group, own = opened.groups.find(name)
    try:
        return h5py.h5d.open(group, own)
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        return find(opened.file, name, f"{opened.path}::{name}").id


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
            f"{file.filename} has no dataset {name!r}{_cause(error)}; {lost(file, name)}"
        ) from None
    if isinstance(found, h5py.Group):
        raise MemberNotFoundError(
            f"{where.removesuffix('::')} is a group, and a dataset is needed; {listing(found)}; "
            "name one, as in NumpyDataset('FILE::NAME'), or several: "
            "NumpyDataset.from_hdf5('FILE', 'NAME', 'NAME')"
        )
    if not isinstance(found, h5py.Dataset):
        raise MemberNotFoundError(f"{where} is a named type and no dataset; {listing(file)}")
    return found


def _cause(error: Exception) -> str:
    """Give what h5py says, but for a name that is just not there."""
    plain = ("doesn't exist", "component not found")
    return "" if any(each in str(error) for each in plain) else f" ({error})"


def _target(file: h5py.File, name: str) -> str | None:
    """Give where a soft link leads, None for what is none."""
    with contextlib.suppress(KeyError, OSError, RuntimeError, ValueError):
        link = file.get(name, getlink=True)
        return str(link.path) if isinstance(link, h5py.SoftLink) else None
    return None
