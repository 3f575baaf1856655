"""Which rows a sampler numbers, as its arguments say: how many, which of them, with what weights.

Idea: each argument is checked once and made an array. Invariant: row numbers that come out are
rows of the dataset, and running sums of weights do not fall; each fault is a SamplerError.
"""

from collections.abc import Mapping, Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.indexing import holds_rows, may_be_rows, take_one_of, without_value
from npdata.errors import SamplerError, an
from npdata.sampling.order.checks import whole_number

FEWEST_IN_MASK = 9
"""So many zeros and ones are taken for a mask; fewer may be draws of rows 0 and 1 by chance."""
_ALIKE = "(1 / np.bincount(labels))[labels]"


def rows_of(data: int | Sized) -> int:
    """Give the number of rows of a dataset, or the number that is given in its place."""
    if isinstance(data, str | bytes) or not (isinstance(data, Sized) or hasattr(data, "__index__")):
        raise SamplerError(f"data={data!r}: expected a dataset or its number of rows")
    if may_be_rows(data) or take_one_of(data):
        held = "integers" if may_be_rows(data) else "arrays or lists"
        raise SamplerError(
            f"data is {an(type(data).__name__)} of {held}: expected a dataset or its number of "
            "rows; row numbers are indices=, as BlockBatchSampler(dataset, 64, indices=rows)"
        )
    length = len(data) if holds_rows(data) else data
    return whole_number("the number of rows", length, least=0, below=1 << 62)


def subset_of(indices: ArrayLike, rows: int) -> Ints:
    """Give `indices=` as row numbers, int64.

    Examples:
        >>> subset_of([True, False, True], 3).tolist()
        [0, 2]
    """
    several = take_one_of(indices)
    if several:
        raise SamplerError(f"indices= takes one array of row numbers: {several}")
    # As an array, a Subset is its samples.
    array = None if hasattr(indices, "__getitems__") else _array("indices", indices)
    if array is None or (array.size and array.dtype.kind in "OUST"):
        raise SamplerError(
            f"indices is {an(type(indices).__name__)}: expected row numbers, as those of "
            f"subset.indices, range(5) or np.flatnonzero(mask), or a bool mask of the {rows} rows"
        )
    if array.dtype == np.bool_ and array.shape == (rows,):
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise SamplerError(
            f"indices of shape {array.shape} and dtype {array.dtype}: expected one dimension of "
            f"integers, as np.flatnonzero(mask), or a bool mask of the {rows} rows"
        )
    if len(array) == rows >= FEWEST_IN_MASK and (array.min(), array.max()) == (0, 1):
        raise SamplerError(
            f"indices are {rows} zeros and ones, which as row numbers are rows 0 and 1 alone: give "
            "a mask of the rows as bools, np.asarray(mask, bool)"
        )
    if array.size and (int(array.min()) < 0 or int(array.max()) >= rows):
        raise SamplerError(
            f"indices from {array.min()} to {array.max()}: expected row numbers from 0 to "
            f"{rows - 1}, the last of the dataset; those of a Subset are places in it"
        )
    return np.array(array, np.int64)


def running_sum(
    weights: ArrayLike, rows: int, subset: Ints | None, data: object
) -> NDArray[np.float64]:
    """Give the running sum of `weights=` over the rows of `data`, or those of `subset`; float64."""
    if isinstance(weights, str | Mapping) or not hasattr(weights, "__getitem__"):
        raise SamplerError(
            f"weights={weights!r:.60}: expected one weight for each row; for classes that come "
            f"equally often, {_ALIKE}; labels of a field are "
            "dataset.fields[NAME][:]; a sampler is sampler="
        )
    array = _array("weights", weights, np.float64)
    if array.shape != (rows,):
        cure = f"of classes {_ALIKE}, of a Subset weights[subset.indices]"
        borders = getattr(data, "borders", None)
        if borders is not None and array.shape == (len(borders) - 1,):
            cure = (
                f"of {len(array)} recordings, as files are, np.repeat(weights / count.clip(1), "
                "count) with count = np.diff(dataset.borders)"
            )
        raise SamplerError(
            f"weights of shape {array.shape}: expected one weight for each of the {rows} rows, "
            f"those that indices= leaves out as well: {cure}"
        )
    wrong = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if wrong.size:
        raise SamplerError(
            f"weight {array[wrong[0]]} of row {wrong[0]} ({wrong.size} such rows): expected "
            "finite numbers of at least 0"
        )
    with np.errstate(over="ignore"):
        totals = np.cumsum(array if subset is None else array[subset])
    if totals.size and not 0 < totals[-1] < np.inf:
        raise SamplerError(f"weights that sum to {totals[-1]}: expected a finite sum above 0")
    return totals


def _array(name: str, values: ArrayLike, dtype: type[Any] | None = None) -> NDArray[Any]:
    try:
        array = np.asanyarray(values, dtype)
    except (TypeError, ValueError) as error:
        raise SamplerError(f"{name}: expected an array of numbers: {error}") from error
    lost = without_value(array, name)
    if lost:
        fill = "filled(0)" if name == "weights" else "filled(False)"
        cure = "compressed()" if array.dtype.kind in "iu" else fill
        raise SamplerError(f"{lost}: leave those rows out by {name}=x.{cure}")
    return np.asarray(array)
