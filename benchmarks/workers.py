"""What worker processes and threads add, from none to four."""

from benchmarks.against import growth
from benchmarks.harness import Bench
from benchmarks.peers import installed
from benchmarks.peers.peer import Data, shuffled
from benchmarks.report import Section

WIDTH, BATCH = 784, 256
COUNTS = (0, 1, 2, 4)
CANDIDATES = (
    "npdata_loader",
    "npdata_dataset",
    "tensordict_memmap",
    "tensor_dataset",
    "grain_map",
    "torchdata_nodes",
    "spdl_pipeline",
)


def run(bench: Bench, rows: int = 50_000) -> list[Section]:
    """Measure, and give the section of the report."""
    peers, _ = installed(CANDIDATES)
    data = Data(folder=bench.folder, rows=rows, width=WIDTH).write()
    points = [
        (float(count), data, shuffled(data, batch=BATCH, workers=count))
        for count in (COUNTS[::2] if bench.quick else COUNTS)
    ]
    kinds = ", ".join(f"{peer.name}: {peer.kind}" for peer in peers)
    section = growth(
        peers,
        points,
        name="workers",
        title="Speed by number of workers",
        note=f"rows of 3 KiB and a label, batches of {BATCH}. Workers are, of {kinds}.",
        x="workers",
        rounds=bench.rounds,
    )
    return [section]
