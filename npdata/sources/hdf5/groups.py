"""One dataset out of each of many groups, end to end: the episodes, patients or runs of a file.

Idea: rows that lie in one piece in the file are gathered out of its map by one call, whatever the
number of groups; other datasets are opened when they are first read. Invariant: the rows are those
of `np.concatenate` over the groups, in the order given. At most `MOST_KEPT` opened datasets are
kept.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import BLOCK_BYTES, Blocks
from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import ByteRows, copy_spans
from npdata.arrays.recordings import shown_lengths
from npdata.errors import FieldError
from npdata.runtime.made_once import made_once
from npdata.runtime.per_process import ForkSafeLock
from npdata.sources.base import Source
from npdata.sources.concatenated.edges import Edges
from npdata.sources.concatenated.in_place import PartlyInPlace
from npdata.sources.concatenated.parts import and_more
from npdata.sources.derived.base import origin
from npdata.sources.derived.chosen_rows import ChosenRows
from npdata.sources.file import File
from npdata.sources.hdf5.examine.attributes import shown_packing
from npdata.sources.hdf5.examine.examine import OpenedFile, examine
from npdata.sources.hdf5.examine.many_groups import Groups
from npdata.sources.hdf5.file import Hdf5Options, open_file
from npdata.sources.hdf5.open import source_of
from npdata.sources.many_files.file_list import FileList
from npdata.sources.mapped import InFile
from npdata.sources.names import matched_by, without_common_parts
from npdata.sources.packed.packing import Packings

MOST_KEPT = 2048


class GroupsSource(InFile, PartlyInPlace):
    """The rows of the datasets of `groups`, one group after the other."""

    _of_map = "_rows"

    def __init__(self, groups: Groups, options: Hdf5Options) -> None:
        """Take what was seen; nothing is opened before the first read."""
        layout = groups.first
        self.shape = (int(groups.lengths.sum()), *layout.shape[1:])
        self.dtype = layout.dtype
        self.where = and_more(f"{groups.path}::{groups.names[0]}", len(groups.names))
        self.access = groups.access
        lengths = shown_lengths(groups.lengths)
        self.details = (("groups", f"{len(groups.names)}, of {lengths} rows each"),)
        packing = groups.packings.kinds[0]
        if packing is not None:
            self.details += (("packing", shown_packing(packing)),)
        self.matlab = groups.matlab
        self._groups = groups
        self._options = options
        self.edges = Edges(groups.lengths)
        self.in_place = groups.offsets >= 0
        self._bases = groups.offsets - self.edges.starts[:-1] * self.row_bytes
        self.file = File(groups.path, layout.identity)
        self.check = self.file.check  # type: ignore[method-assign]
        self._parts: OrderedDict[int, Source] = OrderedDict()
        self._lock = ForkSafeLock()

    @property
    def borders(self) -> Ints:
        """The first row of each group, and the number of rows."""
        return self.edges.starts

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

    def _gather(self, owners: Ints, rows: Ints, out: NDArray[Any]) -> None:
        self.file.check_size()
        starts = self._bases[owners] + rows * self.row_bytes
        self._rows.gather(starts, out.reshape(len(out), -1).view(np.uint8))
        self.file.check()

    @made_once
    def _rows(self) -> ByteRows:
        """The map, ready for rows to be gathered from it."""
        return ByteRows.of(self.file.array, self.row_bytes)

    def _copy_runs(self, owners: Ints, starts: Ints, stops: Ints, out: NDArray[Any]) -> None:
        self.file.check_size()
        begins, ends = (self._bases[owners] + rows * self.row_bytes for rows in (starts, stops))
        copy_spans(self.file.array, begins, ends, out)
        self.file.check()

    def _readers(self, owners: Ints) -> Callable[[int], Source]:
        """Give datasets, of which those that are not open are opened in one opening of the file.

        They share its descriptor and its map with each other and with this source.
        """
        wanted, groups, options = dict.fromkeys(owners.tolist()), self._groups, self._options
        with self._lock.get():
            # In Python 3.13 an interrupt keeps the lock where an `if` of a comprehension, or a
            # while, jumps back.
            missing = list(itertools.filterfalse(self._parts.__contains__, wanted))
            if missing:
                self.file.check()
                with open_file(groups.path, options.locking) as file:
                    opened = OpenedFile(file, groups.path, options, self.file)
                    self.file.identity.require(opened.facts.identity, groups.path)
                    for owner in missing:
                        examined = examine(opened, groups.names[owner])
                        self._parts[owner] = source_of(examined, options)
            for owner in wanted:
                self._parts.move_to_end(owner)
            found = {owner: self._parts[owner] for owner in wanted}
            for _ in range(len(self._parts) - max(MOST_KEPT, len(wanted))):
                self._parts.popitem(last=False)
        return found.__getitem__

    def _spans(self, first: int, stop: int) -> Iterator[tuple[int, int]]:
        for owner, low, high in self.edges.across(first, stop):
            offset = int(self._groups.offsets[owner])
            if offset >= 0:
                yield offset + low * self.row_bytes, (high - low) * self.row_bytes

    def close_idle(self) -> None:
        """Close the files until the next read."""
        super().close_idle()
        for part in list(self._parts.values()):
            part.close_idle()

    def close(self) -> None:
        """Close the files."""
        super().close()
        for part in list(self._parts.values()):
            part.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._groups, self._options)


def require_equal_groups(sources: Iterable[Source]) -> None:
    """Raise `FieldError` where the groups of two sources are others, or have other rows.

    Groups of which none has the name of one of the other source are taken in their order. Spans of
    rows are compared behind rows, by how many begin in each group; not where one lies in several.
    """
    known = [
        (made._groups, source.borders, len(source) != len(made))
        for source in sources
        if (made := _groups_of(source)) is not None
    ]
    known.sort(key=lambda each: (each[1] is None, each[2]))
    for (first, edges, _), (other, ends, _) in itertools.pairwise(known):
        _require_equal_names(first, other)
        if edges is not None and ends is not None and len(edges) == len(ends):
            _require_equal_lengths(first, np.diff(edges), other, np.diff(ends))


def files_of_groups(source: Source) -> FileList | None:
    """Give the datasets of a source of many groups, as `find_files` names them; else None."""
    made = _groups_of(source)
    if made is None:
        return None
    path, names, pattern = made._groups.path, made._groups.names, made._groups.pattern
    files = FileList.of([path] * len(names), [name.strip("/") for name in names])
    files.searched = (files.root, path, pattern) if pattern else None
    return files


def _groups_of(source: Source) -> GroupsSource | None:
    """Give the groups that rows lie in, in their order; None for others, also for chosen ones."""
    made = origin(source, ChosenRows)
    return made if isinstance(made, GroupsSource) else None


def _require_equal_names(first: Groups, other: Groups) -> None:
    names, others = (without_common_parts(each.names) for each in (first, other))
    cure = "groups= picks those that have both datasets"
    if set(names).isdisjoint(others):
        names, others = _matched(first) or names, _matched(other) or others
        cure = (
            "list those that belong together, in one order: "
            "NumpyDataset(x=npdata.concatenate([...]), y=npdata.concatenate([...]))"
        )
    if names == others or set(names).isdisjoint(others):
        return
    pairs = itertools.zip_longest(map(repr, names), map(repr, others), fillvalue="no group")
    one, another = next(pair for pair in pairs if pair[0] != pair[1])
    raise FieldError(
        f"the groups of {first.path}::{first.names[0]} are not those of "
        f"{other.path}::{other.names[0]}: {one} would stand beside {another}; {cure}"
    )


def _matched(groups: Groups) -> list[str] | None:
    """Give what the wildcards matched in each name: `7` in `7_box` of `*_box`."""
    return matched_by(groups.pattern.strip("/"), [name.strip("/") for name in groups.names])


def _require_equal_lengths(first: Groups, lengths: Ints, other: Groups, beside: Ints) -> None:
    different = np.flatnonzero(lengths != beside)
    if different.size:
        k = int(different[0])
        where = other.names[k] if first.path == other.path else f"{other.path}::{other.names[k]}"
        raise FieldError(
            f"{first.path}::{first.names[k]} has {lengths[k]} rows, and {where} has {beside[k]}: "
            f"the rows of one group belong together{_if_one_more(lengths - beside)}"
        )


def _if_one_more(more: Ints) -> str:
    """Say what to do where every group has a state more than it has steps."""
    if abs(more[0]) != 1 or (more != more[0]).any():
        return ""
    return (
        "; where all have one row more, as the state after the last step, make two datasets: "
        "states.windows(2) of the one that has more has a sample for each row of the other, and "
        "NumpyDataset(**states.fields, **actions.fields) puts both side by side"
    )
