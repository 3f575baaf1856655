"""Ranks that would read in different orders say so, in real processes of torch.distributed."""

import json
import re
from typing import Any

import pytest
from processes import running

RANK = """
import json, sys, warnings
import numpy as np, torch, torch.distributed as dist
from torch.utils.data import DataLoader, random_split
import npdata

rank, port = int(sys.argv[1]), int(sys.argv[2])
store = dist.TCPStore("127.0.0.1", port, 2, rank == 0, wait_for_workers=False)
print(store.port, flush=True)
dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
data = npdata.NumpyDataset(np.arange(100))
torch.manual_seed(rank)
drawn = random_split(data, [0.8, 0.2])[0]
sampler = lambda rows, size, **options: npdata.BlockBatchSampler(rows, size, **options)
resumed = npdata.BlockBatchSampler(70, 5)
resumed.load_state_dict({**resumed.state_dict(), "epoch": 2, "position": 20})
on_one = npdata.BlockBatchSampler(60, 5)
if rank:
    on_one.load_state_dict({**on_one.state_dict(), "position": 20})
CASES = {
    "alike": lambda: npdata.Loader(data, 8, shuffle=True),
    "seed": lambda: npdata.Loader(data, 8, shuffle=True, seed=rank),
    "random_split": lambda: npdata.Loader(drawn, 8, shuffle=True),
    "batch_size": lambda: npdata.Loader(data, 8 + rank, shuffle=False),
    "shuffle": lambda: npdata.Loader(data, 8, shuffle=rank == 1),
    "window": lambda: sampler(100, 8, window_blocks=1 + rank, block_rows=10),
    "weights": lambda: sampler(100, 8, weights=np.ones(100) + np.eye(100)[rank]),
    "DataLoader": lambda: DataLoader(data, batch_sampler=sampler(data, 8, seed=rank)),
    "state of one": lambda: on_one,
    "resumed": lambda: resumed,
    "rank=": lambda: npdata.Loader(data, 8, shuffle=True, seed=rank, rank=rank, world_size=2),
    "alone": lambda: npdata.Loader(data, 8, shuffle=True, seed=rank, rank=0, world_size=1),
}
told = {}
for name, make in CASES.items():
    if name == "rank=" and rank == 0:
        next(iter(npdata.Loader(npdata.NumpyDataset(np.arange(9)), 2)))  # of other rows
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        reading = make()
        for epoch in range(2):
            for batch in reading:
                pass
    told[name] = [f"{each.category.__name__}: {each.message}" for each in found]
    dist.barrier()
print(json.dumps(told), flush=True)
dist.barrier()
dist.destroy_process_group()
"""

DIFFERENCES = {
    "seed": r"seed=\d here, \d there\.",
    "random_split": r"other rows by indices= or a Subset \(of the same",
    "batch_size": r"batch_size=\d here, \d there\.",
    "shuffle": r"shuffle='?\w+'? here, '?\w+'? there",
    "window": r"another window \(window_blocks=, NPDATA_CACHE_BYTES\)\.",
    "weights": r"other weights=\.",
    "state of one": r"position=(0|20) here, (0|20) there\.",
    "DataLoader": r"seed=\d here, \d there\.",
}
SAME = ("alike", "resumed", "rank=", "alone")


@pytest.fixture(scope="module")
def told() -> list[dict[str, Any]]:
    """What each of two ranks was warned of, in each case."""
    variables = {"GLOO_SOCKET_IFNAME": "lo"}
    with running(RANK, "0", "0", **variables) as (_, first):
        port = first.readline().strip()
        with running(RANK, "1", port, **variables) as (_, second):
            second.readline()
            return [json.loads(out.readline()) for out in (first, second)]


@pytest.mark.parametrize("case", DIFFERENCES)
def test_ranks_of_different_orders_say_what_differs(case: str, told: list[dict[str, Any]]) -> None:
    # The rank that begins later, once for all epochs.
    (message,) = (message for each in told for message in each[case])
    assert message.startswith("RanksWarning: rank ")
    assert re.search(DIFFERENCES[case], message)
    assert "write rank=0, world_size=1" in message


@pytest.mark.parametrize("case", SAME)
def test_ranks_of_one_order_say_nothing(case: str, told: list[dict[str, Any]]) -> None:
    assert [each[case] for each in told] == [[], []]
