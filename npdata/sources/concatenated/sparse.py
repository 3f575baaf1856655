"""Sparse rows of several sources, laid end to end, and sparse still.

Idea: each part reads the values of its own rows. Invariant: row i is the one that the parts, in
their order, have at place i; parts of other columns or another dtype are refused.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.runs import rows_of_runs
from npdata.sources.concatenated.joined import Joined
from npdata.sources.concatenated.parts import rows_of
from npdata.sources.concatenated.runs import read_parts
from npdata.sources.ragged import Ints
from npdata.sources.sparse import Entries, SparseSource


class SparseParts(Joined, SparseSource):
    """The sparse rows of all `parts`, one part after the other."""

    parts: tuple[SparseSource, ...]

    def __init__(self, parts: Sequence[SparseSource], paths: Sequence[str] = ()) -> None:
        super().__init__(parts, paths, _shown)
        first = parts[0]
        self.shape = (int(self.edges.starts[-1]), *first.shape[1:])
        self.dtype, self.layout = first.dtype, first.layout

    @property
    def stored_bytes(self) -> int:
        """The bytes of the values and columns of a row of mean length."""
        return -(-sum(len(p) * p.stored_bytes for p in self.parts) // max(1, len(self)))

    def entries(self, rows: Ints) -> Entries:
        """Read the values of rows, out of each part those that it has."""
        read: list[tuple[Ints, Entries]] = [
            (places, self._opened(owner).entries(inside))
            for owner, places, inside in self.edges.split(rows, self.edges.owners(rows))
        ]
        if len(read) == 1:
            return read[0][1]
        counts = np.zeros(len(rows), np.int64)
        for places, entries in read:
            counts[places] = entries.counts
        firsts, total = np.cumsum(counts) - counts, int(counts.sum())
        numbers = np.result_type(np.int32, *(entries.columns.dtype for _, entries in read))
        columns = np.empty(total, numbers)
        values = np.empty(total, self.dtype)
        for places, entries in read:
            at = rows_of_runs(firsts[places], firsts[places] + entries.counts)
            columns[at], values[at] = entries.columns, entries.values
        return Entries(counts=counts, columns=columns, values=values)

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Write dense rows, of each part those that it has."""
        read_parts(self.edges, indices, self.edges.owners(indices), out, self._opened)


def _shown(part: SparseSource) -> str:
    return rows_of(part.shape[1:], part.dtype)
