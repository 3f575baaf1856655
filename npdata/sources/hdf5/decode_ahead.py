"""Chunks decoded before anyone asks for them, by threads that would otherwise have nothing to do.

Idea: whoever knows the order announces chunks; the threads of the slab take them one by one.
Together with what was decoded ahead and is not used yet they take half of the slab; beyond that the
newest announcements count. Invariant: an announcement is an advice: it may be dropped, it never
takes the place of a chunk in use, and an error in it is met again, and raised, by the read that
needs the chunk. It knows no rows and no files.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from npdata.arrays.per_process import PerProcess
from npdata.sources.hdf5.chunk_cache import Lease, Slab, slab
from npdata.sources.hdf5.residents import Entry, Key, Residents

Decode = Callable[[Entry], None]
"""Decodes a chunk into its place, and tells the slab that it is done, or why not."""

AT_ONCE = 1 << 18
"""Small chunks are taken so many bytes at a time, since taking one costs as much as decoding it."""


class Ahead:
    """The chunks that were announced to `slab` and are not begun yet, in order."""

    def __init__(self, slab: Slab) -> None:
        """Begin with none, and no thread."""
        self._slab = slab
        self._lock = threading.Lock()
        self._announced: OrderedDict[Key, Decode] = OrderedDict()
        self._nbytes = 0
        self._running = 0

    @property
    def busy(self) -> bool:
        """Whether threads decode what was announced."""
        return self._running > 0

    def announce(self, chunks: Residents, numbers: Iterable[int], decode: Decode) -> None:
        """Take note that the chunks `numbers` will be needed in this order."""
        half = self._slab.budget // 2
        with self._lock:
            for number in numbers:
                key = (chunks, number)
                if chunks.places[number] < 0 and key not in self._announced:
                    self._announced[key] = decode
                    self._nbytes += chunks.slot_bytes
            while self._nbytes > half:
                self._next()
            start = min(self._slab.others, len(self._announced)) - self._running
            self._running += max(0, start)
            left = half - self._nbytes
        self._slab.keep_ahead(left)
        for _ in range(start):
            self._start()

    def withdraw(self, chunks: Residents) -> None:
        """Take note that the chunks of a source will not be needed."""
        with self._lock:
            for key in [key for key in self._announced if key[0] is chunks]:
                del self._announced[key]
                self._nbytes -= chunks.slot_bytes

    def _next(self) -> tuple[Key, Decode]:
        found = self._announced.popitem(last=False)
        self._nbytes -= found[0][0].slot_bytes
        return found

    def _start(self) -> None:
        try:
            self._slab.pool.submit(self._run)
        except RuntimeError:
            # The interpreter is shutting down, and starts no threads any more.
            with self._lock:
                self._running -= 1

    def _run(self) -> None:
        while (taken := self._some()) is not None:
            chunks, numbers, decode = taken
            lease = Lease()
            try:
                self._slab.lease_ahead(lease, chunks, numbers)
                for entry in lease.fresh:
                    decode(entry)
            finally:
                self._slab.release(lease)

    def _some(self) -> tuple[Residents, list[int], Decode] | None:
        """Take the next announcements of one source, or end the thread that asks."""
        with self._lock:
            if not self._announced:
                self._running -= 1
                return None
            (chunks, number), decode = self._next()
            numbers = [number]
            most = min(AT_ONCE, self._slab.budget // 8) // chunks.slot_bytes
            while len(numbers) < most and next(iter(self._announced), (None,))[0] is chunks:
                numbers.append(self._next()[0][1])
            return chunks, numbers, decode


_ahead = PerProcess(lambda: Ahead(slab()))


def ahead() -> Ahead:
    """Give the announcements of this process."""
    return _ahead.get()
