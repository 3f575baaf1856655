"""Which way is faster, as time shows: turns of a consumer alone, or turns of threads.

Idea: what threads gain depends on whether the consumer holds the interpreter, and on how many cores
it computes, which no clock shows. So turns of both are timed, and the faster way is kept for many.
Invariant: only time depends on that, never a result. Its parts are immutable, so two iterations
that share it mix their times, and no more.
"""

import statistics
from dataclasses import dataclass, replace
from typing import Self

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


@dataclass(frozen=True)
class _Times:
    """The seconds of the last turns alone, and of the turns with threads compared with them."""

    alone: tuple[float, ...] = ()
    threads: tuple[float, ...] = ()

    @property
    def _fewer(self) -> int:
        return FEWER if min(self.alone, default=0.0) >= LONG_TURN else 1

    @property
    def has_alone(self) -> bool:
        """Whether there are enough turns alone."""
        return len(self.alone) >= ALONE // self._fewer

    @property
    def has_both(self) -> bool:
        """Whether there are enough turns of both ways."""
        return self.has_alone and len(self.threads) >= (PASSED + TRIED) // self._fewer

    def and_alone(self, turn: float) -> Self:
        """Give them with a turn alone, in place of the oldest."""
        return replace(self, alone=(*self.alone, turn)[-ALONE:])

    def and_threads(self, turn: float) -> Self:
        """Give them with a turn of threads, which count once there are enough alone."""
        return replace(self, threads=(*self.threads, turn)) if self.has_alone else self

    def once_more(self) -> Self:
        """Give them without the turns of threads that were timed."""
        return replace(self, threads=self.threads[: PASSED // self._fewer])

    def typical(self) -> tuple[float, float]:
        """Give the seconds of a turn alone, and of one with threads."""
        timed = self.threads[PASSED // self._fewer :]
        alone = statistics.median(self.alone[len(self.alone) // 2 :])
        return alone, statistics.mean(sorted(timed)[:-2])


class Comparison:
    """The times of turns, alone and with threads, of all iterations of a loader."""

    def __init__(self) -> None:
        self._alone_is_faster: bool | None = None
        """What was found last."""
        self._left = self._kept = 0
        """Turns for which that still holds, and for which it was to hold. Then both are timed."""
        self._times = _Times()
        self._away, self._changed = 0.0, 0
        """The seconds for which the loop was away meanwhile, and the last turns of another."""

    @property
    def threads_are_faster(self) -> bool:
        """Whether that was found, and holds."""
        return self._left > 0 and not self._alone_is_faster

    @property
    def next_is_alone(self) -> bool:
        """Whether the consumer does the next job itself."""
        return not (self.threads_are_faster if self._left else self._times.has_alone)

    def add(self, turn: float, away: float, *, alone: bool, counts: bool) -> None:
        """Add the seconds of a turn, for some of which the loop was away.

        One that was `alone` is compared if it `counts`.
        """
        if self._left:
            self._hold_for_one_less(away)
            if not self._left:
                self._times = _Times()
                return
        else:
            self._away += (away - self._away) / 4
        if not alone:
            self._add_threads(turn)
        elif counts and not self._left:
            self._times = self._times.and_alone(turn)

    def _hold_for_one_less(self, away: float) -> None:
        """Let what was found hold for a turn less, and no longer once it is another loop."""
        usual = self._away / 4 - SLIGHTLY < away < 4 * self._away + SLIGHTLY
        self._changed = 0 if usual else self._changed + 1
        self._left = max(0, self._left - 1)
        if self._changed >= CHANGED:
            self._alone_is_faster, self._left = None, 0
        if not self._left:
            self._changed = 0

    def _add_threads(self, turn: float) -> None:
        times = self._times = self._times.and_threads(turn)
        if not times.has_both:  # two iterations may each have added one
            return
        self._times = times.once_more()
        alone, threads = times.typical()
        if not self._left:
            self._found(alone < threads)
        elif self.threads_are_faster and CLEARLY * alone < threads:
            self._found(True)

    def _found(self, alone_is_faster: bool) -> None:
        same = alone_is_faster == self._alone_is_faster
        self._kept = min(2 * self._kept, MOST_KEPT) if same else KEPT
        self._alone_is_faster, self._left = alone_is_faster, self._kept
