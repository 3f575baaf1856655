"""Names of files and groups: in natural order, by the parts that set them apart, some of many.

Idea: for the order, each run of digits gets its length in front, so that texts compare as their
numbers do: `x2` comes before `x10`. Of `data/demo_1/pos` and `data/demo_2/pos` the parts are
`demo_1` and `demo_2`. Invariant: an order without ties: names whose numbers are equal (`x1`, `x01`)
are ordered as text; and folder by folder, whatever the signs inside their names. Parts between
slashes stay whole. Pure functions.
"""

import fnmatch
import itertools
import re
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from npdata.errors import FieldError

_DIGITS = re.compile("0*([0-9]+)")
_AFTER_DIGITS = re.compile("[^0-9]*$")
_WILDCARDS = re.compile(r"(\*\*/|\*|\?|\[!?.[^]]*\])")
_FORMS = {"**/": "((?:.*/)?)", "*": "([^/]*)", "?": "([^/])"}


def natural_key(name: str) -> tuple[str, str]:
    r"""Give what to compare in place of `name`.

    Examples:
        >>> natural_key("a/x010.npy")[0]
        'a\x00x0\x0210.npy'
    """
    return _DIGITS.sub(_number, name.replace("/", "\0")), name


def naturally_sorted(names: Iterable[str]) -> list[str]:
    """Give the names in natural order.

    Examples:
        >>> naturally_sorted(["x10", "x2", "a/x1"])
        ['a/x1', 'x2', 'x10']
    """
    names = sorted(names)
    # 100,000 names take 0.4 s by keys, and 0.05 s where they differ in one number.
    place = _only_number(names)
    return sorted(names, key=natural_key if place is None else lambda name: int(name[place]))


def _only_number(names: list[str]) -> slice | None:
    """Give the place of the number in each name where sorted names differ in nothing else."""
    if len(names) < 2:
        return None
    first, last = names[0], names[-1]
    head = first[: shared([first, last])].rstrip("0123456789")
    tail = _AFTER_DIGITS.search(first)[0]  # type: ignore[index]
    place = slice(len(head), -len(tail) if tail else None)
    texts = [name[place] for name in names]
    together = "".join(texts)
    plain = all(texts) and together.isdigit() and together.isascii()
    return place if plain and all(map(str.endswith, names, repeat(tail))) else None


def _number(digits: re.Match[str]) -> str:
    number = digits[1]
    return f"0{chr(len(number))}{number}"


def refuse_any_depth(pattern: str) -> None:
    """Raise `FieldError` for `**` in the name of a dataset, whose wildcards stand for one part."""
    if "**" in pattern:
        raise FieldError(
            f"** in {pattern!r}: a wildcard in the name of a dataset stands for one part of it; "
            "write a * for each, as '*/*/x'"
        )


def some_of(names: Iterable[object], most: int) -> str:
    """List names, at most so many of them.

    Examples:
        >>> some_of(["x", "y", "z"], 3), some_of(["x", "y", "z"], 2)
        ("'x', 'y', 'z'", "'x', 'y', ...")
    """
    first = list(itertools.islice(names, most + 1))
    return ", ".join(map(repr, first[:most])) + (", ..." if len(first) > most else "")


def without_common_parts(names: Sequence[str]) -> list[str]:
    """Give names without the parts that all of them begin or end with.

    Examples:
        >>> without_common_parts(["data/demo_1/actions", "data/demo_10/actions"])
        ['demo_1', 'demo_10']
        >>> without_common_parts(["/a/x", "/a/b/x"])
        ['', 'b']
    """
    split = [name.strip("/").split("/") for name in names]
    head = shared(split)
    rest = [parts[head:] for parts in split]
    tail = shared([parts[::-1] for parts in rest])
    return ["/".join(parts[: len(parts) - tail]) for parts in rest]


def matched_by(pattern: str, names: Sequence[str]) -> list[str] | None:
    """Give what the wildcards of a glob match in each name; None where it matches not all.

    Or where what it matches is the same in two names that differ.

    Examples:
        >>> matched_by("*_[ab]/x?", ["7_a/x1", "12_b/x1"])
        ['7/a/1', '12/b/1']
        >>> matched_by("*_a", ["7_a", "7_b"])
    """
    parts = _WILDCARDS.split(pattern)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [_FORMS.get(part) or f"({fnmatch.translate(part)[:-2]})" for part in parts[1::2]]
    matches = list(map(re.compile("".join(parts), re.DOTALL).fullmatch, names))
    found = ["/".join(match.groups()) for match in matches if match]
    return found if len(set(found)) == len(set(names)) else None


def shared(names: Sequence[Any]) -> int:
    """Give how many letters all texts begin with, or parts all lists.

    Examples:
        >>> shared(["data/x1", "data/x2"]), shared([["data", "x1"], ["data", "x2"]])
        (6, 1)
    """
    first, last = min(names), max(names)  # between which all lie
    same = (k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return next(same, len(first))
