"""What of a file is in memory: nothing of it, or all of it as reading left it there.

Idea: the kernel keeps what a program wrote piece by piece in small pieces, and what it read ahead
from the disk in large ones, from which rows are gathered a fourth faster. A training run finds
files that were read. Invariant: where a file is not gone, the answer says so. It needs
no rights, and leaves other files alone.
"""

import os
from pathlib import Path

from benchmarks.harness import UnavailableError

_PAGES_ASKED = 256


def warm(path: Path, *, small: bool = False) -> None:
    """Have a file in memory as reading it from start to end leaves it there, where that can be.

    With `small` in the smallest pages, as all are of a file of few MiB.
    """
    with path.open("rb+", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if small:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        while file.read(8 << 20):
            pass


def drop(path: Path) -> None:
    """Let a file leave memory; raises UnavailableError where it stays."""
    with path.open("rb", buffering=0) as file:
        left = _drop_cached(file.fileno(), path.stat().st_size)
    if left > 0.02:
        raise UnavailableError(f"the file cannot be dropped from memory: {left:.0%} is still there")


def _cached_part(descriptor: int, stop: int) -> float | None:
    """Give the part of the first `stop` bytes of a file that is in the page cache.

    Evenly spread pages are read without waiting (RWF_NOWAIT), which brings none into memory.
    """
    if not hasattr(os, "RWF_NOWAIT") or stop <= 0:
        return None
    places = range(0, stop, max(os.sysconf("SC_PAGE_SIZE"), stop // _PAGES_ASKED))
    found = 0
    for place in places:
        try:
            found += os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT)
        except BlockingIOError:
            continue
        except OSError:
            return None
    return found / len(places)


def _drop_cached(descriptor: int, stop: int) -> float:
    """Ask that the first `stop` bytes leave the page cache; give the part that is still there."""
    if not hasattr(os, "posix_fadvise"):
        return 1.0
    os.posix_fadvise(descriptor, 0, stop, os.POSIX_FADV_DONTNEED)
    left = _cached_part(descriptor, stop)
    return 1.0 if left is None else left
