"""Parts laid end to end, some of whose rows lie in place: what is asked for of these is one copy.

Idea: the rows of all parts in place are gathered by one call, and runs of them copied by one; each
other part reads what it has of them at once. Invariant: what it gives is fresh memory, also of a
part that gives views of its rows.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.runs import cut
from npdata.runtime.made_once import made_once
from npdata.sources.base import Source
from npdata.sources.concatenated.edges import Edges, grouped

Runs = list[NDArray[Any]]


class PartlyInPlace(Source):
    """Rows of parts, of which `in_place` says which lie so; a subclass copies and opens."""

    edges: Edges
    in_place: NDArray[np.bool_]

    @abstractmethod
    def _gather(self, owners: Ints, rows: Ints, out: NDArray[Any]) -> None:
        """Copy `rows`, which parts in place have, to `out`."""

    @abstractmethod
    def _copy_runs(self, owners: Ints, starts: Ints, stops: Ints, out: NDArray[Any]) -> None:
        """Copy runs of rows, which parts in place have, to `out`, one after the other."""

    @abstractmethod
    def _readers(self, owners: Ints) -> Callable[[int], Any]:
        """Give a function that opens each of these parts."""

    @made_once
    def _all_in_place(self) -> bool:
        return bool(self.in_place.all())

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Gather the rows of all parts by one call; parts that are not in place read theirs."""
        if out.size == 0:
            return
        owners = self.edges.owners(indices)
        if self._all_in_place:
            self._gather(owners, indices, out)
            return
        slow = ~self.in_place[owners]
        places = np.flatnonzero(slow)
        if len(places) < len(indices):
            # One gather takes all; what it puts in these places is any row, and is overwritten.
            other = int(slow.argmin())
            rows = np.where(slow, indices[other], indices)
            self._gather(np.where(slow, owners[other], owners), rows, out)
        owners = owners[places]
        read_parts(self.edges, indices[places], owners, out, self._readers(owners), places)

    def runs(self, starts: Ints, stops: Ints) -> Runs:
        """Give runs of rows in fresh memory; those inside one part are not read row by row."""
        edges = self.edges.starts
        some = np.flatnonzero(stops > starts)
        owners = self.edges.owners(starts[some])
        if (stops[some] > edges[owners + 1]).any():
            return super().runs(starts, stops)
        found: Runs = [np.empty((0, *self.shape[1:]), self.dtype)] * len(starts)
        in_place = self.in_place[owners]
        there, sizes = some[in_place], (stops - starts)[some[in_place]]
        rows = np.empty((int(sizes.sum()), *self.shape[1:]), self.dtype)
        if rows.size:
            self._copy_runs(owners[in_place], starts[there], stops[there], rows)
        for k, run in zip(there.tolist(), cut(rows, sizes), strict=True):
            found[k] = run
        elsewhere, owners = some[~in_place], owners[~in_place]
        part = self._readers(owners)
        for owner, at in grouped(owners):
            places, first = elsewhere[at], edges[owner]
            runs = _fresh(part(owner), starts[places] - first, stops[places] - first)
            for k, run in zip(places.tolist(), runs, strict=True):
                found[k] = run
        return found


def _fresh(part: Source, starts: Ints, stops: Ints) -> Runs:
    if part.table is None:
        return part.runs(starts, stops)
    part.check()
    runs = [run.copy() for run in part.runs(starts, stops)]
    part.check()
    return runs


def read_parts(
    edges: Edges,
    rows: Ints,
    owners: Ints,
    out: NDArray[Any],
    part: Callable[[int], Any],
    places: Ints | None = None,
) -> None:
    """Let parts read `rows`, part `owners[k]` the k-th, to `out`, or to these `places` of it."""
    for owner, at, inside in edges.split(rows, owners):
        if len(inside) == len(out):
            part(owner).read(inside, out)
            return
        read = np.empty((len(inside), *out.shape[1:]), out.dtype)
        part(owner).read(inside, read)
        out[at if places is None else places[at]] = read
