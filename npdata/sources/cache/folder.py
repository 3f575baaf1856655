"""A folder of cached datasets, one file each, named by what it keeps.

Idea: who opens a file makes it where there is none. Invariant: files are made, opened and removed
under the lock of the folder. Under its name there is a whole file (`plan.lay_out`), or none.
"""

import contextlib
import errno
import fcntl
import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path

from npdata.runtime.undisturbed import undisturbed
from npdata.sources.cache.cure import with_cure
from npdata.sources.cache.plan import Plan, is_laid_out, lay_out
from npdata.sources.cache.use import CachedFile, look_at, use
from npdata.sources.file import Descriptor

_SUFFIX, _UNFINISHED = ".npdata", ".part"
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
        """Open the file of `plan`, which may come to hold `most` bytes, and use it.

        OSError, with its name, where nothing can be written in the folder.
        """
        try:
            return undisturbed(self._open, plan, most)
        except OSError as error:
            raise with_cure(error, self.path) from None

    def _open(self, plan: Plan, most: int) -> Descriptor:
        with self.locked():
            held = self.made(plan)
            use(held.number, most)
            return held

    def held(self) -> list[CachedFile]:
        """Look at the files, by their names."""
        found = []
        for path in sorted(self.files()):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                found.append(look_at(path))
        return found

    def clear(self) -> int:
        """Remove every file, also those in use, whose users go on with what they have open."""
        if not self.files() and not self.files("*" + _UNFINISHED):
            return 0  # to lock the folder leaves a file there
        return undisturbed(self._clear)

    def _clear(self) -> int:
        refused: list[PermissionError] = []
        with self.locked():
            held = self.held()
            for path in [*(each.path for each in held), *self.files("*" + _UNFINISHED)]:
                try:
                    path.unlink(missing_ok=True)
                except PermissionError as error:  # another user's
                    refused.append(error)
        if refused:
            raise refused[0]
        return len(held)

    def files(self, suffix: str = _SUFFIX) -> list[Path]:
        """List the files; none where there is no folder."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            named = [each for each in entries if fnmatch.fnmatchcase(each.name, _NAME + suffix)]
            return [Path(each) for each in named if _is_file(each)]
        return []

    def path_of(self, plan: Plan) -> Path:
        """Give the path of the file of `plan`."""
        return self.path / f"{plan.digest}{_SUFFIX}"

    def made(self, plan: Plan) -> Descriptor:
        """Open the file of `plan`, after making it where there is none; who calls has the lock."""
        path = self.path_of(plan)
        with contextlib.suppress(FileNotFoundError):
            held = Descriptor(os.open, path, os.O_RDWR)
            if is_laid_out(held.number, plan):
                return held
        # Not cut to size in its place: a process that maps what is there would read zeros.
        part = path.with_suffix(f".{os.geteuid()}{_UNFINISHED}")  # of a kill, another may be there
        held = Descriptor(os.open, part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            lay_out(held.number, plan)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from error
        return held

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, which is made; who does so has no Ctrl-C arrive (`undisturbed`)."""
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


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Tell whether it is a file: to open a pipe would wait for whoever writes into it."""
    with contextlib.suppress(OSError):  # a link that leads to itself
        return entry.is_file()
    return False
