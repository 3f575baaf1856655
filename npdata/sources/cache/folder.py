"""A folder of cached datasets, one file each, together within a number of bytes.

Idea: before a dataset is opened, the files that were not used for the longest make room for it.
Invariant: a file that a process uses is not removed: it holds a shared lock on it, which ends with
the process; files are made, found and removed under the lock of the folder. Under its name there is
a whole file (`plan.lay_out`), or none.
"""

import contextlib
import errno
import fcntl
import fnmatch
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from npdata.runtime.undisturbed import undisturbed
from npdata.sources.cache.cure import with_cure
from npdata.sources.cache.entry import lock_shared
from npdata.sources.cache.plan import Plan, is_laid_out, lay_out, note_use, read_most
from npdata.sources.cache.room import CachedFile, Room, look_at, reserved
from npdata.sources.file import Descriptor
from npdata.sources.file_map import mapped

T = TypeVar("T")
Lock: TypeAlias = NDArray[np.uint8]
"""A map of a file, which holds the lock that its descriptor had; many may be open so."""
Reserve: TypeAlias = Callable[[Plan], tuple[int, Lock | None]]

SUFFIX, _UNFINISHED = ".npdata", ".part"
_NAME = "[0-9a-f]" * 32


class Folder:
    """The cached datasets in `path`, which is made when one is opened there.

    Examples:
        >>> folder = Folder("cached")
        >>> held = folder.open(Plan(about="{}", chunk_bytes=8, count=2), 0)
        >>> len(folder.held()), folder.clear(), folder.held()
        (1, 1, [])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()

    def open(self, plan: Plan, most: int) -> Descriptor:
        """Open the file of `plan`, with a shared lock on it.

        It may come to hold `most` bytes, which a file that was removed since is to say anew.
        OSError, with its name, where nothing can be written in the folder.
        """

        def call() -> Descriptor:
            held = Descriptor(self._open(plan))  # closed where an interrupt drops it
            lock_shared(held.number)
            if read_most(held.number) < most:
                note_use(held.number, most)
            return held

        try:
            return self._alone(call)
        except OSError as error:
            raise with_cure(error, self.path) from None

    def making_room(
        self, most: int | None, in_use: Callable[[], set[Path]], make: Callable[[Reserve], T]
    ) -> T:
        """Give what `make` gives, which may reserve room for datasets within `most` bytes.

        None is half of what the disk would have free without this folder. To reserve gives how many
        chunks there is room for, and raises OSError as `open`. One look at the folder serves all
        datasets, under the lock of the folder; so `make` opens nothing in it. What was reserved
        stays so until its lock is released. `in_use` gives the files of datasets of this process.
        """

        def call() -> T:
            with contextlib.ExitStack() as stack:
                room: Room | None = None

                def reserve(plan: Plan) -> tuple[int, Lock | None]:
                    nonlocal room
                    try:
                        if room is None:
                            stack.enter_context(self._locked())
                            room = Room(self.path, self._entries(SUFFIX), most, in_use)
                        return self._reserve(plan, room)
                    except OSError as error:
                        raise with_cure(error, self.path) from None

                return make(reserve)

        return undisturbed(call)

    def _reserve(self, plan: Plan, room: Room) -> tuple[int, Lock | None]:
        own = self.path_of(plan)
        chunks = plan.fitting(room.make(own, plan.most_with(plan.count)))
        if not chunks:
            room.leave(own)
            return 0, None
        descriptor = self._open(plan)
        try:
            most = max(reserved(descriptor), plan.most_with(chunks))
            lock_shared(descriptor)
            note_use(descriptor, most)
            room.take(own, os.fstat(descriptor), most)
            with contextlib.suppress(OSError):  # too many maps
                return chunks, mapped(descriptor, 1)
        finally:
            os.close(descriptor)
        return chunks, None

    def held(self) -> list[CachedFile]:
        """Look at the files, by their names."""
        found = []
        for path in self._files(SUFFIX):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                found.append(look_at(path))
        return found

    def clear(self) -> int:
        """Remove every file, also those in use, whose users go on with what they have open."""
        nothing = not self.held() and not self._files("*" + _UNFINISHED)
        return 0 if nothing else self._alone(self._clear)  # which would leave a file for the lock

    def _clear(self) -> int:
        held = self.held()
        refused: list[PermissionError] = []
        for path in [*(each.path for each in held), *self._files("*" + _UNFINISHED)]:
            try:
                path.unlink(missing_ok=True)
            except PermissionError as error:  # another user's
                refused.append(error)
        if refused:
            raise refused[0]
        return len(held)

    def _files(self, suffix: str) -> list[Path]:
        """Give the files, by their names; none where there is no folder."""
        return sorted(Path(entry) for entry in self._entries(suffix))

    def _entries(self, suffix: str) -> list[os.DirEntry[str]]:
        """Give the files as they are listed: each dataset that is opened looks at all of them."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            return [each for each in entries if fnmatch.fnmatchcase(each.name, _NAME + suffix)]
        return []

    def path_of(self, plan: Plan) -> Path:
        """Give the path of the file of `plan`."""
        return self.path / f"{plan.digest}{SUFFIX}"

    def _open(self, plan: Plan) -> int:
        path = self.path_of(plan)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR)
            if is_laid_out(descriptor, plan):
                return descriptor
            os.close(descriptor)
        # Not cut to size in its place: a process that maps what is there would read zeros.
        part = path.with_suffix(f".{os.geteuid()}{_UNFINISHED}")  # of a kill, another may be there
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            lay_out(descriptor, plan)
            part.replace(path)
        except BaseException as error:
            os.close(descriptor)
            part.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise
        return descriptor

    def _alone(self, function: Callable[[], T]) -> T:
        """Call a function under the lock of the folder, where no Ctrl-C arrives."""

        def call() -> T:
            with self._locked():
                return function()

        return undisturbed(call)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(
                errno.ENOTDIR, "this is no folder, and cache= needs one", str(self.path)
            ) from None
        lock = self.path / ".lock"
        # In a folder as /tmp the system lets nobody create, or put away, what another user made.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        descriptor = os.open(lock, os.O_RDWR)
        try:
            with contextlib.suppress(OSError):  # a file system that has no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
