"""Everything that HDF5 knows of a dataset, read once, as a frozen value.

Idea: where the rows lie is asked of h5py here; what follows (`decide`, the readers) works on this
value, in any thread. Invariant: a layout is that of the file in the state of `identity`. This
module decides nothing and reads no rows.
"""

import math
from array import array
from dataclasses import dataclass, replace
from typing import Any

import h5py

from npdata.errors import FormatError
from npdata.sources.file import FileIdentity
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.examine.creation_properties import Creation, Creations
from npdata.sources.hdf5.examine.links import encoded
from npdata.sources.hdf5.file import FileFacts

LISTS_CHUNKS = hasattr(h5py.h5d.DatasetID, "chunk_iter")
"""Whether this h5py can list chunks: it cannot on HDF5 before 1.12.3."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout(Creation):
    """A dataset as it is stored; `shape` has the axes of an array type, `unlimited` can grow."""

    file: FileFacts
    name: str
    shape: tuple[int, ...]
    offset: int | None
    stored_bytes: int
    chunks: ChunkTable | None
    unlimited: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The dataset's own number of axes."""
        return len(self.shape) - len(self.inner)

    @property
    def path(self) -> str:
        """The absolute path of its file."""
        return self.file.path

    @property
    def identity(self) -> FileIdentity:
        """The file in the state in which the layout was read."""
        return self.file.identity

    @property
    def row_bytes(self) -> int:
        """The bytes of one row, decoded."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """The bytes of one chunk, decoded; chunks at the edge are stored at full size."""
        return math.prod(self.chunk_shape or ()) * self.dtype.itemsize

    def turned(self, axes: tuple[int, ...]) -> "Layout":
        """Give the layout of a dataset in chunks with its axes, all of them, in this order."""
        shape, chunk, table = self.shape, self.chunk_shape or self.shape, self.chunks
        return replace(
            self,
            shape=tuple(shape[axis] for axis in axes),
            chunk_shape=tuple(chunk[axis] for axis in axes),
            chunks=None if table is None else table.turned(axes),
        )


def read_layout(dataset: h5py.h5d.DatasetID, file: FileFacts, creation: Creation) -> Layout:
    """Read the layout of an open dataset that was made so, in the file of these facts.

    Raises `FormatError` where the list of its chunks cannot be read.
    """
    space = dataset.get_space()
    name = h5py.h5i.get_name(dataset).decode("utf8", "surrogateescape")
    shape, longest = space.get_simple_extent_dims(), space.get_simple_extent_dims(True)
    whole, chunk_shape = shape + creation.inner, creation.chunk_shape
    # Without filters an index can claim any number of chunks at no cost to the file; with
    # filters HDF5 would go through the whole index to sum up the sizes.
    indexed = chunk_shape is not None and LISTS_CHUNKS and creation.filters
    claimed = 0 if indexed else dataset.get_storage_size()
    chunks = None
    if chunk_shape is not None and LISTS_CHUNKS:
        listed = _listed(dataset, file.path, name, claimed <= file.identity.size)
        chunks = ChunkTable.of(shape=whole, chunk_shape=chunk_shape, **listed)
    return Layout(
        **vars(creation),
        file=file,
        name=name,
        shape=whole,
        offset=None if chunk_shape is not None else dataset.get_offset(),
        stored_bytes=claimed or (0 if chunks is None else chunks.stored_bytes),
        chunks=chunks,
        unlimited=tuple(axis for axis, n in enumerate(longest) if n == h5py.h5s.UNLIMITED),
    )


def read_layout_named(file: h5py.File, name: str) -> Layout:
    """Read the layout of one dataset of an open file; raises as `read_layout`."""
    dataset = h5py.h5d.open(file.id, encoded(name))
    return read_layout(dataset, FileFacts.of(file), Creations().of(dataset))


def _listed(
    dataset: h5py.h5d.DatasetID, path: str, name: str, credible: bool
) -> dict[str, "array[int]"]:
    """List the chunks, for `ChunkTable.of`; none where that is not `credible`."""
    coordinates, masks, offsets, sizes = array("q"), array("q"), array("q"), array("q")

    def take(info: Any) -> None:
        start, mask, offset, size = info
        coordinates.extend(start)
        masks.append(mask)
        offsets.append(offset)
        sizes.append(size)

    if credible:
        try:
            dataset.chunk_iter(take)
        except (OverflowError, RuntimeError, ValueError, OSError) as error:
            raise FormatError(
                f"{path}::{name}: the list of its chunks cannot be read: {error}; the file is "
                f"damaged"
            ) from error
    return {"coordinates": coordinates, "masks": masks, "offsets": offsets, "sizes": sizes}
