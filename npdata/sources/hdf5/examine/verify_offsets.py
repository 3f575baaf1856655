"""A self-check at opening: the bytes where the layout says are those that HDF5 itself finds there.

Idea: a few chunks (the first, the last, and one that differs from the first in each axis) are
read raw through h5py and from the file; any difference of offsets shows here. Invariant: called
with the dataset open, in the thread that opened it; it answers and raises nothing.
"""

from typing import Any

import h5py
import numpy as np
from h5py._objects import phil
from numpy.typing import NDArray

from npdata.sources.file import File
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.examine.layout import Layout

LARGEST_CHECKED = 64 << 20


def verify_offsets(dataset: h5py.h5d.DatasetID, layout: Layout) -> str | None:
    """Say what is not as the layout says, or None where all is."""
    file, table = File(layout.path, layout.identity), layout.chunks
    try:
        if table is None:
            return None if _same_rows(dataset, layout, file) else "its rows are not at its offset"
        for entry in _entries_to_check(table):
            place = table.coordinates(entry, layout.chunk_shape or ())[: layout.rank]
            with phil:  # h5py before 3.16 does not take its lock for this, and threads would crash
                mask, stored = dataset.read_direct_chunk(place)
            found = file.read(int(table.offsets[entry]), int(table.sizes[entry]))
            if found != bytes(stored) or mask != table.mask(entry):
                return f"the chunk at {place} is not where HDF5 lists it"
    except Exception as error:  # whatever it is, h5py reads the rows, and says so
        return f"its chunks could not be checked: {error}"
    finally:
        file.close()
    return None


def placement(layout: Layout) -> object:
    """Give what decides how HDF5 finds the bytes of a dataset: alike for many of a file."""
    table = layout.chunks
    grid = () if table is None else tuple(min(count, 2) for count in table.grid)
    return layout.storage, layout.unlimited, bool(layout.filters), grid


def _entries_to_check(table: ChunkTable) -> list[int]:
    """Choose entries of the chunk table: the first, the last, the first further on in each axis."""
    if not len(table):
        return []
    chosen = {0, len(table) - 1}
    first = np.unravel_index(int(table.numbers[0]), table.grid)
    step = 1
    for axis in reversed(range(len(table.grid))):
        if int(first[axis]) + 1 < table.grid[axis]:
            entry = int(table.find(table.numbers[:1] + step)[0])
            if entry >= 0:
                chosen.add(entry)
        step *= table.grid[axis]
    return [entry for entry in sorted(chosen) if int(table.sizes[entry]) <= LARGEST_CHECKED]


def _same_rows(dataset: h5py.h5d.DatasetID, layout: Layout, file: File) -> bool:
    offset, row = layout.offset or 0, layout.row_bytes
    if row > LARGEST_CHECKED:
        return True
    for number in {0, layout.shape[0] - 1}:
        found = file.read(offset + number * row, row)
        direct = np.frombuffer(found, layout.dtype).reshape(layout.shape[1:])
        if not _same(direct, np.asarray(h5py.Dataset(dataset)[number], layout.dtype)):
            return False
    return True


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Compare the bits of all fields, but not what lies between them."""
    if one.dtype.names is not None:
        return all(_same(one[name], other[name]) for name in one.dtype.names)
    return one.tobytes() == other.tobytes()
