"""Run a function in processes that meet through gloo, and give what each returned.

A server that has imported torch and the trainers forks them: to start an interpreter for each took
most of the time. The server itself has no threads.
"""

import importlib.util
import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

TRAINERS = ("accelerate", "lightning", "transformers.trainer")
"""What takes seconds to import; keras looks for a backend when it is imported."""


def _one(rank: int, world: int, port: int, folder: str, function: Any, arguments: bytes) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        TORCHELASTIC_USE_AGENT_STORE="True",  # there is a store at the port, as under torchrun
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world),
        LOCAL_WORLD_SIZE=str(world),
        OMP_NUM_THREADS="1",
    )
    torch.set_num_threads(1)
    found = function(rank, *pickle.loads(arguments))
    (Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    os._exit(0)  # threads of the process group may abort the end of the interpreter


def on_ranks(folder: Path, function: Callable[..., Any], *arguments: Any, world: int = 2) -> Any:
    """Call `function(rank, *arguments)` on each rank; give the results in the order of ranks."""
    there = [name for name in TRAINERS if importlib.util.find_spec(name.split(".")[0])]
    multiprocessing.set_forkserver_preload(["torch.distributed", "npdata", *there])
    # It chooses a port and keeps it; one that is only looked up may be taken before its use.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    # As bytes: tensors that are sent lie in memory that all ranks share.
    sent = (world, store.port, str(folder), function, pickle.dumps(arguments))
    mp.start_processes(_one, sent, nprocs=world, start_method="forkserver")
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(world)]
