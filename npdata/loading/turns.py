"""Who does the next job of a prefetcher: its consumer alone, or threads.

Idea: a thread gains time while the consumer is elsewhere. But it waits for the interpreter, and
takes a core that the consumer may need. So the consumer does short jobs itself while it comes back
soon. Others are done in turns alone and in turns with threads, which are compared (`comparison`).
Invariant: only time depends on that, never a result. Here no job is done.
"""

from dataclasses import dataclass
from time import perf_counter

from npdata.loading.comparison import LONG_TURN, Comparison

LEAST_LOOP = 60e-6
"""A consumer that comes back sooner loses more by handing a job over than threads do meanwhile."""
LEAST_TO_COMPARE = 25e-6
"""The same where what threads gain is measured."""
LEAST_JOB = 1e-3
"""Jobs that take longer may be worth it for any consumer."""
SURE = 3
"""After so many turns in a row a consumer is no longer back soon, or is again. After one, which the
system delayed, threads would take a core from those of torch, and a copy would wait for 4 ms. After
one of `LONG_TURN`, which no system delays by so much, ways are compared at once."""
LONG = 2
"""After so many long jobs in a row threads have the next ones."""


@dataclass(frozen=True, kw_only=True)
class Alone:
    """When the consumer does all jobs: while it comes back soon, and they are short.

    Soon is within `away` seconds, or an eighth of a job, and short is below `job` seconds. After
    long jobs threads have the next ones. With more than `LEAST_LOOP` for `away`, the mean of a few
    jobs is to be long: a first one takes longer, and many cores copy slower in threads. If it
    `compares`, the consumer does all other jobs too, unless threads take less time.
    """

    away: float = LEAST_LOOP
    job: float = LEAST_JOB
    compares: bool = False


class Turns:
    """The turns of a consumer: each begins when it is given a result, and ends with the next.

    `comparison` is what is known of earlier turns, for a rule that `compares`.
    """

    def __init__(self, rule: Alone, comparison: Comparison) -> None:
        self._rule, self._comparison = rule, comparison
        self._away = rule.away
        """As the rule says; once threads were given long jobs, `LEAST_LOOP` at most."""
        self._given = self._asked = 0.0
        self._took = 0.0
        """The seconds of the last few turns of waiting, or of doing the job."""
        self._is_alone = self._is_soon = not comparison.threads_are_faster
        self._others = 0
        """The last turns that speak against `_is_soon`."""
        self._long = 0
        """The last jobs done alone that were long."""

    def is_alone(self) -> bool:
        """Tell, when the consumer asks for a result, whether it does the job itself."""
        self._asked = now = perf_counter()
        rule, took = self._rule, self._took
        if self._given:
            patience = max(self._away, took / 8) if took < rule.job else 0.0
            is_soon = now - self._given < patience
            self._others = 0 if is_soon == self._is_soon else self._others + 1
            if self._others == SURE:
                self._is_soon, self._others = is_soon, 0
        self._is_alone = self._is_soon or (rule.compares and self._comparison.next_is_alone)
        return self._is_alone

    def ended(self, *, by_itself: bool) -> bool:
        """Note that it is given a result; tell whether threads get the next jobs at once.

        `by_itself`: it did the job, while none was under way.
        """
        rule, now, before = self._rule, perf_counter(), self._given
        seconds, self._given = now - self._asked, now
        if rule.compares and seconds >= LONG_TURN:
            self._is_soon = False
        if not before:  # a first job finds neither threads nor memory
            return False
        self._took += (seconds - self._took) / 4
        if rule.compares:
            counts = by_itself and not self._is_soon
            away = self._asked - before
            self._comparison.add(now - before, away, alone=self._is_alone, counts=counts)
            return False
        if not by_itself:
            return False
        long = (self._took if self._away > LEAST_LOOP else seconds) >= rule.job
        self._long = self._long + 1 if long else 0
        if self._long < LONG:
            return False
        self._away, self._is_soon = min(LEAST_LOOP, self._away), False
        return True
