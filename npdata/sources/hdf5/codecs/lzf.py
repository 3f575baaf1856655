"""LZF: by the decompressor that comes with h5py, called past h5py and its lock.

Python has no LZF of its own, and one written in Python reads 2 MB/s. h5py carries liblzf inside
its filter module; ctypes calls its one function, which knows nothing of HDF5, without any lock.
Where the function cannot be found, LZF is left to h5py.
"""

import ctypes
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array


def _found() -> Any:
    try:
        function = ctypes.CDLL(h5py.h5z.__file__).lzf_decompress
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_uint
    function.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint]
    return function


_decompress = _found()


def decompress(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Give the bytes that LZF compressed; liblzf never writes past `limit`."""
    source = as_array(data)
    out = np.empty(limit, np.uint8) if into is None else into
    size = _decompress(source.ctypes.data, len(source), out.ctypes.data, limit)
    if size == 0:
        raise ValueError(f"the LZF data is damaged, or gives more than {limit} bytes")
    return out if size == len(out) else out[:size]


LZF = Decoder(
    name="lzf",
    by="liblzf",
    decode=decompress,
    missing="liblzf, which this build of h5py does not offer" if _decompress is None else None,
)
