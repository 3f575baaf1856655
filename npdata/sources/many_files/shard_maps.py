"""The maps of many files in a process, and whether a file changed since it was looked at.

Idea: a map outlives its descriptor, so thousands of files stay mapped with none open. They are
mapped as one array where that can be (`joint_map`). Invariant: files are mapped on first use, in
each process, once seen to be those that were looked at before; a file is looked at itself again
after `look_again` seconds where the system reports changes, else for every batch. Maps are added
and never taken away: who holds a `Maps` may use every address in it. It knows nothing of rows.
"""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import ByteRows, address_of
from npdata.errors import ChangedFileError, ClosedError
from npdata.runtime.living import Living
from npdata.runtime.per_process import PerProcess
from npdata.sources.file_map import mapped
from npdata.sources.many_files.file_table import FileTable
from npdata.sources.many_files.joint_map import JointMap
from npdata.sources.many_files.known_file import gone, opened
from npdata.sources.many_files.watch import Watch

LOOK_AGAIN, LOOK_AGAIN_PER_FILE = 0.1, 50e-6
"""Seconds: a look takes 4 µs, so that all looks together take a twelfth of the time at most."""
LOOK_TOGETHER = 256
"""So few files are looked at together: 4 µs each, and 20 where batches do so one by one."""


def most_maps() -> int:
    """Give how many maps all sources may hold: three fourths of what a process may have."""
    try:
        return max(3072, int(Path("/proc/sys/vm/max_map_count").read_text()) * 3 // 4)
    except (OSError, ValueError):
        return 12288


def look_again(files: int) -> float:
    """Give the seconds after which each of so many files is looked at, though none was reported."""
    return max(LOOK_AGAIN, LOOK_AGAIN_PER_FILE * files)


class Looks(NamedTuple):
    """Which files were looked at since `events` was the number of changes, until a time.

    `unseen` has for each part a byte that is 0 once its file was looked at; None where all were.
    """

    events: int
    until: float
    unseen: NDArray[np.uint8] | None


class Maps:
    """The maps of one process: `address[k]` is that of byte 0 of file k, 0 where it has no map.

    One more, 0, is that of file -1, the whole memory. `bounds` are the lowest and the highest
    address of all that is mapped. With `joint` all are in that. `events()` gives a number that
    stays the same while no file changes, as far as that is known. `view` is all that
    is mapped, and where row 0 of each part would be in it, until one more file is.
    """

    def __init__(self, count: int, bounds: tuple[int, int], joint: JointMap | None) -> None:
        self.joint = joint
        self.address: Ints = np.zeros(count + 1, np.int64)
        self.looks = Looks(-1, 0.0, np.zeros(0, np.uint8))
        self.period = look_again(count)
        self.held: list[object] = []
        self.bounds = bounds
        self.view: tuple[ByteRows, Ints] | None = None
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


class ShardMaps:
    """The files of `table`, mapped; part k lies in file `file[k]`, or in memory where that is -1.

    `make` makes the `Maps` of a process.
    """

    def __init__(self, table: FileTable, file: Ints, make: Callable[[], Maps]) -> None:
        """Name the files; none is opened before it is looked at."""
        self.table = table
        self._file = file
        self._most = most_maps()
        self._closed = False
        self._maps = PerProcess(make)
        _living.add(self)

    def get(self) -> Maps:
        """Give the maps of this process, which stay mapped as long as they are referred to."""
        return self._maps.get()

    def look(self, maps: Maps, parts: Ints) -> int:
        """See that the files of these parts are mapped and unchanged; gives `maps.events()`.

        Raises `ChangedFileError`.
        """
        looks = self._looks(maps)
        unseen = looks.unseen
        if unseen is not None and b"\1" in unseen[parts].tobytes():
            self._look_at(maps, parts, unseen)
        return looks.events

    def _looks(self, maps: Maps) -> Looks:
        """Give which files were looked at that need not be again."""
        events, looks = maps.events(), maps.looks
        if events != looks.events or time.monotonic() >= looks.until:
            with maps.lock:
                looks = self._look_again(maps)
        return looks

    def _look_again(self, maps: Maps) -> Looks:
        """Begin anew after a change or in time: with all that are mapped, where they are few."""
        events, looks, now = maps.events(), maps.looks, time.monotonic()
        if events == looks.events and now < looks.until:
            return looks  # another thread did so
        unseen = np.ones(len(maps.address), np.uint8)
        unseen[-1] = 0
        if len(unseen) <= LOOK_TOGETHER:
            for number in np.flatnonzero(maps.address).tolist():
                # Raised by the batch that touches it.
                with contextlib.suppress(OSError, ChangedFileError):
                    self._require(number)
                    unseen[number] = 0
        left = unseen[self._file]
        looks = maps.looks = Looks(events, now + maps.period, left if left.any() else None)
        return looks

    def _look_at(self, maps: Maps, parts: Ints, unseen: NDArray[np.uint8]) -> None:
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
        sources = list(_living)
        while sum(each.count for each in sources) > self._most:
            # Whoever uses its maps holds them; its next batch begins with none.
            max(sources, key=lambda each: each.count).close_idle()

    def _require(self, number: int) -> None:
        path = self.table.files.path(number)
        try:
            self.table.require(number, os.stat(path))  # noqa: PTH116
        except FileNotFoundError:
            raise gone(path) from None

    def _map(self, maps: Maps, number: int) -> None:
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
        if unseen is None:
            return
        for part in np.flatnonzero(unseen).tolist():
            number = int(self._file[part])
            self._require(number)
            if maps.address[number]:
                unseen[part] = 0

    def mapped_at(self, number: int) -> int:
        """Give the address of byte 0 of file `number`, 0 where it has no map now."""
        maps = self._maps.made()
        return 0 if maps is None else int(maps.address[number])

    @property
    def count(self) -> int:
        """The maps of this process: two for each file of a joint map, with what lies between."""
        maps = self._maps.made()
        return 0 if maps is None else len(maps.held) * (1 if maps.joint is None else 2)

    def close_idle(self) -> None:
        """Release all maps; reads that have begun keep theirs."""
        self._maps.take()

    def close(self) -> None:
        """Release all maps, and map no more."""
        self._closed = True
        self._maps.take()


_living: "Living[ShardMaps]" = Living()
