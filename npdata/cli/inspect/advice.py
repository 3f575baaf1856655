"""Advice: what to do about the way an array is stored, in plain words and with figures.

Idea: each rule looks at one trouble, and says what it costs and what to do. Invariant: a pure
function of the stored; a command that it names runs as it is, and what it writes no longer gets
that advice; it is silent about what is small and where nothing can be gained. It measures nothing:
that is what `npdata bench` is for.
"""

import math
from collections.abc import Iterator

from npdata.arrays.blocks import BLOCK_BYTES
from npdata.cli.console import bytes_text, count_text
from npdata.cli.convert.hdf5 import LARGEST_ROW
from npdata.cli.hint import convert_command
from npdata.cli.inspect.report import Chunks, Stored

BATCH = 256
"""The batch that is spoken of."""
SMALL = 1 << 20
"""An array of fewer bytes is in memory after its first reading."""
DEAR = 4.0
"""So many bytes decoded for each byte used are worth a word."""
TINY_CHUNK = 16 << 10
PAGE = 4096


def advise(stored: Stored, *, where: str, budget: int) -> tuple[str, ...]:
    """Advise on an array that `where` names, with `budget` bytes for decoded chunks."""
    if stored.nbytes < SMALL or stored.sample == "refused":
        return ()
    return tuple(_rules(stored, where, budget))


def batch_decodes(stored: Stored, budget: int, batch: int = BATCH) -> int:
    """Give the bytes that a batch of random rows decodes on average; 0 without filters.

    Rows of one block share it, and the part of the chunks that the cache can hold is there already.
    """
    chunks = stored.chunks
    if chunks is None or not stored.filters:
        return 0
    blocks = chunks.grid[0]
    touched = blocks * -math.expm1(batch * math.log1p(-1 / blocks)) if blocks > 1 else 1.0
    total = math.prod(chunks.grid) * chunks.bytes
    return round(touched * _block_bytes(chunks) * max(0.0, 1 - budget / total))


def _rules(stored: Stored, where: str, budget: int) -> Iterator[str]:
    chunks = stored.chunks
    if chunks is None:
        if stored.layout == "Fortran order":
            yield from _scattered(stored, where)
        elif stored.filters:
            yield _member(stored, where)
        elif stored.access == "library":
            yield f"h5py reads it, one thread at a time; {_to_npy(stored, where)}"
        return
    once = math.prod(chunks.grid) * chunks.bytes / max(1, stored.nbytes)
    if stored.filters and stored.decoded_per_used.full >= DEAR * once and chunks.grid[0] > 1:
        yield _random(stored, chunks, where, budget)
    elif stored.access == "library":
        yield f"h5py reads it, one thread at a time; {_to_npy(stored, where)}"
    piece = chunks.bytes // chunks.shape[0]
    if chunks.a_row_needs > 1 and piece < BLOCK_BYTES:
        whole = stored.row_bytes <= LARGEST_ROW
        yield (
            f"each row lies in {count_text(chunks.a_row_needs)} chunks, a batch of {BATCH} rows in "
            f"up to {count_text(min(BATCH, chunks.grid[0]) * chunks.a_row_needs)}; "
            f"{'chunks of whole rows need one' if whole else 'larger chunks are fewer'}: "
            f"{_to_hdf5(stored, where)}"
        )
    if stored.filters and chunks.bytes < TINY_CHUNK and chunks.stored > 1:
        yield (
            f"its {count_text(chunks.stored)} chunks hold {bytes_text(chunks.bytes)} each, and to "
            f"look one up costs more than its bytes; about "
            f"{bytes_text(BLOCK_BYTES)} is right: "
            f"{_to_hdf5(stored, where)}"
        )


def _random(stored: Stored, chunks: Chunks, where: str, budget: int) -> str:
    held = 0 if stored.access == "library" else budget
    cost = (
        f"chunks of {count_text(chunks.shape[0], 'row')}: a batch of {BATCH} random rows decodes "
        f"{bytes_text(batch_decodes(stored, held))} for {bytes_text(BATCH * stored.row_bytes)} used"
    )
    if stored.access == "library":
        return f"{cost}, by h5py, one thread at a time; {_to_npy(stored, where)}"
    if 2 * _block_bytes(chunks) > budget:
        return (
            f"{cost}; a shuffle by blocks may decode a block, of "
            f"{bytes_text(_block_bytes(chunks))}, for each batch, since the {bytes_text(budget)} "
            f"of NPDATA_CACHE_BYTES do not hold two: set it to {4 * _block_bytes(chunks)}, or "
            f"{_to_npy(stored, where)}"
        )
    return f'{cost}; use shuffle="block", or {_to_npy(stored, where)}'


def _scattered(stored: Stored, where: str) -> Iterator[str]:
    pages = min(stored.row_bytes // max(1, stored.dtype.itemsize), -(-stored.nbytes // PAGE))
    if pages > 1:
        yield (
            f"in Fortran order a row is scattered over {count_text(pages, 'page')} of the file; "
            f"{_to_npy(stored, where)}"
        )


def _member(stored: Stored, where: str) -> str:
    return (
        f"every process that reads it decodes all {bytes_text(stored.nbytes)} into its memory; "
        f"{_to_npy(stored, where)}"
    )


def _to_npy(stored: Stored, where: str) -> str:
    return (
        f"convert it to a .npy, which is read in place ({bytes_text(stored.nbytes)}): "
        f"{convert_command(where, '.npy')}"
    )


def _to_hdf5(stored: Stored, where: str) -> str:
    """Give the command that writes chunks of whole rows, of about 1 MiB."""
    return convert_command(where, ".h5", *(("--compression gzip",) if stored.filters else ()))


def _block_bytes(chunks: Chunks) -> int:
    return chunks.a_row_needs * chunks.bytes
