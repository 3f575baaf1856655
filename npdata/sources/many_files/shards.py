"""Many files mapped without a descriptor each, and rows gathered out of all by one call.

Idea: a map outlives its descriptor, so thousands of files stay mapped with none open. They are
mapped as one array where that can be; else a row is an address, and the copy kernel reads all as
rows of one run of bytes. Invariant: a row is read only while its map is held, and only after the
file was seen unchanged; after the copy that is asked again. A file is looked at itself again after
`look_again` seconds where the system reports changes, else for every batch. Files are mapped on
first use, in each process.
"""

import contextlib
import itertools
import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.arrays.gather import ByteRows, address_of
from npdata.arrays.late import torch
from npdata.arrays.per_process import PerProcess
from npdata.errors import ChangedFileError, ClosedError
from npdata.sources.file import ask_for, fill
from npdata.sources.file_map import mapped, page_out
from npdata.sources.many_files.file_table import FileTable, gone, opened
from npdata.sources.many_files.joint_map import JointLayout, JointMap
from npdata.sources.many_files.watch import Watch
from npdata.sources.part_runs import copy_spans

LOOK_AGAIN, LOOK_AGAIN_PER_FILE = 0.1, 50e-6
"""Seconds: a look takes 4 µs, so that all looks together take a twelfth of the time at most."""


def most_maps() -> int:
    """Give how many maps a source may hold: a fourth of what the system allows a process.

    Examples:
        >>> most_maps() >= 48
        True
    """
    try:
        return max(1024, int(Path("/proc/sys/vm/max_map_count").read_text()) // 4)
    except (OSError, ValueError):
        return 4096


def look_again(files: int) -> float:
    """Give the seconds after which each of so many files is looked at, though none was reported.

    Examples:
        >>> look_again(200), look_again(10_000)
        (0.1, 0.5)
    """
    return max(LOOK_AGAIN, LOOK_AGAIN_PER_FILE * files)


class Looks(NamedTuple):
    """Which files were looked at since `events` was the number of changes, until a time.

    `unseen` has for each part a byte that is 0 once its file was looked at.
    """

    events: int
    until: float
    unseen: NDArray[np.uint8]


class _Maps:
    """The maps of one process: `address[k]` is that of byte 0 of file k, 0 where it has no map.

    One more, 0, is that of file -1, the whole memory. `events()` gives a number that stays the same
    while no file changes, as far as that is known. Maps are added and never taken away, so who
    holds this object may use every address in it. With `joint` all are in that. `view` is all that
    is mapped, and where row 0 of each part would be in it.
    """

    def __init__(self, count: int, bounds: tuple[int, int], joint: JointMap | None) -> None:
        self.joint = joint
        self.address: NDArray[np.int64] = np.zeros(count + 1, np.int64)
        self.looks = Looks(-1, 0.0, np.zeros(0, np.uint8))
        self.period = look_again(count)
        self.held: list[object] = []
        self.bounds = bounds
        self.view: tuple[ByteRows, NDArray[np.int64]] | None = None
        self._watch = Watch()
        self.events = self._watch.events
        self.lock = threading.Lock()

    def add(self, number: int, array: NDArray[np.uint8], begin: int = 0) -> None:
        """Hold the map of a file from byte `begin` of it on; only with `lock`."""
        address = address_of(array)
        self.held.append(array)
        self.bounds = min(self.bounds[0], address), max(self.bounds[1], address + len(array))
        self.view = None
        self.address[number] = address - begin

    def watch(self, path: bytes) -> None:
        """Watch a file; where that cannot be, `events` never gives the same number again."""
        if not self._watch.add(path):
            self.events = itertools.count(1 << 32).__next__


class Shards:
    """Parts that lie in the files of `table`, from which rows are gathered.

    Part k lies in file `file[k]`, and row r of it from byte `base[k] + r * row_bytes` on; r may
    count from the first row of all parts, so that `base` is negative. File -1 is the memory of this
    process, and the byte an address. `step` is 1, 2, 4, 8 or 16, and all these are multiples of it.
    Where all parts lie in files, they are mapped as one array if that can be.

    Examples:
        >>> from npdata.sources.many_files.file_list import FileList
        >>> table = FileTable.of(FileList.of(["x.npy"]))
        >>> row = {"dtype": np.dtype("f4"), "row_shape": (3,), "step": 4}
        >>> shards = Shards(table, np.array([0]), np.array([128]), **row)
        >>> shards.gather(np.array([0, 0]), np.array([4, 0]), np.empty((2, 3), np.float32))
    """

    def __init__(
        self,
        table: FileTable,
        file: NDArray[np.int64],
        base: NDArray[np.int64],
        *,
        dtype: DType,
        row_shape: tuple[int, ...],
        step: int,
        memory: tuple[int, int] | None = None,
    ) -> None:
        """Name the files; none is opened before the first row is asked for.

        `memory` are the lowest and the highest address of parts in memory, which the caller keeps.
        """
        self.table = table
        self._file = file
        self._base = base
        self.row_bytes = row_bytes = math.prod(row_shape) * dtype.itemsize
        self._step = step
        self._most = most_maps()
        self._closed = False
        layout = None
        # Each file counts as two maps: what is reserved in front of it stays one.
        if memory is None and len(table) <= self._most // 2:
            layout = JointLayout.of(table.offset, table.length, row_bytes)
        if layout is not None:
            in_rows = layout.places - layout.begins - layout.lead
            self._gaps = (in_rows[file] + base) // row_bytes
        bounds = memory or (1 << 62, 0)
        self._maps = PerProcess(
            lambda: _Maps(len(table), bounds, JointMap.reserved(layout, dtype, row_shape))
        )

    def select(
        self, parts: NDArray[np.int64], rows: NDArray[np.int64], out: "torch.Tensor"
    ) -> bool:
        """Copy row `rows[k]` of part `parts[k]` to `out[k]`, a tensor of their dtype.

        False where they are no rows of one array, so that it must `gather`. Raises
        `ChangedFileError`.
        """
        maps = self._maps.get()  # held until the end, and with it every map
        joint = maps.joint
        if joint is None or not joint.table.typed:
            return False
        events = self._look(maps, parts)
        numbers = self._gaps[parts]
        numbers += rows
        joint.table.select(numbers, out)
        if maps.events() != events:
            self._look(maps, parts)
        return True

    def gather(self, parts: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy row `rows[k]` of part `parts[k]` to `out[k]`; `out` is C-contiguous.

        Raises `ChangedFileError`.
        """
        maps = self._maps.get()  # held until the end, and with it every map
        events = self._look(maps, parts)
        if maps.joint is not None:
            maps.joint.table.gather(self._gaps[parts] + rows, out)
        else:
            view, firsts = maps.view or self._view(maps)
            starts = firsts[parts]  # `take` would release the GIL
            starts += rows * (self.row_bytes // self._step)
            view.select(starts, out.reshape(len(rows), -1).view(np.uint8))
        if maps.events() != events:
            self._look(maps, parts)

    def gather_runs(
        self,
        parts: NDArray[np.int64],
        starts: NDArray[np.int64],
        stops: NDArray[np.int64],
        out: NDArray[Any],
    ) -> None:
        """Copy rows `[starts[k], stops[k])` of part `parts[k]`, one run after the other."""
        maps = self._maps.get()
        events = self._look(maps, parts)
        bases = maps.address[self._file[parts]] + self._base[parts]
        begins, ends = bases + starts * self.row_bytes, bases + stops * self.row_bytes
        low, high = int(begins.min()), int(ends.max())
        memory = ByteRows.between(low, high, 1, step=1).view.numpy()[:, 0]
        copy_spans(memory, begins - low, ends - low, out)
        if maps.events() != events:
            self._look(maps, parts)

    def _view(self, maps: _Maps) -> tuple[ByteRows, NDArray[np.int64]]:
        """Work out where the rows of all parts lie, which takes 30 µs, a third of a batch."""
        with maps.lock:
            low, high = maps.bounds
            rows = ByteRows.between(low, high, self.row_bytes, step=self._step)
            maps.view = rows, (maps.address[self._file] + self._base - low) // self._step
            return maps.view

    def _look(self, maps: _Maps, parts: NDArray[np.int64]) -> int:
        """See that the files of these parts are mapped and unchanged; gives `maps.events()`."""
        looks = self._looks(maps)
        if b"\1" in looks.unseen[parts].tobytes():
            self._look_at(maps, parts, looks.unseen)
        return looks.events

    def _looks(self, maps: _Maps) -> Looks:
        """Give which files were looked at that need not be again: none after a change."""
        events, looks = maps.events(), maps.looks
        if events != looks.events or time.monotonic() >= looks.until:
            unseen = (self._file >= 0).view(np.uint8)
            looks = maps.looks = Looks(events, time.monotonic() + maps.period, unseen)
        return looks

    def _look_at(self, maps: _Maps, parts: NDArray[np.int64], unseen: NDArray[np.uint8]) -> None:
        """Map the files of these parts that are not, and look at the others unless they were."""
        if self._closed:
            raise ClosedError(f"{self.table.files!r} were closed; make a new dataset")
        old = parts[unseen[parts] == 1]
        with maps.lock:
            for number in np.unique(self._file[old]).tolist():
                if maps.address[number]:
                    self._require(number)
                else:
                    self._map(maps, number)
        unseen[old] = 0
        if len(maps.held) > self._most:
            # Whoever uses these maps holds them; the next batch begins with none.
            self.close_idle()

    def _require(self, number: int) -> None:
        path = self.table.files.path(number)
        try:
            self.table.require(number, os.stat(path))  # noqa: PTH116
        except FileNotFoundError:
            raise gone(path) from None

    def _map(self, maps: _Maps, number: int) -> None:
        path = self.table.files.path(number)
        maps.watch(path)  # before it is looked at, so that no change is missed
        with self.opened(number) as descriptor:
            status = os.fstat(descriptor)
            self.table.require(number, status)
            if maps.joint is None:
                maps.add(number, mapped(descriptor, status.st_size))
            else:
                maps.add(number, *maps.joint.add(number, descriptor))

    @contextlib.contextmanager
    def opened(self, number: int) -> Iterator[int]:
        """Open file `number` for a while; `ChangedFileError` where it is gone."""
        path = self.table.files.path(number)
        try:
            descriptor = opened(path)
        except FileNotFoundError:
            raise gone(path) from None
        try:
            yield descriptor
        except OSError as error:
            self.table.require_read(number, descriptor, error)
            raise
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """Raise `ChangedFileError` if any file changed since it was looked at first.

        It is seen as by a batch: files that are mapped are looked at only as often as for that.
        """
        maps = self._maps.get()
        unseen = self._looks(maps).unseen
        for part in np.flatnonzero(unseen).tolist():
            number = int(self._file[part])
            self._require(number)
            if maps.address[number]:
                unseen[part] = 0

    def mapped_at(self, number: int) -> int:
        """Give the address of byte 0 of file `number`, 0 where it has no map now."""
        maps = self._maps.made()
        return 0 if maps is None else int(maps.address[number])

    def close_idle(self) -> None:
        """Release all maps; reads that have begun keep theirs."""
        self._maps.take()

    def close(self) -> None:
        """Release all maps, and map no more."""
        self._closed = True
        self._maps.take()


class Shard(NamedTuple):
    """File `number` of shards, by its own rows."""

    shards: Shards
    number: int

    def _place(self, row: int) -> int:
        return int(self.shards.table.offset[self.number]) + row * self.shards.row_bytes

    def read_run(self, first: int, out: NDArray[Any]) -> None:
        """Read the rows from `first` on into all of `out`, past any map."""
        if not out.size:
            return
        table, number = self.shards.table, self.number
        with self.shards.opened(number) as descriptor:
            whole = fill(descriptor, self._place(first), out.reshape(-1).view(np.uint8).data)
            table.require(number, os.fstat(descriptor))
        if not whole:
            raise gone(table.files.path(number))

    def will_need(self, first: int, stop: int) -> None:
        """Ask the kernel to read these rows now, unless they are in memory already."""
        nbytes = (stop - first) * self.shards.row_bytes
        # Reading reports what is wrong.
        with (
            contextlib.suppress(OSError, ChangedFileError),
            self.shards.opened(self.number) as file,
        ):
            ask_for(file, self._place(first), nbytes)

    def dont_need(self, first: int, stop: int) -> None:
        """Tell the kernel that these rows may leave memory."""
        address = self.shards.mapped_at(self.number)
        if address:
            page_out(address + self._place(first), (stop - first) * self.shards.row_bytes)
