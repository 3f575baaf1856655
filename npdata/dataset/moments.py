"""Count, mean, squared deviations and range of values that come block by block.

Idea: torch sums up a block in float64 on all cores, around a mean near by where the mean is large;
the moments of blocks merge as if the values had been summed up at once (Chan, Golub and LeVeque,
1979). Invariant: means and deviations agree with NumPy's to 1e-12. One thread adds all blocks, by
long calls: two threads with short calls wait for the GIL, at 1.9 GB/s in place of 13.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 1 << 20
"""So many elements are summed up by one call; as float64 they stay in the last level of cache."""
FOLDED = 2048
"""Narrow rows are laid side by side up to here: columns of 3 sum up at 49 GB/s in place of 16."""
FAR = 64.0
"""A squared mean of up to so many variances costs no digits that count."""
MERGED = 64
"""So many blocks are kept apart before they are merged."""
_BY_TORCH = (
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float32,
    torch.float64,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """What is known of some values: arrays of one shape, that of a mean.

    `squares` are the deviations from `mean`, squared and summed up. Where `count` is 0, the
    figures say nothing.
    """

    count: NDArray[np.int64]
    missing: NDArray[np.int64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: NDArray[Any]
    high: NDArray[Any]

    def shaped(self, shape: tuple[int, ...]) -> "Moments":
        """Give the same in another shape."""
        return Moments(**{f.name: getattr(self, f.name).reshape(shape) for f in fields(self)})

    @classmethod
    def stacked(cls, parts: "list[Moments]") -> "Moments":
        """Lay moments of one shape on top of each other, along a new first axis."""
        return cls(**{f.name: np.stack([getattr(p, f.name) for p in parts]) for f in fields(cls)})

    def merged(self) -> "Moments":
        """Merge what lies along the first axis.

        Examples:
            >>> one, x = np.ones(2, np.int64), np.array([0.0, 2.0])
            >>> two = Moments(count=one, missing=0 * one, mean=x, squares=0 * x, low=x, high=x)
            >>> both = two.merged()
            >>> float(both.mean), float(both.squares)
            (1.0, 2.0)
        """
        count = self.count.sum(axis=0)
        some = self.count > 0
        with np.errstate(invalid="ignore", over="ignore"):
            # From one of the means on, so that equal ones are given as they are.
            start = np.take_along_axis(self.mean, some.argmax(axis=0)[np.newaxis], axis=0)[0]
            start = np.where(np.isfinite(start), start, 0.0)
            away = np.where(some, self.mean - start, 0.0)
            mean = start + (away * self.count).sum(axis=0) / np.maximum(1, count)
            away = np.where(some, self.mean - mean, 0.0)
            squares = (self.squares + self.count * away * away).sum(axis=0)
        return Moments(
            count=np.asarray(count),
            missing=np.asarray(self.missing.sum(axis=0)),
            mean=np.asarray(mean),
            squares=np.asarray(squares),
            low=np.asarray(self.low.min(axis=0)),
            high=np.asarray(self.high.max(axis=0)),
        )


class Summing:
    """Sums up all arrays that are added, over some axes, of which 0 is one.

    Examples:
        >>> summing = Summing(wide_memory())
        >>> summing.add(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), (0,))
        >>> summing.moments().mean.tolist()
        [2.0, 5.0]
    """

    def __init__(self, memory: Tensor) -> None:
        """Begin with no values; `memory` is of `wide_memory`, and may serve others in turn."""
        self._memory = memory
        self._near: NDArray[np.float64] | None = None
        self._parts: list[Moments] = []
        self._shape: tuple[int, ...] = ()

    def add(self, values: Tensor, over: tuple[int, ...]) -> None:
        """Add an array; all arrays have one number of axes, and one shape but for `over`."""
        shape = tuple(1 if k in over else n for k, n in enumerate(values.shape))[1:]
        self._shape = shape
        if not values.numel():
            return
        if len(over) == values.ndim:
            values, over = values.reshape(-1), (0,)
        step = max(1, BLOCK // math.prod(values.shape[1:]))
        for first in range(0, len(values), step):
            block, axes = _collapsed(values[first : first + step], over)
            self._parts += [self._summed(part, axes).shaped(shape) for part in _folded(block, axes)]
        if len(self._parts) > max(2, min(MERGED, BLOCK // math.prod(shape))):
            self._parts = [self.moments()]

    def moments(self) -> Moments:
        """Give the moments of all values so far, of the shape of a sample with 1 for axes lost."""
        if self._parts:
            return Moments.stacked(self._parts).merged()
        none, zero = np.zeros(self._shape, np.int64), np.zeros(self._shape)
        return Moments(count=none, missing=none, mean=zero, squares=zero, low=zero, high=zero)

    def _summed(self, block: Tensor, over: tuple[int, ...]) -> Moments:
        near = self._near
        found = _around(near, block, over, self._memory)
        with np.errstate(invalid="ignore", over="ignore"):
            away = found.mean if near is None else found.mean - near
            exact = found.squares * FAR >= found.count * away * away
        if exact.all():
            return found
        self._near = np.where(np.isfinite(found.mean), found.mean, 0.0)
        return _around(self._near, block, over, self._memory)


def wide_memory() -> Tensor:
    """Make the memory that blocks are widened in."""
    return torch.empty(BLOCK, dtype=torch.float64)


def _collapsed(values: Tensor, over: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """Join neighbouring axes that are all summed up, or all kept."""
    sizes: list[int] = []
    summed: list[bool] = []
    for axis, size in enumerate(values.shape):
        if summed and summed[-1] == (axis in over):
            sizes[-1] *= size
        else:
            sizes.append(size)
            summed.append(axis in over)
    return values.reshape(sizes), tuple(k for k, each in enumerate(summed) if each)


def _folded(block: Tensor, over: tuple[int, ...]) -> list[Tensor]:
    """Lay narrow rows side by side, of shape (n, times, width), and give the rest as it is."""
    width = block.shape[-1]
    times = FOLDED // width
    if block.ndim != 2 or over != (0,) or times < 2 or len(block) < 2 * times:
        return [block]
    most = len(block) // times * times
    parts = [block[:most].reshape(-1, times, width), block[most:]]
    return [part for part in parts if len(part)]


def _around(
    near: NDArray[np.float64] | None, block: Tensor, over: tuple[int, ...], memory: Tensor
) -> Moments:
    """Give the moments of a block, whose deviations are taken from `near`, None for 0."""
    size = block.numel()
    memory = memory if size <= len(memory) else torch.empty(size, dtype=torch.float64)
    wide = memory[:size].view(block.shape).copy_(block)
    if near is not None:
        wide.sub_(torch.from_numpy(np.expand_dims(near, over)))
    sums = _sum(wide, over)
    lost = block.isnan() if block.is_floating_point() and np.isnan(sums).any() else None
    missing = np.zeros(sums.shape, np.int64)
    if lost is not None:
        sums = _sum(wide.masked_fill_(lost, 0.0), over)
        missing = _sum(lost, over)
    low, high = _range(block, over, lost)
    count = size // sums.size - missing
    with np.errstate(invalid="ignore", over="ignore"):
        away = sums / np.maximum(1, count)
        squares = np.maximum(0.0, _squares(wide, over) - sums * away)
    mean = np.asarray(away if near is None else near + away)
    found = Moments(
        count=np.asarray(count),
        missing=np.asarray(missing),
        mean=mean,
        squares=np.asarray(squares),
        low=low,
        high=high,
    )
    folded = block.ndim == 3 and over == (0,)
    return found.merged() if folded else found


def _sum(values: Tensor, over: tuple[int, ...]) -> NDArray[Any]:
    for axis in reversed(over):
        values = values.sum(axis)
    return values.numpy()


def _squares(wide: Tensor, over: tuple[int, ...]) -> NDArray[Any]:
    """Sum up the squares; `wide` is used up."""
    if wide.ndim == 1:
        flat = wide.numpy()
        return np.asarray(np.dot(flat, flat))
    return _sum(wide.mul_(wide), over)


def _range(
    block: Tensor, over: tuple[int, ...], lost: Tensor | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    if block.dtype not in _BY_TORCH:
        array = block.numpy()
        return np.asarray(array.min(axis=over)), np.asarray(array.max(axis=over))
    low = high = block
    if lost is not None:
        low, high = block.masked_fill(lost, math.inf), block.masked_fill(lost, -math.inf)
    elif block.ndim == 1:
        low, high = torch.aminmax(block)
        return low.numpy(), high.numpy()
    for axis in reversed(over):
        low, high = low.amin(axis), high.amax(axis)
    return low.numpy(), high.numpy()
