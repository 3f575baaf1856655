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


@dataclass(frozen=True, kw_only=True)
class _Windows:
    """Slots in windows: the first `wider` have `narrow` + 1 slots, the others `narrow`.

    So the last window mixes as well as the first.
    """

    narrow: int
    wider: int

    @classmethod
    def of(cls, slots: int, most: int) -> Self:
        """Divide so many slots into windows of at most `most`."""
        narrow, wider = divmod(slots, max(1, -(-slots // most)))
        return cls(narrow=narrow, wider=wider)

    def holding(self, slots: Any) -> Any:
        """Give the window of each slot."""
        edge = self.wider * (self.narrow + 1)
        beyond = self.wider + (slots - edge) // self.narrow
        return np.maximum(slots // (self.narrow + 1), beyond)

    def first_slot(self, windows: Ints) -> Ints:
        """Give the slot where each window begins."""
        return windows * self.narrow + np.minimum(windows, self.wider)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slots:
    """The positions of `count` slots of `size` rows, of which some are `short`, ascending.

    `ends` are the positions where the short ones end, `missing` the rows that miss up to the k-th
    of them (one longer, from 0 on).
    """

    count: int
    size: int
    short: Ints
    ends: Ints
    missing: Ints

    @classmethod
    def of(cls, count: int, size: int, short: Ints, misses: Ints) -> Self:
        """Give slots of which each `short` one `misses` rows."""
        missing = np.append(0, np.cumsum(misses))
        ends = (short + 1) * size - missing[1:]
        return cls(count=count, size=size, short=short, ends=ends, missing=missing)

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.count * self.size - int(self.missing[-1])

    def holding(self, positions: Ints) -> Ints:
        """Give the slot of each position."""
        before = np.searchsorted(self.ends, positions, side="right")
        return (positions + self.missing[before]) // self.size

    def start(self, slots: Any) -> Any:
        """Give the position where each slot begins."""
        return slots * self.size - self.missing[np.searchsorted(self.short, slots)]

    def pad(self, positions: Any, first: int, last: int) -> None:
        """Make positions padded addresses in place, both counted from the start of slot `first`.

        All lie inside the slots [first, last).
        """
        missing, origin = self.missing, first * self.size
        low, high = np.searchsorted(self.short, [first, last - 1])
        if high - low > FEW:
            ends = self.ends[low:high] + (missing[low] - origin)
            more = (missing[low : high + 1] - missing[low]).astype(positions.dtype)
            positions += more.take(np.searchsorted(ends, positions, "right"), mode="clip")
            return
        word = positions.dtype.type
        for k in range(low, high):
            beyond = positions >= word(self.ends[k] + missing[k] - origin)
            positions += beyond * word(missing[k + 1] - missing[k])


@dataclass(frozen=True, kw_only=True, eq=False)
class Lane:
    """Every `lanes`-th slot of the sequence of blocks, from `number` on, in windows."""

    layout: BlockLayout
    number: int
    lanes: int
    slots: _Slots
    windows: _Windows
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
        count = len(range(number, layout.count, lanes))
        own = short[0] % lanes == number
        return cls(
            layout=layout,
            number=number,
            lanes=lanes,
            slots=_Slots.of(count, layout.size, short[0][own] // lanes, short[1][own]),
            windows=_Windows.of(count, window_blocks),
            blocks=blocks,
            within=within,
        )

    @property
    def length(self) -> int:
        """The rows of the lane."""
        return self.slots.length

    def rows(self, positions: Ints) -> Ints:
        """Give the rows at ascending positions of the lane, each in [0, length)."""
        if len(positions) == 0:
            return positions
        first, last = self.slots.holding(positions[[0, -1]]).tolist()
        if self.within is None:
            return self._at(positions - self.slots.start(first), first, last + 1)
        return self._at(*self._shuffled(positions, self.within, first, last))

    def _shuffled(
        self, positions: Ints, within: Permutations, first: int, last: int
    ) -> tuple[Any, int, int]:
        """Permute positions in slots from `first` to `last`, each in its window.

        They are then counted from the start of the first slot of these windows, which comes with
        them, and the slot after the last.
        """
        windows = self.windows
        low, high = windows.holding(first), windows.holding(last)
        if high - low < len(positions):
            found = np.arange(low, high + 1)
        else:
            found = np.unique(windows.holding(self.slots.holding(positions)))
        edges = windows.first_slot(found), windows.first_slot(found + 1)
        starts, ends = map(self.slots.start, edges)
        stops = np.searchsorted(positions, ends)
        counts = stops - np.append(0, stops[:-1])
        start_of = starts if len(starts) == 1 else np.repeat(starts, counts)
        numbers = self.scratch.array("numbers", positions.shape, np.int64)
        shuffled = within.many(
            np.subtract(positions, start_of, out=numbers),
            sizes=ends - starts,
            members=found * self.lanes + self.number,
            counts=counts,
        )
        first, last = int(edges[0][0]), int(edges[1][-1])
        word: Any = np.uint32 if (last - first) * self.layout.size < MAX_SIZE_32 else np.int64
        inside = shuffled.astype(word, copy=False)
        if len(starts) > 1:
            inside += np.repeat((starts - starts[0]).astype(inside.dtype), counts)
        return inside, first, last

    def _at(self, inside: Any, first: int, last: int) -> Ints:
        """Give the rows of positions, which it changes, counted from the start of slot `first`.

        All lie inside the slots [first, last).
        """
        size = self.layout.size
        self.slots.pad(inside, first, last)
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

    def _first_rows(self, slots: Ints) -> Ints:
        blocks = slots * self.lanes + self.number
        if self.blocks is not None:
            blocks = self.blocks.one(blocks, self.layout.count)
        return self.layout.first_rows(blocks)
