"""What is known of files and of the arrays in them, as values and as JSON.

Idea: one frozen value a dataset, with numbers as numbers; the table, the picture and JSON show the
same. Invariant: no rows were read for it. It decides nothing and prints nothing.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from npdata.arrays.dtypes import DType


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


@dataclass(frozen=True, kw_only=True)
class FilterUse:
    """A step of compression, in the order of writing; `decoder` is what undoes it, if npdata does.

    `id` is HDF5's number of the filter, None in a zip.
    """

    id: int | None
    name: str
    values: tuple[int, ...] = ()
    decoder: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Bytes decoded for each byte used, at most, when rows are shuffled fully and by blocks."""

    full: float = 1.0
    block: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How an array is stored, read, and made into samples.

    `layout` is "C order", "Fortran order", "contiguous", "chunked", "compact", "virtual" or
    "external"; `access` as in `npdata.Access`; `sample` "view", "copy", "text", "fields" or
    "refused".
    """

    shape: tuple[int, ...]
    dtype: DType
    stored_bytes: int
    layout: str
    access: str
    access_reason: str
    sample: str
    sample_reason: str
    tensor_dtype: torch.dtype | None
    chunks: Chunks | None = None
    filters: tuple[FilterUse, ...] = ()
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
    """An array of a file; without `stored`, `refusal` says why, and with them why reading fails.

    `where` is what `npdata.open_source` takes, `name` the member of the file, None where the file
    is the array.
    """

    where: str
    name: str | None
    stored: Stored | None = None
    refusal: str | None = None
    advice: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Give plain values under keys that do not change; null where nothing is known."""
        own = {"where": self.where, "name": self.name, "refusal": self.refusal}
        known = self.stored
        if known is None:
            return {**own, **dict.fromkeys(_KEYS), "advice": self.advice}
        values = {**asdict(known), "rows": known.rows, "row_bytes": known.row_bytes}
        values["bytes"] = known.nbytes
        values["access"] = {"kind": known.access, "reason": known.access_reason}
        sample = {"kind": known.sample, "reason": known.sample_reason, "dtype": known.tensor_dtype}
        values["sample"] = sample
        return {**own, **{key: values[key] for key in _KEYS}, "advice": self.advice}


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """A file; `failure` says why it, or a part of it, could not be inspected.

    `format` is "npy", "npz", "hdf5", "raw" or None; `disk_bytes` what the file takes on its disk.
    """

    path: str
    format: str | None = None
    nbytes: int = 0
    disk_bytes: int = 0
    datasets: tuple[DatasetReport, ...] = ()
    failure: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Give plain values under keys that do not change."""
        plain = {"path": self.path, "format": self.format, "bytes": self.nbytes}
        plain |= {"disk_bytes": self.disk_bytes, "failure": self.failure}
        return {**plain, "datasets": [dataset.as_json() for dataset in self.datasets]}


_KEYS = (
    *("shape", "dtype", "rows", "row_bytes", "bytes", "stored_bytes", "layout", "chunks"),
    *("filters", "access", "sample", "decoded_per_used"),
)
"""What JSON says of an array, beside its names, its refusal and the advice."""
