"""One file among many, read into memory that is given: opened, read, checked and closed.

Idea: a file that has its array in one place is read by one open, one `preadv`, one `fstat` and one
close; there is no map, and no descriptor is kept. Invariant: after its bytes were read, a file is
seen to be the one that was looked at, or `ChangedFileError` names it. A file that was not looked at
yet is looked at when it is first read, and must then be like the first. Members that lie in no one
place of their file are read by their own source.
"""

import os
import stat
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.errors import FormatError
from npdata.sources.file import fill
from npdata.sources.many_files.file_table import (
    UNKNOWN,
    FileTable,
    Kind,
    RawFormat,
    gone,
    look,
    not_regular,
    of_npy,
    opened,
)
from npdata.sources.many_files.file_threads import THREADS, in_parts, spread

FEW_BYTES = 1 << 18
"""Files of fewer bytes together are read by one thread: waking another takes longer."""


class FileReader:
    """Reads the arrays of the files in `table`.

    Examples:
        >>> from npdata.sources.many_files.file_list import FileList
        >>> out = np.empty((5, 2, 3), np.float32)
        >>> FileReader(FileTable.of(FileList.of(["x.npy"]))).read([0], [out])
    """

    def __init__(self, table: FileTable, raw: RawFormat | None = None) -> None:
        """Take the files; none is opened."""
        self.table = table
        self.raw = raw
        self._first = table.kinds[table.kind[0]].dtype, table.shape(0)
        self._known: dict[bytes, Any] = {}

    def read(self, numbers: Sequence[int], outs: Sequence[NDArray[Any]]) -> None:
        """Read file `numbers[k]` into all of `outs[k]`, C-contiguous and of the array's shape.

        Several threads do it where it is worth one.
        """
        nbytes = sum(out.nbytes for out in outs)

        def part(run: range) -> None:
            for k in run:
                if outs[k].size:
                    self._read(numbers[k], outs[k])

        spread(part, in_parts(len(numbers), min(THREADS, 1 + nbytes // FEW_BYTES), 1))

    def _read(self, number: int, out: NDArray[Any]) -> None:
        table = self.table
        if table.size[number] == UNKNOWN and self._needs_own_source(number):
            self._learn(number, look(table.files, number, self.raw, self._known))
        if table.offset[number] < 0:
            self._read_own(number, out)
            return
        target = memoryview(out.reshape(-1).view(np.uint8).data)
        path = table.files.path(number)
        try:
            descriptor = opened(path)
        except FileNotFoundError:
            if table.size[number] == UNKNOWN:
                raise
            raise gone(path) from None
        try:
            if table.size[number] == UNKNOWN:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise not_regular(path, status)
                self._learn(number, of_npy(descriptor, status, path, self._known))
            kind: Kind = table.kinds[table.kind[number]]
            if kind.fortran:
                data = np.empty(len(target), np.uint8)
                whole = fill(descriptor, int(table.offset[number]), data.data)
                columns = data.view(out.dtype).reshape(out.shape, order="F")
                out[...] = columns
            else:
                whole = fill(descriptor, int(table.offset[number]), target)
            table.require(number, os.fstat(descriptor))
            if not whole:
                raise gone(path)
        finally:
            os.close(descriptor)

    def _needs_own_source(self, number: int) -> bool:
        return self.raw is not None or self.table.files.member(number) is not None

    def _read_own(self, number: int, out: NDArray[Any]) -> None:
        table = self.table
        try:
            table.require(number, os.stat(table.files.path(number)))  # noqa: PTH116
        except FileNotFoundError:
            raise gone(table.files.path(number)) from None
        source = table.source(number, self.raw)
        try:
            if (source.shape, source.dtype) != (out.shape, out.dtype):
                raise gone(table.files.path(number))
            source.read_run(0, out)
        finally:
            source.close()

    def _learn(self, number: int, facts: Any) -> None:
        """Take note of a file that is read for the first time, which must be like the first."""
        table = self.table
        kind, shape = facts.kind, facts.kind.shape(facts.length)
        if (kind.dtype, shape) != self._first:
            raise FormatError(
                f"{table.files[number]} holds {shape} of {kind.dtype}, and {table.files[0]} "
                f"{self._first[1]} of {self._first[0]}; with check='open' shapes may differ"
            )
        if kind.packing != table.kinds[0].packing:
            raise FormatError(
                f"{table.files[number]} is packed in another way than {table.files[0]} (scale, "
                f"missing values or times); files of both are read with check='open'"
            )
        if kind != table.kinds[0]:
            raise FormatError(
                f"{table.files[number]} is in Fortran order and {table.files[0]} is not, or the "
                f"other way round; files of both are read with check='open'"
            )
        table.inode[number], table.mtime_ns[number] = facts.inode, facts.mtime_ns
        table.offset[number], table.size[number] = facts.offset, facts.size

    def advise(self, first: int, stop: int, name: str) -> None:
        """Give the kernel this advice (a name of `os`) on files from `first` to `stop`."""
        if not hasattr(os, name):
            return
        for number in range(first, stop):
            try:
                descriptor = opened(self.table.files.path(number))
            except OSError:
                continue  # reading reports what is wrong with it
            try:
                os.posix_fadvise(descriptor, 0, 0, getattr(os, name))
            finally:
                os.close(descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the names and what is known of the files, never their content."""
        return type(self), (self.table, self.raw)
