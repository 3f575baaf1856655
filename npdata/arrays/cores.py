"""On how many cores values are copied and cast: on all that torch uses, or on one.

Idea: torch divides a call for more than `GRAIN` elements among its threads, and waits for all of
them. Where another program has a core, one gets none for milliseconds, in which the others wait. So
little is copied on one core, and after such a wait everything is, for a while. Invariant: only time
depends on that, never a value. It copies nothing.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from time import perf_counter
from typing import TypeVar

from npdata.runtime.lazy_torch import torch
from npdata.runtime.per_process import this_process

GRAIN = 32768
"""From so many elements on torch divides a copy among its threads."""
FEW_BYTES = 1 << 18
"""So many bytes are copied on one core: two gain 20 µs at most, and wait 1 to 8 ms for each other
where one is busy."""
LEAST_RATE = 1e9
"""Bytes a second that any memory gives."""
WAITED = 2e-3
"""A call that takes so many seconds longer has waited for a core, or for a disk."""
SOON = 0.1
"""Where two calls within so many seconds wait, a program has a core: once a second it is the system
itself, also on an idle machine."""
PAUSE = 0.5
"""Seconds for which one core does it then. Beside a program that has one of two cores, 256 rows of
16 KiB took 7.7 ms, and take 0.3."""
Result = TypeVar("Result")
_alone: ContextVar[bool] = ContextVar("alone", default=False)


class _Waits:
    """Until when one core does everything, or when a call waited; pages read from a disk then."""

    until = 0.0
    pages = 0


def without_threads(function: Callable[..., Result], *arguments: object) -> Result:
    """Give `function(*arguments)`, in which this thread copies without torch's other threads.

    For when the other cores have work: torch's threads would wait for each other, turning idly. An
    epoch of gzip chunks that no thread reads takes 1.16 to 1.24 times as long without this.
    It is set in a context of its own, so an interrupt cannot leave it set. Where torch has one
    thread, as in the threads of `Loader`, that is spared: 10 of the 600 µs of a batch of episodes.
    """
    if torch.get_num_threads() == 1:
        return function(*arguments)
    context = copy_context()
    context.run(_alone.set, True)
    return context.run(function, *arguments)


def with_threads(function: Callable[[], object], nbytes: int) -> None:
    """Call `function`, which copies so many bytes by torch's threads, and see whether they wait."""
    began = perf_counter()
    function()
    took = perf_counter() - began
    if took > WAITED + nbytes / LEAST_RATE and torch.get_num_threads() > 1:
        before = _Waits.pages
        _Waits.pages = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        if _Waits.pages == before:  # more threads read more pages at once
            now = perf_counter()
            _Waits.until = now + PAUSE if now < _Waits.until + SOON else now


def threads_wait() -> bool:
    """Tell whether torch has other threads here, and they have no core; see `without_threads`."""
    waits = _alone.get() or perf_counter() < _Waits.until
    return waits and torch.get_num_threads() > 1


def is_little(elements: int, item: int) -> bool:
    """Tell whether torch would divide so many elements of `item` bytes, and that does not pay."""
    return GRAIN < elements <= FEW_BYTES // item and torch.get_num_threads() > 1


def stays_on_one_core(values: torch.Tensor) -> bool:
    """Tell whether no other thread of torch may work on these, many or few."""
    little = is_little(values.numel(), values.element_size())
    return little or threads_wait() or lost_threads()


def lost_threads() -> bool:
    """Tell whether torch would wait for ever for its threads, which stayed behind at a fork.

    A DataLoader gives its workers one thread, and then torch waits for none.
    """
    return this_process.forked and torch.get_num_threads() > 1
