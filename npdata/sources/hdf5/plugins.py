"""Filters that plugins bring to HDF5, and which of them this process lacks."""

import contextlib
import importlib
from collections.abc import Iterable

import h5py


def filters_missing(codes: Iterable[int]) -> set[int]:
    """Give those of these filters, by their numbers, that h5py cannot undo in this process.

    A filter is registered in one process, so whoever imports hdf5plugin under
    `if __name__ == "__main__"` has it in no worker: it is imported wherever one is missing.
    """
    missing = {code for code in codes if not h5py.h5z.filter_avail(code)}
    if missing:
        with contextlib.suppress(ImportError):
            importlib.import_module("hdf5plugin")
    return {code for code in missing if not h5py.h5z.filter_avail(code)}
