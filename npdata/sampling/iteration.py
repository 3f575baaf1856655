"""Where a sampler stands, and the iteration that is under way.

Idea: a sampler has one place, replaced whole, so that no interrupt leaves half of it; an iteration
is a run, which takes the sampler's place when it is asked for its first batch. It numbers no rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.sampling.order.by_size import BySize
from npdata.sampling.order.ranks import Ranks
from npdata.sampling.trainers import who_asks

Batches: TypeAlias = Sequence[Any] | NDArray[np.int64]
"""Batches that were numbered together; plain row numbers are one array of two dimensions."""


@dataclass(frozen=True)
class Start:
    """Where an iteration begins."""

    epoch: int
    position: int


@dataclass(kw_only=True)
class Run:
    """An iteration, from the moment that it is asked for a batch.

    `counted` are the ranks that a state counts by: not `ranks` where a trainer divides the batches.
    `filled`: the last batches are filled up to a whole step of those ranks. `again`: so many
    batches of the epoch's start come first, which the trainer skips.
    """

    start: Start
    ranks: Ranks
    counted: Ranks
    sized: BySize | None = None
    lists: bool = False
    filled: bool = False
    again: int = 0
    given: int = 0
    ended: bool = False
    consumed: list[int] = field(default_factory=list)
    """With `sized`, the samples consumed before the first batch, and after each one given."""

    def position(self, count: int) -> int:
        """Give the position after `count` steps of those given."""
        if self.sized is not None:
            return self.consumed[count] if self.consumed else self.start.position
        return self.start.position + count * self.counted.step_size

    @property
    def steps(self) -> int:
        """The steps of all ranks that the batches given make; `drop` gives no part of a step."""
        batches = self.counted.step_size // self.ranks.step_size
        whole, more = divmod(max(0, self.given - self.again), batches)
        return whole + (more > 0 and self.counted.uneven != "drop")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a sampler stands: replaced whole, so that no interrupt leaves half of it.

    `coming` is where the next iteration begins, `loaded` whether that is a loaded state of which
    nothing was read yet, `begun` whether any epoch was read, `run` the iteration begun last.
    """

    coming: Start
    loaded: bool = False
    begun: bool = False
    run: Run | None = None


class RunBatches(Iterator[Any]):
    """The batches of one run, which begins when the first is asked for.

    It goes on with an iterator that was at its end by one that gives nothing, since torchdata's
    StatefulDataLoader may throw that one away and begin the next epoch with another. That must not
    use up the next epoch.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler
        self._run: Run | None = None
        self._chunks: Iterator[Batches] = iter(())
        self._chunk: Batches = ()
        self._taken = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        """Give the row numbers of the next batch."""
        run = self.begin() if self._run is None else self._run
        if self._taken == len(self._chunk):
            self._chunk, self._taken = next(self._chunks, ()), 0
            if not len(self._chunk):
                raise StopIteration
        batch = self._chunk[self._taken]
        self._taken += 1
        run.given += 1
        return batch

    def take(self, most: int) -> Batches:
        """Give the row numbers of the next batches, of at most so many; of none at the end."""
        run = self.begin() if self._run is None else self._run
        if self._taken == len(self._chunk):
            self._chunk, self._taken = next(self._chunks, ()), 0
        batches = self._chunk[self._taken : self._taken + most]
        self._taken += len(batches)
        run.given += len(batches)
        return batches

    def begin(self) -> Run:
        """Begin the run: the epoch is now that which the sampler had coming."""
        run: Run = self._sampler._next_run()
        self._run, self._chunks = run, self._sampler._chunks(run)
        return run

    def state_after(self, consumed: int) -> dict[str, int]:
        """Give the sampler's state after so many batches of this run."""
        start = self._sampler._place.coming if self._run is None else self._run.start
        state: dict[str, int] = self._sampler._state(start, self._run, consumed)
        return state

    @property
    def count(self) -> int:
        """The number of batches of this run, from its beginning."""
        run = self._sampler._next_run(peek=True) if self._run is None else self._run
        count: int = self._sampler._steps(run.start, run.ranks)
        return count

    def length(self, whole: int) -> int:
        """Give the batches of this run to who asks for the length of a loader that reads it.

        `whole` before it begins, and to Lightning, which counts the batches before it as well.
        """
        run = self._run
        if run is None or who_asks().lightning is not None:
            return whole
        return self.count

    @property
    def samples_in_last_step(self) -> int:
        """The samples that count in the last step, over all ranks."""
        run = self._sampler._next_run(peek=True) if self._run is None else self._run
        return run.counted.samples_in_last_step(run.start.position)

    def state_dict(self) -> dict[str, bool]:
        """Give whether this run is at its end."""
        run = self._sampler._next_run(peek=True) if self._run is None else self._run
        batches = run.given * run.ranks.step_size
        at = run.position(run.given) if run.sized else run.start.position + batches
        return {"ended": self._sampler._ends(Start(run.start.epoch, at), run.ranks)}

    def load_state_dict(self, state: Mapping[str, bool]) -> None:
        """Go on with an iterator of this state: one that was at its end gives nothing more."""
        if state["ended"]:
            run = self._sampler._next_run(peek=True)
            self._run, self._chunks, self._chunk, self._taken = run, iter(()), (), 0
            if run.start.position:
                self._sampler._begin(run)
