"""Chunks decoded before anyone asks for them, by threads that would otherwise have nothing to do.

Idea: whoever knows the order announces chunks; the threads of the slab take them one by one, as
long as half of the slab is to spare. Invariant: an announcement is an advice: it may be dropped,
it never takes the place of a chunk in use, and an error in it is met again, and raised, by the
read that needs the chunk. It knows no rows and no files.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from npdata.process import PerProcess
from npdata.sources.hdf5.residents import Entry, Key, Residents
from npdata.sources.hdf5.slab import Slab, slab

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
        with self._lock:
            for number in numbers:
                if chunks.places[number] < 0:
                    self._announced.setdefault((chunks, number), decode)
            missing = min(self._slab.threads, len(self._announced)) - self._running
            self._running += max(0, missing)
        for _ in range(missing):
            self._slab.pool.submit(self._run)

    def withdraw(self, chunks: Residents, numbers: Iterable[int]) -> None:
        """Take note that the chunks `numbers` will not be needed."""
        with self._lock:
            for number in numbers:
                self._announced.pop((chunks, number), None)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._announced:
                    self._running -= 1
                    return
                (chunks, number), decode = self._announced.popitem(last=False)
            lease = self._slab.lease_ahead(chunks, number)
            if lease is None:
                continue
            try:
                decode(lease.fresh[0])
            finally:
                self._slab.release(lease)


_ahead = PerProcess(lambda: Ahead(slab()))


def ahead() -> Ahead:
    """Give the announcements of this process."""
    return _ahead.get()
