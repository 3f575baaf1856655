"""How much of a file is in memory, and how fast its bytes come from there and from the disk.

Idea: the kernel is asked for single pages without waiting (RWF_NOWAIT), which tells whether they
are in memory and brings none; a part of the file is let go (POSIX_FADV_DONTNEED, which needs no
rights and leaves other files alone) and read again. Invariant: a rate from the disk is given only
where the part was seen to have left memory. The files are only read.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from npdata.arrays.per_process import cores
from npdata.cli.bench.facts import Machine, Storage

_PIECE = 1 << 20
_SAMPLES = 256
_COLD_BYTES = 256 << 20
"""So many bytes are read from the disk at most."""


def look_at(paths: Iterable[str], *, seconds: float) -> Storage:
    """Look at the files and read parts of them for about `seconds`, twice."""
    unique = sorted({str(Path(path).resolve()) for path in paths})
    sizes = {path: Path(path).stat().st_size for path in unique}
    largest = max(unique, key=lambda path: sizes[path])
    with _opened(largest) as descriptor:
        cached = _cached(descriptor, 0, sizes[largest])
        start, stop = 0, min(sizes[largest], _COLD_BYTES)
        disk_rate = None
        if _let_go(descriptor, start, stop):
            disk_rate = _rate(descriptor, start, stop, seconds)
        # What was read is in memory now, for as far as the time was enough.
        _rate(descriptor, start, stop, seconds)
        memory_rate = _rate(descriptor, start, stop, seconds)
    return Storage(
        file_bytes=sum(sizes.values()),
        cached=cached,
        memory_rate=memory_rate,
        disk_rate=disk_rate,
    )


def this_machine() -> Machine:
    """Tell what this process may use."""
    shared = Path("/dev/shm")
    return Machine(
        memory_bytes=min(_memory_limits()),
        cores=cores(),
        shared_bytes=shutil.disk_usage(shared).free if shared.is_dir() else None,
    )


def _memory_limits() -> Iterator[int]:
    yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = Path("/sys/fs/cgroup") / name
        if limit.is_file() and (text := limit.read_text().strip()).isdigit():
            yield int(text)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _cached(descriptor: int, start: int, stop: int) -> float | None:
    """Give the part of evenly spread pages that are in memory."""
    if not hasattr(os, "RWF_NOWAIT") or stop <= start:
        return None
    step = max(os.sysconf("SC_PAGE_SIZE"), (stop - start) // _SAMPLES)
    places = range(start, stop, step)
    there = 0
    for place in places:
        try:
            there += os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT)
        except BlockingIOError:
            continue
        except OSError:
            return None
    return there / len(places)


def _let_go(descriptor: int, start: int, stop: int) -> bool:
    if not hasattr(os, "posix_fadvise") or stop - start < _PIECE:
        return False
    os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_DONTNEED)
    left = _cached(descriptor, start, stop)
    return left is not None and left < 0.05


def _rate(descriptor: int, start: int, stop: int, seconds: float) -> float | None:
    buffer = bytearray(_PIECE)
    begun = time.perf_counter()
    place, spent = start, 0.0
    while place < stop and spent < seconds:
        count = os.preadv(descriptor, [buffer], place)
        if count == 0:
            break
        place += count
        spent = time.perf_counter() - begun
    return (place - start) / spent if spent else None
