"""An open file to read pieces from, watched for changes; opened in each process on first use.

Idea: `pread` has no position, so any number of threads read from one descriptor. Invariant: the
file is the one that was identified, in the same state, whenever `check` returns; a read gives all
the bytes asked for or raises.
"""

import os
import threading
import weakref
from typing import Any

from npdata.arrays.per_process import PerProcess
from npdata.errors import ChangedFileError, ClosedError
from npdata.sources.file import FileIdentity


class _Open:
    def __init__(self, path: str, identity: FileIdentity) -> None:
        flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self.number = os.open(path, flags)
        self.lock = threading.Lock()
        weakref.finalize(self, os.close, self.number)
        identity.require(FileIdentity.of_status(os.fstat(self.number)), path)


class Descriptor:
    """The file at `path`, in the state of `identity`.

    Examples:
        >>> Descriptor("x.npy", FileIdentity.of("x.npy")).read(1, 5)
        b'NUMPY'
    """

    def __init__(self, path: str, identity: FileIdentity) -> None:
        """Name the file; opens nothing yet."""
        self.path = path
        self.identity = identity
        self._closed = False
        self._handle = PerProcess(lambda: _Open(path, identity))

    def read(self, offset: int, size: int, *, briefly: bool = False) -> bytes:
        """Give `size` bytes from `offset` on, of the file as it was identified.

        With `briefly`, a file that is not open is opened for this alone. Raises `ChangedFileError`
        where it has changed by the end of the reading.
        """
        handle = self._get(briefly=briefly)
        if hasattr(os, "pread"):
            data = os.pread(handle.number, size, offset)
        else:
            with handle.lock:
                os.lseek(handle.number, offset, os.SEEK_SET)
                data = os.read(handle.number, size)
        if len(data) < size:
            raise ChangedFileError(
                f"{self.path} has {len(data)} bytes where {size} were at {offset}: it was cut "
                f"short since it was opened; open it again"
            )
        self._require_unchanged(handle)
        return data

    def check(self) -> None:
        """Raise `ChangedFileError` if the file changed since it was opened."""
        # Held by the call, so that no other thread closes the file meanwhile.
        self._require_unchanged(self._get())

    def _require_unchanged(self, handle: _Open) -> None:
        now = os.fstat(handle.number)
        expected = self.identity
        if now.st_size != expected.size or now.st_mtime_ns != expected.mtime_ns:
            expected.require(FileIdentity.of_status(now), self.path)

    def close_idle(self) -> None:
        """Close the descriptor of this process until the next read."""
        self._handle.take()

    def close(self) -> None:
        """Close the descriptor of this process for good."""
        self._closed = True
        self.close_idle()

    def _get(self, *, briefly: bool = False) -> _Open:
        if self._closed:
            raise ClosedError(f"{self.path} was closed")
        if briefly:
            return self._handle.made() or _Open(self.path, self.identity)
        return self._handle.get()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the identity."""
        return type(self), (self.path, self.identity)
