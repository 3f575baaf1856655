"""What commands let people type, and what they tell them to type: raw binary files, `convert`.

Idea: the same three options for every command that takes a path, and one way to refuse a text.
Invariant: a description of raw files is whole or not there; one that describes nothing is wrong
usage. Nothing is guessed, and no file is looked at.
"""

import argparse
import shlex
from collections.abc import Callable
from pathlib import PurePath
from typing import TypeVar

import numpy as np

from npdata.cli.console import UsageError
from npdata.sources.formats.raw import RawFormat
from npdata.sources.hdf5.chunks.budget import read_size

Value = TypeVar("Value")


def typed(read: Callable[[str], Value], noun: str, instead: str) -> Callable[[str], Value]:
    """Give the `type=` of an option: what `read` makes of a text, or else a sentence.

    Examples:
        >>> typed(int, "number of rows", "one, as in 256")("many")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: 'many' is no number of rows; give one, as in 256
    """

    def value(text: str) -> Value:
        try:
            return read(text)
        except (TypeError, ValueError, SyntaxError):
            raise argparse.ArgumentTypeError(f"{text!r} is no {noun}; give {instead}") from None

    return value


byte_size = typed(read_size, "size", "bytes, or as in 512MB or 1.5GiB")


def add_raw_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options `--dtype`, `--shape` and `--offset`."""
    raw = parser.add_argument_group("raw binary files")
    raw.add_argument(
        "--dtype",
        type=typed(np.dtype, "dtype", "one of NumPy's, such as float32, uint16 or >i4"),
        help="what they hold, a NumPy dtype such as float32",
    )
    raw.add_argument(
        "--shape",
        type=typed(_sizes, "shape", "sizes as in --shape=-1,28,28"),
        metavar="N,...",
        help="sizes, of which one may be -1, as in --shape=-1,28,28; else each element is a row",
    )
    raw.add_argument("--offset", type=int, metavar="BYTES", help="where the rows begin")


def raw_format(arguments: argparse.Namespace) -> RawFormat | None:
    """Give what the options say of raw files, None where they say nothing.

    Raises `UsageError` for a shape or an offset without a dtype.
    """
    if arguments.dtype is not None:
        shape = (-1,) if arguments.shape is None else arguments.shape
        return RawFormat(arguments.dtype, shape, arguments.offset or 0)
    if arguments.shape is not None or arguments.offset is not None:
        raise UsageError("--shape and --offset describe raw binary files; give --dtype as well")
    return None


def convert_command(where: str, suffix: str, *options: str) -> str:
    """Give the command for `where`, a path or `file::member`, into a file with this suffix.

    The target is named after the file and the array, and stands beside its file, so commands for
    several arrays do not collide. It is never the source; a file of that name may be there.

    Examples:
        >>> convert_command("d/photos.h5::train/images", ".npy")
        'npdata convert d/photos.h5::train/images d/photos-train-images.npy'
        >>> convert_command("x.npy", ".npy"), convert_command("-x.npz::x", ".h5", "--chunks 9")
        ('npdata convert x.npy x-rows.npy', 'npdata convert ./-x.npz::x ./-x-x.h5 --chunks 9')
    """
    if where.startswith("-"):
        where = f"./{where}"
    path, _, member = where.partition("::")
    folder = path[: len(path) - len(PurePath(path).name)]
    names = [PurePath(path).stem, *(part for part in member.split("/") if part not in ("", "."))]
    target = f"{folder}{'-'.join(names)}{suffix}"
    if target == path:
        target = f"{folder}{names[0]}-rows{suffix}"
    return " ".join(["npdata", "convert", shlex.quote(where), shlex.quote(target), *options])


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(","))
