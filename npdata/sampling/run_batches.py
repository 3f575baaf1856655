"""One iteration of a sampler: the row numbers of its batches, one by one or many at a time.

Idea: it is a run of an epoch, and begins when the first batch is asked for. Invariant: it counts
what it gave, from which states are made. What comes, and who asks for it, is for `cursor` to say.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from npdata.sampling.cursor import Cursor, beginning
from npdata.sampling.epochs import Batches, Run, Start
from npdata.sampling.trainers import warn_of_other_steps, warn_of_repeated_predictions
from npdata.sampling.who_asks import who_asks


class RunBatches(Iterator[Any]):
    """The batches of one run, which begins when the first is asked for.

    Once it has the state of one that was at its end, it gives nothing: torchdata's
    StatefulDataLoader may throw it away and begin the next epoch with another, and no epoch must be
    left out.
    """

    def __init__(self, cursor: Cursor) -> None:
        """Take the place of the sampler, where the run begins."""
        self._cursor = cursor
        self._run: Run | None = None
        self._chunks: Iterator[Batches] = iter(())
        self._chunk: Batches = ()
        self._taken = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        run = self.begin() if self._run is None else self._run
        if self._taken == len(self._chunk):
            self._chunk, self._taken = next(self._chunks, ()), 0
            if not len(self._chunk):
                raise StopIteration
        batch = self._chunk[self._taken]
        self._taken += 1
        run.given += 1
        if self._cursor.place.run is not run:  # here, to spare each batch a call
            self._cursor.go_on(run)
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
        cursor, asking = self._cursor, who_asks()
        with beginning.get():
            run = cursor.next_run(asking)
            asking.tell(run.remainder)
            warn_of_repeated_predictions(asking.lightning, run.counted, run.start.position)
            start = run.start
            if asking.lightning is not None and (start.position or not asking.workers):
                begins = (start, Start(start.epoch, 0))
                left, whole = (cursor.epochs.steps(begin, run.ranks) for begin in begins)
                warn_of_other_steps(asking.lightning, start.position, left, whole)
            # Known here before the epoch is used up: an interrupt between the two skips none.
            self._run, self._chunks = run, cursor.epochs.batches(run)
            cursor.begin(run)
        return run

    @property
    def _peeked(self) -> Run:
        """The run, or before it has begun what it would be now."""
        return self._cursor.next_run(who_asks()) if self._run is None else self._run

    def state_after(self, consumed: int) -> dict[str, int]:
        """Give the sampler's state after so many batches of this run."""
        return self._cursor.state(self._run, consumed)

    @property
    def rows(self) -> int:
        """The rows of the dataset that the sampler numbers: each row number is in [0, rows)."""
        return self._cursor.epochs.recipe.rows

    @property
    def count(self) -> int:
        """The number of batches of this run, from its beginning."""
        run = self._peeked
        return self._cursor.epochs.steps(run.start, run.ranks)

    def length(self, whole: int) -> int:
        """Give what `len` of a loader that reads this run is: the batches of the run.

        `whole` before it begins, and to Lightning, which counts the batches before it as well.
        """
        run = self._run
        if run is None or who_asks().lightning is not None:
            return whole
        return self.count

    def state_dict(self) -> dict[str, bool]:
        """Give whether this run is at its end."""
        run = self._peeked
        read = run.given * run.ranks.step_size
        at = run.position(run.given) if run.consumed else run.start.position + read
        return {"ended": self._cursor.epochs.ends(Start(run.start.epoch, at), run.ranks)}

    def load_state_dict(self, state: Mapping[str, bool]) -> None:
        """Go on with an iterator of this state: one that was at its end gives nothing more."""
        if state["ended"]:
            run = self._cursor.next_run(who_asks())
            self._run, self._chunks, self._chunk, self._taken = run, iter(()), (), 0
            if run.start.position:
                self._cursor.begin(run)
