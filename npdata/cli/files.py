"""Which files a text names that somebody typed, and whether they are what was said of them.

Idea: a file, a folder or a glob, each with `::member` behind it. Invariant: what names no file is
wrong usage, and so is `--dtype` for a file that says itself what it holds. No rows are read.
"""

import glob
from pathlib import Path

from npdata.cli.console import UsageError
from npdata.sources.base import Source
from npdata.sources.formats.foreign import foreign_file
from npdata.sources.formats.raw import RawFormat, open_raw
from npdata.sources.many_files.file_list import SEPARATOR, split_member
from npdata.sources.many_files.find_files import is_pattern
from npdata.sources.names import naturally_sorted
from npdata.sources.open import Identified, identify, open_source
from npdata.sources.paths import SUFFIXES, require_local

RAW_SUFFIXES = (".bin", ".raw", ".dat")


def files_of(text: str, raw: RawFormat | None) -> list[str]:
    """Give the files that a path, a folder or a glob names, each with its member, if any.

    Folders that a glob matches are passed over, as by `npdata.stack`. Raises `UsageError` for a
    folder or a glob without a file.
    """
    path, member = split_member(text)
    if not path:
        require_local(path)
    names: list[str] = []
    if Path(path).is_dir():
        if foreign_file(path) is not None:
            raise UsageError(f"{path}: {undescribed(path)}")
        suffixes = SUFFIXES if raw is None else RAW_SUFFIXES
        found = (p for p in Path(path).rglob("*") if p.suffix.lower() in suffixes)
        names = naturally_sorted(str(file) for file in found if file.is_file())
        if not names:
            raise UsageError(
                f"{path} holds no file that ends in {', '.join(suffixes)}; a glob names others, as "
                f"'{path}/*.nc'"
            )
    elif is_pattern(path):
        # Path.glob takes no absolute pattern.
        matching = glob.glob(path, recursive=True)  # noqa: PTH207
        names = naturally_sorted(
            name for name in matching if not Path(name).is_dir() or foreign_file(name) is not None
        )
        if not names and (matching or "*" in path):
            inside = f", only folders: their files are '{path}/*'" if matching else ""
            raise UsageError(f"{path} names no file{inside}")
    behind = "" if member is None else f"{SEPARATOR}{member}"
    return [name + behind for name in names] or [text]


def identified(text: str, raw: RawFormat | None) -> Identified:
    """Identify one file; `UsageError` where `raw` describes what says itself what it holds.

    Raises what `identify` does.
    """
    found = identify(text)
    if raw is not None and found.format != "raw":
        raise UsageError(f"--dtype is for raw files, and {text} is {found.format}")
    return found


def opened(text: str, raw: RawFormat | None) -> Source:
    """Open one array: as `raw` says where its file says nothing, else as `open_source` does."""
    if raw is not None and identify(text).format == "raw":
        return open_raw(text, *raw)
    return open_source(text)


def undescribed(path: str) -> str:
    """Say what a file of no format that is read is, or how to describe it as raw binary."""
    what = foreign_file(path)
    if what is not None:
        return f"it is {what}"
    return (
        "it is neither .npy nor .npz nor HDF5; for raw binary say what it holds, as in "
        "--dtype float32 --shape=-1,28,28"
    )
