"""Deflate (gzip): by isal where it is installed, else by the zlib of Python.

A stream that would give more than allowed is cut off there, and one that ends early is an error.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array
from npdata.sources.hdf5.codecs.packages import igzip_lib


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


DEFLATE = (
    Decoder(name="deflate", by="zlib", decode=with_zlib)
    if igzip_lib is None
    else Decoder(name="deflate", by="isal", decode=with_isal)
)
