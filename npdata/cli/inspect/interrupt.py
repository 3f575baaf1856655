"""Ctrl-C that waits for the end of a step, since it may get lost in the middle of one.

Idea: Python raises KeyboardInterrupt wherever it happens to be: a finalizer drops it with a
message, and in h5py's callbacks it comes out as a SystemError. So the first is noted, and raised
between two steps; a second one is raised at once. Invariant: the handler is that from before
when the block ends. It is for steps that take a moment and leave nothing behind.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def between_steps() -> Iterator[Callable[[], None]]:
    """Give a function to call between steps, which raises KeyboardInterrupt if Ctrl-C came.

    Examples:
        >>> with between_steps() as check:
        ...     signal.raise_signal(signal.SIGINT)
        ...     print("the step ends")
        ...     try:
        ...         check()
        ...     except KeyboardInterrupt:
        ...         print("and no other begins")
        the step ends
        and no other begins
    """
    before = signal.getsignal(signal.SIGINT)
    noted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        noted = True
        signal.signal(signal.SIGINT, before)

    def check() -> None:
        if noted:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield check
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
