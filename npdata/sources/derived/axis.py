"""Rows along another axis than the first: those of MATLAB, whose first axis is the last here.

Idea: an array in place is seen with its axes moved; of an HDF5 dataset in chunks, h5py reads the
boxes that the rows lie in. Invariant: row i is that of `np.moveaxis(array, axis, 0)`. The cost is
stated, since such a row is scattered through the file.
"""

import math
import operator

import numpy as np

from npdata.arrays.gather import RowTable
from npdata.errors import FieldError
from npdata.sources.base import InPlaceSource, Source
from npdata.sources.derived.base import CompositeSource

ONE_FILE_EACH = (
    "of several files give from_hdf5(names, 'x', axis=...), or "
    "sum(npdata.NumpyDataset(name, axis=...) for name in names)"
)
"""What to write for an axis of several files."""


class MovedAxisSource(CompositeSource, InPlaceSource):
    """The rows along `axis` of an array in place.

    Examples:
        >>> source = MovedAxisSource(npdata.open_source(np.arange(6).reshape(2, 3)), 1)
        >>> source.shape, source.table.array[0].tolist()
        ((3, 2), [0, 3])
    """

    def __init__(self, rows: Source, axis: int) -> None:
        """Move `axis`, in [1, rank), of an array in place to the front."""
        self.made_of = (rows,)
        self._axis = axis
        shape = list(rows.shape)
        self.shape = (shape.pop(axis), *shape)
        self.dtype, self.where, self.access = rows.dtype, rows.where, rows.access
        pieces = math.prod(rows.shape[:axis])
        found = "1 piece" if pieces == 1 else f"{pieces} pieces"
        about = f"{axis} of {rows.shape}; a row lies in {found} of {rows.access.kind} data"
        self.details = (*rows.details, ("axis", about))

    @property
    def table(self) -> RowTable:
        """The array with its axes moved."""
        table = self._viewed(lambda array: np.moveaxis(array, self._axis, 0))
        assert table is not None
        return table


def along_axis(source: Source, axis: object) -> Source:
    """Give the rows along an axis, counted from the end where it is negative; None: the first.

    Raises `FieldError` for what is no axis, and for data that cannot be read so.
    """
    if axis is None or axis == 0:
        return source
    rank = len(source.shape)
    try:
        number = operator.index(axis)  # type: ignore[arg-type]
    except TypeError:
        number = rank
    if isinstance(axis, bool) or not -rank <= number < rank:
        raise FieldError(f"axis={axis!r}: {source.where} has {rank} axes, 0 to {rank - 1}")
    number %= rank
    if number == 0:
        return source
    if len(source.packings.kinds) > 1:
        raise FieldError(
            f"axis={axis!r}: {source.where} is packed in different ways from row to row, "
            f"and rows of another axis would mix them; convert it to one packing first"
        )
    if source.table is not None:
        moved: Source = MovedAxisSource(source, number)
    elif source.across is not None:
        moved = source.across(number)
    else:
        raise FieldError(
            f"axis={axis!r} is for arrays in memory, .npy files and datasets of one HDF5 file, and "
            f"{source.where} is none; {ONE_FILE_EACH}"
        )
    moved.tell(packing=source.packing, matlab=source.matlab)
    return moved
