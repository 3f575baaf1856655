"""The chunk table that a source keeps, and reads again where it was handed over by pickle.

Idea: a table has up to 24 bytes a chunk, and is never pickled: another process reads it when it
first needs it. Invariant: it is that of the file in the state of `identity`, or it is an error.
"""

from typing import Any

from npdata.arrays.axes import as_before
from npdata.errors import ChangedFileError
from npdata.runtime.made_once import made_once
from npdata.sources.file import FileIdentity
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.examine.layout import Layout, read_layout_named
from npdata.sources.hdf5.file import Locking, open_file


class TableKeeper:
    """The chunk table of a dataset, which another process reads again from the same file."""

    def __init__(
        self, layout: Layout, locking: Locking, axes: tuple[int, ...] | None = None
    ) -> None:
        """Keep that of `layout`, which was turned to `axes` where these are given.

        A process that gets this by pickle opens with `locking`.
        """
        self.path = layout.path
        self.name = layout.name
        self.identity = layout.identity
        self.chunk_shape = layout.chunk_shape or layout.shape
        self.axes = axes
        self._locking = locking
        vars(self)["table"] = layout.chunks

    @made_once
    def table(self) -> ChunkTable:
        """The chunk table; raises `ChangedFileError` where the file is another by now."""
        self.identity.require(FileIdentity.of(self.path), self.path)
        with open_file(self.path, self._locking) as file:
            layout = read_layout_named(file, self.name)
        if layout.identity != self.identity:
            raise ChangedFileError(f"{self.path} changed while it was opened; open it again")
        table = layout.chunks
        if table is None:
            raise ChangedFileError(f"{self.path}::{self.name} is no longer chunked; open it again")
        return table if self.axes is None else table.turned(self.axes)

    def coordinates(self, entry: int) -> tuple[int, ...]:
        """Give the first element of a chunk, by the axes of the dataset."""
        found = self.table.coordinates(entry, self.chunk_shape)
        return found if self.axes is None else as_before(found, self.axes)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only this process has."""
        return {key: value for key, value in vars(self).items() if key != "table"}
