"""Where the rows of decoded chunks lie, for as long as these chunks are held.

Idea: a table by the number of a chunk, from which the places of any rows are a few operations.
Invariant: a chunk is held before it is in the table, and is in it for good: whoever holds the table
may read what it points to. Limit: rows that lie whole in a chunk.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import ByteRows
from npdata.sources.hdf5.chunks.memory import Chunk

WORD = 16
"""The most bytes that torch copies as one element."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Memory from address `low` to `high`, ready for rows to be gathered from; it holds nothing."""

    low: int
    high: int
    rows: ByteRows
    width: int
    """The words of a row."""

    @classmethod
    def of(cls, low: int, high: int, row_bytes: int) -> Self:
        """Prepare memory for rows that begin at multiples of the largest word that fits them."""
        step = math.gcd(row_bytes, WORD)
        rows = ByteRows.between(low, high, row_bytes, step=step)
        return cls(low=low, high=high, rows=rows, width=row_bytes // step)


class ChunkPlaces:
    """Chunks by number, and where the rows of each lie in `span`; any thread can add some.

    `origins` has for each chunk of a source the word where row `end` would lie, were all rows where
    those of that chunk are: above 0, and 0 for a chunk that is not there.

    Examples:
        >>> chunk = Chunk(np.arange(8, dtype=np.uint8))
        >>> span = Span.of(chunk.address, chunk.address + 8, row_bytes=2)
        >>> places = ChunkPlaces(span, count=3, chunk_rows=4)
        >>> places.add([1], [chunk])
        >>> places.missing(np.array([1, 2])).tolist()
        [2]
        >>> places.starts(np.array([1, 1]), np.array([4, 7])).tolist()
        [0, 3]
    """

    def __init__(self, span: Span, count: int, chunk_rows: int) -> None:
        """Begin with none of the `count` chunks, of `chunk_rows` rows each."""
        self.span = span
        self.chunks: dict[int, Chunk] = {}
        self.origins = np.zeros(count, np.int64)  # takes no memory where none is written
        self._count = count
        self._end = count * chunk_rows
        self._chunk_words = chunk_rows * span.width

    def add(self, numbers: Iterable[int], chunks: Iterable[Chunk]) -> None:
        """Hold these chunks too, and then note where they lie; one that is there stays."""
        low, step = self.span.low, self.span.rows.step
        for number, chunk in zip(numbers, chunks, strict=True):
            held = self.chunks.setdefault(number, chunk)
            behind = (self._count - number) * self._chunk_words
            self.origins[number] = (held.address - low) // step + behind

    def missing(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give those of these chunks that are not there."""
        missing: NDArray[np.int64] = numbers[self.origins.take(numbers) == 0]
        return missing

    def starts(self, numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the words where `rows` begin, which lie in these chunks, all of them there."""
        starts = self.origins.take(numbers)
        starts += (rows - self._end) * self.span.width
        return starts
