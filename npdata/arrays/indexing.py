"""Whatever selects rows, made into row numbers: checked once, vectorised, never negative.

Idea: NumPy is the oracle; what `array[indices]` accepts along axis 0 is accepted here and selects
the same rows. Invariant: the result is a contiguous int64 array with every element in [0, rows),
so the code behind it needs no check. A float, a string, a tuple or a bool alone is refused, where
Python would round it or take True for row 1. This module reads no data.
"""

import operator
from collections.abc import Sequence, Sized
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.errors import RowIndexError, RowIndexTypeError


def selects_many(index: object) -> bool:
    """Tell whether `index` selects rows, to be stacked, and not one row."""
    return isinstance(index, slice | list | range) or getattr(index, "ndim", 0) > 0


def is_scalar(value: object) -> bool:
    """Tell whether `value` is an array or tensor without axes, which has no length for `len`.

    Examples:
        >>> is_scalar(np.array(3)), is_scalar(torch.tensor(3)), is_scalar(np.array([3]))
        (True, True, False)
    """
    return getattr(value, "ndim", None) == 0


def holds_rows(value: object) -> TypeGuard[Sized]:
    """Tell whether `value` counts several: no number, no text, no array without axes.

    Examples:
        >>> holds_rows([3]), holds_rows(np.array([3])), holds_rows(np.array(3)), holds_rows("3")
        (True, True, False, False)
    """
    return isinstance(value, Sized) and not isinstance(value, str) and not is_scalar(value)


def row_number(index: object, rows: int) -> int:
    """Give the row that a single index selects among `rows`: an int in [0, rows).

    Takes Python and NumPy integers and 0-d integer arrays and tensors. Raises `RowIndexError` (an
    IndexError) out of range and `RowIndexTypeError` (a TypeError) for what is no integer.

    Examples:
        >>> row_number(np.int8(-1), 10)
        9
    """
    if isinstance(index, bool | np.bool_) or "bool" in str(getattr(index, "dtype", "")):
        raise _wrong_type(index)
    try:
        number = operator.index(index)  # type: ignore[arg-type]
    except TypeError:
        raise _wrong_type(index) from None
    if not -rows <= number < rows:
        raise _outside(number, rows)
    return number + rows if number < 0 else number


_SIGNED, _UNSIGNED = np.dtype(np.int64), np.dtype(np.uint64)


def row_numbers(indices: object, rows: int, *, masks: bool = True) -> Ints:
    """Give the rows that `indices` selects among `rows`: an int64 array, each in [0, rows).

    It is `indices` itself where that is such an array already. Takes a slice, a list, tuple or
    range of ints, a one-dimensional array or tensor of any integer dtype, or, with `masks`, a bool
    mask of length `rows`. Raises `RowIndexError` (an IndexError) for a row out of
    range or a mask of another length, `RowIndexTypeError` (a TypeError) for other types.

    Examples:
        >>> row_numbers([-1, 0, -1], 5), row_numbers(slice(1, None, 2), 5)
        (array([4, 0, 4]), array([1, 3]))
    """
    if (
        type(indices) is np.ndarray
        and indices.dtype == _SIGNED
        and indices.strides == (8,)
        and indices.flags.carray
        and indices.size
        # A negative number is a huge unsigned one. To reduce to the maximum itself takes 1 µs more,
        # and 10 of a batch whose code and data have left the cache.
        and 0 <= indices.item(indices.view(_UNSIGNED).argmax()) < rows
    ):
        return indices
    if isinstance(indices, slice):
        return np.arange(*indices.indices(rows), dtype=np.int64)
    array = _as_array(indices)
    if array.ndim != 1:
        cure = take_one_of(indices) or "give them in one dimension"
        raise RowIndexTypeError(f"indices of shape {array.shape} select no batch of rows; {cure}")
    if array.dtype.kind == "b":
        return _rows_of_mask(array, rows, allowed=masks)
    if array.size == 0 and (array.dtype.kind in "iu" or not isinstance(indices, np.ndarray)):
        return np.zeros(0, np.int64)
    if array.dtype.kind not in "iu":
        raise _no_integers(indices, rows)
    low, high = array.min(), array.max()
    if low < -rows or high >= rows:
        place = np.flatnonzero((array < -rows) | (array >= rows))[0]
        raise _outside(int(array[place]), rows, place)
    numbers = np.array(array, np.int64)
    return np.where(numbers < 0, numbers + rows, numbers) if low < 0 else numbers


def array_of(numbers: object) -> NDArray[Any]:
    """Give numbers as `np.asarray` does, of which a range at once: it would read it one by one.

    Examples:
        >>> array_of(range(6, 0, -2))
        array([6, 4, 2])
    """
    if not isinstance(numbers, range):
        return np.asarray(numbers)
    of = numbers.start, numbers.stop, numbers.step
    return np.arange(*of, dtype=np.int64) if max(map(abs, of)) < 1 << 62 else np.asarray(numbers)


def may_be_rows(given: object) -> bool:
    """Whether it is an array, a tensor or a list of integers in one dimension.

    Examples:
        >>> may_be_rows(np.arange(3)), may_be_rows([2, 3]), may_be_rows(np.zeros(3))
        (True, True, False)
    """
    if isinstance(given, list | tuple) and given:
        return isinstance(given[0], int | np.integer) and not isinstance(given[0], bool)
    return getattr(given, "ndim", 0) == 1 and "int" in str(getattr(given, "dtype", ""))


def without_value(given: NDArray[Any], name: str) -> str:
    """Say where a masked array has no value, where NumPy takes what lies below; else nothing.

    Examples:
        >>> without_value(np.ma.array([2, 9], mask=[False, True]), "weights")
        'weights is masked at 1 of 2 places, as at place 1, and has no number there'
        >>> without_value(np.array([2, 9]), "weights")
        ''
    """
    if not np.ma.is_masked(given):
        return ""
    lost = np.flatnonzero(np.ma.getmaskarray(given))
    return (
        f"{name} is masked at {len(lost)} of {given.size} places, as at place {lost[0]}, and has "
        "no number there"
    )


_OF_MASK = "rows of a mask are np.flatnonzero(mask)"


def take_one_of(given: object) -> str:
    """Say to take one of several arrays, as a split and `np.nonzero` give them; else nothing.

    Examples:
        >>> take_one_of((np.array([2, 3]), np.array([1])))
        'these are 2 arrays: take one, as train of train, test = dataset.split(0.8); ...'
        >>> take_one_of(np.nonzero([False, True])), take_one_of([1, 2])
        ('rows of a mask are np.flatnonzero(mask)', '')
        >>> take_one_of([[0, 1], [2, 3]])
        'these are 2 lists: take one, or give all in one dimension'
    """
    if not isinstance(given, list | tuple) or not given:
        return ""
    if len(given) == 1:
        single = isinstance(given, tuple) and isinstance(given[0], np.ndarray)
        return _OF_MASK if single else ""
    if all(getattr(each, "ndim", 0) for each in given):
        return (
            f"these are {len(given)} arrays: take one, as train of train, test = "
            f"dataset.split(0.8); {_OF_MASK}"
        )
    pairs = all(isinstance(each, list | tuple) and len(each) == 2 for each in given)
    if pairs and all(map(_are_parts, given)):
        return (
            f"these are {len(given)} folds: take one part of one, as train in for train, test in "
            "dataset.split(folds=5)"
        )
    if _are_parts(given):
        return f"these are {len(given)} lists: take one, or give all in one dimension"
    return ""


def _are_parts(given: Sequence[Any]) -> bool:
    """Tell whether all are arrays or lists of row numbers, of which some may be empty."""
    return all(may_be_rows(each) or (holds_rows(each) and len(each) == 0) for each in given)


def _as_array(indices: object) -> NDArray[Any]:
    if isinstance(indices, str | bytes | dict | set) or not hasattr(indices, "__len__"):
        raise _wrong_type(indices)
    try:
        return array_of(indices)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        cure = take_one_of(indices) or error
        raise RowIndexTypeError(f"the indices make no array of integers: {cure}") from None


def _rows_of_mask(mask: NDArray[Any], rows: int, *, allowed: bool) -> Ints:
    if not allowed:
        raise RowIndexTypeError(
            f"a batch of {len(mask)} bools was asked for, where each must be a row number: a "
            "Subset or a sampler takes np.flatnonzero(mask), indices= the mask itself"
        )
    if len(mask) != rows:
        raise RowIndexError(
            f"a mask of {len(mask)} bools was given for {rows} rows; give one for each row"
        )
    return np.flatnonzero(mask)


def _no_integers(indices: Any, rows: int) -> RowIndexError | RowIndexTypeError:
    """Give the error; of ints like 2**70, of which NumPy makes floats or objects, which is out."""
    numbers = list(indices)
    if all(isinstance(each, int | np.integer) and not isinstance(each, bool) for each in numbers):
        for place, number in enumerate(numbers):
            if not -rows <= number < rows:
                return _outside(number, rows, place)
    return _wrong_type(indices)


def _wrong_type(index: object) -> RowIndexTypeError:
    shown = repr(index) if len(repr(index)) < 60 else f"{repr(index)[:57]}..."
    return RowIndexTypeError(
        f"{shown} ({type(index).__name__}) selects no rows; give an int, a slice, a bool mask, "
        f"or a list, array or tensor of ints{_cure(index)}"
    )


def _cure(index: object) -> str:
    if isinstance(index, str):
        return (
            f"; a field is chosen after the rows: data[:][{index!r}]; "
            f"data.fields[{index!r}][:] reads no other"
        )
    if isinstance(index, np.ndarray) and index.dtype.kind in "fO":
        return f": this array is of dtype {index.dtype}; array.astype(np.int64) makes ints of it"
    if isinstance(index, tuple):
        one = take_one_of(index)
        return f"{one and '; '}{one}; choose rows first, then in what they give: data[i][j]"
    if isinstance(index, bool | np.bool_):
        return "; of a mask of all rows, a Subset takes np.flatnonzero(mask)"
    return ""


def _outside(number: int, rows: int, place: int | None = None) -> RowIndexError:
    at = "" if place is None else f" at position {place} of the indices"
    known = f"rows are {-rows} to {rows - 1}" if rows else "there are no rows"
    return RowIndexError(f"row {number}{at} is out of range; {known}")
