"""Everything that decides the order of every epoch, checked once.

Idea: dataset length, seed, shuffle, blocks, window, lanes, subset and weights make one frozen
value that gives the order of any epoch, and its identity: the few integers that must agree for a
saved position to mean the same samples. Invariant: two recipes of one identity give the same
orders (subset and weights are compared by a checksum of 32 bits). It knows no batches, ranks or
positions.
"""

import contextlib
import zlib
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import Ints
from npdata.errors import SamplerError
from npdata.runtime.made_once import made_once
from npdata.sampling.order.block_layout import BlockLayout
from npdata.sampling.order.checks import whole_number, whole_or_none
from npdata.sampling.order.epoch_order import ORDER_VERSION, Order, Shuffle, draw_order, plan_order
from npdata.sampling.order.row_arguments import rows_of, running_sum, subset_of
from npdata.sampling.order.window import Window
from npdata.sampling.order.wrapped import NO_ARRAY, chosen_rows, indices_of, within

UNKNOWN_BLOCK_ROWS = 1024
"""Rows of a block where only the number of rows is known."""
_SHUFFLES: tuple[Shuffle, ...] = (False, "block", "full")


def shuffle_name(number: int) -> str:
    """Write the number that a state has for `shuffle` as it is given to a sampler."""
    return repr(_SHUFFLES[number]) if number < len(_SHUFFLES) else repr(number)


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """The orders of `samples` positions over a dataset of `rows` rows.

    `totals` is the running sum of the weights, for weighted draws. `choice` is a checksum of the
    rows that each `Subset` within the data chooses.

    Examples:
        >>> recipe = Recipe.of(6, shuffle="full", seed=0)
        >>> sorted(recipe.order(0)(np.arange(6)).tolist())
        [0, 1, 2, 3, 4, 5]
    """

    rows: int
    samples: int
    shuffle: Shuffle
    seed: int
    layout: BlockLayout
    window: Window
    lanes: int
    subset: Ints | None
    totals: NDArray[np.float64] | None
    choice: int

    @classmethod
    def of(
        cls,
        data: int | Sized,
        *,
        shuffle: Shuffle | bool,
        seed: int,
        block_rows: int | None = None,
        window_blocks: int | None = None,
        lanes: int | None = None,
        indices: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> Self:
        """Check the arguments of a sampler; each fault is a SamplerError."""
        rows = rows_of(data)
        if isinstance(shuffle, bool | np.bool_):
            shuffle = "full" if shuffle else False
        if not isinstance(shuffle, str | bool) or shuffle not in _SHUFFLES:
            raise SamplerError(f"shuffle={shuffle!r}: expected True, 'full', 'block' or False")
        seed = whole_number("seed", seed, least=0, below=1 << 64)
        lanes = whole_or_none("lanes", lanes) or 1
        _require_one_order(shuffle, lanes, weighted=weights is not None)
        subset = None if indices is None else subset_of(indices, rows)
        totals = None if weights is None else running_sum(weights, rows, subset, data)
        block_rows = whole_or_none("block_rows", block_rows)
        window_blocks = whole_or_none("window_blocks", window_blocks)
        in_windows = totals is None and shuffle == "block"
        source: Any
        source, chosen = (chosen_rows(data) if in_windows else None) or (data, None)
        if in_windows or lanes > 1:
            blocks = _blocks(source, rows if chosen is None else len(source), block_rows)
            subset, layout = _by_blocks(blocks, rows, subset, chosen)
        else:
            blocks = Blocks.uniform(rows, rows)
            layout = BlockLayout.of(blocks)
        decoded = source if in_windows and block_rows is None else None
        return cls(
            rows=rows,
            samples=rows if subset is None else len(subset),
            shuffle=shuffle,
            seed=seed,
            layout=layout,
            window=Window.of(window_blocks, decoded, blocks, lanes=lanes),
            lanes=lanes,
            subset=subset,
            totals=totals,
            choice=_choice(data),
        )

    def order(self, epoch: int) -> Order:
        """Give the order of an epoch, over the rows of the dataset."""
        if self.totals is not None:
            order = draw_order(self.totals, seed=self.seed, epoch=epoch)
        else:
            order = plan_order(
                self.samples,
                shuffle=self.shuffle,
                seed=self.seed,
                epoch=epoch,
                layout=self.layout,
                window_blocks=self.window.blocks,
                lanes=self.lanes,
            )
        subset = self.subset
        return order if subset is None else lambda positions: subset[order(positions)]

    @made_once
    def identity(self) -> dict[str, int]:
        """The integers that must agree for a position to mean the same samples."""
        in_blocks = self.totals is None and (self.shuffle == "block" or self.lanes > 1)
        windows = in_blocks and self.shuffle == "block"
        return {
            "version": ORDER_VERSION,
            "rows": self.rows,
            "samples": self.samples,
            "seed": self.seed,
            "shuffle": _SHUFFLES.index(self.shuffle),
            "lanes": self.lanes,
            "indices_checksum": _checksum(self.subset, self.choice),
            "weights_checksum": _checksum(self.totals),
            "block_rows": self.layout.size if in_blocks else 0,
            "blocks_checksum": self.layout.fingerprint() if in_blocks else 0,
            "window_blocks": self.window.blocks if windows else 0,
        }


def _require_one_order(shuffle: Shuffle, lanes: int, *, weighted: bool) -> None:
    """Raise `SamplerError` for lanes without blocks, and for draws that are not to be random."""
    if lanes > 1 and (shuffle == "full" or weighted):
        drawn = "weighted draws" if weighted else "shuffle='full'"
        raise SamplerError(
            f"lanes={lanes} with {drawn}: lanes deal blocks, and this order has none; "
            "use shuffle='block' without weights, or no lanes"
        )
    if weighted and shuffle is False:
        raise SamplerError(
            "weights with shuffle=False: draws are random; leave shuffle out, or the weights"
        )


def _blocks(data: int | Sized, rows: int, block_rows: int | None) -> Blocks:
    if block_rows is not None:
        return Blocks.uniform(rows, block_rows)
    blocks = getattr(data, "blocks", None)
    if blocks is None:
        return Blocks.uniform(rows, UNKNOWN_BLOCK_ROWS)
    if not isinstance(blocks, Blocks) or blocks.total_rows != rows:
        raise SamplerError(
            f"the dataset has {rows} rows and blocks {blocks!r}: expected "
            "npdata.arrays.blocks.Blocks of the same rows; give block_rows= to use your own"
        )
    return blocks


def _by_blocks(
    blocks: Blocks, rows: int, subset: Ints | None, chosen: Ints | None
) -> tuple[Ints | None, BlockLayout]:
    """Give the rows of `subset` as they lie in `blocks`, and which of these hold them.

    `chosen` is where each row lies; None: it is its number. None of `subset`: all `rows`.
    """
    if subset is None and chosen is None:
        return None, BlockLayout.of(blocks)
    places = np.arange(rows) if subset is None else subset
    read = places if chosen is None else chosen[places]
    order = np.argsort(read, kind="stable")
    return places[order], BlockLayout.of_subset(blocks, read[order])


def _choice(data: Any) -> int:
    """Give a checksum of the rows that each `Subset` within chooses, in each run perhaps others."""
    choice = 0
    for wrapper in within(data):
        if getattr(wrapper, "dataset", None) is None:
            continue
        with contextlib.suppress(*NO_ARRAY):  # indices that are no row numbers
            array = indices_of(wrapper)
            if array.dtype.kind in "iu":
                choice = _checksum(np.ascontiguousarray(array, np.int64), choice)
    return choice


def _checksum(array: NDArray[Any] | None, before: int = 0) -> int:
    return before if array is None else zlib.crc32(array.data, before)
