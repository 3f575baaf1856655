"""Where the blocks of an order start and how many rows they hold, as a few arrays.

Idea: blocks come in segments of equal blocks with a short last one, as in `npdata.arrays.blocks`; a
subset of rows is a layout too, whose rows are positions in the sorted subset and whose every
block is a segment. Blocks that hold fewer rows than the largest are listed with what they miss,
so that a permuted sequence of blocks can be addressed by arithmetic and this short list.
Invariant: blocks cover the rows once, in order, and none is empty. This module does not shuffle.
"""

import zlib
from dataclasses import dataclass
from typing import Self

import numpy as np

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import Ints
from npdata.runtime.made_once import made_once


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockLayout:
    """Segments of blocks; every table is int64 with one entry per segment.

    Examples:
        >>> layout = BlockLayout.of(Blocks(rows=(10, 3), block_rows=(4, 4)))
        >>> layout.count, layout.size, layout.first_rows(np.arange(4)).tolist()
        (4, 4, [0, 4, 8, 10])
        >>> [table.tolist() for table in layout.short]
        [[2, 3], [2, 1]]
    """

    rows: Ints
    block_rows: Ints
    blocks: Ints
    blocks_before: Ints
    rows_before: Ints

    @classmethod
    def of(cls, blocks: Blocks) -> Self:
        """Give the layout of a source's blocks."""
        return cls._of(np.array(blocks.rows, np.int64), np.array(blocks.block_rows, np.int64))

    @classmethod
    def of_subset(cls, blocks: Blocks, subset: Ints) -> Self:
        """Give the layout of a sorted subset of rows, cut where the source's blocks are."""
        counts = np.diff(np.searchsorted(subset, blocks.edges()))
        return cls._of(counts, counts)

    @classmethod
    def _of(cls, rows: Ints, block_rows: Ints) -> Self:
        rows, block_rows = rows[rows > 0], block_rows[rows > 0]
        blocks = -(-rows // block_rows)
        return cls(
            rows=rows,
            block_rows=np.minimum(rows, block_rows),
            blocks=blocks,
            blocks_before=np.cumsum(blocks) - blocks,
            rows_before=np.cumsum(rows) - rows,
        )

    @property
    def count(self) -> int:
        """The number of blocks."""
        return int(self.blocks.sum())

    @property
    def size(self) -> int:
        """The rows of the largest block, at least 1."""
        return int(self.block_rows.max(initial=1))

    def first_rows(self, blocks: Ints) -> Ints:
        """Give the first row of each of these blocks."""
        if len(self.rows) == 1:
            return blocks * int(self.block_rows[0])
        segment = np.searchsorted(self.blocks_before, blocks, side="right") - 1
        inside = blocks - self.blocks_before[segment]
        return self.rows_before[segment] + inside * self.block_rows[segment]

    @made_once
    def short(self) -> tuple[Ints, Ints]:
        """The blocks that hold fewer rows than `size`, ascending, and how many they miss."""
        size = self.size
        smaller = self.block_rows < size
        listed = np.where(smaller, self.blocks, 1)
        segment = np.repeat(np.arange(len(listed)), listed)
        inside = np.arange(len(segment)) - np.repeat(np.cumsum(listed) - listed, listed)
        inside = np.where(smaller[segment], inside, self.blocks[segment] - 1)
        left = self.rows[segment] - inside * self.block_rows[segment]
        missing = size - np.minimum(left, self.block_rows[segment])
        return (self.blocks_before[segment] + inside)[missing > 0], missing[missing > 0]

    def fingerprint(self) -> int:
        """Give a 32-bit checksum of where the blocks are."""
        return zlib.crc32(self.block_rows.tobytes(), zlib.crc32(self.rows.tobytes()))
