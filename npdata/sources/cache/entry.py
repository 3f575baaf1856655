"""The decoded chunks of one dataset in a sparse file: written once, then read in place.

Idea: each chunk has its place, and a record of 8 bytes that is written after it: the checksum of
the chunk, with a checksum of its own. Processes need no lock: two that write a chunk write the same
bytes. Invariant: a chunk counts only where its bytes match its record, which this process saw, or
wrote; so a cut in power, a kill or a full disk costs chunks, never rows. Bytes are written by
`pwrite` and mapped for reading alone, so no hole of the file is ever touched.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import importlib
import os
import threading
import time
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.arrays.gather import address_of
from npdata.sources.cache.cure import with_cure
from npdata.sources.cache.large_pages import LargePages
from npdata.sources.cache.plan import Plan, read_checksum, write_record
from npdata.sources.cache.use import lock_shared
from npdata.sources.file import MOST_AT_ONCE, Descriptor, ask_for, fill, open_files
from npdata.sources.file_map import mapped, mapped_for_large_pages, page_out

Bytes: TypeAlias = NDArray[np.uint8]

_crc32: Any = zlib.crc32
with contextlib.suppress(ImportError, AttributeError):
    # It takes 15 us for 800 KB, zlib 330; to decode them takes 900.
    _crc32 = importlib.import_module("deflate").crc32


class Entry:
    """The file of `plan`, open in this process, which keeps the first `limit` chunks.

    `complete` is True once this process knows every chunk to be whole, and `trouble` says what
    ended the writing, if anything. `found` counts chunks that were there already.
    """

    def __init__(self, held: Descriptor, plan: Plan, limit: int, path: Path | None = None) -> None:
        """Use a file that `lay_out` made and that is held open, at `path` if it has a name."""
        self.plan = plan
        self.limit = limit
        self.trouble: str | None = None
        self.found = 0
        self._path = path
        self._descriptor: Descriptor | None = held
        map_file = mapped if path is not None else mapped_for_large_pages
        self._bytes: Bytes = map_file(held.number, plan.nbytes)
        status = os.fstat(held.number)
        self._inode = status.st_dev, status.st_ino
        self.complete = _seal() == status.st_mtime_ns
        self._known = np.full(plan.count, self.complete)
        self._left = 0 if self.complete else plan.count
        self._lock = threading.Lock()
        end = 0 if path is not None else plan.chunk_at(limit)
        self._large = LargePages(self._bytes, end, plan.chunk_bytes)
        if path is not None:
            open_files.make_room()
            open_files.add(self)

    def intact(self) -> bool:
        """Whether the file has its length: a map of one that was cut short must not be read.

        A file that has lost its name, and that this process has not open, nobody can cut short.
        """
        held = self._descriptor
        if held is not None:
            return os.fstat(held.number).st_size == self.plan.nbytes
        try:
            status = os.stat(self._path or "")  # noqa: PTH116
        except FileNotFoundError:
            return True
        except OSError:  # it may be there, where this user may not look any more
            return False
        other = (status.st_dev, status.st_ino) != self._inode
        return other or status.st_size == self.plan.nbytes

    def close_idle(self) -> None:
        """Close the file until it is needed; the map stays."""
        if self._path is not None:
            self._descriptor = None
            open_files.discard(self)

    def close(self) -> None:
        """Let others take the room of the file now; its map, which holds the lock too, goes later.

        Threads drop the chunks that they decoded as they come to it.
        """
        held = self._descriptor
        if held is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(held.number, fcntl.LOCK_UN)
        self.close_idle()

    def _opened(self) -> Descriptor:
        """Give the descriptor; the caller holds it, so that no other thread closes it meanwhile."""
        held = self._descriptor
        if held is None:
            open_files.make_room()
            held = Descriptor(os.open, self._path or "", os.O_RDWR)
            lock_shared(held.number)
            status = os.fstat(held.number)
            if (status.st_dev, status.st_ino) != self._inode:
                raise FileNotFoundError(errno.ENOENT, "it was removed", str(self._path))
            self._descriptor = held
            open_files.add(self)
        return held

    def find(self, number: int, scratch: Bytes) -> Bytes | None:
        """Give a chunk that is whole, and None for any other; `scratch` is room for its bytes."""
        if not self._known[number]:
            if not self._matches(number, scratch):
                return None
            self._note(number)
        with self._lock:
            self.found += 1
        return self._chunk(number)

    def keep(self, number: int, data: Bytes) -> Bytes | None:
        """Write a chunk and then its record; None where there is no room for it."""
        if number >= self.limit or self.trouble is not None:
            return None
        start, stop = self.plan.chunk_at(number), self.plan.chunk_at(number + 1)
        try:
            held, rest = self._opened(), data.data
            self._large.make(held.number, start, stop)
            while rest:
                rest = rest[os.pwrite(held.number, rest[:MOST_AT_ONCE], stop - len(rest)) :]
            write_record(held.number, number, self.plan.record(number, _crc32(data.data)))
        except OSError as error:
            # Not the error: it would hold the chunk, and what the thread that decodes is at.
            self.trouble = str(error if self._path is None else with_cure(error, self._path))
            return None
        self._note(number)
        return self._chunk(number)

    def rows(self, shape: tuple[int, ...], dtype: DType) -> NDArray[Any]:
        """Give the chunks, one after the other, as rows."""
        return np.ndarray(shape, dtype, self._bytes.data, self.plan.data_at)

    def will_need(self, offset: int, nbytes: int) -> None:
        """Ask the kernel to read this part of the chunks now; nothing if the file was removed."""
        with contextlib.suppress(OSError):
            ask_for(self._opened().number, self.plan.data_at + offset, nbytes)

    def dont_need(self, offset: int, nbytes: int) -> None:
        """Let the kernel take this part of the chunks out of memory."""
        page_out(address_of(self._bytes) + self.plan.data_at + offset, nbytes)

    def _chunk(self, number: int) -> Bytes:
        return self._bytes[self.plan.chunk_at(number) : self.plan.chunk_at(number + 1)]

    def _matches(self, number: int, scratch: Bytes) -> bool:
        try:
            held = self._opened()
            checksum = read_checksum(held.number, self.plan, number)
            if checksum is None:
                return False
            whole = fill(held.number, self.plan.chunk_at(number), scratch.data)
        except OSError:  # the disk cannot read it: it is decoded again
            return False
        return whole and bool(_crc32(scratch.data) == checksum)

    def _note(self, number: int) -> None:
        with self._lock:
            if self._known[number]:
                return
            self._known[number] = True
            self._left -= 1
            if self._left:
                return
        seal = _seal()
        if seal is not None:
            with contextlib.suppress(OSError):
                os.utime(self._opened().number, ns=(time.time_ns(), seal))
        self.complete = True


@functools.cache
def _seal() -> int | None:
    """Give the time of change (ns) of a file whose chunks were all seen whole since the boot.

    Any later write changes that time, and a cut in power the number of the boot; so one process
    reads the checksums of a complete file, and others trust it. It is an even number of seconds, as
    FAT keeps no other. None where the system has no number of the boot.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return None
    number = int.from_bytes(hashlib.blake2b(boot, digest_size=3).digest(), "little")
    return (10**9 + 2 * number) * 10**9
