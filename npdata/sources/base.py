"""The contract of a source: rows of one shape and dtype, read by number into a given buffer.

Idea: everything above (datasets, batches, samplers) sees only this. Invariant: `read` is given
checked row numbers and returns exactly what NumPy would; a source is deterministic, thread-safe,
and pickles by path, never by the content of a file; handles are opened in each process on first
use, so that fork, spawn and forkserver all work after the parent has read. A source knows
nothing of samples or order.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias, TypedDict, Unpack

import numpy as np
import numpy.ma  # np.unique does so at its first call: a process forked meanwhile would hang
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.convert import ArrayLayout
from npdata.arrays.dtypes import DType, Ints
from npdata.arrays.gather import RowTable
from npdata.arrays.recordings import even_borders
from npdata.arrays.runs import cut, rows_of_runs
from npdata.runtime.lazy_torch import torch
from npdata.sources.cache.cache import Keep
from npdata.sources.many_files.file_list import SEPARATOR
from npdata.sources.packed.packing import NOT_PACKED, Packing, Packings

MIXED = "mixed"
"""The class of MATLAB of parts that have several, or of which some have none."""
Category: TypeAlias = str | float
"""What the number of a label stands for: a name, or a number of its own."""
Details: TypeAlias = tuple[tuple[str, str], ...]
"""More about how rows are stored and what reading costs, for people: pairs of a name and a text."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How a source is read, and why so.

    `kind` is "memory" (an array of this process), "mapped" (the bytes of a file, in place), "files"
    (a file for each row, read into the batch), "decoded" (decompressed by npdata) or "library"
    (through h5py).
    """

    kind: Literal["memory", "mapped", "files", "decoded", "library"]
    reason: str

    @property
    def cost(self) -> int:
        """How much it costs to read rows that do not lie together, as a rank from 0 on."""
        return ("memory", "mapped", "files", "library", "decoded").index(self.kind)

    @property
    def in_place(self) -> bool:
        """Whether rows lie in memory or in a mapped file."""
        return self.kind in ("memory", "mapped")


class Known(TypedDict, total=False):
    """What whoever opens a source may know of it: attributes of `Source`."""

    access: Access
    details: Details
    packing: Packing | None
    matlab: str | None
    genes: Any
    coded: tuple[str, ...]
    recording_rows: int


class Source(ABC):
    """Rows of one field: `shape[0]` rows of shape `shape[1:]` and of dtype `dtype`.

    A subclass sets `shape`, `dtype`, `access` and `where`, and defines `read`. All else has a
    default here, for those that know better or read faster.
    """

    shape: tuple[int, ...]
    dtype: DType
    access: Access
    where: str
    """What the source is, for people: a path with its member, or the kind of array."""

    details: Details = ()

    paths: Sequence[str] = ()
    """The files, in their order, where the rows come from many; they are not all kept as texts."""

    categories: tuple[Category, ...] = ()
    """What the numbers 0, 1, ... in the rows stand for, where they stand for names."""

    across: "Callable[[tuple[int, ...]], Source] | None" = None
    """Opens the rows along other axes, where a dataset was opened that has them."""

    matlab: str | None = None
    """What MATLAB means by the numbers of a dataset that was opened: "logical", "char", "empty".

    `MIXED` where it does not mean the same by those of all parts.
    """

    genes: Any = None
    """Where the names of the columns of a matrix of AnnData lie (`Genes`), None for all else."""

    coded: tuple[str, ...] = ()
    """The columns of records whose numbers stand for names that AnnData 0.6 has beside them."""

    keeps_text: bool = False
    """Whether the rows are records whose text was asked for by the names of its columns."""

    missing: int | None = None
    """The number that stands for no value: of times that were decoded to int64."""

    recording_rows: int = 0
    """The rows of each recording, where all have as many; 0 where rows are of no recordings."""

    packing: Packing | None = None
    """What the numbers stand for by the attributes of a dataset, known where it was opened."""

    _told: tuple[str, ...] = ()

    def tell(self, **known: Unpack[Known]) -> None:
        """Set attributes that whoever opened the source knows; a pickle brings them along."""
        told = {name: value for name, value in known.items() if value}
        if told:
            self._told = (*self._told, *told)
            vars(self).update(told)

    def tell_of(self, source: "Source") -> None:
        """Set what another source of the same rows was told of what they stand for."""
        kinds = source.packings.kinds
        self.tell(
            packing=kinds[0] if len(kinds) == 1 else None,
            matlab=source.matlab,
            genes=source.genes,
            coded=source.coded,
            recording_rows=source.recording_rows,
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Pickle what the class says, and beside it what the source was told."""
        reduced: Any = super().__reduce_ex__(protocol)
        if not self._told or len(reduced) > 2:
            return reduced
        return (*reduced, {name: vars(self)[name] for name in ("_told", *self._told)})

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        """Say in one line what it is, with shape and dtype.

        Examples:
            >>> npdata.open_source("x.npy")
            MappedSource(x.npy: (5, 2, 3) float32, mapped)
        """
        what = f"{self.where}: {self.shape} {self.dtype}, {self.access.kind}"
        return f"{type(self).__name__}({what})"

    @property
    def row_bytes(self) -> int:
        """The bytes of one row, as it is stored uncompressed."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    @property
    def stored_bytes(self) -> int:
        """The bytes of the file that a row takes, uncompressed, where all rows are read."""
        return self.row_bytes

    @property
    def blocks(self) -> Blocks:
        """The blocks of rows that are cheapest to read together."""
        return Blocks.of_bytes(len(self), self.row_bytes)

    @property
    def table(self) -> RowTable | None:
        """The rows in place, ready for the copy kernel; None where they must be read."""
        return None

    @property
    def row_layout(self) -> ArrayLayout | None:
        """The layout that every row in place has; None where rows must be read."""
        table = self.table
        return None if table is None else ArrayLayout.of(table.array).row

    def row_in_place(self, index: int) -> NDArray[Any] | None:
        """Give row `index`, in [0, len), where it lies; None where it must be read."""
        table = self.table
        return None if table is None else table.array[index, ...]

    @property
    def borders(self) -> Ints | None:
        """The first row of each recording or part and the number of rows, int64; None for one."""
        return even_borders(len(self), self.recording_rows)

    @property
    def file_borders(self) -> Ints | None:
        """The first row of each file and the number of rows, int64; None for no file, or one."""
        return None

    def files_of(self, rows: Ints | None = None) -> set[str]:
        """Give the files that these rows (None: all) lie in, and perhaps others; none for memory.

        Examples:
            >>> {os.path.basename(name) for name in npdata.open_source("x.npy").files_of()}
            {'x.npy'}
        """
        if self.access.kind == "memory":
            return set()
        return {os.path.abspath(self.where.partition(SEPARATOR)[0])}  # noqa: PTH100

    @property
    def packings(self) -> Packings:
        """What the numbers stand for, run of rows by run of rows."""
        return NOT_PACKED if self.packing is None else Packings.one(self.packing)

    @property
    def decoded_chunks(self) -> int:
        """How many chunks this process has decoded for this source so far; 0 where none are."""
        return 0

    @property
    def reused_chunks(self) -> int:
        """How often a read in this process found a chunk decoded already, or being decoded."""
        return 0

    @property
    def rows_in_memory(self) -> int | None:
        """How many rows of whole blocks the memory for decoded chunks holds; None: unlimited.

        Of a process without DataLoader workers; workers share that memory.
        """
        return None

    @property
    def ahead_bytes(self) -> int | None:
        """How many `stored_bytes` of rows `will_need` may be ahead of the reads; None: unlimited.

        Asked for more, it would drop what was asked for before.
        """
        return None

    @abstractmethod
    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Copy row `indices[k]` to `out[k]`.

        `indices` are int64 in [0, len), in any order, with duplicates; `out` is C-contiguous, of
        shape `(len(indices), *shape[1:])` and of this source's dtype. Rows of a file are those of
        the file as it was opened: `ChangedFileError` where it changed before or during the copy.
        """

    def select(self, indices: Ints, out: "torch.Tensor") -> bool:
        """Copy row `indices[k]` to `out[k]`, a tensor of their dtype; False where it must `read`.

        For rows that lie in place in the course of time, though `table` is None.
        """
        return False

    def read_run(self, first: int, out: NDArray[Any]) -> None:
        """Copy the rows from `first` on to `out`, on a way through all of them.

        What was written to views of a private map need not be seen.
        """
        self.read(np.arange(first, first + len(out)), out)

    def runs(self, starts: Ints, stops: Ints) -> list[NDArray[Any]]:
        """Give the rows `[starts[k], stops[k])`: with a `table` where they lie, else new memory."""
        table = self.table
        if table is not None:
            array = table.array
            if len(starts) > 1 and self.access.kind != "memory":
                table.touch_runs(starts, stops)
            return [array[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        rows, sizes = rows_of_runs(starts, stops), stops - starts
        read = np.empty((len(rows), *self.shape[1:]), self.dtype)
        self.read(rows, read)
        return cut(read, sizes)

    @property
    def bases(self) -> "tuple[Source, ...]":
        """The sources whose rows are all that these rows are made of: itself for most."""
        return (self,)

    def over(self, bases: "Sequence[Source]") -> "Source":
        """Give the same rows, made of `bases` in place of the sources of that name."""
        (only,) = bases
        return only

    def cached(self, keep: Keep) -> "Source":
        """Give the same rows, decoded once and kept by `keep`; this source where it needs none."""
        return self

    def check(self) -> None:  # noqa: B027
        """Raise `ChangedFileError` if the file behind the source is no longer as it was opened."""

    def check_size(self) -> None:
        """Raise `ChangedFileError` unless rows are there to be read; `check` is to follow."""
        self.check()

    def will_need(self, first: int, stop: int) -> None:  # noqa: B027
        """Take note that rows from `first` to `stop` will be read soon; an advice, no promise."""

    def load(self, first: int, stop: int) -> None:
        """Have rows from `first` to `stop` in memory, where that is faster than to ask for them."""
        self.will_need(first, stop)

    def dont_need(self, first: int, stop: int) -> None:  # noqa: B027
        """Take note that rows from `first` to `stop` will not be read soon."""

    def close_idle(self) -> None:  # noqa: B027
        """Close files until the next read, which opens them again."""

    def close(self) -> None:  # noqa: B027
        """Close files for good: further reads raise. Arrays given out stay valid."""


class InPlaceSource(Source):
    """A source whose rows lie in memory: it has a `table`, and reads through it."""

    @property
    @abstractmethod
    def table(self) -> RowTable:
        """The rows in place, ready for the copy kernel."""

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Gather the rows through the copy kernel, from a file that has not changed by the end."""
        self.check_size()
        self.table.gather(indices, out)
        self.check()


def matlab_of(classes: Iterable[str | None]) -> str | None:
    """Give the class of MATLAB that parts of these have together.

    Examples:
        >>> matlab_of(["char", "char"]), matlab_of(["char", None])
        ('char', 'mixed')
    """
    different = set(classes)
    return different.pop() if len(different) == 1 else MIXED


def without(details: Details, *names: str) -> Details:
    """Give details without those of these names."""
    return tuple(pair for pair in details if pair[0] not in names)


def with_detail(details: Details, name: str, text: str) -> Details:
    """Give details with this one at the end, in place of that of its name."""
    return (*without(details, name), (name, text))


def costliest(sources: Sequence[Source]) -> Source:
    """Give the source whose blocks decide in which order rows come, and what is asked for ahead."""
    return max(sources, key=lambda source: (source.access.cost, source.row_bytes))


def rows_held(*sources: Source) -> int | None:
    """Give how many rows of all sources together the memory for decoded chunks holds."""
    limits = [held for source in sources if (held := source.rows_in_memory) is not None]
    if not limits:
        return None
    return int(1 / sum(1 / held for held in limits)) if all(limits) else 0
