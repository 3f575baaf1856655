"""Many arrays at a glance: kinds of arrays that are stored alike, of which one is looked at.

Idea: names that differ in their numbers alone, or by many neighbours, are one pattern; arrays of a
pattern with the same dtype, number of axes and storage are one kind. Invariant: nothing but headers
is read, and every array is counted in one kind or named among the failures.
"""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from npdata.cli.console import UsageError, interrupts_wait
from npdata.cli.raw import RawLayout, undescribed
from npdata.errors import FormatError, MemberNotFoundError, NpdataError
from npdata.sources.file_list import SEPARATOR
from npdata.sources.foreign import foreign_file
from npdata.sources.hdf5.catalog import Brief, brief_datasets
from npdata.sources.npy import read_header
from npdata.sources.npz import examine_npz, npz_members
from npdata.sources.open import Identified, identify

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")
RAW_SUFFIXES = (".bin", ".raw", ".dat")
MOST_NEIGHBOURS = 20
"""More names than these in one place become one `*`."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Arrays that are stored alike: how many, their sizes along each axis, and the largest one.

    `low` and `high` are the smallest and the largest size along each axis, None for what has no
    rows. `exact` says whether `npdata.stack` finds these arrays by the pattern, and no others.
    """

    pattern: str
    count: int
    low: tuple[int, ...] | None
    high: tuple[int, ...] | None
    nbytes: int
    stored_bytes: int
    largest: str
    brief: Brief
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The arrays, each with what `npdata.open_source` takes, and files that cannot be read."""

    arrays: tuple[tuple[str, Brief], ...]
    failures: tuple[tuple[str, str], ...]
    formats: frozenset[str]


def expanded(texts: Sequence[str], raw: RawLayout | None) -> list[str]:
    """Give the files that paths, folders and globs name, each with its member, if any.

    Raises `UsageError` for a folder or a glob without a file.
    """
    return [each for text in texts for each in _expanded(text, raw)]


def survey(texts: Sequence[str], raw: RawLayout | None) -> Survey:
    """Look at the headers of files; raises for what is not there, as `examine` does."""
    arrays: list[tuple[str, Brief]] = []
    failures: list[tuple[str, str]] = []
    formats = set()
    for text in texts:
        with interrupts_wait():
            try:
                found = identify(text)
                formats.add(found.format)
                prefix = (
                    found.path if found.format in ("npy", "raw") else f"{found.path}{SEPARATOR}"
                )
                arrays += [(f"{prefix}{brief.name}", brief) for brief in _briefs(found, raw)]
            except (FileNotFoundError, NotADirectoryError, MemberNotFoundError):
                raise
            except (NpdataError, OSError) as error:
                failures.append((text, str(error).removeprefix(text).lstrip(": ")))
    return Survey(arrays=tuple(arrays), failures=tuple(failures), formats=frozenset(formats))


def kinds_of(arrays: Sequence[tuple[str, Brief]]) -> list[Kind]:
    """Sort arrays into kinds, in the order in which they first appear.

    Examples:
        >>> brief = Brief(name="", shape=(4, 3), dtype=np.dtype("f4"), storage="C order")
        >>> (kind,) = kinds_of([("a1.npy", brief), ("a2.npy", brief)])
        >>> kind.pattern, kind.count
        ('a*.npy', 2)
    """
    names = patterns_of([where for where, _ in arrays])
    kinds: dict[tuple[object, ...], list[tuple[str, Brief]]] = {}
    for name, (where, brief) in zip(names, arrays, strict=True):
        axes = None if brief.shape is None else len(brief.shape)
        key = (name, axes, str(brief.dtype), brief.storage, brief.filters)
        kinds.setdefault(key, []).append((where, brief))
    keys = [key[0] for key in kinds]
    return [
        _kind(str(key[0]), members, alone=keys.count(key[0]) == 1) for key, members in kinds.items()
    ]


def patterns_of(names: Sequence[str]) -> list[str]:
    """Give the pattern of each name: `*` in place of what differs among many neighbours.

    Examples:
        >>> patterns_of(["d.h5::demo_0/x", "d.h5::demo_17/x", "d.h5::mask1"])
        ['d.h5::demo_*/x', 'd.h5::demo_*/x', 'd.h5::mask1']
    """
    parts = [re.split(f"(/|{SEPARATOR})", name) for name in names]
    patterns = [""] * len(names)

    def fill(members: list[int], depth: int) -> None:
        neighbours: dict[str, list[int]] = {}
        for member in members:
            if depth < len(parts[member]):
                name = PurePath(parts[member][depth])
                starred = f"{_NUMBER.sub('*', name.stem)}{name.suffix}"
                neighbours.setdefault(starred, []).append(member)
        many = len(neighbours) > MOST_NEIGHBOURS
        merged: dict[str, list[int]] = {}
        for starred, alike in neighbours.items():
            part = parts[alike[0]][depth]
            if many:
                part = f"*{PurePath(part).suffix}"
            elif any(parts[member][depth] != part for member in alike):
                part = starred
            merged.setdefault(part, []).extend(alike)
        for part, alike in merged.items():
            for member in alike:
                patterns[member] += part
            fill(alike, depth + 1)

    if names:
        fill(list(range(len(names))), 0)
    return patterns


def _expanded(text: str, raw: RawLayout | None) -> list[str]:
    path, separator, member = text.partition(SEPARATOR)
    names = []
    if Path(path).is_dir():
        suffixes = SUFFIXES if raw is None else RAW_SUFFIXES
        files = sorted(p for p in Path(path).rglob("*") if p.suffix.lower() in suffixes)
        names = [str(file) for file in files if file.is_file()]
        if foreign_file(path) is not None:
            raise UsageError(f"{path}: {undescribed(path)}")
        if not names:
            raise UsageError(f"{path} holds no file that ends in {', '.join(suffixes)}")
    elif glob.has_magic(path) and not Path(path).exists():
        # Path.glob takes no absolute pattern.
        names = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
        if not names and "*" in path:
            raise UsageError(f"{path} names no file")
    return [f"{name}{separator}{member}" for name in names] or [text]


def _where(path: str, name: str) -> str:
    return f"{path}{SEPARATOR}{name}" if name else path


def _briefs(found: Identified, raw: RawLayout | None) -> list[Brief]:
    if found.format == "hdf5":
        return brief_datasets(found.path, found.member or "")
    if found.format == "npz":
        names = [found.member] if found.member else npz_members(found.path)
        return [_member(found.path, name) for name in names]
    if found.format == "raw":
        if raw is None:
            raise FormatError(undescribed(found.path))
        source = raw.open(found.path)
        source.close()
        return [Brief(name="", shape=source.shape, dtype=source.dtype, storage="C order")]
    with Path(found.path).open("rb") as stream:
        header = read_header(stream, found.path)
    order = "Fortran order" if header.fortran else "C order"
    return [Brief(name="", shape=header.shape, dtype=header.dtype, storage=order)]


def _member(path: str, name: str) -> Brief:
    member = examine_npz(path, name)
    return Brief(
        name=name,
        shape=member.source.shape,
        dtype=member.source.dtype,
        storage="Fortran order" if member.fortran else "C order",
        filters=(member.method,) if member.method else (),
        stored_bytes=member.stored_bytes,
    )


def _kind(pattern: str, members: Sequence[tuple[str, Brief]], *, alone: bool) -> Kind:
    files = {where.partition(SEPARATOR)[0] for where, _ in members}
    path = pattern.partition(SEPARATOR)[0]
    shapes = [brief.shape for _, brief in members if brief.shape is not None]
    where, largest = max(members, key=lambda member: member[1].nbytes)
    return Kind(
        pattern=pattern if len(members) > 1 else where,
        count=len(members),
        low=tuple(map(min, zip(*shapes, strict=True))) if shapes else None,
        high=tuple(map(max, zip(*shapes, strict=True))) if shapes else None,
        nbytes=sum(brief.nbytes for _, brief in members),
        stored_bytes=sum(
            brief.nbytes if brief.stored_bytes is None else brief.stored_bytes
            for _, brief in members
        ),
        largest=where,
        brief=largest,
        exact=alone and path.endswith(SUFFIXES) and _count(path) == len(files),
    )


def _count(path: str) -> int:
    return sum(1 for _ in glob.iglob(path)) if "*" in path else 1  # noqa: PTH207
