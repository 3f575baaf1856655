"""Where a command prints: a terminal, or a pipe or file that gets plain text.

Idea: rich draws, and belongs to the extra `cli`; JSON needs nothing. Invariant: what goes into a
pipe has no colour codes and no line broken for the width of a screen that is not there; names of
files are never taken for markup or for commands to a terminal, and print whatever they are. What
is printed is the command's own.
"""

import io
import json
import os
import re
import sys
from typing import Any

from npdata.errors import require

_NO_SCREEN = 10_000
"""Columns where nobody looks at a screen: enough for any table."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def new_console(*, stderr: bool = False) -> Any:
    """Give a `rich.console.Console` on the standard output, or error output (for progress).

    Its width is that of the terminal, or of `COLUMNS` where that is set, and unbounded in a pipe.
    Raises `MissingExtraError` (an ImportError) without rich.
    """
    rich = require("rich.console", extra="cli", purpose="output other than --json")
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        # A file's name may hold what the encoding of the output has not.
        stream.reconfigure(errors="replace")
    screen = stream.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return rich.Console(
        file=stream,
        width=None if screen else _NO_SCREEN,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_json(value: object) -> None:
    """Print plain values (dicts, lists, strings, numbers) as JSON, for machines.

    Examples:
        >>> print_json({"rows": 3})
        {
          "rows": 3
        }
    """
    print(json.dumps(value, indent=2, allow_nan=False))


def printable(text: str) -> str:
    r"""Give a name or a message on one line, with what controls a terminal as an escape.

    Examples:
        >>> printable("grün\x1b[31m\n")
        'grün\\x1b[31m\\n'
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
