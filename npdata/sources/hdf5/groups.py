"""One dataset out of each of many groups, end to end: the episodes, patients or runs of a file.

Idea: every dataset is looked at once, by the calls below h5py's objects, for its length and where
its rows lie. Rows that lie in one piece in the file are then gathered out of its map by one call,
whatever the number of groups; others are opened when they are first read. Invariant: the rows are
those of `np.concatenate` over the groups, in the order given; a place in the file is used only for
a dataset whose first row was found there. At most `MOST_KEPT` opened datasets are kept.
"""

import fnmatch
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import BLOCK_BYTES, Blocks
from npdata.arrays.gather import ByteRows
from npdata.arrays.per_process import ForkSafeLock
from npdata.errors import FieldError, MemberNotFoundError, SourceError
from npdata.sources.base import Access, Source
from npdata.sources.file import File
from npdata.sources.hdf5.examine import (
    AUTO,
    Hdf5Options,
    OpenedFile,
    examine,
    require_file,
)
from npdata.sources.hdf5.kinds import storage_of
from npdata.sources.hdf5.layout import Layout, open_file
from npdata.sources.hdf5.links import require_inside, require_own_data
from npdata.sources.hdf5.open import open_hdf5, source_of
from npdata.sources.hdf5.packed import read_packing, shown
from npdata.sources.natural_order import naturally_sorted
from npdata.sources.packing import Packing, Packings
from npdata.sources.part_runs import copy_spans, grouped, read_runs

MOST_KEPT = 2048
MOST_OPEN = 32
MAGIC = frozenset("*?")


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """What was seen of each dataset: `offsets` in the file, -1 for those to be opened.

    `lengths` are rows, `block_rows` those of a chunk, 0 without chunks; int64, one a dataset.
    """

    path: str
    names: tuple[str, ...]
    lengths: NDArray[np.int64]
    offsets: NDArray[np.int64]
    block_rows: NDArray[np.int64]
    first: Layout
    access: Access
    packings: Packings


class GroupsSource(Source):
    """The rows of the datasets of `groups`, one group after the other."""

    def __init__(self, groups: Groups, options: Hdf5Options) -> None:
        """Take what was seen; nothing is opened before the first read."""
        layout = groups.first
        self.shape = (int(groups.lengths.sum()), *layout.shape[1:])
        self.dtype = layout.dtype
        self.where = f"{groups.path}::{groups.names[0]} and {len(groups.names) - 1} more"
        self.access = groups.access
        self.details = (("groups", f"{len(groups.names)}, of {_range(groups.lengths)} rows each"),)
        packing = groups.packings.kinds[0]
        if packing is not None:
            self.details += (("packing", shown(packing)),)
        self._groups = groups
        self._options = options
        self._starts = np.append(0, np.cumsum(groups.lengths))
        self._in_place = bool((groups.offsets >= 0).all())
        self._file = File(groups.path, layout.identity)
        self._rows: ByteRows | None = None
        self._parts: OrderedDict[int, Source] = OrderedDict()
        self._open: OrderedDict[int, Source] = OrderedDict()
        self._lock = ForkSafeLock()

    @property
    def borders(self) -> NDArray[np.int64]:
        """The first row of each group, and the number of rows."""
        return self._starts

    @property
    def packings(self) -> Packings:
        """What the numbers of each group stand for."""
        return self._groups.packings

    @property
    def blocks(self) -> Blocks:
        """The chunks of each group; small groups that lie one after the other are one block."""
        per_block = max(1, BLOCK_BYTES // max(1, self.row_bytes))
        rows: list[int] = []
        sizes: list[int] = []
        for length, chunk in zip(
            self._groups.lengths.tolist(), self._groups.block_rows.tolist(), strict=True
        ):
            if not chunk and rows and sizes[-1] == per_block and rows[-1] + length <= per_block:
                rows[-1] += length
            elif length:
                rows.append(length)
                sizes.append(chunk or per_block)
        return Blocks(rows=tuple(rows), block_rows=tuple(sizes))

    @property
    def decoded_chunks(self) -> int:
        """The chunks that were decoded for the groups that are open."""
        return sum(part.decoded_chunks for part in list(self._parts.values()))

    @property
    def reused_chunks(self) -> int:
        """The chunks that were found decoded, of the groups that are open."""
        return sum(part.reused_chunks for part in list(self._parts.values()))

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Gather rows in place by one call; groups that are not in place read theirs."""
        if out.size == 0:
            return
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        offsets = self._groups.offsets[owners]
        if self._in_place:
            self._gather(offsets, indices - self._starts[owners], out)
            return
        there = np.flatnonzero(offsets >= 0)
        if len(there):
            part = np.empty((len(there), *self.shape[1:]), self.dtype)
            self._gather(offsets[there], (indices - self._starts[owners])[there], part)
            out[there] = part
        rest = np.flatnonzero(offsets < 0)
        by_owner = [(owner, rest[at]) for owner, at in grouped(owners[rest])]
        self._open_all([owner for owner, _ in by_owner])
        for owner, places in by_owner:
            part = np.empty((len(places), *self.shape[1:]), self.dtype)
            self._part(owner).read(indices[places] - self._starts[owner], part)
            out[places] = part

    def _gather(
        self, offsets: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        self._file.check()
        table = self._rows
        if table is None:
            table = self._rows = ByteRows.of(self._file.array, self.row_bytes)
        table.gather(offsets + rows * self.row_bytes, out.reshape(len(out), -1).view(np.uint8))
        self._file.check()

    def runs(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Give runs of rows in fresh memory; those inside one group are not read row by row."""
        in_place = self._groups.offsets >= 0
        if not self._in_place:
            owners = np.searchsorted(self._starts, starts[stops > starts], side="right") - 1
            self._open_all(np.unique(owners[~in_place[owners]]).tolist())
        found = read_runs(
            starts,
            stops,
            edges=self._starts,
            in_place=in_place,
            copy=self._copy_runs,
            part=self._part,
            shape=self.shape[1:],
            dtype=self.dtype,
        )
        return super().runs(starts, stops) if found is None else found

    def _copy_runs(
        self,
        owners: NDArray[np.int64],
        starts: NDArray[np.int64],
        stops: NDArray[np.int64],
        out: NDArray[Any],
    ) -> None:
        self._file.check()
        bases = self._groups.offsets[owners] - self._starts[owners] * self.row_bytes
        begins, ends = bases + starts * self.row_bytes, bases + stops * self.row_bytes
        copy_spans(self._file.array, begins, ends, out)
        self._file.check()

    def _open_all(self, owners: list[int]) -> None:
        """Open datasets that are not open yet, in one opening of the file."""
        missing = [owner for owner in owners if owner not in self._parts]
        if not missing:
            return
        groups, options = self._groups, self._options
        with self._lock.get(), open_file(groups.path, options.locking) as file:
            opened = OpenedFile(file, groups.path, options)
            for owner in missing:
                examined = examine(opened, groups.names[owner])
                self._parts[owner] = source_of(examined, options)
            while len(self._parts) > max(MOST_KEPT, len(owners)):
                self._parts.popitem(last=False)[1].close_idle()

    def _part(self, owner: int) -> Source:
        with self._lock.get():
            part = self._parts.get(owner)
            if part is None:
                part = open_hdf5(self._groups.path, self._groups.names[owner], self._options)
                self._parts[owner] = part
            self._open[owner] = part
            self._open.move_to_end(owner)
            idle = self._open.popitem(last=False)[1] if len(self._open) > MOST_OPEN else None
        if idle is not None:
            idle.close_idle()
        return part

    def check(self) -> None:
        """Raise `ChangedFileError` if the file changed since it was opened."""
        self._file.check()

    def will_need(self, first: int, stop: int) -> None:
        """Ask the kernel for the bytes of these rows, where they lie in one piece."""
        for offset, nbytes in self._spans(first, stop):
            self._file.will_need(offset, nbytes)

    def dont_need(self, first: int, stop: int) -> None:
        """Tell the kernel that the bytes of these rows may leave memory."""
        for offset, nbytes in self._spans(first, stop):
            self._file.dont_need(offset, nbytes)

    def _spans(self, first: int, stop: int) -> list[tuple[int, int]]:
        spans = []
        owner = int(np.searchsorted(self._starts, first, side="right")) - 1
        while owner < len(self._groups.names) and self._starts[owner] < stop:
            start, end = int(self._starts[owner]), int(self._starts[owner + 1])
            low, high = max(first, start), min(stop, end)
            offset = int(self._groups.offsets[owner])
            if offset >= 0 and low < high:
                spans.append((offset + (low - start) * self.row_bytes, (high - low)))
            owner += 1
        return [(offset, rows * self.row_bytes) for offset, rows in spans]

    def close_idle(self) -> None:
        """Close the files until the next read."""
        self._rows = None
        self._file.close_idle()
        for part in list(self._parts.values()):
            part.close_idle()

    def close(self) -> None:
        """Close the files."""
        self._rows = None
        self._file.close()
        for part in list(self._parts.values()):
            part.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle names and numbers, never a handle or the content."""
        return type(self), (self._groups, self._options)


def is_wildcard(name: str) -> bool:
    """Tell whether a dataset's name stands for many.

    Examples:
        >>> is_wildcard("data/*/actions"), is_wildcard("data/demo_0/actions")
        (True, False)
    """
    return not MAGIC.isdisjoint(name)


def open_groups(
    path: str,
    name: str,
    options: Hdf5Options = AUTO,
    groups: Sequence[str | bytes] | None = None,
) -> Source:
    """Open the dataset `name` of many groups, with wildcards where their names go.

    `groups` picks some, in its order: what stands for the wildcard, or whole paths; without a
    wildcard in `name`, the groups to look for `name` in. Raises `MemberNotFoundError` (a KeyError)
    where nothing matches or a group has no such dataset, `FieldError` where rows differ.
    """
    path = require_file(path)
    with open_file(path, options.locking) as file:
        literal = groups is None and name in file
        if not literal:
            names = _expanded(file, path, name) if is_wildcard(name) else []
            names = names if groups is None else _picked(path, name, names, groups)
            opened = OpenedFile(file, path, options)
            return GroupsSource(_look(opened, names), options)
    return open_hdf5(path, name, options)


def _expanded(file: h5py.File, path: str, pattern: str) -> list[str]:
    """Give the names that a pattern matches up to its last wildcard, in natural order."""
    parts = [part for part in pattern.split("/") if part]
    last = max(k for k, part in enumerate(parts) if is_wildcard(part))
    found = [""]
    for part in parts[: last + 1]:
        below = []
        for above in found:
            if not is_wildcard(part):
                below.append(f"{above}/{part}")
                continue
            require_inside(file, above or "/")
            group = file.get(above or "/")
            names = list(group) if isinstance(group, h5py.Group) else []
            below += [f"{above}/{each}" for each in fnmatch.filter(names, part)]
        found = below
    if not found:
        raise MemberNotFoundError(f"{path} has no group that matches {pattern!r}")
    rest = "/".join(parts[last + 1 :])
    return [f"{each}/{rest}" if rest else each for each in naturally_sorted(found)]


def _picked(path: str, pattern: str, names: list[str], groups: Sequence[str | bytes]) -> list[str]:
    asked = [g.decode() if isinstance(g, bytes) else str(g) for g in groups]
    if not asked:
        raise FieldError("groups= is empty, and an empty list of groups makes no field")
    twice = (
        next((group for group in asked if asked.count(group) > 1), None)
        if len(set(asked)) < len(asked)
        else None
    )
    if twice is not None:
        raise FieldError(f"groups= has {twice!r} twice, and so would its rows")
    if not names:
        return [f"/{group.strip('/')}/{pattern.strip('/')}" for group in asked]
    known: dict[str, str] = {}
    parts = [part for part in pattern.split("/") if part]
    at = [k for k, part in enumerate(parts) if is_wildcard(part)]
    for name in names:
        own = name.strip("/").split("/")
        known["/".join(own[at[0] : at[-1] + 1])] = name
        known["/".join(own[: at[-1] + 1])] = name
    lost = [group for group in asked if group.strip("/") not in known]
    if lost:
        raise MemberNotFoundError(
            f"{path} has no group {lost[0]!r} for {pattern!r} ({len(lost)} of the {len(asked)} in "
            f"groups= are missing); it has {_some(names)}"
        )
    return [known[group.strip("/")] for group in asked]


def _look(opened: OpenedFile, names: Sequence[str]) -> Groups:
    """Look at each dataset once; the first is examined as any dataset is."""
    path = opened.path
    examined = examine(opened, names[0])
    layout = examined.layout
    kind = examined.decision.kind
    plain = layout.storage == "contiguous" and layout.rank == len(layout.shape)
    direct = kind == "mapped" and plain
    first = opened.file[names[0]].id
    stored, rest = first.get_type(), first.shape[1:]
    seen = np.empty((3, len(names)), np.int64)
    packed: list[Packing | None] = []
    with open(path, "rb", buffering=0) as raw:  # noqa: PTH123
        row = _FirstRow(layout, raw) if direct else None
        for k, name in enumerate(names):
            found = _opened(opened, name)
            if found.shape[1:] != rest or not (
                found.dataset.get_type().equal(stored) and len(found.shape) == layout.rank
            ):
                raise FieldError(
                    f"rows of {path}::{names[0]} are {rest} of {layout.dtype}, those of "
                    f"{path}::{name} are {found.shape[1:]} of {found.dataset.dtype}; they make no "
                    f"one field"
                )
            seen[:, k] = _placed(found, layout, row)
            packed.append(read_packing(found.dataset, layout.dtype))
    lengths, offsets, chunks = seen
    away = int((offsets < 0).sum())
    reason = examined.decision.reason
    if direct and away:
        reason += f"; {away} of them are opened one by one"
    access = Access(kind=kind, reason=f"{len(names)} groups end to end, as the first: {reason}")
    return Groups(
        path=path,
        names=tuple(names),
        lengths=lengths,
        offsets=offsets,
        block_rows=chunks,
        first=layout,
        access=access,
        packings=Packings.of_parts(packed, np.append(0, np.cumsum(lengths)[:-1])),
    )


class _Found(NamedTuple):
    """A dataset that is open, and what HDF5 was asked of it; to ask makes an object of h5py."""

    dataset: Any
    properties: Any
    storage: str
    space: Any
    shape: tuple[int, ...]


def _opened(opened: OpenedFile, name: str) -> _Found:
    path = opened.path
    inside = not opened.options.allow_external
    group, own = opened.groups.find(name) if inside else (opened.file.id, name.encode())
    try:
        dataset = h5py.h5o.open(group, own)
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        raise MemberNotFoundError(
            f"{path} has no dataset {name!r}, which others of its groups have: {error}"
        ) from None
    if not isinstance(dataset, h5py.h5d.DatasetID):
        raise MemberNotFoundError(f"{path}::{name} is a group, and a dataset is needed")
    properties = dataset.get_create_plist()
    storage = storage_of(properties)
    if inside:
        require_own_data(dataset, storage, f"{path}::{name}")
    space = dataset.get_space()
    shape = space.get_simple_extent_dims()
    if not shape:
        raise SourceError(f"{path}::{name} is a scalar or null dataset and has no rows")
    return _Found(dataset, properties, storage, space, shape)


def _placed(found: _Found, layout: Layout, row: "_FirstRow | None") -> tuple[int, int, int]:
    """Give the length of a dataset, where its rows lie (-1: open it), and the rows of a chunk."""
    length = int(found.shape[0])
    if found.storage == "chunked":
        return length, -1, int(found.properties.get_chunk()[0])
    nbytes = length * layout.row_bytes
    if row is None or found.storage != "contiguous" or not nbytes:
        return length, -1, 0
    offset = found.dataset.get_offset()
    if offset is None or found.dataset.get_storage_size() != nbytes:
        return length, -1, 0
    if offset + nbytes > layout.identity.size or not row.is_at(offset, found):
        return length, -1, 0
    return length, int(offset), 0


class _FirstRow:
    """Looks whether HDF5 reads the row that lies at an offset in the file as the first one."""

    def __init__(self, layout: Layout, raw: Any) -> None:
        shape = (1, *layout.shape[1:])
        self._raw = raw
        self._row = np.empty(shape, layout.dtype)
        self._target = h5py.h5s.create_simple(shape)
        self._shape = shape
        self._start = (0,) * len(shape)

    def is_at(self, offset: int, found: _Found) -> bool:
        found.space.select_hyperslab(self._start, self._shape)
        found.dataset.read(self._target, found.space, self._row)
        self._raw.seek(offset)
        return bool(self._raw.read(self._row.nbytes) == self._row.tobytes())


def _range(lengths: NDArray[np.int64]) -> str:
    return f"{lengths.min()} to {lengths.max()}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
