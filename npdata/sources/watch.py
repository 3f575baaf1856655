"""Whether any of many files may have changed, asked in half a microsecond.

Idea: to look at the time of 150 files takes 260 µs, four times as long as to copy a row of 3 KiB
out of each; on Linux the kernel can report changes instead (inotify), and one question
answers for all. Invariant: `events` rises after any write, cut, rename or removal by this machine,
before the next answer. Writes through a map and those of other machines are not reported: whoever
asks has to look at a file itself now and then, and always where `add` says False.
"""

import contextlib
import ctypes
import os
import sys
import threading
import weakref

if sys.platform == "linux":
    import fcntl

_MODIFY, _ATTRIB, _MOVE_SELF, _DELETE_SELF = 0x2, 0x4, 0x800, 0x400
_CHANGES = _MODIFY | _ATTRIB | _MOVE_SELF | _DELETE_SELF
_FIONREAD = 0x541B
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Watch:
    """Reports of changes to the files that were added, in the process that made it.

    Examples:
        >>> watch = Watch()
        >>> before = watch.events() if watch.add(b"x.npy") else -1
        >>> np.save("x.npy", np.zeros(3))
        >>> watch.events() > before
        True
    """

    def __init__(self) -> None:
        """Begin with no files."""
        self._descriptor = -1
        self._events = 0
        self._lock = threading.Lock()
        if _libc is not None:
            self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            weakref.finalize(self, os.close, self._descriptor).atexit = False

    def add(self, path: bytes) -> bool:
        """Watch a file as well; False where the system does not, or watches too many already."""
        if _libc is None or self._descriptor < 0:
            return False
        return bool(_libc.inotify_add_watch(self._descriptor, path, _CHANGES) >= 0)

    def events(self) -> int:
        """Give a number that is higher than before if any file may have changed."""
        if sys.platform == "linux" and self._descriptor >= 0:
            # Asked and counted under one lock: else who asks between the count and the read takes a
            # number that already stands for reports to come.
            with self._lock:
                waiting = fcntl.ioctl(self._descriptor, _FIONREAD, b"\0\0\0\0")
                if waiting != b"\0\0\0\0":
                    # Counted first: an interrupt in between leaves the reports waiting.
                    self._events += 1
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._descriptor, 1 << 16)
                return self._events
        return self._events
