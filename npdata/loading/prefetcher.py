"""An ordered prefetcher: results are made ahead by threads, and handed out in order.

Idea: the consumer takes jobs from an iterator and puts them into a queue that threads serve; each
job has a slot of its own, and the slots are emptied in order. To wake a thread costs the consumer
up to 50 us, so it puts in several jobs at a time. Invariant: once the consumer has dropped or
closed a `Prefetcher`, or was interrupted inside it, its threads end; they refer to the tasks and
the function, never to the `Prefetcher`. Of batches it knows nothing but how its errors name jobs.
"""

import atexit
import contextlib
import itertools
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

import torch

from npdata.arrays.cores import without_threads
from npdata.errors import ForkError, ThreadError, threads_refused
from npdata.loading.modes import Modes
from npdata.loading.turns import Turns
from npdata.runtime.per_process import ForkSafeLock, this_process
from npdata.runtime.undisturbed import undisturbed

Job = TypeVar("Job")
Result = TypeVar("Result")
Outcome = tuple[Any, BaseException | None]
"""A result, or the error in its place."""
_Slot = queue.SimpleQueue[Outcome]
_Task = tuple[_Slot, Any, Modes]
_POLL_SECONDS = 0.5
"""Waiters look again after so long, in case a signal or a call to stop was lost."""
MOST_SECONDS = 10.0
"""Who drops a prefetcher waits no longer for its threads, since garbage may be collected in any
thread and under any lock, for which they may wait."""
_starting = ForkSafeLock()
"""Is held by the thread that starts others."""


class _Shared:
    """What a prefetcher and its threads share, which watch `owner` for the end of it.

    A task is a slot, a job and its modes; None ends a thread.
    """

    def __init__(self, owner: "Prefetcher[Any, Any]") -> None:
        self.tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self.starter: int | None = None
        """The thread that starts the others, once it has begun."""
        self.ready: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        """Gets what `begin` gave or raised in each thread."""
        self.started: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Gets one thing when the starter has ended, for whoever ends the threads."""
        self.closed = False
        self.owner = weakref.ref(owner)

    def get(self) -> _Task | None:
        while self.owner() is not None:
            with contextlib.suppress(queue.Empty):
                return self.tasks.get(timeout=_POLL_SECONDS)
        return None

    def close(self) -> None:
        # One call ends all threads, since each puts it back: no interrupt can come in between.
        self.tasks.put(None)
        self.closed = True


class Prefetcher(Iterator[Result], Generic[Job, Result]):
    """Iterate over `function(job)` for each of `jobs`, in order, made `depth` jobs ahead.

    With `threads=0` each result is made when it is asked for, in the caller. `jobs` is always
    iterated in the caller, and begun at once. An error of `function`, or of `jobs`, is raised in
    its place and ends the iteration; so does an exception that interrupts the caller.

    Args:
        function: called in the threads, in the modes in which its result is asked for.
        jobs: an iterable, also an endless one.
        threads: how many threads, at least 0.
        depth: how many jobs are being made or ready at most, at least 1.
        begin: called once in every thread, before any job.
        helps: whether the consumer, where it would wait, does jobs that no thread has begun.
        turns: when it does all of them; None: never. Threads are then started when they are needed.
        cores: how many cores torch uses in each thread.

    Raises:
        ForkError: (a RuntimeError) on iterating in a process that was forked from the one that made
            it, since threads do not come along.
        ThreadError: (a RuntimeError) where the system gives fewer threads.

    One thread at a time may iterate.

    Examples:
        >>> with Prefetcher(str.upper, ["a", "b"], threads=2, depth=4) as results:
        ...     list(results)
        ['A', 'B']
    """

    def __init__(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        *,
        threads: int,
        depth: int,
        begin: Callable[[], object] = int,
        helps: bool = False,
        turns: Turns | None = None,
        cores: int = 1,
    ) -> None:
        self._function = function
        self._depth = depth
        self._helps = helps
        self._turns = turns
        self._jobs: Iterator[Job] | None = iter(jobs)
        self._process = this_process.number
        self.is_threaded = threads > 0
        self._slots: deque[_Slot] | None = deque()
        """Of the jobs under way, in order; None once it was closed."""
        self._shared = _Shared(self)
        arguments = (function, self._shared, begin, cores)
        self._threads = [
            threading.Thread(target=_serve, args=arguments, name="npdata", daemon=True)
            for _ in range(threads)
        ]
        # Also called when the interpreter exits, before the memory that threads read goes away.
        self._stop = weakref.finalize(self, _drop, self._shared, self._threads, self._process)
        try:
            if threads and turns is None:
                self._submit(self._slots, depth)
            else:
                # The first now, as with threads: a job must not depend on when it is asked for.
                first = list(itertools.islice(self._jobs, 1))
                self._jobs = itertools.chain(first, self._jobs)
        except BaseException:
            self.close()
            raise

    def __next__(self) -> Result:
        """Give the next result; once an error was raised, or after `close`, there is none."""
        slots = self._slots
        if slots is None:
            raise StopIteration
        if self._process != this_process.number and self.is_threaded:
            raise ForkError(
                f"this iterator was made in process {self._process}, and its threads stayed "
                f"there; in process {this_process.number} begin a new iteration"
            )
        try:
            result, error = self._with_threads(slots) if self._threads else self._from_caller()
            if error is None:
                return result  # type: ignore[no-any-return]
            try:
                raise error
            finally:
                del error  # its traceback holds this frame, and what the function refers to
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the threads, after the job that each is at; idempotent."""
        self._slots = self._jobs = None
        self._shared.close()
        if self._stop.detach() is not None:
            _stop(self._shared, self._threads, self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _from_caller(self) -> Outcome:
        jobs = self._jobs
        if jobs is None:
            raise StopIteration
        return _outcome(self._function, next(jobs))

    def _with_threads(self, slots: deque[_Slot]) -> Outcome:
        turns = self._turns
        alone = turns is not None and turns.is_alone()
        if len(slots) <= max(1, self._depth // 2) and not alone:
            self._submit(slots, self._depth + 1)
        does = not slots
        outcome = self._from_caller() if does else self._from_threads(slots)
        if turns is not None and turns.ended(by_itself=does and outcome[1] is None):
            self._submit(slots, self._depth)
        return outcome

    def _from_threads(self, slots: deque[_Slot]) -> Outcome:
        slot = slots.popleft()
        while self._helps and slot.empty() and self._does_one():
            pass
        while True:
            try:
                return slot.get(timeout=_POLL_SECONDS)
            except queue.Empty:  # Python now looks for signals
                if slot.empty() and not all(thread.is_alive() for thread in self._threads):
                    raise ThreadError(
                        "a thread that makes batches has died: begin a new iteration, or make them "
                        "without threads, num_threads=0"
                    ) from None

    def _does_one(self) -> bool:
        """Do the next job that no thread has begun, on one core; tell whether there was one."""
        try:
            task = self._shared.tasks.get_nowait()
        except queue.Empty:
            return False
        if task is None:  # it was closed
            self._shared.tasks.put(None)
            return False
        slot, job, _ = task
        result, error = without_threads(_outcome, self._function, job)
        if error is not None and not isinstance(error, Exception):
            raise error  # an interrupt is of the consumer, and not of the job
        slot.put((result, error))
        return True

    def _submit(self, slots: deque[_Slot], depth: int) -> None:
        """Put in jobs until `depth` are under way, for threads that are started with the first."""
        if self._shared.starter is None:
            with contextlib.suppress(ThreadError):
                undisturbed(_start, self._shared, self._threads)
            given = sum(thread.ident is not None for thread in self._threads)
            if given < len(self._threads) and not self._shared.closed:
                instead = "give a Loader num_threads=0, which makes batches without any"
                raise threads_refused(len(self._threads), given, instead)
        modes = Modes.here()
        while (jobs := self._jobs) is not None and len(slots) < depth:
            slot: _Slot = queue.SimpleQueue()
            try:
                self._shared.tasks.put((slot, next(jobs), modes))
            except StopIteration:
                self._jobs = None
                return
            except Exception as error:
                self._jobs = None
                slot.put((None, error))
            slots.append(slot)


def _outcome(function: Callable[..., Any], *arguments: Any) -> Outcome:
    try:
        return function(*arguments), None
    except StopIteration as error:
        # Raised from __next__ it would end the iteration as if all were done.
        wrapped = RuntimeError(f"the function raised StopIteration: {error}")
        wrapped.__cause__ = error
        return None, wrapped
    except BaseException as error:
        return None, error


def _serve(
    function: Callable[[Any], Any],
    shared: _Shared,
    begin: Callable[[], object],
    cores: int,
) -> None:
    # The first call in a thread sets its number to that of the process: it must come before.
    torch.get_num_threads()
    torch.set_num_threads(cores)
    shared.ready.put(_outcome(begin))
    while (task := shared.get()) is not None:
        slot, job, modes = task
        # Another thread may wait for a job that was given up.
        slot.put((None, StopIteration()) if shared.closed else _outcome(modes.run, function, job))
        del task, slot, job, modes
    shared.tasks.put(None)


def _start(shared: _Shared, threads: list[threading.Thread]) -> None:
    shared.starter = threading.get_ident()
    try:
        if shared.closed:
            return
        # torch.set_num_threads is meant for the calling thread, but is also what threads that
        # first use torch later begin with: that is put back, for threads of the user.
        with _starting.get():
            cores = torch.get_num_threads()
            # After a fork torch makes its threads anew, which two threads must not do at once.
            torch.set_num_threads(cores)
            try:
                with contextlib.suppress(RuntimeError):  # the system gives no more
                    for thread in threads:
                        thread.start()
                outcomes = [shared.ready.get() for thread in threads if thread.ident is not None]
            finally:
                torch.set_num_threads(cores)
    finally:
        shared.started.put(None)
    for _, error in outcomes:
        if error is not None:
            raise error


def _drop(shared: _Shared, threads: list[threading.Thread], process: int) -> None:
    exits = not threading.main_thread().is_alive()
    _stop(shared, threads, process, None if exits else MOST_SECONDS)


def _stop(
    shared: _Shared, threads: list[threading.Thread], process: int, seconds: float | None = None
) -> None:
    if this_process.number != process:
        return
    shared.close()  # from now on no starter begins
    if shared.starter not in (None, threading.get_ident()):
        with contextlib.suppress(queue.Empty):
            shared.started.get(timeout=seconds)
    for thread in threads:
        # Garbage may be collected in any thread, also in one of these.
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join(seconds)
            if thread.is_alive():
                seconds = 0.0
                atexit.register(thread.join)
