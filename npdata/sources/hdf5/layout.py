"""Everything that HDF5 knows of a dataset, read once, as a frozen value.

Idea: h5py is asked here and nowhere else; what follows (the gate, the readers) works on this
value, in any thread. Invariant: a layout is that of the file in the state of `identity`. It is
never pickled: a process that is handed a source by pickle reads the layout again, from that same
file. This module decides nothing and reads no rows.
"""

import os
from array import array
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from npdata.arrays.dtypes import DType
from npdata.arrays.per_process import PerProcess
from npdata.errors import ChangedFileError, FileLockError, FormatError
from npdata.sources.file import FileIdentity
from npdata.sources.hdf5.chunk_table import ChunkTable

Locking = bool | str | None

STORAGE = {
    h5py.h5d.COMPACT: "compact",
    h5py.h5d.CONTIGUOUS: "contiguous",
    h5py.h5d.CHUNKED: "chunked",
    h5py.h5d.VIRTUAL: "virtual",
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One step of the pipeline that every chunk goes through when it is written."""

    id: int
    flags: int
    values: tuple[int, ...]
    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """A dataset as it is stored.

    `shape`, `chunk_shape` and `dtype` have the axes of an array type drawn into the shape; `rank`
    is the dataset's own number of axes. `storage` is "contiguous", "chunked", "compact",
    "virtual" or "external". `fill` is one element as stored, None where it cannot be told;
    `unlimited` the axes that can grow; `exact` whether NumPy's dtype is the stored type, bit by
    bit; `holder` the identity of the file that HDF5 itself holds open, where it can tell.
    """

    path: str
    name: str
    identity: FileIdentity
    holder: FileIdentity | None
    shape: tuple[int, ...]
    rank: int
    dtype: DType
    exact: bool
    storage: str
    offset: int | None
    stored_bytes: int
    chunk_shape: tuple[int, ...] | None
    chunks: ChunkTable | None
    filters: tuple[Filter, ...]
    fill: bytes | None
    fill_is_written: bool
    unlimited: tuple[int, ...]
    user_block: int
    driver: str
    mode: str
    swmr: bool
    hdf5_version: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """The bytes of one row, decoded."""
        return _bytes(self.shape[1:], self.dtype)

    @property
    def chunk_bytes(self) -> int:
        """The bytes of one chunk, decoded; chunks at the edge are stored at full size."""
        return _bytes(self.chunk_shape or (), self.dtype)


def read_layout(dataset: h5py.Dataset) -> Layout:
    """Read the layout of an open dataset, whose `.dtype` NumPy knows.

    Raises `FormatError` where the list of its chunks cannot be read.
    """
    file = dataset.file
    properties = dataset.id.get_create_plist()
    dtype = plain_dtype(dataset.dtype)
    base, inner = dtype.subdtype if dtype.subdtype is not None else (dtype, ())
    shape = tuple(int(n) for n in dataset.shape)
    storage = STORAGE.get(properties.get_layout(), "unknown")
    if properties.get_external_count() > 0:
        storage = "external"
    maxshape = dataset.maxshape or shape
    chunk_shape = tuple(properties.get_chunk()) if storage == "chunked" else None
    written = properties.get_fill_time() != h5py.h5d.FILL_TIME_NEVER
    exact = _exact(dataset)
    identity = FileIdentity.of(file.filename)
    filters = tuple(_filters(properties))
    # Without filters an index can claim any number of chunks at no cost to the file; with
    # filters HDF5 would go through the whole index to sum up the sizes.
    claimed = 0 if chunk_shape is not None and filters else dataset.id.get_storage_size()
    chunks = None
    if chunk_shape is not None:
        chunks = _chunks(dataset, chunk_shape, inner, claimed, identity.size)
    return Layout(
        path=file.filename,
        name=str(dataset.name),
        identity=identity,
        holder=_holder(file),
        shape=shape + inner,
        rank=len(shape),
        dtype=base,
        exact=exact,
        storage=storage,
        offset=dataset.id.get_offset(),
        stored_bytes=claimed or (0 if chunks is None else int(chunks.sizes.sum())),
        chunk_shape=None if chunk_shape is None else chunk_shape + inner,
        chunks=chunks,
        filters=filters,
        fill=_fill(dataset, properties, base, written) if exact else None,
        fill_is_written=written,
        unlimited=tuple(axis for axis, n in enumerate(maxshape) if n is None),
        user_block=file.userblock_size,
        driver=file.driver,
        mode=file.mode,
        swmr=bool(file.swmr_mode),
        hdf5_version=h5py.version.hdf5_version_tuple,
    )


class LayoutKeeper:
    """A layout that another process reads again by itself, from the same file."""

    def __init__(self, layout: Layout, locking: Locking) -> None:
        """Keep `layout`; a process that gets this by pickle opens the file with `locking`."""
        self.path = layout.path
        self.name = layout.name
        self.identity = layout.identity
        self.locking = locking
        self._layout: Layout | None = layout
        self._reader = PerProcess(self._read)

    def get(self) -> Layout:
        """Give the layout; raises `ChangedFileError` where the file is another by now."""
        layout = self._layout
        if layout is None:
            layout = self._layout = self._reader.get()
        return layout

    @property
    def table(self) -> ChunkTable:
        """The chunk table of a chunked dataset; raises as `get` does."""
        table = self.get().chunks
        if table is None:
            raise ChangedFileError(f"{self.path}::{self.name} is no longer chunked; open it again")
        return table

    def _read(self) -> Layout:
        self.identity.require(FileIdentity.of(self.path), self.path)
        with open_file(self.path, self.locking) as file:
            layout = read_layout(file[self.name])
        if layout.identity != self.identity:
            raise ChangedFileError(f"{self.path} changed while it was opened; open it again")
        return layout

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only this process has."""
        return {k: getattr(self, k) for k in ("path", "name", "identity", "locking")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the address alone."""
        self.__dict__.update(state)
        self._layout = None
        self._reader = PerProcess(self._read)


def open_file(path: str, locking: Locking, cache_bytes: int | None = None) -> h5py.File:
    """Open an HDF5 file for reading.

    HDF5 keeps `cache_bytes` of decoded chunks of each dataset; None is its default. Raises
    `FileLockError` where the system or a writer refuses the lock, `FormatError` where the file is
    damaged or none of HDF5.
    """
    try:
        return h5py.File(path, "r", locking=locking, rdcc_nbytes=cache_bytes)
    except OSError as error:
        if "unable to lock file" in str(error):
            raise FileLockError(
                f"{path} cannot be locked for reading (locking={locking!r}): {error}; close the "
                f"program that writes to it. On a network file system that has no locks (NFS, "
                f"Lustre) pass locking=False to from_hdf5"
            ) from error
        raise FormatError(f"{path} cannot be opened as HDF5: {error}") from error


def plain_dtype(dtype: DType) -> DType:
    """Drop h5py's remarks from a dtype that NumPy knows fully without them."""
    if dtype.kind in "OV" or dtype.names is not None:
        return dtype
    return np.dtype(dtype.str)


def _bytes(shape: tuple[int, ...], dtype: DType) -> int:
    total = dtype.itemsize
    for length in shape:
        total *= length
    return total


def _exact(dataset: h5py.Dataset) -> bool:
    if dataset.dtype.hasobject:
        return False
    try:
        return bool(h5py.h5t.py_create(dataset.dtype, logical=True) == dataset.id.get_type())
    except (TypeError, ValueError):
        return False


def _holder(file: h5py.File) -> FileIdentity | None:
    if file.driver != "sec2":
        return None
    return FileIdentity.of_status(os.fstat(file.id.get_vfd_handle()))


def _filters(properties: Any) -> list[Filter]:
    found = []
    for position in range(properties.get_nfilters()):
        code, flags, values, name = properties.get_filter(position)
        found.append(
            Filter(id=code, flags=flags, values=tuple(values), name=name.decode("utf8", "replace"))
        )
    return found


def _fill(dataset: h5py.Dataset, properties: Any, base: DType, written: bool) -> bytes | None:
    # h5py hands out zeros where HDF5 would leave the buffer as it is.
    if not written or properties.fill_value_defined() != h5py.h5d.FILL_VALUE_USER_DEFINED:
        return bytes(base.itemsize)
    if dataset.dtype.subdtype is not None:
        return None
    try:
        return np.array(dataset.fillvalue, dtype=base).tobytes()
    except (TypeError, ValueError, RuntimeError):
        return None


def _chunks(
    dataset: h5py.Dataset,
    chunk_shape: tuple[int, ...],
    inner: tuple[int, ...],
    claimed: int,
    file_size: int,
) -> ChunkTable:
    rank = len(chunk_shape)
    coordinates, rest = array("q"), array("q")
    extend_coordinates, extend_rest = coordinates.extend, rest.extend

    def take(info: Any) -> None:
        extend_coordinates(info[0])
        extend_rest(info[1:])

    if claimed <= file_size:
        try:
            dataset.id.chunk_iter(take)
        except (OverflowError, RuntimeError, OSError) as error:
            raise FormatError(
                f"{dataset.file.filename}::{dataset.name}: the list of its chunks cannot be read: "
                f"{error}; the file is damaged"
            ) from error
    numbers = np.frombuffer(coordinates, np.int64).reshape(-1, rank)
    each = np.frombuffer(rest, np.int64).reshape(-1, 3)
    return ChunkTable.of(
        shape=tuple(dataset.shape) + inner,
        chunk_shape=chunk_shape + inner,
        coordinates=np.hstack([numbers, np.zeros((len(numbers), len(inner)), np.int64)]),
        offsets=each[:, 1].copy(),
        sizes=each[:, 2].copy(),
        masks=each[:, 0],
    )
