"""How speed grows with the size of a batch, from 1 row to 4096."""

from benchmarks.against import growth
from benchmarks.harness import Bench
from benchmarks.peers import installed
from benchmarks.peers.peer import Data, shuffled
from benchmarks.report import Section
from benchmarks.row_size import CANDIDATES

WIDTH = 784
SIZES = (1, 8, 64, 256, 1024, 4096)


def run(bench: Bench, rows: int = 65_536, names: tuple[str, ...] = CANDIDATES) -> list[Section]:
    """Measure, and give the section of the report."""
    peers, _ = installed(names)
    data = Data(folder=bench.folder, rows=rows, width=WIDTH).write()
    # Single rows are slow: a part of the epoch is enough.
    points = [
        (float(size), data, shuffled(data, batch=size, most=rows if size > 8 else rows // 8))
        for size in (SIZES[::2] if bench.quick else SIZES)
    ]
    section = growth(
        peers,
        points,
        name="batch-size",
        title="Speed by size of a batch",
        note="rows of 3 KiB and a label, no workers.",
        x="rows a batch",
        rounds=bench.rounds,
    )
    return [section]
