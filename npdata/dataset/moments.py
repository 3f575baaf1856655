"""Count, mean, squared deviations and range of an array, which merge with those of another.

Idea: NumPy sums up a block in float64, around a mean near by where the mean is large; the moments
of blocks merge as if the values had been summed up at once (Chan, Golub and LeVeque, 1979).
Invariant: means and deviations agree with NumPy's to 1e-12. A block is large: threads wait for the
GIL after each call, and blocks of 128 Ki elements take twice as long on two cores.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 19
"""So many elements are summed up by one call; as float64 they stay in the last level of cache."""
FOLDED = 2048
"""Narrow rows are laid side by side up to here: NumPy adds up columns of 3 at 0.8 GB/s."""
FAR = 64.0
"""A squared mean of up to so many variances costs no digits that count."""
_DOT = 8192
"""BLAS multiplies up to here in the calling thread alone."""


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

    @classmethod
    def of_none(cls, shape: tuple[int, ...], dtype: np.dtype[Any]) -> "Moments":
        """Give the moments of no value of `dtype`."""
        none, zero, value = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, dtype)
        return cls(count=none, missing=none, mean=zero, squares=zero, low=value, high=value)

    def shaped(self, shape: tuple[int, ...]) -> "Moments":
        """Give the same in another shape."""
        return Moments(**{f.name: getattr(self, f.name).reshape(shape) for f in fields(self)})

    @classmethod
    def joined(cls, parts: "list[Moments]") -> "Moments":
        """Merge moments of one shape, at least one."""
        some = [p for p in parts if p.count.any() or p.missing.any()] or parts[:1]
        stacked = {f.name: np.stack([getattr(p, f.name) for p in some]) for f in fields(cls)}
        return cls(**stacked).merged()

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
            low=np.asarray(np.fmin.reduce(self.low)),
            high=np.asarray(np.fmax.reduce(self.high)),
        )


class Memory:
    """Where one thread widens blocks; fresh pages for each would cost more than the sums.

    Examples:
        >>> len(Memory().of(10))
        10
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._held: NDArray[np.float64] = np.empty(0)

    def of(self, size: int) -> NDArray[np.float64]:
        """Give memory for so many numbers, which the next call gives out again."""
        if size > len(self._held):
            self._held = np.empty(size)
        return self._held[:size]


def moments_of(
    values: NDArray[Any],
    over: tuple[int, ...],
    memory: Memory,
    near: NDArray[np.float64] | None = None,
) -> tuple[Moments, NDArray[np.float64] | None]:
    """Give the moments over the axes `over`, of which 0 is one.

    Of the shape of a sample, with 1 for each axis that is gone. `near` is about the mean; what is
    given beside the moments serves as `near` of arrays like this one, None for 0.

    Examples:
        >>> moments_of(np.array([[1.0, 5.0], [3.0, 5.0]]), (0,), Memory())[0].mean.tolist()
        [2.0, 5.0]
    """
    shape = tuple(1 if k in over else n for k, n in enumerate(values.shape))[1:]
    if not values.size:
        return Moments.of_none(shape, values.dtype), near
    if len(over) == values.ndim:
        values, over = values.reshape(-1), (0,)
    step = max(1, BLOCK // math.prod(values.shape[1:]))
    parts = []
    for first in range(0, len(values), step):
        block, axes = _collapsed(values[first : first + step], over)
        for part in _folded(block, axes):
            found = _around(near, part, axes, memory)
            if not _exact(found, near):
                near = np.where(np.isfinite(found.mean), found.mean, 0.0)
                found = _around(near, part, axes, memory)
            parts.append(found)
    return Moments.joined(parts).shaped(shape), near


def _exact(found: Moments, near: NDArray[np.float64] | None) -> bool:
    """Whether the deviations were taken from a place that is near enough to the mean."""
    with np.errstate(invalid="ignore", over="ignore"):
        away = found.mean if near is None else found.mean - near
        return bool((found.squares * FAR >= found.count * away * away).all())


def _collapsed(values: NDArray[Any], over: tuple[int, ...]) -> tuple[NDArray[Any], tuple[int, ...]]:
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


def _folded(block: NDArray[Any], over: tuple[int, ...]) -> list[NDArray[Any]]:
    """Lay narrow rows side by side, of shape (n, times, width), and give the rest as it is."""
    width = block.shape[-1]
    times = FOLDED // width
    if block.ndim != 2 or times < 2 or len(block) < 2 * times:
        return [block]
    most = len(block) // times * times
    parts = [block[:most].reshape(-1, times, width), block[most:]]
    return [part for part in parts if len(part)]


def _around(
    near: NDArray[np.float64] | None, block: NDArray[Any], over: tuple[int, ...], memory: Memory
) -> Moments:
    """Give the moments of a block, whose deviations are taken from `near`, None for 0."""
    times = block.shape[1] if block.ndim == 3 and over == (0,) else 1
    if times > 1:
        block = block.reshape(len(block), -1)
    wide: NDArray[Any] = block
    if block.dtype != np.float64 or block.ndim > 1 or near is not None:
        wide = memory.of(block.size).reshape(block.shape)
        np.copyto(wide, block)
    if near is not None:
        start = np.tile(near, times) if times > 1 else near
        np.subtract(wide, np.expand_dims(start, over), out=wide)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = _reduced(np.add, wide, over)
        lost = np.isnan(block) if block.dtype.kind == "f" and np.isnan(sums).any() else None
        missing = np.zeros(sums.shape, np.int64)
        if lost is not None:
            wide = np.where(lost, 0.0, wide)
            sums = _reduced(np.add, wide, over)
            missing = lost.sum(axis=over)
        count = block.size // sums.size - missing
        away = sums / np.maximum(1, count)
        squares = np.maximum(0.0, _squares(wide, over) - sums * away)
        lowest, highest = (np.minimum, np.maximum) if lost is None else (np.fmin, np.fmax)
        found = Moments(
            count=np.asarray(count),
            missing=np.asarray(missing),
            mean=np.asarray(away if near is None else start + away),
            squares=np.asarray(squares),
            low=np.asarray(_reduced(lowest, block, over)),
            high=np.asarray(_reduced(highest, block, over)),
        )
    return found.shaped((times, block.shape[1] // times)).merged() if times > 1 else found


def _reduced(function: np.ufunc, values: NDArray[Any], over: tuple[int, ...]) -> NDArray[Any]:
    for axis in reversed(over):
        values = function.reduce(values, axis=axis)
    return values


def _squares(wide: NDArray[Any], over: tuple[int, ...]) -> Any:
    """Sum up the squares; `wide` is used up."""
    if wide.ndim > 1:
        return _reduced(np.add, np.multiply(wide, wide, out=wide), over)
    most = len(wide) // _DOT * _DOT
    rows, rest = wide[:most].reshape(-1, _DOT), wide[most:]
    return np.vecdot(rows, rows).sum() + float(np.vecdot(rest, rest))
