"""What trainers look for on a batch sampler, and epochs as they count them.

Idea: Lightning makes a batch sampler anew from arguments that it finds on it: they give the same
sampler again. Trainers set epochs on a sampler of rows inside. Invariant: what would read other
rows than the trainer counts on is refused, or warned of. Nothing of a trainer is imported.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from torch.utils.data import SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from npdata.errors import PaddingWarning, SamplerError, StateWarning, warn
from npdata.sampling.order.ranks import Ranks
from npdata.suggestions import refuse_to_set


def refuse_overfitting_other_rows(lightning: Any, shuffled: bool) -> None:
    """Raise `SamplerError` (a ValueError) where Lightning wants the same batches in every epoch."""
    wanted = getattr(lightning, "overfit_batches", 0)
    if wanted and shuffled:
        raise SamplerError(
            f"Trainer(overfit_batches={wanted}) reads the same batches in every epoch, and this "
            "sampler shuffles them anew: make it with shuffle=False"
        )


def warn_of_repeated_predictions(lightning: Any, ranks: Ranks, start: int) -> None:
    """Issue a `PaddingWarning` where Lightning predicts, and ranks repeat rows from `start` on."""
    left = (ranks.n - start) % ranks.step_size
    repeated = -left % ranks.world_size if ranks.uneven == "pad" else 0
    if repeated and getattr(lightning, "predicting", False):
        warn(
            f"predict: {ranks.n} rows do not divide by {ranks.world_size} ranks, so {repeated} "
            "of the predictions are of rows that came before; make the loader with "
            'uneven="ragged", which repeats none',
            PaddingWarning,
        )


def is_resumed_midway(lightning: Any) -> bool:
    """Tell whether Lightning goes on in an epoch, and has loaded the states of all its loaders."""
    fit: Any = getattr(lightning, "fit_loop", None)
    if not getattr(fit, "restarting", False):
        return False
    return not fit.epoch_loop.batch_progress.is_last_batch


def warn_of_other_steps(lightning: Any, start: int, left: int, whole: int) -> None:
    """Issue a `StateWarning` where Lightning ends an epoch elsewhere than what is `left` of it.

    It counts the batches of an epoch, of which it takes no more than a `whole` one has; a state of
    other ranks or of another batch size has other batches left, from position `start` on.
    """
    if not getattr(lightning, "training", False):
        return
    fit = lightning.fit_loop
    read = fit.epoch_loop.batch_progress.current.ready
    if not whole or (read + left) % whole == 0:
        return  # or a shorter loader beside others comes again in an epoch
    if not start and (not fit.restarting or read > whole):
        return
    ends = (
        f"of which it reads {max(0, whole - read)}"
        if read + left > whole
        else "so the epoch ends without what Lightning does at its end, as validation"
    )
    warn(
        f"Lightning has counted {read} batches of this epoch, which has {whole}, and {left} are "
        f"left in the state that was loaded, {ends}; resume on as many ranks and with the "
        "batch_size that the checkpoint had, or from one of "
        "ModelCheckpoint(save_on_train_epoch_end=True)",
        StateWarning,
    )


class RowSampler(SequentialSampler):
    """The rows of a batch sampler one by one, where trainers look for `batch_sampler.sampler`.

    A SequentialSampler to the eye: trainers replace what they know to shuffle. Its `set_epoch` is
    the batch sampler's, and its length counts what this rank reads, as of a DistributedSampler.

    Examples:
        >>> rows = npdata.BlockBatchSampler(5, 2, shuffle=False).sampler
        >>> list(rows), len(rows)
        ([0, 1, 2, 3, 4], 5)
    """

    def __init__(self, batches: Any, count: Callable[[], int]) -> None:
        super().__init__(range(batches.rows))
        self._batches, self._count = batches, count

    def __len__(self) -> int:
        return self._count()

    def __iter__(self) -> Iterator[int]:
        for batch in self._batches:
            yield from map(int, batch)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration this epoch; see `BlockBatchSampler.set_epoch`."""
        self._batches.set_epoch(epoch)

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse what would be lost: the next look at `sampler` makes another."""
            refuse_to_set(self, RowSampler, name, value)
            super().__setattr__(name, value)


class FoundByLightning:
    """A batch sampler that Lightning and Fabric make anew: type(sampler)(their sampler, sampler).

    They do so to put a DistributedSampler into it, or, for predict, to keep the last batch.
    """

    @property
    def batch_sampler(self) -> Self:
        """Itself: transformers' Trainer sets the epoch of what is inside a batch sampler."""
        return self


for _name, _value in {
    "__pl_saved_args": lambda self: (None, self),
    "__pl_saved_arg_names": lambda _: ("sampler",),
    "__pl_saved_kwargs": lambda _: {},
    "__pl_saved_default_kwargs": lambda _: {"drop_last": False},
}.items():
    setattr(FoundByLightning, _name, property(_value))


def is_for_predicting(sampler: Any) -> bool:
    """Tell whether Lightning made a batch sampler anew for `predict`: each row once, none left out.

    Examples:
        >>> is_for_predicting(torch.utils.data.SequentialSampler(range(5)))
        True
    """
    training = isinstance(sampler, DistributedSampler)
    return not training or type(sampler).__name__.startswith("Unrepeated")
