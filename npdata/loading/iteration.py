"""One iteration of a loader: hands over what the prefetcher made, and counts it.

Idea: batches arrive alone or in runs. C makes and counts those of a run (`itertools.compress`), one
when the loop asks for it: they cost no bytecode, and are in the cache when they are used.
Invariant: a batch is counted when it is there, so the count is right whenever an interrupt comes.
One that comes in Python code of the iteration ends it.
"""

import contextlib
import functools
import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from operator import length_hint
from time import perf_counter
from typing import Any, NamedTuple

from npdata.dataset.progress import Bar
from npdata.errors import ClosedError, LoaderError
from npdata.loading.accelerate import Reading
from npdata.loading.batch_task import Made
from npdata.loading.pipeline import Pipeline
from npdata.loading.prefetcher import Prefetcher
from npdata.loading.readahead import Job
from npdata.loading.stats import Counter
from npdata.runtime.living import Living
from npdata.sampling.run_batches import RunBatches
from npdata.sources.base import Source
from npdata.sources.derived.base import CompositeSource


class Received(itertools.chain[Any]):
    """The batches that a loop receives; `close` ends their iteration, and its threads."""

    close: Callable[[], None]


class _Watch(NamedTuple):
    """What shows where an iteration is, which has `total` batches, if that is known.

    It shows each batch, so they are given one by one.
    """

    total: int | None
    bar: Bar | None
    reading: Reading

    def show(self, counter: Counter) -> None:
        """Show that the next batch is given."""
        if self.bar is not None:
            self.bar.advance(counter.stats().short)
        self.reading.end_of_dataloader = counter.batches + 1 == self.total

    def end(self) -> None:
        """Show that no more come; idempotent."""
        self.reading.end()
        if self.bar is not None:
            self.bar.close()


class Iteration(Iterator[Iterator[Any]]):
    """Gives the batches of an iteration, run by run; `received` gives them one by one.

    `begin` gives how batches are made, and is called when the first is asked for.
    """

    def __init__(
        self,
        sampler: Any,
        sources: tuple[Source, ...],
        begin: Callable[[Iterator[Any]], Pipeline],
        *,
        progress: bool,
    ) -> None:
        self.batches = batches = iter(sampler)
        self.counter = Counter(chunks=functools.partial(_chunks, sources))
        self._lock = threading.Lock()
        """Is held by the thread that asks for more."""
        self._begin: Callable[[], tuple[Prefetcher[Job, Made], _Watch | None]] | None
        self._begin = functools.partial(_begun, begin, sampler, batches, progress)
        self._prefetcher: Prefetcher[Job, Made] | None = None
        self._watch: _Watch | None = None
        self._run: Iterator[Any] = iter(())
        """The batches of the run that arrived last which the loop has not received."""
        self._left: Iterator[bool] = iter(())
        """Something for each of them. To exhaust it ends the run."""
        self._error: Exception | None = None
        self._cut_short = False
        # A loop that is left drops its iterator: the clock stops.
        weakref.finalize(self, self.counter.stop).atexit = False
        _live.add(self)

    def received(self) -> "Received":
        """Give the batches one by one."""
        batches = Received.from_iterable(self)
        batches.close = self.close  # type: ignore[attr-defined]
        return batches  # type: ignore[return-value]

    @property
    def is_midway(self) -> bool:
        """Whether it has given batches, and has more."""
        given, batches = self.counter.batches, self.batches
        if self.counter.ended or not given:
            return False
        return not isinstance(batches, RunBatches) or given < batches.count

    def __next__(self) -> Iterator[Any]:
        """Give the batches that have arrived, to be taken before more are asked for."""
        lock, is_mine = self._lock, False
        try:
            is_mine = lock.acquire(blocking=False)
            if not is_mine:
                return _raised(LoaderError(_TWO_ASK))
            if not length_hint(self._left):
                self._wait_for_run()
            more = self._run
            if self._watch is not None:
                self._watch.show(self.counter)
                more = iter(())
            first = [next(self._run)]  # raises where an error or an interrupt has ended the run
            given = itertools.chain(map(list.pop, [first]), more)  # `pop` keeps no batch alive
            # For each batch that it hands over, `compress` takes one of `_left`: what that has left
            # is what the loop has not received, counted by C.
            return itertools.compress(given, self._left)
        except BaseException as error:
            self.close()
            if self._cut_short and isinstance(error, StopIteration):
                text = f"closed in this iteration, after {self.counter.batches} batches"
                return _raised(ClosedError(f"the loader was {text}"))
            raise
        finally:
            if is_mine:
                lock.release()

    def _wait_for_run(self) -> None:
        """Wait for the next run of the prefetcher; begin to read with the first."""
        asked = perf_counter()
        if self._error is not None:
            raise self._error
        if self._prefetcher is None:
            if self._begin is None:
                raise StopIteration
            self._prefetcher, self._watch = self._begin()
            self._begin = None  # an iterator may outlive its loader
            if self._watch is not None and self._watch.bar is not None:
                weakref.finalize(self, self._watch.bar.close)
        self._run, sizes, nbytes, self._error = next(self._prefetcher)
        self._left = itertools.repeat(True, len(sizes))
        self.counter.arrived(asked, sizes, nbytes, self._left)

    def cut_short(self) -> None:
        """End an iteration that has not ended: going on with it raises `ClosedError`."""
        self._cut_short = not self.counter.ended
        self.close()

    def close(self) -> None:
        """End the iteration, and its threads."""
        self._lock = threading.Lock()  # an interrupt may have come before the other was known held
        self.counter.ended = True
        self.counter.stop()
        self._end_run()
        self._run = iter(())
        self._begin = self._error = None
        if self._prefetcher is not None:
            self._prefetcher.close()
        if self._watch is not None:
            self._watch.end()

    def forked(self) -> None:
        """Let a child ask before it takes more of what its parent's threads made: it is refused."""
        if self._prefetcher is not None and self._prefetcher.is_threaded:
            self.counter.stop()
            self._end_run()
            self._error = None

    def _end_run(self) -> None:
        deque(self._left, maxlen=0)  # one call of C, which no interrupt leaves half done


_TWO_ASK = (
    "two threads ask one iterator of a Loader for batches at the same time; take them in one "
    "thread and hand them over by a queue.Queue, or give each its own iter(loader)"
)


def _begun(
    begin: Callable[[Iterator[Any]], Pipeline],
    sampler: Any,
    batches: Iterator[Any],
    progress: bool,
) -> tuple[Prefetcher[Job, Made], _Watch | None]:
    """Begin to read, at the epoch that the sampler has coming by now."""
    pipeline, count, remainder = begin(batches), None, -1
    if isinstance(batches, RunBatches):
        remainder, count = batches.begin().remainder, batches.count
    else:
        with contextlib.suppress(TypeError, NotImplementedError):  # samplers need no length
            count = len(sampler)
    reading = Reading(remainder)
    bar = Bar(count, f"epoch {getattr(sampler, 'epoch', '')}") if progress else None
    watch = _Watch(count, bar, reading) if progress or reading.is_watched else None
    return pipeline.start(batches), watch  # the last thing, so that an interrupt leaves no threads


def _raised(error: Exception) -> Iterator[Any]:
    """Raise it where a batch is asked for: raised by the source of a `chain`, it would end that."""
    raise error
    yield


_live: "Living[Iteration]" = Living()


def _forked() -> None:
    for iteration in _live:
        iteration.forked()


os.register_at_fork(after_in_child=_forked)


def _chunks(sources: tuple[Source, ...]) -> tuple[int, int]:
    read = dict.fromkeys(part for source in sources for part in _parts(source))  # each once
    return sum(s.decoded_chunks for s in read), sum(s.reused_chunks for s in read)


def _parts(source: Source) -> Iterator[Source]:
    if not isinstance(source, CompositeSource):
        yield source
        return
    for part in source.made_of:
        yield from _parts(part)
