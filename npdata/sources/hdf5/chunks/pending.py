"""Which chunks are to be decoded: those that a read waits for, then those that were announced.

Idea: a read asks for all its chunks by one `Request`, which is answered once. An announcement is an
advice, of which the newest count. Invariant: a chunk is in work once, however many reads wait for
it, until `end`. It decodes nothing and takes no lock: one thread at a time may call it.
"""

import copy
from collections import OrderedDict, deque
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from npdata.sources.hdf5.chunks.memory import Chunk
from npdata.sources.hdf5.chunks.source_chunks import Key, SourceChunks


class Request:
    """The chunks that one read needs: `found` where they are there, `left` how many are missing.

    `new` is how many are missing that no other read waits for.
    One reply comes: the chunks, or the error of the first that cannot be decoded. It is an error of
    this read alone, which may add notes to it.
    """

    def __init__(
        self, chunks: SourceChunks, numbers: Sequence[int], found: list[Chunk | None]
    ) -> None:
        """Ask for the chunks `numbers` of a source, of which some were found."""
        self.chunks = chunks
        self.numbers = numbers
        self.found = found
        self.left = self.new = 0
        self.reply: SimpleQueue[list[Any] | BaseException] = SimpleQueue()

    def fill(self, place: int, chunk: Chunk | BaseException) -> None:
        """Take a chunk that was missing, or the error in its place."""
        if isinstance(chunk, BaseException):
            error = copy.copy(chunk)
            error.__cause__ = chunk.__cause__
            self.reply.put(error.with_traceback(chunk.__traceback__))
            return
        self.found[place] = chunk
        self.left -= 1
        if self.left == 0:
            self.reply.put(self.found)


class Pending:
    """Chunks to be decoded, `announced_bytes` of them announced.

    Examples:
        >>> chunks, pending = SourceChunks(80, print), Pending()
        >>> pending.announce(chunks, range(4), most=240)
        >>> pending.ask(Request(chunks, [7, 2], [None, None]))
        >>> pending.next_wanted()[1], pending.next_wanted()[1], pending.next_announced()[1]
        (7, 2, 1)
    """

    def __init__(self) -> None:
        self.announced_bytes = 0
        self._announced: OrderedDict[Key, None] = OrderedDict()
        self._wanted: deque[Key] = deque()
        self._waiting: dict[Key, list[tuple[Request, int]]] = {}
        """Who waits for each chunk that is being decoded, or that is wanted."""

    @property
    def busy(self) -> bool:
        """Whether chunks are being decoded, or wanted."""
        return bool(self._waiting)

    @property
    def wanted(self) -> int:
        """How many chunks a read waits for that no thread has taken yet."""
        return len(self._wanted)

    def ask(self, request: Request) -> None:
        """Want what is still missing of a request, or answer it."""
        chunks = request.chunks
        for place, number in enumerate(request.numbers):
            if request.found[place] is not None:
                continue
            request.found[place] = chunks.ready.get(number)
            if request.found[place] is not None:
                continue
            key = chunks, number
            request.left += 1
            if key not in self._waiting:
                self._waiting[key] = []
                self._wanted.append(key)
                self._withdraw(key)
                request.new += 1
            self._waiting[key].append((request, place))
        if request.left == 0:
            request.reply.put(request.found)

    def announce(self, chunks: SourceChunks, numbers: range, most: int) -> None:
        """Take note of chunks that will be needed in this order, of the last `most` bytes."""
        for number in numbers:
            key = chunks, number
            if number not in chunks.ready and key not in self._waiting:
                self._withdraw(key)
                self._announced[key] = None
                self.announced_bytes += chunks.nbytes
        while self.announced_bytes > most:
            self._withdraw(next(iter(self._announced)))

    def withdraw_all(self, chunks: SourceChunks) -> None:
        """Forget what was announced of a source."""
        for key in [key for key in self._announced if key[0] is chunks]:
            self._withdraw(key)

    def next_wanted(self) -> Key | None:
        """Take the chunk that has been wanted for the longest; None where there is none."""
        return self._wanted.popleft() if self._wanted else None

    def next_announced(self) -> Key | None:
        """Take the chunk that was announced first, and is of use; None where there is none."""
        while self._announced:
            key = next(iter(self._announced))
            self._withdraw(key)
            chunks, number = key
            if not (chunks.closed or number in chunks.ready or key in self._waiting):
                return key
        return None

    def begin(self, key: Key) -> None:
        """Take note that a chunk is being decoded."""
        self._waiting.setdefault(key, [])

    def waiting(self, key: Key) -> list[tuple[Request, int]]:
        """Give who waits for a chunk, and its place in each request."""
        return self._waiting.get(key, [])

    def end(self, key: Key) -> None:
        """Take note that a chunk is no longer in work, and that nobody waits for it."""
        self._waiting.pop(key, None)

    def clear(self) -> set[Request]:
        """Forget all, and give the requests that were not answered."""
        requests = {request for each in self._waiting.values() for request, _ in each}
        for books in (self._announced, self._wanted, self._waiting):
            books.clear()
        self.announced_bytes = 0
        return requests

    def _withdraw(self, key: Key) -> None:
        if key in self._announced:
            del self._announced[key]
            self.announced_bytes -= key[0].nbytes
