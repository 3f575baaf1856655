"""Many arrays at a glance: kinds of arrays that are stored alike.

Idea: names that differ in their numbers alone, or by many neighbours, are one pattern; arrays of a
pattern with the same dtype, number of axes and storage are one kind. Invariant: every array is
counted in one kind.
"""

import glob
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import PurePath

from npdata.cli.console import count_text, shape_text
from npdata.cli.inspect.report import DatasetReport, FileReport
from npdata.runtime.made_once import made_once
from npdata.sources.many_files.file_list import SEPARATOR
from npdata.sources.paths import SUFFIXES

MOST_ARRAYS = 50
"""More arrays than these are summed up."""
MOST_NEIGHBOURS = 20
"""More names than these in one place become one `*`."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Arrays that are stored alike.

    `exact` says whether `npdata.stack` finds these arrays by the pattern, and no others.
    """

    pattern: str
    members: tuple[DatasetReport, ...]
    exact: bool = False

    @made_once
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of those arrays that have one."""
        return [each.stored.shape for each in self.members if each.stored is not None]

    @made_once
    def nbytes(self) -> int:
        """The bytes of all arrays, decoded."""
        return sum(each.nbytes for each in self.members)

    @made_once
    def stored_bytes(self) -> int:
        """The bytes of all arrays in their files."""
        return sum(each.stored.stored_bytes for each in self.members if each.stored is not None)

    @made_once
    def largest(self) -> DatasetReport:
        """The largest of the arrays."""
        return max(self.members, key=lambda each: each.nbytes)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do about an array, or what makes one dataset of many."""
        if len(self.members) == 1:
            return self.largest.advice
        if not self.exact or not all(each.readable for each in self.members):
            return ()
        if len(set(self.shapes)) == 1:
            count, shape = count_text(len(self.members), "sample"), shape_text(self.shapes[0])
            call = f"npdata.stack({self.pattern!r})"
            each = "file" if "*" in self.pattern.partition(SEPARATOR)[0] else "dataset"
            return (f"one sample per {each}, {count} of {shape}: use\n{call}",)
        if len({shape[1:] for shape in self.shapes}) == 1:
            call = f"npdata.concatenate({self.pattern!r})"
            return (f"rows in many arrays: use\n{call}",)
        return ()


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What of files is shown: their `arrays`, each a kind by itself, or `summed` up in few.

    `indexes` counts the arrays of PyTables' indexes, which are left out, and `failed` the files
    that could not be inspected.
    """

    arrays: tuple[DatasetReport, ...]
    kinds: tuple[Kind, ...]
    summed: bool
    indexes: int
    failed: int


def overview(reports: Sequence[FileReport]) -> Overview:
    """Decide what is shown of files; where arrays are summed up, the largest kinds come first."""
    every = [dataset for report in reports for dataset in report.datasets]
    arrays = [each for each in every if not each.is_index] or every
    failed = sum(report.failure is not None for report in reports)
    summed = len(arrays) + failed > MOST_ARRAYS
    kinds = [Kind(pattern=each.where, members=(each,)) for each in arrays]
    if summed:
        kinds = sorted(kinds_of(arrays), key=lambda kind: -kind.nbytes)
    return Overview(
        arrays=tuple(arrays),
        kinds=tuple(kinds),
        summed=summed,
        indexes=len(every) - len(arrays),
        failed=failed,
    )


def kinds_of(arrays: Sequence[DatasetReport]) -> list[Kind]:
    """Sort arrays into kinds, in the order in which they first appear.

    Examples:
        >>> (kind,) = kinds_of([DatasetReport(where="a1.npy"), DatasetReport(where="a2.npy")])
        >>> kind.pattern, len(kind.members)
        ('a*.npy', 2)
    """
    kinds: dict[tuple[str, object], list[DatasetReport]] = defaultdict(list)
    for pattern, each in zip(patterns_of([e.where for e in arrays]), arrays, strict=True):
        alike: object = None
        if (stored := each.stored) is not None:
            filters = tuple(step.name for step in stored.filters)
            alike = len(stored.shape), stored.dtype, stored.layout, filters
        kinds[pattern, alike].append(each)
    patterns = [pattern for pattern, _ in kinds]
    return [
        Kind(
            pattern=pattern if len(members) > 1 else members[0].where,
            members=tuple(members),
            exact=patterns.count(pattern) == 1 and _names_only(pattern, members),
        )
        for (pattern, _), members in kinds.items()
    ]


def patterns_of(names: Sequence[str]) -> list[str]:
    """Give the pattern of each name: `*` in place of what differs among many neighbours.

    Examples:
        >>> patterns_of(["d.h5::demo_0/x", "d.h5::demo_17/x", "d.h5::mask1"])
        ['d.h5::demo_*/x', 'd.h5::demo_*/x', 'd.h5::mask1']
    """
    split = [re.split(f"(/|{SEPARATOR})", name) for name in names]
    starred = {part: _starred(part) for part in set().union(*split)}
    patterns = [""] * len(names)
    for parts in zip_longest(*split):
        neighbours: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        together = list(zip(patterns, parts, strict=True))
        for above, part in together:
            if part is not None:
                neighbours[above][starred[part]].add(part)
        patterns = [
            above if part is None else above + _pattern(part, starred[part], neighbours[above])
            for above, part in together
        ]
    return patterns


def _pattern(part: str, starred: str, neighbours: Mapping[str, set[str]]) -> str:
    """Give what stands for a part of a name; `neighbours` are the parts in its place, starred."""
    if len(neighbours) > MOST_NEIGHBOURS:
        return f"*{PurePath(part).suffix}"
    return starred if len(neighbours[starred]) > 1 else part


def _starred(part: str) -> str:
    name = PurePath(part)
    return re.sub(r"\d+", "*", name.stem) + name.suffix


def _names_only(pattern: str, members: Sequence[DatasetReport]) -> bool:
    """Say whether the files that the pattern names are those of the arrays."""
    path = pattern.partition(SEPARATOR)[0]
    files = {each.where.partition(SEPARATOR)[0] for each in members}
    found = sum(1 for _ in glob.iglob(path)) if "*" in path else 1  # noqa: PTH207
    return path.endswith(SUFFIXES) and found == len(files)
