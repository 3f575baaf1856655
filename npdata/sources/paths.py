"""What a path must be before it is opened: that of a file here, and no URL, glob, folder or pipe.

Idea: people bring what other libraries expand or download. Invariant: an error says what to type in
place of it. No file is opened: to open a pipe would wait for whoever writes into it.
"""

import errno
import os
import stat
from pathlib import Path
from urllib.parse import unquote

from npdata.errors import FormatError

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".h5ad")
"""How the names of files of arrays end, which a folder is searched for."""


def require_local(path: str | os.PathLike[str]) -> None:
    """Raise `FileNotFoundError` for no path, a URL, a glob, `~` and a member without `::`.

    Examples:
        >>> require_local("s3://bucket/x.npy")
        Traceback (most recent call last):
        FileNotFoundError: [Errno 2] only local files are read; mount or download it: 's3://...'
    """
    text = os.fsdecode(path)
    if os.path.exists(text):  # noqa: PTH110  # a Path takes ten times as long
        return
    reason = _meant(text)
    if reason is not None:
        raise FileNotFoundError(errno.ENOENT, reason, os.fspath(path))


def _meant(text: str) -> str | None:
    """Say what is meant by a path that leads nowhere, None where it is a path like any other."""
    if not text:
        return "the path is empty; '.' is this folder"
    if "\0" in text:
        return "no name of a file has a null character"
    if text.startswith("~"):
        return "no such file, and ~ is not expanded here; os.path.expanduser(path) does it"
    if "$" in text and os.path.expandvars(text) != text:
        return "no such file, and $ is not expanded here; os.path.expandvars(path) does it"
    if text.startswith("file://"):
        return f"a URL is no path; give {unquote(text.removeprefix('file://'))!r}"
    if "://" in text:
        return "only local files are read; mount or download it"
    if "*" in text or "?" in text:
        return (
            "no such file, and a glob is not expanded here; npdata.concatenate(glob) lays the rows "
            "of files end to end, npdata.stack(glob) makes each file a sample"
        )
    for end in (k for k, letter in enumerate(text) if letter in ":/"):
        if Path(text[:end]).is_file():
            meant = f"{text[:end]}::{text[end:].strip(':/')}"
            return f"no such file; an array of a file comes after '::', as {meant!r}"
    return None


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raise as `require_local` and `require_file`."""
    require_local(path)
    folder = (
        "is a folder; npdata.stack(folder) makes each file below it a sample, "
        "npdata.concatenate(folder) lays their rows end to end"
    )
    require_file(os.stat(path).st_mode, path, folder)  # noqa: PTH116


def require_file(mode: int, path: str | os.PathLike[str], folder: str) -> None:
    """Raise by the mode of `path`: `IsADirectoryError`, which says `folder`, or `FormatError`."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, folder, os.fspath(path))
    if not stat.S_ISREG(mode):
        raise FormatError(f"{path} is a pipe or a device; copy what it gives into a file first")
