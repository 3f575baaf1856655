"""Which way a dataset is read: in place, decoded by npdata, or through h5py, and why.

Idea: reading past h5py is right only where everything that could go wrong silently is ruled out;
each rule names the reason that people get to see. When in doubt, h5py. Invariant: a pure function
of the layout: the same answer every time, and no file is touched. Whether the bytes are where the
layout says is checked by `verify_offsets`.
"""

import math
from collections.abc import Iterator

import numpy as np

from npdata.arrays.dtypes import is_variable_text
from npdata.sources.base import Access
from npdata.sources.hdf5.codecs.pipeline import missing_decoder
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.examine.layout import Layout

USER_BLOCK_SINCE = (1, 14, 4)
"""HDF5 before this gives places of chunks that lack the size of the user block."""
LARGEST_CHUNK = 256 << 20
"""A larger chunk would take all the memory that decoded chunks have by default."""
ROW_ALLOWANCE = 64 << 20
"""Rows of so many bytes are credible in any file: chunks of them may never have been written."""
LARGEST_RATIO = 1 << 15
"""Larger rows are, of so many times the bytes stored: deflate makes zeros 1,029 times smaller."""


def decide(layout: Layout) -> Access:
    """Decide how to read the dataset of this layout.

    "mapped": contiguous, or in chunks without filters; "decoded": in chunks with filters that
    npdata knows; "library" for all else.
    """
    for obstacle in _obstacles(layout):
        return Access(kind="library", reason=obstacle)
    if layout.storage == "contiguous":
        return Access(kind="mapped", reason="its rows lie in one piece in the file")
    if not layout.filters:
        return Access(kind="mapped", reason="its chunks lie uncompressed in the file")
    names = ", ".join(step.name for step in layout.filters)
    return Access(kind="decoded", reason=f"npdata decodes its chunks ({names}) by itself")


def implausible_size(layout: Layout) -> str | None:
    """Say how a layout declares rows that its file cannot hold; None where it is credible."""
    if layout.row_bytes <= max(ROW_ALLOWANCE, LARGEST_RATIO * layout.stored_bytes):
        return None
    return (
        f"it declares rows of {layout.row_bytes} bytes and stores {layout.stored_bytes} bytes in "
        f"all; the file is damaged, or made to exhaust memory"
    )


def _obstacles(layout: Layout) -> Iterator[str]:
    yield from _file_obstacles(layout)
    if layout.storage not in ("contiguous", "chunked"):
        yield f"its storage is {layout.storage}"
        return
    if is_variable_text(layout.dtype):
        yield "it holds text of variable length"
    elif not layout.exact:
        yield f"its stored type is not exactly NumPy's {layout.dtype}"
    if 0 in layout.shape or layout.row_bytes == 0:
        yield "it holds no bytes"
    if layout.stored_bytes > layout.identity.size:
        yield f"it claims {layout.stored_bytes} bytes in a file of {layout.identity.size}"
    if layout.storage == "contiguous":
        yield from _contiguous_obstacles(layout)
    else:
        yield from _chunk_obstacles(layout)


def _file_obstacles(layout: Layout) -> Iterator[str]:
    file = layout.file
    if file.driver != "sec2":
        yield f"HDF5 reads the file through its driver {file.driver!r}"
    if file.mode != "r":
        yield f"this process has the file open in mode {file.mode!r}, and may write to it"
    if file.identity_in_hdf5 != file.identity:
        yield "the path leads to another file than the one that HDF5 holds open"
    if file.user_block and file.hdf5_version < USER_BLOCK_SINCE:
        version = ".".join(map(str, file.hdf5_version))
        yield f"the file has a user block, about which HDF5 {version} is wrong (right from 1.14.4)"


def _contiguous_obstacles(layout: Layout) -> Iterator[str]:
    expected = math.prod(layout.shape) * layout.dtype.itemsize
    if layout.offset is None:
        yield "it was never written, and has no place in the file"
    elif layout.stored_bytes != expected:
        yield f"it stores {layout.stored_bytes} bytes where its shape needs {expected}"
    elif layout.offset + expected > layout.identity.size:
        yield "it ends outside the file"


def _chunk_obstacles(layout: Layout) -> Iterator[str]:
    table, chunk_shape = layout.chunks, layout.chunk_shape
    if table is None or chunk_shape is None:
        yield "this h5py cannot list its chunks (HDF5 can from 1.12.3 on)"
        return
    if len(layout.unlimited) == 1 and layout.unlimited != (0,):
        yield (
            f"axis {layout.unlimited[0]} alone can grow, and HDF5 may misplace chunks then "
            f"(extensible array index)"
        )
    if table.fault is not None:
        yield table.fault
        return
    if table.begin < 0 or table.end > layout.identity.size:
        yield "a chunk lies outside the file"
    if layout.fill is None and not table.complete:
        yield "chunks are missing, and their fill value is unknown"
    if layout.filters:
        yield from _filter_obstacles(layout, table, chunk_shape)
    elif len(table) and not table.smallest == table.largest == layout.chunk_bytes:
        yield "a chunk without filters has another size than its shape needs"


def _filter_obstacles(
    layout: Layout, table: ChunkTable, chunk_shape: tuple[int, ...]
) -> Iterator[str]:
    for step in layout.filters:
        missing = missing_decoder(step)
        if missing is not None:
            yield missing
    if layout.chunk_bytes > LARGEST_CHUNK:
        yield f"a chunk of {layout.chunk_bytes} bytes is too large to keep decoded"
    if _ambiguous_edge(layout, table, chunk_shape):
        yield "a chunk at the edge may be stored without its filters, and HDF5 does not tell"


def _ambiguous_edge(layout: Layout, table: ChunkTable, chunk_shape: tuple[int, ...]) -> bool:
    """Tell whether a partial chunk has the size of a raw one and a mask that denies it."""
    if not table.smallest <= layout.chunk_bytes <= table.largest:
        return False
    suspects = np.flatnonzero(table.sizes == layout.chunk_bytes)
    if table.masks is not None:
        every = (1 << len(layout.filters)) - 1
        suspects = suspects[(table.masks[suspects] & every) != every]
    places = np.unravel_index(table.numbers[suspects], table.grid)
    return any(
        length % chunk and bool((place == count - 1).any())
        for place, count, length, chunk in zip(
            places, table.grid, layout.shape, chunk_shape, strict=True
        )
    )
