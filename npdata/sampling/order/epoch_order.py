"""The order of an epoch as a function of (seed, epoch, position), never a stored permutation.

Idea: an order is a function that gives the rows at any slice of positions, alone and in time that
grows with the slice. Invariant: over the positions [0, n) every row comes once (weighted
draws excepted), and the same arguments give the same rows in every release with the same
`ORDER_VERSION`. Memory is a few numbers; blocks smaller than the largest add two numbers each.
This module knows no batches and no ranks, and reads nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.sampling.order.block_layout import BlockLayout
from npdata.sampling.order.lane import Lane
from npdata.sampling.order.permutation import Permutations

Shuffle = Literal["block", "full", False]
Order: TypeAlias = Callable[[Ints], Ints]
"""Gives the rows at positions: both int64, positions ascending and each in [0, n)."""

ORDER_VERSION = 1
"""Raised whenever the same arguments would give other rows."""
BLOCK_PURPOSE, ROW_PURPOSE, DRAW_PURPOSE, SPLIT_PURPOSE, BATCH_PURPOSE = range(5)
"""What permutations of one seed and epoch are for: those of two purposes are independent."""


def plan_order(
    n: int,
    *,
    shuffle: Shuffle,
    seed: int,
    epoch: int,
    layout: BlockLayout,
    window_blocks: int,
    lanes: int = 1,
) -> Order:
    """Give the order of `n` rows in this epoch.

    "full" is a keyed permutation of all rows. "block" permutes the blocks, takes the rows of
    `window_blocks` consecutive ones as a window, and permutes the rows of each window. Blocks may
    be dealt to lanes, like cards: lane k has every `lanes`-th block of the permuted sequence and
    windows of its own, and position p belongs to lane p % lanes.
    With one lane and no shuffle it is the file order; with several lanes and no shuffle, each
    lane has its blocks in file order. `layout` must hold `n` rows.

    Examples:
        >>> from npdata.arrays.blocks import Blocks
        >>> layout = BlockLayout.of(Blocks.uniform(6, 2))
        >>> order = plan_order(6, shuffle="block", seed=0, epoch=0, layout=layout, window_blocks=2)
        >>> order(np.arange(6)).tolist()
        [4, 2, 5, 3, 1, 0]
    """
    rows = Permutations.of(seed, epoch, ROW_PURPOSE)
    if shuffle == "full":
        return partial(rows.one, size=n)
    if shuffle is False and lanes == 1:
        return lambda positions: positions
    blocks = Permutations.of(seed, epoch, BLOCK_PURPOSE) if shuffle else None
    short, missing = layout.short
    slots = short if blocks is None else blocks.undo_one(short, layout.count)
    by_slot = np.argsort(slots)
    dealt = tuple(
        Lane.of(
            layout,
            number=number,
            lanes=lanes,
            window_blocks=window_blocks,
            short=(slots[by_slot], missing[by_slot]),
            blocks=blocks,
            within=rows if shuffle else None,
        )
        for number in range(lanes)
    )
    return dealt[0].rows if lanes == 1 else partial(_in_turn, dealt)


def _in_turn(lanes: tuple[Lane, ...], positions: Ints) -> Ints:
    """Take lanes in turn, one row each; what longer lanes have left over comes at the end."""
    count = len(lanes)
    shared = min(lane.length for lane in lanes)
    left = np.cumsum([lane.length - shared for lane in lanes])
    turns, owner = np.divmod(positions, count)
    tail = turns >= shared
    after = positions[tail] - count * shared
    owner[tail] = np.searchsorted(left, after, side="right")
    turns[tail] = shared + after - np.append(0, left)[owner[tail]]
    result = np.empty_like(positions)
    for number in np.unique(owner):
        chosen = owner == number
        result[chosen] = lanes[number].rows(turns[chosen])
    return result


def draw_order(totals: NDArray[np.float64], *, seed: int, epoch: int) -> Order:
    """Give draws with replacement: position p gets row r with chance weight[r] / sum(weights).

    `totals` is the running sum of the weights (float64), not all 0, so a draw is a binary search
    with 53 random bits that depend on the position.
    """
    return partial(_drawn, totals, Permutations.of(seed, epoch, DRAW_PURPOSE))


def _drawn(totals: NDArray[np.float64], keys: Permutations, positions: Ints) -> Ints:
    chance = keys.words(positions) >> np.uint64(11)
    points = chance.astype(np.float64) * 2.0**-53 * totals[-1]
    drawn = np.searchsorted(totals, points, side="right")
    last = int(np.searchsorted(totals, totals[-1]))
    clipped: Ints = np.minimum(drawn, last)
    return clipped
