"""Shuffle: the first bytes of all elements, then the second bytes, and so on.

The element size is the filter's own, not the dtype's; bytes at the end that fill no element are
as they were.
"""

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array


def unshuffle(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Put the bytes of each element together again.

    Examples:
        >>> unshuffle(b"acbdz", (2,), 5, None).tobytes()
        b'abcdz'
    """
    shuffled = as_array(data)
    size = values[0] if values else 1
    if len(shuffled) > limit:
        raise ValueError(f"shuffled data has {len(shuffled)} bytes, at most {limit} can be right")
    count = len(shuffled) // size if size > 1 else 0
    if count <= 1:
        return shuffled
    whole = into is not None and len(into) == len(shuffled)
    out = into if into is not None and whole else np.empty(len(shuffled), np.uint8)
    columns = shuffled[: count * size].reshape(size, count)
    elements = out[: count * size].reshape(count, size)
    # A column at a time is three times as fast as one transposed copy.
    for byte in range(size):
        elements[:, byte] = columns[byte]
    out[count * size :] = shuffled[count * size :]
    return out


SHUFFLE = Decoder(name="shuffle", by="NumPy", decode=unshuffle)
