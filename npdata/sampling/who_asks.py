"""Who asks a sampler for batches: a DataLoader, or Accelerate, which divides them among processes.

Idea: Accelerate divides the batches of any batch sampler, which this one has done already. So a
sampler looks, once an epoch, at who asks for its batches: torch's and a trainer's frames above it
say so, and nothing else does. Then it gives the batches of all processes, as lists, and Accelerate
divides them. Invariant: what is not recognised is refused, never guessed.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from torch.utils.data import BatchSampler

from npdata.errors import SamplerError
from npdata.sampling.epochs import Epochs
from npdata.sampling.order.ranks import Ranks
from npdata.sampling.trainers import FoundByLightning

_LIGHTNING = ("lightning.", "pytorch_lightning.")
_BETWEEN = ("torch.utils.data", "torchdata.", "npdata.", "accelerate.", *_LIGHTNING)
_PASS_ON = {"DataLoaderShard", "SkipBatchSampler", "SkipDataLoader", "DataLoaderAdapter"}
"""Classes of accelerate.data_loader that hand batches on as they are."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Who asks for batches: how Accelerate divides them, its loader, and Lightning's trainer.

    `processes` is 1 where nobody divides. `split`: each batch is divided, else batches are dealt.
    `even`: all processes get as many batches. `dispatcher`: its first process reads for all.
    `skips`: so many batches will be thrown away. `workers`: so many processes of a DataLoader read
    the batches. `stateful`: torchdata's StatefulDataLoader reads them, which saves the position
    itself.
    """

    processes: int = 1
    split: bool = False
    even: bool = False
    skips: int = 0
    workers: int = 0
    stateful: bool = False
    loader: Any = None
    dispatcher: Any = None
    lightning: Any = None

    @property
    def divides(self) -> bool:
        """Whether the batches will be divided among processes."""
        return self.processes > 1

    @property
    def fills(self) -> bool:
        """Whether a last step is to be filled up with the rows that come first in the epoch.

        Accelerate would take those that came first in this iteration, others after a resume. So
        does a dispatcher, for which the epoch's first step comes `again`.
        """
        return self.divides and self.even and self.dispatcher is None

    @property
    def ahead(self) -> bool:
        """Whether batches are taken before the loop gets them, and nobody counts which it got.

        Accelerate looks for the end of a loader one batch ahead.
        """
        takes = self.workers > 0 or self.loader is not None or self.dispatcher is not None
        return takes and not self.stateful

    def reads(self, position: int, counted: Ranks) -> Ranks:
        """Give the ranks to make batches for from `position` on: one where a trainer divides.

        Examples:
            >>> ranks = Ranks(n=11, batch_size=2, rank=0, world_size=2, uneven="drop", lanes=1)
            >>> Asking(processes=2).reads(4, ranks).n
            8
        """
        if not self.divides:
            return counted
        whole = position + counted.whole_steps(position) * counted.step_size
        return replace(counted, world_size=1, n=whole if counted.uneven == "drop" else counted.n)

    def again(self, position: int, counted: Ranks) -> int:
        """Give how many batches from the start of the epoch come before those from `position` on.

        A dispatcher fills up rows that do not divide with the first of this iteration. So that they
        are those of an undisturbed epoch, it gets the first step once more, and skips it.
        """
        filled = self.divides and self.dispatcher is not None and counted.uneven != "drop"
        if not filled or not position or not (counted.n - position) % self.processes:
            return 0
        return 0 if counted.n < counted.step_size else counted.world_size

    def tell(self, remainder: int) -> None:
        """Tell Accelerate's loader how many samples count in a last step that is not whole.

        It would take that from the length of the dataset, whatever is read of it.
        """
        if self.loader is not None:
            self.loader.remainder = remainder


def who_asks() -> Asking:
    """Look at the frames above the caller, up to the first that is of no loader or trainer.

    Raises `SamplerError` (a ValueError) for a class of Accelerate that is not known, and where a
    sampler of batches stands in the place of a sampler of rows.
    """
    found: dict[str, Any] = {}
    for frame in _frames_between():
        module = frame.f_globals.get("__name__", "")
        owner = frame.f_locals.get("self")
        if isinstance(owner, BatchSampler) and isinstance(
            getattr(owner, "sampler", None), FoundByLightning
        ):
            raise SamplerError(
                f"{type(owner.sampler).__name__} gives whole batches, and stands in the place of a "
                "sampler of single rows: pass it as batch_sampler=, without batch_size"
            )
        workers = getattr(owner, "_num_workers", None)
        if workers is not None:
            found["workers"] = workers
        if module.startswith("torchdata."):
            found["stateful"] = True
        if module == "accelerate.data_loader" and owner is not None:
            found = {**_accelerate(owner), **found}
        elif module.startswith(_LIGHTNING) and "lightning" not in found:
            trainer = getattr(owner, "trainer", None)
            if trainer is not None:
                found["lightning"] = trainer
    return Asking(**found)


def _accelerate(owner: Any) -> dict[str, Any]:
    theirs = [k.__name__ for k in type(owner).__mro__ if k.__module__ == "accelerate.data_loader"]
    kind = theirs[0] if theirs else ""
    if kind == "BatchSamplerShard":
        return {
            "processes": owner.num_processes,
            "split": owner.split_batches,
            "even": owner.even_batches,
        }
    if kind == "DataLoaderDispatcher":
        if owner.use_stateful_dataloader:
            raise SamplerError(
                "Accelerate counts other batches than were received with dispatch_batches=True and "
                "use_stateful_dataloader=True: leave one of them out; the position is saved by "
                "sampler.state_dict(consumed=steps)"
            )
        return {
            "processes": owner.state.num_processes,
            "split": owner.split_batches,
            "even": True,
            "dispatcher": owner,
        }
    if kind == "IterableDatasetShard":
        return {"processes": owner.num_processes}
    if kind == "DataLoaderShard":
        return {"loader": owner}
    if kind in _PASS_ON:
        return {"skips": owner.skip_batches} if kind == "SkipBatchSampler" else {}
    raise SamplerError(
        f"{type(owner).__name__} of this version of Accelerate asks for batches, and npdata does "
        "not know how it divides them: give the model to accelerator.prepare() without the loader, "
        "and use npdata.Loader"
    )


def _frames_between() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_BETWEEN):
        yield frame
        frame = frame.f_back


def require_divisible(asking: Asking, epochs: Epochs) -> None:
    """Raise `SamplerError` (a ValueError) for options that Accelerate's division would void."""
    size, lanes = epochs.batch_size, epochs.recipe.lanes
    what, cure = None, "leave that option out"
    if (epochs.world_size or 1) > 1:
        what = "rank= and world_size= divide the rows among processes"
    elif size is None:
        what = "max_rows= gives processes batches of different sizes in turn"
    elif asking.split and size % asking.processes:
        what = f"split_batches=True would cut each batch of {size} for {asking.processes} processes"
    elif asking.dispatcher is not None and asking.skips:
        what = "skip_first_batches counts no steps with dispatch_batches=True"
        cure = "load a state of sampler.state_dict(consumed=steps) into the sampler"
    elif lanes > 1:
        what = f"lanes={lanes} gives each process lanes of its own"
    elif epochs.masked:
        what = 'uneven="mask" marks the padding that this sampler adds'
    elif epochs.uneven == "ragged" and asking.even:
        what = 'uneven="ragged" repeats no row, and Accelerate does, unless even_batches=False'
    if what is not None:
        raise SamplerError(
            f"{what}, and Accelerate, which prepared this DataLoader, divides its batches by its "
            f"own rule: {cure}, or give accelerator.prepare() the model without the DataLoader"
        )
