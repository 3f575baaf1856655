"""Rows gathered out of many files by one call.

Idea: where files are mapped as one array, a row of any is a row of that; else a row is an address,
and the copy kernel reads all as rows of one run of bytes. Invariant: a row is read only while its
map is held, and only after its file was seen unchanged (`shard_maps`); after the copy that is
asked again.
"""

import contextlib
import math
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType, Ints
from npdata.arrays.gather import ByteRows, copy_spans
from npdata.errors import ChangedFileError, ClosedError
from npdata.runtime.lazy_torch import torch
from npdata.runtime.per_process import PerProcess
from npdata.sources.file import ask_for, fill
from npdata.sources.file_map import page_out
from npdata.sources.many_files.file_table import FileTable
from npdata.sources.many_files.joint_map import JointLayout, JointMap
from npdata.sources.many_files.known_file import gone
from npdata.sources.many_files.shard_maps import Maps, all_maps, most_maps


class Shards:
    """Parts that lie in the files of `table`, from which rows are gathered.

    Part k lies in file `file[k]`, and row r of it from byte `base[k] + r * row_bytes` on; r may
    count from the first row of all parts, so that `base` is negative. File -1 is the memory of this
    process, and the byte an address. `step` is 1, 2, 4, 8 or 16, and all these are multiples of it.
    Where all parts lie in files, they are mapped as one array if that can be.
    """

    def __init__(
        self,
        table: FileTable,
        file: Ints,
        base: Ints,
        *,
        dtype: DType,
        row_shape: tuple[int, ...],
        step: int,
        memory: tuple[int, int] | None = None,
    ) -> None:
        """Name the files; none is opened before the first row is asked for.

        `memory` are the lowest and the highest address of parts in memory, which the caller keeps.
        """
        self.table = table
        self._file = file
        self._base = base
        self.row_bytes = row_bytes = math.prod(row_shape) * dtype.itemsize
        self._step = step
        layout = None
        # Each file counts as two maps: what is reserved in front of it stays one.
        if memory is None and len(table) <= most_maps() // 6:
            layout = JointLayout.of(table.facts["offset"], table.facts["length"], row_bytes)
        if layout is not None:
            before = (base - table.facts["offset"][file]) // row_bytes
            self._firsts = layout.firsts[file] + before
        bounds = memory or (1 << 62, 0)
        self.maps = PerProcess(
            lambda: Maps(table, file, bounds, JointMap.reserved(layout, dtype, row_shape))
        )
        all_maps.add(self.maps)
        self._closed = False

    def _opened(self) -> Maps:
        """Give the maps of this process, which stay mapped as long as they are referred to."""
        if self._closed and len(self.table):
            raise ClosedError(f"{self.table.files!r} were closed; make a new dataset")
        return self.maps.get()

    def select(self, parts: Ints, rows: Ints, out: "torch.Tensor") -> bool:
        """Copy row `rows[k]` of part `parts[k]` to `out[k]`, a tensor of their dtype.

        False where they are no rows of one array, so that it must `gather`. Raises
        `ChangedFileError`.
        """
        maps = self._opened()  # held until the end, and with it every map
        joint = maps.joint
        if joint is None or not joint.table.typed:
            return False
        events = maps.look(parts)
        numbers = self._firsts[parts]
        numbers += rows
        joint.table.select(numbers, out)
        if maps.events() != events:
            maps.look(parts)
        return True

    def gather(self, parts: Ints, rows: Ints, out: NDArray[Any]) -> None:
        """Copy row `rows[k]` of part `parts[k]` to `out[k]`; `out` is C-contiguous.

        Raises `ChangedFileError`.
        """
        maps = self._opened()  # held until the end, and with it every map
        events = maps.look(parts)
        if maps.joint is not None:
            maps.joint.table.gather(self._firsts[parts] + rows, out)
        else:
            view, firsts = maps.view or self._view(maps)
            starts = firsts[parts]  # `take` would release the GIL
            starts += rows * (self.row_bytes // self._step)
            view.select(starts, out.reshape(len(rows), -1).view(np.uint8))
        if maps.events() != events:
            maps.look(parts)

    def gather_runs(self, parts: Ints, starts: Ints, stops: Ints, out: NDArray[Any]) -> None:
        """Copy rows `[starts[k], stops[k])` of part `parts[k]`, one run after the other."""
        maps = self._opened()
        events = maps.look(parts)
        bases = maps.address[self._file[parts]] + self._base[parts]
        begins, ends = bases + starts * self.row_bytes, bases + stops * self.row_bytes
        low, high = int(begins.min()), int(ends.max())
        memory = ByteRows.between(low, high, 1, step=1).view.numpy()[:, 0]
        copy_spans(memory, begins - low, ends - low, out)
        if maps.events() != events:
            maps.look(parts)

    def _view(self, maps: Maps) -> tuple[ByteRows, Ints]:
        """Work out where the rows of all parts lie, which takes 30 µs, a third of a batch."""
        with maps.lock:
            low, high = maps.bounds
            rows = ByteRows.between(low, high, self.row_bytes, step=self._step)
            maps.view = rows, (maps.address[self._file] + self._base - low) // self._step
            return maps.view

    def check(self) -> None:
        """Raise `ChangedFileError` if any file changed since it was looked at first."""
        self._opened().check()

    def close_idle(self) -> None:
        """Release all maps; reads that have begun keep theirs."""
        self.maps.take()

    def close(self) -> None:
        """Release all maps, and map no more."""
        self._closed = True
        self.close_idle()


class Shard(NamedTuple):
    """File `number` of shards, by its own rows."""

    shards: Shards
    number: int

    def _place(self, row: int) -> int:
        first = int(self.shards.table.facts["offset"][self.number])
        return first + row * self.shards.row_bytes

    def read_run(self, first: int, out: NDArray[Any]) -> None:
        """Read the rows from `first` on into all of `out`, past any map."""
        if not out.size:
            return
        table, number = self.shards.table, self.number
        with table.opened(number) as descriptor:
            whole = fill(descriptor, self._place(first), out.reshape(-1).view(np.uint8).data)
            table.require(number, os.fstat(descriptor))
        if not whole:
            raise gone(table.files.path(number))

    def will_need(self, first: int, stop: int) -> None:
        """Ask the kernel to read these rows now, unless they are in memory already."""
        nbytes = (stop - first) * self.shards.row_bytes
        # Reading reports what is wrong.
        with (
            contextlib.suppress(OSError, ChangedFileError),
            self.shards.table.opened(self.number) as file,
        ):
            ask_for(file, self._place(first), nbytes)

    def dont_need(self, first: int, stop: int) -> None:
        """Tell the kernel that these rows may leave memory."""
        maps = self.shards.maps.made()
        address = 0 if maps is None else int(maps.address[self.number])
        if address:
            page_out(address + self._place(first), (stop - first) * self.shards.row_bytes)
