"""Calls of one function for many things, shared by the caller with a few threads, in order.

Idea: threads are started by one call of C. The end of what each calls puts one thing into a queue:
also of one that the system did not give, or that had no memory to begin. Invariant: where
a block has ended, no call is under way or to come, and no lock of the interpreter is left taken. A
second Ctrl-C does not wait, nor does one in the moment of leaving, after which at most `ahead`
calls are still made. Where the system gives fewer threads, those do it, without any the caller.
"""

import _thread
import contextlib
import functools
import itertools
import queue
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")
_Slot = queue.SimpleQueue[tuple[Any, BaseException | None]]
"""Gets the result of a call, or its error."""
_Tasks = queue.SimpleQueue[tuple[_Slot, Any] | None]
"""None ends all threads, since each puts it back."""
_POLL_SECONDS = 0.5
"""A thread looks again after so long, in case an interrupt kept its end from coming."""


@contextlib.contextmanager
def shared_calls(
    function: Callable[[Given], Result], things: Iterable[Given], *, threads: int, ahead: int
) -> Iterator[Iterator[Result]]:
    """Give an iterator over `function(thing)` of each, in order; at most `ahead` wait or are made.

    Up to `threads` threads help the caller. An error of a call is raised in its place.

    Examples:
        >>> with shared_calls(str.upper, ["a", "b", "c"], threads=1, ahead=2) as results:
        ...     list(results)
        ['A', 'B', 'C']
    """
    calls = _Calls(function)
    # A thread alone holds what it calls, and no frame does: an error that is kept keeps its frames.
    serve = [
        functools.partial(_serve, weakref.ref(calls), calls.tasks, function) for _ in range(threads)
    ]
    ends = functools.partial(calls.ended.put, None)  # in C: there may be no memory for Python
    tokens = [weakref.ref(each, ends) for each in serve]
    try:
        with contextlib.suppress(RuntimeError):  # the system gives no more threads
            starts = map(list.pop, itertools.repeat(serve, threads))
            deque(map(_thread.start_new_thread, starts, itertools.repeat(())), maxlen=0)
        yield calls.results(iter(things), ahead)
    finally:
        serve.clear()
        calls.end(len(tokens))


class _Calls(Generic[Given, Result]):
    """Lives as long as the block; threads refer to its queues."""

    def __init__(self, function: Callable[[Given], Result]) -> None:
        self.function = function
        self.tasks: _Tasks = queue.SimpleQueue()
        self.ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def results(self, things: Iterator[Given], ahead: int) -> Iterator[Result]:
        slots: deque[_Slot] = deque()
        while True:
            for thing in itertools.islice(things, ahead - len(slots)):
                slots.append(queue.SimpleQueue())
                self.tasks.put((slots[-1], thing))
            if not slots:
                return
            if len(slots) < ahead:
                self.tasks.put(None)  # threads end as soon as they have nothing to do
            slot = slots.popleft()
            while slot.empty() and self._does_one():
                pass
            result, error = slot.get()
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # its traceback holds this frame
            yield result

    def _does_one(self) -> bool:
        """Make the next call that no thread has begun; tell whether there was one."""
        try:
            task = self.tasks.get_nowait()
        except queue.Empty:
            return False
        if task is None:
            self.tasks.put(None)
            return False
        slot, thing = task
        result, error = _outcome(self.function, thing)
        if error is not None and not isinstance(error, Exception):
            raise error  # an interrupt is of the caller, and not of the call
        slot.put((result, error))
        return True

    def end(self, threads: int) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self.tasks.get_nowait()
        self.tasks.put(None)
        for _ in range(threads):
            self.ended.get()


def _serve(
    calls: "weakref.ref[_Calls[Any, Any]]", tasks: _Tasks, function: Callable[[Any], Any]
) -> None:
    while calls() is not None:
        try:
            task = tasks.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if task is None:
            tasks.put(None)
            break
        task[0].put(_outcome(function, task[1]))
        del task


def _outcome(
    function: Callable[[Given], Result], thing: Given
) -> tuple[Result | None, BaseException | None]:
    try:
        return function(thing), None
    except BaseException as error:  # raised where its result would be given
        return None, error
