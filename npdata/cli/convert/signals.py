"""Signals that end a program, turned into an exception once, so that it can tidy up.

Idea: the first Ctrl-C, SIGTERM or SIGHUP raises in the main thread; what follows while the
exception goes up is ignored, because tidying up must not be interrupted. Invariant: the handlers
are those from before when the block ends. Elsewhere than in the main thread nothing is changed.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def ends_once() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGINT, SystemExit(128 + number) for the others, once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        if ended:
            return
        ended = True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            # What was ignored stays so: `nohup` means it.
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, end)
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])
