"""The iterations of a loader that are under way, and which of them a state counts.

Idea: a loop may look at a batch of another iteration, as `next(iter(loader))` does, which must not
become the state of that loop: what has gone on since another iteration was made counts. Invariant:
it keeps no iteration alive, and where more than one may be meant it says so.
"""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from npdata.errors import StateWarning
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
    """The iterations of a loader; `latest` is the one made last, or None."""

    def __init__(self) -> None:
        self.latest: Counted | None = None
        self._earlier: tuple[Counted, ...] = ()
        self._living: Living[Iteration] = Living()

    def add(self, iteration: Iteration) -> None:
        """Know of an iteration that is made now."""
        self._earlier = tuple(
            Counted(each.batches, each.counter, each.counter.batches) for each in self._midway()
        )
        self._living.add(iteration)
        self.latest = Counted(iteration.batches, iteration.counter)

    def gone_on(self, latest: Counted) -> Counted:
        """Give what has gone on since `latest` was made, else `latest`, for a state."""
        since = (each for each in self._earlier if each.counter.batches > each.given)
        now = next(since, latest)
        others = [each for each in self._midway() if each.counter is not now.counter]
        if others:
            warnings.warn(
                f"the state is of one iteration of this Loader, after {now.counter.batches} "
                "batches, and another is in the middle of its epoch, after "
                f"{others[0].counter.batches}: a resumed run would leave out the rest of that. "
                "Give each loop a Loader of its own, or call close() of an iterator that is left",
                StateWarning,
                stacklevel=4,
            )
        return now

    def end_all(self) -> None:
        """End all iterations and their threads."""
        for iteration in self._living.all():
            iteration.cut_short()

    def _midway(self) -> list[Iteration]:
        return [each for each in self._living.all() if each.is_midway]
