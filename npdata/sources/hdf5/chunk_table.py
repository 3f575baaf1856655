"""The chunk table: where the chunks of a dataset lie in its file, as a few arrays.

Idea: chunks are numbered in C order of the grid that they form, and only those that were written
are listed, sorted by number; a chunk that is not listed has the fill value. At most 24 bytes a
chunk. Invariant: numbers are unique and inside the grid, or `fault` says what is wrong and nobody
may use the table. Pure: no h5py, no file.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_GRID = 1 << 62


@dataclass(frozen=True, kw_only=True, eq=False)
class ChunkTable:
    """The chunks that a file holds: `numbers` sorted, `offsets` and `sizes` in bytes, `masks`.

    All arrays have one entry a chunk. `masks` is None where every filter was applied to every
    chunk; `grid` is the number of chunks along each axis,
    and `complete` whether the file holds all of them.
    """

    grid: tuple[int, ...]
    numbers: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[Any]
    masks: NDArray[np.uint32] | None
    complete: bool = False
    fault: str | None = None

    @classmethod
    def of(
        cls,
        *,
        shape: tuple[int, ...],
        chunk_shape: tuple[int, ...],
        coordinates: NDArray[np.int64],
        offsets: NDArray[np.int64],
        sizes: NDArray[np.int64],
        masks: NDArray[np.int64],
    ) -> "ChunkTable":
        """List the chunks that start at `coordinates`, an array of shape (chunks, axes).

        Examples:
            >>> table = ChunkTable.of(
            ...     shape=(5, 4), chunk_shape=(2, 4), coordinates=np.array([[4, 0], [0, 0]]),
            ...     offsets=np.array([900, 500]), sizes=np.array([32, 32]), masks=np.array([0, 0]))
            >>> table.grid, table.numbers.tolist(), table.offsets.tolist()
            ((3, 1), [0, 2], [500, 900])
        """
        grid = tuple(-(-n // c) for n, c in zip(shape, chunk_shape, strict=True))
        fault = _fault(grid, coordinates, chunk_shape)
        if fault is not None:
            empty = np.zeros(0, np.int64)
            return cls(
                grid=grid, numbers=empty, offsets=empty, sizes=empty, masks=None, fault=fault
            )
        numbers = np.zeros(len(coordinates), np.int64)
        for axis, (chunk, count) in enumerate(zip(chunk_shape, grid, strict=True)):
            numbers *= count
            numbers += coordinates[:, axis] // chunk
        if (np.diff(numbers) <= 0).any():
            order = np.argsort(numbers, kind="stable")
            numbers, offsets, sizes, masks = (a[order] for a in (numbers, offsets, sizes, masks))
            if (np.diff(numbers) == 0).any():
                fault = "two chunks are listed for one place"
        small = len(sizes) == 0 or int(sizes.max()) < 1 << 32
        return cls(
            grid=grid,
            numbers=numbers,
            offsets=offsets,
            sizes=sizes.astype(np.uint32) if small else sizes,
            masks=masks.astype(np.uint32) if masks.any() else None,
            complete=len(numbers) == math.prod(grid),
            fault=fault,
        )

    def __len__(self) -> int:
        """Give how many chunks the file holds."""
        return len(self.numbers)

    @property
    def nbytes(self) -> int:
        """The memory that the table takes."""
        arrays = (self.numbers, self.offsets, self.sizes, self.masks)
        return sum(array.nbytes for array in arrays if array is not None)

    def find(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
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

    def places(self, entries: NDArray[np.int64]) -> NDArray[np.int64]:
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
            ...     offsets=np.array([500, 532, 900]), sizes=np.array([32] * 3),
            ...     masks=np.array([0] * 3))
            >>> table.runs(0, 3)
            [(500, 64), (900, 32)]
        """
        span = self.span(first, stop)
        offsets, sizes = (array[span.start : span.stop] for array in (self.offsets, self.sizes))
        order = np.argsort(offsets, kind="stable")
        starts = offsets[order]
        ends = starts + sizes[order].astype(np.int64)
        begins = np.append(True, starts[1:] != ends[:-1])[: len(starts)]
        firsts, lasts = starts[begins], ends[np.append(begins[1:], True)[: len(starts)]]
        return list(zip(firsts.tolist(), (lasts - firsts).tolist(), strict=True))

    def mask(self, entry: int) -> int:
        """Give the filter mask of an entry: bit i is set where filter i was left out."""
        return 0 if self.masks is None else int(self.masks[entry])

    def coordinates(self, entry: int, chunk_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Give the first element of an entry's chunk."""
        place = np.unravel_index(int(self.numbers[entry]), self.grid)
        return tuple(int(p) * c for p, c in zip(place, chunk_shape, strict=True))


def _fault(
    grid: tuple[int, ...], coordinates: NDArray[np.int64], chunk_shape: tuple[int, ...]
) -> str | None:
    if math.prod(grid) >= LARGEST_GRID:
        return f"its shape makes {math.prod(grid)} chunks, more than can be numbered"
    chunks = np.array(chunk_shape, np.int64)
    if (coordinates % chunks).any():
        return "HDF5 lists a chunk that begins inside another"
    places = coordinates // chunks
    if (places < 0).any() or (places >= np.array(grid, np.int64)).any():
        return "HDF5 lists a chunk outside the dataset"
    return None
