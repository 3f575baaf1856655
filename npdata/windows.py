"""One lane of a block shuffle: which row is at a position of it.

Idea: think of every block as if it were as large as the largest ("padded"). Then block slot and
window of a padded address are two divisions, and a true position differs from its padded address
only by the rows that short blocks before it miss, which a binary search in the short list gives.
A position is found in its window, permuted inside the window, and that place found in its block.
Invariant: the positions [0, length) reach every row of the lane's blocks once. This module deals
no blocks and makes no keys.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from npdata.bijection import Permutations
from npdata.layout import Layout

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lane:
    """Every `lanes`-th slot of the sequence of blocks, from `number` on, in windows.

    `short_slots` are the lane's slots that hold short blocks, `short_ends` the positions where
    these end, `missing` the rows missing up to the k-th of them (one longer, from 0 on).
    """

    layout: Layout
    number: int
    lanes: int
    window_blocks: int
    length: int
    short_slots: Ints
    short_ends: Ints
    missing: Ints
    blocks: Permutations | None
    within: Permutations | None

    @classmethod
    def of(
        cls,
        layout: Layout,
        *,
        number: int,
        lanes: int,
        window_blocks: int,
        short: tuple[Ints, Ints],
        blocks: Permutations | None,
        within: Permutations | None,
    ) -> Self:
        """Give lane `number`; `short` has the slots of short blocks, ascending, and their gaps."""
        slots = len(range(number, layout.count, lanes))
        own = short[0] % lanes == number
        short_slots, missing = short[0][own] // lanes, np.append(0, np.cumsum(short[1][own]))
        return cls(
            layout=layout,
            number=number,
            lanes=lanes,
            window_blocks=max(1, min(window_blocks, slots)),
            length=slots * layout.size - int(missing[-1]),
            short_slots=short_slots,
            short_ends=(short_slots + 1) * layout.size - missing[1:],
            missing=missing,
            blocks=blocks,
            within=within,
        )

    def rows(self, positions: Ints) -> Ints:
        """Give the rows at positions of the lane, each in [0, length)."""
        if len(positions) == 0:
            return positions
        if self.within is None:
            return self._at(positions)
        window_rows = self.window_blocks * self.layout.size
        window_of = self._padded(positions)
        window_of //= window_rows
        firsts = np.append(0, np.flatnonzero(window_of[1:] != window_of[:-1]) + 1)
        windows = window_of[firsts]
        del window_of
        counts = np.diff(np.append(firsts, len(positions)))
        starts, ends = self._start(windows), self._start(windows + 1)
        offsets = positions - np.repeat(starts, counts)
        shuffled = self.within.many(
            offsets,
            sizes=np.minimum(ends, self.length) - starts,
            members=windows * self.lanes + self.number,
            counts=counts,
        )
        shuffled += np.repeat(starts, counts)
        return self._at(shuffled)

    def _start(self, windows: Ints) -> Ints:
        """Give the position where each window starts."""
        slots = windows * self.window_blocks
        return slots * self.layout.size - self.missing[np.searchsorted(self.short_slots, slots)]

    def _padded(self, positions: Ints) -> Ints:
        """Give the addresses of positions, were all blocks as large as the largest."""
        low, high = np.searchsorted(self.short_ends, [positions.min(), positions.max()], "right")
        if low == high:
            return positions + int(self.missing[low])
        before = np.searchsorted(self.short_ends[low:high], positions, side="right")
        missing: Ints = self.missing[low + before]
        return positions + missing

    def _at(self, positions: Ints) -> Ints:
        """Give the rows at positions of the lane before any window is shuffled."""
        rows = self._padded(positions)
        slots = rows // self.layout.size
        rows -= slots * self.layout.size
        first, last = int(slots.min()), int(slots.max())
        if last - first < len(positions):
            slots -= first
            rows += self._first_rows(np.arange(first, last + 1))[slots]
        else:
            rows += self._first_rows(slots)
        return rows

    def _first_rows(self, slots: Ints) -> Ints:
        blocks = slots * self.lanes + self.number
        if self.blocks is not None:
            blocks = self.blocks.one(blocks, self.layout.count)
        return self.layout.first_rows(blocks)
