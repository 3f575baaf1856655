"""How much memory and how many threads decoded chunks get, in all and in each process.

Idea: a total, which an environment variable may set, divided among the workers of a DataLoader.
Invariant: no process gets nothing. It allocates nothing itself.
"""

import os
import re
from fractions import Fraction

from npdata.errors import SettingError

CACHE_BYTES = 256 << 20
"""The budget of a process without DataLoader workers, and of all workers of a DataLoader."""
BUDGET_VARIABLE = "NPDATA_CACHE_BYTES"

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)(b?)", re.IGNORECASE)


def default_budget() -> int:
    """Give the bytes that all workers together may hold: what was asked for, or 256 MiB."""
    asked = asked_budget()
    return CACHE_BYTES if asked is None else asked


def asked_budget() -> int | None:
    """Give what `NPDATA_CACHE_BYTES` says, in bytes, or None where it is not set.

    Raises `SettingError` (a ValueError) where it holds no size.
    """
    text = os.environ.get(BUDGET_VARIABLE, "").strip()
    if not text:
        return None
    try:
        return read_size(text)
    except ValueError as error:
        raise SettingError(f"the environment variable {BUDGET_VARIABLE}: {error}") from None


def read_size(text: str) -> int:
    """Read a size as people type it, in bytes; ValueError for what is none.

    `k`, `M`, `G`, `T` are powers of 1000, `Ki`, `Mi`, `Gi`, `Ti` of 1024; a B may follow.

    Examples:
        >>> read_size("4096"), read_size("8GB"), read_size("512 MiB")
        (4096, 8000000000, 536870912)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"{text!r} is no size; give bytes, or as in 512MB or 1.5GiB")
    power = "kmgtp".index(match[2].lower()) + 1 if match[2] else 0
    return int(Fraction(match[1]) * (1024 if match[3] else 1000) ** power)


def share(total: int, workers: int | None) -> int:
    """Give this process its part of a budget or a number of threads.

    Examples:
        >>> share(256, None), share(256, 4), share(2, 4)
        (256, 64, 1)
    """
    return max(1, total // (workers or 1))
