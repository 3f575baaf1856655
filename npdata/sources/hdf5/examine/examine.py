"""A dataset of an open file, examined: which one it is, how it is stored, how it will be read.

Idea: a file is opened once for all its datasets, and what is the same for them is learned once.
Invariant: nothing outside the file is opened unless that is allowed, and no rows are read, but for
the few by which the layout is proven.
"""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import h5py
import numpy as np

from npdata.errors import FileLockError, FormatError, SourceError
from npdata.sources.base import Access
from npdata.sources.file import File
from npdata.sources.hdf5.examine.attributes import (
    no_numbers,
    packing_and_class,
    place_of_categories,
)
from npdata.sources.hdf5.examine.creation_properties import Creation, Creations
from npdata.sources.hdf5.examine.decide import decide, implausible_size
from npdata.sources.hdf5.examine.external_files import ExternalFile, external_files
from npdata.sources.hdf5.examine.find import find
from npdata.sources.hdf5.examine.layout import Layout, read_layout
from npdata.sources.hdf5.examine.links import encoded, require_lead_inside, require_own_data
from npdata.sources.hdf5.examine.verify_offsets import placement, verify_offsets
from npdata.sources.hdf5.file import AUTO, H5PY_ERRORS, FileFacts, Hdf5Options
from npdata.sources.hdf5.plugins import filters_missing
from npdata.sources.packed.packing import Packing

MOST_PROVEN = 8
"""So many datasets placed alike are checked against the file; where they are right, all are."""


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
        self.groups: set[tuple[str, ...]] = set()
        """Those that hard links are known to lead to."""
        self.creations = Creations()
        self.reader = File(path, self.facts.identity) if reader is None else reader
        """What sources read rows with, each by its own `reader.again()`; it opens nothing here."""
        self.proven: Counter[object] = Counter()
        """How many datasets of each `placement` were checked against the file."""
        if file.swmr_mode:
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
    `matlab` what MATLAB means by them, `categories` the dataset of the names of codes.
    """

    where: str
    layout: Layout
    access: Access
    file: File
    external: tuple[ExternalFile, ...] = ()
    missing: frozenset[int] = frozenset()
    packing: Packing | None = None
    matlab: str | None = None
    categories: str | None = None

    @property
    def without_filters(self) -> str:
        """Say which filters are missing, and what to do."""
        names = " and ".join(
            f"{f.id} ({f.name or 'without a name'})"
            for f in self.layout.filters
            if f.id in self.missing
        )
        return (
            f"neither npdata nor h5py has its filter {names}; a plugin for HDF5 may have it: "
            f"pip install hdf5plugin, which npdata then finds by itself"
        )


class Found(NamedTuple):
    """An open dataset with rows, in the file of these facts; `where` names it for people."""

    dataset: h5py.h5d.DatasetID
    where: str
    facts: FileFacts
    creation: Creation


def look_at(opened: OpenedFile, name: str, *, inside: bool = False) -> Found:
    """Open the dataset `name`, which has rows of a known type; raises as `open_hdf5`.

    With `inside` the name is known to lead through no link to another file.
    """
    if not inside and not opened.options.allow_external:
        require_lead_inside(opened.file, name, opened.groups)
    try:
        dataset = h5py.h5d.open(opened.file.id, encoded(name))  # below h5py's objects
    except H5PY_ERRORS:
        dataset = find(opened.file, name, f"{opened.path}::{name}").id
    where = f"{opened.path}::{h5py.h5i.get_name(dataset).decode('utf8', 'replace')}"
    try:
        creation = opened.creations.of(dataset)
    except (TypeError, ValueError) as error:
        raise SourceError(f"{where} has a type that NumPy has not: {error}") from error
    if not opened.options.allow_external:
        # Before its shape: that of a virtual dataset may be that of its sources.
        require_own_data(dataset, creation.storage, where)
    extent = dataset.get_space().get_simple_extent_type()
    if extent != h5py.h5s.SIMPLE:
        what = "a null" if extent == h5py.h5s.NULL else "a scalar"
        raise SourceError(
            f"{where} is {what} dataset and has no rows; a value for a whole file is a field of "
            "np.repeat(values, np.diff(dataset.borders)), or a sample of npdata.stack"
        )
    held = no_numbers(dataset) if creation.dtype.hasobject else None
    if held is not None:
        raise FormatError(f"{where} holds {held}")
    return Found(dataset, where, opened.facts_of(dataset), creation)


def examine(opened: OpenedFile, name: str, *, inside: bool = False) -> Examined:
    """Learn how the dataset `name` of an opened file is stored; `inside` as for `look_at`.

    Raises as `open_hdf5`.
    """
    found = look_at(opened, name, inside=inside)
    dataset, where, facts = found.dataset, found.where, found.facts
    layout = read_layout(dataset, facts, found.creation)
    implausible = implausible_size(layout)
    if implausible is not None:
        raise FormatError(f"{where} is refused: {implausible}")
    external: tuple[ExternalFile, ...] = ()
    if layout.storage in ("virtual", "external"):
        external = external_files(dataset, where, opened.options)
    access = decided(opened, dataset, layout)
    packing, matlab = packing_and_class(dataset, layout.dtype)
    return Examined(
        where=where,
        layout=layout,
        access=access,
        file=opened.reader if facts is opened.facts else File(facts.path, facts.identity),
        external=external,
        missing=_missing(layout, access),
        packing=packing,
        matlab=matlab,
        categories=place_of_categories(dataset, layout.dtype),
    )


def _missing(layout: Layout, access: Access) -> frozenset[int]:
    """Give the filters that h5py lacks for chunks which it is to read."""
    if access.kind != "library" or not layout.filters:
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


def decided(opened: OpenedFile, dataset: h5py.h5d.DatasetID, layout: Layout) -> Access:
    """Decide how a dataset is read; a few of those placed alike are checked against the file."""
    if opened.options.access == "library":
        return Access(kind="library", reason="as asked")
    access, placed = decide(layout), placement(layout)
    if access.kind == "library" or opened.proven[placed] >= MOST_PROVEN:
        return access
    wrong = verify_offsets(dataset, layout)
    if wrong is not None:
        return Access(kind="library", reason=wrong)
    opened.proven[placed] += 1
    return access
