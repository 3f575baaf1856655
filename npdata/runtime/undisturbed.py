"""Calls that no Ctrl-C cuts short: they run in a thread, where no signal arrives.

Idea: an interrupt in the middle of `threading.Thread.start`, or of a `with` over a lock of Python,
can leave a lock of the interpreter taken for ever. Invariant: the caller only starts a thread and
waits for one reply, each by one call of C; what was begun goes on to its end if it stops waiting.
"""

import _thread
import queue
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
T = TypeVar("T")


def undisturbed(
    function: Callable[Parameters, T], *arguments: Parameters.args, **options: Parameters.kwargs
) -> T:
    """Give `function(...)`, or raise what it raises.

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

    _thread.start_new_thread(call, ())
    given, error = reply.get()
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
    return given[0]
