"""Work done ahead by threads, and handed out in order.

Idea: the consumer takes jobs from an iterator and puts them into a queue that threads serve; each
job has a slot of its own, and the slots are emptied in order. So the number of jobs in flight is
bounded, the jobs are numbered in the consumer's thread, and no result depends on which thread made
it. To wake a thread costs the consumer up to 50 us, so it puts in several jobs at a time.
Invariant: when the consumer has let go of a
`Lookahead`, for whatever reason, no thread of it runs any more; threads know the queue and the
work, never the `Lookahead`, so letting go of it is always noticed. It knows nothing of batches.
"""

import contextlib
import itertools
import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

import torch

from npdata.errors import ForkError

Job = TypeVar("Job")
Result = TypeVar("Result")
Outcome = tuple[Any, BaseException | None]
"""A result, or the error in its place."""
_ATTENTIVE = 0.5
"""So long, in seconds, may a Ctrl-C wait that came in the moment before the consumer did."""


class Lookahead(Iterator[Result], Generic[Job, Result]):
    """Iterate over `work(job)` for each of `jobs`, in order, done `depth` jobs ahead.

    `threads` threads do the work, each with one core for torch; with 0 it is done when it is asked
    for, in the caller. `jobs` is always iterated in the caller, and begun at once. An error of
    `work`, or of `jobs`, is raised in its place and ends the iteration. `begin` is called once in
    every thread.

    One thread at a time may iterate. Raises `ForkError` (a RuntimeError) in a process that was
    forked from the one that made it, since threads do not come along.

    Examples:
        >>> with Lookahead(str.upper, ["a", "b"], threads=2, depth=4) as results:
        ...     list(results)
        ['A', 'B']
    """

    def __init__(
        self,
        work: Callable[[Job], Result],
        jobs: Iterable[Job],
        *,
        threads: int,
        depth: int,
        begin: Callable[[], object] = int,
    ) -> None:
        self._work = work
        self._depth = depth
        self._jobs: Iterator[Job] | None = iter(jobs)
        self._process = os.getpid()
        self._slots: deque[queue.SimpleQueue[Outcome]] = deque()
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        arguments = (work, self._tasks, begin, self._ready)
        self._threads = [
            threading.Thread(target=_serve, args=arguments, name="npdata", daemon=True)
            for _ in range(threads)
        ]
        # Also called when the interpreter exits, before the memory that threads read goes away.
        self._stop = weakref.finalize(self, _stop, self._tasks, self._threads, self._process)
        try:
            _start(self._threads, self._ready)
            if threads:
                self._submit(depth)
            else:
                self._jobs = _begun(self._jobs)
        except BaseException:
            self.close()
            raise

    def __next__(self) -> Result:
        """Give the next result; once an error was raised, or after `close`, there is none."""
        if self._threads and os.getpid() != self._process:
            raise ForkError(
                f"this iterator was made in process {self._process}, and its threads stayed "
                f"there; in process {os.getpid()} begin a new iteration"
            )
        try:
            result, error = self._from_threads() if self._threads else self._from_caller()
            if error is not None:
                raise error
        except BaseException:
            self.close()
            raise
        finally:
            error = None  # its traceback holds this frame, and what the work refers to
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the threads, after the job that each is at; idempotent."""
        self._jobs = None
        self._slots.clear()
        self._stop()

    def __enter__(self) -> Self:
        """Use it in a with block, which closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _from_caller(self) -> Outcome:
        if self._jobs is None:
            raise StopIteration
        return _outcome(self._work, next(self._jobs))

    def _from_threads(self) -> Outcome:
        if len(self._slots) <= max(1, self._depth // 2):
            self._submit(self._depth + 1)
        if not self._slots:
            raise StopIteration
        slot = self._slots.popleft()
        while True:
            try:
                return slot.get(timeout=_ATTENTIVE)
            except queue.Empty:
                continue  # Python now looks for signals

    def _submit(self, depth: int) -> None:
        """Put in jobs until `depth` are in flight."""
        while self._jobs is not None and len(self._slots) < depth:
            slot: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
            try:
                self._tasks.put((slot, next(self._jobs)))
            except StopIteration:
                self._jobs = None
                return
            except Exception as error:
                self._jobs = None
                slot.put((None, error))
            self._slots.append(slot)


def _begun(jobs: Iterator[Job]) -> Iterator[Job]:
    """Take the first job now, as threads do: when a job is begun must not decide which it is."""
    first = list(itertools.islice(jobs, 1))
    return itertools.chain(first, jobs)


def _outcome(work: Callable[[Any], Any], job: Any) -> Outcome:
    try:
        return work(job), None
    except StopIteration as error:
        # Raised from __next__ it would end the iteration as if all were done.
        wrapped = RuntimeError(f"the work raised StopIteration: {error}")
        wrapped.__cause__ = error
        return None, wrapped
    except BaseException as error:
        return None, error


def _serve(
    work: Callable[[Any], Any],
    tasks: "queue.SimpleQueue[Any]",
    begin: Callable[[], object],
    ready: "queue.SimpleQueue[Outcome]",
) -> None:
    # The first call in a thread sets its number to that of the process: it must come before.
    torch.get_num_threads()
    torch.set_num_threads(1)
    outcome = _outcome(lambda _: begin(), None)
    ready.put(outcome)
    while (task := tasks.get()) is not None:
        slot, job = task
        slot.put(_outcome(work, job))
        del task, slot, job


def _start(threads: list[threading.Thread], ready: "queue.SimpleQueue[Outcome]") -> None:
    if not threads:
        return
    # torch.set_num_threads is meant for the calling thread, but is also what threads that first
    # use torch later begin with: that is put back, for threads of the user.
    with _Starting.lock:
        cores = torch.get_num_threads()
        try:
            for thread in threads:
                thread.start()
            outcomes = [ready.get() for _ in threads]
        finally:
            torch.set_num_threads(cores)
    for _, error in outcomes:
        if error is not None:
            raise error


def _stop(tasks: "queue.SimpleQueue[Any]", threads: list[threading.Thread], process: int) -> None:
    if os.getpid() != process:
        return
    with contextlib.suppress(queue.Empty):
        while True:
            slot, _ = tasks.get_nowait()
            slot.put((None, StopIteration()))  # another thread may wait for it
    for _ in threads:
        tasks.put(None)
    for thread in threads:
        # Garbage may be collected in any thread, also in one of these.
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join()


class _Starting:
    lock = threading.Lock()


def _renew() -> None:
    _Starting.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
