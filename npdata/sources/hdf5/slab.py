"""Decoded chunks of this process, within a budget of bytes: the least recently used goes first.

Idea: whoever needs chunks leases them; those that nobody has decoded yet are the leaser's to
decode, and others that need them wait. Invariants: a chunk is decoded by one thread only; a
leased chunk stays in place; the chunks held never exceed the budget, except for a single chunk
larger than it. A thread that holds a lease never waits for room, so that nobody waits for ever.
One slab a process, made anew after a fork; this module decodes nothing.
"""

import itertools
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from torch.utils.data import get_worker_info

from npdata.process import PerProcess
from npdata.sources.hdf5.arena import Arena, slot_size

SLAB_BYTES = 256 << 20
"""The budget of a process without DataLoader workers, and of all workers of a DataLoader."""
BUDGET_VARIABLE = "NPDATA_SLAB_BYTES"

Key = tuple[int, int]


@dataclass(slots=True, eq=False)
class Entry:
    """One chunk: where it is, how many leases hold it, whether it can be read.

    `offset` is its place in the memory of its arena; `gone` tells that no new lease finds it.
    """

    key: Key
    arena: Arena
    slot: int
    offset: int
    leases: int = 0
    ready: bool = False
    gone: bool = False
    error: Exception | None = None


@dataclass(kw_only=True)
class Lease:
    """Chunks that stay in place: all of them in `entries`, those to decode in `fresh`."""

    arena: Arena
    entries: list[Entry] = field(default_factory=list)
    fresh: list[Entry] = field(default_factory=list)


class Slab:
    """Decoded chunks within `budget` bytes, and `threads` threads that decode."""

    def __init__(self, budget: int, threads: int) -> None:
        """Start empty."""
        self.budget = budget
        self.threads = threads
        self.used = 0
        self._changed = threading.Condition(threading.Lock())
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._arenas: dict[int, Arena] = {}
        self._gone: deque[int] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def most(self, chunk_bytes: int) -> int:
        """Give how many chunks of this size a lease may hold: a quarter of the budget."""
        return max(1, self.budget // 4 // slot_size(chunk_bytes))

    def lease(self, owner: int, numbers: Sequence[int], chunk_bytes: int) -> Lease:
        """Lease the chunks `numbers` (unique, at most `most`) of `owner`, waiting for room."""
        size = slot_size(chunk_bytes)
        with self._changed:
            self._forget_gone()
            while True:
                keys = [(owner, number) for number in numbers]
                found = [self._entries.get(key) for key in keys]
                if self._make_room(size, found.count(None), keys):
                    return self._take(keys, found, size)
                self._changed.wait()

    def done(self, entry: Entry, error: Exception | None = None) -> None:
        """Tell that a fresh chunk is decoded, or why it can't be."""
        with self._changed:
            entry.ready, entry.error = error is None, error
            if error is not None:
                self._drop(entry)
            self._changed.notify_all()

    def wait(self, lease: Lease) -> None:
        """Wait until every chunk of a lease is decoded; raises what its decoding raised."""
        if all(entry.ready for entry in lease.entries):
            return
        with self._changed:
            for entry in lease.entries:
                while not entry.ready and entry.error is None:
                    self._changed.wait()
                if entry.error is not None:
                    raise entry.error

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        with self._changed:
            for entry in lease.fresh:
                if not entry.ready and entry.error is None:
                    entry.error = InterruptedError("the decoding of a chunk was interrupted")
                    self._drop(entry)
            for entry in lease.entries:
                entry.leases -= 1
                if entry.leases == 0 and entry.gone:
                    self._free(entry, keep=False)
            self._changed.notify_all()

    def forget(self, owner: int) -> None:
        """Drop the chunks of an owner, now or as soon as nobody is in the way."""
        self._gone.append(owner)
        if self._changed.acquire(blocking=False):
            try:
                self._forget_gone()
            finally:
                self._changed.release()

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads that decode besides the one that asks."""
        with self._changed:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max(1, self.threads - 1), "npdata-decode")
            return self._pool

    def _drop(self, entry: Entry) -> None:
        if not entry.gone:
            entry.gone = True
            del self._entries[entry.key]

    def _take(self, keys: list[Key], found: list[Entry | None], size: int) -> Lease:
        arena = self._arena(size)
        lease = Lease(arena=arena)
        for key, entry in zip(keys, found, strict=True):
            if entry is None:
                slot = arena.take()
                entry = self._entries[key] = Entry(key, arena, slot, slot * size)
                self.used += size
                lease.fresh.append(entry)
            else:
                self._entries.move_to_end(key)
            entry.leases += 1
            lease.entries.append(entry)
        return lease

    def _make_room(self, size: int, count: int, keys: list[Key]) -> bool:
        if count == 0:
            return True
        wanted = set(keys)
        need = size * count
        while self.used and (self.used + need > self.budget or self._arena(size).free < count):
            victim = next(self._idle(wanted), None)
            if victim is None:
                return False
            self._drop(victim)
            self._free(victim, keep=victim.arena.slot_bytes == size)
        return True

    def _idle(self, wanted: set[Key]) -> Iterator[Entry]:
        for entry in self._entries.values():
            if entry.leases == 0 and entry.key not in wanted:
                yield entry

    def _free(self, entry: Entry, *, keep: bool) -> None:
        entry.arena.put(entry.slot, keep=keep)
        self.used -= entry.arena.slot_bytes

    def _arena(self, size: int) -> Arena:
        arena = self._arenas.get(size)
        if arena is None:
            arena = self._arenas[size] = Arena(size, max(1, self.budget // size))
        return arena

    def _forget_gone(self) -> None:
        while self._gone:
            owner = self._gone.popleft()
            for entry in [e for e in self._entries.values() if e.key[0] == owner]:
                self._drop(entry)
                if entry.leases == 0:
                    self._free(entry, keep=False)


def share(total: int, workers: int | None) -> int:
    """Give this process its part of a budget or a number of threads.

    Examples:
        >>> share(256, None), share(256, 4), share(2, 4)
        (256, 64, 1)
    """
    return max(1, total // (workers or 1))


def _make() -> Slab:
    worker = get_worker_info()
    workers = None if worker is None else worker.num_workers
    return Slab(share(default_budget(), workers), share(_processors(), workers))


def default_budget() -> int:
    """Give the bytes that all workers together may hold: `NPDATA_SLAB_BYTES`, or 256 MiB."""
    return int(os.environ.get(BUDGET_VARIABLE, SLAB_BYTES))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_slab = PerProcess(_make)
_owners = itertools.count()


def slab() -> Slab:
    """Give the slab of this process."""
    return _slab.get()


def new_owner() -> int:
    """Give a number that no other owner in this process has."""
    return next(_owners)
