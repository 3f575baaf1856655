"""Calls that no Ctrl-C cuts short: they run in a thread, where no signal arrives.

Idea: an interrupt in the middle of `threading.Thread.start`, or of a `with` over a lock of Python,
can leave a lock of the interpreter taken for ever. Invariant: the caller only starts a thread and
waits for one reply, each by one call of C; what was begun goes on to its end if it stops waiting.
A thread that dies before it has begun, for lack of memory, replies too: what it calls goes with it.
"""

import _thread
import functools
import queue
import weakref
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from npdata.errors import threads_refused

Parameters = ParamSpec("Parameters")
T = TypeVar("T")


def undisturbed(
    function: Callable[Parameters, T], *arguments: Parameters.args, **options: Parameters.kwargs
) -> T:
    """Give `function(...)`, or raise what it raises.

    `ThreadError` (a RuntimeError) where the system gives no thread.

    Examples:
        >>> undisturbed(divmod, 7, 2)
        (3, 1)
    """
    reply: queue.SimpleQueue[tuple[list[T], BaseException | None]] = queue.SimpleQueue()

    def call() -> None:
        try:
            reply.put(([function(*arguments, **options)], None))
        except BaseException as error:  # the caller raises it
            reply.put(([], error))

    calls = [functools.partial(call)]
    # In C alone: where a thread has no memory to begin, there is none to run a function either.
    lost = functools.partial(reply.put, ([], MemoryError("a thread had no memory to begin")))
    token = weakref.ref(calls[0], lost)
    try:
        _thread.start_new_thread(calls.pop(), ())
    except RuntimeError:
        raise threads_refused(1, 0) from None
    given, error = reply.get()
    del token
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
    return given[0]
