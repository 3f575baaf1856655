"""Where the blocks of a source lie: runs of rows that are cheapest to read together.

Idea: a source is one or more segments (files) laid end to end, and inside a segment every block
has the same number of rows, except a short last one. So the blocks of a billion rows are a few
integers. Invariant: the blocks of a segment cover its rows once, in order; no block spans two
segments. This module does not shuffle and reads nothing.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from npdata.arrays.dtypes import Ints

BLOCK_BYTES = 1 << 20
"""About this many bytes make a block where the file itself has no chunks."""
MOST_BLOCKS = 1 << 17
"""So many blocks are cut where those of other rows are; more become blocks of equal size."""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Blocks of rows: `rows[k]` rows in segment k, in blocks of `block_rows[k]` rows.

    Examples:
        >>> blocks = Blocks(rows=(10, 3), block_rows=(4, 4))
        >>> blocks.count, blocks.edges().tolist()
        (4, [0, 4, 8, 10, 13])
    """

    rows: tuple[int, ...]
    block_rows: tuple[int, ...]

    @classmethod
    def uniform(cls, rows: int, block_rows: int) -> Self:
        """Give one segment of `rows` rows in blocks of `block_rows` (at least 1)."""
        return cls(rows=(rows,), block_rows=(max(1, block_rows),))

    @classmethod
    def of_bytes(cls, rows: int, row_bytes: int) -> Self:
        """Give one segment in blocks of about `BLOCK_BYTES` bytes, at least one row."""
        return cls.uniform(rows, BLOCK_BYTES // max(1, row_bytes))

    @classmethod
    def of_edges(cls, edges: Ints) -> Self:
        """Give a block from each edge to the next, but for those without a row; ascending from 0.

        Examples:
            >>> Blocks.of_edges(np.array([0, 4, 4, 7])).rows
            (4, 3)
        """
        counts = np.diff(edges)
        sizes = tuple(counts[counts > 0].tolist())
        return cls(rows=sizes, block_rows=sizes)

    @property
    def count(self) -> int:
        """The number of blocks."""
        return sum(-(-rows // size) for rows, size in zip(self.rows, self.block_rows, strict=True))

    @property
    def largest(self) -> int:
        """The number of rows of the largest block, at least 1."""
        return max((min(r, b) for r, b in zip(self.rows, self.block_rows, strict=True)), default=1)

    @property
    def total_rows(self) -> int:
        """The number of rows in all segments."""
        return sum(self.rows)

    def edges(self) -> Ints:
        """Give the first row of each block, then the number of rows: int64, `count + 1` long."""
        starts = [np.zeros(0, np.int64)]
        first = 0
        for rows, size in zip(self.rows, self.block_rows, strict=True):
            starts.append(np.arange(first, first + rows, size, dtype=np.int64))
            first += rows
        return np.append(np.concatenate(starts), np.int64(first))
