"""Rows that lie uncompressed in a file: the map of the file, seen as an array.

Idea: `.npy`, raw binary, a stored member of a zip and a contiguous HDF5 dataset all come down to
an offset, a dtype, a shape and strides. Invariant: the array lies inside the file, which is
checked before it is made and, against the file's size and time, before every batch. This module
parses no format.
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.convert import ArrayLayout
from npdata.arrays.dtypes import DType
from npdata.arrays.gather import RowTable
from npdata.errors import TruncatedError
from npdata.runtime.made_once import made_once
from npdata.sources.base import Access, Details, InPlaceSource, Source
from npdata.sources.file import File


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an array lies in a file: offset and strides in bytes."""

    offset: int
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    writeable: bool = True

    @classmethod
    def contiguous(
        cls, *, offset: int, dtype: DType, shape: tuple[int, ...], fortran: bool = False
    ) -> "Place":
        """Give the place of an array without gaps, in C or Fortran order.

        Examples:
            >>> Place.contiguous(offset=128, dtype=np.dtype("f4"), shape=(5, 3)).strides
            (12, 4)
        """
        strides = []
        step = dtype.itemsize
        for length in shape if fortran else reversed(shape):
            strides.append(step)
            step *= max(1, length)
        ordered = tuple(strides) if fortran else tuple(reversed(strides))
        return cls(offset=offset, dtype=dtype, shape=shape, strides=ordered)

    @property
    def bounds(self) -> tuple[int, int]:
        """The first byte of the array, and the byte after its last."""
        if 0 in self.shape:
            return self.offset, self.offset
        spans = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        low = sum(span for span in spans if span < 0)
        high = sum(span for span in spans if span > 0)
        return self.offset + low, self.offset + high + self.dtype.itemsize

    @property
    def rows_together(self) -> bool:
        """Tell whether each row is a run of bytes, so that neighbours lie together."""
        rest = Place.contiguous(offset=0, dtype=self.dtype, shape=self.shape[1:]).strides
        return self.strides[1:] == rest and self.strides[0] > 0

    def bytes_of(self, first: int, stop: int) -> tuple[int, int]:
        """Give the place in the file of rows that lie together, and their number of bytes."""
        return self.offset + first * self.strides[0], (stop - first) * self.strides[0]


class InFile(Source):
    """Rows that lie uncompressed in `file`; a subclass says in which runs of bytes.

    `_of_map` names what it makes of the map, once, until the file is closed.
    """

    file: File
    _of_map: str

    @abstractmethod
    def _spans(self, first: int, stop: int) -> Iterable[tuple[int, int]]:
        """Give where rows lie that are runs of bytes: offsets, and numbers of bytes."""

    def will_need(self, first: int, stop: int) -> None:
        """Ask the kernel for the bytes of these rows."""
        for offset, nbytes in self._spans(first, stop):
            self.file.will_need(offset, nbytes)

    def dont_need(self, first: int, stop: int) -> None:
        """Tell the kernel that the bytes of these rows may leave memory; no change is lost."""
        for offset, nbytes in self._spans(first, stop):
            self.file.dont_need(offset, nbytes)

    def close_idle(self) -> None:
        """Close the file until the next read; arrays given out keep the map."""
        vars(self).pop(self._of_map, None)
        self.file.close_idle()

    def close(self) -> None:
        """Close the file."""
        vars(self).pop(self._of_map, None)
        self.file.close()


class MappedSource(InFile, InPlaceSource):
    """The rows of an array that lies uncompressed in a file, at `place` of `file`."""

    _of_map = "table"

    def __init__(
        self,
        file: File,
        place: Place,
        reason: str,
        where: str,
        details: Details = (),
    ) -> None:
        """Take the rows at `place` of `file`; `TruncatedError` where the file ends before them."""
        self.shape = place.shape
        self.dtype = place.dtype
        self.where = where
        self.access = Access(kind="mapped", reason=reason)
        self.details = details
        self.file = file
        self.place = place
        # Bound once: a method around it would be one more call, four times a batch.
        self.check = file.check  # type: ignore[method-assign]
        self.check_size = file.check_size  # type: ignore[method-assign]
        low, high = place.bounds
        if low < 0 or high > file.identity.size:
            raise TruncatedError(
                f"{where} declares {place.shape} of {place.dtype}, bytes {low} to {high}, but "
                f"{file.path} has {file.identity.size} bytes; it was cut short, or its header lies"
            )

    @made_once
    def table(self) -> RowTable:
        """The rows in the map: writable without an effect on the file, where the map allows it.

        A batch of two fields takes 39 calls in a DataLoader with it, and 45 with a property.
        """
        return RowTable.of(self._array())

    @property
    def row_layout(self) -> ArrayLayout:
        """The layout that every row in the map has; a table would take 100 of 370 µs of opening."""
        return ArrayLayout.of(self._array()).row

    def _array(self) -> NDArray[Any]:
        place = self.place
        array: NDArray[Any] = np.ndarray(
            place.shape, place.dtype, self.file.array.data, place.offset, place.strides
        )
        if not place.writeable:
            array.flags.writeable = False
        return array

    def read_run(self, first: int, out: NDArray[Any]) -> None:
        """Read rows that lie together from the file, past the map and its page faults."""
        place = self.place
        if not place.rows_together or place.strides[0] != self.row_bytes or self.dtype.names:
            super().read_run(first, out)
        elif out.size:
            self.file.read_into(place.bytes_of(first, first)[0], out.reshape(-1).view(np.uint8))

    def _spans(self, first: int, stop: int) -> list[tuple[int, int]]:
        together = first < stop and self.place.rows_together
        return [self.place.bytes_of(first, stop)] if together else []

    def load(self, first: int, stop: int) -> None:
        """Read the bytes of these rows into memory, where they lie together."""
        for offset, nbytes in self._spans(first, stop):
            self.file.load(offset, nbytes)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.file, self.place, self.access.reason, self.where, self.details)
