"""What of a file is in the page cache, and how fast plain reading is with and without it.

Idea: the system says of single pages whether they are there, and drops those of one file when it
is asked to. Invariant: it needs no rights, leaves other files alone, and changes no file. None, or
1.0, stands for what a system cannot say or do.
"""

import os
import time
from pathlib import Path

_PIECE, _MOST_BYTES = 1 << 20, 256 << 20
"""Plain reading goes piece by piece; so many bytes are read at most."""
_PAGES_ASKED = 256


def plain_reading(path: Path, seconds: float) -> tuple[float | None, float | None, float | None]:
    """Give the part that was cached, and bytes a second from memory and from the disk.

    The start of the file is read for about `seconds`, from each. There is a rate from the disk only
    where the file was seen to have left memory.
    """
    size = path.stat().st_size
    stop, from_disk = min(size, _MOST_BYTES), None
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        cached = cached_part(descriptor, size)
        if stop >= _PIECE and drop_cached(descriptor, stop) < 0.05:
            from_disk = _rate(descriptor, stop, seconds)
        # What was read is in memory now, for as far as the time was enough.
        _rate(descriptor, stop, seconds)
        return cached, _rate(descriptor, stop, seconds), from_disk


def cached_part(descriptor: int, stop: int) -> float | None:
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


def drop_cached(descriptor: int, stop: int) -> float:
    """Ask that the first `stop` bytes leave the page cache; give the part that is still there."""
    if not hasattr(os, "posix_fadvise"):
        return 1.0
    os.posix_fadvise(descriptor, 0, stop, os.POSIX_FADV_DONTNEED)
    left = cached_part(descriptor, stop)
    return 1.0 if left is None else left


def _rate(descriptor: int, stop: int, seconds: float) -> float | None:
    buffer = bytearray(_PIECE)
    begun = time.perf_counter()
    place, spent = 0, 0.0
    while place < stop and spent < seconds and (count := os.preadv(descriptor, [buffer], place)):
        place += count
        spent = time.perf_counter() - begun
    return place / spent if spent else None
