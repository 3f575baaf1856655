"""Rows along several axes of a dataset in chunks: its first axes, as one.

Idea: to number rows chunk by chunk makes these axes one axis in chunks, as any dataset has it; so
the sources of chunks read them. Invariant: row i is that of `array.reshape(-1, ...)[i]`; rows that
chunks have beside the dataset are never asked for.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import Ints
from npdata.runtime.lazy_torch import torch
from npdata.sources.base import Source
from npdata.sources.cache.cache import Keep
from npdata.sources.derived.base import DerivedSource

IntOrInts = TypeVar("IntOrInts", int, Ints)


@dataclass(frozen=True, kw_only=True)
class ChunkOrder:
    """Rows along the first axes, `lengths`, of a dataset in chunks of `chunk` along these axes.

    The place of a row counts the rows of all chunks, one chunk after the other, and in each also
    those that lie outside the dataset.
    """

    lengths: tuple[int, ...]
    chunk: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of rows."""
        return math.prod(self.lengths)

    @property
    def chunk_rows(self) -> int:
        """The rows of a chunk."""
        return math.prod(self.chunk)

    @property
    def grid(self) -> tuple[int, ...]:
        """The chunks along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.lengths, self.chunk, strict=True))

    @property
    def _cut(self) -> int:
        """The first axis along which a chunk has more than one row; the last where none has."""
        longer = (axis for axis, size in enumerate(self.chunk) if size > 1)
        return next(longer, len(self.chunk) - 1)

    @property
    def straight(self) -> bool:
        """Whether the place of each row is its number."""
        cut = self._cut
        whole = cut == 0 or self.lengths[cut] % self.chunk[cut] == 0
        return whole and self.chunk[cut + 1 :] == self.lengths[cut + 1 :]

    def blocks(self, held: int | None) -> Blocks:
        """Give blocks of rows whose chunks have `held` rows at most, where there are such.

        Blocks of whole chunks decode each chunk once. Smaller ones are pieces of one recording, and
        decode a chunk again for each recording that it has rows of. None: of whole chunks.

        Examples:
            >>> orders = [ChunkOrder(lengths=(2, 20), chunk=c) for c in ((1, 5), (1, 6), (2, 6))]
            >>> [order.blocks(None).block_rows for order in orders]
            [(5,), (20,), (40,)]
            >>> [order.blocks(12).block_rows for order in orders]
            [(5,), (6, 6), (6, 6)]
        """
        axis = self._block_axis(held)
        inner = math.prod(self.lengths[axis + 1 :])
        size, whole = self.chunk[axis] * inner, self.lengths[axis] * inner
        if axis == 0 or not self.lengths[axis] % self.chunk[axis]:
            return Blocks.uniform(self.count, size)
        if axis == self._cut and _fits(self._wide(axis) * self.grid[axis], held):
            return Blocks.uniform(self.count, whole)  # a few numbers, where those below are many
        recordings = math.prod(self.lengths[:axis])
        return Blocks(rows=(whole,) * recordings, block_rows=(size,) * recordings)

    def times(self, held: int | None) -> int | None:
        """Give how often a chunk is decoded by such blocks, at most; None where none are so small.

        Examples:
            >>> order = ChunkOrder(lengths=(2, 20), chunk=(2, 6))
            >>> [order.times(held) for held in (None, 12, 11)]
            [1, 2, None]
        """
        axis = self._block_axis(held)
        if not _fits(self._wide(axis), held):
            return None
        pairs = zip(self.lengths[:axis], self.chunk[:axis], strict=True)
        return math.prod(min(pair) for pair in pairs)

    def _block_axis(self, held: int | None) -> int:
        """Give the first axis along which to cut blocks; the last where none is small enough."""
        axes = range(self._cut, len(self.chunk))
        return next((axis for axis in axes if _fits(self._wide(axis), held)), axes[-1])

    def _wide(self, axis: int) -> int:
        """Give the rows of all chunks of a block that is one chunk along `axis`."""
        behind = zip(self.grid[axis + 1 :], self.chunk[axis + 1 :], strict=True)
        return math.prod(self.chunk[: axis + 1]) * math.prod(g * c for g, c in behind)

    def places(self, rows: Ints) -> Ints:
        """Give where rows lie in the chunks.

        Examples:
            >>> ChunkOrder(lengths=(2, 5), chunk=(2, 3)).places(np.arange(10)).tolist()
            [0, 1, 2, 6, 7, 3, 4, 5, 9, 10]
        """
        block, within = self._found(rows)
        return block * self.chunk_rows + within

    def span(self, first: int, stop: int) -> tuple[int, int]:
        """Give the places, from the first to behind the last, of all chunks of a run of rows.

        Examples:
            >>> ChunkOrder(lengths=(2, 5), chunk=(1, 3)).span(3, 5)
            (3, 6)
        """
        if first >= stop:
            return 0, 0
        low, high = (np.unravel_index(row, self.lengths) for row in (first, stop - 1))
        alike = next((k for k, (a, b) in enumerate(zip(low, high, strict=True)) if a != b), -1)
        whole = math.prod(self.lengths[alike + 1 :]) if alike >= 0 else 1
        first, last = first // whole * whole, ((stop - 1) // whole + 1) * whole - 1
        return (
            self._found(first)[0] * self.chunk_rows,
            (self._found(last)[0] + 1) * self.chunk_rows,
        )

    def _found(self, rows: IntOrInts) -> tuple[IntOrInts, IntOrInts]:
        """Give the chunk of each row, and which of its rows that is."""
        block = within = rows * 0
        blocks = inside = 1
        for length, size, count in zip(
            reversed(self.lengths), reversed(self.chunk), reversed(self.grid), strict=True
        ):
            rows, at = divmod(rows, length)
            number, place = divmod(at, size)
            block, within = block + number * blocks, within + place * inside
            blocks, inside = blocks * count, inside * size
        return block, within


def _fits(rows: int, held: int | None) -> bool:
    return held is None or rows <= held


class ChunkOrderSource(DerivedSource):
    """The rows that `order` numbers, of chunks whose `rows` are laid end to end."""

    def __init__(self, rows: Source, order: ChunkOrder) -> None:
        super().__init__(rows)
        self.shape = (order.count, *rows.shape[1:])
        self._order = order

    borders: Any = Source.borders

    @property
    def blocks(self) -> Blocks:
        """Rows that follow one another; two blocks fit into the memory for decoded chunks."""
        held = self.rows.rows_in_memory
        return self._order.blocks(None if held is None else held // 2)

    @property
    def rows_in_memory(self) -> int | None:
        """What of its rows the memory for decoded chunks holds, by their share of the chunks."""
        held = self.rows.rows_in_memory
        return None if held is None else held * len(self) // max(1, len(self.rows))

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Gather the rows from where they lie in the chunks."""
        self.rows.read(self._order.places(indices), out)

    def select(self, indices: Ints, out: "torch.Tensor") -> bool:
        """Gather the rows into a tensor, where they are kept in place."""
        return self.rows.select(self._order.places(indices), out)

    def will_need(self, first: int, stop: int) -> None:
        """Pass it on as the chunks of these rows."""
        self.rows.will_need(*self._order.span(first, stop))

    def dont_need(self, first: int, stop: int) -> None:
        """Pass it on as the chunks of these rows."""
        self.rows.dont_need(*self._order.span(first, stop))

    def cached(self, keep: Keep) -> Source:
        """Give the same rows, of which each chunk is decoded once and kept."""
        kept = self.rows.cached(keep)
        if kept is self.rows:
            return self
        made = ChunkOrderSource(kept, self._order)
        made.tell_of(self)
        return made
