"""How datasets are made: type, filters, fill value, understood once for all that are made alike.

Idea: most datasets of a file were created by the same call, and what follows from a type and the
properties of the creation is worked out for the first of them. Invariant: a `Creation` is a
function of what is asked of each dataset; properties are compared one by one, since H5Pequal of
HDF5 finds chunks of (256, 128) and of (256, 7) equal. It is for one opening of one file, in one
thread.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np

from npdata.arrays.dtypes import DType

STORAGE = {
    h5py.h5d.COMPACT: "compact",
    h5py.h5d.CONTIGUOUS: "contiguous",
    h5py.h5d.CHUNKED: "chunked",
    h5py.h5d.VIRTUAL: "virtual",
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One step of the pipeline that every chunk goes through when it is written."""

    id: int
    values: tuple[int, ...]
    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Creation:
    """What datasets that were made alike have in common.

    `storage` is "contiguous", "chunked", "compact", "virtual" or "external". `dtype` is that of an
    element, `inner` the axes of an array type, which `chunk_shape` has as well; `exact` is whether
    that is the stored type, bit by bit. `fill` is one element as stored, None where it is unknown.
    """

    storage: str
    dtype: DType
    inner: tuple[int, ...]
    exact: bool
    chunk_shape: tuple[int, ...] | None
    filters: tuple[Filter, ...]
    fill: bytes | None


class _Type(NamedTuple):
    """What follows from the type of a dataset."""

    dtype: DType
    inner: tuple[int, ...]
    exact: bool


class Creations:
    """The types, and each `Creation`, that were seen in a file."""

    def __init__(self) -> None:
        self._types: dict[bytes, _Type] = {}
        self._known: dict[Any, Creation] = {}

    def of(self, dataset: h5py.h5d.DatasetID) -> Creation:
        """Give that of an open dataset; TypeError or ValueError for a type that NumPy has not."""
        properties: Any = dataset.get_create_plist()
        its_type = self._type(dataset.get_type())
        storage = STORAGE.get(properties.get_layout(), "unknown")
        if storage == "contiguous" and properties.get_external_count() > 0:
            storage = "external"
        chunk_shape = properties.get_chunk() if storage == "chunked" else None
        steps = tuple(map(properties.get_filter, range(properties.get_nfilters())))
        time, defined = properties.get_fill_time(), properties.fill_value_defined()
        key = id(its_type), storage, chunk_shape, steps, time, defined
        known = self._known.get(key)
        if known is not None:
            return known
        made = Creation(
            storage=storage,
            dtype=its_type.dtype,
            inner=its_type.inner,
            exact=its_type.exact,
            chunk_shape=None if chunk_shape is None else chunk_shape + its_type.inner,
            filters=tuple(
                Filter(id=code, values=tuple(values), name=name.decode("utf8", "replace"))
                for code, _, values, name in steps
            ),
            fill=_fill(dataset, its_type, time, defined) if its_type.exact else None,
        )
        if defined != h5py.h5d.FILL_VALUE_USER_DEFINED:  # else the value is each one's own
            self._known[key] = made
        return made

    def _type(self, stored: Any) -> _Type:
        encoded = stored.encode()
        found = self._types.get(encoded)
        if found is None:
            base = stored.dtype
            if base.kind not in "OV":  # NumPy knows it fully without the remarks of h5py
                base = np.dtype(base.str)
            inner: tuple[int, ...] = ()
            while base.subdtype is not None:  # of HDF5 also an array of arrays
                base, axes = base.subdtype
                inner += axes
            found = self._types[encoded] = _Type(base, inner, _exact(stored, stored.dtype))
        return found


def _exact(stored: Any, dtype: DType) -> bool:
    if dtype.hasobject:
        return False
    try:
        return bool(h5py.h5t.py_create(dtype, logical=True) == stored)
    except (TypeError, ValueError):
        return False


def _fill(dataset: h5py.h5d.DatasetID, its_type: _Type, time: int, defined: int) -> bytes | None:
    """Give one element that stands for what was never written; None where it is unknown."""
    # h5py hands out zeros where HDF5 would leave the buffer as it is.
    if time == h5py.h5d.FILL_TIME_NEVER or defined == h5py.h5d.FILL_VALUE_DEFAULT:
        return bytes(its_type.dtype.itemsize)
    if its_type.inner or defined == h5py.h5d.FILL_VALUE_UNDEFINED:
        return None
    try:
        return np.array(h5py.Dataset(dataset).fillvalue, dtype=its_type.dtype).tobytes()
    except (TypeError, ValueError, RuntimeError):
        return None
