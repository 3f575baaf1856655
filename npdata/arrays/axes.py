"""Several axes of an array as one: its rows are numbered as `reshape` does, the last axis fastest.

Idea: where rows lie evenly that is a view. Elsewhere a run of rows is a few boxes of indices.
Invariant: nothing is copied.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def boxes(start: int, stop: int, lengths: tuple[int, ...]) -> Iterator[Box]:
    """Cut the rows `[start, stop)` along axes of these lengths into boxes, in order.

    Examples:
        >>> list(boxes(1, 8, (3, 3)))
        [(slice(0, 1, None), slice(1, 3, None)), (slice(1, 2, None), slice(0, 3, None)), \
(slice(2, 3, None), slice(0, 2, None))]
    """
    if start >= stop:
        return
    inner = lengths[1:]
    each = math.prod(inner)
    first, begin = divmod(start, each)
    last, end = divmod(stop, each)
    if begin:
        here = end if first == last else each
        yield from ((slice(first, first + 1), *box) for box in boxes(begin, here, inner))
        first += 1
    if first < last:
        yield (slice(first, last), *(slice(0, length) for length in inner))
    if first <= last:
        yield from ((slice(last, last + 1), *box) for box in boxes(0, end, inner))


def shape_along(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape of the rows along `axes` of an array of this shape, and how many there are.

    Examples:
        >>> shape_along((5, 4, 3), (2, 0)), shape_along((5, 4, 3), (1,))
        ((15, 4), (4, 5, 3))
    """
    rest = (n for axis, n in enumerate(shape) if axis not in axes)
    return math.prod(shape[axis] for axis in axes), *rest


def as_before(turned: Sequence[int], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Give the sizes of axes that were put into the order `axes` in the order that they had.

    Examples:
        >>> as_before((3, 5, 4), (2, 0, 1))
        (5, 4, 3)
    """
    return tuple(turned[axes.index(axis)] for axis in range(len(axes)))


def in_front(array: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Give a view with these axes moved to the front.

    Examples:
        >>> in_front(np.zeros((4, 3, 2)), (2, 0)).shape
        (2, 4, 3)
    """
    return np.moveaxis(array, axes, range(len(axes)))


def as_one(array: NDArray[Any], axes: int) -> NDArray[Any] | None:
    """Give a view with the first `axes` axes as one; None where its rows do not lie evenly.

    Examples:
        >>> as_one(np.zeros((4, 3, 2)), 2).shape, as_one(np.zeros((3, 4)).T, 2)
        ((12, 2), None)
    """
    steps = list(zip(array.shape[:axes], array.strides[:axes], strict=True))
    steps = [(length, step) for length, step in steps if length != 1]
    pairs = itertools.pairwise(steps)
    if array.size and any(step != length * below for (_, step), (length, below) in pairs):
        return None
    return array.reshape(math.prod(array.shape[:axes]), *array.shape[axes:])


def pieces_of_row(array: NDArray[Any], axes: tuple[int, ...]) -> int:
    """Give in how many pieces of memory a row along `axes` lies.

    Examples:
        >>> c, fortran = np.zeros((5, 4, 3)), np.zeros((5, 4, 3), order="F")
        >>> [pieces_of_row(each, (0, 1)) for each in (c, fortran)]
        [1, 3]
    """
    pairs = zip(array.shape, array.strides, strict=True)
    rest = [(abs(step), n) for k, (n, step) in enumerate(pairs) if k not in axes and n != 1]
    run = array.itemsize
    for joined, (step, length) in enumerate(sorted(rest)):
        if step != run:
            return math.prod(n for _, n in sorted(rest)[joined:])
        run *= length
    return 1


def shown_axes(axes: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Say which axes rows lie along.

    Examples:
        >>> shown_axes((2,), (5, 4, 3)), shown_axes((0, 1), (5, 4, 3))
        ('2 of (5, 4, 3)', '(0, 1) of (5, 4, 3)')
    """
    return f"{axes[0] if len(axes) == 1 else axes} of {shape}"
