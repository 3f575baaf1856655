"""Everything that decides the order of every epoch, checked once.

Idea: dataset length, seed, shuffle, blocks, window, lanes, subset and weights make one frozen
value that gives the order of any epoch, and its identity: the few integers that must agree for a
saved position to mean the same samples. Invariant: two recipes of one identity give the same
orders (subset and weights are compared by a checksum of 32 bits). It knows no batches, ranks or
positions.
"""

import contextlib
import zlib
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import Ints
from npdata.arrays.indexing import holds_rows, may_be_rows, take_one_of
from npdata.errors import SamplerError, WindowWarning, an, warn
from npdata.runtime.made_once import made_once
from npdata.sampling.order.block_layout import BlockLayout
from npdata.sampling.order.checks import whole_number, whole_or_none
from npdata.sampling.order.epoch_order import ORDER_VERSION, Order, Shuffle, draw_order, plan_order
from npdata.sampling.order.wrapped import NO_ARRAY, chosen_rows, indices_of, within

WINDOW_BLOCKS = 64
"""Blocks shuffled together where no number is given, or fewer where chunks are large."""
UNKNOWN_BLOCK_ROWS = 1024
"""Rows of a block where only the number of rows is known."""
FEWEST_IN_MASK = 9
"""So many zeros and ones are taken for a mask; fewer may be draws of rows 0 and 1 by chance."""
_SHUFFLES: tuple[Shuffle, ...] = (False, "block", "full")


def shuffle_name(number: int) -> str:
    """Write the number that a state has for `shuffle` as it is given to a sampler."""
    return repr(_SHUFFLES[number]) if number < len(_SHUFFLES) else repr(number)


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """The orders of `samples` positions over a dataset of `rows` rows.

    `totals` is the running sum of the weights, for weighted draws; `blocks_held` how many blocks
    the memory for decoded chunks holds, None where there is no need to know. `choice` is a checksum
    of the rows that each `Subset` within the data chooses.

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
    window_blocks: int
    blocks_held: int | None
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
        rows = _rows(data)
        if isinstance(shuffle, bool | np.bool_):
            shuffle = "full" if shuffle else False
        if not isinstance(shuffle, str | bool) or shuffle not in _SHUFFLES:
            raise SamplerError(f"shuffle={shuffle!r}: expected True, 'full', 'block' or False")
        seed = whole_number("seed", seed, least=0, below=1 << 64)
        count = whole_or_none("lanes", lanes) or 1
        _require_one_order(shuffle, count, weighted=weights is not None)
        subset = None if indices is None else _subset(indices, rows)
        totals = None if weights is None else _totals(weights, rows, subset)
        block_rows = whole_or_none("block_rows", block_rows)
        window_blocks = whole_or_none("window_blocks", window_blocks)
        in_windows = totals is None and shuffle == "block"
        in_blocks = in_windows or count > 1
        source: Any = data
        chosen = None
        if in_windows:
            source, chosen = chosen_rows(data) or (data, None)
        length = rows if chosen is None else len(source)
        blocks = _blocks(source, length, block_rows) if in_blocks else Blocks.uniform(rows, rows)
        if in_blocks and not (subset is None and chosen is None):
            places = np.arange(rows) if subset is None else subset
            read = places if chosen is None else chosen[places]
            order = np.argsort(read, kind="stable")
            subset, layout = places[order], BlockLayout.of_subset(blocks, read[order])
        else:
            layout = BlockLayout.of(blocks)
        held = getattr(source, "rows_in_memory", None) if in_windows else None
        blocks_held = None
        if held is not None and block_rows is None and held < length:
            blocks_held = held // (count * blocks.largest)
            wide = _fitted(blocks_held, window_blocks)
        else:
            wide = window_blocks or WINDOW_BLOCKS
        return cls(
            rows=rows,
            samples=rows if subset is None else len(subset),
            shuffle=shuffle,
            seed=seed,
            layout=layout,
            window_blocks=wide,
            blocks_held=blocks_held,
            lanes=count,
            subset=subset,
            totals=totals,
            choice=_choice(data),
        )

    def warn_of_workers(self, workers: int) -> None:
        """Warn where the windows of so many DataLoader workers do not fit in their memory.

        Each of them decodes the whole window. How many there are must not change the order, so the
        window stays as it is.
        """
        held = self.blocks_held
        if held is None or not workers or not max(1, held // workers) < self.window_blocks <= held:
            return  # the rows of one block are read together, so a window of one needs no memory
        fewer = max(1, held // workers)
        warn(
            f"each of {workers} DataLoader workers decodes windows of {self.window_blocks} blocks, "
            f"and the memory for decoded chunks of all of them holds {held} blocks, so chunks are "
            f"decoded again and again: use window_blocks={fewer}, fewer workers, npdata.Loader, "
            f"whose threads share one window, or set the environment variable NPDATA_CACHE_BYTES "
            f"to {workers * self.window_blocks / max(1, held):.1f} times what it is",
            WindowWarning,
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
                window_blocks=self.window_blocks,
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
            "window_blocks": self.window_blocks if windows else 0,
        }


def _fitted(held: int, asked: int | None) -> int:
    """Give the blocks of a window where memory holds `held` decoded blocks; warn of `asked` above.

    A quarter by default: so the window that is read ahead fits as well, and one of each of four
    DataLoader workers, which share that memory.
    """
    if asked is None:
        return min(WINDOW_BLOCKS, max(1, held // 4))
    if asked > held:
        warn(
            f"window_blocks={asked}, but the memory for decoded chunks holds {held} blocks, so "
            "chunks are decoded again and again: leave window_blocks out, or set the environment "
            f"variable NPDATA_CACHE_BYTES to {asked / max(1, held):.1f} times what it is",
            WindowWarning,
        )
    return asked


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


def _rows(data: int | Sized) -> int:
    if isinstance(data, str | bytes) or not (isinstance(data, Sized) or hasattr(data, "__index__")):
        raise SamplerError(f"data={data!r}: expected a dataset or its number of rows")
    if may_be_rows(data) or take_one_of(data):
        held = "integers" if may_be_rows(data) else "arrays or lists"
        raise SamplerError(
            f"data is {an(type(data).__name__)} of {held}: expected a dataset or its number of "
            "rows; row numbers are indices=, as BlockBatchSampler(dataset, 64, indices=rows)"
        )
    length = len(data) if holds_rows(data) else data
    return whole_number("the number of rows", length, least=0, below=1 << 62)


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


def _subset(indices: ArrayLike, rows: int) -> Ints:
    several = take_one_of(indices)
    if several:
        raise SamplerError(f"indices= takes one array of row numbers: {several}")
    # As an array, a Subset is its samples.
    array = None if hasattr(indices, "__getitems__") else _array("indices", indices)
    if array is None or (array.size and array.dtype.kind in "OUST"):
        raise SamplerError(
            f"indices is {an(type(indices).__name__)}: expected row numbers, as those of "
            f"subset.indices, range(5) or np.flatnonzero(mask), or a bool mask of the {rows} rows"
        )
    if array.dtype == np.bool_ and array.shape == (rows,):
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise SamplerError(
            f"indices of shape {array.shape} and dtype {array.dtype}: expected one dimension of "
            f"integers, as np.flatnonzero(mask), or a bool mask of the {rows} rows"
        )
    if len(array) == rows >= FEWEST_IN_MASK and (array.min(), array.max()) == (0, 1):
        raise SamplerError(
            f"indices are {rows} zeros and ones, which as row numbers are rows 0 and 1 alone: give "
            "a mask of the rows as bools, np.asarray(mask, bool)"
        )
    if array.size and (int(array.min()) < 0 or int(array.max()) >= rows):
        raise SamplerError(
            f"indices from {array.min()} to {array.max()}: expected row numbers from 0 to "
            f"{rows - 1}, the last of the dataset; those of a Subset are places in it"
        )
    return np.array(array, np.int64)


_ALIKE = "(1 / np.bincount(labels))[labels]"


def _totals(weights: ArrayLike, rows: int, subset: Ints | None) -> NDArray[np.float64]:
    if isinstance(weights, str | Mapping) or not hasattr(weights, "__getitem__"):
        raise SamplerError(
            f"weights={weights!r:.60}: expected one weight for each row; for classes that come "
            f"equally often, {_ALIKE}; labels of a field are "
            "dataset.fields[NAME][:]; a sampler is sampler="
        )
    array = _array("weights", weights, np.float64)
    if array.shape != (rows,):
        raise SamplerError(
            f"weights of shape {array.shape}: expected one weight for each of the {rows} rows, "
            f"those that indices= leaves out as well: of classes {_ALIKE}, of a Subset "
            "weights[subset.indices]"
        )
    wrong = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if wrong.size:
        raise SamplerError(
            f"weight {array[wrong[0]]} of row {wrong[0]} ({wrong.size} such rows): expected "
            "finite numbers of at least 0"
        )
    with np.errstate(over="ignore"):
        totals = np.cumsum(array if subset is None else array[subset])
    if totals.size and not 0 < totals[-1] < np.inf:
        raise SamplerError(f"weights that sum to {totals[-1]}: expected a finite sum above 0")
    return totals


def _array(name: str, values: ArrayLike, dtype: type[Any] | None = None) -> NDArray[Any]:
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError) as error:
        raise SamplerError(f"{name}: expected an array of numbers: {error}") from error


def _choice(data: Any) -> int:
    """Give a checksum of the rows that each `Subset` within chooses, in each run perhaps others."""
    choice = 0
    for wrapper in within(data):
        if getattr(wrapper, "dataset", None) is None:
            continue
        with contextlib.suppress(*NO_ARRAY):  # of what is no row numbers
            array = indices_of(wrapper)
            if array.dtype.kind in "iu":
                choice = _checksum(np.ascontiguousarray(array, np.int64), choice)
    return choice


def _checksum(array: NDArray[Any] | None, before: int = 0) -> int:
    return before if array is None else zlib.crc32(array.data, before)
