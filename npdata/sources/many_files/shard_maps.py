"""The maps of many files in a process, and whether a file changed since it was looked at.

Idea: a map outlives its descriptor, so thousands of files stay mapped with none open. They are
mapped as one array where that can be (`joint_map`). Invariant: files are mapped on first use, in
each process, once seen to be those that were looked at before; a file is looked at itself again
after `seconds_between_looks` where the system reports changes, else for every batch. Maps are added
and never taken away: who holds a `Maps` may use every address in it. It knows nothing of rows.
"""

import contextlib
import functools
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import ByteRows, address_of
from npdata.errors import ChangedFileError
from npdata.runtime.living import Living
from npdata.runtime.per_process import PerProcess
from npdata.sources.file_map import mapped
from npdata.sources.many_files.file_table import FileTable
from npdata.sources.many_files.joint_map import JointMap
from npdata.sources.many_files.watch import Watch

LOOK_AGAIN, LOOK_AGAIN_PER_FILE = 0.1, 50e-6
"""Seconds: a look takes 4 µs, so that all looks together take a twelfth of the time at most."""
LOOK_TOGETHER = 256
"""So few files are looked at together: 4 µs each, and 20 where batches do so one by one."""


@functools.cache
def most_maps() -> int:
    """Give how many maps all sources may hold: three fourths of what a process may have."""
    try:
        return max(3072, int(Path("/proc/sys/vm/max_map_count").read_text()) * 3 // 4)
    except (OSError, ValueError):
        return 12288


def seconds_between_looks(files: int) -> float:
    """Give the seconds after which each of so many files is looked at, though none was reported."""
    return max(LOOK_AGAIN, LOOK_AGAIN_PER_FILE * files)


class Looks(NamedTuple):
    """Which files were looked at; it holds while `events` is the number of changes, and `until`.

    `unseen` has for each part a byte that is 0 once its file was looked at; None where all were.
    """

    events: int
    until: float
    unseen: NDArray[np.uint8] | None


class Maps:
    """The maps of one process, of the files of `table`.

    Part k lies in file `file[k]`, or in memory where that is -1. Byte 0 of file n has the address
    `address[n]`, 0 where it has no map; the last entry, always 0, is for file -1, of which a byte
    is an address itself. `bounds` are the lowest and the highest address of what is mapped. With
    `joint` all lies in that. `view` is all that is mapped, and where row 0 of each part would be in
    it; it is made anew once one more file is mapped. `events()` gives a number that stays the same
    while no file changes, as far as that is known.
    """

    def __init__(
        self, table: FileTable, file: Ints, bounds: tuple[int, int], joint: JointMap | None
    ) -> None:
        """Name the files; none is opened before it is looked at."""
        self.joint = joint
        self.address: Ints = np.zeros(len(table) + 1, np.int64)
        self.bounds = bounds
        self.view: tuple[ByteRows, Ints] | None = None
        self.lock = threading.Lock()
        """To add maps, and to look at all files."""
        self._watch = Watch()
        self.events = self._watch.events
        self._table = table
        self._file = file
        self._held: list[object] = []
        self._looks = Looks(-1, 0.0, np.zeros(0, np.uint8))

    @property
    def count(self) -> int:
        """How many maps these are: two for each file of a joint map, with what lies between."""
        return len(self._held) * (1 if self.joint is None else 2)

    def look(self, parts: Ints) -> int:
        """See that the files of these parts are mapped and unchanged; gives `events()` before it.

        Raises `ChangedFileError`.
        """
        looks = self._looks_so_far()
        unseen = looks.unseen
        if unseen is not None and b"\1" in unseen[parts].tobytes():
            self._look_at(parts, unseen)
        return looks.events

    def check(self) -> None:
        """Raise `ChangedFileError` if any file changed since it was looked at first.

        It is seen as by a batch: files that are mapped are looked at only as often as for that.
        """
        unseen = self._looks_so_far().unseen
        if unseen is None:
            return
        for part in np.flatnonzero(unseen).tolist():
            number = int(self._file[part])
            self._table.check(number)
            if self.address[number]:
                unseen[part] = 0

    def _looks_so_far(self) -> Looks:
        """Give which files were looked at that need not be again."""
        events, looks = self.events(), self._looks
        if events != looks.events or time.monotonic() >= looks.until:
            with self.lock:
                looks = self._look_again()
        return looks

    def _look_again(self) -> Looks:
        """Begin anew after a change or in time: with all that are mapped, where they are few."""
        events, looks, now = self.events(), self._looks, time.monotonic()
        if events == looks.events and now < looks.until:
            return looks  # another thread did so
        files = len(self._table)
        unseen = np.ones(files + 1, np.uint8)
        unseen[-1] = 0
        if files <= LOOK_TOGETHER:
            for number in np.flatnonzero(self.address).tolist():
                # Raised by the batch that touches it.
                with contextlib.suppress(OSError, ChangedFileError):
                    self._table.check(number)
                    unseen[number] = 0
        left = unseen[self._file]
        until = now + seconds_between_looks(files)
        looks = self._looks = Looks(events, until, left if left.any() else None)
        return looks

    def _look_at(self, parts: Ints, unseen: NDArray[np.uint8]) -> None:
        """Map the files of these parts that are not, and look at the others unless they were."""
        old = parts[unseen[parts] == 1]
        with self.lock:
            for number in np.unique(self._file[old]).tolist():
                if self.address[number]:
                    self._table.check(number)
                else:
                    self._map(number)
        unseen[old] = 0
        _drop_too_many()

    def _map(self, number: int) -> None:
        # Before it is looked at, so that no change is missed.
        self._watch.add(self._table.files.path(number))
        with self._table.opened(number) as descriptor:
            status = os.fstat(descriptor)
            self._table.require(number, status)
            if self.joint is None:
                array, begin = mapped(descriptor, status.st_size), 0
            else:
                array, begin = self.joint.add(number, descriptor)
        address, (low, high) = address_of(array), self.bounds
        self._held.append(array)
        self.bounds = min(low, address), max(high, address + len(array))
        self.view = None
        self.address[number] = address - begin


all_maps: Living[PerProcess[Maps]] = Living()
"""Those of all sources."""


def _drop_too_many() -> None:
    """Drop the maps of those who have most, while all together have too many.

    Whoever uses maps holds them; the next batch of their source begins with none.
    """
    sources = list(all_maps)
    while sum(map(_count, sources)) > most_maps():
        max(sources, key=_count).take()


def _count(source: PerProcess[Maps]) -> int:
    maps = source.made()
    return 0 if maps is None else maps.count
