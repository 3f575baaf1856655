"""Rows along several axes of a dataset in chunks, its first, as one: where each lies in the chunks.

Idea: to number rows chunk by chunk makes these axes one axis in chunks, as any dataset has it.
Invariant: every row has one place, and row i is that of `array.reshape(-1, ...)[i]`. Pure
arithmetic.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import Ints

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
    def _even(self) -> bool:
        """Whether chunks begin at the same rows in each of what lies along that axis."""
        return self._cut == 0 or self.lengths[self._cut] % self.chunk[self._cut] == 0

    @property
    def straight(self) -> bool:
        """Whether the place of each row is its number."""
        cut = self._cut
        return self._even and self.chunk[cut + 1 :] == self.lengths[cut + 1 :]

    def blocks(self, held: int | None) -> Blocks:
        """Give the blocks that are cheapest where memory holds `held` rows of chunks; None: all.

        Blocks of whole chunks decode each chunk once. Where memory does not hold those of one,
        blocks are pieces of one recording, and decode a chunk for each recording that it is of.

        Examples:
            >>> chunks = [(1, 45), (1, 46), (2, 46)]
            >>> orders = [ChunkOrder(lengths=(2, 900), chunk=chunk) for chunk in chunks]
            >>> [order.blocks(None).block_rows for order in orders]
            [(45,), (900,), (1800,)]
            >>> [order.blocks(100).block_rows for order in orders]
            [(45,), (46, 46), (46, 46)]
        """
        size, _, whole = self._block(held)
        length = self.lengths[-1]
        if whole or not self.count or not length % size:
            return Blocks.uniform(self.count, size)
        recordings = self.count // length
        return Blocks(rows=(length,) * recordings, block_rows=(size,) * recordings)

    def rows_held(self, held: int) -> int:
        """Give the rows, in such blocks, whose chunks are `held` rows.

        Examples:
            >>> ChunkOrder(lengths=(2, 900), chunk=(2, 46)).rows_held(920)
            460
        """
        size, wide, _ = self._block(held)
        return held * size // wide

    def times(self, held: int | None) -> int | None:
        """Give how often such blocks decode a chunk, at most; None where `held` is less than one.

        Examples:
            >>> order = ChunkOrder(lengths=(2, 900), chunk=(2, 46))
            >>> [order.times(held) for held in (1840, 920, 91)]
            [1, 2, None]
        """
        _, wide, whole = self._block(held)
        if held is not None and wide > held:
            return None
        return 1 if whole else math.prod(map(min, self.lengths[:-1], self.chunk[:-1]))

    def _block(self, held: int | None) -> tuple[int, int, bool]:
        """Give the rows of a block, those of all its chunks, and whether these are whole."""
        cut, places = self._cut, [g * c for g, c in zip(self.grid, self.chunk, strict=True)]
        size = self.chunk[cut] if self._even else self.lengths[cut]
        wide = (self.chunk if self._even else places)[cut] * math.prod(places[cut + 1 :])
        if held is None or wide <= held:
            return min(size, self.lengths[cut]) * math.prod(self.lengths[cut + 1 :]), wide, True
        return min(self.lengths[-1], self.chunk[-1]), self.chunk_rows, False

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
        other = (k for k, (a, b) in enumerate(zip(low, high, strict=True)) if a != b)
        whole = math.prod(self.lengths[next(other, len(low)) + 1 :])
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
