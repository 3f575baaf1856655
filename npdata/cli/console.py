"""What every command shares: where and how it prints, units, exit codes.

Idea: rich draws and belongs to the extra `cli`; JSON needs nothing. Invariant: exit code 0 is
success, 1 a check that failed or work that could not be done, 2 wrong usage; a pipe gets no colour
codes and no line broken for a screen; names of files are never taken for markup or commands to a
terminal; units are decimal (1 GB is 10**9 bytes).
"""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from npdata.errors import require

SUCCESS, FAILED, USAGE = 0, 1, 2
INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""

_NO_SCREEN = 10_000
"""Columns where nobody looks at a screen: enough for any table."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


class UsageError(Exception):
    """What was asked for cannot be meant; the message says what to ask for instead."""


def new_console() -> Any:
    """Give a `rich.console.Console` on the standard output.

    Its width is that of the terminal, or of `COLUMNS` where that is set, and unbounded in a pipe.
    Raises `MissingExtraError` (an ImportError) without rich.
    """
    rich = require("rich.console", extra="cli", purpose="output other than --json")
    columns = os.environ.get("COLUMNS", "")
    screen = sys.stdout.isatty() or (columns.isdecimal() and int(columns) > 0)
    return rich.Console(
        file=sys.stdout,
        width=shutil.get_terminal_size().columns if screen else _NO_SCREEN,
        highlight=False,
        markup=False,
        emoji=False,
    )


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Give what shows on a terminal what is being done, in one line that is gone in the end.

    It draws at most ten times a second, and nothing where the error output is no terminal.
    """
    clear, drawn = "\r\x1b[K", 0.0

    def show(doing: str) -> None:
        nonlocal drawn
        if time.monotonic() - drawn > 0.1:
            drawn = time.monotonic()
            line = printable(doing)[: shutil.get_terminal_size().columns - 1]
            print(f"{clear}{line}", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield lambda doing: None
        return
    try:
        yield show
    finally:
        print(clear, end="", file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """Print dicts, lists, strings and numbers as JSON, for machines; dtypes by their names."""
    print(json.dumps(value, indent=2, allow_nan=False, default=str))


def printable(text: str) -> str:
    r"""Give a name or a message on one line, with what controls a terminal as an escape.

    Examples:
        >>> printable("grün\x1b[31m\n")
        'grün\\x1b[31m\\n'
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


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


def count_text(count: int, noun: str) -> str:
    """Give a count with its noun, in the plural where it is not 1.

    Examples:
        >>> count_text(1, "row"), count_text(4096, "row")
        ('1 row', '4,096 rows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shape_text(shape: Sequence[int]) -> str:
    """Give the sizes of an array.

    Examples:
        >>> shape_text((60000, 28, 28))
        '60,000×28×28'
    """
    return "×".join(f"{size:,}" for size in shape)
