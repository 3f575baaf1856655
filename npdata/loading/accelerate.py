"""What Accelerate does with a loader that it did not make: where an iteration is, and what counts.

Idea: Accelerate steps the optimizer and cuts padding off metrics at the last batch of the loader
that is being read, of which it keeps a list. A `Loader` divides the rows itself, so it is not to be
prepared, and puts itself into that list. Invariant: without an Accelerator in the process nothing
happens here, and Accelerate is never imported.
"""

import sys
from typing import Any

from npdata.errors import LoaderError
from npdata.sampling.who_asks import who_asks


class Reading:
    """An iteration, as Accelerate sees it; it leaves the list when it is dropped.

    `remainder` is the number of samples, of all ranks, that count in a last step which is not whole
    (0: it is; -1: not known); `end_of_dataloader` is set when the last batch is about to be given.
    """

    def __init__(self, remainder: int) -> None:
        self.end_of_dataloader = False
        self.remainder = remainder
        self._state = _gradient_state()
        if self._state is not None:
            self._state._add_dataloader(self)

    @property
    def is_watched(self) -> bool:
        """Whether there is such a list, in which it is."""
        return self._state is not None

    def end(self) -> None:
        """Leave the list."""
        state, self._state = self._state, None
        if state is not None:
            state._remove_dataloader(self)


def refuse_a_second_division() -> None:
    """Raise `LoaderError` (a ValueError) where Accelerate is about to divide a loader's batches."""
    if who_asks().divides:
        raise LoaderError(
            "accelerator.prepare(DataLoader(loader, batch_size=None)) divides the rows, which the "
            "Loader has divided among processes already: write accelerator.prepare(loader), of the "
            "Loader itself"
        )


def _gradient_state() -> Any:
    """Give the state that all of Accelerate shares, None where no Accelerator was made."""
    module = sys.modules.get("accelerate.state")
    if module is None or not module.GradientState._shared_state:
        return None
    return module.GradientState()
