"""The attributes of a dataset that say what its numbers stand for.

Idea: most datasets have no attributes, as one call of 1 us shows. Invariant: an attribute of the CF
conventions that cannot be read is a fault that is reported when decoding is asked for. What these
attributes mean is `sources.packed`.
"""

import contextlib
from typing import Any

import h5py

from npdata.arrays.dtypes import DType
from npdata.sources.hdf5.anndata.encoding import text_of
from npdata.sources.hdf5.file import H5PY_ERRORS
from npdata.sources.packed.packing import ATTRIBUTES, Packing

MATLAB = {
    "char": 'class char; decode="matlab" with dtype=str gives a text for each row',
    "logical": 'class logical; decode="matlab" gives bool',
    "empty": "an empty array; what is stored is its size, and no values",
}
"""What the numbers of each class of MATLAB are."""

_OF_PYTABLES = {
    "object": (
        "pickled Python objects, which could run any code when read; store numbers of a fixed "
        "dtype instead"
    ),
    "vlunicode": (
        "text, as the numbers of its characters; give what PyTables reads, as "
        "NumpyDataset(np.array(tables.open_file(path).root.x[:]), dtype=str)"
    ),
}
"""What rows of variable length are, by their PSEUDOATOM; those of "vlstring" are bytes."""


def shown_packing(packing: Packing) -> str:
    """Say what numbers stand for, and how to get it."""
    asked = f'decode="{packing.convention}"'
    if packing.fault is not None:
        return f"numbers are as stored, and {asked} is refused: {packing.fault}"
    return f"{packing}; numbers are as stored, {asked} decodes them"


def no_numbers(dataset: h5py.h5d.DatasetID) -> str | None:
    """Say what PyTables keeps as rows of numbers that are none; None for any other dataset."""
    with contextlib.suppress(*H5PY_ERRORS):
        return _OF_PYTABLES.get(text_of(_attribute(dataset, "PSEUDOATOM")))
    return None


def _matlab_class(dataset: h5py.h5d.DatasetID) -> str | None:
    """Give what MATLAB stored as other numbers: "logical", "char", "empty" (a size), or None."""
    with contextlib.suppress(*H5PY_ERRORS):
        if _attribute(dataset, "MATLAB_empty"):
            return "empty"
        text = text_of(_attribute(dataset, "MATLAB_class"))
        return text if text in ("logical", "char") else None
    return None


def place_of_categories(dataset: h5py.h5d.DatasetID, dtype: DType) -> str | None:
    """Give the name of what codes of AnnData 0.7 stand for, to which they refer; None of others."""
    with contextlib.suppress(*H5PY_ERRORS):
        if dtype.kind in "iu" and h5py.h5a.exists(dataset, b"categories"):
            codes = h5py.Dataset(dataset)
            reference = codes.attrs["categories"]
            if isinstance(reference, h5py.Reference) and codes.ndim == 1:
                return codes.file[reference].name or None
    return None


def packing_and_class(
    dataset: h5py.h5d.DatasetID, dtype: DType
) -> tuple[Packing | None, str | None]:
    """Give what the attributes of a dataset say of its numbers, and MATLAB's class of them.

    None for nothing. A dataset without attributes is looked at once: there may be thousands.
    """
    numbers = dtype.kind in "iuf"
    try:
        if not h5py.h5a.get_num_attrs(dataset):
            return None, None
    except H5PY_ERRORS as error:
        return _unreadable(error) if numbers else None, None
    return _packing(dataset, dtype) if numbers else None, _matlab_class(dataset)


def _packing(dataset: h5py.h5d.DatasetID, dtype: DType) -> Packing | None:
    try:
        if h5py.h5a.exists(dataset, b"conversion"):
            return _nwb(h5py.Dataset(dataset))
        known = ((name, _attribute(dataset, name)) for name in ATTRIBUTES)
        found = {name: value for name, value in known if value is not None}
    except H5PY_ERRORS as error:
        return _unreadable(error)
    return Packing.of(found, dtype)


def _unreadable(error: Exception) -> Packing:
    return Packing(fault=f"its attributes cannot be read: {error}")


def _attribute(dataset: h5py.h5d.DatasetID, name: str) -> Any:
    """Give an attribute, None where there is none; raises what h5py does where it is damaged."""
    if not h5py.h5a.exists(dataset, name.encode()):
        return None
    return h5py.AttributeManager(h5py.Dataset(dataset))[name]


def _nwb(dataset: h5py.Dataset) -> Packing | None:
    group = dataset.parent  # h5py has its links as long as this
    if group.id.links.exists(b"channel_conversion"):
        fault = "channel_conversion beside it has a factor for each channel; multiply by it"
        return Packing(fault=fault, convention="nwb")
    return Packing.nwb(dataset.attrs["conversion"], dataset.attrs.get("offset"))
