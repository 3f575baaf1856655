"""What of a file is in memory: nothing of it, or all of it as reading left it there.

Idea: the kernel keeps what a program wrote piece by piece in small pieces, and what it read ahead
from the disk in large ones, from which rows are gathered a fourth faster. A training run finds
files that were read. Invariant: where a file is not gone, the answer says so. It needs
no rights, and leaves other files alone.
"""

import os
from pathlib import Path

from benchmarks.harness import UnavailableError
from npdata.cli.bench.page_cache import drop_cached


def warm(path: Path) -> None:
    """Have a file in memory as reading it from start to end leaves it there, where that can be."""
    with path.open("rb+", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(8 << 20):
            pass


def drop(path: Path) -> None:
    """Let a file leave memory; raises UnavailableError where it stays."""
    with path.open("rb", buffering=0) as file:
        left = drop_cached(file.fileno(), path.stat().st_size)
    if left > 0.02:
        raise UnavailableError(f"the file cannot be dropped from memory: {left:.0%} is still there")
