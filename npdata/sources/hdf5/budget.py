"""How much memory and how many threads decoded chunks get, in all and in each process.

Idea: a total, which an environment variable may set, divided among the workers of a DataLoader.
Invariant: no process gets nothing. It allocates nothing itself.
"""

import os

SLAB_BYTES = 256 << 20
"""The budget of a process without DataLoader workers, and of all workers of a DataLoader."""
BUDGET_VARIABLE = "NPDATA_SLAB_BYTES"


def default_budget() -> int:
    """Give the bytes that all workers together may hold: `NPDATA_SLAB_BYTES`, or 256 MiB."""
    return int(os.environ.get(BUDGET_VARIABLE, SLAB_BYTES))


def share(total: int, workers: int | None) -> int:
    """Give this process its part of a budget or a number of threads.

    Examples:
        >>> share(256, None), share(256, 4), share(2, 4)
        (256, 64, 1)
    """
    return max(1, total // (workers or 1))
