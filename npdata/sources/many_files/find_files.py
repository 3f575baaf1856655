"""Which files a user means: a glob, a folder, a list of names, or a text file of them.

Idea: whatever names files becomes one `FileList`, in natural order where the user gave none.
Invariant: what finds nothing, finds a file twice, or finds kinds of files that do not belong
together is refused here, by name. `file::member` names what is meant in each file; a member may
hold wildcards too. It reads nothing but folders, lists of names, and names of members.
"""

import codecs
import errno
import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from npdata.arrays.indexing import is_scalar
from npdata.errors import FieldError, FormatError, MemberNotFoundError, UnsupportedSourceError, an
from npdata.sources.formats.foreign import refuse_foreign
from npdata.sources.formats.npz import npz_members
from npdata.sources.hdf5.catalog import dataset_names, dataset_names_like
from npdata.sources.many_files.file_list import SEPARATOR, FileList, searched_from, split_member
from npdata.sources.names import naturally_sorted, refuse_any_depth, some_of
from npdata.sources.paths import SUFFIXES, require_local

Files: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

LIST_SUFFIX = ".txt"


def find_files(files: Files) -> FileList:
    """Give the files that `files` names.

    A glob (`**` too) and a folder (all arrays below it) give natural order; a list, or a `.txt`
    with one name a line (seen from the folder of the `.txt`), its own. Raises `FieldError` where
    nothing is found or a file comes twice, `FileNotFoundError`, `FormatError` for a folder of
    several formats, `MemberNotFoundError`, and `UnsupportedSourceError` for what names no files.

    Examples:
        >>> list(find_files("*.npy")), list(find_files("d.h5::[xy]"))
        (['x.npy', 'y.npy'], ['d.h5::x', 'd.h5::y'])
    """
    if not isinstance(files, str | os.PathLike):
        names = _listed(files)
        _require_once(names)
        return _of(names)
    text = os.fsdecode(files)
    path, member = split_member(text)
    if member is None and is_pattern(path):
        found = FileList.of(_matching(path))
    else:
        found = _of(_expanded(text))
    if is_pattern(path):
        found.searched = searched_from(path), path, member
    elif Path(path).is_dir():
        found.searched = os.path.join(path, ""), "", member  # noqa: PTH118
    elif member is not None and glob.has_magic(member) and not path.endswith(LIST_SUFFIX):
        found.searched = found.root, path, member
    return found


Names: TypeAlias = list[tuple[str, str | None]]


def _of(names: Names) -> FileList:
    members = [member for _, member in names]
    named = any(member is not None for member in members)
    return FileList.of([name for name, _ in names], members if named else None)


def _listed(files: Sequence[str | os.PathLike[str]]) -> Names:
    no_order = isinstance(files, dict | set | frozenset | bytes)
    is_dataset = hasattr(files, "__getitems__")
    if no_order or is_dataset or not hasattr(files, "__iter__") or is_scalar(files):
        raise _no_files(files)
    names: Names = []
    for each in files:
        if not isinstance(each, str | os.PathLike):
            raise _no_files(each)
        text = os.fsdecode(each)
        searched = is_pattern(text) or text.startswith("~") or "://" in text
        names += _expanded(text) if searched else [split_member(text)]
    if not names:
        raise FieldError("an empty list of files makes no dataset")
    return names


def _expanded(text: str) -> Names:
    path, member = split_member(text)
    if not path:
        require_local(path)
    if Path(path).is_dir():
        found = _below(path, member)
    elif not is_pattern(path):
        require_local(path)
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if path.endswith(LIST_SUFFIX):
            each = (
                [(name, own)] if own is not None else _with_members([name], member)
                for name, own in _named_in(path)
            )
            return [name for some in each for name in some]
        found = [path]
    else:
        found = _matching(path)
    return _with_members(found, member)


def _matching(pattern: str) -> list[str]:
    folder, name = os.path.split(pattern)
    if "**" in pattern or glob.has_magic(folder):
        found = matching = glob.glob(pattern, recursive=True)  # noqa: PTH207
    else:  # 100,000 names take 0.1 s in place of 0.3, as nothing looks at each path
        start = os.path.join(folder, "")  # noqa: PTH118
        found = matching = [start + each for each in glob.glob(name, root_dir=folder or None)]  # noqa: PTH207
    if not pattern.endswith(SUFFIXES):
        found = [path for path in found if not Path(path).is_dir()]
    if not found:
        if pattern.startswith("~") or "$" in pattern or "://" in pattern:
            require_local(pattern)
        seen = "" if Path(pattern).is_absolute() else f", seen from {Path.cwd()}"
        inside = f", only folders: their files are {pattern + '/*'!r}" if matching else seen
        if "{" in pattern:
            inside += "; braces stand for themselves: a list of globs names files of several kinds"
        raise FieldError(f"no file matches {pattern!r}{inside}")
    if "**" in pattern:
        found = _once(found, searched_from(pattern))
    return naturally_sorted(found)


def _once(paths: list[str], start: str) -> list[str]:
    """Leave out what links lead to again; the name without a link stays, else the shortest."""
    known: dict[str, tuple[str, bool, int]] = {}
    named: dict[tuple[str, str], list[tuple[bool, int, str]]] = {}
    above = os.path.realpath(start)
    for path in paths:
        before, slash, name = path.rpartition("/")
        folder = before + slash
        if folder not in known:
            real = os.path.realpath(folder)
            straight = os.path.normpath(os.path.join(above, folder[len(start) :]))  # noqa: PTH118
            known[folder] = real, straight != real, folder.count("/")
        real, linked, depth = known[folder]
        named.setdefault((real, name), []).append((linked, depth, path))
    return [min(names)[-1] for names in named.values()]


def _below(folder: str, member: str | None) -> list[str]:
    wanted = SUFFIXES[1:] if member is not None else SUFFIXES
    found = naturally_sorted(path for path in _walk(folder) if path.lower().endswith(wanted))
    if not found:
        refuse_foreign(folder)
        raise FieldError(f"{folder} holds no array: nothing below it ends with {', '.join(wanted)}")
    kinds: dict[str, str] = {}
    for path in found:
        suffix = next(suffix for suffix in SUFFIXES if path.lower().endswith(suffix))
        kinds.setdefault(".h5" if suffix == ".hdf5" else suffix, path)
    if len(kinds) > 1:
        shown = " and ".join(f"{kind} ({path})" for kind, path in kinds.items())
        raise FormatError(
            f"{folder} holds files of several formats, {shown}; name those that belong together "
            f"by a glob, such as {os.path.join(folder, '**', '*' + min(kinds))!r}"  # noqa: PTH118
        )
    return found


def _walk(folder: str) -> Iterator[str]:
    """Give the files at any depth, also behind links to folders; each folder once.

    A folder that is below has its own name, whatever links lead to it.
    """
    waiting, links, seen = [folder], list[str](), set()
    while waiting or links:
        links.sort(reverse=True)
        status = os.stat(here := (waiting or links).pop())  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_symlink() and Path(entry.path).is_dir():
                    links.append(entry.path)
                else:
                    yield entry.path


def _named_in(path: str) -> Names:
    folder = path[: path.rfind("/") + 1]
    # Names are bytes to the system: of any encoding, and a line ends nowhere but at its end.
    lines = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    if any(b"\0" in line for line in lines):
        raise FormatError(f"{path} has null bytes, as text in UTF-16 has; save it as UTF-8")
    given = [os.fsdecode(line.strip()) for line in lines if line.strip()]
    texts = [os.path.join(folder, name) for name in given]  # noqa: PTH118
    if not texts:
        raise FieldError(f"{path} names no file; it has one name a line")
    names = [split_member(text) for text in texts]
    if not Path(names[0][0]).exists():
        reason = (
            f"no such file; {path} names it, and names in a .txt are seen from its folder: else "
            "give them as a list"
        )
        raise FileNotFoundError(errno.ENOENT, reason, names[0][0])
    _require_once(names)
    return names


def _with_members(paths: list[str], member: str | None) -> Names:
    if member is None or not glob.has_magic(member):
        return [(path, member) for path in paths]
    inside = {path: _members(path, member) for path in paths}
    found: Names = [(path, each) for path, members in inside.items() for each in members]
    without = [path for path, members in inside.items() if not members]
    if found and without:
        more = f", nor of {len(without) - 1} more files" if len(without) > 1 else ""
        raise MemberNotFoundError(
            f"no member of {without[0]} matches {member!r}{more}, and those of {found[0][0]} do; "
            f"give the files that have some as a list, [{found[0][0] + SEPARATOR + member!r}, ...]"
        )
    if not found:
        table, dot, column = member.rpartition(".")
        records = dot and any(_members(path, table) for path in paths)
        cure = f"; a column of records is {table!r} with columns={column!r}"
        if not records:
            there = some_of(_all_members(paths[0]), 6)
            cure = f": it has {there}, and a wildcard stands for no /" if there else ""
        raise MemberNotFoundError(f"no member of {paths[0]} or the others matches {member!r}{cure}")
    return found


def _members(path: str, pattern: str) -> list[str]:
    pattern = pattern.strip("/")
    if not _is_npz(path):
        return dataset_names_like(path, pattern)
    known = npz_members(path)
    if pattern in known:
        return [pattern]
    refuse_any_depth(pattern)
    return naturally_sorted(
        name
        for name in known
        if name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)
    )


def _all_members(path: str) -> Sequence[str]:
    return npz_members(path) if _is_npz(path) else dataset_names(path)


def _is_npz(path: str) -> bool:
    return path.lower().endswith(".npz")


def is_pattern(text: str) -> bool:
    """Tell whether a text is a glob, and no file or folder of that name."""
    return glob.has_magic(text) and not Path(text).exists()


def _require_once(names: Names) -> None:
    known: set[tuple[str, str | None]] = set()
    for path, member in names:
        key = (os.path.normpath(path), member)
        if key in known:
            shown = path if member is None else f"{path}{SEPARATOR}{member}"
            twice = f"{shown} comes twice among the files, and so would its rows; "
            if Path(path).exists():
                twice += (
                    "name it once: torch.utils.data.Subset(dataset, rows) has a row as often as "
                    "rows has its number"
                )
            else:
                twice += (
                    "and no such file is there: labels come by label_from=, or beside the files, "
                    "NumpyDataset(image=npdata.stack(files), label=numbers)"
                )
            raise FieldError(twice)
        known.add(key)


def _no_files(given: object) -> UnsupportedSourceError:
    if isinstance(given, bytes):
        return UnsupportedSourceError("a path as bytes: give it as text, os.fsdecode(path)")
    return UnsupportedSourceError(
        f"{an(type(given).__name__)} names no files; give a glob, a folder, a list of paths or a "
        ".txt with one path a line; an array in memory is a field beside them, "
        "NumpyDataset(image=npdata.stack(files), label=labels)"
    )
