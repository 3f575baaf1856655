"""Fields loaded whole: read once, in the order of the file, into memory or onto a device.

Idea: the rows are cut into pieces of some MiB at the borders of blocks, which threads read ahead;
each piece goes to its place as it comes. Invariant: rows have the bits of the file, in native
order, and nothing is handed out before all of them are there. What is read is never written to.
"""

import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.dtypes import Ints
from npdata.arrays.gather import memory_at_a_line
from npdata.dataset.batch_memory import pinned_memory, pins_memory, plain_memory
from npdata.dataset.device_field import DeviceField, words_of
from npdata.dataset.field import Field
from npdata.dataset.progress import Bar
from npdata.dataset.rows_field import RowsField
from npdata.errors import DoesNotFitError
from npdata.loading.prefetcher import Prefetcher
from npdata.loading.residence import Candidates, HeldField, Residence, decide_residence
from npdata.loading.schedule import MOST_THREADS
from npdata.loading.wrapped_datasets import parts_of, rebuilt
from npdata.runtime.machine import cores, free_bytes
from npdata.sources.base import Source
from npdata.sources.derived.subset import Places, SubsetSource
from npdata.sources.memory import MemorySource

PIECE_BYTES = 4 << 20
"""So many bytes are read at a time, or a block if that is more."""


def load_resident(dataset: Any, found: Candidates, *, progress: bool) -> tuple[Residence, Any]:
    """Decide by what is free now, and load: give the decision, and the dataset to read then.

    Raises `DoesNotFitError` (a MemoryError), and what reading raises.
    """
    device = found.device
    shared_by = processes_here() if device is None else 1
    decided = decide_residence(found, free=free_bytes(device), shared_by=shared_by)
    if not decided.chosen:
        return decided, dataset
    fields = [
        held if number in decided.chosen else replace(held, sources=())
        for number, held in enumerate(found.fields)
    ]
    try:
        return decided, load(dataset, fields, device, progress=progress)
    except (MemoryError, torch.OutOfMemoryError) as error:
        if found.asked is not True:
            return Residence(reason=f"rows are streamed: {error}"), dataset
        raise DoesNotFitError(
            f"resident=True needs {decided.nbytes} bytes, which the system refused: {error}; "
            "use fewer rows (indices=), or resident='auto'"
        ) from error


def processes_here() -> int:
    """Give how many processes of a training share this machine, by what torchrun says."""
    told = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(told)) if told.isdigit() else 1


def load(
    dataset: Any, fields: Sequence[HeldField], device: torch.device | None, *, progress: bool
) -> Any:
    """Give `dataset` with its `fields`, in order, held in memory or on `device`.

    Those without sources stay as they are. Raises what reading raises, MemoryError and torch's
    OutOfMemoryError.
    """
    loading = _rows_to_load(fields, device)
    _read(list(loading.values()), device, progress)
    places: dict[int, Places] = {}
    for held in fields:
        if held.sources and held.used is not None and id(held.used) not in places:
            places[id(held.used)] = Places(held.used, len(held.sources[0]))
    made = (_field(held, loading, places.get(id(held.used))) for held in fields)
    parts = [part.with_fields([next(made) for _ in part.fields]) for part, _ in parts_of(dataset)]
    return rebuilt(dataset, iter(parts))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """The rows `numbers` of `source` (None: all) on their way to `target`."""

    source: Source
    numbers: Ints | None
    target: NDArray[Any] | Tensor

    def cuts(self) -> Iterator[slice]:
        """Cut the rows into pieces, all of them at the borders of blocks."""
        source, count = self.source, len(self.target)
        cuts = np.arange(0, count, max(1, PIECE_BYTES // max(1, source.row_bytes)))
        if self.numbers is None:
            edges = source.blocks.edges()
            cuts = edges[np.searchsorted(edges, cuts)]
        cuts = np.unique(np.append(cuts, count))
        return map(slice, cuts[:-1].tolist(), cuts[1:].tolist())

    def read(self, piece: slice) -> Tensor | None:
        """Read a piece into its place, or for a device into memory that is given."""
        target = self.target[piece]
        if not isinstance(target, Tensor):
            self._read(piece, target)
            return None
        allocate = pinned_memory if pins_memory() else plain_memory
        staged = allocate(tuple(target.shape), target.dtype)
        self._read(piece, staged.numpy())
        return staged

    def _read(self, piece: slice, out: NDArray[Any]) -> None:
        source, numbers = self.source, self.numbers
        words = out.view(source.dtype)
        if numbers is not None:
            source.read(numbers[piece], words)
        elif source.access.kind == "mapped":  # with what was changed in a private map, as batches
            source.will_need(piece.start, piece.stop)
            source.read(np.arange(piece.start, piece.stop), words)
        else:
            source.read_run(piece.start, words)
        if out.dtype.isnative and not source.dtype.isnative:
            words.byteswap(inplace=True)


def _rows_to_load(fields: Sequence[HeldField], device: torch.device | None) -> dict[Source, _Rows]:
    """Make room for the rows of each source, once for all fields that it is for."""
    # Rows that are in memory already, beside others in one field, keep their byte order.
    in_part = {
        source
        for held in fields
        for source in held.sources
        if held.sources != held.field.source.bases
    }
    loading: dict[Source, _Rows] = {}
    for held in fields:
        for source in held.sources:
            if source not in loading:
                native = source not in in_part
                loading[source] = _rows_of(held, source, device, native=native)
    return loading


def _rows_of(
    held: HeldField, source: Source, device: torch.device | None, *, native: bool
) -> _Rows:
    count = len(source) if held.used is None else len(held.used)
    shape = (count, *source.shape[1:])
    target: NDArray[Any] | Tensor
    if device is None:
        numbers = source.dtype.kind in "biufcmM"
        dtype = source.dtype.newbyteorder("=") if native and numbers else source.dtype
        # Rows are gathered one by one: 128 bytes lie in two lines, not three.
        target = memory_at_a_line(math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
    else:
        assert isinstance(held.field, RowsField)
        with torch.inference_mode(False):  # a loop of inference may be the first of all
            target = torch.empty(shape, dtype=words_of(held.field), device=device)
    return _Rows(source=source, numbers=held.used, target=target)


def _read(loading: Sequence[_Rows], device: torch.device | None, progress: bool) -> None:
    pieces = [(rows, piece) for rows in loading for piece in rows.cuts()]
    library = any(rows.source.access.kind == "library" for rows in loading)
    threads = 0 if library else min(cores(), MOST_THREADS)
    begin: Callable[[], object] = int
    accelerator = None if device is None or device.type == "cpu" else device
    if accelerator is not None:
        begin = functools.partial(torch.accelerator.set_device_index, accelerator.index)
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
            if isinstance(rows.target, Tensor) and staged is not None:
                rows.target[piece].copy_(staged)
            bar.advance()
    if accelerator is not None:
        torch.accelerator.synchronize(accelerator)


def _field(held: HeldField, loaded: Mapping[Source, _Rows], places: Places | None) -> Field:
    """Give the field over the rows that were loaded."""
    field = held.field
    if not held.sources:
        return field
    first = loaded[held.sources[0]].target
    if isinstance(first, Tensor):
        assert isinstance(field, RowsField)
        return DeviceField(field, first, places)
    sources: dict[Source, Source] = {}
    for source in held.sources:
        target = loaded[source].target
        assert isinstance(target, np.ndarray)
        memory = MemorySource(target)
        memory.keeps_text = source.keeps_text
        whole = memory if places is None else SubsetSource(memory, places, len(source))
        sources[source] = whole
    bases = [sources.get(base, base) for base in field.source.bases]
    return field.over(field.source.over(bases))
