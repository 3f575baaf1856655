"""Rows of sources laid end to end, read part by part: any rows, or runs of them.

Idea: each part reads what it has of them at once. Runs of parts whose rows lie in place are copied
by one call. Invariant: what it gives is fresh memory, also of a part that gives views of its rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.arrays.runs import cut
from npdata.sources.base import Source
from npdata.sources.concatenated.edges import Edges, grouped

Ints = NDArray[np.int64]
Runs = list[NDArray[Any]]


def read_runs(
    starts: Ints,
    stops: Ints,
    *,
    edges: Ints,
    in_place: NDArray[np.bool_],
    copy: Callable[[Ints, Ints, Ints, NDArray[Any]], None],
    part: Callable[[int], Source],
    shape: tuple[int, ...],
    dtype: DType,
) -> Runs | None:
    """Give the rows `[starts[k], stops[k])`, of `shape` and `dtype`; None where any cross an edge.

    Part k has the rows from `edges[k]` to `edges[k + 1]`. Where `in_place[k]`, `copy` puts the rows
    of given parts, starts and stops into a buffer, one run after the other. Else `part` gives it.
    """
    some = np.flatnonzero(stops > starts)
    found: Runs = [np.empty((0, *shape), dtype)] * len(starts)
    owners = np.searchsorted(edges, starts[some], side="right") - 1
    if (stops[some] > edges[owners + 1]).any():
        return None
    there = some[in_place[owners]]
    sizes = (stops - starts)[there]
    rows = np.empty((int(sizes.sum()), *shape), dtype)
    if rows.size:
        copy(owners[in_place[owners]], starts[there], stops[there], rows)
    for k, run in zip(there.tolist(), cut(rows, sizes), strict=True):
        found[k] = run
    elsewhere = some[~in_place[owners]]
    for owner, at in grouped(owners[~in_place[owners]]):
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
    """Let each of the `owners` read those of `rows` that it has; with `places`, to these."""
    for owner, at, inside in edges.split(rows, owners):
        if len(inside) == len(out):
            part(owner).read(inside, out)
            return
        read = np.empty((len(inside), *out.shape[1:]), out.dtype)
        part(owner).read(inside, read)
        out[at if places is None else places[at]] = read
