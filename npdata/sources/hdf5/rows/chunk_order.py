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
        aligned = cut == 0 or self.lengths[cut] % self.chunk[cut] == 0
        size = self.chunk[cut] if aligned else self.lengths[cut]
        wide = (self.chunk if aligned else places)[cut] * math.prod(places[cut + 1 :])
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


class ChunkOrderSource(DerivedSource):
    """The rows that `order` numbers, of chunks whose `rows` are laid end to end."""

    def __init__(self, rows: Source, order: ChunkOrder) -> None:
        super().__init__(rows)
        self.shape = (order.count, *rows.shape[1:])
        self._order = order

    borders: Any = Source.borders

    @property
    def blocks(self) -> Blocks:
        """Rows that follow one another, by what the memory for decoded chunks holds."""
        return self._order.blocks(self.rows.rows_in_memory)

    @property
    def rows_in_memory(self) -> int | None:
        """What of its rows the memory for decoded chunks holds, by their share of the chunks."""
        held = self.rows.rows_in_memory
        return None if held is None else self._order.rows_held(held)

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
