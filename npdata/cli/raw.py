"""What a user says of raw binary files: their dtype, their shape, and where the rows begin.

Idea: the same three options for every command that takes a path. Invariant: a description is whole
or not there; one that describes nothing is wrong usage. Nothing is guessed.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from npdata.arrays.dtypes import DType
from npdata.cli.console import UsageError
from npdata.sources.base import Source
from npdata.sources.foreign import foreign_file
from npdata.sources.open import open_source


@dataclass(frozen=True, kw_only=True)
class RawLayout:
    """What raw files hold: as for `npdata.open_source`."""

    dtype: DType
    shape: tuple[int, ...]
    offset: int

    def open(self, path: str) -> Source:
        """Open a raw file; raises as `npdata.open_source`."""
        return open_source(path, dtype=self.dtype, shape=self.shape, offset=self.offset)


def undescribed(path: str) -> str:
    """Say what a file of no format that is read is, or how to describe it as raw binary."""
    what = foreign_file(path)
    if what is not None:
        return f"it is {what}"
    return (
        "it is neither .npy nor .npz nor HDF5; for raw binary say what it holds, as in "
        "--dtype float32 --shape=-1,28,28"
    )


def add_raw_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options `--dtype`, `--shape` and `--offset`."""
    raw = parser.add_argument_group("raw binary files")
    raw.add_argument("--dtype", type=_dtype, help="what they hold, a NumPy dtype such as float32")
    raw.add_argument(
        "--shape",
        type=_shape,
        metavar="N,...",
        help="sizes, of which one may be -1, as in --shape=-1,28,28; else one long row of elements",
    )
    raw.add_argument("--offset", type=int, metavar="BYTES", help="where the rows begin")


def raw_layout(arguments: argparse.Namespace) -> RawLayout | None:
    """Give what the options say, None where they say nothing.

    Raises `UsageError` for a shape or an offset without a dtype.
    """
    if arguments.dtype is not None:
        shape = (-1,) if arguments.shape is None else arguments.shape
        return RawLayout(dtype=arguments.dtype, shape=shape, offset=arguments.offset or 0)
    if arguments.shape is not None or arguments.offset is not None:
        raise UsageError("--shape and --offset describe raw binary files; give --dtype as well")
    return None


def _dtype(text: str) -> DType:
    try:
        return np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no dtype; give one of NumPy's, such as float32, uint16 or >i4"
        ) from None


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape; give sizes as in --shape=-1,28,28"
        ) from None
