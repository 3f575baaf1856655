"""The entry of the command line: which command, and how it ends.

Idea: a literal table of commands. Invariant: an error that a user can cause is text on the
standard error output, one line unless it lists what is wrong, and an exit code, never a traceback;
Ctrl-C ends with 130. What a command does is its own.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from npdata.cli.bench.command import BENCH
from npdata.cli.cache import CACHE
from npdata.cli.console import (
    FAILED,
    INTERRUPTED,
    USAGE,
    Command,
    UsageError,
    ends_once,
    printable,
)
from npdata.cli.convert.command import CONVERT
from npdata.cli.inspect.command import INSPECT
from npdata.errors import MemberNotFoundError, NpdataError

COMMANDS: tuple[Command, ...] = (INSPECT, CONVERT, BENCH, CACHE)
WRONG = (
    UsageError,
    FileNotFoundError,
    NotADirectoryError,
    IsADirectoryError,
    MemberNotFoundError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code; wrong usage leaves by SystemExit(2), as argparse does.

    Examples:
        >>> main(["--version"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    name = "npdata"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks must not end what is done already.
            stream.reconfigure(errors="backslashreplace")
    try:
        parsed = _parser().parse_args(arguments)
        command: Command = parsed.command
        name = f"npdata {command.name}"
        with ends_once():
            code = command.run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _failed(name, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has enough, as `head` does; nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except WRONG as error:
        return _failed(name, error, USAGE)
    except (NpdataError, OSError) as error:
        return _failed(name, error, FAILED)
    return code


def _failed(name: str, why: str | Exception, code: int) -> int:
    print(f"{name}: {_message(why)}", file=sys.stderr)
    return code


def _message(why: str | Exception) -> str:
    """Give the path and the reason of an OSError as other commands write them."""
    if isinstance(why, OSError) and why.strerror and why.filename is not None:
        return f"{printable(os.fsdecode(why.filename))}: {why.strerror}"
    return "\n".join(map(printable, str(why).split("\n")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="npdata", description="Arrays in files, for training with PyTorch."
    )
    parser.add_argument("--version", action="version", version=f"npdata {version('npdata')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.summary, description=command.summary)
        command.add_arguments(own)
        own.set_defaults(command=command)
    return parser
