"""The room that a folder of cached datasets has: one look at its files serves many datasets.

Idea: what a file may come to hold at most is its length; only where that is too much are the files
opened, to see what they hold and which of them nobody uses. Those make room, the one that was not
used for the longest first. Invariant: who makes a `Room` holds the lock of the folder, and a file
that is in use, or was taken, is not removed.
"""

import contextlib
import fcntl
import functools
import json
import os
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npdata.sources.cache.plan import HEADER, in_pages, read_most


@dataclass(frozen=True, kw_only=True)
class CachedFile:
    """A file of the folder: `about` its data, `nbytes` on the disk.

    `most` bytes are what it may come to hold, 0 where no process uses it; `used` is the time of its
    last use, in ns since 1970.
    """

    path: Path
    about: dict[str, Any]
    nbytes: int
    most: int
    used: int


class Room:
    """What is free of the `most` bytes of a folder, whose lock the caller holds."""

    def __init__(
        self,
        path: Path,
        files: Iterable[os.DirEntry[str]],
        most: int | None,
        in_use: Callable[[], set[Path]],
    ) -> None:
        """Look at the files in `path`; with `most` None, half the disk without them is the most.

        `in_use` gives the files that belong to datasets of this process.
        """
        there = {}
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                there[Path(file)] = file.stat()
        if most is None:
            disk = os.statvfs(path)
            kept = sum(map(_nbytes, there.values()))
            most = (disk.f_bavail * disk.f_frsize + kept) // 2
        self._in_use = in_use
        self._sizes = {file: in_pages(status.st_size) for file, status in there.items()}
        self._free = most - sum(self._sizes.values())
        self._unused: list[CachedFile] | None = None
        self._taken: set[Path] = set()

    def make(self, own: Path, nbytes: int) -> int:
        """Remove files until `nbytes` are free for `own`, as far as can be; give what is free."""
        self._size(own, 0)
        if self._free < nbytes:
            if self._unused is None:
                self._unused = self._look(own)
            while self._unused and self._free < nbytes:
                held = self._unused.pop()
                if held.path != own and held.path not in self._taken:
                    self._remove(held.path)
        return self._free

    def leave(self, own: Path) -> None:
        """Remove a file of which no chunk finds room, unless it is in use."""
        if own.exists():
            held = look_at(own, self._used)
            self._size(own, max(held.nbytes, held.most))
            if not held.most:
                self._remove(own)

    def take(self, own: Path, status: os.stat_result, most: int) -> None:
        """Note that a file may come to hold `most` bytes, if it does not hold more by now."""
        self._taken.add(own)
        self._size(own, max(_nbytes(status), most))

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(PermissionError):  # another user's
            path.unlink(missing_ok=True)
            self._size(path, 0)

    def _size(self, path: Path, nbytes: int) -> None:
        self._free += self._sizes.pop(path, 0) - nbytes
        self._sizes[path] = nbytes

    @functools.cached_property
    def _used(self) -> set[Path]:
        return self._in_use()

    def _look(self, own: Path) -> list[CachedFile]:
        """Note what all but `own` hold; give those nobody uses, the last that was used first."""
        unused = []
        for path in self._sizes.keys() - self._taken - {own}:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                held = look_at(path, self._used)
                self._size(path, max(held.nbytes, held.most))
                if not held.most:
                    unused.append(held)
        return sorted(unused, key=lambda held: held.used, reverse=True)


def look_at(path: Path, in_use: Container[Path] = ()) -> CachedFile:
    """Look at a file, which this process may use; OSError where there is none."""
    status = path.stat()
    about: dict[str, Any] = {}
    most = status.st_size
    with contextlib.suppress(PermissionError):  # another user's, who may be using it
        about, most = _read(path, used=path in in_use)
    return CachedFile(
        path=path, about=about, nbytes=_nbytes(status), most=most, used=status.st_atime_ns
    )


def reserved(descriptor: int) -> int:
    """Give what the users of a file, which this one is not yet, have reserved for it."""
    return read_most(descriptor) if _is_locked(descriptor) else 0


def _nbytes(status: os.stat_result) -> int:
    """Give what a file takes of the disk, holes left out."""
    return status.st_blocks * 512


def _read(path: Path, *, used: bool) -> tuple[dict[str, Any], int]:
    """Give what a file says of itself, and what it may come to hold, 0 where nobody uses it."""
    descriptor = _opened_to_look(path)
    try:
        header = os.pread(descriptor, HEADER, 0).split(b"\0", 1)[0]
        return _about(header), read_most(descriptor) if used else reserved(descriptor)
    finally:
        os.close(descriptor)


def _opened_to_look(path: Path) -> int:
    """Open a file to read; that is no use of it where its owner, or root, does so on Linux."""
    with contextlib.suppress(PermissionError):
        return os.open(path, os.O_RDONLY | getattr(os, "O_NOATIME", 0))
    return os.open(path, os.O_RDONLY)


def _about(header: bytes) -> dict[str, Any]:
    """Understand what a file says of itself; nothing where it is damaged."""
    try:
        about = json.loads(header)
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
