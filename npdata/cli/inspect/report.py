"""What is known of files and of the arrays in them, as values and as JSON.

Idea: one frozen value an array, with numbers as numbers; the table, the picture and JSON show the
same. Invariant: no rows were read for it. It decides nothing and prints nothing.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from npdata.arrays.dtypes import DType
from npdata.sources.base import Access
from npdata.sources.hdf5.examine.creation_properties import Filter
from npdata.sources.many_files.file_list import SEPARATOR


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """The chunks of a dataset: `shape` in elements, `bytes` of one decoded.

    The grid of `grid` chunks covers the dataset; `stored` of them are in the file.
    """

    shape: tuple[int, ...]
    bytes: int
    grid: tuple[int, ...]
    stored: int

    @property
    def a_row_needs(self) -> int:
        """How many chunks one row lies in."""
        return math.prod(self.grid[1:])

    @property
    def block_bytes(self) -> int:
        """The decoded bytes of all chunks that one row lies in."""
        return self.a_row_needs * self.bytes

    @property
    def total_bytes(self) -> int:
        """The decoded bytes of all chunks."""
        return self.grid[0] * self.block_bytes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Bytes decoded for each byte used, at most, when rows are shuffled fully and by blocks."""

    full: float = 1.0
    block: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one row becomes: `kind` is "view", "copy", "text", "fields" or "refused"."""

    kind: str
    reason: str
    dtype: str | None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How an array is stored, read, and made into samples.

    `layout` is "C order", "Fortran order", "contiguous", "chunked", "compact", "virtual" or
    "external"; `filters` are in the order of writing, of which a zip has one, with the id 0.
    """

    shape: tuple[int, ...]
    dtype: DType
    stored_bytes: int
    layout: str
    access: Access
    sample: Sample
    chunks: Chunks | None = None
    filters: tuple[Filter, ...] = ()
    decoded_per_used: Cost = Cost()

    @property
    def rows(self) -> int:
        """The size of axis 0."""
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """The bytes of one row, decoded."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all rows, decoded."""
        return self.rows * self.row_bytes


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """An array of a file, by `where`, which `npdata.open_source` takes.

    Without `stored`, `refusal` says why it is not known; with it, why reading fails.
    """

    where: str
    stored: Stored | None = None
    refusal: str | None = None
    advice: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """The bytes of all rows, decoded; 0 where they are not known."""
        return 0 if self.stored is None else self.stored.nbytes

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape; () where that is not known."""
        return () if self.stored is None else self.stored.shape

    @property
    def is_index(self) -> bool:
        """Whether it is of an index, which PyTables keeps beside a table: up to 100 for one."""
        return "/_i_" in self.where.replace(SEPARATOR, "/")

    @property
    def readable(self) -> bool:
        """Whether its rows can be read."""
        return self.stored is not None and self.refusal is None

    def as_json(self) -> dict[str, Any]:
        """Give plain values under keys that do not change; null where nothing is known."""
        plain, known = asdict(self), self.stored
        values = plain.pop("stored") or dict.fromkeys(field.name for field in fields(Stored))
        sizes = {
            "rows": known and known.rows,
            "row_bytes": known and known.row_bytes,
            "bytes": known and known.nbytes,
        }
        return {**plain, **sizes, **values}


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """A file; `failure` says why it, or a part of it, could not be inspected.

    `format` is "npy", "npz", "hdf5", "raw" or None; `bytes` its size.
    """

    path: str
    bytes: int
    format: str | None = None
    datasets: tuple[DatasetReport, ...] = ()
    failure: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Give plain values under keys that do not change."""
        begin = len(self.path) + len(SEPARATOR)
        datasets = [{"name": d.where[begin:] or None, **d.as_json()} for d in self.datasets]
        return {**vars(self), "datasets": datasets}
