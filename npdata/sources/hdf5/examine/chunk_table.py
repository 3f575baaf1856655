"""The chunk table: where the chunks of a dataset lie in its file, as a few arrays.

Idea: chunks are numbered in C order of the grid that they form, and only those that were written
are listed, sorted by number; a chunk that is not listed has the fill value. At most 24 bytes a
chunk. Invariant: numbers are unique and inside the grid, or `fault` says what is wrong and nobody
may use the table. Pure: no h5py, no file.
"""

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.runs import merged

LARGEST_GRID = 1 << 62
MOST_REMEMBERED = 256
"""Of up to so many chunks the numbers are kept for the next dataset that has the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChunkTable:
    """The chunks that a file holds: `numbers` sorted, `offsets` and `sizes` in bytes, `masks`.

    All arrays have one entry a chunk. `masks` is None where every filter was applied to every
    chunk; `grid` is the number of chunks along each axis, and `complete` whether the file holds all
    of them. `begin` and `end` are the bytes of the file between which they lie, `smallest` and
    `largest` the sizes that they have, `stored_bytes` the sum of them.
    """

    grid: tuple[int, ...]
    numbers: Ints
    offsets: Ints
    sizes: NDArray[Any]
    masks: NDArray[np.uint32] | None
    complete: bool
    fault: str | None
    begin: int
    end: int
    smallest: int
    largest: int
    stored_bytes: int

    @classmethod
    def of(
        cls,
        *,
        shape: tuple[int, ...],
        chunk_shape: tuple[int, ...],
        coordinates: Any,
        offsets: Sequence[int],
        sizes: Sequence[int],
        masks: Sequence[int],
    ) -> "ChunkTable":
        """List the chunks that start at `coordinates`: int64 of shape (chunks, axes), also flat.

        Where it has fewer axes than `shape`, those behind are whole in each chunk. Few chunks are
        looked at as ints: each operation of NumPy took 3 µs here, between calls of HDF5.

        Examples:
            >>> table = ChunkTable.of(
            ...     shape=(5, 4), chunk_shape=(2, 4), coordinates=np.array([[4, 0], [0, 0]]),
            ...     offsets=[900, 500], sizes=[32, 32], masks=[0, 0])
            >>> table.grid, table.numbers.tolist(), table.offsets.tolist()
            ((3, 1), [0, 2], [500, 900])
        """
        number = _numbered if len(offsets) <= MOST_REMEMBERED else _numbered.__wrapped__
        numbering = number(shape, chunk_shape, coordinates.tobytes(), len(offsets))
        if len(numbering.numbers) < len(offsets):  # of no use: `fault` says why
            offsets = sizes = masks = ()
        largest = max(sizes, default=0)
        order = slice(None) if numbering.order is None else numbering.order
        return cls(
            grid=numbering.grid,
            numbers=numbering.numbers,
            offsets=np.array(offsets, np.int64)[order],
            sizes=np.array(sizes, np.uint32 if largest < 1 << 32 else np.int64)[order],
            masks=np.array(masks, np.uint32)[order] if any(masks) else None,
            complete=numbering.complete,
            fault=numbering.fault,
            begin=min(offsets, default=0),
            end=max(map(operator.add, offsets, sizes), default=0),
            smallest=min(sizes, default=0),
            largest=largest,
            stored_bytes=sum(sizes),
        )

    def __len__(self) -> int:
        """Give how many chunks the file holds."""
        return len(self.numbers)

    def find(self, numbers: Ints) -> Ints:
        """Give the entries of chunk `numbers` (any shape, inside the grid), -1 where not stored."""
        if self.complete:
            return numbers
        if len(self.numbers) == 0:
            return np.full(numbers.shape, -1)
        entries = np.searchsorted(self.numbers, numbers)
        entries[entries == len(self.numbers)] = 0
        return np.where(self.numbers[entries] == numbers, entries, -1)

    def span(self, first: int, stop: int) -> range:
        """Give the entries of the chunks whose numbers are from `first` to `stop`."""
        bounds = np.searchsorted(self.numbers, np.array([first, stop]))
        return range(int(bounds[0]), int(bounds[1]))

    def places(self, entries: Ints) -> Ints:
        """Give the offsets of `entries` in the file, -1 for those that are -1."""
        if len(self.offsets) == 0:
            return entries
        return np.where(entries < 0, -1, self.offsets[entries])

    def runs(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Give where the stored chunks of numbers `first` to `stop` lie: pairs of offset and bytes.

        Chunks that lie one after the other in the file make one run.

        Examples:
            >>> table = ChunkTable.of(
            ...     shape=(6, 4), chunk_shape=(2, 4),
            ...     coordinates=np.array([[0, 0], [2, 0], [4, 0]]),
            ...     offsets=[500, 532, 900], sizes=[32] * 3, masks=[0] * 3)
            >>> table.runs(0, 3)
            [(500, 64), (900, 32)]
        """
        span = self.span(first, stop)
        starts, sizes = (array[span.start : span.stop] for array in (self.offsets, self.sizes))
        firsts, ends = merged(starts, starts + sizes.astype(np.int64))
        return list(zip(firsts.tolist(), (ends - firsts).tolist(), strict=True))

    def turned(self, axes: tuple[int, ...]) -> "ChunkTable":
        """Give the table of the same chunks of a dataset with its axes, all of them, in this order.

        Examples:
            >>> table = ChunkTable.of(
            ...     shape=(2, 4), chunk_shape=(1, 2), coordinates=np.array([0, 0, 1, 0, 1, 2]),
            ...     offsets=[500, 600, 700], sizes=[8] * 3, masks=[0] * 3)
            >>> turned = table.turned((1, 0))
            >>> turned.grid, turned.numbers.tolist(), turned.offsets.tolist()
            ((2, 2), [0, 1, 3], [500, 600, 700])
        """
        grid = tuple(self.grid[axis] for axis in axes)
        places = np.unravel_index(self.numbers, self.grid)
        numbers = np.ravel_multi_index([places[axis] for axis in axes], grid)
        order = np.argsort(numbers)
        return replace(
            self,
            grid=grid,
            numbers=numbers[order],
            offsets=self.offsets[order],
            sizes=self.sizes[order],
            masks=None if self.masks is None else self.masks[order],
        )

    def mask(self, entry: int) -> int:
        """Give the filter mask of an entry: bit i is set where filter i was left out."""
        return 0 if self.masks is None else int(self.masks[entry])

    def coordinates(self, entry: int, chunk_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Give the first element of an entry's chunk."""
        place = np.unravel_index(int(self.numbers[entry]), self.grid)
        return tuple(int(p) * c for p, c in zip(place, chunk_shape, strict=True))


@dataclass(frozen=True, kw_only=True)
class _Numbering:
    """The numbers of chunks, sorted, and the `order` that sorts them; None where they were."""

    grid: tuple[int, ...]
    numbers: Ints
    order: Ints | None = None
    complete: bool = False
    fault: str | None = None


@functools.lru_cache(maxsize=16)
def _numbered(
    shape: tuple[int, ...], chunk_shape: tuple[int, ...], coordinates: bytes, count: int
) -> _Numbering:
    """Give the numbers of chunks by their coordinates, the same for all datasets made alike."""
    grid = tuple(-(-n // c) for n, c in zip(shape, chunk_shape, strict=True))
    empty = np.zeros(0, np.int64)
    unusable = functools.partial(_Numbering, grid=grid, numbers=empty)
    if math.prod(grid) >= LARGEST_GRID:
        return unusable(
            fault=f"its shape makes {math.prod(grid)} chunks, more than can be numbered"
        )
    starts = np.frombuffer(coordinates, np.int64).reshape(count, -1) if count else empty[:, None]
    axes = starts.shape[1]
    places, inside = np.divmod(starts, np.array(chunk_shape[:axes], np.int64))
    if inside.any():
        return unusable(fault="HDF5 lists a chunk that begins inside another")
    if (places < 0).any() or (places >= np.array(grid[:axes], np.int64)).any():
        return unusable(fault="HDF5 lists a chunk outside the dataset")
    numbers = places @ np.array([math.prod(grid[axis + 1 :]) for axis in range(axes)], np.int64)
    order = fault = None
    if (numbers[1:] <= numbers[:-1]).any():
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        if (numbers[1:] == numbers[:-1]).any():
            fault = "two chunks are listed for one place"
    numbers.flags.writeable = False  # tables share it
    complete = len(numbers) == math.prod(grid)
    return _Numbering(grid=grid, numbers=numbers, order=order, complete=complete, fault=fault)
