"""The ways to read the rows that are compared, and the orders that they are read in.

Idea: a way is a kind of reader and a number of helpers, an order a value of `shuffle`. Invariant:
which ways are compared follows from what is known of the data alone, and one that is left out has
a reason that people can read. Pure: nothing is opened here.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from npdata.cli.bench.facts import Facts
from npdata.cli.console import bytes_text
from npdata.sampling.order.epoch_order import Shuffle

Kind: TypeAlias = Literal["plain", "h5py", "dataloader", "loader", "ceiling"]
OrderName: TypeAlias = Literal["sequential", "block", "full"]

ORDERS: dict[OrderName, Shuffle] = {"sequential": False, "block": "block", "full": "full"}
TITLES: dict[OrderName, str] = {
    "sequential": "sequential",
    "block": "block shuffle",
    "full": "full shuffle",
}


@dataclass(frozen=True, kw_only=True)
class Way:
    """A kind of reader; `helpers` are its worker processes or threads."""

    kind: Kind
    name: str
    helpers: int = 0

    @property
    def ours(self) -> bool:
        """Whether it is npdata that reads."""
        return self.kind in ("dataloader", "loader")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A way that is not measured, in one order or (None) in any, and why."""

    way: Way
    reason: str
    order: OrderName | None = None


def ways_of(
    facts: Facts, *, helpers: int, ceiling: str
) -> tuple[tuple[Way, ...], tuple[LeftOut, ...]]:
    """Give the ways to compare, the plain one first, and those that are left out.

    `ceiling` names the bare operation that reading cannot be faster than.
    """
    row_by_row = "h5py, row by row" if facts.hdf5 else "NumPy, row by row"
    ways = [Way(kind="plain", name=row_by_row)]
    if facts.hdf5:
        ways.append(Way(kind="h5py", name="h5py, sorted batches"))
    ways.append(Way(kind="dataloader", name="DataLoader, 0 workers"))
    ways.append(Way(kind="loader", name="Loader, 0 threads"))
    left_out = []
    if helpers:
        noun = "worker" if helpers == 1 else "workers"
        workers = Way(kind="dataloader", name=f"DataLoader, {helpers} {noun}", helpers=helpers)
        # Each worker makes one batch and has another ready, and one is with the loop.
        needed = facts.batch_bytes * (2 * helpers + 1)
        if facts.shared_bytes is not None and needed > facts.shared_bytes:
            left_out.append(
                LeftOut(
                    way=workers,
                    reason=f"its batches take {bytes_text(needed)} of shared memory, of which "
                    f"{bytes_text(facts.shared_bytes)} are free",
                )
            )
        else:
            ways.append(workers)
        noun = "thread" if helpers == 1 else "threads"
        threads = Way(kind="loader", name=f"Loader, {helpers} {noun}", helpers=helpers)
        if any(field.access == "library" for field in facts.fields):
            left_out.append(
                LeftOut(way=threads, reason="h5py reads one row range at a time, under a lock")
            )
        else:
            ways.append(threads)
    ways.append(Way(kind="ceiling", name=ceiling))
    return tuple(ways), tuple(left_out)
