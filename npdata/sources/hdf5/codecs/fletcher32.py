"""Fletcher-32: a checksum in the last four bytes, verified and taken off.

HDF5 before 1.6.3 stored the two bytes of each half in the other order on little-endian machines;
as HDF5 does, that form is accepted too.
"""

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array

WORDS = 1 << 16
"""So many words are summed up at a time: the sums stay below 2**48."""


def checksum(data: NDArray[np.uint8]) -> int:
    """Give the Fletcher-32 sum of bytes, as HDF5 has it: big-endian words, sums in 1..65535.

    Examples:
        >>> hex(checksum(np.frombuffer(b"abcdef", np.uint8)))
        '0x50562a2d'
    """
    words = data[: len(data) // 2 * 2].view(">u2")
    low = high = 0
    for start in range(0, len(words), WORDS):
        part = words[start : start + WORDS]
        sums = np.cumsum(part, dtype=np.uint64)
        high += low * len(part) + int(sums.sum())
        low += int(sums[-1])
    if len(data) % 2:
        low += int(data[-1]) << 8
        high += low
    return _fold(high) << 16 | _fold(low)


def verified(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Give the bytes before the checksum; ValueError where it is not theirs."""
    every = as_array(data)
    if len(every) < 4 or len(every) - 4 > limit:
        raise ValueError(f"{len(every)} bytes with a checksum, where {limit + 4} are expected")
    content = every[:-4]
    stored = int(every[-4:].view("<u4")[0])
    found = checksum(content)
    swapped = (found & 0x00FF00FF) << 8 | (found >> 8) & 0x00FF00FF
    if stored not in (found, swapped):
        raise ValueError(f"the Fletcher-32 checksum is {found:#010x}, stored is {stored:#010x}")
    return content


def _fold(total: int) -> int:
    return 0 if total == 0 else (total - 1) % 65535 + 1


FLETCHER32 = Decoder(name="fletcher32", by="NumPy", decode=verified)
