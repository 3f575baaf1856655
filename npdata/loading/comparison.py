"""Which way is faster, as time shows: turns of a consumer alone, or turns of threads.

Idea: what threads gain depends on whether the consumer holds the interpreter, and on how many cores
it computes, which no clock shows. So turns of both are timed, and the faster way is kept for many.
Invariant: only time depends on that, never a result. Its parts are immutable, so two iterations
that share it mix their times, and no more.
"""

import statistics

ALONE = 24
"""Turns alone before threads are tried. The first half does not count: its memory is new."""
PASSED = 16
"""Turns with threads that are not timed: at first nothing is ready, and torch's threads still turn
idly on the core that they get."""
TRIED = 32
"""Turns with threads that are timed. Results come in groups, so their mean counts, without the two
that took longest, which the system delayed."""
KEPT, MOST_KEPT = 500, 8000
"""Turns before both ways are timed again, at first, and where the same way was faster each time:
beside a loop that runs Python for 100 µs, threads take twice as long."""
CLEARLY = 1.1
"""Threads that are no longer faster end when their turns take so many times as long."""


class Comparison:
    """The times of turns, alone and with threads, of all iterations of a loader."""

    def __init__(self) -> None:
        self._alone_is_faster = True
        self._kept, self._keeps = 0, KEPT // 2
        """Turns for which that holds, and held at first; then both ways are timed."""
        self._times: tuple[float, ...] = ()
        """The last turns alone."""
        self._tried: tuple[float, ...] = ()
        """The turns with threads, which they are compared with."""

    @property
    def threads_are_faster(self) -> bool:
        """Whether that was found, and holds."""
        return self._kept > 0 and not self._alone_is_faster

    @property
    def next_is_alone(self) -> bool:
        """Whether the consumer does the next job itself."""
        return self._alone_is_faster if self._kept else len(self._times) < ALONE

    def add(self, turn: float, *, alone: bool, counts: bool) -> None:
        """Add the seconds of a turn; one that was `alone` is compared if it `counts`."""
        times = self._times
        if self._kept:
            self._kept = max(0, self._kept - 1)
            if not self._kept:
                self._times = self._tried = ()
                return
        if alone:
            if counts and not self._kept:
                self._times = (*times, turn)[-ALONE:]
        elif len(times) == ALONE:
            self._tried = tried = (*self._tried, turn)
            if len(tried) >= PASSED + TRIED:  # two threads may each have added one
                self._tried = tried[:PASSED]
                usual = statistics.median(times[ALONE // 2 :])
                self._found(usual, statistics.mean(sorted(tried[PASSED:])[:-2]))

    def _found(self, alone: float, threads: float) -> None:
        if not self._kept:
            is_faster = alone < threads
            same = is_faster == self._alone_is_faster
            self._keeps = min(2 * self._keeps, MOST_KEPT) if same else KEPT
            self._alone_is_faster, self._kept = is_faster, self._keeps
        elif CLEARLY * alone < threads:
            self._alone_is_faster, self._kept, self._keeps = True, KEPT, KEPT
