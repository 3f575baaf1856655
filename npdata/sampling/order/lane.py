"""One lane of a block shuffle: which row is at a position of it.

Idea: in "padded" addresses every block is as large as the largest, so the slot of a block is a
division; a binary search gives the rows that short blocks before a position miss. A position is
found in its window, permuted inside the window, and that place found in its block. Invariant: the
positions [0, length) reach every row of the lane's blocks once; memory grows with the positions
asked for, not with the windows between them. This module deals no blocks and makes no keys.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from npdata.arrays.dtypes import Ints
from npdata.arrays.scratch import Scratch
from npdata.sampling.order.block_layout import BlockLayout
from npdata.sampling.order.feistel import MAX_SIZE_32
from npdata.sampling.order.permutation import Permutations

FEW = 8
"""So many short blocks are skipped one by one: a comparison costs 24 µs of 65,536 positions, and a
binary search, also of one block, 300."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lane:
    """Every `lanes`-th slot of the sequence of blocks, from `number` on, in windows.

    The first `wider` windows have `narrow` + 1 slots, the others `narrow`: so the last window
    mixes as well as the first. `short_slots` are the
    lane's slots that hold short blocks, `short_ends` the positions where these end, `missing` the
    rows missing up to the k-th of them (one longer, from 0 on).
    """

    layout: BlockLayout
    number: int
    lanes: int
    narrow: int
    wider: int
    length: int
    short_slots: Ints
    short_ends: Ints
    missing: Ints
    blocks: Permutations | None
    within: Permutations | None
    scratch: Scratch = field(default_factory=Scratch)

    @classmethod
    def of(
        cls,
        layout: BlockLayout,
        *,
        number: int,
        lanes: int,
        window_blocks: int,
        short: tuple[Ints, Ints],
        blocks: Permutations | None,
        within: Permutations | None,
    ) -> Self:
        """Give lane `number`, in windows of at most `window_blocks` slots.

        `short` has the slots of short blocks, ascending, and the rows that each misses.
        """
        slots = len(range(number, layout.count, lanes))
        narrow, wider = divmod(slots, max(1, -(-slots // window_blocks)))
        own = short[0] % lanes == number
        short_slots, missing = short[0][own] // lanes, np.append(0, np.cumsum(short[1][own]))
        return cls(
            layout=layout,
            number=number,
            lanes=lanes,
            narrow=narrow,
            wider=wider,
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
        first, last = self._slots(positions[[0, -1]]).tolist()
        if self.within is None:
            return self._at(positions - self._position(first), first, last + 1)
        low, high = self._window_of(first), self._window_of(last)
        if high - low < len(positions):
            windows = np.arange(low, high + 1)
        else:
            windows = np.unique(self._window_of(self._slots(positions)))
        edges = self._first_slot(windows), self._first_slot(windows + 1)
        starts, ends = map(self._position, edges)
        stops = np.searchsorted(positions, ends)
        counts = stops - np.append(0, stops[:-1])
        start_of = starts if len(starts) == 1 else np.repeat(starts, counts)
        numbers = self.scratch.array("numbers", positions.shape, np.int64)
        shuffled = self.within.many(
            np.subtract(positions, start_of, out=numbers),
            sizes=ends - starts,
            members=windows * self.lanes + self.number,
            counts=counts,
        )
        first, last = int(edges[0][0]), int(edges[1][-1])
        word: Any = np.uint32 if (last - first) * self.layout.size < MAX_SIZE_32 else np.int64
        inside = shuffled.astype(word, copy=False)
        if len(starts) > 1:
            inside += np.repeat((starts - starts[0]).astype(inside.dtype), counts)
        return self._at(inside, first, last)

    def _slots(self, positions: Ints) -> Ints:
        """Give the slots that positions lie in, before any window is shuffled."""
        before = np.searchsorted(self.short_ends, positions, side="right")
        return (positions + self.missing[before]) // self.layout.size

    def _window_of(self, slots: Any) -> Any:
        edge = self.wider * (self.narrow + 1)
        beyond = self.wider + (slots - edge) // max(1, self.narrow)
        return np.maximum(slots // (self.narrow + 1), beyond)

    def _first_slot(self, windows: Ints) -> Ints:
        return windows * self.narrow + np.minimum(windows, self.wider)

    def _position(self, slots: Any) -> Any:
        """Give the position where each slot starts."""
        return slots * self.layout.size - self.missing[np.searchsorted(self.short_slots, slots)]

    def _at(self, inside: Any, first: int, last: int) -> Ints:
        """Give the rows of positions, which it changes, counted from the start of slot `first`.

        All lie inside the slots [first, last).
        """
        size = self.layout.size
        low, high = np.searchsorted(self.short_slots, [first, last - 1])
        self._skip_missing(inside, low, high, first * size)
        slots = self.scratch.array("numbers", inside.shape, np.int64)
        np.floor_divide(inside, inside.dtype.type(size), out=slots)
        if last - first <= len(inside):
            # What to add to the address of a slot to have its rows.
            near = np.arange(last - first)
            shifts = self._first_rows(first + near) - near * size
            rows: Ints = shifts.take(slots, mode="clip")
        else:
            rows = self._first_rows(first + slots) - slots * size
        rows += inside
        return rows

    def _skip_missing(self, positions: Any, low: int, high: int, origin: int) -> None:
        """Add what the short blocks `low` to `high` miss, to positions counted from `origin`."""
        missing = self.missing
        if high - low > FEW:
            ends = self.short_ends[low:high] + (missing[low] - origin)
            more = (missing[low : high + 1] - missing[low]).astype(positions.dtype)
            positions += more.take(np.searchsorted(ends, positions, "right"), mode="clip")
            return
        for k in range(low, high):
            word = positions.dtype.type
            beyond = positions >= word(self.short_ends[k] + missing[k] - origin)
            positions += beyond * word(missing[k + 1] - missing[k])

    def _first_rows(self, slots: Ints) -> Ints:
        blocks = slots * self.lanes + self.number
        if self.blocks is not None:
            blocks = self.blocks.one(blocks, self.layout.count)
        return self.layout.first_rows(blocks)
