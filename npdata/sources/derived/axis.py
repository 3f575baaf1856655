"""Rows along other axes than the first: one, as in files of MATLAB, or several as one.

Idea: an array in place is seen with its axes moved, and several as one where rows lie evenly; an
HDF5 dataset in chunks is opened `across` these axes. Invariant: row i is that of
`np.moveaxis(array, axes, range(k))` with its first k axes as one. The cost is stated, since such a
row may be scattered through the file.
"""

import operator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.axes import as_one, in_front, pieces_of_row, shape_along, shown_axes
from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import RowTable
from npdata.errors import FieldError
from npdata.sources.base import Details, InPlaceSource, Source, without
from npdata.sources.derived.base import CompositeSource
from npdata.sources.mapped import MappedSource
from npdata.sources.memory import MemorySource, array_source

ONE_FILE_EACH = (
    "of several files give from_hdf5(names, 'x', axis=...), or "
    "sum(npdata.NumpyDataset(name, axis=...) for name in names)"
)
"""What to write for an axis of several files."""
GROUPS_EACH = "of groups sum(npdata.NumpyDataset(f'FILE::{name}/x', axis=...) for name in names)"


class _AlongAxes(CompositeSource):
    """The rows along `axes` of an array in place; a subclass reads them."""

    def __init__(self, rows: Source, axes: tuple[int, ...]) -> None:
        self.made_of = (rows,)
        self._axes = axes
        self.shape = shape_along(rows.shape, axes)
        self.dtype, self.where, self.access = rows.dtype, rows.where, rows.access
        self.details = _details(rows, axes)


class MovedAxisSource(_AlongAxes, InPlaceSource):
    """The rows along `axes` of an array in place, of which several lie evenly as one.

    Examples:
        >>> source = MovedAxisSource(npdata.open_source(np.arange(6).reshape(2, 3)), (1,))
        >>> source.shape, source.table.array[0].tolist()
        ((3, 2), [0, 3])
    """

    @property
    def table(self) -> RowTable:
        """The array with its axes moved."""
        table = self._viewed(self._moved)
        assert table is not None
        return table

    def _moved(self, array: NDArray[Any]) -> NDArray[Any]:
        moved = as_one(in_front(array, self._axes), len(self._axes))
        assert moved is not None
        return moved


class PickedRowsSource(_AlongAxes):
    """The rows along several `axes` of an array in place that do not lie evenly.

    Examples:
        >>> source = PickedRowsSource(npdata.open_source(np.arange(12).reshape(2, 3, 2)), (0, 2))
        >>> source.shape, source.table is None
        ((4, 3), True)
    """

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Pick the rows from where they lie, by NumPy."""
        (rows,) = self.made_of
        table = rows.table
        assert table is not None
        rows.check_size()
        moved = in_front(table.array, self._axes)
        out[...] = moved[np.unravel_index(indices, moved.shape[: len(self._axes)])]
        rows.check()


def along_axis(source: Source, axis: object) -> Source:
    """Give the rows along an axis, or several as one; from the end where negative; None: the first.

    Raises `FieldError` for what is no axis, and for data that cannot be read so.
    """
    axes = _axes(source, axis)
    if axes == (0,):
        return source
    if source.table is not None:
        moved = _in_place(source, axes)
    elif source.across is not None:
        moved = source.across(axes)
    elif "axis" in dict(source.details):
        raise FieldError(
            f"axis={axis!r}: the rows of {source.where} lie along other axes already, "
            f"{dict(source.details)['axis']}; open it anew, with the axes of the stored array"
        )
    else:
        raise FieldError(
            f"axis={axis!r} is for arrays in memory, .npy files and single datasets of an HDF5 "
            f"file, and {source.where} is none; {ONE_FILE_EACH}, {GROUPS_EACH}"
        )
    recordings = source.shape[axes[-1]] if len(axes) > 1 else 0
    moved.tell(packing=source.packing, matlab=source.matlab, recording_rows=recordings)
    return moved


def _axes(source: Source, axis: object) -> tuple[int, ...]:
    """Give the numbers of axes from 0 on; raises `FieldError` for what names none."""
    if axis is None:
        return (0,)
    rank = len(source.shape)
    has = f"{rank} axes, 0 to {rank - 1}" if rank > 1 else "one axis"
    numbers = []
    for each in axis if isinstance(axis, tuple) else (axis,):
        try:
            number = None if isinstance(each, bool) else operator.index(each)
        except TypeError:
            number = None
        if number is None:
            raise FieldError(
                f"axis={axis!r}: expected a number, or for several axes a tuple of them, as "
                f"(0, 1); {source.where} has {has}"
            )
        if not -rank <= number < rank:
            raise FieldError(
                f"axis={axis!r}: {source.where} has {has}; where that is for other fields, name "
                f"them, as axis={{'x': {axis!r}}}"
            )
        numbers.append(number % rank)
    if not numbers or len(set(numbers)) < len(numbers):
        raise FieldError(
            f"axis={axis!r}: expected one axis, or several that differ, as (0, 1) for rows along "
            "both of these"
        )
    return tuple(numbers)


def _in_place(source: Source, axes: tuple[int, ...]) -> Source:
    """Give the rows along axes of an array in place.

    Where several lie evenly it is of the kind of the array, which knows how to ask for rows ahead.
    """
    if len(axes) == 1:
        return MovedAxisSource(source, axes)
    assert source.table is not None
    merged = as_one(in_front(source.table.array, axes), len(axes))
    if merged is None:
        return PickedRowsSource(source, axes)
    if isinstance(source, MappedSource):
        place = replace(source.place, shape=merged.shape, strides=merged.strides)
        reason = source.access.reason
        made: Source = MappedSource(
            source.file.again(), place, reason, source.where, source.details
        )
    elif isinstance(source, MemorySource):
        made = array_source(merged)
    else:
        return MovedAxisSource(source, axes)
    made.tell(access=source.access, details=_details(source, axes))
    return made


def _details(rows: Source, axes: tuple[int, ...]) -> Details:
    """Say along which axes rows lie, and in how many pieces each."""
    table = rows.table
    assert table is not None
    pieces = pieces_of_row(table.array, axes)
    found = "1 piece" if pieces == 1 else f"{pieces} pieces"
    about = f"{shown_axes(axes, rows.shape)}; a row lies in {found} of {rows.access.kind} data"
    return (*without(rows.details, "row"), ("axis", about))
