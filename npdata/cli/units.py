"""Numbers for people: bytes, counts and shapes as text, and sizes that a user types.

Idea: decimal units (1 GB is 10**9 bytes), three digits. Invariant: what `byte_size` reads,
whole numbers of bytes, is never rounded. JSON has plain numbers and none of this.
"""

import argparse
import re
from collections.abc import Sequence
from fractions import Fraction

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)(b?)", re.IGNORECASE)


def bytes_text(count: float) -> str:
    """Give a number of bytes in three digits.

    Examples:
        >>> bytes_text(0), bytes_text(784), bytes_text(999_600), bytes_text(3.2108e9)
        ('0 B', '784 B', '1 MB', '3.21 GB')
    """
    value, prefix = float(count), 0
    while float(f"{value:.3g}") >= 1000 and prefix < len(_PREFIXES) - 1:
        value, prefix = value / 1000, prefix + 1
    return f"{float(f'{value:.3g}'):g} {_PREFIXES[prefix]}B"


def count_text(count: int, noun: str = "") -> str:
    """Give a count with its noun, in the plural where it is not 1.

    Examples:
        >>> count_text(1, "row"), count_text(4096, "row"), count_text(4096)
        ('1 row', '4,096 rows', '4,096')
    """
    if not noun:
        return f"{count:,}"
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shape_text(shape: Sequence[int]) -> str:
    """Give the sizes of an array.

    Examples:
        >>> shape_text((60000, 28, 28))
        '60,000×28×28'
    """
    return "×".join(f"{size:,}" for size in shape)


def byte_size(text: str) -> int:
    """Read a size as people type it, in bytes: the `type=` of an option such as `--memory`.

    `k`, `M`, `G`, `T` are powers of 1000, `Ki`, `Mi`, `Gi`, `Ti` of 1024; a B may follow.

    Examples:
        >>> byte_size("4096"), byte_size("512MB"), byte_size("1.5 GiB")
        (4096, 512000000, 1610612736)
        >>> byte_size("much")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: 'much' is no size; give bytes, or as in 512MB or 1.5GiB
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; give bytes, or as in 512MB or 1.5GiB"
        )
    power = "kmgtp".index(match[2].lower()) + 1 if match[2] else 0
    return int(Fraction(match[1]) * (1024 if match[3] else 1000) ** power)
