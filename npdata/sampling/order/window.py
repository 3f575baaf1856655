"""How many blocks a block shuffle mixes, so that their decoded chunks fit into memory.

Idea: each row of a window is read at another time, so a chunk that does not stay in memory
meanwhile is decoded again and again. Invariant: a window follows from the data and the memory for
decoded chunks, and never from the number of workers that read it: the order must not.
"""

from dataclasses import dataclass
from typing import Any, Self

from npdata.arrays.blocks import Blocks
from npdata.errors import WindowWarning, warn

WINDOW_BLOCKS = 64
"""Blocks shuffled together where no number is given, or fewer where chunks are large."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """So many `blocks`, of which memory holds `held`; None where there is no need to know.

    Examples:
        >>> Window.of(None, None, Blocks.uniform(9, 3), lanes=1)
        Window(blocks=64, held=None)
    """

    blocks: int
    held: int | None = None

    @classmethod
    def of(cls, asked: int | None, source: Any, blocks: Blocks, *, lanes: int) -> Self:
        """Decide for the `blocks` of a source that knows how many rows of its memory holds.

        By default a quarter: so the window that is read ahead fits as well, and one of each of four
        DataLoader workers, which share that memory. Warns where more was `asked` for than it holds.
        """
        rows = getattr(source, "rows_in_memory", None)
        if rows is None or rows >= blocks.total_rows:
            return cls(blocks=asked or WINDOW_BLOCKS)
        held = rows // (lanes * blocks.largest)
        if asked is None:
            return cls(blocks=min(WINDOW_BLOCKS, max(1, held // 4)), held=held)
        if asked > held:
            warn(
                f"window_blocks={asked}, but the memory for decoded chunks holds {held} blocks, so "
                "chunks are decoded again and again: leave window_blocks out, or set the "
                "environment variable NPDATA_CACHE_BYTES to "
                f"{asked / max(1, held):.1f} times what it is",
                WindowWarning,
            )
        return cls(blocks=asked, held=held)

    def warn_of_workers(self, workers: int) -> None:
        """Warn where so many DataLoader workers, each of which decodes it, lack the memory.

        The rows of one block are read together, so a window of one needs none.
        """
        held, blocks = self.held, self.blocks
        if held is None or not workers or not max(1, held // workers) < blocks <= held:
            return
        fewer = max(1, held // workers)
        warn(
            f"each of {workers} DataLoader workers decodes windows of {blocks} blocks, "
            f"and the memory for decoded chunks of all of them holds {held} blocks, so chunks are "
            f"decoded again and again: use window_blocks={fewer}, fewer workers, npdata.Loader, "
            f"whose threads share one window, or set the environment variable NPDATA_CACHE_BYTES "
            f"to {workers * blocks / max(1, held):.1f} times what it is",
            WindowWarning,
        )
