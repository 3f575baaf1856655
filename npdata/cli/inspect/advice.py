"""Advice: what to do about the way an array is stored, in plain words and with figures.

Idea: each rule looks at one trouble, and says what it costs and what to do. Invariant: a pure
function of the facts; what it names (options, commands) exists; it is silent about what is small
and where nothing can be gained. It measures nothing: that is what `npdata bench` is for.
"""

import math
from collections.abc import Iterator

from npdata.cli.hint import convert_command
from npdata.cli.inspect.report import Chunks, Facts
from npdata.cli.units import bytes_text, count_text
from npdata.order.recipe import WINDOW_BLOCKS

BATCH = 256
"""The batch that is spoken of."""
SMALL = 1 << 20
"""An array of fewer bytes is in memory after its first reading."""
DEAR = 4.0
"""So many bytes decoded for each byte used are worth a word."""
TINY_CHUNK = 16 << 10
MIXING = 8
"""Fewer blocks than these in a window mix badly."""
PAGE = 4096


def advise(facts: Facts, *, where: str, budget: int) -> tuple[str, ...]:
    """Advise on an array that `where` names, for a slab of `budget` bytes of decoded chunks."""
    if facts.nbytes < SMALL or facts.sample == "refused":
        return ()
    return tuple(_rules(facts, where, budget))


def batch_decodes(facts: Facts, budget: int, batch: int = BATCH) -> int:
    """Give the bytes that a batch of random rows decodes on average; 0 without filters.

    Rows of one block share it, and the part of the chunks that the slab can hold is there already.
    """
    chunks = facts.chunks
    if chunks is None or not facts.filters:
        return 0
    blocks = chunks.grid[0]
    touched = blocks * -math.expm1(batch * math.log1p(-1 / blocks)) if blocks > 1 else 1.0
    total = math.prod(chunks.grid) * chunks.nbytes
    return round(touched * _block_bytes(chunks) * max(0.0, 1 - budget / total))


def _rules(facts: Facts, where: str, budget: int) -> Iterator[str]:
    chunks = facts.chunks
    held = 0 if facts.access == "library" else budget
    if chunks is None:
        if facts.layout == "Fortran order":
            yield from _scattered(facts, where)
        elif facts.filters:
            yield _member(facts, where)
        elif facts.access == "library":
            yield f"h5py reads it, one thread at a time; {_convert(facts, where)}"
        return
    if facts.filters and facts.cost.full >= DEAR * facts.cost.block and chunks.grid[0] > 1:
        yield _random(facts, chunks, where, held)
    elif facts.access == "library":
        yield f"h5py reads it, one thread at a time; {_convert(facts, where)}"
    if chunks.a_row_needs > 1:
        yield (
            f"each row lies in {count_text(chunks.a_row_needs)} chunks, a batch of {BATCH} rows in "
            f"up to {count_text(min(BATCH, chunks.grid[0]) * chunks.a_row_needs)}; chunks of "
            f"whole rows need one: {_convert_to_hdf5(facts, where)}"
        )
    if facts.filters and chunks.nbytes < TINY_CHUNK and chunks.stored > 1:
        yield (
            f"its {count_text(chunks.stored)} chunks hold {bytes_text(chunks.nbytes)} each, and to "
            f"look one up costs more than its bytes; about 1 MiB is right: "
            f"{_convert_to_hdf5(facts, where)}"
        )


def _random(facts: Facts, chunks: Chunks, where: str, held: int) -> str:
    cost = (
        f"chunks of {count_text(chunks.shape[0], 'row')}: a batch of {BATCH} random rows decodes "
        f"{bytes_text(batch_decodes(facts, held))} for {bytes_text(BATCH * facts.row_bytes)} used"
    )
    if facts.access == "library":
        return f"{cost}, by h5py, one thread at a time; {_convert(facts, where)}"
    window = held // _block_bytes(chunks)
    fits = smaller = ""
    if window < WINDOW_BLOCKS:
        fits = (
            f" with window_blocks={max(1, window)}, so that a window fits the "
            f"{bytes_text(held)} of NPDATA_SLAB_BYTES"
        )
    if window < MIXING:
        better = _convert_to_hdf5(facts, where)
        smaller = f"; so few blocks mix badly, and smaller chunks mix better: {better}"
    return f'{cost}; use shuffle="block"{fits}{smaller}, or {_convert(facts, where)}'


def _scattered(facts: Facts, where: str) -> Iterator[str]:
    pages = min(facts.row_bytes // max(1, facts.dtype.itemsize), -(-facts.nbytes // PAGE))
    if pages > 1:
        yield (
            f"in Fortran order a row is scattered over {count_text(pages, 'page')} of the file; "
            f"{_convert(facts, where)}"
        )


def _member(facts: Facts, where: str) -> str:
    return (
        f"every process that reads it decodes all {bytes_text(facts.nbytes)} into its memory; "
        f"{_convert(facts, where)}"
    )


def _convert(facts: Facts, where: str) -> str:
    return (
        f"convert it to a .npy, which is read in place ({bytes_text(facts.nbytes)}): "
        f"{convert_command(where, '.npy')}"
    )


def _convert_to_hdf5(facts: Facts, where: str) -> str:
    return convert_command(where, ".h5", "--compression gzip" if facts.filters else "")


def _block_bytes(chunks: Chunks) -> int:
    return chunks.a_row_needs * chunks.nbytes
