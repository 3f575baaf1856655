"""The entry of the command line: which command, and how it ends.

Idea: a table of modules, of which the one asked for is imported: `bench` needs torch, and to look
at a file needs none. Each has `add_arguments(parser)` and `run(arguments)`, which gives the exit
code. Invariant: an error that a user can cause is text on the
standard error output, one line unless it lists what is wrong, and an exit code, never a traceback;
Ctrl-C ends with 130.
"""

import argparse
import importlib
import io
import itertools
import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, TextIO

from npdata.cli.console import FAILED, INTERRUPTED, USAGE, UsageError, printable
from npdata.cli.signals import ends_once, interrupts_wait
from npdata.errors import MemberNotFoundError, NpdataError
from npdata.suggestions import did_you_mean

COMMANDS = {
    "inspect": (
        "npdata.cli.inspect.command",
        "Show how arrays in files are stored and read, what random access costs, what to do.",
    ),
    "convert": (
        "npdata.cli.convert.command",
        "Write arrays from .npy, .npz, HDF5 or raw files into another kind of file.",
    ),
    "bench": (
        "npdata.cli.bench.command",
        "Measure how fast this machine reads the rows for training, and recommend settings.",
    ),
    "cache": ("npdata.cli.cache", "List what a folder of decoded rows keeps, or remove it."),
}
WRONG = (UsageError, FileNotFoundError, NotADirectoryError, IsADirectoryError, MemberNotFoundError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code; wrong usage is SystemExit(2), as argparse has it."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    name = " ".join(["npdata", *(word for word in words[:1] if word in COMMANDS)])
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks must not end what is done already.
            stream.reconfigure(errors="backslashreplace")
    try:
        with ends_once():
            parsed = _parsed(words)
            code: int = parsed.run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _failed(name, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        _drop_unwritten(sys.stdout)  # whoever read it has enough, as `head` does
        return FAILED
    except WRONG as error:
        return _failed(name, error, USAGE)
    except (NpdataError, OSError) as error:
        return _failed(name, error, FAILED)
    return code


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """Understand what was typed; wrong usage is SystemExit(2) or `UsageError`."""
    with interrupts_wait():  # h5py loses what ends a program, also while it is imported
        parser = _parser(words[:1])
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        parser.error(_no_command(words))
    _refuse_dashes(words)
    parsed, unknown = parser.parse_known_args(words or ["--help"])
    if unknown:
        options = re.findall(r"--\w[\w-]*", parsed.parser.format_help())
        meant = did_you_mean(unknown[0].partition("=")[0], options, "")
        parsed.parser.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
    return parsed


class _Parser(argparse.ArgumentParser):
    """Raises the OSError of help that cannot be written, which argparse swallows."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            print(message, end="", flush=True)
        else:
            super()._print_message(message, file)
            _drop_unwritten(sys.stderr)


def _drop_unwritten(stream: TextIO) -> None:
    """Let what cannot be written go nowhere: Python would try again at its end, and give 120."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_closed_streams() -> None:
    """Let what is printed go nowhere where `>&-` closed a stream.

    A file that is opened later would get its number, and take what a library writes there.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, io.StringIO())


def _failed(name: str, why: str | Exception, code: int) -> int:
    _drop_unwritten(sys.stdout)
    with suppress(OSError):  # a full disk, or nobody who reads
        print(f"{name}: {_message(why)}", file=sys.stderr, flush=True)
    _drop_unwritten(sys.stderr)
    return code


def _message(why: str | Exception) -> str:
    """Give the path and the reason of an OSError as other commands write them."""
    if isinstance(why, OSError) and why.strerror:
        where = f"{printable(os.fsdecode(why.filename))}: " if why.filename else ""
        return f"{where}{why.strerror}"
    return "\n".join(map(printable, str(why).split("\n")))


def _no_command(words: Sequence[str]) -> str:
    if os.path.exists(words[0]):  # noqa: PTH110
        return f"{words[0]!r} is no command: write npdata inspect {shlex.join(words)}"
    meant = did_you_mean(words[0], COMMANDS, "") or f"; there are {', '.join(COMMANDS)}"
    return f"{words[0]!r} is no command{meant}"


def _refuse_dashes(words: Sequence[str]) -> None:
    """Raise `UsageError` for a file that looks like options, as a glob of the shell may give."""
    for word in itertools.takewhile(lambda word: word != "--", words):
        if word.startswith("-") and os.path.exists(word.partition("::")[0]):  # noqa: PTH110
            raise UsageError(
                f"{word} would be options, and is a file: write {shlex.quote(f'./{word}')}"
            )


def _parser(asked: Sequence[str]) -> argparse.ArgumentParser:
    """Give the parser of all commands, with the arguments of those asked for."""
    parser = _Parser(prog="npdata", description="Arrays in files, for training with PyTorch.")
    parser.add_argument("--version", action="version", version=f"npdata {version('npdata')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        own = commands.add_parser(name, help=summary, description=summary)
        if name in asked:
            command = importlib.import_module(module)
            command.add_arguments(own)
            own.set_defaults(run=command.run, parser=own)
    return parser
