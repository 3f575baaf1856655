"""Many files mapped so that the rows of all are rows of one array.

Idea: addresses for all files are reserved at once, and each file has its place among them, so many
whole rows behind the one before. A row of any file then is a row of one array, in which some rows
between files are nobody's, and the copy kernel gathers from it as from a single file. Invariant: a
row of a file is read only once the file is mapped. Files whose rows cannot lie so (of other offsets
in their page, too many addresses) have no such layout.
"""

import math
import mmap
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType, Ints
from npdata.arrays.gather import RowTable, address_of
from npdata.sources.file_map import LARGE_PAGE, map_at, reserved

MOST_BYTES = 1 << 45
"""So many addresses at most: a process has 2^47."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JointLayout:
    """Where each of many files lies among `nbytes` addresses, the first a multiple of `align`.

    Of file k the `sizes[k]` bytes from byte `begins[k]` on are mapped at `places[k]`. Its first row
    is row `firsts[k]` of `rows`, of which row 0 lies at `lead`.
    """

    align: int
    nbytes: int
    lead: int
    rows: int
    begins: Ints
    sizes: Ints
    places: Ints
    firsts: Ints

    @classmethod
    def of(cls, offsets: Ints, lengths: Ints, row_bytes: int) -> "JointLayout | None":
        """Lay out files with `lengths[k]` rows from byte `offsets[k]` on; None where none fits.

        Examples:
            >>> layout = JointLayout.of(np.array([128, 128]), np.array([1000, 5]), 3072)
            >>> layout.align, layout.lead, layout.firsts.tolist()
            (4096, 128, [0, 1004])
        """
        if not len(offsets) or not row_bytes:
            return None
        # The system maps large pages where it can if a file begins at a multiple of one.
        large = int((offsets + lengths * row_bytes).mean()) >= LARGE_PAGE
        for align in (LARGE_PAGE, mmap.PAGESIZE) if large else (mmap.PAGESIZE,):
            found = cls._aligned(offsets, lengths, row_bytes, align)
            if found is not None:
                return found
        return None

    @classmethod
    def _aligned(cls, offsets: Ints, lengths: Ints, row_bytes: int, align: int) -> Self | None:
        common = math.gcd(align, row_bytes)
        if (offsets % common != offsets[0] % common).any():
            return None
        inside = offsets % align
        lead = int(inside[0]) % row_bytes
        # The k-th page is as many bytes in front of a row as the first: a congruence, which few
        # different offsets have to solve.
        period = row_bytes // common
        inverse = pow(align // common, -1, period)
        different, which = np.unique(inside, return_inverse=True)
        pages = [(lead - int(each)) // common * inverse % period for each in different]
        unit = align * period  # after so many bytes it is so again
        sizes = inside + lengths * row_bytes
        if 2 * unit * len(offsets) + int(sizes.sum()) > MOST_BYTES:
            return None
        start = np.array(pages, np.int64)[which] * align
        units = -(-(start + sizes) // unit)
        places = start + unit * (np.cumsum(units) - units)
        nbytes = unit * int(units.sum())
        return cls(
            align=align,
            nbytes=nbytes,
            lead=lead,
            rows=(nbytes - lead) // row_bytes,
            begins=offsets - inside,
            sizes=sizes,
            places=places,
            firsts=(places + inside - lead) // row_bytes,
        )


class JointMap:
    """The files of a layout in this process, each mapped when it is added; `table` has all rows."""

    def __init__(
        self, layout: JointLayout, region: NDArray[np.uint8], dtype: DType, row: tuple[int, ...]
    ) -> None:
        """Take reserved addresses, for rows of shape `row`."""
        self._layout = layout
        self._region = region
        row_bytes = math.prod(row) * dtype.itemsize
        rows = region[layout.lead : layout.lead + layout.rows * row_bytes]
        self.table = RowTable.of(rows.view(dtype).reshape(layout.rows, *row))

    @classmethod
    def reserved(
        cls, layout: JointLayout | None, dtype: DType, row: tuple[int, ...]
    ) -> "JointMap | None":
        """Reserve the addresses; None where there is no layout or the system refuses it."""
        region = None if layout is None else reserved(layout.nbytes, layout.align)
        return None if layout is None or region is None else cls(layout, region, dtype, row)

    def add(self, number: int, descriptor: int) -> tuple[NDArray[np.uint8], int]:
        """Map the rows of file `number`; gives the map, and the byte of the file it begins with."""
        layout = self._layout
        begin, place = int(layout.begins[number]), int(layout.places[number])
        mapped = self._region[place : place + int(layout.sizes[number])]
        if len(mapped):
            map_at(address_of(mapped), descriptor, begin, len(mapped))
        return mapped, begin
