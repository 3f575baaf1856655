"""Values that belong to one process: made on first use, made again after a fork.

Idea: a handle, a lock or a pool of threads must not be carried over a fork, where another thread
of the parent may have held it. Invariant: `get` never gives a value that another process made,
and two threads never make two values. What a parent made is kept, unused, in the child: closing
it there could disturb the parent.
"""

import functools
import itertools
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, TypeVar

T = TypeVar("T")


class this_process:  # noqa: N801
    """The `number` of this process, for which the system takes 0.2 µs, and if it was `forked`.

    `begun` and `ended` have one thing for each fork here.
    """

    number = os.getpid()
    forked = False
    lock = threading.Lock()
    begun: ClassVar[list[None]] = []
    ended: ClassVar[list[None]] = []

    @classmethod
    def forks(cls) -> int | None:
        """Count the forks so far: what was there before may be in a child, too.

        None while one is under way: what another thread gets or drops meanwhile may be in it.
        """
        count = len(cls.begun)
        return count if count == len(cls.ended) else None

    @classmethod
    def is_alone_since(cls, forks: int | None) -> bool:
        """Tell whether no child has what was there when `forks` was counted."""
        return forks is not None and forks == cls.forks()


class PerProcess(Generic[T]):
    """A value of this process, made by `make` on the first `get`."""

    def __init__(self, make: Callable[[], T], *, keep_inherited: bool = False) -> None:
        """Remember how to make the value; `keep_inherited` never destroys a parent's."""
        self._make = make
        self._keep = keep_inherited
        self._inherited: list[T] = []
        self._made: tuple[int, T] | None = None
        self._lock = ForkSafeLock()

    def made(self) -> T | None:
        """Give the value of this process, None where it was not made yet."""
        made = self._made
        return made[1] if made is not None and made[0] == this_process.number else None

    def get(self) -> T:
        """Give the value of this process; raises what `make` raises, and then tries again."""
        made = self._made
        if made is not None and made[0] == this_process.number:
            return made[1]
        with self._lock.get():
            made = self._made
            if made is not None and made[0] == this_process.number:
                return made[1]
            if made is not None and self._keep:
                self._inherited.append(made[1])
            value = self._make()
            self._made = (this_process.number, value)
            return value

    def take(self) -> T | None:
        """Give the value of this process away, None where there is none; `get` makes a new one."""
        with self._lock.get():
            value = self.made()
            if value is not None:
                self._made = None
            return value


class ForkSafeLock:
    """A lock that is new in every process: `with lock.get(): ...`."""

    def __init__(self) -> None:
        self._made = (this_process.number, threading.RLock())

    def get(self) -> AbstractContextManager[Any]:
        """Give the lock of this process, which a thread may take several times."""
        made = self._made
        if made[0] != this_process.number:
            # Threads of a child that meet here at once must agree on one lock.
            with this_process.lock:
                made = self._made
                if made[0] != this_process.number:
                    made = self._made = (this_process.number, threading.RLock())
        return made[1]


def _after_fork(name: str, make: Callable[[], object]) -> None:
    """Let an attribute be made anew in each child.

    It is C alone that runs there: an interrupt in the middle of Python code would be lost, and a
    worker that was forked during a Ctrl-C would wait for threads of its parent.
    """
    made = map(setattr, itertools.repeat(this_process), itertools.repeat(name), iter(make, None))
    os.register_at_fork(after_in_child=made.__next__)


os.register_at_fork(
    before=functools.partial(this_process.begun.append, None),
    after_in_parent=functools.partial(this_process.ended.append, None),
    after_in_child=functools.partial(
        this_process.ended.__setitem__, slice(None), this_process.begun
    ),
)
_after_fork("number", os.getpid)
_after_fork("forked", functools.partial(bool, 1))
_after_fork("lock", threading.Lock)
