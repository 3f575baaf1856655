"""The rows along several axes of a dataset in chunks, read by what reads its chunks.

Idea: the rows below are those of the chunks, end to end, and an order says which of them comes.
Invariant: rows that chunks have beside the dataset are never asked for.
"""

from typing import Any

from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import Ints
from npdata.runtime.lazy_torch import torch
from npdata.sources.base import Source
from npdata.sources.cache.cache import Keep
from npdata.sources.derived.base import DerivedSource
from npdata.sources.hdf5.examine.chunk_order import ChunkOrder


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
