"""What ends a program from outside: Ctrl-C, SIGTERM and SIGHUP.

Idea: for a block of the main thread a handler notes the signal, and raises where that cuts nothing.
Invariant: the handlers from before are put back, what was ignored stays so, and a forked process
leaves Ctrl-C to its parent.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@contextmanager
def ends_once() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the block once, so that nothing interrupts tidying up.

    The first raises KeyboardInterrupt, or SystemExit(128 + number), in the main thread; what
    follows is ignored. Elsewhere than in the main thread nothing is changed.
    """
    ended = False

    def end(number: int) -> None:
        nonlocal ended
        if not ended:
            ended = True
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    with _signals_call(end):
        yield


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C, SIGTERM and SIGHUP until the block ends; a second one does not wait.

    For a step that takes a moment and that must not be cut: in the middle of a fork Python loses
    Ctrl-C or leaves a process behind, a finalizer drops it, and in h5py's callbacks it comes out
    as a SystemError. Processes that are forked meanwhile leave Ctrl-C to their parent.

    Examples:
        >>> try:
        ...     with interrupts_wait():
        ...         signal.raise_signal(signal.SIGINT)
        ...         print("the step ends")
        ... except KeyboardInterrupt:
        ...     print("and no other begins")
        the step ends
        and no other begins
    """
    held: list[int] = []

    def hold(number: int) -> None:
        held.append(number)
        restore()

    try:
        with _signals_call(hold) as restore:
            yield
    finally:
        if held:
            signal.raise_signal(held[0])


@contextmanager
def _signals_call(handle: Callable[[int], None]) -> Iterator[Callable[[], None]]:
    """Handle the signals that end a program, but for those ignored before; give what undoes it."""
    process = os.getpid()

    def handler(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            handle(number)
        elif number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before: dict[int, Any] = {}

    def restore() -> None:
        for number, old in before.items():
            signal.signal(number, old)

    try:
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING:
                old = signal.getsignal(number)
                # What was ignored stays so: `nohup` means it.
                if old not in (signal.SIG_IGN, None):
                    before[number] = old
                    signal.signal(number, handler)
        yield restore
    finally:
        restore()
