"""Rows read through h5py: right for every layout and filter that HDF5 itself can read.

Idea: a plan of sorted runs, each read into its place in the output. Invariant: a handle belongs
to the process that opened it; one inherited through a fork is set aside, neither used nor closed,
because closing it here would release the parent's lock. The file is identified at construction
and must be the same one in every process. Reads are serialised by h5py's own lock.
"""

import functools
import os
import threading
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.blocks import Blocks
from npdata.dtypes import DType, is_variable_text
from npdata.errors import ChangedFileError, ClosedError, FormatError
from npdata.sources.base import Access, Source
from npdata.sources.filemap import FileIdentity
from npdata.sources.hdf5.plan import plan_runs


class LibrarySource(Source):
    """The rows of an HDF5 dataset, read through h5py."""

    def __init__(
        self,
        path: str,
        name: str,
        *,
        identity: FileIdentity,
        shape: tuple[int, ...],
        dtype: DType,
        chunk_rows: int | None,
        reason: str,
    ) -> None:
        """Name the dataset `name` of the file `path`; opens nothing before the first read."""
        self.shape = shape
        self.dtype = dtype
        self.where = f"{path}::{name}"
        self.access = Access(kind="library", reason=reason)
        self._path = path
        self._name = name
        self._identity = identity
        self._chunk_rows = chunk_rows
        self._handle: tuple[int, h5py.File, h5py.Dataset] | None = None
        self._inherited: list[object] = []
        self._closed = False
        self._lock = threading.Lock()

    @property
    def blocks(self) -> Blocks:
        """The rows of its chunks, or about 1 MiB of rows where it has none."""
        if self._chunk_rows is None:
            return super().blocks
        return Blocks.uniform(len(self), self._chunk_rows)

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read sorted runs of rows, and put them in the order that was asked for."""
        if out.size == 0:
            return
        plan = plan_runs(indices)
        try:
            if plan.inverse is None:
                self._read_runs(plan.starts, plan.stops, out)
                return
            rows = np.empty((plan.rows, *self.shape[1:]), self.dtype)
            self._read_runs(plan.starts, plan.stops, rows)
        except OSError as error:
            raise FormatError(f"{self.where} cannot be read: {error}") from error
        np.take(rows, plan.inverse, axis=0, out=out, mode="clip")

    def _read_runs(
        self, starts: NDArray[np.int64], stops: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        dataset = self._dataset()
        if is_variable_text(self.dtype):
            done = 0
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                out[done : done + stop - start] = dataset[start:stop]
                done += stop - start
            return
        # The calls below h5py's slicing: that costs 100 us a run, this 20.
        space = dataset.id.get_space()
        memory_type = h5py.h5t.py_create(self.dtype)
        rest = self.shape[1:]
        origin = (0,) * len(rest)
        done = 0
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            count = (stop - start, *rest)
            space.select_hyperslab((start, *origin), count)
            place = out[done : done + stop - start]
            dataset.id.read(h5py.h5s.create_simple(count), space, place, memory_type)
            done += stop - start

    def _dataset(self) -> h5py.Dataset:
        handle = self._handle
        if handle is not None and handle[0] == os.getpid():
            return handle[2]
        with self._lock:
            if self._closed:
                raise ClosedError(f"{self.where} was closed")
            if self._handle is not None and self._handle[0] == os.getpid():
                return self._handle[2]
            if self._handle is not None:
                self._inherited.append(self._handle)
            self._identity.require(FileIdentity.of(self._path), self._path)
            file = h5py.File(self._path, "r")
            self._handle = (os.getpid(), file, file[self._name])
            if self._handle[2].shape != self.shape:
                raise ChangedFileError(
                    f"{self.where} had shape {self.shape} when it was opened and now has "
                    f"{self._handle[2].shape}; open it again"
                )
            return self._handle[2]

    def close(self) -> None:
        """Close the handle of this process."""
        self._closed = True
        if self._handle is not None and self._handle[0] == os.getpid():
            self._handle[1].close()
            self._handle = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the name, never a handle or the content."""
        rebuild = functools.partial(
            type(self),
            self._path,
            self._name,
            identity=self._identity,
            shape=self.shape,
            dtype=self.dtype,
            chunk_rows=self._chunk_rows,
            reason=self.access.reason,
        )
        return rebuild, ()
