"""Deflate (gzip): by libdeflate or isal where they are installed, else by the zlib of Python.

A stream that would give more than allowed is cut off there, and one that ends early is an error.
"""

import contextlib
import zlib

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array
from npdata.sources.hdf5.codecs.packages import igzip_lib, libdeflate

LARGEST = (1 << 32) - 1
"""libdeflate takes the number of bytes that may come out as 32 bits."""


def with_libdeflate(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> Bytes:
    """Inflate with libdeflate, up to 1.4 times as fast as isal; zlib reports the errors."""
    if len(data) and 0 < limit <= LARGEST:
        with contextlib.suppress(libdeflate.DeflateError):
            return as_array(libdeflate.zlib_decompress(data, limit))
    return with_zlib(data, values, limit, into)


def with_isal(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> bytes:
    """Inflate with isal, about twice as fast as zlib."""
    stream = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
    try:
        result: bytes = stream.decompress(data, limit + 1)
    except igzip_lib.IsalError as error:
        raise ValueError(f"the deflate stream is damaged: {error}") from None
    return _whole(result, limit, stream.eof)


def with_zlib(
    data: Bytes, values: tuple[int, ...], limit: int, into: NDArray[np.uint8] | None
) -> bytes:
    """Inflate with zlib."""
    stream = zlib.decompressobj()
    try:
        result = stream.decompress(as_array(data).data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"the deflate stream is damaged: {error}") from None
    return _whole(result, limit, stream.eof)


def _whole(result: bytes, limit: int, ended: bool) -> bytes:
    if len(result) > limit:
        raise ValueError(f"the deflate stream gives more than {limit} bytes")
    if not ended:
        raise ValueError(f"the deflate stream breaks off after {len(result)} bytes")
    return result


if libdeflate is not None:
    DEFLATE = Decoder(name="deflate", by="libdeflate", decode=with_libdeflate)
elif igzip_lib is not None:
    DEFLATE = Decoder(name="deflate", by="isal", decode=with_isal)
else:
    DEFLATE = Decoder(name="deflate", by="zlib", decode=with_zlib)
