"""Which runs of consecutive rows to read for a set of row numbers: pure arithmetic.

Idea: HDF5 reads sorted slices well and single rows badly, so the rows are sorted, made unique and
joined into runs; the order that was asked for is restored afterwards. Invariant:
`rows[inverse] == indices`, where `rows` are those of the runs, end to end. No I/O, no h5py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Runs `[starts[k], stops[k])` to be read one after the other; int64 arrays.

    `inverse[j]` is the place of the j-th row asked for among the rows read, or None where the
    rows read are the rows asked for, in order.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    inverse: NDArray[np.int64] | None

    @property
    def rows(self) -> int:
        """How many rows are read."""
        return int((self.stops - self.starts).sum())


def plan_runs(indices: NDArray[np.int64]) -> RunPlan:
    """Decide which runs to read for `indices` (int64, in any order, with duplicates).

    Examples:
        >>> plan = plan_runs(np.array([7, 3, 4, 7]))
        >>> plan.starts.tolist(), plan.stops.tolist(), plan.inverse.tolist()
        ([3, 7], [5, 8], [2, 0, 1, 2])
    """
    inverse = None
    unique = indices
    if len(indices) > 1 and (np.diff(indices) <= 0).any():
        unique, inverse = np.unique(indices, return_inverse=True)
    last = np.flatnonzero(np.diff(unique) != 1)
    if len(unique) == 0:
        return RunPlan(starts=unique, stops=unique, inverse=None)
    starts = unique[np.concatenate([[0], last + 1])]
    stops = unique[np.concatenate([last, [len(unique) - 1]])] + 1
    return RunPlan(starts=starts, stops=stops, inverse=inverse)
