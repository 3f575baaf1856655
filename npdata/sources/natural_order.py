"""Natural order: numbers inside names count as numbers, so that `x2` comes before `x10`.

Idea: each run of digits gets its length in front, so that texts compare as their numbers do.
Invariant: an order without ties: names whose numbers are equal (`x1`, `x01`) are ordered as text;
and folder by folder, whatever the signs inside their names. Pure functions.
"""

import re
from collections.abc import Iterable

_DIGITS = re.compile("0*([0-9]+)")


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
    return sorted(names, key=natural_key)


def _number(digits: re.Match[str]) -> str:
    number = digits[1]
    return f"0{chr(len(number))}{number}"
