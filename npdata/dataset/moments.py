"""Count, mean, squared deviations and range of an array, which merge with those of another.

Idea: NumPy sums up a block in float64, around a mean near by where the mean is large; the moments
of arrays merge as if the values had been summed up at once (Chan, Golub and LeVeque, 1979).
Invariant: means and deviations agree with NumPy's to 1e-12. No call holds the GIL for long.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.scratch import Scratch

BLOCK = 1 << 19
"""So many elements are summed up by one call; as float64 they stay in the last level of cache."""
ROW = 1024
"""So many elements make a row of a block. NumPy sums up products without the GIL where there are
more than 500 rows; of one long row, two threads summed up as much as one."""
SHORT = 256
"""So many numbers of 8 bits, and their squares, have sums that are exact in float32."""
WIDE = 2048
"""Narrow rows are laid side by side up to here: NumPy adds up columns of 3 at 0.8 GB/s."""
FAR = 64.0
"""A squared mean of up to so many variances costs no digits that count."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """What is known of some values: arrays of one shape, that of a mean.

    `squares` are the distances from `mean`, squared and summed up. Where `count` is 0, the
    figures say nothing. Only the mean of complex numbers is complex.
    """

    count: Ints
    missing: Ints
    mean: NDArray[Any]
    squares: NDArray[np.float64]
    low: NDArray[Any]
    high: NDArray[Any]

    @classmethod
    def joined(cls, parts: "list[Moments]") -> "Moments":
        """Merge moments of one shape, at least one.

        Examples:
            >>> one, two = (moments_of(np.array([x]), (0,), Scratch())[0] for x in (0.0, 2.0))
            >>> both = Moments.joined([one, two])
            >>> float(both.mean), float(both.squares)
            (1.0, 2.0)
        """
        parts = [p for p in parts if p.count.any() or p.missing.any()] or parts[:1]
        each = cls(**{f.name: np.stack([getattr(p, f.name) for p in parts]) for f in fields(cls)})
        count, some = each.count.sum(axis=0), each.count > 0
        with np.errstate(invalid="ignore", over="ignore"):
            # From one of the means on, so that equal ones are given as they are.
            start = np.take_along_axis(each.mean, some.argmax(axis=0)[np.newaxis], axis=0)[0]
            start = np.where(np.isfinite(start), start, 0.0)
            away = np.where(some, each.mean - start, 0.0)
            mean = start + (away * each.count).sum(axis=0) / np.maximum(1, count)
            away = np.where(some, each.mean - mean, 0.0)
            squares = (each.squares + each.count * (away * away.conj()).real).sum(axis=0)
        return cls(
            count=np.asarray(count),
            missing=np.asarray(each.missing.sum(axis=0)),
            mean=np.asarray(mean),
            squares=np.asarray(squares),
            low=np.asarray(np.fmin.reduce(each.low)),
            high=np.asarray(np.fmax.reduce(each.high)),
        )


def moments_of(
    values: NDArray[Any],
    over: tuple[int, ...],
    scratch: Scratch,
    near: NDArray[np.float64] | None = None,
) -> tuple[Moments, NDArray[np.float64] | None]:
    """Give the moments over the axes `over`, of which 0 is one.

    Of the shape of a sample, with 1 for each axis that is gone, and () where all are. `near` is
    about the mean; what is given beside the moments serves as `near` of arrays like this one, None
    for 0. The range of complex numbers is NaN, without an order.

    Examples:
        >>> moments_of(np.array([[1.0, 5.0], [3.0, 5.0]]), (0,), Scratch())[0].mean.tolist()
        [2.0, 5.0]
        >>> found, _ = moments_of(np.array([1 + 1j, 1 - 1j]), (0,), Scratch())
        >>> complex(found.mean), float(found.squares)
        ((1+0j), 2.0)
    """
    if values.dtype.kind == "c":
        return _of_complex(values, over, scratch, near)
    shape = tuple(1 if k in over else n for k, n in enumerate(values.shape))[1:]
    if len(over) == values.ndim:
        shape = ()
    if not values.size:
        none, zero, some = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, values.dtype)
        return Moments(count=none, missing=none, mean=zero, squares=zero, low=some, high=some), near
    found = _around(near, values, over, scratch)
    if not _exact(found, near):
        near = np.where(np.isfinite(found.mean), found.mean, 0.0)
        near = near if values.dtype.kind == "f" else np.rint(near)
        found = _around(near, values, over, scratch)
    return Moments(**{f.name: getattr(found, f.name).reshape(shape) for f in fields(found)}), near


def _of_complex(
    values: NDArray[Any], over: tuple[int, ...], scratch: Scratch, near: NDArray[np.float64] | None
) -> tuple[Moments, NDArray[np.float64] | None]:
    """Sum up real and imaginary parts side by side; `near` has both, in an axis of its own."""
    parts = values[..., np.newaxis].view(values.real.dtype)
    missing = np.isnan(values)
    if missing.any():
        parts = np.where(missing[..., np.newaxis], np.nan, parts)
    found, near = moments_of(parts, over, scratch, near)
    shape = () if len(over) == values.ndim else found.squares.shape[:-1]
    unknown = np.full(shape, np.nan)
    return Moments(
        count=found.count[..., 0].reshape(shape),
        missing=found.missing[..., 0].reshape(shape),
        mean=found.mean.view(np.complex128)[..., 0].reshape(shape),
        squares=found.squares.sum(axis=-1).reshape(shape),
        low=unknown,
        high=unknown,
    ), near


def _exact(found: Moments, near: NDArray[np.float64] | None) -> bool:
    """Whether the deviations were taken from a place that is near enough to the mean."""
    with np.errstate(invalid="ignore", over="ignore"):
        away = found.mean if near is None else found.mean - near
        return bool((found.squares * FAR >= found.count * away * away).all())


def _around(
    near: NDArray[np.float64] | None, values: NDArray[Any], over: tuple[int, ...], scratch: Scratch
) -> Moments:
    """Give the moments of an array, whose deviations are taken from `near`, None for 0."""
    values, axes = _collapsed(values, over)
    figures = []
    with np.errstate(invalid="ignore", over="ignore"):
        for part, along in _parts(values, axes):
            blocks = [_summed(near, block, along, scratch) for block in _blocks(part, along)]
            if blocks:
                merged = _merged(zip(*blocks, strict=True))
                if merged[0].ndim > values.ndim - len(axes):  # rows that lay side by side
                    merged = _merged(merged)
                figures.append(merged)
        count, missing, sums, squares, low, high = _merged(zip(*figures, strict=True))
        away = sums / np.maximum(1, count)
        return Moments(
            count=count,
            missing=missing,
            mean=away if near is None else near + away,
            squares=np.maximum(0.0, squares - sums * away),
            low=low,
            high=high,
        )


def _merged(figures: Iterable[Any]) -> list[NDArray[Any]]:
    """Merge count, missing, sums, squares and range, each along its first axis."""
    functions = (np.add, np.add, np.add, np.add, np.fmin, np.fmax)
    return [np.asarray(f.reduce(each)) for f, each in zip(functions, figures, strict=True)]


def _summed(
    near: NDArray[np.float64] | None, block: NDArray[Any], axes: tuple[int, ...], scratch: Scratch
) -> tuple[Any, ...]:
    """Give count, missing, sums, sums of squares, and range of a block over axes."""
    rows = axes[-1] == block.ndim - 1
    exact = block.dtype.itemsize == 1 and block.shape[-1 if rows else 0] <= SHORT
    dtype = np.dtype(np.float32 if exact else np.float64)
    wide: NDArray[Any] = block
    if block.dtype != dtype or near is not None:
        wide = scratch.array("wide", block.shape, dtype)
        np.copyto(wide, block)
    if near is not None:
        start = np.expand_dims(near.astype(dtype), axes)
        if not rows:  # NumPy would subtract from 3 numbers at a time
            start = np.ascontiguousarray(np.broadcast_to(start, (1, *block.shape[1:])))
        np.subtract(wide, start, out=wide)
    sums, squares = _products(wide, axes)
    missing = np.zeros(sums.shape, np.int64)
    lowest: np.ufunc = np.minimum
    highest: np.ufunc = np.maximum
    if block.dtype.kind == "f" and np.isnan(sums).any():
        known = np.equal(block, block)
        count = known.sum(axis=axes) if sums.size > 1 else np.count_nonzero(known)
        missing += block.size // sums.size - count
        if wide is block:
            wide = scratch.array("wide", block.shape, dtype)
            np.copyto(wide, block)
        # All bits of what is missing become 0, in a third of the time that where= takes.
        bits = wide.view(np.int64)
        np.bitwise_and(bits, np.negative(known.view(np.int8)), out=bits)
        sums, squares = _products(wide, axes)
        lowest, highest = np.fmin, np.fmax
    low, high = _reduced(lowest, block, axes), _reduced(highest, block, axes)
    return block.size // sums.size - missing, missing, sums, squares, low, high


def _products(wide: NDArray[Any], axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Sum up values and their squares over axes, without memory for the squares."""
    if axes[-1] == wide.ndim - 1:
        ones = np.ones(wide.shape[-1], wide.dtype)
        found, rest = (np.vecdot(wide, ones), np.vecdot(wide, wide)), axes[:-1]
    else:
        found = np.add.reduce(wide, axis=0), np.einsum("i...,i...->...", wide, wide)
        rest = tuple(axis - 1 for axis in axes[1:])
    return found[0].sum(axis=rest, dtype=np.float64), found[1].sum(axis=rest, dtype=np.float64)


def _reduced(function: np.ufunc, values: NDArray[Any], axes: tuple[int, ...]) -> Any:
    """Reduce over axes, first over one along which NumPy is fast."""
    if axes[-1] == values.ndim - 1:
        return function.reduce(values, axis=axes)
    rest = tuple(axis - 1 for axis in axes[1:])
    return function.reduce(function.reduce(values, axis=0), axis=rest)


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


def _parts(
    values: NDArray[Any], axes: tuple[int, ...]
) -> Iterator[tuple[NDArray[Any], tuple[int, ...]]]:
    """Give rows of `ROW` elements to sum up, or narrow rows side by side, and the rest as it is."""
    if axes[-1] == values.ndim - 1:
        row = SHORT if values.dtype.itemsize == 1 else ROW
        most = values.shape[-1] // row * row
        yield values[..., :most].reshape(*values.shape[:-1], -1, row), (*axes, values.ndim)
        yield values[..., most:], axes
        return
    if values.ndim == 2 and values.shape[-1] < WIDE:
        times = -(-WIDE // values.shape[-1])
        most = len(values) // times * times
        yield values[:most].reshape(-1, times, values.shape[-1]), axes
        values = values[most:]
    yield values, axes


def _blocks(values: NDArray[Any], axes: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    """Cut an array along the axes into blocks, none where it is empty."""
    if values.size <= BLOCK or not axes:
        if values.size:
            yield values
        return
    step = max(1, BLOCK * values.shape[axes[0]] // values.size)
    for first in range(0, values.shape[axes[0]], step):
        yield from _blocks(
            values[(slice(None),) * axes[0] + (slice(first, first + step),)], axes[1:]
        )
