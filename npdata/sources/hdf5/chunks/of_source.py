"""The decoded chunks of one source, by number: what readers find, and how one is decoded.

Idea: a reader looks a chunk up in a dict, without a lock; only the threads of the chunk cache put
chunks in and take them out, each by one operation of a dict or an attribute. Invariant: it refers
to no source, which is closed when nothing refers to it any more.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.chunks.memory import Chunk
from npdata.sources.hdf5.chunks.places import ChunkPlaces

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
