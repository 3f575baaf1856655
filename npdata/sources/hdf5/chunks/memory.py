"""Memory for decoded chunks, which is used again only when nothing refers to its chunk any more.

Idea: fresh memory costs the system a page fault for each 4 KiB, about a third of what inflating the
chunk costs, so the memory of chunks that are gone is kept for the next ones. A weak reference
reports when a `Chunk` is gone. Invariant: memory under a living `Chunk` belongs to no other, and a
chunk is never written to. It decides nothing about which chunk is kept, and takes no lock: one
thread at a time may call it.
"""

import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import address_of, memory_at_a_line


class Chunk:
    """The bytes of one decoded chunk: whole, read-only, and in place for as long as this lives.

    `used` is the time of its last use, or of its decoding.
    """

    __slots__ = ("__weakref__", "address", "data", "used")

    def __init__(self, data: NDArray[np.uint8]) -> None:
        """Take over bytes that nobody writes to any more."""
        data.flags.writeable = False
        self.data = data
        self.address = address_of(data)
        self.used = 0


class ChunkMemory:
    """Memory for chunks within `budget` bytes; `used` counts living chunks, spare ones, and rest.

    Examples:
        >>> memory = ChunkMemory(100)
        >>> chunk = memory.chunk(memory.take(80))
        >>> memory.take(80) is None, memory.used
        (True, 80)
        >>> del chunk
        >>> memory.reclaim(), memory.take(80).nbytes
        (1, 80)
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self._of: dict[weakref.ref[Chunk], NDArray[np.uint8]] = {}
        self._gone: deque[weakref.ref[Chunk]] = deque()
        self._spare: dict[int, list[NDArray[np.uint8]]] = {}

    def take(self, nbytes: int) -> NDArray[np.uint8] | None:
        """Give memory to decode into; None where the budget has no room."""
        same = self._spare.get(nbytes)
        if same:
            return same.pop()
        if self.used + nbytes > self.budget:
            self.drop_spare()
        return None if self.used + nbytes > self.budget else self.beyond(nbytes)

    def beyond(self, nbytes: int) -> NDArray[np.uint8]:
        """Give memory to decode into, whether or not the budget has room."""
        memory = memory_at_a_line(nbytes)
        self.used += nbytes
        return memory

    def chunk(self, memory: NDArray[np.uint8]) -> Chunk:
        """Make what was decoded into `memory` a chunk."""
        chunk = Chunk(memory[:])
        self._of[weakref.ref(chunk, self._gone.append)] = memory
        return chunk

    def give_back(self, memory: NDArray[np.uint8]) -> None:
        """Take memory back that no chunk is made of, for the next one if it is in the budget."""
        if self.used > self.budget:
            self.used -= memory.nbytes
        else:
            self._spare.setdefault(memory.nbytes, []).append(memory)

    def reclaim(self) -> int:
        """Make the memory of chunks that are gone spare; gives how many those were."""
        count = 0
        while self._gone:
            self.give_back(self._of.pop(self._gone.popleft()))
            count += 1
        return count

    def drop_spare(self) -> None:
        """Give what is spare back to the system."""
        self.used -= sum(nbytes * len(spare) for nbytes, spare in self._spare.items())
        self._spare.clear()
