"""Who uses a file of a folder, and how many bytes of the disk it may come to hold.

Idea: whoever uses a file holds a shared lock on it, and the last bytes of its header say what its
users have reserved; where nobody holds a lock, that counts for nothing. Invariant: to look at a
file is no use of it, and `use` leaves its time of change, which may be the seal.
"""

import contextlib
import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npdata.sources.cache.plan import HEADER, MOST
from npdata.sources.file import Descriptor


@dataclass(frozen=True, kw_only=True)
class CachedFile:
    """A file of a folder: `about` its data, `nbytes` on the disk.

    `most` bytes are what it may come to hold; `used` is the time of its last use, in ns since 1970.
    """

    path: Path
    about: dict[str, Any]
    nbytes: int
    most: int
    in_use: bool
    used: int


def look_at(path: Path, *, in_use: bool = False) -> CachedFile:
    """Look at a file, which this process has `in_use` or not; OSError where there is none."""
    status = path.stat()
    about: dict[str, Any] = {}
    reserved = status.st_size
    with contextlib.suppress(PermissionError):  # another user's, who may be using it
        held = _opened_to_look(path)
        about = _about(os.pread(held.number, HEADER, 0).split(b"\0", 1)[0])
        reserved = _noted(held.number) if in_use else _reserved(held.number)
    nbytes = on_disk(status)
    return CachedFile(
        path=path,
        about=about,
        nbytes=nbytes,
        most=max(nbytes, reserved),
        in_use=reserved > 0,
        used=status.st_atime_ns,
    )


def use(descriptor: int, most: int) -> int:
    """Use a file from now on, until its lock goes, and reserve `most` bytes of the disk for it.

    Gives what all its users have reserved.
    """
    most = max(most, _reserved(descriptor))
    lock_shared(descriptor)
    before = os.fstat(descriptor).st_mtime_ns
    if _noted(descriptor) != most:
        os.pwrite(descriptor, MOST.pack(most), HEADER - MOST.size)
    with contextlib.suppress(PermissionError):  # only its owner may set the times of a file
        os.utime(descriptor, ns=(time.time_ns(), before))
    return most


def lock_shared(descriptor: int) -> None:
    """Show other processes that a file is in use, where the file system has locks."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def on_disk(status: os.stat_result) -> int:
    """Give what a file takes of the disk, holes left out."""
    return status.st_blocks * 512


def _reserved(descriptor: int) -> int:
    """Give what the users of a file, which this one is not yet, have reserved for it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # of others, the file system has no locks
        return _noted(descriptor) if isinstance(error, BlockingIOError) else 0
    return 0


def _noted(descriptor: int) -> int:
    read = os.pread(descriptor, MOST.size, HEADER - MOST.size)
    return int(MOST.unpack(read)[0]) if len(read) == MOST.size else 0


def _opened_to_look(path: Path) -> Descriptor:
    """Open a file to read; that is no use of it where its owner, or root, does so on Linux."""
    with contextlib.suppress(PermissionError):
        return Descriptor(os.open, path, os.O_RDONLY | getattr(os, "O_NOATIME", 0))
    return Descriptor(os.open, path, os.O_RDONLY)


def _about(header: bytes) -> dict[str, Any]:
    """Understand what a file says of itself; nothing where it is damaged."""
    try:
        about = json.loads(header)
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
