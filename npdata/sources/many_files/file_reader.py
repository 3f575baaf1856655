"""One file among many, read into memory that is given: opened, read, checked and closed.

Idea: a file that has its array in one place is read by one open, one `preadv`, one `fstat` and one
close; there is no map, and no descriptor is kept. Invariant: after its bytes were read, a file is
seen to be the one that was looked at, or `ChangedFileError` names it. A file that was not looked at
yet is looked at when it is first read, and must then be like the first. Members that lie in no one
place of their file are read by their own source, whose file is closed after each read.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.errors import FormatError
from npdata.runtime.keep_at_once import keep_at_once
from npdata.runtime.per_process import ForkSafeLock
from npdata.sources.base import InPlaceSource, Source
from npdata.sources.file import READING, ask_for, fill
from npdata.sources.formats.npz import read_member
from npdata.sources.many_files.file_table import ONE_DTYPE, UNKNOWN, FileTable
from npdata.sources.many_files.file_threads import for_each
from npdata.sources.many_files.known_file import (
    INODE,
    ZIPPED,
    KnownFile,
    OneValue,
    gone,
    look,
    opened,
)

FEW = 16
"""Where so many files in a row were in memory, one of so many is looked at from then on."""
MOST_KEPT = 2048
"""So many sources of their own are kept, of 5 kB each: to open one again takes 2 to 4 ms. They are
those that were read first, since a pass in order finds none of those that were read last."""
LARGE_FILE = 1 << 19
"""Files of so many bytes are read by two threads in 0.6 to 0.9 of the time that one takes."""


class FileReader:
    """Reads the arrays of the files in `table`."""

    def __init__(self, table: FileTable) -> None:
        """Take the files; none is opened."""
        self.table = table
        self._first = table.kind(0).dtype, table.shape(0)
        self._known: dict[bytes, Any] = {}
        self._needed = self._in_memory = 0
        self._sources: dict[int, Source] = {}
        self._lock = ForkSafeLock()

    def read(self, numbers: Ints, outs: Sequence[NDArray[Any]]) -> None:
        """Read file `numbers[k]` into all of `outs[k]`, C-contiguous and of the array's shape.

        Several threads do it where that is faster.
        """
        large = len(outs) > 1 and sum(out.nbytes for out in outs) >= LARGE_FILE * len(outs)
        each = numbers.tolist()
        for_each(lambda k: self._read(each[k], outs[k]), range(len(outs)), shared=large)

    def _read(self, number: int, out: NDArray[Any]) -> None:
        table = self.table
        known = table.facts.item(number)
        if known[1] == UNKNOWN:
            self._learn(number, look(table.files, number, table.raw, self._known))
            known = table.facts.item(number)
        elif not out.size:
            return
        inode, size, mtime_ns, offset, _, kind = known
        path = table.files.path(number)
        if offset < 0:
            read = self._read_zipped if offset == ZIPPED else self._read_own
            try:
                read(number, path, out)
            finally:
                table.check(number)
            return
        held: list[int] = []
        try:  # as `table.opened`, which takes 1.5 µs more of 7
            descriptor = keep_at_once(held, os.open, path, READING)
            place = np.empty_like(out) if table.kinds[kind].fortran else out
            whole = fill(descriptor, offset, place.reshape(-1).view(np.uint8).data)
            now = os.fstat(descriptor)
        except OSError as error:
            table.require_read(number, held, error)
            raise
        finally:
            for each in held:
                os.close(each)
        if (now.st_ino & INODE, now.st_size, now.st_mtime_ns) != (inode, size, mtime_ns):
            table.require(number, now)
        if not whole:
            raise gone(path)
        if place is not out:
            out[...] = place.reshape(-1).reshape(out.shape, order="F")

    def _read_zipped(self, number: int, path: bytes, out: NDArray[Any]) -> None:
        if not read_member(os.fsdecode(path), self.table.files.member(number) or "", out):
            raise gone(path)

    def _read_own(self, number: int, path: bytes, out: NDArray[Any]) -> None:
        source = self._source(number)
        if isinstance(source, OneValue):
            out = out.reshape(-1)
        try:
            if (source.shape, source.dtype) != (out.shape, out.dtype):
                raise gone(path)
            source.read_run(0, out)
        finally:
            source.close_idle()

    def _source(self, number: int) -> Source:
        """Give the source of an array that is read alone; it is kept unless it holds its rows."""
        source = self._sources.get(number)
        if source is None:
            source = self.table.source(number)
            if not isinstance(source, InPlaceSource):
                with self._lock.get():
                    if len(self._sources) < MOST_KEPT:
                        self._sources[number] = source
        return source

    def _learn(self, number: int, facts: KnownFile) -> None:
        """Take note of a file that is read for the first time, which must be like the first."""
        table = self.table
        kind, shape = facts.kind, facts.kind.shape(facts.length)
        if (kind.dtype, shape) != self._first:
            same = kind.dtype == self._first[0]
            rule = "with check='open' shapes may differ" if same else ONE_DTYPE
            raise FormatError(
                f"{table.files[number]} holds {shape} of {kind.dtype}, and {table.files[0]} "
                f"{self._first[1]} of {self._first[0]}; {rule}"
            )
        first = table.kinds[0]
        if (kind.packing, kind.matlab) != (first.packing, first.matlab):
            raise FormatError(
                f"{table.files[number]} is packed in another way than {table.files[0]} (scale, "
                f"missing values, times, or a class of MATLAB); files of both are read with "
                f"check='open'"
            )
        if kind != first:
            raise FormatError(
                f"{table.files[number]} is in Fortran order and {table.files[0]} is not, or the "
                f"other way round; files of both are read with check='open'"
            )
        table.facts[number] = (*facts[:5], 0)  # at once, for other threads

    def will_need(self, first: int, stop: int) -> None:
        """Ask the kernel for files from `first` to `stop` that are not in memory.

        To look at one takes 5 µs, a fourth of what it takes to read it from there. So while all are
        in memory, only each `FEW`th is looked at.
        """
        if sys.platform != "linux":
            return
        for number in range(first, stop):
            self._needed += 1
            if self._in_memory < FEW or self._needed % FEW == 0:
                self._in_memory = self._in_memory + 1 if self._asked_for(number) else 0

    def _asked_for(self, number: int) -> bool:
        """Ask for one file; tell whether it was in memory."""
        # Reading reports what is wrong with it.
        with contextlib.suppress(OSError), opened(self.table.files.path(number)) as descriptor:
            return ask_for(descriptor, 0, max(0, int(self.table.facts["size"][number])))
        return False

    def dont_need(self, first: int, stop: int) -> None:
        """Tell the kernel that files from `first` to `stop` may leave memory."""
        if sys.platform != "linux":
            return
        for number in range(first, stop):
            with contextlib.suppress(OSError), opened(self.table.files.path(number)) as descriptor:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close the sources of members, and drop what they decoded."""
        with self._lock.get():
            for source in self._sources.values():
                source.close()
            self._sources.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.table,)
