"""What people hold rows in besides NumPy: torch, pandas, polars, Arrow, JAX, xarray, lists.

Idea: each gives its memory as an array, without a copy where its own library can, or is refused
naming the one conversion that works. Invariant: no value changes on the way: what a library would
turn into NaN, text or objects is refused; nothing lazy is computed, nothing leaves a device. No
library is imported for this but pyarrow, for objects that give Arrow arrays alone.
"""

import array
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import CLASS_NUMBERS
from npdata.errors import UnsupportedSourceError, an, require
from npdata.runtime.lazy_torch import torch


class Held(NamedTuple):
    """The rows of a container as an array, and how they came: the reason of its access."""

    array: NDArray[Any]
    reason: str


def rows_held_by(given: Any) -> Held | None:
    """Give the rows of `given` as an array; None for what is no container of rows.

    Raises `UnsupportedSourceError` (a TypeError and ValueError) for one whose rows would change on
    the way, naming the conversion to write.

    Examples:
        >>> rows_held_by(torch.arange(3))
        Held(array=array([0, 1, 2]), reason='the memory of a torch tensor, read in place')
        >>> rows_held_by(3) is None
        True
    """
    if isinstance(given, torch.Tensor):
        return _of_torch(given)
    if isinstance(given, list | tuple | range):
        return _of_list(given)
    library = type(given).__module__.partition(".")[0]
    if library in _REFUSED:
        raise _refuse(given, *_REFUSED[library])
    return _LIBRARIES.get(library, _of_protocol)(given)


def _refuse(given: Any, why: str, write: str) -> UnsupportedSourceError:
    library = type(given).__module__.partition(".")[0]
    kind = f"{library}.{type(given).__name__}".removeprefix("builtins.")
    return UnsupportedSourceError(f"{an(kind)} {why}: give {write}")


_OF_TENSORS = "npdata.ragged(torch.cat(x), lengths=[len(row) for row in x])"


def _of_torch(given: "torch.Tensor") -> Held:
    cures = (
        (given.device.type != "cpu", f"lies on {given.device}", "x.cpu()"),
        (given.requires_grad, "requires gradients", "x.detach()"),
        (given.is_nested, "is nested", f"{_OF_TENSORS}, with x = list(x.unbind())"),
        (
            given.layout == torch.sparse_csr,
            "is sparse",
            "npdata.csr(x.values(), x.col_indices(), x.crow_indices(), x.shape)",
        ),
        (given.layout != torch.strided, f"has the layout {given.layout}", "x.to_dense()"),
        (given.is_quantized, "is quantized", "x.dequantize()"),
        (given.dtype == torch.bfloat16, "of bfloat16 has no NumPy dtype", "x.float()"),
    )
    for true, why, write in cures:
        if true:
            raise _refuse(given, why, write)
    solid = given.resolve_conj().resolve_neg()
    try:
        rows = solid.numpy()
    except TypeError as error:
        raise _refuse(given, f"of {given.dtype} has no NumPy dtype", "x.float()") from error
    return Held(rows, "the memory of a torch tensor, read in place")


def _of_list(given: list[Any] | tuple[Any, ...] | range) -> Held:
    inner = next((each for each in given if isinstance(each, torch.Tensor)), None)
    if inner is not None:
        write = (
            f"torch.stack(x), of different lengths {_OF_TENSORS}, or NumpyDataset(*x) for fields"
        )
        raise _refuse(given, "holds tensors", write)
    try:
        rows = np.asarray(given)
    except ValueError as error:
        write = "npdata.ragged(np.concatenate(x), lengths=[len(row) for row in x])"
        raise _refuse(given, "holds rows of different shapes", write) from error
    if rows.dtype == object:
        raise _refuse(given, "holds objects", "an array of numbers, np.asarray(x, dtype)")
    return Held(rows, f"{an(type(given).__name__)}, copied once into an array")


def _of_pandas(given: Any) -> Held:
    kind = type(given).__name__
    if kind == "DataFrame" and len(set(given.dtypes)) > 1:
        write = "{name: df[name] for name in df}, or df.to_numpy('float32') for one field"
        raise _refuse(given, "has columns of different dtypes", write)
    if kind in ("Categorical", "CategoricalIndex"):
        write = "x.codes.astype('int64'), in which -1 is missing, and keep x.categories"
        raise _refuse(given, "is categorical", write)
    if hasattr(given, "_from_sequence"):  # an array of its own kind, as pandas.array gives
        raise _refuse(given, "is no array of NumPy", "pandas.Series(x)")
    if kind not in ("DataFrame", "Series", "Index", "RangeIndex", "DatetimeIndex"):
        raise _refuse(given, "holds no plain numbers", "x.to_numpy()")
    dtype = given.dtypes.iloc[0] if kind == "DataFrame" and len(given.columns) else None
    dtype = getattr(given, "dtype", None) if dtype is None else dtype
    if str(dtype) == "category":
        write = "x.cat.codes.to_numpy('int64'), and keep x.cat.categories"
        raise _refuse(given, "is categorical", write)
    if not isinstance(dtype, np.dtype) and np.asarray(given.isna()).any():
        raise _refuse(given, f"of {dtype} has missing values", "x.to_numpy(dtype, na_value=...)")
    return _told(given, given.to_numpy, objects="x.to_numpy(dtype=...)")


def _of_polars(given: Any) -> Held:
    if type(given).__name__ == "LazyFrame":
        raise _refuse(given, "is not computed", "x.collect()")
    nulls = given.null_count()
    count = nulls if isinstance(nulls, int) else nulls.sum_horizontal().sum()
    if count:
        raise _refuse(given, "has nulls, which NumPy has not", "x.fill_null(value)")
    if type(given).__name__ == "DataFrame" and len(set(given.dtypes)) > 1:
        raise _refuse(
            given, "has columns of different dtypes", "{name: df[name] for name in df.columns}"
        )
    return _told(given, given.to_numpy, objects="a column of numbers, x.to_physical()")


def _of_arrow(given: Any) -> Held:
    kind = type(given).__name__
    if kind in ("Table", "RecordBatch"):
        raise _refuse(
            given, "has columns", "{name: x[name] for name in x.schema.names}, one field for each"
        )
    if not hasattr(given, "null_count"):
        raise _refuse(given, "is no array", "x.to_numpy()")
    if given.null_count:
        raise _refuse(given, "has nulls, which NumPy has not", "x.fill_null(value)")
    whole = given.combine_chunks() if kind == "ChunkedArray" else given
    whole = getattr(whole, "storage", whole)
    joined = kind == "ChunkedArray"
    return _told(given, lambda: _rows_of_arrow(given, whole), "a column of numbers", copied=joined)


def _rows_of_arrow(given: Any, whole: Any) -> NDArray[Any]:
    """Give numbers, or lists of one length as rows, as LeRobot and HF datasets write them."""
    if not str(whole.type).startswith(("list<", "large_list<", "fixed_size_list<")):
        numbers: NDArray[Any] = whole.to_numpy(zero_copy_only=False)
        return numbers
    inner = whole.flatten()
    size, left = divmod(len(inner), max(1, len(whole)))
    fixed = str(whole.type).startswith("fixed_size")
    if left or not (fixed or (np.asarray(whole.value_lengths()) == size).all()):
        raise _refuse(
            given,
            "holds lists of different lengths",
            "npdata.ragged(a.flatten(), lengths=a.value_lengths()) with "
            "a = pyarrow.concat_arrays(x.chunks) or x",
        )
    if inner.null_count:
        raise _refuse(given, "has nulls in its lists, which NumPy has not", "x without them")
    rows = _rows_of_arrow(given, inner)
    return rows.reshape(len(whole), size, *rows.shape[1:])


def _of_xarray(given: Any) -> Held:
    if not hasattr(given, "values") or not hasattr(given, "dims") or hasattr(given, "data_vars"):
        raise _refuse(given, "has variables", "{name: x[name] for name in x.data_vars}")
    inner = getattr(given.variable, "_data", None)
    if isinstance(inner, np.ndarray):
        return _told(given, lambda: inner)
    write = 'x.to_numpy(), or the path of its file, "era.nc::t2m", with decode="cf"'
    raise _refuse(given, "is not in memory", write)


def _of_jax(given: Any) -> Held | None:
    if any(device.platform != "cpu" for device in getattr(given, "devices", set)()):
        raise _refuse(given, "lies on a device", "np.asarray(x), which copies it")
    if str(getattr(given, "dtype", "")) == "bfloat16":
        raise _refuse(given, "of bfloat16 has no torch-free NumPy dtype", "x.astype('float32')")
    return _of_protocol(given)


_LIBRARIES: dict[str, Callable[[Any], Held | None]] = {
    "pandas": _of_pandas,
    "polars": _of_polars,
    "pyarrow": _of_arrow,
    "xarray": _of_xarray,
    "jax": _of_jax,
    "jaxlib": _of_jax,
}


_REFUSED = {
    "dask": ("is not computed", "x.compute(), or the path of its file"),
    "cupy": ("lies on a GPU", "x.get()"),
}


def _of_protocol(given: Any) -> Held | None:
    """Take what gives an array by one of the protocols that libraries share."""
    if isinstance(given, bytes | bytearray | str | np.generic):
        return None
    arrays = hasattr(given, "__array_interface__") or hasattr(given, "__array__")
    if arrays or isinstance(given, memoryview | array.array):
        return _told(given, lambda: _as_array(given))
    if hasattr(given, "__dlpack__"):
        try:
            return _told(given, lambda: np.from_dlpack(given))
        except (RuntimeError, BufferError, TypeError, ValueError) as error:
            raise _refuse(given, "gives no memory of the CPU", "a copy on the CPU") from error
    if hasattr(given, "__arrow_c_array__"):
        arrow = require("pyarrow", extra="integrations", purpose="an Arrow array")
        return _of_arrow(arrow.array(given))
    return None


def _as_array(given: Any) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a method that knows no copy=
        rows = np.asanyarray(given)
    if np.ma.is_masked(rows):  # a variable of netCDF4, a column of astropy
        write = 'x[:].filled(value), or the path of its file, "era.nc::t2m", with decode="cf"'
        raise _refuse(given, "has masked values, whose mask would be lost", write)
    return np.asarray(rows)


def _told(
    given: Any,
    read: Callable[[], NDArray[Any]],
    objects: str = "an array of numbers, np.asarray(x, dtype)",
    *,
    copied: bool = False,
) -> Held:
    """Read the rows; they lie where the container has them if it gives the same twice."""
    rows = read()
    if rows.dtype == object and rows.size and isinstance(rows.flat[0], str):
        write = f"np.array(x, dtype=str), with dtype=str to keep it, or {CLASS_NUMBERS}"
        raise _refuse(given, "holds text", write)
    if rows.dtype == object:
        raise _refuse(given, "holds objects", objects)
    kind = f"{type(given).__module__.partition('.')[0]} {type(given).__name__}"
    if copied or (rows.size and not np.shares_memory(rows, read())):
        return Held(rows, f"{an(kind)}, copied once into an array")
    return Held(rows, f"the memory of {an(kind)}, read in place")
