"""The questions of a run, in the order of the report, and the modules that answer them.

Idea: a module is imported when its question is asked, since each may need packages of its own.
"""

from benchmarks.harness import Bench, imported
from benchmarks.report import Section

QUESTIONS = {
    "before_after": "before_after",
    "peers": "beside_peers",
    "memory": "memory",
    "sources": "sources",
    "files": "files",
    "row_size": "row_size",
    "rows": "rows",
    "batch_size": "batch_size",
    "workers": "workers",
    "chunks": "chunks",
    "spans": "spans",
    "dataloader": "main_job",
    "hdf5": "hdf5",
    "cache": "cache",
    "datasets": "datasets",
    "loader": "loader",
    "large_batches": "large_batches",
    "small_batches": "small_batches",
    "habits": "habits",
    "statistics": "field_statistics",
    "path": "path",
    "interpreter": "interpreter",
    "free_threads": "free_threads",
    "cores": "cores",
    "defaults": "defaults",
    "resident": "resident",
    "order": "order",
    "cold": "cold",
    "gpu": "gpu",
}

QUICK = ("peers", "dataloader", "sources", "rows", "batch_size", "workers")
"""What is asked in three minutes."""


def answer(name: str, bench: Bench) -> list[Section]:
    """Ask a question; raises `UnavailableError` where this machine cannot answer it."""
    sections: list[Section] = imported(f"benchmarks.{QUESTIONS[name]}").run(bench)
    return sections
