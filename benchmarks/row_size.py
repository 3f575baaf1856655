"""How speed grows with the size of a row, from 8 bytes to 1 MiB; batches of 64."""

import shutil
from collections.abc import Iterator

from benchmarks.against import growth
from benchmarks.harness import Bench
from benchmarks.peers import installed
from benchmarks.peers.peer import Data, Epoch, shuffled
from benchmarks.report import Section

BATCH = 64
MOST_ROWS = 100_000
SIZES = (*tuple(8 << k for k in range(0, 18, 3)), 1 << 20)
CANDIDATES = (
    "bare_gather",
    "npdata_loader",
    "npdata_dataset",
    "tensordict_memmap",
    "tensor_dataset",
)


def run(
    bench: Bench,
    sizes: tuple[int, ...] = SIZES,
    names: tuple[str, ...] = CANDIDATES,
    total: int = 256 << 20,
) -> list[Section]:
    """Measure, and give the section of the report."""
    peers, _ = installed(names)

    def points() -> Iterator[tuple[float, Data, Epoch]]:
        # Each file just before it is read: some systems soon drop what lies unread in the cache.
        for size in sizes[::2] if bench.quick else sizes:
            rows = max(BATCH, min(MOST_ROWS, total // size))
            data = Data(folder=bench.folder / str(size), rows=rows, width=size // 4).write()
            yield float(size), data, shuffled(data, batch=BATCH)
            shutil.rmtree(data.folder)

    section = growth(
        peers,
        points(),
        name="row-size",
        title="Speed by size of a row",
        note=f"batches of {BATCH}, no workers, a label of 8 bytes beside each row, "
        f"up to {MOST_ROWS:,} rows of {total >> 20} MiB in all.",
        x="bytes a row",
        rounds=bench.rounds,
    )
    return [section]
