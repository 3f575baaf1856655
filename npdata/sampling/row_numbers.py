"""Row numbers with what a batch has to know of them: which are padding, and seed, epoch, position.

Idea: a sampler hands these out in place of plain rows, and they travel to threads and workers with
the batch. A random transform must draw the same numbers whoever calls it, so its generator is made
of the seed, the epoch and the place of the sample in the order of that epoch, over all ranks.
Invariant: the generators depend on nothing else, and no two samples of an epoch share one; a mask
is never lost in silence. It holds no data and draws no numbers.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Self, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npdata.arrays.dtypes import Ints
from npdata.errors import MaskLostError, SamplerError
from npdata.sampling.order.wrapped import fetcher_in, within


class RowNumbers:
    """What reads like a sequence of row numbers, over `rows`."""

    rows: Any

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows.tolist() if isinstance(self.rows, np.ndarray) else self.rows)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Ints:
        return np.array(self.rows, dtype=dtype, copy=copy)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> int | Self:
        """Give a row number, or for a slice its rows with what they bring along."""
        return self._part(index) if isinstance(index, slice) else int(self.rows[index])

    def _part(self, index: slice) -> Self:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedRows(RowNumbers):
    """int64 rows, the last `filler` of them padding.

    Examples:
        >>> batch = MaskedRows(rows=np.array([7, 9, 9]), filler=1)
        >>> list(batch), batch.mask.tolist()
        ([7, 9, 9], [True, True, False])
    """

    rows: Ints
    filler: int

    def __iter__(self) -> Iterator[int]:
        _refuse_to_lose_a_mask()
        return super().__iter__()

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True for the rows that count: bool, as long as `rows`."""
        return np.arange(len(self.rows)) < len(self.rows) - self.filler

    def _part(self, index: slice) -> Self:
        mask = self.mask[index]
        padding = int(np.count_nonzero(~mask))
        if not mask[: len(mask) - padding].all():
            raise SamplerError(f"{index} puts padding before other rows: slice forwards")
        return replace(self, rows=self.rows[index], filler=padding)


def _refuse_to_lose_a_mask() -> None:
    """Raise `MaskLostError` where a DataLoader, or a wrapper in it, reads our rows one by one."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        fetcher = fetcher_in(frame)
        if fetcher is not None:
            if not _is_ours(getattr(fetcher, "dataset", None)):
                return
            raise MaskLostError(
                "a DataLoader takes rows with a mask (uneven='mask') one by one, as those of a "
                "Subset, which would lose the mask: make the sampler of the npdata dataset itself, "
                "with indices= in place of a Subset, or use npdata.Loader"
            )
        if frame.f_globals.get("__name__") not in (__name__, "torch.utils.data.dataset"):
            return
        frame = frame.f_back


def _is_ours(dataset: Any) -> bool:
    """Tell whether a dataset knows of masks, or one that it wraps does."""
    return any(hasattr(each, "takes_rng") for each in within(dataset))


_SAMPLE, _BATCH = 0, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class SeededRows(RowNumbers):
    """Rows with the seed, the epoch and the position of each row in the order of the epoch.

    A batch is known by the position of its first sample. Reads like a sequence of row numbers.

    Examples:
        >>> batch = SeededRows(rows=np.array([7, 9]), seed=0, epoch=2, positions=np.array([0, 1]))
        >>> list(batch), float(batch.sample_rng(0).random()) != float(batch.sample_rng(1).random())
        ([7, 9], True)
    """

    rows: Ints | MaskedRows
    seed: int
    epoch: int
    positions: Ints

    def sample_rng(self, number: int) -> np.random.Generator:
        """Give the generator of sample `number` of this batch, at its beginning."""
        return self._rng(_SAMPLE, int(self.positions[number]))

    def batch_rng(self) -> np.random.Generator:
        """Give the generator of this batch, at its beginning."""
        return self._rng(_BATCH, int(self.positions[0]) if len(self.positions) else 0)

    def _rng(self, kind: int, position: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.epoch, kind, position))

    def _part(self, index: slice) -> Self:
        return replace(self, rows=self.rows[index], positions=self.positions[index])


class SeededRow(int):
    """A row number with what its random numbers are made of, for lists that others cut and join.

    Examples:
        >>> row = SeededRow(7, seed=0, epoch=2, position=0)
        >>> row == 7, row.epoch
        (True, 2)
    """

    seed: int
    epoch: int
    position: int

    def __new__(cls, row: int, seed: int, epoch: int, position: int) -> Self:
        """Give the row with its seed, epoch and position."""
        made = super().__new__(cls, row)
        made.seed, made.epoch, made.position = seed, epoch, position
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return SeededRow, (int(self), self.seed, self.epoch, self.position)


def listed(rows: Ints, positions: Ints, seed: int, epoch: int) -> list[int]:
    """Give a batch that a trainer may cut and join to others, as it does with lists."""
    pairs = zip(rows.tolist(), positions.tolist(), strict=True)
    return [SeededRow(row, seed, epoch, position) for row, position in pairs]
