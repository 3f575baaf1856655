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
LONG_TURN, FEWER = 1e-2, 4
"""Of turns of so many seconds, a fourth of these numbers is timed: no system delays one by much of
it, and who waits for a slow function has no thread meanwhile."""
CHANGED, SLIGHTLY = 8, 2.5e-4
"""After so many turns in a row of a loop that is away four times as long, or a fourth, and not for
so few seconds, both are timed again: it is another loop."""
CLEARLY = 1.1
"""Threads that are no longer faster end when their turns take so many times as long."""


class Comparison:
    """The times of turns, alone and with threads, of all iterations of a loader."""

    def __init__(self) -> None:
        self._alone_is_faster: bool | None = None
        """What was found last."""
        self._left = self._kept = 0
        """Turns for which that still holds, and for which it was to hold. Then both are timed."""
        self._alone: tuple[float, ...] = ()
        self._threads: tuple[float, ...] = ()
        """The last turns alone, and the turns with threads that they are compared with."""
        self._away, self._changed = 0.0, 0
        """The seconds for which the loop was away meanwhile, and the last turns of another."""

    @property
    def threads_are_faster(self) -> bool:
        """Whether that was found, and holds."""
        return self._left > 0 and not self._alone_is_faster

    @property
    def next_is_alone(self) -> bool:
        """Whether the consumer does the next job itself."""
        if self._left:
            return not self.threads_are_faster
        return len(self._alone) < ALONE // self._fewer

    def add(self, turn: float, away: float, *, alone: bool, counts: bool) -> None:
        """Add the seconds of a turn, for some of which the loop was away.

        One that was `alone` is compared if it `counts`.
        """
        if self._left:
            usual = self._away / 4 - SLIGHTLY < away < 4 * self._away + SLIGHTLY
            self._changed = 0 if usual else self._changed + 1
            self._left = max(0, self._left - 1)
            if self._changed >= CHANGED:
                self._alone_is_faster, self._left = None, 0
            if not self._left:
                self._alone, self._threads, self._changed = (), (), 0
                return
        else:
            self._away += (away - self._away) / 4
        if not alone:
            self._add_threads(turn)
        elif counts and not self._left:
            self._alone = (*self._alone, turn)[-ALONE:]

    def _add_threads(self, turn: float) -> None:
        times, tried, fewer = self._alone, (*self._threads, turn), self._fewer
        if len(times) < ALONE // fewer:
            return
        self._threads = tried
        passed = PASSED // fewer
        if len(tried) < passed + TRIED // fewer:  # two iterations may each have added one
            return
        self._threads = tried[:passed]
        alone = statistics.median(times[len(times) // 2 :])
        threads = statistics.mean(sorted(tried[passed:])[:-2])
        if not self._left:
            self._found(alone < threads)
        elif self.threads_are_faster and CLEARLY * alone < threads:
            self._found(True)

    @property
    def _fewer(self) -> int:
        return FEWER if min(self._alone, default=0.0) >= LONG_TURN else 1

    def _found(self, alone_is_faster: bool) -> None:
        same = alone_is_faster == self._alone_is_faster
        self._kept = min(2 * self._kept, MOST_KEPT) if same else KEPT
        self._alone_is_faster, self._left = alone_is_faster, self._kept
