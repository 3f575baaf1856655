"""The questions of a run, in the order of the report."""

from collections.abc import Callable

from benchmarks import (
    batch_size,
    beside_peers,
    chunks,
    cold,
    gpu,
    hdf5,
    loader,
    main_job,
    memory,
    order,
    row_size,
    rows,
    sources,
    workers,
)
from benchmarks.harness import Bench
from benchmarks.report import Section

QUESTIONS: dict[str, Callable[[Bench], list[Section]]] = {
    "peers": beside_peers.run,
    "memory": memory.run,
    "sources": sources.run,
    "row_size": row_size.run,
    "rows": rows.run,
    "batch_size": batch_size.run,
    "workers": workers.run,
    "chunks": chunks.run,
    "dataloader": main_job.run,
    "hdf5": hdf5.run,
    "loader": loader.run,
    "order": order.run,
    "cold": cold.run,
    "gpu": gpu.run,
}

QUICK = ("peers", "dataloader", "sources", "rows", "batch_size", "workers")
"""What is asked in three minutes."""
