"""What a decoder is: the inverse of one filter, on bytes.

Idea: a decoder gets the most bytes that may come out, and where they may go. Invariant: it never
makes more than `limit` bytes, touches no h5py object and keeps no state, so that any thread may
call it; data that does not decode is a ValueError that says what is wrong with it.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = "bytes | NDArray[np.uint8]"
UndoFilter: TypeAlias = Callable[[Bytes, tuple[int, ...], int, "NDArray[np.uint8] | None"], Bytes]


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """How to undo one filter.

    `decode(data, values, limit, into)` gives the bytes before the filter, at most `limit`;
    `values` are the filter's client data, `into` an array of `limit` bytes that may be used for
    the result, or None. `by` names what does the work; `missing` says what would have to be
    installed, or is None.
    """

    name: str
    by: str
    decode: UndoFilter
    missing: str | None = None


def as_array(data: Any) -> NDArray[np.uint8]:
    """Give bytes as an array, without a copy."""
    return data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)


def header_of(source: NDArray[np.uint8], form: struct.Struct, what: str) -> tuple[int, ...]:
    """Give the numbers at the beginning of a stream; ValueError where it is too short."""
    if len(source) < form.size:
        raise ValueError(f"{what} of {len(source)} bytes is too short for its header")
    return form.unpack(source[: form.size].data)


def require_room(size: int, limit: int) -> None:
    """Raise ValueError where a stream declares more bytes than may come out."""
    if size > limit:
        raise ValueError(f"it declares {size} bytes, and at most {limit} can be right")


def room(size: int, limit: int, into: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Give memory for the bytes that a stream declares, `into` if it fits; as `require_room`."""
    require_room(size, limit)
    return into if into is not None and len(into) == size else np.empty(size, np.uint8)
