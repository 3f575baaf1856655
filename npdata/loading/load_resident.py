"""Fields loaded whole: read once, in the order of the file, into memory or onto a device.

Idea: the rows are cut into pieces of some MiB at the borders of blocks, which threads read ahead;
each piece goes to its place as it comes. Invariant: rows have the bits of the file, in native
order, and nothing is handed out before all of them are there. What is read is never written to.
"""

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.gather import address_of
from npdata.dataset.batch_memory import pinned_memory, pins_memory, plain_memory
from npdata.dataset.device_field import DeviceField, words_of
from npdata.dataset.field import Field
from npdata.dataset.progress import Bar
from npdata.dataset.rows_field import RowsField
from npdata.errors import DoesNotFitError, LoaderError
from npdata.loading.prefetcher import Prefetcher
from npdata.loading.residence import (
    HeldField,
    Residence,
    decide_residence,
    held_fields,
    obstacle_to_all,
)
from npdata.loading.schedule import MOST_THREADS, Auto
from npdata.loading.wrapped_datasets import parts_of, rebuilt
from npdata.runtime.machine import cores, free_bytes
from npdata.sources.base import Source
from npdata.sources.derived.subset import SubsetSource
from npdata.sources.memory import MemorySource

PIECE_BYTES = 4 << 20
"""So many bytes are read at a time, or a block if that is more."""
_LINE = 64
"""Bytes of a line of the processor's cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """The rows `numbers` of `source` (None: all) on their way to `array`, or to `tensor`."""

    source: Source
    numbers: NDArray[np.int64] | None
    array: NDArray[Any] | None
    tensor: Tensor | None

    def cuts(self) -> Iterator[slice]:
        """Cut the rows into pieces, all of them at the borders of blocks."""
        source, numbers = self.source, self.numbers
        count = len(source) if numbers is None else len(numbers)
        cuts = np.arange(0, count, max(1, PIECE_BYTES // max(1, source.row_bytes)))
        if numbers is None and count:
            edges = source.blocks.edges()
            cuts = edges[np.searchsorted(edges, cuts)]
        cuts = np.unique(np.append(cuts, count))
        return map(slice, cuts[:-1].tolist(), cuts[1:].tolist())

    def read(self, piece: slice) -> Tensor | None:
        """Read a piece into its place, or for a device into memory that is given."""
        if self.array is not None:
            self._read(piece, self.array[piece])
            return None
        assert self.tensor is not None
        allocate = pinned_memory if pins_memory() else plain_memory
        shape = (piece.stop - piece.start, *self.tensor.shape[1:])
        staged = allocate(shape, self.tensor.dtype)
        self._read(piece, staged.numpy())
        return staged

    def _read(self, piece: slice, out: NDArray[Any]) -> None:
        source, numbers = self.source, self.numbers
        words = out if out.dtype == source.dtype else out.view(source.dtype)
        if numbers is not None:
            source.read(numbers[piece], words)
        elif source.access.kind == "mapped":  # changes in private maps are in batches too
            source.will_need(piece.start, piece.stop)
            source.read(np.arange(piece.start, piece.stop), words)
        else:
            source.read_run(piece.start, words)
        if source.dtype.kind in "biufcmM" and out.dtype.isnative and not source.dtype.isnative:
            words.byteswap(inplace=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class ToLoad:
    """What of `dataset` may be held on `device` (None: in memory), as `asked`."""

    dataset: Any
    asked: bool | Auto
    device: torch.device | None
    fields: Sequence[HeldField]
    obstacle: str | None

    @classmethod
    def of(
        cls,
        dataset: Any,
        chosen: NDArray[np.int64] | None,
        *,
        asked: bool | Auto,
        device: torch.device | None,
        budget: int | None,
    ) -> Self:
        """Look at a dataset, of which the rows `chosen` are used (None: all).

        Raises `LoaderError` (a ValueError) where True asks for what cannot be held.
        """
        if not isinstance(asked, bool) and asked != "auto":
            raise LoaderError(f"resident={asked!r}: expected True, False or 'auto'")
        obstacle = obstacle_to_all(dataset, asked, device, budget)
        fields = [] if obstacle else held_fields(dataset, chosen, device)
        made = cls(dataset=dataset, asked=asked, device=device, fields=fields, obstacle=obstacle)
        made._decided(free=None)
        return made

    def load(self, *, progress: bool) -> tuple[Residence, Any]:
        """Decide by what is free now, and load: what was decided, and the dataset to read then.

        Raises `DoesNotFitError` (a MemoryError), and what reading raises.
        """
        decided = self._decided(free=free_bytes(self.device))
        if not decided.chosen:
            return decided, self.dataset
        kept = [
            held if k in decided.chosen else replace(held, sources=())
            for k, held in enumerate(self.fields)
        ]
        try:
            return decided, load(self.dataset, kept, self.device, progress=progress)
        except (MemoryError, torch.OutOfMemoryError) as error:
            if self.asked is not True:
                return Residence.streamed(f"rows are streamed: {error}"), self.dataset
            raise DoesNotFitError(
                f"resident=True needs {decided.nbytes} bytes, which the system refused: {error}; "
                "use fewer rows (indices=), or resident='auto'"
            ) from error

    def _decided(self, free: int | None) -> Residence:
        return decide_residence(
            self.asked,
            self.fields,
            free=free,
            shared_by=processes_here() if self.device is None else 1,
            device=self.device,
            obstacle=self.obstacle,
        )


def processes_here() -> int:
    """Give how many processes of a training share this machine, by what torchrun says.

    Examples:
        >>> processes_here()
        1
    """
    told = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(told)) if told.isdigit() else 1


def load(
    dataset: Any, fields: Sequence[HeldField], device: torch.device | None, *, progress: bool
) -> Any:
    """Give `dataset` with these fields held in memory, or on `device`; of others as they are.

    `fields` are all of it, in order, of which those without sources stay. Raises what reading
    raises, MemoryError and torch's OutOfMemoryError.
    """
    loading = [[_empty(held, base, device) for base in held.sources] for held in fields]
    begin: Callable[[], object] = int
    if device is not None and device.type != "cpu":
        begin = functools.partial(torch.accelerator.set_device_index, device.index)
    _read([rows for of_field in loading for rows in of_field], begin, progress)
    made = iter([_field(held, rows) for held, rows in zip(fields, loading, strict=True)])
    parts = [part.with_fields([next(made) for _ in part.fields]) for part, _ in parts_of(dataset)]
    return rebuilt(dataset, iter(parts))


def _empty(held: HeldField, source: Source, device: torch.device | None) -> _Rows:
    numbers = None if held.part is None else held.part.numbers
    count = len(source) if numbers is None else len(numbers)
    shape = (count, *source.shape[1:])
    array = tensor = None
    if device is None:
        # Rows that are in memory already, beside these in one field, keep their byte order.
        native = source.dtype.kind in "biufcmM" and held.sources == held.field.source.bases
        array = _at_a_line(shape, source.dtype.newbyteorder("=") if native else source.dtype)
    else:
        assert isinstance(held.field, RowsField)
        tensor = torch.empty(shape, dtype=words_of(held.field), device=device)
    return _Rows(source=source, numbers=numbers, array=array, tensor=tensor)


def _at_a_line(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Give memory that begins with a line of the cache, for rows that are gathered one by one.

    NumPy's own begins 16 bytes later, so that a row of 128 bytes lies in three lines in place of
    two: a million of them in random order take 35 ms in place of 22.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or not nbytes:
        return np.empty(shape, dtype)
    memory = np.empty(nbytes + _LINE - 1, np.uint8)
    first = -address_of(memory) % _LINE
    return memory[first : first + nbytes].view(dtype).reshape(shape)


def _read(loading: Sequence[_Rows], begin: Callable[[], object], progress: bool) -> None:
    pieces = [(rows, piece) for rows in loading for piece in rows.cuts()]
    library = any(rows.source.access.kind == "library" for rows in loading)
    threads = 0 if library else min(cores(), MOST_THREADS)
    with (
        closing(Bar(len(pieces), "loading", shown=progress)) as bar,
        Prefetcher(
            lambda job: job[0].read(job[1]),
            pieces,
            threads=threads,
            depth=2 * threads + 1,
            begin=begin,
        ) as read,
    ):
        for (rows, piece), staged in zip(pieces, read, strict=True):
            if staged is not None and rows.tensor is not None:
                rows.tensor[piece].copy_(staged)
            bar.advance()
    for rows in loading:
        if rows.tensor is not None and rows.tensor.device.type != "cpu":
            torch.accelerator.synchronize(rows.tensor.device)


def _field(held: HeldField, loaded: Sequence[_Rows]) -> Field:
    """Give the field over the rows that were loaded."""
    if not held.sources:
        return held.field
    field, part = held.field, held.part
    places = None if part is None else part.places
    if loaded[0].tensor is not None:
        assert isinstance(field, RowsField)
        return DeviceField(field, loaded[0].tensor, places)
    sources: dict[int, Source] = {}
    for rows in loaded:
        assert rows.array is not None
        memory = MemorySource(rows.array)
        memory.keeps_text = rows.source.keeps_text
        whole = memory if places is None else SubsetSource(memory, places, len(rows.source))
        sources[id(rows.source)] = whole
    bases = [sources.get(id(base), base) for base in field.source.bases]
    return field.over(field.source.over(bases))
