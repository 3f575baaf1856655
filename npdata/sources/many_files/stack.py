"""Many files as the samples of one field: `np.stack` without reading them first.

Idea: a sample is a file, read straight into its place in the batch (`file_reader`). Files of one
shape are rows; files that differ in axis 0 alone are arrays of different length, like any others
(`ragged`); whatever else differs stays apart, sample by sample. Invariant: the values are those of
`np.load` of each file, and two files never differ in dtype.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.errors import FieldError
from npdata.sources.base import Access, Source, matlab_of
from npdata.sources.concatenated.parts import and_more
from npdata.sources.many_files.file_list import FileList, runs_of_files
from npdata.sources.many_files.file_reader import MOST_KEPT, FileReader
from npdata.sources.many_files.file_table import ONE_DTYPE, FileTable
from npdata.sources.many_files.known_file import NOWHERE, ZIPPED
from npdata.sources.packed.packing import Packings
from npdata.sources.ragged import OBJECTS, PiecesSource, RaggedSource


def open_stack(table: FileTable) -> "StackSource | VariedStackSource":
    """Give the source for the files: rows of one shape, or arrays of different shapes.

    Raises `FieldError` where two hold different dtypes, naming both.
    """
    _require_one_dtype(table)
    reader = FileReader(table)
    rests = {kind.rest for kind in table.kinds}
    if len(rests) > 1:
        return VariedStackSource(reader)
    if None in rests or len(set(table.facts["length"].tolist())) == 1:
        return StackSource(reader)
    return RaggedStackSource(reader)


class _FilesSource(Source):
    """What all of them do: tell of their files, and give advice on them."""

    def __init__(self, reader: FileReader) -> None:
        table = reader.table
        self._reader = reader
        self.paths: FileList = table.files
        self.where = and_more(table.files[0], len(table))
        self.matlab = matlab_of(kind.matlab for kind in table.kinds)
        offsets = table.facts["offset"]
        zipped, own = (int((offsets == place).sum()) for place in (ZIPPED, NOWHERE))
        how = "each sample is an array of its own, read straight into its batch"
        if own:
            how = (
                f"each sample is read alone; {own + zipped} of them are decoded, or read through "
                "h5py"
            )
        elif zipped:
            how = (
                f"each sample is an array of its own, and {zipped} of them are decoded at each read"
            )
        if own > MOST_KEPT:
            how += (
                f", and beyond {MOST_KEPT} each read opens its file anew, some 3 ms: npdata "
                "convert ... --files stack makes one file of all"
            )
        seen = bool((table.facts["size"] >= 0).all())
        when = "" if seen else "; a file is looked at when it is first read"
        self.access = Access(kind="library" if own else "files", reason=how + when)

    @property
    def row_bytes(self) -> int:
        """The bytes of a sample, of mean size where they differ."""
        table = self._reader.table
        sizes = [
            int(np.prod(kind.shape(1), dtype=np.int64)) * kind.dtype.itemsize
            for kind in table.kinds
        ]
        return int((np.array(sizes)[table.facts["kind"]] * table.facts["length"]).mean())

    @property
    def file_borders(self) -> Ints:
        """The first sample of each file: each is one, unless several are datasets of a file."""
        if not self.paths.has_members:
            return np.arange(len(self.paths) + 1)
        return runs_of_files([self.paths.path(k) for k in range(len(self.paths))])

    def files_of(self, rows: Ints | None = None) -> set[str]:
        """Give the files of these samples."""
        samples = range(len(self.paths)) if rows is None else np.unique(rows).tolist()
        return {os.fsdecode(self.paths.path(k)) for k in samples}

    @property
    def packings(self) -> Packings:
        """What the numbers of each file stand for."""
        each = self._reader.table.packings
        return Packings.of_parts(each, np.arange(len(each)))

    def will_need(self, first: int, stop: int) -> None:
        """Ask the kernel for these files."""
        self._reader.will_need(first, stop)

    def dont_need(self, first: int, stop: int) -> None:
        """Tell the kernel that these files may leave memory."""
        self._reader.dont_need(first, stop)

    def close(self) -> None:
        """Close the sources of members; other files are open during a read only."""
        self._reader.close()


class StackSource(_FilesSource):
    """Arrays of one shape, as rows."""

    def __init__(self, reader: FileReader) -> None:
        """Take the files of `reader`, which all have the shape of the first."""
        super().__init__(reader)
        table = reader.table
        self.shape = (len(table), *table.shape(0))
        self.dtype = table.kind(0).dtype

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Read the file of each row into its place."""
        self._reader.read(indices, [out[k, ...] for k in range(len(out))])

    def of_own_lengths(self) -> "RaggedStackSource":
        """Give the same arrays, which must have an axis 0, as arrays of different lengths."""
        return RaggedStackSource(self._reader)


class VariedStackSource(_FilesSource, PiecesSource):
    """Arrays of different shapes, each by itself."""

    def __init__(self, reader: FileReader) -> None:
        super().__init__(reader)
        self.shape = (len(reader.table),)
        self.dtype = OBJECTS
        self.values_dtype = reader.table.kinds[0].dtype

    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Read these files, each into memory of its own."""
        table = self._reader.table
        pieces: list[NDArray[Any]] = [
            np.empty(table.shape(k), self.values_dtype) for k in indices.tolist()
        ]
        self._reader.read(indices, pieces)
        return pieces


class RaggedStackSource(VariedStackSource, RaggedSource):
    """Arrays that differ in the length of their first axis alone."""

    def __init__(self, reader: FileReader) -> None:
        super().__init__(reader)
        self.row_shape = reader.table.kinds[0].rest or ()

    def lengths(self) -> Ints:
        """Give the length of every array."""
        return self._reader.table.facts["length"].copy()


def _require_one_dtype(table: FileTable) -> None:
    dtypes = [kind.dtype for kind in table.kinds]
    other = next((k for k, dtype in enumerate(dtypes) if dtype != dtypes[0]), None)
    if other is not None:
        number = int(np.flatnonzero(table.facts["kind"] == other)[0])
        raise FieldError(
            f"{table.files[number]} holds {dtypes[other]}, and {table.files[0]} {dtypes[0]}; "
            f"{ONE_DTYPE}"
        )
