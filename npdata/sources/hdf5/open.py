"""Finding a dataset: path and name, or an open `h5py.Dataset`, to a source.

Idea: what cannot be sent to another process (a handle) is turned into what can (path and name),
once, at construction, and everything that would fail later fails here with the names of what is
there. A file is opened once for all its datasets. Invariant: no handle of the user is kept, used
for reading, or closed. Reading is left to the sources.
"""

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.errors import DirectAccessError, FieldError, FormatError, UnsupportedSourceError
from npdata.sources.base import Access, Details, Source
from npdata.sources.hdf5.anndata.encoding import text_of
from npdata.sources.hdf5.examine.chunk_order import ChunkOrder
from npdata.sources.hdf5.examine.decide import LARGEST_CHUNK
from npdata.sources.hdf5.examine.details import details_across, details_as_one, details_of
from npdata.sources.hdf5.examine.examine import Examined, OpenedFile, examine
from npdata.sources.hdf5.examine.layout import Layout
from npdata.sources.hdf5.examine.links import has_own_data, require_inside
from npdata.sources.hdf5.examine.table_keeper import TableKeeper
from npdata.sources.hdf5.file import AUTO, Hdf5Options, Locking, absolute_path, holders, opened_anew
from npdata.sources.hdf5.rows.chunk_order_rows import ChunkOrderSource
from npdata.sources.hdf5.rows.chunked import ChunkedSource, ChunkSpec
from npdata.sources.hdf5.rows.decoded import DecodedSource, FileChunks
from npdata.sources.hdf5.rows.h5py_rows import H5pySource
from npdata.sources.hdf5.rows.mapped import ChunkMappedSource
from npdata.sources.hdf5.rows.variable_length import as_numbers
from npdata.sources.labels import LabelSource, shown_categories
from npdata.sources.mapped import MappedSource, Place


def is_open_dataset(value: object) -> TypeGuard[h5py.Dataset]:
    """Tell whether `value` is an `h5py.Dataset`."""
    return isinstance(value, h5py.Dataset)


def is_open_group(value: object) -> TypeGuard[h5py.Group]:
    """Tell whether `value` is an `h5py.Group` or an `h5py.File`."""
    return isinstance(value, h5py.Group)


def open_dataset(dataset: h5py.Dataset) -> Source:
    """Open an `h5py.Dataset` by the path and name of it, after a flush of its file.

    Raises `UnsupportedSourceError` where no other process could find it (a closed dataset, one
    without a name, one of an in-memory file), else as `open_hdf5`.
    """
    path, options, opened = file_of(dataset)
    if opened is None or opened.file.mode != "r":
        return open_hdf5(path, os.fsdecode(dataset.name), options)
    return source_of(examine(opened, os.fsdecode(dataset.name)), options)


def file_of(item: h5py.Dataset | h5py.Group) -> tuple[str, Hdf5Options, OpenedFile | None]:
    """Give the path of an open object, how to open that again, and its file, if npdata can look.

    Raises `UnsupportedSourceError` where no other process could find it.
    """
    kind = f"h5py.{type(item).__name__}"
    if not item:
        raise UnsupportedSourceError(f"the {kind} is closed; give an open one, or its path")
    file = item.file
    if file.driver not in ("sec2", "stdio"):
        raise UnsupportedSourceError(
            f"the {kind} {item.name!r} is in a file of driver {file.driver!r}, which no other "
            f"process can open; pass dataset[:] or write the file to disk"
        )
    if item.name is None:
        raise UnsupportedSourceError(f"the {kind} has no name to find it by; link it first")
    if file.mode != "r":
        file.flush()
    path, options = os.fsdecode(file.filename), Hdf5Options(locking=_locking(file))
    if file.driver != "sec2":
        return path, options, None
    opened = OpenedFile(file, absolute_path(path), options)
    has, identity = opened.facts.identity_in_hdf5, opened.facts.identity
    if has is not None and (has.device, has.inode) != (identity.device, identity.inode):
        raise UnsupportedSourceError(
            f"{path} leads to another file than the one that the {kind} is in: that was "
            f"replaced, or the current folder is another; open it again"
        )
    return path, options, opened


def _locking(file: h5py.File) -> Locking:
    """Give the way a file was locked: HDF5 opens it a second time only in the same way."""
    used, ignored = file.id.get_access_plist().get_file_locking()
    if not used:
        return False
    return "best-effort" if ignored else True


def open_hdf5(path: str, name: str, options: Hdf5Options = AUTO) -> Source:
    """Open the dataset `name` of the HDF5 file `path` as a source of rows.

    Raises `MemberNotFoundError` (a KeyError), which lists the datasets that are there,
    `FormatError` where the file or the dataset cannot be opened, `SourceError` for a group or
    for a dataset without rows, `FileLockError`, `ExternalDataError`, and with `access="direct"`
    `DirectAccessError` where only h5py can read it.
    """
    return open_datasets(path, [name], options)[0]


def open_datasets(path: str, names: Sequence[str], options: Hdf5Options = AUTO) -> list[Source]:
    """Open several datasets of one file, which is opened once; raises as `open_hdf5`."""
    path = absolute_path(path)
    for holder in holders if options.allow_external else ():
        # HDF5 opens a file once for all who open it: a virtual dataset that is opened now would
        # show rows of sources that were replaced since.
        if holder.external:
            holder.close_idle()
    with opened_anew(path, options.locking) as file:
        opened = OpenedFile(file, path, options)
        return [source_of(each, options) for each in [examine(opened, name) for name in names]]


def scalar(path: str, name: str) -> object:
    """Read the one value of a dataset without axes; None where it is no such dataset.

    Raises as `open_hdf5`; a value that lies in another file is none.
    """
    with opened_anew(path, None) as file:
        require_inside(file, name)
        found = file.get(name)
        one = isinstance(found, h5py.Dataset) and has_own_data(found) and found.shape == ()
        return found[()] if one else None


def source_of(examined: Examined, options: Hdf5Options = AUTO) -> Source:
    """Make the source that was decided for.

    Raises `DirectAccessError` where only h5py can read it, and that was ruled out, `FormatError`
    where nothing can.
    """
    where, access = examined.where, examined.access
    if access.kind == "library" and options.access == "direct":
        raise DirectAccessError(
            f'{where} cannot be read with access="direct": {access.reason}; with access="auto" '
            f"h5py reads it"
        )
    if examined.missing:
        raise FormatError(f"{where} cannot be read: {examined.without_filters}")
    details = details_of(examined)
    if access.kind == "library":
        source = as_numbers(_library(examined, details, options))
    else:
        source = _direct(examined, details, options.locking)
    if examined.categories is not None:
        return open_labels(source, examined.layout.path, examined.categories, where, options)
    source.tell(packing=examined.packing, matlab=examined.matlab)
    source.across = functools.partial(_across, examined, details, options)
    return source


def open_labels(
    codes: Source, path: str, names: str, where: str, options: Hdf5Options
) -> LabelSource:
    """Read codes of what the dataset `names` has, text or numbers; -1 is a missing value.

    Raises `FormatError` for a code that stands for nothing.
    """
    stored = whole(open_hdf5(path, names, options))
    known = stored.tolist() if stored.dtype.kind in "biuf" else map(text_of, stored)
    categories, read = tuple(known), whole(codes)
    wrong = np.flatnonzero((read < -1) | (read >= len(categories)))
    if wrong.size:
        raise FormatError(
            f"row {wrong[0]} of {where} has the code {read[wrong[0]]}, and it has "
            f"{len(categories)} categories: the file is damaged"
        )
    reason = "codes of a categorical column, read at opening"
    return LabelSource(read, categories, where, reason, shown_categories(categories))


def whole(source: Source) -> NDArray[Any]:
    """Read all rows of a source, and close it."""
    read = np.empty(source.shape, source.dtype)
    source.read_run(0, read)
    source.close()
    return read


def _across(
    examined: Examined, details: Details, options: Hdf5Options, axes: tuple[int, ...]
) -> Source:
    """Give the rows along other axes, of chunks whose axes are put into their order, or by h5py."""
    layout = examined.layout
    if max(axes) >= layout.rank:
        raise FieldError(
            f"axis={axes[0] if len(axes) == 1 else axes}: {examined.where} has {layout.rank} axes, "
            f"and further ones inside its type; give 0 to {layout.rank - 1}"
        )
    rest = (axis for axis in range(len(layout.shape)) if axis not in axes)
    turned = (*axes, *rest)
    if examined.access.kind == "library" or layout.chunk_bytes > LARGEST_CHUNK:
        return _library(examined, details_across(layout, details, axes), options, axes)
    if turned == tuple(range(len(turned))):
        return _as_one(examined, options.locking, axes)
    reason = f"{examined.access.reason}; the axes of each are put into the order of the rows"
    access = Access(kind="decoded", reason=reason)
    examined = replace(examined, access=access, layout=layout.turned(turned))
    return _as_one(examined, options.locking, axes, turned)


def _as_one(
    examined: Examined,
    locking: Locking,
    axes: tuple[int, ...],
    turned: tuple[int, ...] | None = None,
) -> Source:
    """Give the rows along `axes` of a dataset in chunks: its first, or `turned` to be so."""
    layout, count = examined.layout, len(axes)
    chunk = layout.chunk_shape or layout.shape
    order = ChunkOrder(lengths=layout.shape[:count], chunk=chunk[:count])
    rows = order.count if order.straight else math.prod(order.grid) * order.chunk_rows
    merged = replace(
        layout,
        shape=(rows, *layout.shape[count:]),
        chunk_shape=(order.chunk_rows, *chunk[count:]),
    )
    details = details_as_one(examined, merged, order, axes, turned)
    keeper = TableKeeper(layout, locking, turned)
    source = _in_chunks(examined, keeper, merged, details)
    return source if order.straight else ChunkOrderSource(source, order)


def _library(
    examined: Examined, details: Details, options: Hdf5Options, axes: tuple[int, ...] = (0,)
) -> H5pySource:
    layout = replace(examined.layout, chunks=None)
    why = examined.access.reason
    if examined.access.kind != "library":
        why = f"a chunk of {layout.chunk_bytes} bytes is too large to keep decoded"
    reason = f"h5py reads it, in sorted runs of rows: {why}"
    return H5pySource(layout, options, reason, details, examined.external, axes)


def _direct(examined: Examined, details: Details, locking: Locking) -> Source:
    layout, access, where = examined.layout, examined.access, examined.where
    if layout.storage == "contiguous":
        place = Place.contiguous(offset=layout.offset or 0, dtype=layout.dtype, shape=layout.shape)
        return MappedSource(examined.file.again(), place, access.reason, where, details)
    return _in_chunks(examined, TableKeeper(layout, locking), layout, details)


def _in_chunks(
    examined: Examined, keeper: TableKeeper, layout: Layout, details: Details
) -> ChunkedSource:
    """Read the chunks of a dataset, of which `layout` says what rows they have."""
    access, file = examined.access, examined.file.again()
    spec = ChunkSpec.of(layout, where=examined.where, access=access, details=details)
    if access.kind == "mapped":
        return ChunkMappedSource(file, keeper, spec)
    return DecodedSource(FileChunks(opened=file, keeper=keeper, spec=spec), spec)
