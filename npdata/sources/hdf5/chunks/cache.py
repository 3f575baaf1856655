"""Decoded chunks of this process: each is decoded once, by a thread, and read by reference.

Idea: a caller looks chunks up, puts a request for those that are missing into a queue, and waits
for one reply; threads do the rest, under a lock that no reader takes. All that a caller changes is
one operation of a dict, a queue or an attribute, so a Ctrl-C leaves nothing half done. Invariant:
a chunk that is found is whole and never written again; whoever holds it keeps its memory, and to
evict it drops the cache's reference alone. Limit: what readers hold, at most a quarter of the
budget each, is not waited for.
"""

import _thread
import contextlib
import itertools
import threading
import weakref
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.errors import ThreadError, threads_refused
from npdata.runtime.lazy_torch import torch
from npdata.runtime.machine import cores
from npdata.runtime.per_process import PerProcess
from npdata.sources.hdf5.chunks.budget import default_budget, share
from npdata.sources.hdf5.chunks.held import HeldChunks
from npdata.sources.hdf5.chunks.memory import Chunk, ChunkMemory
from npdata.sources.hdf5.chunks.pending import Pending, Request
from npdata.sources.hdf5.chunks.source_chunks import Key, SourceChunks

AT_ONCE = 1 << 18
"""Small chunks are taken so many bytes at a time, since taking one costs as much as decoding it."""
MOST_AT_ONCE = 64
"""So many of the smallest, so that other threads have some too."""


Job: TypeAlias = tuple[Key, NDArray[np.uint8]]


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
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._clock = itertools.count(1)
        self._lock = threading.Lock()
        """Taken by the threads of the cache, and to end them; what follows is theirs."""
        self._held = HeldChunks(self.memory)
        self._pending = Pending()
        self._ahead: set[int] = set()
        """The threads that decode what nobody waits for."""

    @property
    def busy(self) -> bool:
        """Whether chunks are being decoded."""
        return self._pending.busy

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
        return self._ask(Request(chunks, numbers, found))

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
        with self._lock:  # some may be about to start
            threads = self._threads
        for _ in threads:
            self._inbox.put(_END)
        for thread in threads:
            thread.join()
        self._threads = []

    def _ask(self, request: Request) -> tuple[list[Chunk], int]:
        self._inbox.put(request)
        self._start()
        answer = request.reply.get()
        if isinstance(answer, BaseException):
            try:
                raise answer
            finally:
                del answer, request  # its traceback holds this frame
        self.use(answer)
        return answer, len(answer) - request.new

    def _start(self) -> None:
        """See to it that there are threads, which only a thread can start undisturbed."""
        if not self._threads:
            try:
                _thread.start_new_thread(self._start_threads, ())
            except RuntimeError:
                raise self._refused() from None

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
            except (RuntimeError, MemoryError):  # the system gives no more
                if not self._threads:
                    self._refuse()

    def _refuse(self) -> None:
        while not self._inbox.empty():
            message = self._inbox.get()
            if isinstance(message, Request):
                message.reply.put(self._refused())

    def _refused(self) -> ThreadError:
        return threads_refused(self._count, 0, 'read by h5py, without any: access="library"')

    def _run(self) -> None:
        idle = False
        while True:
            message = None
            try:
                with contextlib.suppress(Empty):
                    message = self._inbox.get(block=idle)
                if message is _END:
                    return
                if message is not None:
                    self._handle(message)
                    message = None  # a request refers to chunks
                # Not back to the queue first: this thread would take what it put in to wake another
                idle = not self._decode_next()
            except BaseException as error:  # nobody may wait for ever
                try:
                    self._begin_anew(error)  # before the reply: who gets that may ask again at once
                finally:
                    if isinstance(message, Request):
                        message.reply.put(error)
                idle = False

    def _handle(self, message: Any) -> None:
        with self._lock:
            if isinstance(message, Request):
                self._pending.ask(message)
            elif isinstance(message, SourceChunks):
                self._drop_source(message)
            else:
                (chunks, numbers), half = message, self.budget // 2
                self._pending.announce(chunks, numbers, half)
                self._held.limit_ahead(half - self._pending.announced_bytes)

    def _drop_source(self, chunks: SourceChunks) -> None:
        self._pending.withdraw_all(chunks)
        for number in list(chunks.ready):
            self._held.drop((chunks, number))
        chunks.clear()
        self.memory.reclaim()
        self.memory.drop_spare()

    def _decode_next(self) -> bool:
        """Decode a chunk, or a few small ones; False where there is nothing to do."""
        with self._lock:
            ahead = not self._pending.wanted
            jobs = self._take_jobs(ahead)
            if jobs and self._more_to_do:
                self._inbox.put(None)  # another thread wakes up for it, and wakes the next
        if not jobs:
            return False
        done = [_decode(key, memory, ahead) for key, memory in jobs]
        with self._lock:
            for (key, memory), result in zip(jobs, done, strict=True):
                self._publish(key, memory, result, ahead)
            self._ahead.discard(threading.get_ident())
        return True

    @property
    def _more_to_do(self) -> bool:
        pending = self._pending
        return bool(
            pending.wanted or (pending.announced_bytes and len(self._ahead) < self._most_ahead)
        )

    def _take_jobs(self, ahead: bool) -> list[Job]:
        """Take chunks, and make room for them; ahead of any read where there is room to spare."""
        pending, jobs, nbytes = self._pending, list[Job](), 0
        if ahead and len(self._ahead) >= self._most_ahead:
            return jobs
        take = pending.next_announced if ahead else pending.next_wanted
        while nbytes < AT_ONCE and len(jobs) < MOST_AT_ONCE and (key := take()) is not None:
            memory = self._held.room(key[0].nbytes, ahead=ahead)
            if memory is None and ahead:
                continue
            jobs.append((key, self.memory.beyond(key[0].nbytes) if memory is None else memory))
            pending.begin(key)
            nbytes += key[0].nbytes
        if ahead and jobs:
            self._ahead.add(threading.get_ident())
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
        waiting = self._pending.waiting(key)
        if result is None:
            result = self.memory.chunk(memory)
            result.used = next(self._clock)
            if not chunks.closed:
                self._held.hold(key, result, ahead=ahead and not waiting)
        else:
            self.memory.give_back(memory)
            if isinstance(result, Chunk) and not chunks.closed:
                chunks.ready[number] = result
        chunks.decoded += isinstance(result, Chunk)
        self._pending.end(key)  # until here an error answers who waits
        for request, place in waiting:
            request.fill(place, result)

    def _begin_anew(self, error: BaseException) -> None:
        """After an error in the bookkeeping itself: drop all, and answer all who wait with it."""
        with self._lock:
            requests = self._pending.clear()
            self._held.clear()
            self._ahead.discard(threading.get_ident())
        for request in requests:
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
