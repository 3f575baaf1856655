"""The two functions of a dataset, and whether they draw random numbers.

Idea: a function with a parameter named `rng` gets a NumPy generator there; that is seen from its
signature once, when the dataset is made, and what takes more arguments is refused. Invariant:
what a function draws depends on the seed, the epoch and the position of the sample or batch alone:
rows that come without them have seed 0, epoch 0 and their own number, and nothing falls back to a
global generator. An error of a function gets a note of what it was given, and ends no loop.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from npdata.arrays.indexing import row_numbers
from npdata.dataset.arguments import as_field
from npdata.dataset.nested import map_tensors, tensors_in
from npdata.errors import FieldError, RandomnessWarning, SampleWrittenError, an, warn
from npdata.sampling.order.wrapped import fetches
from npdata.sampling.row_numbers import SeededRow, SeededRows

Transform = Callable[..., Any]
SampleRng = Callable[[int], np.random.Generator]
_MOST_NAMES = 10
"""So many fields are named in a note."""


class Bound(NamedTuple):
    """The functions for one batch; `sample_rng` gives the generator of each of its samples."""

    sample: Transform | None
    batch: Transform | None
    sample_rng: SampleRng | None = None

    def transformed(self, sample: Any, number: int, row: int) -> Any:
        """Give sample `number` of the batch, which is `row`, after `sample` with its generator."""
        assert self.sample is not None
        try:
            if self.sample_rng is None:
                return self.sample(sample)
            return self.sample(sample, rng=self.sample_rng(number))
        except Exception as error:
            what = f"{what_it_is(sample)}: row {row} of the dataset"
            error.add_note(f"transform= was called with one sample, {what}")
            _refuse_an_end("transform", error)
            raise


def transformed_batch(function: Transform, batch: Any) -> Any:
    """Give what a function of batches makes of one; its errors get a note of what it was given."""
    try:
        return function(batch)
    except Exception as error:
        error.add_note(f"batch_transform= was called with one batch, {what_it_is(batch)}")
        _refuse_an_end("batch_transform", error)
        raise


def _refuse_an_end(option: str, error: Exception) -> None:
    """Raise RuntimeError for StopIteration: a loop over samples or batches would end in silence."""
    if isinstance(error, StopIteration):
        raise RuntimeError(
            f"{option}= raised StopIteration, by which a loop ends as if all rows had come: give "
            "next() what to return where nothing is left, as next(iterator, None)"
        ) from error


def what_it_is(value: Any) -> str:
    """Describe a sample or a batch, for people."""
    if isinstance(value, dict):
        more = ", ..." if len(value) > _MOST_NAMES else ""
        return f"a dict of its fields {', '.join(map(repr, list(value)[:_MOST_NAMES]))}{more}"
    if type(value) in (tuple, list):
        return f"{an(type(value).__name__)} of length {len(value)}"
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    return an(type(value).__name__)


@dataclass(frozen=True)
class Promised:
    """A transform that promised not to write into its sample (`copy=False`), and is held to it.

    torch counts the writes into a tensor and into its views. Raises `SampleWrittenError` (a
    RuntimeError) after the call that wrote; a write through `.numpy()` is not seen.

    Examples:
        >>> Promised(lambda sample: sample[:2])(torch.arange(3))
        tensor([0, 1])
        >>> Promised(lambda sample: sample.zero_())(torch.arange(3))
        Traceback (most recent call last):
        npdata.errors.SampleWrittenError: transform wrote into its sample, which is the data ...
    """

    function: Transform

    def __call__(self, sample: Any, **random: np.random.Generator) -> Any:
        """Give what the transform gives."""
        if torch.is_inference_mode_enabled():
            sample = map_tensors(_counted, sample)
        before = [(each, each._version) for each in tensors_in(sample)]
        result = self.function(sample, **random)
        if any(tensor._version != version for tensor, version in before):
            raise SampleWrittenError(
                "transform wrote into its sample, which is the data itself with copy=False: this "
                "process goes on with the changed row, a file stays as it is. Leave copy=False "
                "out, or write x - mean in place of x -= mean"
            )
        return result


def _counted(tensor: torch.Tensor) -> torch.Tensor:
    """Give the same memory as a tensor whose writes torch counts: of inference mode it does not."""
    with torch.inference_mode(False):
        view = tensor.shape, tensor.stride()
        made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return made.set_(tensor.untyped_storage(), tensor.storage_offset(), *view)


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """`sample` for each sample, `batch` for each stacked batch; None where there is none.

    `copies`: `sample` gets copies, which it may write into; else views, where rows lie in place.
    """

    sample: Transform | None
    batch: Transform | None
    sample_draws: bool
    batch_draws: bool
    copies: bool = True

    @classmethod
    def of(cls, sample: Transform | None, batch: Transform | None, copies: bool = True) -> Self:
        """Look at the signatures of both; `FieldError` for what cannot be called with one."""
        draws = _takes_rng("transform", sample), _takes_rng("batch_transform", batch)
        if sample is not None and not copies:
            sample = Promised(sample)
        return cls(
            sample=sample,
            batch=batch,
            sample_draws=draws[0],
            batch_draws=draws[1],
            copies=copies or sample is None,
        )

    @property
    def any(self) -> bool:
        """Tell whether there is a function at all."""
        return self.sample is not None or self.batch is not None

    @property
    def seeded(self) -> bool:
        """Tell whether any of them needs `SeededRows`."""
        return self.sample_draws or self.batch_draws

    def bound(self, indices: object, length: int) -> Bound:
        """Give the functions for a batch of `indices` of `length` rows, with its generators.

        `sample_rng` is None where `sample` takes no `rng`. Rows that bring no seed get the numbers
        of seed 0 and epoch 0, each at the position that is its row.
        """
        if not self.seeded:
            return Bound(self.sample, self.batch)
        seeded = _seeded(indices, length)
        batch = self.batch
        if batch is not None and self.batch_draws:
            batch = functools.partial(_with_rng, batch, seeded)
        return Bound(self.sample, batch, seeded.sample_rng if self.sample_draws else None)

    def warn_of_same_numbers(self, indices: object) -> None:
        """Warn (`RandomnessWarning`) where a loader's rows bring no seed: epochs are then alike."""
        if self.seeded and not isinstance(indices, SeededRows) and not _are_seeded(indices):
            warn(
                f"a transform takes rng, and the rows of this batch came as "
                f"{type(indices).__name__}, without seed, epoch and position: each row draws the "
                "same numbers in every epoch. For new ones iterate with npdata.Loader or a "
                "BlockBatchSampler of the dataset itself: of a Subset write Loader(subset.dataset, "
                "64, indices=subset.indices)",
                RandomnessWarning,
            )

    def warn_of_single_rows(self) -> None:
        """Warn in the same way where a wrapper in a loader asks for one row."""
        if self.seeded and fetches(sys._getframe(1)):
            warn(
                "a transform takes rng, and a wrapper of the dataset asks for single rows in a "
                "loader, without seed, epoch and position: each row draws the same numbers in "
                "every epoch. Of a ConcatDataset write Loader(first + second, 64); in a Dataset of "
                "your own draw without rng, as by torch.rand, which a DataLoader seeds for each "
                "epoch and worker",
                RandomnessWarning,
            )


def _seeded(indices: object, length: int) -> SeededRows:
    if isinstance(indices, SeededRows):
        return indices
    if _are_seeded(indices):
        rows: list[SeededRow] = indices  # type: ignore[assignment]
        positions = np.array([row.position for row in rows], np.int64)
        plain = np.array([int(row) for row in rows], np.int64)
        return SeededRows(rows=plain, seed=rows[0].seed, epoch=rows[0].epoch, positions=positions)
    numbers = row_numbers(indices, length)
    return SeededRows(rows=numbers, seed=0, epoch=0, positions=numbers)


def _are_seeded(indices: object) -> bool:
    return isinstance(indices, list) and bool(indices) and isinstance(indices[0], SeededRow)


def _takes_rng(option: str, function: Transform | None) -> bool:
    """Tell whether a function takes `rng`; raise `FieldError` where it takes not just one more."""
    if function is None:
        return False
    one = "batch" if option == "batch_transform" else "sample"
    if not callable(function):
        cure = f"def {option}({one}): {one}['x'] = f({one}['x']); return {one}"
        raise FieldError(
            f"{option}= takes one function, and what was given is of type "
            f"{type(function).__name__}: write it for all fields, as {cure}; {as_field(option)}"
        )
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return False
    random = {"rng": None} if "rng" in signature.parameters else {}
    try:
        signature.bind(None, **random)
    except TypeError:
        raise FieldError(
            f"{option}= is called with one {one}, which holds all fields, and with rng= where it "
            f"has a parameter of that name: write def {option}({one}), or ({one}, rng), and in it "
            f"x, y = {one} or {one}['x']"
        ) from None
    return bool(random)


def _with_rng(function: Transform, rows: SeededRows, batch: Any) -> Any:
    return function(batch, rng=rows.batch_rng())
