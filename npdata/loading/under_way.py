"""The iterations of a loader that are under way, and which of them is meant.

Idea: a loop may look at a batch of another iteration, as `next(iter(loader))` does, which must not
become the state of that loop: what has gone on since another was made is meant. Invariant: it
keeps no iteration alive, and where more than one may be meant it says so.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from npdata.errors import StateWarning, warn
from npdata.loading.iteration import Iteration
from npdata.loading.stats import Counter
from npdata.runtime.living import Living


class Counted(NamedTuple):
    """An iteration: what the sampler gave for it, and what the loop received of it.

    The loop had `given` batches of it when the next one was made.
    """

    batches: Iterator[Any]
    counter: Counter
    given: int = 0


class UnderWay:
    """The iterations of a loader."""

    def __init__(self) -> None:
        self._latest: Counted | None = None
        self._earlier: tuple[Counted, ...] = ()
        self._living: Living[Iteration] = Living()

    def add(self, iteration: Iteration) -> None:
        """Know of an iteration that is made now."""
        self._earlier = tuple(
            Counted(each.batches, each.counter, each.counter.batches) for each in self._midway()
        )
        self._living.add(iteration)
        self._latest = Counted(iteration.batches, iteration.counter)

    @property
    def meant(self) -> Counted | None:
        """One that gave batches since the last was made, else the last; None without any."""
        since = (each for each in self._earlier if each.counter.batches > each.given)
        return next(since, self._latest)

    def forget(self) -> None:
        """Mean none until another is made."""
        self._latest, self._earlier = None, ()

    def warn_of_others(self, meant: Counted) -> None:
        """Issue a `StateWarning` where another is in the middle of its epoch."""
        others = [each for each in self._midway() if each.counter is not meant.counter]
        if others:
            warn(
                f"the state is of one iteration of this Loader, after {meant.counter.batches} "
                "batches, and another is in the middle of its epoch, after "
                f"{others[0].counter.batches}: a resumed run would leave out the rest of that. "
                "Give each loop a Loader of its own, or call close() of an iterator that is left",
                StateWarning,
            )

    def end_all(self) -> None:
        """End all iterations and their threads."""
        for iteration in self._living:
            iteration.cut_short()

    def _midway(self) -> list[Iteration]:
        return [each for each in self._living if each.is_midway]
