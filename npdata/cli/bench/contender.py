"""One way to read the rows, and the proof that it reads the same rows as another.

Idea: whatever is compared is a name and a function that begins a pass over batches. Invariant:
two contenders are the same only if every byte, shape and dtype of every batch agrees, in order;
how a batch is wrapped (tuple, list, dict, bare tensor) does not count. It measures no time.
"""

import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from npdata.errors import NpdataError


class RowsDifferError(NpdataError, RuntimeError):
    """Two ways of reading the same rows gave different ones."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """`batches()` begins a pass; a batch is a tensor, or tuples, lists and dicts of tensors.

    `lazy` tells that batches may be views of memory that nobody has read yet, so that a copy of
    them, which reads every byte, is part of the timed pass. No batch is kept: a contender may use
    a buffer again.
    """

    name: str
    batches: Callable[[], Iterable[Any]]
    lazy: bool = False


def leaves(batch: Any) -> Iterator[Any]:
    """Give the tensors (and texts) of a batch, in order.

    Examples:
        >>> [len(tensor) for tensor in leaves({"x": torch.zeros(3), "y": (torch.ones(3),)})]
        [3, 3]
    """
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


def require_same(contenders: Sequence[Contender], *, batches: int | None = None) -> None:
    """Read the first `batches` batches (None: all) of each; raise `RowsDifferError` if they differ.

    Examples:
        >>> one, two = torch.zeros(2), torch.ones(2)
        >>> require_same([Contender(name="one", batches=lambda: [one, one]),
        ...               Contender(name="two", batches=lambda: [one, two])])
        Traceback (most recent call last):
        npdata.cli.bench.contender.RowsDifferError: two gives other rows than one in batch 1
    """
    first, *others = contenders
    expected = _fingerprints(first, batches)
    for other in others:
        got = _fingerprints(other, batches)
        if len(got) != len(expected):
            raise RowsDifferError(
                f"{other.name} gives {len(got)} batches, {first.name} gives {len(expected)}"
            )
        for number, (ours, theirs) in enumerate(zip(expected, got, strict=True)):
            if ours != theirs:
                raise RowsDifferError(
                    f"{other.name} gives other rows than {first.name} in batch {number}"
                )


def _fingerprints(contender: Contender, batches: int | None) -> list[int]:
    return [fingerprint(batch) for batch in itertools.islice(contender.batches(), batches)]
