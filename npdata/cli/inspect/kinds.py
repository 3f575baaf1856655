"""Many arrays at a glance: kinds of arrays that are stored alike.

Idea: names that differ in their numbers alone, or by many neighbours, are one pattern; arrays of a
pattern with the same dtype, number of axes and storage are one kind. Invariant: every array is
counted in one kind.
"""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

from npdata.cli.console import count_text, shape_text
from npdata.cli.inspect.examine import SUFFIXES
from npdata.cli.inspect.report import DatasetReport
from npdata.sources.many_files.file_list import SEPARATOR

MOST_NEIGHBOURS = 20
"""More names than these in one place become one `*`."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Arrays that are stored alike.

    `exact` says whether `npdata.stack` finds these arrays by the pattern, and no others.
    """

    pattern: str
    members: tuple[DatasetReport, ...]
    exact: bool

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of those arrays that have one."""
        return [each.stored.shape for each in self.members if each.stored is not None]

    @cached_property
    def nbytes(self) -> int:
        """The bytes of all arrays, decoded."""
        return sum(map(_nbytes, self.members))

    @cached_property
    def stored_bytes(self) -> int:
        """The bytes of all arrays in their files."""
        return sum(each.stored.stored_bytes for each in self.members if each.stored is not None)

    @cached_property
    def largest(self) -> DatasetReport:
        """The largest of the arrays."""
        return max(self.members, key=_nbytes)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do about an array, or what makes one dataset of many."""
        if len(self.members) == 1:
            return self.largest.advice
        readable = all(each.stored is not None and not each.refusal for each in self.members)
        if not readable or not self.exact:
            return ()
        shapes = set(self.shapes)
        if len(shapes) == 1:
            count = count_text(len(self.members), "sample")
            return (
                f"one sample per array: npdata.stack({self.pattern!r}) is a dataset of {count} of "
                f"{shape_text(shapes.pop())}",
            )
        if len({shape[1:] for shape in shapes}) == 1:
            text = f"npdata.concatenate({self.pattern!r}) is a dataset of all rows"
            return (f"rows in many arrays: {text}",)
        return ()


def kinds_of(arrays: Sequence[DatasetReport]) -> list[Kind]:
    """Sort arrays into kinds, in the order in which they first appear.

    Examples:
        >>> one, two = DatasetReport(where="a1.npy", name=None), DatasetReport(where="a2.npy",
        ...                                                                    name=None)
        >>> (kind,) = kinds_of([one, two])
        >>> kind.pattern, len(kind.members)
        ('a*.npy', 2)
    """
    names = patterns_of([each.where for each in arrays])
    kinds: dict[tuple[object, ...], list[DatasetReport]] = {}
    for name, each in zip(names, arrays, strict=True):
        alike: tuple[object, ...] = ()
        if (stored := each.stored) is not None:
            filters = tuple(step.name for step in stored.filters)
            alike = (len(stored.shape), stored.dtype, stored.layout, filters)
        kinds.setdefault((name, alike), []).append(each)
    patterns = [pattern for pattern, _ in kinds]
    return [
        Kind(
            pattern=str(pattern) if len(members) > 1 else members[0].where,
            members=tuple(members),
            exact=patterns.count(pattern) == 1 and _names_only(str(pattern), members),
        )
        for (pattern, _), members in kinds.items()
    ]


def patterns_of(names: Sequence[str]) -> list[str]:
    """Give the pattern of each name: `*` in place of what differs among many neighbours.

    Examples:
        >>> patterns_of(["d.h5::demo_0/x", "d.h5::demo_17/x", "d.h5::mask1"])
        ['d.h5::demo_*/x', 'd.h5::demo_*/x', 'd.h5::mask1']
    """
    parts = [re.split(f"(/|{SEPARATOR})", name) for name in names]
    starred = {part: _starred(part) for part in {part for split in parts for part in split}}
    patterns = [""] * len(names)

    def fill(members: list[int], depth: int) -> None:
        neighbours: dict[str, list[int]] = {}
        for member in members:
            if depth < len(parts[member]):
                neighbours.setdefault(starred[parts[member][depth]], []).append(member)
        many = len(neighbours) > MOST_NEIGHBOURS
        merged: dict[str, list[int]] = {}
        for pattern, alike in neighbours.items():
            part = parts[alike[0]][depth]
            if many:
                part = f"*{PurePath(part).suffix}"
            elif any(parts[member][depth] != part for member in alike):
                part = pattern
            merged.setdefault(part, []).extend(alike)
        for part, alike in merged.items():
            for member in alike:
                patterns[member] += part
            fill(alike, depth + 1)

    if names:
        fill(list(range(len(names))), 0)
    return patterns


def _starred(part: str) -> str:
    name = PurePath(part)
    return f"{_NUMBER.sub('*', name.stem)}{name.suffix}"


def _nbytes(array: DatasetReport) -> int:
    return 0 if array.stored is None else array.stored.nbytes


def _names_only(pattern: str, members: Sequence[DatasetReport]) -> bool:
    """Say whether the files that the pattern names are those of the arrays."""
    path = pattern.partition(SEPARATOR)[0]
    files = {each.where.partition(SEPARATOR)[0] for each in members}
    found = sum(1 for _ in glob.iglob(path)) if "*" in path else 1  # noqa: PTH207
    return path.endswith(SUFFIXES) and found == len(files)
