"""Other ways to the same batches, one file each; `PEERS` is the order of every table."""

import importlib

from benchmarks.peers.peer import Peer

PEERS = (
    "bare_gather",
    "npdata_loader",
    "npdata_dataset",
    "tensordict_memmap",
    "tensor_dataset",
    "h5py_dataset",
    "hf_datasets",
    "sc_dataset",
    "grain_map",
    "torchdata_nodes",
    "spdl_pipeline",
)


def installed(names: tuple[str, ...] = PEERS) -> tuple[list[Peer], list[str]]:
    """Give the peers whose packages are there, and a line for each of the others."""
    peers, skipped = [], []
    for name in names:
        try:
            peers.append(importlib.import_module(f"benchmarks.peers.{name}").PEER)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith(__package__):
                raise
            skipped.append(f"{name} left out: no {error.name}; pip install 'npdata[bench]'")
    return peers, skipped
