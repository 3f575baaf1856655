"""An HDF5 file: how it is asked for, opened by h5py, and what is the same for all its datasets.

Idea: files are opened for reading alone, and whatever refuses that says so here. Invariant: no
handle of this process keeps what it writes itself from the end of a file, and none from before a
change of the file is open when its datasets are looked for. No dataset is looked at.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py

from npdata.arrays.flag import flag
from npdata.errors import FieldError, FileLockError, FormatError, NpdataError, TruncatedError
from npdata.runtime.open_files import OpenFiles
from npdata.sources.file import FileIdentity
from npdata.sources.formats.foreign import foreign_file
from npdata.sources.paths import require_regular

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
Locking = bool | str | None
H5PY_ERRORS = (KeyError, OSError, RuntimeError, ValueError, TypeError)
"""What h5py raises where there is nothing of a name, and where what is there is damaged."""


@dataclass(frozen=True, kw_only=True)
class Hdf5Options:
    """How to open HDF5 files: as in `NumpyDataset.from_hdf5`."""

    access: Literal["auto", "library", "direct"] = "auto"
    allow_external: bool = False
    missing: Literal["error", "fill"] = "error"
    locking: Locking = None

    def __post_init__(self) -> None:
        """Refuse what is none of the choices."""
        if self.access not in ("auto", "library", "direct"):
            raise FieldError(
                f"access={self.access!r} is none of 'auto', 'library' (h5py) and 'direct' (npdata)"
            )
        if self.missing not in ("error", "fill"):
            raise FieldError(f"missing={self.missing!r} is none of 'error' and 'fill'")
        if self.locking not in (None, True, False, "true", "false", "best-effort"):
            raise FieldError(f"locking={self.locking!r} is none of True, False and 'best-effort'")
        flag("allow_external", self.allow_external, FieldError)
        if self.missing == "fill" and not self.allow_external:
            raise FieldError(
                'missing="fill" is for the sources of virtual datasets; they need '
                "allow_external=True"
            )


AUTO = Hdf5Options()


def absolute_path(path: str) -> str:
    """Give the absolute path; raises for a missing, an empty and for no file."""
    require_regular(path)
    path = str(Path(path).absolute())
    if FileIdentity.of(path).size == 0:
        raise TruncatedError(f"{path} is empty (0 bytes)")
    return path


holders = OpenFiles(4)
"""The sources of this process that keep a file open between reads, in the state of `identity`."""


@contextmanager
def opened_anew(path: str, locking: Locking) -> Iterator[h5py.File]:
    """Open an HDF5 file whose datasets are not known yet.

    HDF5 opens a file once for all who open it, and shows what it knew first. So who holds it from
    before another program wrote to it lets it go. Raises as `open_file`, and `FormatError` for what
    HDF5 finds damaged in it.
    """
    now = FileIdentity.of(path)
    for holder in holders:
        before = holder.identity
        if before != now and (before.device, before.inode) == (now.device, now.inode):
            holder.close_idle()
    with open_file(path, locking) as file:
        try:
            yield file
        except NpdataError:
            raise
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of another file, which it names
            raise FormatError(f"{path} cannot be read as HDF5, and is damaged: {error}") from error


def open_file(path: str, locking: Locking, cache_bytes: int | None = None) -> h5py.File:
    """Open an HDF5 file for reading.

    HDF5 keeps `cache_bytes` of decoded chunks of each dataset; None is its default. Raises
    `FileLockError` where a writer has it, or the system refuses the lock, `FormatError` where the
    file is damaged or none of HDF5.
    """
    try:
        file = h5py.File(path, "r", locking=locking, rdcc_nbytes=cache_bytes)
        if file.mode == "r":
            return file
        # This process writes to it: to close a handle cuts off what HDF5 set aside at the end.
        file.close()
        return h5py.File(path, "r", locking=locking, rdcc_nbytes=cache_bytes)
    except OSError as error:
        raise _refusal(path, locking, error) from error


def _refusal(path: str, locking: Locking, error: OSError) -> Exception:
    """Give the error that says what kept HDF5 from opening a file, and what to do."""
    why = str(error)
    if "unable to lock file" in why:
        return FileLockError(
            f"{path} cannot be locked for reading (locking={locking!r}): {why}; close the "
            f"program that writes to it. On a network file system that has no locks (NFS, "
            f"Lustre) pass locking=False to from_hdf5"
        )
    if "already open for write" in why:
        return FileLockError(
            f"{path} is marked as open for writing, perhaps in SWMR mode: wait until the "
            f"program that writes has closed it, since npdata reads files that do not change. "
            f"If none is running, one ended without closing it: `h5clear -s {path}` takes the "
            f"mark away"
        )
    if "signature not found" in why:
        return FormatError(f"{path} is {_other_kind(path)}")
    if error.errno is not None:  # of a right that was lost, or of too many open files
        return OSError(error.errno, os.strerror(error.errno), path)
    return FormatError(f"{path} cannot be opened as HDF5: {why}")


def _other_kind(path: str) -> str:
    """Say what a file is that is no HDF5, and what to do."""
    with Path(path).open("rb") as stream:
        head = stream.read(6)
    if head == b"\x93NUMPY":
        return "a .npy of one array: NumpyDataset(path)"
    what = foreign_file(path)
    if what is None and head.startswith(b"PK"):
        return "a .npz: NumpyDataset.from_npz(path, NAME)"
    return what or f"no HDF5: it begins with {head!r}; it is damaged"


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What is the same for all datasets of a file.

    `identity` is that of what lies at `path`, `identity_in_hdf5` that of the file which HDF5 has
    open, where it can tell; `mode` is "r+" where this process may write to it.
    """

    path: str
    identity: FileIdentity
    identity_in_hdf5: FileIdentity | None
    user_block: int
    driver: str
    mode: str
    hdf5_version: tuple[int, ...]

    @classmethod
    def of(cls, file: h5py.File) -> "FileFacts":
        """Learn them of an open file."""
        path = sys.intern(str(Path(file.filename).absolute()))  # the text that `File` has
        driver = file.driver
        held = os.fstat(file.id.get_vfd_handle()) if driver == "sec2" else None
        return cls(
            path=path,
            identity=FileIdentity.of(path),
            identity_in_hdf5=None if held is None else FileIdentity.of_status(held),
            user_block=file.userblock_size,
            driver=driver,
            mode=file.mode,
            hdf5_version=h5py.version.hdf5_version_tuple,
        )
