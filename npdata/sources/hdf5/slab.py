"""Decoded chunks of this process, within a budget of bytes: the least recently used goes first.

Idea: whoever needs chunks that are not there leases them; those that nobody has decoded yet are
the leaser's to decode, and others that need them wait. A read whose chunks are all there leases
nothing: it only says when it begins and ends, and memory is used again when every read that began
before has ended. Invariants: a chunk is decoded by one thread only; a leased chunk, and one that a
read may look at, stays in place; the chunks held never exceed the budget, except for a single
chunk larger than it. A thread that holds a lease never waits for room, so that nobody waits for
ever. One slab a process, made anew after a fork; this module decodes nothing.
"""

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from torch.utils.data import get_worker_info

from npdata.process import PerProcess
from npdata.sources.hdf5.arena import Arena
from npdata.sources.hdf5.residents import Entry, Key, Residents

SLAB_BYTES = 256 << 20
"""The budget of a process without DataLoader workers, and of all workers of a DataLoader."""
BUDGET_VARIABLE = "NPDATA_SLAB_BYTES"


@dataclass(kw_only=True)
class Lease:
    """Chunks that stay in place: all of them in `entries`, those to decode in `fresh`."""

    entries: list[Entry] = field(default_factory=list)
    fresh: list[Entry] = field(default_factory=list)


class Slab:
    """Decoded chunks within `budget` bytes, and `threads` threads that decode."""

    def __init__(self, budget: int, threads: int) -> None:
        """Start empty."""
        self.budget = budget
        self.threads = threads
        self.used = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._arenas: dict[int, Arena] = {}
        self._gone: deque[Residents] = deque()
        self._reads: dict[int, None] = {}
        self._ticket = 0
        self._leaving: deque[tuple[int, Entry, bool]] = deque()
        self._leaving_bytes = 0
        self._ahead: deque[Entry] = deque()
        self._ahead_bytes = 0
        self._pool: ThreadPoolExecutor | None = None

    def most(self, slot_bytes: int) -> int:
        """Give how many slots of this size a lease may hold: a quarter of the budget."""
        return max(1, self.budget // 4 // slot_bytes)

    def arena(self, slot_bytes: int) -> Arena:
        """Give the memory in which all slots of this size lie."""
        with self._changed:
            return self._arena(slot_bytes)

    def begin(self) -> int:
        """Begin a read of chunks that are there: they stay in place until `end`, of this ticket."""
        with self._lock:
            self._ticket += 1
            self._reads[self._ticket] = None
            return self._ticket

    def end(self, ticket: int) -> None:
        """End a read."""
        with self._lock:
            del self._reads[ticket]
            if self._leaving:
                self._settle()
                self._changed.notify_all()

    def lease(self, chunks: Residents, numbers: Sequence[int]) -> Lease:
        """Lease the chunks `numbers` (unique, at most `most`), waiting for room."""
        with self._changed:
            self._forget_gone()
            keys = [(chunks, number) for number in numbers]
            while not self._make_room(chunks.slot_bytes, keys, ahead=False):
                self._changed.wait()
            return self._take(keys, ahead=False)

    def lease_ahead(self, chunks: Residents, number: int) -> Lease | None:
        """Lease a chunk that will be asked for, None where there is no room to spare for it.

        Half of the budget, and what was not used for the longest, is to spare.
        """
        key = (chunks, number)
        with self._changed:
            self._forget_gone()
            while key not in self._entries and self._to_spare(chunks.slot_bytes):
                if self._make_room(chunks.slot_bytes, [key], ahead=True):
                    return self._take([key], ahead=True)
                if not self._leaving:
                    break
                self._changed.wait()
        return None

    def done(self, entry: Entry, error: Exception | None = None) -> None:
        """Tell that a fresh chunk is decoded, or why it can't be."""
        with self._changed:
            entry.error = error
            if error is None:
                entry.show()
            else:
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

    def let_go(self, chunks: Residents, numbers: Sequence[int]) -> None:
        """Let these chunks be the first to go."""
        with self._changed:
            for number in numbers:
                entry = self._entries.get((chunks, number))
                if entry is not None:
                    entry.ahead = False
                    self._entries.move_to_end(entry.key, last=False)

    def forget(self, chunks: Residents) -> None:
        """Drop the chunks of a source, now or as soon as nobody is in the way."""
        self._gone.append(chunks)
        if self._changed.acquire(blocking=False):
            try:
                self._forget_gone()
            finally:
                self._changed.release()

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads that decode besides those that ask."""
        with self._changed:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads, "npdata-decode")
            return self._pool

    def _take(self, keys: list[Key], *, ahead: bool) -> Lease:
        lease = Lease()
        self._ticket += 1
        for key in keys:
            entry = self._entries.get(key)
            if entry is None:
                arena = self._arena(key[0].slot_bytes)
                entry = self._entries[key] = Entry(key, arena, arena.take(), self._ticket, ahead)
                self.used += arena.slot_bytes
                lease.fresh.append(entry)
                if ahead:
                    self._ahead.append(entry)
                    self._ahead_bytes += arena.slot_bytes
            entry.chunks.used[entry.number] = self._ticket
            entry.leases += 1
            lease.entries.append(entry)
        return lease

    def _make_room(self, size: int, keys: list[Key], *, ahead: bool) -> bool:
        """Drop chunks until the missing ones of `keys` fit; False where one has to wait for it."""
        count = sum(key not in self._entries for key in keys)
        arena, wanted = self._arena(size), set(keys)

        def fits(used: int, free: int) -> bool:
            return not used or (used + size * count <= self.budget and free >= count)

        while count and not fits(self.used - self._leaving_bytes, arena.free + arena.leaving):
            victim = self._victim(wanted) or (None if ahead else self._farthest(wanted))
            if victim is None:
                return False
            self._drop(victim)
            self._free(victim, keep=victim.arena is arena)
        return not count or fits(self.used, arena.free)

    def _to_spare(self, size: int) -> bool:
        while self._ahead and not self._ahead[0].waits:
            self._ahead_bytes -= self._ahead.popleft().arena.slot_bytes
        return self._ahead_bytes + size <= self.budget // 2

    def _victim(self, wanted: set[Key]) -> Entry | None:
        """Give the entry that was not used for the longest, of those that nobody waits for."""
        for _ in range(2 * len(self._entries)):
            entry = next(iter(self._entries.values()))
            if not (entry.refreshed() or entry.leases or entry.ahead or entry.key in wanted):
                return entry
            self._entries.move_to_end(entry.key)
        return None

    def _farthest(self, wanted: set[Key]) -> Entry | None:
        """Give the entry that was decoded ahead last, and not asked for yet."""
        there = (e for e in reversed(self._ahead) if not (e.gone or e.leases or e.key in wanted))
        return next(there, None)

    def _drop(self, entry: Entry) -> None:
        if not entry.gone:
            entry.hide()
            del self._entries[entry.key]

    def _free(self, entry: Entry, *, keep: bool) -> None:
        """Give a slot back, once all reads that may look at it have ended."""
        self._leaving.append((self._ticket, entry, keep))
        self._leaving_bytes += entry.arena.slot_bytes
        entry.arena.leaving += 1
        self._settle()

    def _settle(self) -> None:
        oldest = next(iter(self._reads), self._ticket + 1)
        while self._leaving and self._leaving[0][0] < oldest:
            _, entry, keep = self._leaving.popleft()
            entry.arena.put(entry.slot, keep=keep)
            entry.arena.leaving -= 1
            self._leaving_bytes -= entry.arena.slot_bytes
            self.used -= entry.arena.slot_bytes

    def _arena(self, size: int) -> Arena:
        arena = self._arenas.get(size)
        if arena is None:
            arena = self._arenas[size] = Arena(size, max(1, self.budget // size))
        return arena

    def _forget_gone(self) -> None:
        while self._gone:
            chunks = self._gone.popleft()
            for entry in [e for e in self._entries.values() if e.chunks is chunks]:
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


def slab() -> Slab:
    """Give the slab of this process."""
    return _slab.get()
