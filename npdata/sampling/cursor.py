"""Where a sampler stands: the epoch and the position that come, and the run under way.

Idea: a sampler has one place; an iteration is a run, which takes the sampler's place when it is
asked for its first batch. It numbers no rows: `epochs` does.
"""

import copy
from dataclasses import dataclass, replace
from typing import Self

from npdata.errors import StateError
from npdata.runtime.per_process import ForkSafeLock
from npdata.sampling.epochs import Epochs, Run, Start
from npdata.sampling.order.checks import whole_number
from npdata.sampling.order.ranks import Ranks, Uneven
from npdata.sampling.states import state_at
from npdata.sampling.trainers import refuse_overfitting_other_rows
from npdata.sampling.who_asks import Asking, require_divisible, who_asks


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a sampler stands: replaced whole, so that no interrupt leaves half of it.

    `coming` is where the next iteration begins, `loaded` whether that is a loaded state of which
    nothing was read yet, `begun` whether any epoch was read, `run` the iteration under way, and
    `was_set` whether an epoch or a state was set since one was begun.
    """

    coming: Start
    loaded: bool = False
    begun: bool = False
    was_set: bool = False
    run: Run | None = None


beginning = ForkSafeLock()
"""Is held while a run begins, so that those of several threads are of different epochs."""


class Cursor:
    """The place of a sampler of `epochs`, which its iterations share."""

    def __init__(self, epochs: Epochs) -> None:
        self.epochs = epochs
        self.place = Place(coming=Start(0, 0))

    def next_run(self, asking: Asking) -> Run:
        """Give the run of the epoch that comes, which `begin` uses up."""
        epochs, counted = self.epochs, self.counted_for(asking)
        coming = epochs.or_next(self.place.coming, counted)
        ranks = asking.reads(coming.position, counted)
        return Run(
            start=coming,
            ranks=ranks,
            counted=counted,
            lists=asking.divides,
            filled=asking.fills and not epochs.drop_last,
            again=asking.again(coming.position, counted),
            ahead=asking.ahead,
        )

    def counted_for(self, asking: Asking) -> Ranks:
        """Give the ranks to count by; refuse or warn of what goes wrong for who asks."""
        epochs = self.epochs
        refuse_overfitting_other_rows(asking.lightning, bool(epochs.recipe.shuffle))
        epochs.recipe.window.warn_of_workers(0 if self.place.begun else asking.workers)
        if not asking.divides:
            return epochs.ranks()
        require_divisible(asking, epochs)
        uneven: Uneven = "drop" if epochs.drop_last else "ragged"
        return epochs.ranks_of(0, 1 if asking.split else asking.processes, uneven)

    def __copy__(self) -> Self:
        """Give one with a place of its own, which counts no batch that this one gives later."""
        made = type(self)(self.epochs)
        made.place = replace(self.place, run=copy.copy(self.place.run))
        return made

    def leave(self) -> None:
        """Have no run under way: an iteration was made that has not begun.

        A dispatcher of Accelerate is to skip the batches that come `again`, in each process.
        """
        with beginning.get():
            self.place = replace(self.place, run=None)
        asking = who_asks()
        if asking.dispatcher is not None:
            asking.dispatcher.skip_batches = 1 if self.next_run(asking).again else 0

    def begin(self, run: Run) -> None:
        """Have a run under way, and use up its epoch."""
        self.place = Place(coming=Start(run.start.epoch + 1, 0), begun=True, run=run)

    def go_on(self, run: Run) -> None:
        """Have a run under way again, which gives a batch after another iteration was made.

        An epoch that was set since ends it for good, unless that is its own: workers have begun to
        read when Lightning sets the first epoch.
        """
        with beginning.get():
            place = self.place
            its_own = place.coming == Start(run.start.epoch, 0) and not place.loaded
            if its_own or not place.was_set:
                self.place = replace(place, run=run)

    def state(self, run: Run | None, consumed: int | None) -> dict[str, int]:
        """Give the state after so many batches of a run (None: all); without a run, before it."""
        epochs, coming = self.epochs, self.place.coming
        if run is None:  # one that has given nothing
            ranks = epochs.ranks()
            run = Run(start=coming, ranks=ranks, counted=ranks)
        given, start = run.steps, run.start
        count = given if consumed is None else whole_number("consumed", consumed, least=0)
        if count > given:
            raise StateError(
                f"consumed={count}, but this iteration has given {given} batches: count from where "
                "the iteration began, on a process that reads (with dispatch_batches=True of "
                "Accelerate that is the first)"
            )
        if run.ended and count == given:
            after = Start(start.epoch + 1, 0)
        else:
            after = epochs.or_next(Start(start.epoch, run.position(count)), run.counted)
        if start.epoch < after.epoch < coming.epoch:
            after = coming  # others have begun the epochs between
        return state_at(after, epochs, run.counted.world_size)
