"""Where the chunks of one source are in the slab, as arrays that a read can look up.

Idea: a read of a few hundred rows must not touch an object for each chunk, so the places of all
chunks of a source, and the time of their last use, are two arrays, at 16 bytes a chunk; the slab
keeps an `Entry` for each chunk that it holds. Invariant: a place is shown after its bytes are
there and hidden before they can go. Only the slab, under its lock, makes and drops entries.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from npdata.sources.hdf5.cache_slots import Arena, slot_size


class Residents:
    """The `count` chunks of one source, of `chunk_bytes` bytes each.

    `places[n]` is the offset of chunk n in the memory of its arena, -1 while it is not there;
    `used[n]` is the ticket of the read that used it last. Number -1, which stands for a chunk that
    the file does not hold, has a place too, where nothing ever is.
    """

    def __init__(self, count: int, chunk_bytes: int) -> None:
        """Begin with none of them there."""
        self.slot_bytes = slot_size(chunk_bytes)
        self.places = np.full(count + 1, -1, np.int64)
        self.used = np.zeros(count + 1, np.int64)


Key: TypeAlias = tuple[Residents, int]


@dataclass(slots=True, eq=False)
class Entry:
    """One chunk in the slab: `slot` is its place in `arena`, `leases` how many hold it.

    `stamp` is the ticket of the last use that was noticed. `ahead` tells that it was decoded before
    it was asked for, and not used yet; `gone` that no new lease finds it.
    """

    key: Key
    arena: Arena
    slot: int
    stamp: int
    ahead: bool
    leases: int = 0
    ready: bool = False
    gone: bool = False
    error: Exception | None = None

    @property
    def chunks(self) -> Residents:
        """The chunks of the source that it is one of."""
        return self.key[0]

    @property
    def number(self) -> int:
        """Its place in the chunk table."""
        return self.key[1]

    @property
    def offset(self) -> int:
        """The offset of its bytes in the memory of the arena."""
        return self.slot * self.arena.slot_bytes

    @property
    def waits(self) -> bool:
        """Whether it was decoded ahead and has not been used since."""
        return self.ahead and not self.gone and self._last_use == self.stamp

    def refreshed(self) -> bool:
        """Tell whether it was used since this was asked last."""
        last = self._last_use
        # A read that began before the chunk was there may be the one that used it last.
        used = last != self.stamp
        if used:
            self.stamp, self.ahead = last, False
        return used

    @property
    def _last_use(self) -> int:
        return int(self.chunks.used[self.number])

    def show(self) -> None:
        """Let reads find it, unless it was dropped meanwhile: its bytes are there."""
        self.ready = True
        if not self.gone:
            self.chunks.places[self.number] = self.offset

    def hide(self) -> None:
        """Let no further read find it."""
        self.gone = True
        self.chunks.places[self.number] = -1
