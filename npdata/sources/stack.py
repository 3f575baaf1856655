"""Many files of one shape each as the rows of one field: `np.stack` without reading them first.

Idea: a row is a file, read by one open, one `preadv` straight into its place in the batch, one
`fstat` and one close, by several threads; there is no map, and no descriptor is kept. Invariant:
after its bytes were read, each file is seen to be the one that was looked at, or `ChangedFileError`
names it. Files not looked at when the field was opened are looked at when they are first read, and
must then be like the first. Members that lie in no one place of a file are read by their source.
"""

import os
import stat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.errors import FieldError, FormatError
from npdata.sources.base import Access, Source
from npdata.sources.file_list import FileList
from npdata.sources.file_table import (
    UNKNOWN,
    FileTable,
    Kind,
    RawFormat,
    fill,
    gone,
    look,
    not_regular,
    of_npy,
    opened,
)
from npdata.sources.file_threads import THREADS, in_parts, spread

FEW_BYTES = 1 << 18
"""Files of fewer bytes together are read by one thread: waking another takes longer."""


class StackSource(Source):
    """The arrays in the files of `table`, all of one shape and dtype, as rows.

    Examples:
        >>> files = FileList.of(["x.npy", "x.npy"])
        >>> StackSource(FileTable.of(files)).shape
        (2, 5, 2, 3)
    """

    def __init__(self, table: FileTable, raw: RawFormat | None = None) -> None:
        """Take the files; raises `FieldError` where two differ in dtype or shape, by name."""
        require_one_dtype(table)
        kind, shape = table.kinds[table.kind[0]], table.shape(0)
        different = np.flatnonzero(table.length != table.length[0])
        if len(table.kinds) > 1 or len(different):
            other = next(k for k in range(len(table)) if table.shape(k) != shape)
            raise FieldError(
                f"{table.files[other]} has shape {table.shape(other)}, {table.files[0]} has {shape}"
            )
        self.shape = (len(table), *shape)
        self.dtype = kind.dtype
        self.paths: FileList = table.files
        self.where = shown(table.files)
        seen = bool((table.size >= 0).all())
        own = int((table.offset < 0).sum())
        how = (
            "each row is a file, read straight into its batch"
            if not own
            else (
                f"each row is an array of its own; {own} of them are decoded, or read through h5py"
            )
        )
        when = "" if seen else "; a file is looked at when it is first read"
        self.access = Access(kind="library" if own else "files", reason=how + when)
        self._table = table
        self._raw = raw
        self._known: dict[bytes, Any] = {}

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read the file of each row into its place, by several threads where it is worth one."""
        if out.size == 0:
            return
        rows = memoryview(out.reshape(-1).view(np.uint8).data)
        nbytes = len(rows) // len(indices)
        numbers = indices.tolist()

        def part(run: range) -> None:
            for k in run:
                self._read(numbers[k], rows[k * nbytes : (k + 1) * nbytes], out[k])

        least = max(1, FEW_BYTES // nbytes)
        spread(part, in_parts(len(numbers), THREADS, least))

    def _read(self, number: int, target: memoryview, out: NDArray[Any]) -> None:
        table = self._table
        if table.size[number] == UNKNOWN and self._needs_own_source(number):
            self._learn(number, look(table.files, number, self._raw, self._known))
        if table.offset[number] < 0:
            self._read_own(number, out)
            return
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
                columns = data.view(self.dtype).reshape(out.shape, order="F")
                out[...] = columns
            else:
                whole = fill(descriptor, int(table.offset[number]), target)
            table.require(number, os.fstat(descriptor))
            if not whole:
                raise gone(path)
        finally:
            os.close(descriptor)

    def _needs_own_source(self, number: int) -> bool:
        return self._raw is not None or self.paths.member(number) is not None

    def _read_own(self, number: int, out: NDArray[Any]) -> None:
        table = self._table
        try:
            table.require(number, os.stat(table.files.path(number)))  # noqa: PTH116
        except FileNotFoundError:
            raise gone(table.files.path(number)) from None
        source = table.source(number, self._raw)
        try:
            if (source.shape, source.dtype) != (self.shape[1:], self.dtype):
                raise gone(table.files.path(number))
            source.read_run(0, out)
        finally:
            source.close()

    def _learn(self, number: int, facts: Any) -> None:
        """Take note of a file that is read for the first time, which must be like the first."""
        table = self._table
        kind, shape = facts.kind, facts.kind.shape(facts.length)
        if (kind.dtype, shape) != (self.dtype, self.shape[1:]):
            raise FormatError(
                f"{table.files[number]} holds {shape} of {kind.dtype}, and {table.files[0]} "
                f"{self.shape[1:]} of {self.dtype}; with check='open' shapes may differ"
            )
        if kind != table.kinds[0]:
            raise FormatError(
                f"{table.files[number]} is in Fortran order and {table.files[0]} is not, or the "
                f"other way round; files of both are read with check='open'"
            )
        table.inode[number], table.mtime_ns[number] = facts.inode, facts.mtime_ns
        table.offset[number], table.size[number] = facts.offset, facts.size

    def will_need(self, first: int, stop: int) -> None:
        """Ask the kernel for these files."""
        if not hasattr(os, "posix_fadvise"):
            return
        for number in range(first, stop):
            self._advise(number, os.POSIX_FADV_WILLNEED)

    def dont_need(self, first: int, stop: int) -> None:
        """Tell the kernel that these files may leave memory."""
        if not hasattr(os, "posix_fadvise"):
            return
        for number in range(first, stop):
            self._advise(number, os.POSIX_FADV_DONTNEED)

    def _advise(self, number: int, advice: int) -> None:
        try:
            descriptor = opened(self._table.files.path(number))
        except OSError:
            return  # reading tells what is wrong with it
        try:
            os.posix_fadvise(descriptor, 0, 0, advice)
        finally:
            os.close(descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the names and what is known of the files, never their content."""
        return type(self), (self._table, self._raw)


def require_one_dtype(table: FileTable) -> None:
    """Raise `FieldError` where two files hold different dtypes, naming both."""
    dtypes = [kind.dtype for kind in table.kinds]
    other = next((k for k, dtype in enumerate(dtypes) if dtype != dtypes[0]), None)
    if other is not None:
        number = int(np.flatnonzero(table.kind == other)[0])
        raise FieldError(
            f"{table.files[number]} holds {dtypes[other]}, and {table.files[0]} {dtypes[0]}; all "
            f"files of a field hold one dtype"
        )


def shown(files: FileList) -> str:
    """Name the files in a few words."""
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
