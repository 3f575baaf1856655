"""Arrays of this process: read in place, and shared with tensors where that is sound.

Idea: an array is its own rows. An `np.memmap` is one too, as long as it stays in the process
that opened it; in another process the same bytes are mapped again by path. Invariant: a memory
map is never pickled by its content. No file is opened here, but to ask the kernel for rows.
"""

import contextlib
import mmap
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.convert import ArrayLayout, refusal
from npdata.arrays.dtypes import DType
from npdata.arrays.gather import RowTable, address_of
from npdata.errors import ChangedFileError, SourceError, UnsupportedSourceError
from npdata.runtime.made_once import made_once
from npdata.sources.base import Access, InPlaceSource
from npdata.sources.file import File, FileIdentity
from npdata.sources.file_map import map_pages, page_out
from npdata.sources.mapped import MappedSource, Place


class MemorySource(InPlaceSource):
    """The rows of an in-memory array, which is shared and never copied whole."""

    def __init__(self, array: NDArray[Any]) -> None:
        """Wrap `array`, of at least one dimension; raises `UnsupportedSourceError` otherwise."""
        reason = refusal(array)
        if reason is not None:
            raise UnsupportedSourceError(reason)
        if array.ndim == 0:
            raise UnsupportedSourceError(
                f"a 0-dimensional array of dtype {array.dtype} has no rows; give it an axis 0"
            )
        self.shape = array.shape
        self.dtype = array.dtype
        self.where = "array in memory"
        self.access = Access(kind="memory", reason="an array of this process, read in place")
        self._array = np.asarray(array)

    @made_once
    def table(self) -> RowTable:
        """The array itself, ready for the copy kernel."""
        return RowTable.of(self._array)

    @property
    def row_layout(self) -> ArrayLayout:
        """The layout that every row of the array has."""
        return ArrayLayout.of(self._array).row

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the array as native bytes with its dtype: NumPy drops another byte order."""
        array = self._array
        if array.dtype.isnative:
            return type(self), (array,)
        return _unpickled, (array.view(array.dtype.newbyteorder("=")), array.dtype)


def _unpickled(array: NDArray[Any], dtype: DType) -> MemorySource:
    return MemorySource(array.view(dtype))


class MemmapSource(MemorySource):
    """The rows of an `np.memmap`, or of a view of one, found again by path in another process."""

    def __init__(self, array: NDArray[Any], root: "np.memmap[Any, Any]") -> None:
        super().__init__(array)
        self._root = root
        path = root.filename
        self._inode: int | None = None
        with contextlib.suppress(OSError):  # it may have no name any more
            self._inode = None if path is None else FileIdentity.of(path).inode
        self.where = f"np.memmap of {path}" if path is not None else "np.memmap of an open file"
        self.access = Access(
            kind="mapped", reason=f"an np.memmap in mode {root.mode!r}, read in place"
        )

    def check(self) -> None:
        """Raise `ChangedFileError` if the file is now too short for the map."""
        root = self._root
        size = cast(mmap.mmap, root.base).size()
        if size < root.offset + root.nbytes:
            raise ChangedFileError(
                f"{self.where} maps {root.nbytes} bytes from byte {root.offset} on, but the file "
                f"has only {size} bytes now; open it again"
            )

    def will_need(self, first: int, stop: int) -> None:
        """Ask the kernel for the bytes of these rows, where they lie together and have a path.

        A map has no descriptor to ask by, so the file is opened for the question; if another file
        has taken its place, that one is asked in vain.
        """
        path, place = self._root.filename, self._place
        if path is not None and first < stop and place.rows_together:
            with contextlib.suppress(OSError):
                File(path).will_need(*place.bytes_of(first, stop))

    def dont_need(self, first: int, stop: int) -> None:
        """Tell the kernel that the bytes of these rows may leave memory; no change is lost."""
        if first < stop and self._place.rows_together:
            page_out(address_of(self._array[first:]), (stop - first) * self._array.strides[0])

    @property
    def _place(self) -> Place:
        """Where the rows lie in the file."""
        return Place(
            offset=self._root.offset + address_of(self._array) - address_of(self._root),
            dtype=self.dtype,
            shape=self.shape,
            strides=self._array.strides,
            writeable=self._array.flags.writeable,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the place in the file; refuse changes that no file has.

        Where the system does not tell what a map is of (Linux does), it is the file that had the
        path when this source was made, and a map that may have been written to counts as such.
        """
        path = self._root.filename
        if path is None:
            raise SourceError(
                "an np.memmap over an open file object has no path to find it by in another "
                "process; open it as np.memmap(path)"
            )
        identity = FileIdentity.of(path).without_time()
        pages = map_pages(self._root)
        if (self._inode if pages is None else pages.inode) != identity.inode:
            raise SourceError(
                f"{path} is not the file that this np.memmap maps, another has taken its place; "
                f"open it again"
            )
        if self._root.mode == "c" and pages is None:
            raise SourceError(
                f"the np.memmap of {path} in mode 'c' may have been written to, which this system "
                f"does not tell, and other processes would not see it: open it in mode 'r', or "
                f"give the path in its place"
            )
        if self._root.mode == "c" and pages is not None and pages.private:
            raise SourceError(
                f"the np.memmap of {path} in mode 'c' was written to; those changes exist in this "
                f"process alone. Use start method 'fork', or write them to a file"
            )
        return MappedSource, (File(path, identity), self._place, self.access.reason, str(path))


def array_source(array: NDArray[Any]) -> MemorySource:
    """Give the source for an array: by path across processes where it is a memory map."""
    owner: Any = array
    while owner is not None:
        if isinstance(owner, np.memmap) and isinstance(owner.base, mmap.mmap):
            return MemmapSource(array, owner)
        owner = getattr(owner, "base", None)
    return MemorySource(array)
