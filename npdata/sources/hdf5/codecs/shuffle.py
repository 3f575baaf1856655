"""Shuffle: the first bytes of all elements, then the second bytes, and so on.

The element size is the filter's own, not the dtype's; bytes at the end that fill no element are
as they were.
"""

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import tensor_of
from npdata.runtime.lazy_torch import torch
from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array

SMALL = 1 << 16
"""Below, waiting for the interpreter after a call of torch costs more than it saves."""


def unshuffle(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Put the bytes of each element together again.

    Examples:
        >>> unshuffle(b"acbdz", (2,), 5, None).tobytes()
        b'abcdz'
    """
    shuffled = as_array(data)
    if not values:  # HDF5 leaves the second of two shuffles in a pipeline so, and cannot undo it
        raise ValueError("shuffle has no client data, and no element size in it")
    size = values[0]
    if len(shuffled) > limit:
        raise ValueError(f"shuffled data has {len(shuffled)} bytes, at most {limit} can be right")
    count = len(shuffled) // size if size > 1 else 0
    if count <= 1:
        return shuffled
    whole = count * size
    columns = shuffled[:whole].reshape(size, count)
    out = into if into is not None and len(into) == len(shuffled) else np.empty_like(shuffled)
    if whole < SMALL:
        for byte, column in enumerate(columns):
            out[byte:whole:size] = column
    else:
        out[:whole] = _transposed(columns)
    out[whole:] = shuffled[whole:]
    return out


def _transposed(columns: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give a contiguous matrix, transposed, as one run of bytes.

    torch shuffles the channels of a pixel, where they lie side by side, in one call and with vector
    instructions: two to six times as fast, with a copy, as NumPy copies columns one by one. Only
    elements of 3 bytes are slower.
    """
    n = columns.size
    pixel = np.ndarray((1, n, 1, 1), np.uint8, columns.data, strides=(n, 1, n, n))
    return torch.channel_shuffle(tensor_of(pixel), len(columns)).numpy().reshape(-1)


SHUFFLE = Decoder(name="shuffle", by="torch", decode=unshuffle)
