"""One dataset out of each of many groups, end to end: the episodes, patients or runs of a file.

Idea: every dataset is looked at once, by the calls below h5py's objects, for its length and where
its rows lie. Rows that lie in one piece in the file are then gathered out of its map by one call,
whatever the number of groups; others are opened when they are first read. Invariant: the rows are
those of `np.concatenate` over the groups, in the order given; a place in the file is used only for
a dataset whose first row was found there. At most `MOST_KEPT` opened datasets are kept.
"""

import fnmatch
from collections import Counter, OrderedDict
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
from npdata.sources.hdf5.attributes import read_packing, shown
from npdata.sources.hdf5.examine import (
    AUTO,
    Hdf5Options,
    OpenedFile,
    examine,
    open_id,
    require_file,
)
from npdata.sources.hdf5.kinds import storage_of
from npdata.sources.hdf5.layout import Layout, open_file
from npdata.sources.hdf5.links import require_inside, require_own_data
from npdata.sources.hdf5.open import open_hdf5, source_of
from npdata.sources.natural_order import naturally_sorted
from npdata.sources.packing import Packing, Packings
from npdata.sources.part_runs import copy_spans, grouped, read_runs

MOST_KEPT = 2048
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
        there = offsets >= 0
        if there.any():
            part = np.empty((int(there.sum()), *self.shape[1:]), self.dtype)
            self._gather(offsets[there], (indices - self._starts[owners])[there], part)
            out[there] = part
        rest = np.flatnonzero(~there)
        parts = self._opened(owners[rest])
        for owner, at in grouped(owners[rest]):
            places = rest[at]
            part = np.empty((len(places), *self.shape[1:]), self.dtype)
            parts[owner].read(indices[places] - self._starts[owner], part)
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
        owners = np.searchsorted(self._starts, starts[stops > starts], side="right") - 1
        parts = self._opened(owners[~in_place[owners]])
        found = read_runs(
            starts,
            stops,
            edges=self._starts,
            in_place=in_place,
            copy=self._copy_runs,
            part=parts.__getitem__,
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

    def _opened(self, owners: NDArray[np.int64]) -> dict[int, Source]:
        """Give datasets, of which those that are not open are opened in one opening of the file.

        They share its descriptor and its map with each other and with this source.
        """
        wanted = dict.fromkeys(owners.tolist())
        with self._lock.get():
            missing = [owner for owner in wanted if owner not in self._parts]
            if missing:
                self._file.check()
                self._open(missing)
            for owner in wanted:
                self._parts.move_to_end(owner)
            found = {owner: self._parts[owner] for owner in wanted}
            while len(self._parts) > max(MOST_KEPT, len(wanted)):
                self._parts.popitem(last=False)
        return found

    def _open(self, owners: list[int]) -> None:
        groups, options = self._groups, self._options
        with open_file(groups.path, options.locking) as file:
            opened = OpenedFile(file, groups.path, options, self._file)
            for owner in owners:
                self._parts[owner] = source_of(examine(opened, groups.names[owner]), options)

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
        """Give where the rows lie in the file, as offsets and numbers of bytes."""
        edges = np.clip(self._starts, first, stop)
        counts, offsets = np.diff(edges), self._groups.offsets
        some = np.flatnonzero((counts > 0) & (offsets >= 0))
        before = (edges[some] - self._starts[some]) * self.row_bytes
        nbytes = counts[some] * self.row_bytes
        return list(zip((offsets[some] + before).tolist(), nbytes.tolist(), strict=True))

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
    twice = next((group for group, times in Counter(asked).items() if times > 1), None)
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
    with open(opened.path, "rb", buffering=0) as raw:  # noqa: PTH123
        first = _First(opened, names[0], raw)
        seen = [first.look_at(name) for name in names]
    lengths = np.array([each.length for each in seen], np.int64)
    offsets = np.array([each.offset for each in seen], np.int64)
    decision = first.examined.decision
    away = int((offsets < 0).sum())
    reason = f"{len(names)} groups end to end, as the first: {decision.reason}"
    if first.in_place and away:
        reason += f"; {away} of them are opened one by one"
    packings = [each.packing for each in seen]
    return Groups(
        path=opened.path,
        names=tuple(names),
        lengths=lengths,
        offsets=offsets,
        block_rows=np.array([each.block_rows for each in seen], np.int64),
        first=first.examined.layout,
        access=Access(kind=decision.kind, reason=reason),
        packings=Packings.of_parts(packings, np.append(0, np.cumsum(lengths)[:-1])),
    )


class _Seen(NamedTuple):
    """What was seen of one dataset; see `Groups`."""

    length: int
    offset: int
    block_rows: int
    packing: Packing | None


class _First:
    """The first dataset, with which the others are compared."""

    def __init__(self, opened: OpenedFile, name: str, raw: Any) -> None:
        """Examine it; `raw` is the file, open for reading past HDF5."""
        self.examined = examine(opened, name)
        layout = self.examined.layout
        plain = layout.storage == "contiguous" and layout.rank == len(layout.shape)
        self.in_place = self.examined.decision.kind == "mapped" and plain
        self._opened = opened
        self._raw = raw
        self._type = open_id(opened, name).get_type()
        self._rest = layout.shape[1 : layout.rank]
        self._row = np.empty((1, *layout.shape[1:]), layout.dtype)
        self._target = h5py.h5s.create_simple(self._row.shape)

    def look_at(self, name: str) -> _Seen:
        """Look at another dataset, whose rows must be like those of the first.

        To ask it anything makes an object of h5py, so it is asked once.
        """
        where, layout = f"{self._opened.path}::{name}", self.examined.layout
        dataset = open_id(self._opened, name)
        properties = dataset.get_create_plist()
        storage = storage_of(properties)
        if not self._opened.options.allow_external:
            # Before its shape: that of a virtual dataset may be that of its sources.
            require_own_data(dataset, storage, where)
        space = dataset.get_space()
        shape = space.get_simple_extent_dims()
        if not shape:
            raise SourceError(f"{where} is a scalar or null dataset and has no rows")
        if shape[1:] != self._rest or not (
            dataset.get_type().equal(self._type) and len(shape) == layout.rank
        ):
            raise FieldError(
                f"rows of {self.examined.where} are {self._rest} of {layout.dtype}, those of "
                f"{where} are {shape[1:]} of {dataset.dtype}; they make no one field"
            )
        packing, chunked = read_packing(dataset, layout.dtype), storage == "chunked"
        block_rows = int(properties.get_chunk()[0]) if chunked else 0
        offset = self._offset(dataset, space) if storage == "contiguous" else -1
        return _Seen(shape[0], offset, block_rows, packing)

    def _offset(self, dataset: Any, space: Any) -> int:
        """Give where rows that lie in one piece lie in the file, -1 where that is not sure."""
        layout = self.examined.layout
        nbytes = space.get_simple_extent_dims()[0] * layout.row_bytes
        offset = dataset.get_offset() if self.in_place and nbytes else None
        if offset is None or dataset.get_storage_size() != nbytes:
            return -1
        if offset + nbytes > layout.identity.size:
            return -1
        space.select_hyperslab((0,) * layout.rank, self._row.shape)
        dataset.read(self._target, space, self._row)
        self._raw.seek(offset)
        return offset if self._raw.read(self._row.nbytes) == self._row.tobytes() else -1


def _range(lengths: NDArray[np.int64]) -> str:
    return f"{lengths.min()} to {lengths.max()}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
