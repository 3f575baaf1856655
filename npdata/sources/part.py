"""Some rows of a source, held under the numbers that they have there.

Idea: who needs a part of the rows holds these alone, end to end, and asks for them by their own
numbers. Invariant: a row that is not held is refused, never another row.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.errors import RowIndexError
from npdata.sources.base import Source
from npdata.sources.derived import DerivedSource


class PartSource(DerivedSource):
    """`count` rows, of which `held` are those with the numbers `numbers`, ascending.

    Examples:
        >>> part = PartSource(npdata.open_source(np.array([50, 70])), np.array([5, 7]), 9)
        >>> out = np.empty(3, np.int64)
        >>> part.read(np.array([7, 5, 7]), out)
        >>> len(part), out.tolist()
        (9, [70, 50, 70])
    """

    def __init__(self, held: Source, numbers: NDArray[np.int64], count: int) -> None:
        """Hold the rows of `held`."""
        super().__init__(held)
        self.shape = (count, *held.shape[1:])
        self.places = Places(numbers, count)

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy the rows with these numbers; raises `RowIndexError` for one that is not held."""
        self.rows.read(self.places.of(indices), out)


class Places:
    """Where the rows with the numbers `numbers`, ascending and each in [0, count), lie.

    Examples:
        >>> Places(np.array([5, 7]), 9).of(np.array([7, 5])).tolist()
        [1, 0]
    """

    def __init__(self, numbers: NDArray[np.int64], count: int) -> None:
        self._numbers = numbers
        self._first = int(numbers[0]) if len(numbers) else 0
        self._run = len(numbers) > 0 and int(numbers[-1]) - self._first + 1 == len(numbers)
        self._table: NDArray[np.int64] | None = None
        # For a run of 8,192 rows a table takes 20 µs and a search 1 ms; it may be large beside it.
        if not self._run and count <= 16 * len(numbers):
            self._table = np.full(count, -1)
            self._table[numbers] = np.arange(len(numbers))

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the place of each row; raises `RowIndexError` (an IndexError) for one without."""
        places: NDArray[np.int64]
        if self._run:
            places = rows - self._first
            wrong = (places < 0) | (places >= len(self._numbers))
        elif self._table is not None:
            places = self._table[rows]
            wrong = places < 0
        else:
            places = np.searchsorted(self._numbers, rows)
            places = np.minimum(places, max(0, len(self._numbers) - 1))
            found = self._numbers[places] if len(self._numbers) else np.full(len(rows), -1)
            wrong = found != rows
        if wrong.any():
            raise RowIndexError(
                f"row {rows[wrong][0]} is none of the {len(self._numbers)} rows that are loaded"
            )
        return places
