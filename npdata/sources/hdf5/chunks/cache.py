"""Decoded chunks of this process: each is decoded once, by a thread, and read by reference.

Idea: a caller looks chunks up, puts a request for those that are missing into a queue, and waits
for one reply; threads do the rest, under a lock that no reader takes. All that a caller changes is
one operation of a dict, a queue or an attribute, so a Ctrl-C leaves nothing half done. Invariant:
a chunk that is found is whole and never written again; whoever holds it keeps its memory, and to
evict it drops the cache's reference alone. Limit: what readers hold, at most a quarter of the
budget each, is not waited for.
"""

import _thread
import itertools
import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.runtime.lazy_torch import torch
from npdata.runtime.machine import cores
from npdata.runtime.per_process import PerProcess
from npdata.sources.hdf5.chunks.budget import default_budget, share
from npdata.sources.hdf5.chunks.held import HeldChunks
from npdata.sources.hdf5.chunks.memory import Chunk, ChunkMemory
from npdata.sources.hdf5.chunks.of_source import Key, SourceChunks

AT_ONCE = 1 << 18
"""Small chunks are taken so many bytes at a time, since taking one costs as much as decoding it."""


Job: TypeAlias = tuple[Key, NDArray[np.uint8]]


class _Request:
    """The chunks that one read needs: `found` where they are there, `left` how many are missing.

    `new` is how many are missing that no other read waits for.
    One reply comes: the chunks, or the error of the first that cannot be decoded.
    """

    def __init__(
        self, chunks: SourceChunks, numbers: Sequence[int], found: list[Chunk | None]
    ) -> None:
        self.chunks = chunks
        self.numbers = numbers
        self.found = found
        self.left = self.new = 0
        self.reply: SimpleQueue[list[Any] | BaseException] = SimpleQueue()

    def fill(self, place: int, chunk: Chunk | BaseException) -> None:
        if isinstance(chunk, BaseException):
            self.reply.put(chunk)
            return
        self.found[place] = chunk
        self.left -= 1
        if self.left == 0:
            self.reply.put(self.found)


class ChunkCache:
    """Decoded chunks within `budget` bytes, and `threads` threads that decode.

    All but one of them decode what was announced, so that a core is left to who reads.
    """

    def __init__(self, budget: int, threads: int) -> None:
        """Begin with no chunk; the threads start with the first request."""
        self.budget = budget
        self.memory = ChunkMemory(budget)
        self._count = threads
        self._most_ahead = max(1, threads - 1)
        self._threads: list[threading.Thread] = []
        self._process = os.getpid()
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._clock = itertools.count(1)
        self._lock = threading.Lock()
        """Taken by the threads of the cache, and to end them; what follows is theirs."""
        self._held = HeldChunks(self.memory)
        self._waiting: dict[Key, list[tuple[_Request, int]]] = {}
        """Who waits for each chunk that is being decoded, or is to be."""
        self._wanted: deque[Key] = deque()
        self._announced: OrderedDict[Key, None] = OrderedDict()
        self._announced_bytes = 0
        self._threads_ahead: set[int] = set()
        """The threads that decode what nobody waits for."""

    @property
    def busy(self) -> bool:
        """Whether chunks are being decoded."""
        return bool(self._waiting)

    @property
    def tight(self) -> bool:
        """Whether chunks may have to go soon: whoever reads then holds what it needs alone."""
        return self.memory.used > self.budget // 4 * 3

    def most(self, nbytes: int) -> int:
        """Give how many chunks of this size a read may hold at a time: a quarter of the budget."""
        return max(1, self.budget // 4 // nbytes)

    def get(self, chunks: SourceChunks, numbers: Sequence[int]) -> tuple[list[Chunk], int]:
        """Give the chunks `numbers` (unique), and how many of them are not decoded for this.

        Waits for those that are missing; raises what decoding them raised.
        """
        found = list(map(chunks.ready.get, numbers))
        there = [chunk for chunk in found if chunk is not None]
        self.use(there)
        if len(there) == len(found):
            return there, len(there)
        return self._ask(_Request(chunks, numbers, found))

    def use(self, chunks: Sequence[Chunk]) -> None:
        """Take note that these chunks are used now."""
        now = next(self._clock)
        for chunk in chunks:
            chunk.used = now

    def announce(self, chunks: SourceChunks, numbers: range) -> None:
        """Take note that these chunks will be needed in this order; an advice, no promise."""
        self._inbox.put((chunks, numbers))
        self._start()

    def forget(self, chunks: SourceChunks) -> None:
        """Drop the chunks of a source, as soon as a thread comes to it."""
        chunks.closed = True
        self._inbox.put(chunks)

    def close(self) -> None:
        """End the threads, each after the chunk that it is at."""
        if os.getpid() != self._process:
            return
        with self._lock:  # some may be about to start
            threads = self._threads
        for _ in threads:
            self._inbox.put(_END)
        for thread in threads:
            thread.join()
        self._threads = []

    def _ask(self, request: _Request) -> tuple[list[Chunk], int]:
        self._inbox.put(request)
        self._start()
        answer = request.reply.get()
        if isinstance(answer, BaseException):
            try:
                raise answer
            finally:
                del answer, request  # its traceback holds this frame
        return answer, len(answer) - request.new

    def _start(self) -> None:
        """See to it that there are threads, which only a thread can start undisturbed."""
        if not self._threads:
            _thread.start_new_thread(self._start_threads, ())

    def _start_threads(self) -> None:
        with self._lock:
            if self._threads:
                return
            # After a fork torch makes its threads anew, which two threads must not do at once.
            torch.get_num_threads()
            try:
                for k in range(self._count):
                    name = f"npdata-decode_{k}"
                    thread = threading.Thread(target=self._run, name=name, daemon=True)
                    thread.start()
                    self._threads.append(thread)
            except RuntimeError as error:  # the system gives no more
                if not self._threads:
                    self._refuse(error)

    def _refuse(self, error: RuntimeError) -> None:
        while not self._inbox.empty():
            message = self._inbox.get()
            if isinstance(message, _Request):
                message.reply.put(error)

    def _run(self) -> None:
        idle = False
        while True:
            try:
                message = self._inbox.get(block=idle)
            except Empty:
                idle = not self._decode_next()
                continue
            if message is _END:
                return
            if message is not None:
                self._handle(message)
                message = None  # a request refers to chunks
            # Not back to the queue first: this thread would take what it put in to wake another.
            idle = not self._decode_next()

    def _handle(self, message: Any) -> None:
        try:
            with self._lock:
                if isinstance(message, _Request):
                    self._take_request(message)
                elif isinstance(message, SourceChunks):
                    self._drop_source(message)
                else:
                    self._take_announcement(*message)
        except BaseException as error:  # nobody may wait for ever
            if isinstance(message, _Request):
                message.reply.put(error)
            self._begin_anew(error)

    def _wake(self, jobs: int) -> None:
        """Let other threads look for something to do, besides this one."""
        for _ in range(min(jobs, self._count) - 1):
            self._inbox.put(None)

    def _take_request(self, request: _Request) -> None:
        chunks = request.chunks
        for place, number in enumerate(request.numbers):
            if request.found[place] is not None:
                continue
            key = chunks, number
            chunk = request.found[place] = chunks.ready.get(number)
            if chunk is not None:
                chunk.used = next(self._clock)
                continue
            request.left += 1
            if key not in self._waiting:
                self._waiting[key] = []
                self._wanted.append(key)
                self._withdraw(key)
                request.new += 1
            self._waiting[key].append((request, place))
        if request.left == 0:
            request.reply.put(request.found)
        self._wake(request.new)

    def _take_announcement(self, chunks: SourceChunks, numbers: range) -> None:
        half = self.budget // 2
        for number in numbers:
            key = chunks, number
            if number not in chunks.ready and key not in self._waiting:
                self._withdraw(key)
                self._announced[key] = None
                self._announced_bytes += chunks.nbytes
        while self._announced_bytes > half:
            self._withdraw(next(iter(self._announced)))
        self._held.limit_ahead(half - self._announced_bytes)
        self._wake(min(len(self._announced), self._most_ahead))

    def _withdraw(self, key: Key) -> None:
        if key in self._announced:
            del self._announced[key]
            self._announced_bytes -= key[0].nbytes

    def _drop_source(self, chunks: SourceChunks) -> None:
        for key in [key for key in self._announced if key[0] is chunks]:
            self._withdraw(key)
        for number in list(chunks.ready):
            self._held.drop((chunks, number))
        chunks.clear()
        self.memory.reclaim()
        self.memory.drop_spare()

    def _decode_next(self) -> bool:
        """Decode a chunk, or a few small ones; False where there is nothing to do."""
        try:
            with self._lock:
                ahead = not self._wanted
                jobs = self._announced_jobs() if ahead else self._wanted_jobs()
                if jobs and self._more_to_do:
                    # A busy thread may have taken the message that was to wake an idle one.
                    self._inbox.put(None)
            if not jobs:
                return False
            done = [_decode(key, memory, ahead) for key, memory in jobs]
            with self._lock:
                self._threads_ahead.discard(threading.get_ident())
                for (key, memory), result in zip(jobs, done, strict=True):
                    self._publish(key, memory, result, ahead)
        except BaseException as error:  # nobody may wait for ever
            self._begin_anew(error)
        return True

    @property
    def _more_to_do(self) -> bool:
        room_ahead = len(self._threads_ahead) < self._most_ahead
        return bool(self._wanted or (self._announced and room_ahead))

    def _wanted_jobs(self) -> list[Job]:
        """Take chunks that somebody waits for, and make room for them."""
        jobs: list[Job] = []
        while self._wanted and sum(memory.nbytes for _, memory in jobs) < AT_ONCE:
            key = self._wanted.popleft()
            memory = self._held.room(key[0].nbytes)
            jobs.append((key, self.memory.beyond(key[0].nbytes) if memory is None else memory))
        return jobs

    def _announced_jobs(self) -> list[Job]:
        """Take chunks that will be needed, where there is room to spare for them."""
        jobs: list[Job] = []
        if len(self._threads_ahead) >= self._most_ahead:
            return jobs
        while self._announced and sum(memory.nbytes for _, memory in jobs) < AT_ONCE:
            key = next(iter(self._announced))
            self._withdraw(key)
            if key[0].closed or key[1] in key[0].ready or key in self._waiting:
                continue
            memory = self._held.room(key[0].nbytes, ahead=True)
            if memory is not None:
                self._waiting[key] = []
                self._threads_ahead.add(threading.get_ident())
                jobs.append((key, memory))
        return jobs

    def _publish(
        self,
        key: Key,
        memory: NDArray[np.uint8],
        result: Chunk | BaseException | None,
        ahead: bool,
    ) -> None:
        """Show a chunk to readers, and answer who waits for it, perhaps with the error."""
        chunks, number = key
        waiting = self._waiting.pop(key, [])
        if result is not None:
            self.memory.give_back(memory)
        chunk = self.memory.chunk(memory) if result is None else result
        if isinstance(chunk, Chunk):
            chunk.used = next(self._clock)
            chunks.decoded += 1
            if not chunks.closed:
                if result is None:
                    self._held.hold(key, chunk, ahead=ahead and not waiting)
                chunks.ready[number] = chunk
        for request, place in waiting:
            request.fill(place, chunk)

    def _begin_anew(self, error: BaseException) -> None:
        """After an error in the bookkeeping itself: drop all, and answer all who wait with it."""
        with self._lock:
            waiting = [request for each in self._waiting.values() for request, _ in each]
            self._held.clear()
            for books in (self._waiting, self._wanted, self._announced, self._threads_ahead):
                books.clear()
            self._announced_bytes = 0
        for request in waiting:
            request.reply.put(error)


def _decode(key: Key, memory: NDArray[np.uint8], ahead: bool) -> Chunk | BaseException | None:
    chunks, number = key
    try:
        return chunks.decode(number, memory, ahead)
    except BaseException as error:  # who waits for the chunk raises it
        return error


_END = object()


def _make() -> ChunkCache:
    worker = torch.utils.data.get_worker_info()
    workers = None if worker is None else worker.num_workers
    return ChunkCache(share(default_budget(), workers), share(cores(), workers))


_cache = PerProcess(_make)


def _close() -> None:
    cache = _cache.made()
    if cache is not None:
        cache.close()


# Before the interpreter ends: a daemon that decodes would be killed inside C++. What is first here
# is called last there: threads of loaders that still live wait for chunks until they are ended.
weakref.finalize(_cache, _close)


def chunk_cache() -> ChunkCache:
    """Give the cache of this process."""
    return _cache.get()
