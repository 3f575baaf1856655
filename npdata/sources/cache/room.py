"""Room in a folder of cached datasets: one look at its files serves all that are opened together.

Idea: what a file may come to hold at most is its length; only where that is too much are the files
opened, to see what they hold and which of them nobody uses. Those make room, the one that was not
used for the longest first. Invariant: the lock of the folder is held from the first `reserve` to
the end, and a file that is in use, as it is once room was reserved for it, is not removed.
"""

import contextlib
import os
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.sources.cache.cure import with_cure
from npdata.sources.cache.folder import Folder
from npdata.sources.cache.plan import Plan, in_pages
from npdata.sources.cache.use import CachedFile, look_at, on_disk, use
from npdata.sources.file_map import mapped

Lock: TypeAlias = NDArray[np.uint8]
"""A map of a file, which holds the lock that its descriptor had; many may be open so."""


class Room:
    """Room for datasets in `folder`, all files of which take at most `most` bytes, in a `with`.

    With `most` None it is half of what the disk would have free without them. `in_use` are the
    files of datasets of this process, to which it adds those for which room is reserved.
    """

    def __init__(self, folder: Folder, most: int | None, in_use: set[Path]) -> None:
        """Look at nothing before the first `reserve`, and make no folder."""
        self._folder = folder
        self._most = most
        self._in_use = in_use
        self._lock = contextlib.ExitStack()
        self._begun = False
        self._sizes: dict[Path, int] = {}
        self._free = 0
        self._unused: list[CachedFile] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def reserve(self, plan: Plan) -> tuple[int, Lock | None]:
        """Reserve room for the chunks of a dataset: give for how many of the first there is room.

        It stays reserved until the lock, None where there is none, is released. OSError, with the
        folder, where nothing can be written there.
        """
        try:
            if not self._begun:
                self._begin()
            return self._reserve(plan)
        except OSError as error:
            raise with_cure(error, self._folder.path) from None

    def _begin(self) -> None:
        self._lock.enter_context(self._folder.locked())
        there = {}
        for path in self._folder.files():
            with contextlib.suppress(FileNotFoundError):
                there[path] = path.stat()
        most = self._most
        if most is None:
            disk = os.statvfs(self._folder.path)
            most = (disk.f_bavail * disk.f_frsize + sum(map(on_disk, there.values()))) // 2
        self._sizes = {path: in_pages(status.st_size) for path, status in there.items()}
        self._free = most - sum(self._sizes.values())
        self._begun = True

    def _reserve(self, plan: Plan) -> tuple[int, Lock | None]:
        own = self._folder.path_of(plan)
        self._count(own, 0)
        self._make_room(own, plan.most_with(plan.count))
        chunks = plan.fitting(self._free)
        if not chunks:
            self._leave(own)
            return 0, None
        held = self._folder.made(plan)
        most = use(held.number, plan.most_with(chunks))
        self._in_use.add(own)
        self._count(own, max(on_disk(os.fstat(held.number)), most))
        with contextlib.suppress(OSError):  # too many maps
            return chunks, mapped(held.number, 1)
        return chunks, None

    def _make_room(self, own: Path, nbytes: int) -> None:
        """Remove files until so many bytes are free for `own`, as far as can be."""
        if self._free < nbytes and self._unused is None:
            self._unused = self._look(own)
        while self._unused and self._free < nbytes:
            path = self._unused.pop().path
            if path != own and path not in self._in_use:
                self._remove(path)

    def _look(self, own: Path) -> list[CachedFile]:
        """Count what all but `own` hold; give those nobody uses, the last that was used first."""
        unused = []
        for path in self._sizes.keys() - {own}:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                held = self._look_at(path)
                if not held.in_use:
                    unused.append(held)
        return sorted(unused, key=lambda held: held.used, reverse=True)

    def _leave(self, own: Path) -> None:
        """Remove a file of which no chunk finds room, unless it is in use."""
        if own.exists() and not self._look_at(own).in_use:
            self._remove(own)

    def _look_at(self, path: Path) -> CachedFile:
        held = look_at(path, in_use=path in self._in_use)
        self._count(path, held.most)
        return held

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(PermissionError):  # another user's
            path.unlink(missing_ok=True)
            self._count(path, 0)

    def _count(self, path: Path, nbytes: int) -> None:
        """Count so many bytes for a file, in place of what was counted for it."""
        self._free += self._sizes.get(path, 0) - nbytes
        self._sizes[path] = nbytes
