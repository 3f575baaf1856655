"""Rows read through h5py: right for every layout and filter that HDF5 itself can read.

Idea: a plan of sorted runs, each read into its place in the output. Invariant: a handle belongs
to the process that opened it; one inherited through a fork is set aside, neither used nor closed,
because closing it here would release the parent's lock. All files that hold rows are identified at
construction and must be the same in every process. No handle outlives a read where this process
may write to the file. One read at a time: h5py's own lock allows no more.
"""

import functools
import math
import weakref
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.arrays.axes import boxes, shape_along
from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import Ints
from npdata.arrays.runs import merged
from npdata.errors import ChangedFileError, ClosedError, FormatError
from npdata.runtime.per_process import ForkSafeLock, PerProcess
from npdata.sources.base import Access, Details, Source
from npdata.sources.cache.cache import Keep
from npdata.sources.file import FileIdentity
from npdata.sources.hdf5.examine.chunk_order import ChunkOrder
from npdata.sources.hdf5.examine.external_files import ExternalFile, external_files
from npdata.sources.hdf5.examine.layout import Layout
from npdata.sources.hdf5.examine.links import encoded
from npdata.sources.hdf5.file import Hdf5Options, holders, open_file
from npdata.sources.hdf5.plugins import filters_missing
from npdata.sources.hdf5.rows.h5py_blocks import in_blocks


class H5pySource(Source):
    """The rows of an HDF5 dataset, read through h5py."""

    def __init__(
        self,
        layout: Layout,
        options: Hdf5Options,
        reason: str,
        details: Details,
        external: tuple[ExternalFile, ...] = (),
        axes: tuple[int, ...] = (0,),
    ) -> None:
        """Take the rows along `axes` of a dataset, as one; opens nothing before the first read.

        `layout` is without chunks, and the files `external` beside its own hold rows, too.
        """
        self.shape = shape_along(layout.shape, axes)
        self.dtype = layout.dtype
        self.where = f"{layout.path}::{layout.name}"
        self.access = Access(kind="library", reason=reason)
        self.details = details
        self._layout = layout
        self._options = options
        self.identity = layout.identity
        self.external = external
        self._axes = axes
        self._lengths = tuple(layout.shape[axis] for axis in axes)
        # A file that this process may write to is open during a read only.
        self._holds_file = layout.file.mode == "r"
        self._cache_bytes: int | None = None
        # A method of its own would keep it, and its file, until garbage is collected.
        opens = functools.partial(_opened_for, weakref.ref(self))
        self._handle = PerProcess(opens, keep_inherited=True)
        self._reading = ForkSafeLock()
        self._closed = False

    @property
    def blocks(self) -> Blocks:
        """The rows of its chunks, or about 1 MiB of rows where it has none."""
        chunk = self._layout.chunk_shape
        if chunk is None:
            return super().blocks
        order = ChunkOrder(lengths=self._lengths, chunk=tuple(chunk[axis] for axis in self._axes))
        return order.blocks(None)

    def cached(self, keep: Keep) -> Source:
        """Give the same rows, of which each block is read once and kept.

        Objects, files that this process may write to, and missing ones have no rows to be kept.
        """
        layout, external = self._layout, self.external
        files = [(layout.path, self.identity)]
        files += [(f.path, f.identity) for f in external if f.identity is not None]
        nothing = self.dtype.hasobject or not len(self) or not self.row_bytes
        if nothing or not self._holds_file or len(files) <= len(external):
            return self
        place = {"dataset": layout.name, "axis": self._axes}
        made = in_blocks(H5pySource(*self._arguments), files, place).cached(keep)
        made.tell_of(self)
        return made

    def keep_decoded(self, nbytes: int) -> None:
        """Let HDF5 keep so many bytes of decoded chunks here, instead of its default.

        It decodes a chunk that is larger than that anew for every read that touches it.
        """
        self._cache_bytes = nbytes
        self.close_idle()

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Read sorted runs of rows, and put them in the order that was asked for."""
        if out.size == 0:
            return
        starts, stops, inverse = plan_runs(indices)
        if inverse is None:
            self._read(starts, stops, out)
            return
        rows = np.empty((int((stops - starts).sum()), *self.shape[1:]), self.dtype)
        self._read(starts, stops, rows)
        np.take(rows, inverse, axis=0, out=out, mode="clip")

    def runs(self, starts: Ints, stops: Ints) -> list[NDArray[Any]]:
        """Give runs of rows, all from one read; what several share is read once."""
        firsts, ends = merged(starts, stops)
        places = np.cumsum(ends - firsts) - (ends - firsts)
        rows = np.empty((int((ends - firsts).sum()), *self.shape[1:]), self.dtype)
        if not len(firsts):
            return [rows] * len(starts)
        self._read(firsts, ends, rows)
        within = np.searchsorted(firsts, starts, side="right") - 1
        begins = places[within] + starts - firsts[within]
        sizes = stops - starts
        return [rows[a : a + n] for a, n in zip(begins.tolist(), sizes.tolist(), strict=True)]

    def _read(self, starts: Ints, stops: Ints, out: NDArray[Any]) -> None:
        """Read runs of rows, one after the other, of files that have not changed by the end."""
        self.check()
        layout = self._layout
        if layout.offset is None or not layout.stored_bytes:
            # HDF5 may leave rows never written as the buffer is.
            out[...] = np.zeros((), self.dtype)
        if self._handle.made() is None:
            holders.make_room()  # before it is locked: others may be reading, and open files too
        with self._reading.get():
            try:
                self._read_runs(starts, stops, out)
            except OSError as error:
                self.check()
                if error.filename is not None:  # the system refused to open it
                    raise
                raise FormatError(
                    f"{self.where} cannot be read: {error} ({self.access.reason})"
                ) from error
            finally:
                if not self._holds_file:
                    self.close_idle()
        # HDF5 gives zeros, and no error, past the end of a file that is cut while it reads.
        self.check()

    def _read_runs(self, starts: Ints, stops: Ints, out: NDArray[Any]) -> None:
        dataset = self._handle.get()[1]
        ends = np.cumsum(stops - starts)
        runs = list(zip(starts.tolist(), stops.tolist(), ends.tolist(), strict=True))
        if self._axes != (0,) or self.dtype.hasobject:
            for start, stop, end in runs:
                self._read_boxes(dataset, start, stop, out[end - (stop - start) : end])
            return
        # The calls below h5py's slicing: that costs 100 us a run, this 20.
        space = dataset.id.get_space()
        memory_type = h5py.h5t.py_create(dataset.dtype)
        rest = self.shape[1 : self._layout.rank]
        origin = (0,) * len(rest)
        for start, stop, end in runs:
            count = (stop - start, *rest)
            space.select_hyperslab((start, *origin), count)
            place = out[end - (stop - start) : end]
            dataset.id.read(h5py.h5s.create_simple(count), space, place, memory_type)

    def _read_boxes(self, dataset: h5py.Dataset, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read a run of rows by h5py's slicing, box by box."""
        first = tuple(range(len(self._axes)))
        done = 0
        for box in boxes(start, stop, self._lengths):
            where = dict(zip(self._axes, box, strict=True))
            read = dataset[tuple(where.get(axis, slice(None)) for axis in range(dataset.ndim))]
            count = math.prod(each.stop - each.start for each in box)
            rows = np.moveaxis(read, self._axes, first).reshape(count, *self.shape[1:])
            out[done : done + count] = rows
            done += count

    def _open(self) -> tuple[h5py.File, h5py.Dataset]:
        if self._closed:
            raise ClosedError(f"{self.where} was closed; make a new dataset")
        self.check()
        file = open_file(self._layout.path, self._options.locking, self._cache_bytes)
        try:
            dataset = file[encoded(self._layout.name)]
            self._require_same(dataset)
        except BaseException:
            file.close()
            raise
        holders.add(self)
        return file, dataset

    def _require_same(self, dataset: h5py.Dataset) -> None:
        layout = self._layout
        if dataset.shape != layout.shape[: layout.rank]:
            raise ChangedFileError(
                f"{self.where} had shape {layout.shape} when it was opened and now has "
                f"{dataset.shape}; open it again"
            )
        properties = dataset.id.get_create_plist()
        filters_missing(properties.get_filter(k)[0] for k in range(properties.get_nfilters()))
        if not self.external:
            return
        now = external_files(dataset.id, self.where, self._options)
        for before, found in zip(self.external, now, strict=False):
            if before.path != found.path:
                raise ChangedFileError(
                    f"{self.where} had its rows in {before.path} when it was opened, and in this "
                    f"process in {found.path}: its folder or HDF5's environment is another"
                )
        if now != self.external:
            raise ChangedFileError(
                f"the files of {self.where} changed since it was opened; open it again"
            )

    def check(self) -> None:
        """Raise `ChangedFileError` if a file that holds rows changed since it was opened."""
        path = self._layout.path
        self.identity.require(FileIdentity.of(path), path)
        for file in self.external:
            file.check()

    def close_idle(self) -> None:
        """Close the handle of this process until the next read."""
        with self._reading.get():
            holders.discard(self)
            handle = self._handle.take()
            if handle is not None:
                handle[0].close()

    def close(self) -> None:
        """Close the handle of this process for good."""
        self._closed = True
        self.close_idle()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    @property
    def _arguments(self) -> tuple[Any, ...]:
        """What it was made of."""
        reason = self.access.reason
        return self._layout, self._options, reason, self.details, self.external, self._axes


def _opened_for(source: "weakref.ref[H5pySource]") -> tuple[h5py.File, h5py.Dataset]:
    opening = source()
    assert opening is not None  # it is what reads
    return opening._open()


class RunPlan(NamedTuple):
    """Runs `[starts[k], stops[k])` to be read one after the other; int64 arrays.

    `inverse[j]` is the place of the j-th row asked for among the rows read, or None where the
    rows read are the rows asked for, in order.
    """

    starts: Ints
    stops: Ints
    inverse: Ints | None


def plan_runs(indices: Ints) -> RunPlan:
    """Decide which runs to read for `indices` (int64, in any order, with duplicates).

    Examples:
        >>> plan = plan_runs(np.array([7, 3, 4, 7]))
        >>> plan.starts.tolist(), plan.stops.tolist(), plan.inverse.tolist()
        ([3, 7], [5, 8], [2, 0, 1, 2])
    """
    unique, inverse = indices, None
    if len(indices) > 1 and (np.diff(indices) <= 0).any():
        unique, inverse = np.unique(indices, return_inverse=True)
    apart = np.ones(len(unique) + 1, bool)
    np.not_equal(np.diff(unique), 1, out=apart[1:-1])
    return RunPlan(unique[apart[:-1]], unique[apart[1:]] + 1, inverse)
