"""What writes a kind of file: one class for each, called in the same order.

Idea: the costly part of a block (compressing it, copying it to its place) is done by any thread,
the rest by one thread, in the order of the rows. Invariant: a writer writes to the path it is
given and nowhere else; a file that is not finished is closed by `abandon`. It decides nothing, and
reads no source.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from npdata.arrays.dtypes import DType

ALIGNMENT = 64
"""Rows in one piece begin at a multiple of so many bytes, so that they can be used in place."""
ZLIB_LEVEL = 4
"""The level of zlib where none was asked for."""


@dataclass(frozen=True, kw_only=True)
class Array:
    """An array by its name in the target, its shape and its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: DType

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return self.shape[0] * self.row_bytes


@dataclass(frozen=True, kw_only=True)
class FieldPlan(Array):
    """How one array is written.

    `block_rows` rows are read and handed on at a time, of which all but the last block have as
    many. `chunk_shape` is that of an HDF5 dataset, None for one that lies in one piece;
    `compression` is None, or the level of gzip (0 for the fastest that is installed).
    """

    block_rows: int
    chunk_shape: tuple[int, ...] | None = None
    compression: int | None = None


class Writer(ABC):
    """Writes the arrays of a file, one after the other.

    For each: `begin`, then for each block of rows `prepare` in any thread and `accept` in one
    thread in order, then `end`. At last `finish`, or after a failure `abandon`.
    """

    format: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    holds_many: ClassVar[bool] = False
    """Whether a file holds several arrays, by name."""
    has_chunks: ClassVar[bool] = False
    compresses: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def refusal(dtype: DType) -> str | None:
        """Say why the format cannot hold a dtype exactly; None where it can."""

    @abstractmethod
    def __init__(self, path: Path) -> None:
        """Write to `path`, an empty file that is there."""

    @abstractmethod
    def begin(self, field: FieldPlan) -> None:
        """Start an array."""

    @abstractmethod
    def prepare(self, first: int, rows: NDArray[Any]) -> Any:
        """Do what can be done in any thread for the rows from row `first` on."""

    def accept(self, first: int, prepared: Any) -> None:  # noqa: B027
        """Take what `prepare` gave, in order; `rows` may be used again after that."""

    def end(self) -> None:  # noqa: B027
        """Complete the array."""

    @abstractmethod
    def finish(self) -> None:
        """Complete and close the file."""

    @abstractmethod
    def abandon(self) -> None:
        """Close the file as it is; never raises."""
