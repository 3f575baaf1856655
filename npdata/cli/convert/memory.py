"""What a conversion has in memory at one time, and how its memory is divided: pure arithmetic.

Idea: first what the work takes at least, one block of rows and one chunk at a time; what is left
goes to decoded chunks and to larger blocks on more threads. Invariant: what is divided never adds
up to more than there is, and `Need.nbytes` always suffices. It knows no arrays: that is `plan`.
"""

from dataclasses import dataclass

from npdata.sources.hdf5.budget import SLAB_BYTES

MEMORY = "512MB"
"""The most memory to take, where nothing else is asked for."""
RUNTIME_BYTES = 264_000_000
"""What the process takes with no rows in memory: Python, NumPy, torch and h5py (seen: 246 MB)."""
BLOCK_BYTES = 8 << 20
MORE_BLOCKS = 3
"""Blocks beyond those that threads work on: two that wait, and one that is being written."""
COPIES = 2
"""A block is in memory as rows and as what is written, or what is compared."""
BETWEEN_FILTERS = 2
"""A chunk is in memory so often while it is decoded, beside what is stored of it."""
ENCODING = 2
"""A chunk that is being compressed: cut out of its rows, and shuffled."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the work takes at least, in bytes.

    `held` all the time; `block` for the smallest block of rows; `chunk` for a chunk that has to be
    decoded, 0 where there is none, and `decoding` beside it until it is; `encoding` beside a block
    while it is compressed.
    """

    block: int
    held: int = 0
    chunk: int = 0
    decoding: int = 0
    encoding: int = 0

    @property
    def one_block(self) -> int:
        """The bytes of one block, in all its forms."""
        return COPIES * self.block + self.encoding

    @property
    def nbytes(self) -> int:
        """The bytes in all, with one block and one chunk at a time."""
        return RUNTIME_BYTES + self.held + self.chunk + self.decoding + self.one_block


@dataclass(frozen=True, kw_only=True)
class Division:
    """`slab_bytes` for decoded chunks; `threads` at blocks of at most `block_bytes`.

    With 0 threads there is one block at a time, else `MORE_BLOCKS` more than threads.
    """

    slab_bytes: int
    threads: int
    block_bytes: int


def divide(memory: int, need: Need, cores: int) -> Division:
    """Divide `memory` bytes, at least `need.nbytes`.

    Examples:
        >>> divide(512_000_000, Need(block=1 << 20), cores=2).threads
        2
        >>> divide(512_000_000, Need(block=100 << 20), cores=2).threads
        0
    """
    room = memory - RUNTIME_BYTES - need.held
    blocks = COPIES * BLOCK_BYTES * (cores + MORE_BLOCKS) + cores * need.encoding
    share = min(max(room // 2, room - blocks), room - need.one_block)
    slab, decoding = _decoded(share, need, decoders=cores + max(1, cores - 1))
    threads, block = _blocks(room - slab - decoding, need, cores)
    return Division(slab_bytes=slab, threads=threads, block_bytes=block)


def _decoded(share: int, need: Need, decoders: int) -> tuple[int, int]:
    """Give the bytes for decoded chunks, and for those that are being decoded, each in a slot."""
    if need.chunk == 0:
        return 0, 0
    most = max(1, min(decoders, share // (need.chunk + need.decoding)))
    decoding = most * need.decoding
    if most < decoders:
        return most * need.chunk, decoding
    return min(share - decoding, max(SLAB_BYTES, most * need.chunk)), decoding


def _blocks(room: int, need: Need, cores: int) -> tuple[int, int]:
    """Give how many threads can work on blocks, and the largest block."""
    enough = min(BLOCK_BYTES, _largest(room, need, 1))
    for threads in range(cores, 0, -1):
        largest = _largest(room, need, threads)
        if largest >= max(1, need.block, enough):
            return threads, largest
    return 0, (room - need.encoding) // COPIES


def _largest(room: int, need: Need, threads: int) -> int:
    return (room - threads * need.encoding) // (COPIES * (threads + MORE_BLOCKS))
