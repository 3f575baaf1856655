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

from npdata.order.bijection import Permutations
from npdata.order.layout import Layout

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
        """Give the rows at ascending positions of the lane, each in [0, length)."""
        if len(positions) == 0:
            return positions
        work = np.empty((3, len(positions)), np.int64)
        if self.within is not None:
            positions = self._shuffled(positions, self.within, work)
        return self._at(positions, work)

    def _shuffled(self, positions: Ints, within: Permutations, work: Ints) -> Ints:
        """Permute positions inside their windows."""
        offsets = work[0]
        window_of = np.empty(2, np.int64)
        self._pad(positions[[0, -1]], window_of)
        window_of //= self.window_blocks * self.layout.size
        windows = np.arange(window_of[0], window_of[1] + 1)
        starts, ends = self._start(windows), self._start(windows + 1)
        counts = np.diff(np.searchsorted(positions, ends), prepend=0)
        np.subtract(positions, np.repeat(starts, counts), out=offsets)
        shuffled = within.many(
            offsets,
            sizes=np.minimum(ends, self.length) - starts,
            members=windows * self.lanes + self.number,
            counts=counts,
        )
        shuffled += np.repeat(starts, counts)
        return shuffled

    def _start(self, windows: Ints) -> Ints:
        """Give the position where each window starts."""
        slots = windows * self.window_blocks
        return slots * self.layout.size - self.missing[np.searchsorted(self.short_slots, slots)]

    def _pad(self, positions: Ints, out: Ints) -> None:
        """Put into `out` the addresses of positions, were all blocks as large as the largest."""
        low, high = np.searchsorted(self.short_ends, [positions.min(), positions.max()], "right")
        if low == high:
            np.add(positions, int(self.missing[low]), out=out)
        else:
            before = np.searchsorted(self.short_ends[low:high], positions, side="right")
            np.add(positions, self.missing[low + before], out=out)

    def _at(self, positions: Ints, work: Ints) -> Ints:
        """Give the rows at positions of the lane before any window is shuffled."""
        padded, slots, spare = work
        self._pad(positions, padded)
        np.floor_divide(padded, self.layout.size, out=slots)
        first, last = int(slots.min()), int(slots.max())
        if last - first < len(positions):
            # What to add to the padded addresses of a slot to have its rows.
            near = np.arange(first, last + 1)
            shifts = self._first_rows(near) - near * self.layout.size
            slots -= first
            shifts.take(slots, out=spare, mode="clip")
        else:
            np.subtract(self._first_rows(slots), slots * self.layout.size, out=spare)
        rows: Ints = padded + spare
        return rows

    def _first_rows(self, slots: Ints) -> Ints:
        blocks = slots * self.lanes + self.number
        if self.blocks is not None:
            blocks = self.blocks.one(blocks, self.layout.count)
        return self.layout.first_rows(blocks)
