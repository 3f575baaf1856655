"""What a command is, and what its exit code means.

Idea: a command is a value: a name, a sentence, its arguments and what runs them; `main` knows
nothing else of it. Invariant: 0 is success, 1 a check that failed or work that could not be done,
2 wrong usage, which also covers paths that are not there. It prints nothing itself.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

SUCCESS, FAILED, USAGE = 0, 1, 2
INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""


class UsageError(Exception):
    """What was asked for cannot be meant; the message says what to ask for instead."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """`add_arguments` fills the parser, `run` does the work and gives the exit code."""

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
