"""Other ways to the same batches, one file each; `PEERS` is the order of every table."""

from benchmarks.harness import UnavailableError, imported
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
            peers.append(imported(f"benchmarks.peers.{name}").PEER)
        except UnavailableError as error:
            skipped.append(f"{name} left out: {error}")
    return peers, skipped
