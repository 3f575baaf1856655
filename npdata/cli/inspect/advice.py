"""Advice: what to do about the way an array is stored, in plain words and with figures.

Idea: each rule looks at one trouble, and says what it costs and what to do. Invariant: a pure
function of the stored; a command, behind a line break, runs as it is, and what it writes no longer
gets that advice; it is silent about what is small and where nothing can be gained. It measures
nothing: that is what `npdata bench` is for.
"""

from npdata.arrays.blocks import BLOCK_BYTES
from npdata.cli.arguments import convert_command
from npdata.cli.console import bytes_text, count_text
from npdata.cli.convert.hdf5 import LARGEST_ROW
from npdata.cli.inspect.report import Chunks, Stored

BATCH = 256
"""The batch that is spoken of."""
SMALL = 1 << 20
"""An array of fewer bytes is in memory after its first reading."""
DEAR = 4.0
"""So many bytes decoded for each byte used are worth a word."""
TINY_CHUNK = 16 << 10
PAGE = 4096


def advise(stored: Stored, *, where: str, budget: int = 0) -> tuple[str, ...]:
    """Advise on an array that `where` names, with `budget` bytes for decoded chunks."""
    if stored.nbytes < SMALL or stored.sample.kind == "refused":
        return ()
    to_npy = (
        f"convert it to a .npy, which is read in place ({bytes_text(stored.nbytes)}):\n"
        f"{convert_command(where, '.npy')}"
    )
    if stored.chunks is not None:
        # Chunks of whole rows, of about 1 MiB.
        options = ("--compression gzip",) if stored.filters else ()
        to_hdf5 = convert_command(where, ".h5", *options)
        rules = (
            _costly_rows(stored, stored.chunks, budget, to_npy),
            _divided_rows(stored, stored.chunks, to_hdf5),
            _tiny_chunks(stored, stored.chunks, to_hdf5),
        )
        return tuple(advice for advice in rules if advice is not None)
    pages = min(stored.row_bytes // max(1, stored.dtype.itemsize), -(-stored.nbytes // PAGE))
    if stored.layout == "Fortran order":
        cost = f"in Fortran order a row is scattered over {count_text(pages, 'page')} of the file"
        return (f"{cost}; {to_npy}",) if pages > 1 else ()
    if stored.filters:
        decoded = bytes_text(stored.nbytes)
        cost = f"every process that reads it decodes all {decoded} into its memory"
        return (f"{cost}; {to_npy}",)
    if stored.access.kind == "library":
        return (f"h5py reads it, one thread at a time; {to_npy}",)
    return ()


def _costly_rows(stored: Stored, chunks: Chunks, budget: int, to_npy: str) -> str | None:
    """Advise where random rows decode far more than they use, or h5py reads them."""
    library = stored.access.kind == "library"
    once = chunks.total_bytes / max(1, stored.nbytes)
    dear = stored.decoded_per_used.full >= DEAR * once
    if not (stored.filters and dear and chunks.grid[0] > 1):
        return f"h5py reads it, one thread at a time; {to_npy}" if library else None
    used, absent = BATCH * stored.row_bytes, chunks.total_bytes - (0 if library else budget)
    cost = (
        f"chunks of {count_text(chunks.shape[0], 'row')}: a batch of {BATCH} random rows "
        f"decodes up to {bytes_text(min(used * stored.decoded_per_used.full, absent))} "
        f"for {bytes_text(used)} used"
    )
    if library:
        return f"{cost}, by h5py, one thread at a time; {to_npy}"
    if 2 * chunks.block_bytes <= budget:
        return f'{cost}; use shuffle="block", or {to_npy}'
    return (
        f"{cost}; a shuffle by blocks may decode a block, of {bytes_text(chunks.block_bytes)}, for "
        f"each batch, since the {bytes_text(budget)} of NPDATA_CACHE_BYTES do not hold two: set it "
        f"to {4 * chunks.block_bytes}, or {to_npy}"
    )


def _divided_rows(stored: Stored, chunks: Chunks, to_hdf5: str) -> str | None:
    """Advise where a row lies in several chunks, with little of it in each."""
    if chunks.a_row_needs <= 1 or chunks.bytes // chunks.shape[0] >= BLOCK_BYTES:
        return None
    whole = stored.row_bytes <= LARGEST_ROW
    return (
        f"each row lies in {chunks.a_row_needs:,} chunks, a batch of {BATCH} rows in "
        f"up to {min(BATCH, chunks.grid[0]) * chunks.a_row_needs:,}; "
        f"{'chunks of whole rows need one' if whole else 'larger chunks are fewer'}:\n{to_hdf5}"
    )


def _tiny_chunks(stored: Stored, chunks: Chunks, to_hdf5: str) -> str | None:
    if not stored.filters or chunks.bytes >= TINY_CHUNK or chunks.stored <= 1:
        return None
    return (
        f"its {chunks.stored:,} chunks hold {bytes_text(chunks.bytes)} each, and to "
        f"look one up costs more than its bytes; about {bytes_text(BLOCK_BYTES)} is right:\n"
        f"{to_hdf5}"
    )
