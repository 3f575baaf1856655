"""The chunks that the chunk cache holds, of all sources, and which of them goes for the next.

Idea: what was not used for the longest goes first. What was decoded ahead stays until it is used,
or until other chunks that are to be decoded ahead need its room. Invariant: a chunk that goes
leaves what readers look up at once, and its memory is used again when nobody holds it any more. It
decodes nothing and takes no lock: one thread at a time may call it.
"""

from collections import OrderedDict, deque
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.chunks.memory import Chunk, ChunkMemory
from npdata.sources.hdf5.chunks.source_chunks import Key


class HeldChunks:
    """Chunks in `memory`, each until it goes.

    Examples:
        >>> from npdata.sources.hdf5.chunks.source_chunks import SourceChunks
        >>> chunks, held = SourceChunks(80, print), HeldChunks(ChunkMemory(160))
        >>> for number in (7, 8):
        ...     held.hold((chunks, number), held.memory.chunk(held.room(80)), ahead=False)
        >>> chunks.ready[7].used = 2  # it was read, and 8 was not
        >>> held.room(80).nbytes, list(chunks.ready)
        (80, [7])
    """

    def __init__(self, memory: ChunkMemory) -> None:
        self.memory = memory
        self._held: dict[Key, Chunk] = {}
        self._oldest: deque[tuple[Key, int]] = deque()
        """Chunks with the time of their last use when this was sorted by it."""
        self._ahead: OrderedDict[Key, int] = OrderedDict()
        """Chunks that were decoded before anyone asked, with the time of it."""
        self._ahead_bytes = 0

    def hold(self, key: Key, chunk: Chunk, *, ahead: bool) -> None:
        """Hold a chunk that was decoded, `ahead` of anyone who asked or not, and show it."""
        chunks, number = key
        self._held[key] = chunk
        if ahead:
            self._ahead[key] = chunk.used
            self._ahead_bytes += chunk.data.nbytes
        chunks.ready[number] = chunk

    def drop(self, key: Key) -> None:
        """Let a chunk go."""
        chunks, number = key
        chunks.drop(number)
        self._held.pop(key, None)
        self._unprotect(key)

    def clear(self) -> None:
        """Let all chunks go."""
        for chunks in {key[0] for key in self._held}:
            chunks.clear()
        for books in (self._held, self._oldest, self._ahead):
            books.clear()
        self._ahead_bytes = 0

    def limit_ahead(self, most: int) -> None:
        """Protect at most so many bytes that were decoded ahead, and none that was used."""
        if self._ahead_bytes > most:
            self._unprotect_used()
        while self._ahead and self._ahead_bytes > most:
            self._unprotect(next(iter(self._ahead)))

    def room(self, nbytes: int, *, ahead: bool = False) -> NDArray[np.uint8] | None:
        """Take memory for a chunk, dropping chunks that were not used for long; None: no room.

        A chunk that somebody holds is still there when it was dropped. The budget is left for one,
        since to drop more would empty the cache while all are held for a moment. What is decoded
        `ahead` takes nothing that somebody reads.
        """
        self.memory.reclaim()
        still_there = 0
        while (memory := self.memory.take(nbytes)) is None and still_there < nbytes:
            victim = self._victim()
            if victim is None and not ahead and self._ahead:
                victim = next(reversed(self._ahead))
            if victim is None:
                return None
            self.drop(victim)
            if self.memory.reclaim() == 0:
                if ahead:
                    return None
                still_there += victim[0].nbytes
        return memory

    def _victim(self) -> Key | None:
        """Give the chunk that was not used for the longest, but none that was decoded ahead."""
        for _ in range(2):
            while self._oldest:
                key, used = self._oldest.popleft()
                if key in self._held and self._held[key].used == used and key not in self._ahead:
                    return key
            # All that is decoded or used from now on is newer than what stands in this list.
            self._unprotect_used()
            times = ((key, chunk.used) for key, chunk in self._held.items())
            self._oldest.extend(sorted(times, key=itemgetter(1)))
        return None

    def _unprotect_used(self) -> None:
        for key in [key for key, used in self._ahead.items() if self._held[key].used > used]:
            self._unprotect(key)

    def _unprotect(self, key: Key) -> None:
        if self._ahead.pop(key, None) is not None:
            self._ahead_bytes -= key[0].nbytes
