"""Whether all ranks read in one order: each compares its own with that of the first to begin.

Idea: ranks that differ in seed, rows or memory would read some rows twice and others never, and no
rank sees it alone. torch.distributed has a store, where the first rank to read leaves what decides
the order. Invariant: no rank waits for another, and none is refused: where the store does
not answer, nothing is compared.
"""

import contextlib
import json
from collections import Counter
from typing import Any

import torch.distributed as dist

from npdata.errors import RanksWarning, warn
from npdata.sampling.epochs import Epochs, Start
from npdata.sampling.order.recipe import shuffle_name
from npdata.sampling.states import SPLIT, state_at

_CHECKSUMS = {
    "indices_checksum": f"other rows by indices= or a Subset{SPLIT}",
    "weights_checksum": "other weights=",
    "blocks_checksum": "files of other chunks",
    "block_rows": "other blocks",
    "window_blocks": "another window (window_blocks=, NPDATA_CACHE_BYTES)",
}
"""What differs between ranks where numbers of these names do."""
_made: Counter[int] = Counter()
"""How many samplers of so many rows this process has made."""


def number_among_its_like(rows: int) -> int:
    """Give how many samplers of so many rows came before: ranks that run one program agree.

    Examples:
        >>> first = number_among_its_like(1 << 40)
        >>> number_among_its_like(1 << 40) - first
        1
    """
    _made[rows] += 1
    return _made[rows] - 1


def warn_of_other_orders(epochs: Epochs, start: Start) -> None:
    """Issue a `RanksWarning` where a rank that came before begins its first epoch in another order.

    Later epochs follow from it. The store would keep an entry of each to the end.
    """
    store = None if epochs.rank is not None else _store()
    if store is None:
        return
    mine = state_at(start, epochs, dist.get_world_size())
    key = f"npdata/{epochs.recipe.rows}/{epochs.number}"
    theirs = mine
    with contextlib.suppress(RuntimeError, ValueError):  # the other end is gone, or is no store
        theirs = json.loads(store.compare_set(key, "", json.dumps(mine)))
    different = [name for name in mine if mine[name] != theirs.get(name)]
    if different:
        told = ", ".join(_difference(name, mine[name], theirs.get(name, -1)) for name in different)
        warn(
            f"rank {dist.get_rank()} reads {epochs.recipe.rows} rows in another order than a rank "
            f"that began before: {told}. So some rows are read twice, and others never: make it "
            "with the same arguments on all ranks; where one rank alone reads, or each has data "
            "of its own, write rank=0, world_size=1",
            RanksWarning,
        )


def _store() -> Any:
    """Give the store of torch.distributed, None without other ranks."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() < 2:
        return None
    find = getattr(dist.distributed_c10d, "_get_default_store", None)
    return None if find is None else find()


def _difference(name: str, mine: int, theirs: int) -> str:
    if name in _CHECKSUMS:
        return _CHECKSUMS[name]
    shown = shuffle_name if name == "shuffle" else repr
    return f"{name}={shown(mine)} here, {shown(theirs)} there"
