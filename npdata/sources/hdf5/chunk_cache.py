"""Decoded chunks of this process, within a budget of bytes: what was used long ago goes first.

Idea: whoever needs chunks that are not there leases them; those that nobody has decoded yet are
the leaser's to decode, and others that need them wait. A read whose chunks are all there leases
nothing: it only says when it begins and ends, and memory is used again when every read that began
before has ended. Invariants: a chunk is decoded by one thread only; a leased chunk, and one that a
read may look at, stays in place; the chunks held never exceed the budget, except for a single
chunk larger than it. A thread that holds a lease never waits for room, so that nobody waits for
ever. One slab a process, made anew after a fork; this module decodes nothing.
"""

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from torch.utils.data import get_worker_info

from npdata.arrays.per_process import PerProcess, cores
from npdata.sources.hdf5.budget import default_budget, share
from npdata.sources.hdf5.cache_slots import Arena
from npdata.sources.hdf5.residents import Entry, Key, Residents

_SECONDS = 1.0
"""Who waits looks again after so long: whoever should have told may have been interrupted."""


@dataclass(kw_only=True)
class Lease:
    """Chunks that stay in place: all of them in `entries`, those to decode in `fresh`.

    It is made empty and filled by the slab, so that who was interrupted can still release it.
    """

    entries: list[Entry] = field(default_factory=list)
    fresh: list[Entry] = field(default_factory=list)


class Slab:
    """Decoded chunks within `budget` bytes, and `threads` threads that decode, with the asking one.

    `others` of them are its own: with one more than there are cores, all wait for the interpreter.
    """

    def __init__(self, budget: int, threads: int) -> None:
        """Start empty."""
        self.budget = budget
        self.threads = threads
        self.others = max(1, threads - 1)
        self.used = 0
        self._changed = threading.Condition(threading.Lock())
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._arenas: dict[int, Arena] = {}
        self._gone: deque[Residents] = deque()
        self.reads: dict[int, None] = {}
        """The tickets of reads under way: what is shown while one is in here stays in place.

        A read puts its own in and takes it out, in one step each, which no Ctrl-C comes between.
        """
        self._tickets = itertools.count(1)
        self._leaving: deque[tuple[int, Entry, bool]] = deque()
        self._leaving_bytes = 0
        self._ahead: deque[Entry] = deque()
        self._ahead_bytes = 0
        """The bytes of `_ahead`, with those that were used since it was last gone through."""
        self._pool: ThreadPoolExecutor | None = None

    def most(self, slot_bytes: int) -> int:
        """Give how many slots of this size a lease may hold: a quarter of the budget."""
        return max(1, self.budget // 4 // slot_bytes)

    def arena(self, slot_bytes: int) -> Arena:
        """Give the memory in which all slots of this size lie."""
        with self._changed:
            return self._arena(slot_bytes)

    def ticket(self) -> int:
        """Give a number that is larger than those given before: a time."""
        return next(self._tickets)

    def settle(self) -> None:
        """Give back what waited for a read that has ended."""
        if self._leaving:
            with self._changed:
                self._settle()
                self._changed.notify_all()

    def lease(self, lease: Lease, chunks: Residents, numbers: Sequence[int]) -> None:
        """Lease the chunks `numbers` (unique, at most `most`), waiting for room."""
        keys = [(chunks, number) for number in numbers]
        with self._changed:
            self._forget_gone()
            while not self._make_room(chunks.slot_bytes, keys, ahead=False):
                self._changed.wait(_SECONDS)
            self._take(lease, keys, ahead=False)

    def lease_ahead(self, lease: Lease, chunks: Residents, numbers: Sequence[int]) -> None:
        """Lease chunks that will be asked for; nothing where there is no room to spare for them.

        To spare is what was not used for long, and was not decoded ahead itself.
        """
        with self._changed:
            self._forget_gone()
            for wait in (True, False):
                keys = [(chunks, n) for n in numbers if (chunks, n) not in self._entries]
                if self._make_room(chunks.slot_bytes, keys, ahead=True):
                    self._take(lease, keys, ahead=True)
                    return
                if not (wait and self._leaving):
                    return
                self._changed.wait(_SECONDS)

    def keep_ahead(self, nbytes: int) -> None:
        """Keep at most so many bytes of what was decoded ahead and not used; the newest stay."""
        with self._changed:
            if self._ahead_bytes <= nbytes:
                return
            self._ahead = deque(entry for entry in self._ahead if entry.waits)
            self._ahead_bytes = sum(entry.arena.slot_bytes for entry in self._ahead)
            while self._ahead and self._ahead_bytes > nbytes:
                entry = self._ahead.popleft()
                entry.ahead = False
                self._ahead_bytes -= entry.arena.slot_bytes

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
                    self._changed.wait(_SECONDS)
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
                self._pool = ThreadPoolExecutor(self.others, "npdata-decode")
            return self._pool

    def _take(self, lease: Lease, keys: list[Key], *, ahead: bool) -> None:
        now = self.ticket()
        for key in keys:
            entry = self._entries.get(key)
            if entry is None:
                arena = self._arena(key[0].slot_bytes)
                entry = self._entries[key] = Entry(key, arena, arena.take(), now, ahead)
                self.used += arena.slot_bytes
                lease.fresh.append(entry)
                if ahead:
                    self._ahead.append(entry)
                    self._ahead_bytes += arena.slot_bytes
            entry.chunks.used[entry.number] = now
            entry.leases += 1
            lease.entries.append(entry)

    def _make_room(self, size: int, keys: list[Key], *, ahead: bool) -> bool:
        """Drop chunks until the missing ones of `keys` fit; False where one has to wait for it."""
        count = sum(key not in self._entries for key in keys)
        arena, wanted = self._arena(size), set(keys)

        def fits(used: int, free: int) -> bool:
            return not used or (used + size * count <= self.budget and free >= count)

        spare = True
        while count and not fits(self.used - self._leaving_bytes, arena.free + arena.leaving):
            victim = self._victim(wanted) if spare else None
            spare = victim is not None
            if victim is None and not ahead:
                victim = self._farthest(wanted)
            if victim is None:
                return False
            self._drop(victim)
            self._free(victim, keep=victim.arena is arena)
        return not count or fits(self.used, arena.free)

    def _victim(self, wanted: set[Key]) -> Entry | None:
        """Give an entry that nobody waits for, not used since it was last looked at here."""
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
        self._leaving.append((self.ticket(), entry, keep))
        self._leaving_bytes += entry.arena.slot_bytes
        entry.arena.leaving += 1
        self._settle()

    def _settle(self) -> None:
        oldest = min(list(self.reads), default=None)
        while self._leaving and (oldest is None or self._leaving[0][0] < oldest):
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


def _make() -> Slab:
    worker = get_worker_info()
    workers = None if worker is None else worker.num_workers
    return Slab(share(default_budget(), workers), share(cores(), workers))


_slab = PerProcess(_make)


def slab() -> Slab:
    """Give the slab of this process."""
    return _slab.get()
