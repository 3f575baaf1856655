"""The file that is being written: under another name until it is whole.

Idea: a temporary file in the folder of the target, synced to the disk, then put under its name in
one step. Invariant: under the final name there is what was there before, or the whole new file;
the temporary one is gone whatever ends the conversion, but for a kill that no program can handle.
Without `force` nothing is ever replaced, also not a file that appears in the meantime.
"""

import errno
import fcntl
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from npdata.cli.console import UsageError

SUFFIX = ".part"
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


def target_of(path: Path, sources: Sequence[str] = (), *, force: bool) -> Path:
    """Follow the links of a path, of which the last part need not be there, to what is written.

    Raises `UsageError` for one of the `sources`, for what is there without `force`, and for what is
    no file; FileNotFoundError for a missing folder, OSError for links in a loop.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if target.is_dir():
        raise UsageError(f"{target} is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    if not target.exists():
        return target
    if any(target.samefile(source) for source in sources):
        raise UsageError(f"{target} is what is to be converted; give another name")
    if not target.is_file():
        raise UsageError(f"{target} is no regular file and is not replaced")
    if not force:
        raise UsageError(f"{target} is there already; --force replaces it")
    return target


class Output:
    """A temporary file at `path`, until `publish` puts it under its name."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target

    def sync(self) -> None:
        """Wait until the file is on the disk, and let it leave the cache: it is read from there."""
        try:
            _sync(self.path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._target)) from error
        self.leave_cache()

    def leave_cache(self) -> None:
        """Let the kernel write what it holds of the file, and keep none of that in memory.

        It would wait until a tenth of the memory is full, and then let the program wait.
        """
        if sys.platform == "linux":
            descriptor = os.open(self.path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def publish(self, *, force: bool) -> None:
        """Give the synced file its name; FileExistsError where another took it, without `force`."""
        if force:
            with suppress(FileNotFoundError):
                self.path.chmod(stat.S_IMODE(self._target.stat().st_mode))
            self.path.replace(self._target)
        else:
            self._publish_once()
        with suppress(OSError):  # of a file system that syncs no folder
            _sync(self._target.parent)

    def _publish_once(self) -> None:
        try:
            os.link(self.path, self._target)
        except FileExistsError:
            raise FileExistsError(
                f"{self._target} appeared in the meantime and is kept; --force replaces it"
            ) from None
        except OSError:
            # A file system without hard links: take the name, then replace what holds it.
            os.close(os.open(self._target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            try:
                self.path.replace(self._target)
            except BaseException:
                if self.path.exists():
                    self._target.unlink()
                raise


@contextmanager
def new_output(target: Path) -> Iterator[Output]:
    """Make a temporary file beside `target`, which is removed in the end.

    Errors in the block that only writing can meet name the target, in the words of the system.
    """
    path = target.parent / f".npdata-{secrets.token_hex(8)}{SUFFIX}"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield Output(path, target)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
    finally:
        with suppress(OSError):
            path.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        if sys.platform == "darwin":  # where that does not wait for the disk
            with suppress(OSError):  # of a file system that has nothing more
                fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    finally:
        os.close(descriptor)
