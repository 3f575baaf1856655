"""A file: mapped copy-on-write or read in pieces, opened in each process, watched for changes.

Idea: a private map with MAP_NORESERVE makes the rows of any file, also one larger than memory or
read-only, writable in place: a write goes to a page of this process and never to the file.
Where the system refuses such a map, a read-only one serves, and rows are copied. Invariant: what
is mapped is the file that was identified at construction, in this and in every other process; a
batch is read only after `check` has seen that file unchanged, because a map past the end of a
file that shrank would kill the process. This module knows nothing of rows.
"""

import errno
import os
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import address_of
from npdata.errors import ChangedFileError, ClosedError
from npdata.runtime.keep_at_once import keep_at_once
from npdata.runtime.open_files import OpenFiles
from npdata.runtime.per_process import ForkSafeLock
from npdata.sources.file_map import mapped, page_out

MOST_AT_ONCE = 1 << 30
"""So many bytes are read or written by one call: of 2 GiB, Linux does a part and macOS nothing."""
READING = os.O_RDONLY | os.O_NONBLOCK
"""How a file is opened: who opens a pipe waits for nobody."""
SETTLED_NS = 20_000_000
"""Writes closer to each other than this may leave a file with one time of change."""


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """Which file it is and in which state: device, inode, size in bytes, time of change in ns.

    `mtime_ns` is None where the one who opened the file may also write to it.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int | None

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> "FileIdentity":
        """Give the identity of the file at `path`; OSError where there is none."""
        return cls.of_status(os.stat(path))  # noqa: PTH116

    @classmethod
    def of_status(cls, status: os.stat_result) -> "FileIdentity":
        """Give the identity that a stat or fstat reports."""
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
        )

    def without_time(self) -> "FileIdentity":
        """Give the same identity, true whenever the file was written."""
        return replace(self, mtime_ns=None)

    def require(self, now: "FileIdentity", path: str) -> None:
        """Raise `ChangedFileError` unless `now` is this same file in the same state."""
        if self.mtime_ns is None:
            now = now.without_time()
        if now == self:
            return
        if (now.device, now.inode) != (self.device, self.inode):
            what = "another file has taken its place"
        elif now.size != self.size:
            what = f"it had {self.size} bytes and now has {now.size}"
        else:
            what = "it was written to"
        raise ChangedFileError(f"{path} changed since it was opened: {what}; open it again")


class Descriptor:
    """An open file, closed when nothing refers to it; at exit it stays: a thread may still read.

    `opener(*arguments)` gives its number, below 0 where it is not open. In a `with`, which gives
    the number, it is closed at the end.
    """

    def __init__(self, opener: Callable[..., int], *arguments: Any) -> None:
        self._held: list[int] = []
        self.number = keep_at_once(self._held, opener, *arguments)

    def __enter__(self) -> int:
        return self.number

    def __exit__(self, *_: object) -> None:
        deque(map(os.close, map(list.pop, [self._held])), maxlen=0)  # by one call of C, once

    def __del__(
        self,
        close: Callable[[int], None] = os.close,
        exits: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        """Close it, but not at exit.

        No `weakref.finalize`: at exit Python goes through all of these, fails where a thread makes
        one more, and then ends no thread.
        """
        if not exits():
            for number in self.__dict__.get("_held", ()):  # an interrupt may leave it without
                if number >= 0:
                    close(number)

    @classmethod
    def of(cls, path: str, identity: FileIdentity) -> "Descriptor":
        """Open a file for reading; `ChangedFileError` if it is another one, or has changed.

        It waits for nobody, as it would for whoever writes into a pipe that took its place.
        """
        try:
            opened = cls(os.open, path, READING)
        except OSError as error:
            if error.errno == errno.EMFILE:
                error.strerror = f"{error.strerror}: let this process have more (ulimit -n)"
            if error.errno == errno.ENXIO:  # a socket has taken its place
                identity.require(FileIdentity.of(path), path)
            raise
        identity.require(FileIdentity.of_status(os.fstat(opened.number)), path)
        return opened


class _Opening:
    """What the `File`s of one file share in a process: its descriptor and its map."""

    def __init__(self, path: str, identity: FileIdentity) -> None:
        self.path = path
        self.identity = identity
        self.descriptor: Descriptor | None = None
        self.map: NDArray[np.uint8] | None = None
        self.lock = ForkSafeLock()

    def close_idle(self) -> None:
        """Close the file until its descriptor is needed again; the map stays."""
        self.descriptor = None
        open_files.discard(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.identity)


open_files = OpenFiles(3)
"""Those of this process that are read past h5py: the rest is for h5py, torch and the user."""


class File:
    r"""One file, opened on first use and mapped when its map is asked for; picklable by path.

    Reads from the descriptor have no position, so any number of threads may read at once.

    Examples:
        >>> file = File("x.npy")
        >>> file.array[:6].tobytes(), file.read(1, 5)
        (b'\x93NUMPY', b'NUMPY')
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: FileIdentity | None = None,
        opening: _Opening | None = None,
    ) -> None:
        """Name the file; without `identity` the file as it is now. OSError if it isn't there."""
        if opening is None:
            path = sys.intern(str(Path(path).absolute()))  # a pickle has one text once
            opening = _Opening(path, FileIdentity.of(path) if identity is None else identity)
        self.path = opening.path
        self.identity = opening.identity
        self._opening = opening
        self._closed = False

    def again(self) -> "File":
        """Give the same file for another source: open and mapped once for both, closed apart."""
        return File(self.path, self.identity, self._opening)

    @property
    def array(self) -> NDArray[np.uint8]:
        """The whole file as a one-dimensional array, writable where the system allows it."""
        opening = self._opening
        array = opening.map
        if array is None:
            with opening.lock.get():
                descriptor = self._open()
                array = opening.map
                if array is None:
                    size = self.identity.size
                    array = opening.map = _mapped(descriptor.number, size, self.path)
        return array

    def check(self, descriptor: Descriptor | None = None) -> None:
        """Raise `ChangedFileError` if the file changed since it was opened.

        `descriptor` is the one that the caller holds, so that no other thread closes it.
        """
        if descriptor is None:
            descriptor = self._opening.descriptor or self._open()
        now, expected = os.fstat(descriptor.number), self.identity
        same_time = expected.mtime_ns is None or now.st_mtime_ns == expected.mtime_ns
        if now.st_size != expected.size or not same_time:
            expected.require(FileIdentity.of_status(now), self.path)

    def check_size(self) -> None:
        """Raise `ChangedFileError` unless the file has its size: else a map of it may not be read.

        It takes a fourth of what `check` takes, which is to follow.
        """
        descriptor = self._opening.descriptor or self._open()
        if os.lseek(descriptor.number, 0, os.SEEK_END) != self.identity.size:
            self.check(descriptor)

    def read(self, offset: int, size: int, *, briefly: bool = False) -> bytes:
        """Give `size` bytes from `offset` on, past the map.

        With `briefly`, a file that is not open is opened for this alone. Raises `ChangedFileError`
        where it has changed by the end of the reading.
        """
        descriptor = self._open(briefly=briefly)
        data = b"".join(
            os.pread(descriptor.number, min(MOST_AT_ONCE, size - done), offset + done)
            for done in range(0, size, MOST_AT_ONCE)
        )
        if len(data) < size:
            raise ChangedFileError(
                f"{self.path} has {len(data)} bytes where {size} were at {offset}: it was cut "
                f"short since it was opened; open it again"
            )
        self.check(descriptor)
        return data

    def read_into(self, offset: int, out: NDArray[np.uint8]) -> None:
        """Read bytes from `offset` on into `out`, past the map; raises as `read`."""
        descriptor = self._open()
        fill(descriptor.number, offset, out.data)  # a file that ended has changed
        self.check(descriptor)

    def will_need(self, offset: int, nbytes: int) -> None:
        """Ask the kernel to read this part of the file now, unless it is in memory already."""
        descriptor = self._open()
        ask_for(descriptor.number, offset, nbytes)

    def load(self, offset: int, nbytes: int) -> None:
        """Read this part of the file, at least a byte, into memory, unless it is there.

        What the kernel reads when it is asked (`will_need`) it keeps in small pages. By the
        descriptor of the map, page faults would disturb what it reads ahead.
        """
        descriptor = self._open()
        if not _in_memory(descriptor.number, offset + nbytes // 2):
            descriptor = Descriptor.of(self.path, self.identity)
            buffer = memoryview(bytearray(min(nbytes, 1 << 20)))
            for start in range(offset, offset + nbytes, len(buffer)):
                fill(descriptor.number, start, buffer[: offset + nbytes - start])

    def dont_need(self, offset: int, nbytes: int) -> None:
        """Let the kernel take this part of the file out of memory; nothing that was written goes.

        A file that is not mapped now has no pages to drop.
        """
        array = self._opening.map
        if array is not None:
            page_out(address_of(array) + offset, nbytes)

    def close_idle(self) -> None:
        """Close the file until it is needed again; arrays given out keep their map."""
        self._opening.map = None
        self._opening.close_idle()

    def close(self) -> None:
        """Close the file for good; the map lives on for as long as an array refers to it."""
        self._closed = True
        self.close_idle()
        self._opening = _Opening(self.path, self.identity)  # no longer that of others

    def _open(self, *, briefly: bool = False) -> Descriptor:
        """Give the descriptor; the caller holds it, so that no other thread closes it meanwhile."""
        opening = self._opening
        descriptor = opening.descriptor
        if descriptor is not None:
            return descriptor
        if briefly and not self._closed:
            return Descriptor.of(self.path, self.identity)
        with opening.lock.get():
            if self._closed:
                raise ClosedError(f"{self.path} was closed; make a new dataset")
            descriptor = opening.descriptor
            if descriptor is None:
                open_files.make_room()
                descriptor = opening.descriptor = Descriptor.of(self.path, self.identity)
                open_files.add(opening)
            return descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the identity, once for all that share them, never the content."""
        return type(self), (self.path, self.identity, self._opening)


def _mapped(descriptor: int, nbytes: int, path: str) -> NDArray[np.uint8]:
    if not nbytes:
        return np.empty(0, np.uint8)
    try:
        return mapped(descriptor, nbytes, writable=True)
    except OSError:
        try:
            return mapped(descriptor, nbytes)
        except OSError as error:
            error.filename = path
            if error.errno == errno.ENOMEM:
                error.strerror = (
                    f"{error.strerror}: the addresses of this process are bounded (ulimit -v), or "
                    "it has as many maps as it may (vm.max_map_count), of which each field takes "
                    "one; many files of a kind are one field by npdata.concatenate or npdata.stack"
                )
            raise


def fill(descriptor: int, offset: int, target: memoryview) -> bool:
    """Read into all of `target`; False where the file ends before."""
    done = 0
    while done < len(target):
        count = os.preadv(descriptor, [target[done : done + MOST_AT_ONCE]], offset + done)
        if not count:
            return False
        done += count
    return True


def ask_for(descriptor: int, offset: int, nbytes: int) -> bool:
    """Ask the kernel to read this part of a file now, unless it is in memory; tell whether it was.

    Looking at its middle costs a microsecond, asking for a MiB that is there tens of them; the ends
    may be in memory for the sake of a neighbour. 0 bytes are all that follow.
    """
    there = _in_memory(descriptor, offset + nbytes // 2)
    if not there and sys.platform == "linux":
        os.posix_fadvise(descriptor, offset, nbytes, os.POSIX_FADV_WILLNEED)
    return there


def _in_memory(descriptor: int, offset: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except (OSError, AttributeError, NotImplementedError):  # by how Python was built, too
        return False
