"""What is known of the data and of the machine before anything is timed.

Idea: a frozen value from which is decided what to measure, and with which the figures are
explained. Invariant: plain values; nothing here opens a file or reads a clock.
"""

from dataclasses import dataclass

from npdata.dataset.describe import FieldDescription


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`memory_bytes` that this process may use, `cores`, and the bytes free in shared memory.

    `shared_bytes` is None where there is no limit of its own.
    """

    memory_bytes: int
    cores: int
    shared_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The files: their size, and how fast their bytes come, without a thought for rows.

    `cached` is the part in the page cache before anything was read, `memory_rate` and `disk_rate`
    are bytes a second from there and from the disk; each is None where it cannot be told.
    """

    file_bytes: int
    cached: float | None
    memory_rate: float | None
    disk_rate: float | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Fields as `describe()` tells them, in blocks of `block_rows` rows.

    `hdf5` tells whether all of them are HDF5. `raw` are the arguments that describe a raw file in
    code, None for files that do it themselves.
    """

    paths: tuple[str, ...]
    rows: int
    fields: tuple[FieldDescription, ...]
    block_rows: int
    batch_size: int
    hdf5: bool
    raw: str | None
    storage: Storage
    machine: Machine

    @property
    def row_bytes(self) -> int:
        """The bytes of a sample, uncompressed."""
        return sum(field.row_bytes for field in self.fields)

    @property
    def batch_bytes(self) -> int:
        """The bytes of a whole batch."""
        return self.row_bytes * self.batch_size

    @property
    def data_bytes(self) -> int:
        """The bytes of all samples, uncompressed."""
        return self.row_bytes * self.rows

    @property
    def shared_bytes(self) -> int | None:
        """What worker processes may use for batches on their way."""
        return self.machine.shared_bytes

    @property
    def fits_memory(self) -> bool:
        """Whether the page cache can hold the files, with room for the rest."""
        return self.storage.file_bytes <= self.machine.memory_bytes * 0.8

    @property
    def slowest_access(self) -> str:
        """The access of the field that costs most."""
        kinds = ("memory", "mapped", "library", "decoded")
        return max((field.access for field in self.fields), key=kinds.index)
