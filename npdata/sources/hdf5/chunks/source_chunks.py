"""The decoded chunks of one source, by number: what readers find, and how one is decoded.

Idea: a reader looks a chunk up in a dict, without a lock; only the threads of the chunk cache put
chunks in and take them out, each by one operation of a dict or an attribute. Where the chunks lie
that reads found is a table, from which the places of any rows are a few operations. Invariant: a
chunk is held before it is in the table, and is in it for good: whoever holds the table may read
what it points to. It refers to no source, which is closed when nothing refers to it any more.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import ByteRows
from npdata.sources.hdf5.chunks.memory import Chunk


class ChunkPlaces:
    """Chunks by number, and where rows whole in one of them are in `rows`; any thread adds some.

    `origins` has for each chunk of a source the word where row `end` would lie, were all rows where
    those of that chunk are: above 0, and 0 for a chunk that is not there.

    Examples:
        >>> chunk = Chunk(np.arange(8, dtype=np.uint8))
        >>> rows = ByteRows.between(chunk.address, chunk.address + 8, 2)
        >>> places = ChunkPlaces(rows, count=3, chunk_rows=4)
        >>> places.add([1], [chunk])
        >>> places.missing(np.array([1, 2])).tolist()
        [2]
        >>> places.starts(np.array([1, 1]), np.array([4, 7])).tolist()
        [0, 3]
    """

    def __init__(self, rows: ByteRows, count: int, chunk_rows: int) -> None:
        """Begin with none of the `count` chunks, of `chunk_rows` rows each."""
        self.rows = rows
        self.chunks: dict[int, Chunk] = {}
        self.origins = np.zeros(count, np.int64)  # takes no memory where none is written
        self._count = count
        self._end = count * chunk_rows
        self._chunk_words = chunk_rows * rows.width

    def add(self, numbers: Iterable[int], chunks: Iterable[Chunk]) -> None:
        """Hold these chunks too, and then note where they lie; one that is there stays."""
        low, step = self.rows.low, self.rows.step
        for number, chunk in zip(numbers, chunks, strict=True):
            held = self.chunks.setdefault(number, chunk)
            behind = (self._count - number) * self._chunk_words
            self.origins[number] = (held.address - low) // step + behind

    def missing(self, numbers: Ints) -> Ints:
        """Give those of these chunks that are not there."""
        missing: Ints = numbers[self.origins.take(numbers) == 0]
        return missing

    def starts(self, numbers: Ints, rows: Ints) -> Ints:
        """Give the words where `rows` begin, which lie in these chunks, all of them there."""
        starts = self.origins.take(numbers)
        starts += (rows - self._end) * self.rows.width
        return starts


DecodeChunk: TypeAlias = Callable[[int, NDArray[np.uint8], bool], Chunk | None]
"""Decodes chunk `number` into memory; the last argument is True for a prefetched chunk.

A chunk that it gives lies elsewhere, in memory that needs none of the budget.
"""


class SourceChunks:
    """The chunks of one source, of `nbytes` bytes each; `ready` are those in the cache."""

    def __init__(self, nbytes: int, decode: DecodeChunk) -> None:
        self.nbytes = nbytes
        self.decode = decode
        self.ready: dict[int, Chunk] = {}
        self.near: ChunkPlaces | None = None
        """Where chunks lie that reads found, all of them ready."""
        self.decoded = 0
        self.closed = False

    def keep_near(self, places: ChunkPlaces, added: list[int]) -> None:
        """Keep chunks at hand, to which some were added, unless one was dropped meanwhile."""
        if self.near is not places:
            self.near, added = places, list(places.chunks)
        chunks, ready = places.chunks, self.ready
        if self.closed or any(ready.get(number) is not chunks[number] for number in added):
            self.near = None

    def drop(self, number: int) -> None:
        """Drop a chunk; first from what is ready, then from what is at hand."""
        self.ready.pop(number, None)
        near = self.near
        if near is not None and near.origins[number]:
            self.near = None

    def clear(self) -> None:
        """Drop all chunks."""
        self.ready.clear()
        self.near = None


Key: TypeAlias = tuple[SourceChunks, int]
"""One chunk: of which source, and its number."""
