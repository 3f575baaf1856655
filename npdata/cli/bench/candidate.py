"""One way to read the rows: that it gives the same rows as another, and how long it takes.

Idea: whatever is compared is a name and a function that begins a pass over batches. Invariant: two
candidates are the same only if every byte, shape and dtype of every batch agrees, in order; how a
batch is wrapped (tuple, list, dict, bare tensor) does not count. What begins a pass is timed apart
from the batches that follow, so that the start of worker processes does not pass for slow reading.
"""

import itertools
import math
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from npdata.errors import NpdataError


class RowsDifferError(NpdataError, RuntimeError):
    """Two ways of reading the same rows gave different ones."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """`batches()` begins a pass; a batch is a tensor, or tuples, lists and dicts of tensors.

    No batch is kept: a candidate may use a buffer again. Whatever a pass started (threads, worker
    processes, files) ends with it, also where it is left in the middle.
    """

    name: str
    batches: Callable[[], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One timed pass: `samples` rows in `seconds`, of which `first` until the first batch.

    `first_samples` are the rows of that first batch.
    """

    samples: int
    seconds: float
    first: float
    first_samples: int

    @property
    def rate(self) -> float:
        """Samples per second of the whole pass."""
        return self.samples / self.seconds if self.seconds else 0.0

    @property
    def steady_rate(self) -> float:
        """Samples per second after the first batch; of the whole pass where there is no second."""
        rest = self.samples - self.first_samples
        return rest / (self.seconds - self.first) if rest else self.rate


def time_pass(
    candidate: Candidate,
    *,
    seconds: float = math.inf,
    batches: int = 1,
    most_seconds: float = math.inf,
) -> Pass:
    """Time a pass: to its end, or until `seconds` and `batches` batches after the first batch.

    It also ends `most_seconds` after the first batch, and never within a batch.
    """
    samples = first_samples = 0
    first = 0.0
    begun = now = time.perf_counter()
    with _ended(candidate.batches()) as given:
        for number, batch in enumerate(given):
            samples += len(next(leaves(batch)))
            now = time.perf_counter()
            spent = now - begun - first
            if number == 0:
                first, first_samples = spent, samples
            elif spent >= most_seconds or (spent >= seconds and number >= batches):
                break
        else:
            now = time.perf_counter()
    return Pass(samples=samples, seconds=now - begun, first=first, first_samples=first_samples)


def leaves(batch: Any) -> Iterator[Any]:
    """Give the tensors (and texts) of a batch, in order."""
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif isinstance(batch, Tensor | str | bytes) or not isinstance(batch, Iterable):
        yield batch
        return
    for part in batch:
        yield from leaves(part)


def fingerprint(batch: Any) -> int:
    """Give a number that depends on every byte, shape and dtype of a batch.

    Examples:
        >>> fingerprint([torch.tensor([1, 2])]) == fingerprint((torch.tensor([1, 2]),))
        True
        >>> fingerprint(torch.tensor([1, 2])) == fingerprint(torch.tensor([2, 1]))
        False
    """
    total = 0
    for leaf in leaves(batch):
        if isinstance(leaf, Tensor):
            total = zlib.crc32(f"{tuple(leaf.shape)} {leaf.dtype}".encode(), total)
            flat = leaf.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
            total = zlib.crc32(flat.view(torch.uint8).numpy().data, total)
        else:
            total = zlib.crc32(repr(leaf).encode(), total)
    return total


def require_same(candidates: Sequence[Candidate], *, batches: int | None = None) -> list[float]:
    """Read the first `batches` batches (None: all) of each; raise `RowsDifferError` if they differ.

    Returns:
        The seconds that each took for the batches after the first, comparing left out.

    Examples:
        >>> one, two = torch.zeros(2), torch.ones(2)
        >>> require_same([Candidate(name="one", batches=lambda: [one, one]),
        ...               Candidate(name="two", batches=lambda: [one, two])])
        Traceback (most recent call last):
        npdata.cli.bench.candidate.RowsDifferError: two gives other rows than one in batch 1
    """
    first, *others = candidates
    expected, seconds = _read(first, batches)
    spent = [seconds]
    for other in others:
        got, seconds = _read(other, batches)
        spent.append(seconds)
        if len(got) != len(expected):
            raise RowsDifferError(
                f"{other.name} gives {len(got)} batches, {first.name} gives {len(expected)}"
            )
        for number, (ours, theirs) in enumerate(zip(expected, got, strict=True)):
            if ours != theirs:
                raise RowsDifferError(
                    f"{other.name} gives other rows than {first.name} in batch {number}"
                )
    return spent


def _read(candidate: Candidate, most: int | None) -> tuple[list[int], float]:
    """Give the fingerprints of the first `most` batches, and the seconds after the first batch."""
    prints: list[int] = []
    spent = 0.0
    begun = time.perf_counter()
    with _ended(candidate.batches()) as given:
        for batch in itertools.islice(given, most):
            if prints:
                spent += time.perf_counter() - begun
            prints.append(fingerprint(batch))
            begun = time.perf_counter()
    return prints, spent


@contextmanager
def _ended(batches: Iterable[Any]) -> Iterator[Iterable[Any]]:
    """Give batches, and end their generator: one that is dropped loses a Ctrl-C meanwhile."""
    try:
        yield batches
    finally:
        if isinstance(batches, Generator):
            batches.close()
