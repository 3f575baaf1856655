"""What of a file is in memory: nothing of it, or all of it as reading left it there.

Idea: the kernel keeps what a program wrote piece by piece in small pieces, and what it read ahead
from the disk in large ones, from which rows are gathered a fourth faster. A training run finds
files that were read. Invariant: that a file is gone is checked. It needs no rights, and leaves
other files alone.
"""

import os
from pathlib import Path

from benchmarks.harness import UnavailableError

MIB = 1 << 20


def warm(path: Path) -> None:
    """Read a file from start to end, from the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    drop(path)
    with path.open("rb", buffering=0) as file:
        while file.read(8 * MIB):
            pass


def drop(path: Path) -> None:
    """Let the file leave the page cache, and check that it has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        size, there = path.stat().st_size, 0
        for offset in range(0, size, size // 100):
            try:
                there += os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
            except BlockingIOError:
                continue
        if there > 2:
            raise UnavailableError(
                f"the file cannot be dropped from memory: {there} of 100 places are still there"
            )
    finally:
        os.close(descriptor)
