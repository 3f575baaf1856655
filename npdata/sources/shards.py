"""Many files mapped without a descriptor each, and rows gathered out of all by one call.

Idea: the maps of a process lie in one space of addresses, so a row of any file is an address, and
the copy kernel reads them all as rows of one run of bytes. A map outlives its descriptor, so
thousands of files stay mapped with none open. Invariant: an address is used only while the map
behind it is held, and only after the file was seen unchanged; after the copy that is asked again. A
file is looked at itself at most every `LOOK_AGAIN` seconds where the system reports changes, else
for every batch. Files are mapped on first use, in each process.
"""

import contextlib
import ctypes
import mmap
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import ByteRows, address_of, memory_between
from npdata.arrays.per_process import PerProcess
from npdata.errors import ClosedError
from npdata.sources.file import ask_for, noreserve_flag
from npdata.sources.file_table import FileTable, fill, gone, opened
from npdata.sources.watch import Watch

LOOK_AGAIN = 1.0
"""Seconds after which a file is looked at again, though no change to it was reported."""

MOST_WITH_DESCRIPTOR = 48
_MADV_PAGEOUT = 21


_FAILED = ctypes.c_void_p(-1).value


def _system() -> Any:
    """Give the functions of the system that Python has not: a map without a descriptor."""
    if sys.platform == "win32":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    integers = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
    library.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *integers)
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return library


_libc = _system()


def most_maps() -> int:
    """Give how many maps a source may hold: a fourth of what the system allows a process.

    Examples:
        >>> most_maps() >= 48
        True
    """
    if _libc is None:
        return MOST_WITH_DESCRIPTOR
    try:
        return max(1024, int(Path("/proc/sys/vm/max_map_count").read_text()) // 4)
    except (OSError, ValueError):
        return 4096


class _Maps:
    """The maps of one process: `address[k]` is that of byte 0 of file k, 0 where it has no map.

    One more, 0, is that of file -1, the whole memory. `stamp[k]` is what `now` gave when file k was
    looked at last. Maps are added and never taken away, so who holds this object may use every
    address in it.
    """

    def __init__(self, count: int) -> None:
        self.address: NDArray[np.int64] = np.zeros(count + 1, np.int64)
        self.stamp: NDArray[np.int64] = np.full(count, -1, np.int64)
        self.held: list[object] = []
        self.bounds = (1 << 62, 0)
        self.view: tuple[int, ByteRows] | None = None
        self.watch = Watch()
        self.all_watched = True
        self.lock = threading.Lock()

    def add(self, number: int, region: Any, nbytes: int) -> None:
        """Hold the map of a file; only with `lock`."""
        address = address_of(np.asarray(region))
        self.held.append(region)
        self.bounds = min(self.bounds[0], address), max(self.bounds[1], address + nbytes)
        self.view = None
        self.address[number] = address

    def rows(self, row: int, step: int) -> tuple[int, ByteRows]:
        """Give the rows of `row` bytes in all maps, and the address where they begin.

        They are kept until a map comes: making them anew takes 27 µs, a third of a batch.
        """
        view = self.view
        if view is None:
            with self.lock:
                low, high = self.bounds
                view = self.view = low, ByteRows.of(memory_between(low, high), row, step=step)
        return view

    def events(self) -> int:
        """Give a number that stays the same while no file changes, as far as that is known."""
        return self.watch.events() if self.all_watched else time.monotonic_ns()

    def now(self) -> int:
        """Give a number that stays the same while no file needs to be looked at again."""
        if not self.all_watched:
            return time.monotonic_ns()
        return self.watch.events() << 40 | int(time.monotonic() / LOOK_AGAIN)


class Shards:
    """The files of `table`, from which rows of `row_bytes` bytes are gathered.

    Examples:
        >>> from npdata.sources.file_list import FileList
        >>> shards = Shards(FileTable.of(FileList.of(["x.npy"])), 24, step=8)
        >>> out = np.empty((2, 24), np.uint8)
        >>> shards.gather(np.array([0, 0]), np.array([128, 152]), out)
    """

    def __init__(self, table: FileTable, row_bytes: int, *, step: int) -> None:
        """Name the files; none is opened before the first row is asked for.

        `step` is 1, 2, 4, 8 or 16, and all offsets of rows are multiples of it.
        """
        self.table = table
        self._row_bytes = row_bytes
        self._step = step
        self._most = most_maps()
        self._closed = False
        self._maps = PerProcess(lambda: _Maps(len(table)))

    def gather(
        self,
        files: NDArray[np.int64],
        offsets: NDArray[np.int64],
        out: NDArray[np.uint8],
    ) -> None:
        """Copy the bytes from `offsets[k]` of file `files[k]` on to `out[k]`.

        File -1 is the memory of this process, and the offset an address, which the caller keeps
        alive. Raises `ChangedFileError`.
        """
        maps = self._maps.get()  # held until the end, and with it every map
        events = maps.events()
        own = files if files.min() >= 0 else files[files >= 0]
        self.look(maps, own)
        starts = maps.address[files] + offsets
        if len(own) < len(files):
            low = int(starts.min())
            memory = memory_between(low, int(starts.max()) + self._row_bytes)
            rows = ByteRows.of(memory, self._row_bytes, step=self._step)
        else:
            low, rows = maps.rows(self._row_bytes, self._step)
        rows.gather(starts - low, out)
        if maps.events() != events:
            self.look(maps, own)

    def look(self, maps: _Maps, files: NDArray[np.int64]) -> None:
        """Map those of `files` that are not, and see that the others are unchanged."""
        now = maps.now()
        old = files[maps.stamp[files] != now]
        if not len(old):
            return
        if self._closed:
            raise ClosedError(f"{self.table.files!r} were closed")
        with maps.lock:
            for number in np.unique(old).tolist():
                if maps.address[number]:
                    self._require(number)
                else:
                    self._map(maps, number)
                maps.stamp[number] = now
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
        watched = maps.watch.add(path)  # before it is looked at, so that no change is missed
        maps.all_watched = maps.all_watched and watched
        try:
            descriptor = opened(path)
        except FileNotFoundError:
            raise gone(path) from None
        try:
            status = os.fstat(descriptor)
            self.table.require(number, status)
            region = mapped(descriptor, status.st_size)
        finally:
            os.close(descriptor)
        maps.add(number, region, status.st_size)

    def read(self, number: int, offset: int, out: NDArray[np.uint8]) -> None:
        """Read bytes of file `number` from `offset` on into all of `out`, past any map."""
        path = self.table.files.path(number)
        try:
            descriptor = opened(path)
        except FileNotFoundError:
            raise gone(path) from None
        try:
            whole = fill(descriptor, offset, out.data)
            self.table.require(number, os.fstat(descriptor))
        finally:
            os.close(descriptor)
        if not whole:
            raise gone(path)

    def check(self) -> None:
        """Raise `ChangedFileError` if any file changed since it was looked at first."""
        for number in range(len(self.table)):
            self._require(number)

    def will_need(self, number: int, offset: int, nbytes: int) -> None:
        """Ask the kernel to read this part of file `number` now."""
        with contextlib.suppress(OSError):  # reading tells what is wrong
            descriptor = opened(self.table.files.path(number))
            try:
                ask_for(descriptor, offset, nbytes)
            finally:
                os.close(descriptor)

    def dont_need(self, number: int, offset: int, nbytes: int) -> None:
        """Tell the kernel that this part of file `number` may leave memory."""
        maps = self._maps.made()
        address = 0 if maps is None else int(maps.address[number])
        first = -(-(address + offset) // mmap.PAGESIZE) * mmap.PAGESIZE
        whole = (address + offset + nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
        if address and whole > 0 and _libc is not None and sys.platform == "linux":
            _libc.madvise(first, whole, _MADV_PAGEOUT)

    def close_idle(self) -> None:
        """Let go of all maps; reads that have begun keep theirs."""
        self._maps.take()

    def close(self) -> None:
        """Let go of all maps, and map no more."""
        self._closed = True
        self._maps.take()


class _Region:
    """A map that lives as long as this object, as an array for NumPy."""

    def __init__(self, start: int, nbytes: int) -> None:
        self.__array_interface__ = {
            "data": (start, True),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }
        # At exit the maps stay: a thread may still read.
        weakref.finalize(self, _unmap, start, nbytes).atexit = False


def mapped(descriptor: int, nbytes: int) -> Any:
    """Map a file of `nbytes` bytes for reading: what `np.asarray` makes an array of.

    The map needs no descriptor, where those of Python keep one open. Raises OSError.
    """
    if _libc is None:
        return np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), np.uint8)
    flags = mmap.MAP_PRIVATE | noreserve_flag()
    start = _libc.mmap(None, nbytes, mmap.PROT_READ, flags, descriptor, 0)
    if start in (None, _FAILED):
        code = ctypes.get_errno()
        raise OSError(code, f"a map of {nbytes} bytes is refused: {os.strerror(code)}")
    return _Region(start, nbytes)


def _unmap(start: int, nbytes: int) -> None:
    if _libc is not None:
        _libc.munmap(start, nbytes)
