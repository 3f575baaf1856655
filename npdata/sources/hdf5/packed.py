"""The attributes of a dataset that say what its numbers stand for.

Idea: most datasets have no attributes, as one call of 1 us shows. Invariant: only attributes of the
CF conventions are read, and one that cannot be read is a fault that is reported when decoding is
asked for. What they mean is `sources.packing`.
"""

from typing import Any

import h5py

from npdata.arrays.dtypes import DType
from npdata.sources.packing import ATTRIBUTES, Packing

NOT_APPLIED = '; numbers are as stored, decode="cf" decodes them'


def read_packing(dataset: h5py.h5d.DatasetID, dtype: DType) -> Packing | None:
    """Give what the attributes of a dataset of numbers say of them; None for nothing."""
    found: dict[str, Any] = {}
    try:
        if dtype.kind not in "iuf" or not h5py.h5a.get_num_attrs(dataset):
            return None
        for name in ATTRIBUTES:
            if h5py.h5a.exists(dataset, name.encode()):
                found[name] = h5py.AttributeManager(h5py.Dataset(dataset))[name]
    except (KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
        return Packing(fault=f"its attributes cannot be read: {error}")
    return Packing.of(found, dtype)
