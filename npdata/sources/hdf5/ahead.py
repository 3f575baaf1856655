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

from npdata.process import PerProcess
from npdata.sources.hdf5.residents import Entry, Key, Residents
from npdata.sources.hdf5.slab import Lease, Slab, slab

Decode = Callable[[Entry], None]
"""Decodes a chunk into its place, and tells the slab that it is done, or why not."""


class Ahead:
    """The chunks that were announced to `slab` and are not begun yet, in order."""

    def __init__(self, slab: Slab) -> None:
        """Begin with none, and no thread."""
        self._slab = slab
        self._lock = threading.Lock()
        self._announced: OrderedDict[Key, Decode] = OrderedDict()
        self._running = 0

    def announce(self, chunks: Residents, numbers: Iterable[int], decode: Decode) -> None:
        """Take note that the chunks `numbers` will be needed in this order."""
        half = self._slab.budget // 2
        with self._lock:
            for number in numbers:
                if chunks.places[number] < 0:
                    self._announced.setdefault((chunks, number), decode)
            nbytes = sum(owner.slot_bytes for owner, _ in self._announced)
            while nbytes > half:
                (owner, _), _ = self._announced.popitem(last=False)
                nbytes -= owner.slot_bytes
            start = min(self._slab.threads, len(self._announced)) - self._running
            self._running += max(0, start)
        self._slab.keep_ahead(half - nbytes)
        for _ in range(start):
            self._start()

    def withdraw(self, chunks: Residents, numbers: range) -> None:
        """Take note that the chunks `numbers` will not be needed."""
        with self._lock:
            for key in [k for k in self._announced if k[0] is chunks and k[1] in numbers]:
                del self._announced[key]

    def _start(self) -> None:
        try:
            self._slab.pool.submit(self._run)
        except RuntimeError:
            # The interpreter is shutting down, and starts no threads any more.
            with self._lock:
                self._running -= 1

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._announced:
                    self._running -= 1
                    return
                (chunks, number), decode = self._announced.popitem(last=False)
            lease = Lease()
            try:
                self._slab.lease_ahead(lease, chunks, number)
                for entry in lease.fresh:
                    decode(entry)
            finally:
                self._slab.release(lease)


_ahead = PerProcess(lambda: Ahead(slab()))


def ahead() -> Ahead:
    """Give the announcements of this process."""
    return _ahead.get()
