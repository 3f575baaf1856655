"""The pipeline of filters, undone: which decoder for which filter, in which order, how long.

Idea: a literal table of filter ids; a chunk goes through the decoders in reverse order of its
pipeline, without those that its mask leaves out. Invariant: what comes out has exactly the length
of a raw chunk, every stage is bounded before it runs, and any deviation is a ValueError. Pure
computation on bytes: no file, no h5py object, any thread.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from npdata.sources.hdf5.codecs.base import Bytes, Decoder, as_array
from npdata.sources.hdf5.codecs.bitshuffle import BITSHUFFLE
from npdata.sources.hdf5.codecs.blosc import BLOSC, SNAPPY
from npdata.sources.hdf5.codecs.deflate import DEFLATE
from npdata.sources.hdf5.codecs.fletcher32 import FLETCHER32
from npdata.sources.hdf5.codecs.lz4 import LZ4
from npdata.sources.hdf5.codecs.lzf import LZF
from npdata.sources.hdf5.codecs.shuffle import SHUFFLE
from npdata.sources.hdf5.codecs.zstd import ZSTD
from npdata.sources.hdf5.examine.creation_properties import Filter

DECODERS: dict[int, Decoder] = {
    1: DEFLATE,
    2: SHUFFLE,
    3: FLETCHER32,
    32000: LZF,
    32001: BLOSC,
    32004: LZ4,
    32008: BITSHUFFLE,
    32015: ZSTD,
}
ADDED_BYTES = {2: 0, 3: 4}
"""By how many bytes a filter makes any input longer, of those that do not compress."""


def missing_decoder(step: Filter) -> str | None:
    """Say why npdata cannot undo a filter, or None where it can."""
    decoder = DECODERS.get(step.id)
    if decoder is None:
        return f"npdata does not know its filter {step.id} ({step.name or 'without a name'})"
    if decoder.missing is not None:
        return f"its filter {decoder.name} needs {decoder.missing}"
    if decoder is BLOSC and SNAPPY in step.values[6:7]:
        return f"npdata does not know its filter {step.id} (blosc with snappy)"
    return None


def stage_limits(filters: Sequence[Filter], raw: int) -> list[tuple[int, bool]]:
    """Give, for each filter, the bytes that went into it, and whether that is exact or a bound."""
    limits = []
    size, exact = raw, True
    for step in filters:
        limits.append((size, exact))
        if step.id in ADDED_BYTES:
            size += ADDED_BYTES[step.id]
        else:
            # What no compressor makes of its input, even where it does not compress.
            size, exact = size + size // 4 + 65536, False
    return limits


def decode_chunk(filters: Sequence[Filter], mask: int, data: bytes, out: NDArray[np.uint8]) -> None:
    """Undo `filters` on the stored bytes of a chunk, all but those of `mask`, into `out`.

    Raises ValueError where the data is damaged or does not fill `out` exactly.
    """
    applied = [step for position, step in enumerate(filters) if not mask >> position & 1]
    limits = stage_limits(applied, len(out))
    current: Bytes = data
    for position in reversed(range(len(applied))):
        step, (limit, exact) = applied[position], limits[position]
        into = out if position == 0 else None  # what the first filter got is the chunk
        current = DECODERS[step.id].decode(current, step.values, limit, into)
        if exact and len(current) != limit:
            raise ValueError(f"{len(current)} bytes come out of {step.name}, not {limit}")
    if len(current) != len(out):
        raise ValueError(f"a chunk has {len(current)} bytes, not {len(out)}")
    if current is not out:
        out[:] = as_array(current)
