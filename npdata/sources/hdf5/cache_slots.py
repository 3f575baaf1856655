"""Slots of one size in one run of memory, so that one gather reaches all of them.

Idea: memory is reserved for as many slots as the budget allows and used only as far as slots are
taken; a slot that is given back can be handed to the system. Invariant: a slot is given out once
until it is put back. It keeps no order and no lock: that is the slab's.
"""

import math
import mmap

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import ByteRows
from npdata.sources.file import noreserve_flag

WORD = 16
"""The most bytes that torch copies as one element."""


class Arena:
    """Up to `capacity` slots of `slot_bytes` bytes, a multiple of the page size."""

    def __init__(self, slot_bytes: int, capacity: int) -> None:
        """Reserve the memory; none of it is in use yet."""
        self.slot_bytes = slot_bytes
        self.leaving = 0
        """How many slots will be put back as soon as nobody reads them."""
        size = slot_bytes * capacity
        if hasattr(mmap, "MAP_ANONYMOUS"):
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | noreserve_flag()
            self._memory = mmap.mmap(-1, size, flags=flags)
        else:
            self._memory = mmap.mmap(-1, size)
        self._array: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)
        self._rows: dict[int, ByteRows] = {}
        self._free = list(range(capacity - 1, -1, -1))

    @property
    def free(self) -> int:
        """How many slots can be taken."""
        return len(self._free)

    def take(self) -> int:
        """Give a slot, by its number."""
        return self._free.pop()

    def put(self, slot: int, *, keep: bool) -> None:
        """Take a slot back; without `keep` its memory goes back to the system."""
        self._free.append(slot)
        if not keep and hasattr(self._memory, "madvise"):
            self._memory.madvise(mmap.MADV_DONTNEED, slot * self.slot_bytes, self.slot_bytes)

    def rows(self, row: int) -> ByteRows:
        """Give the memory of all slots, ready for rows that begin `row` bytes apart in a slot."""
        found = self._rows.get(row)
        if found is None:
            found = self._rows[row] = ByteRows.of(self._array, row, step=math.gcd(row, WORD))
        return found

    def part(self, slot: int, size: int) -> NDArray[np.uint8]:
        """Give the first `size` bytes of a slot."""
        start = slot * self.slot_bytes
        return self._array[start : start + size]


def slot_size(size: int) -> int:
    """Give the slot size for chunks of `size` bytes: whole pages."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
