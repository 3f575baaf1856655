"""What `describe` shows of a dataset: chunks, filters, decoder, and what random access costs.

Idea: the cost is a number that one can act on, the bytes decoded for each byte used. Invariant:
computed from what was examined; nothing is read or timed.
"""

import functools
import math
from typing import NamedTuple

from npdata.sources.hdf5.chunks.budget import default_budget
from npdata.sources.hdf5.codecs.pipeline import DECODERS
from npdata.sources.hdf5.examine.attributes import MATLAB, shown
from npdata.sources.hdf5.examine.creation_properties import Filter
from npdata.sources.hdf5.examine.examine import Examined
from npdata.sources.hdf5.examine.layout import Layout

Details = tuple[tuple[str, str], ...]


class _Cut(NamedTuple):
    """What of a layout decides what reading costs, the same for datasets that are made alike."""

    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...] | None
    row_bytes: int
    chunk_bytes: int
    filters: tuple[Filter, ...]

    @classmethod
    def of(cls, layout: Layout) -> "_Cut":
        cut = layout.shape, layout.chunk_shape, layout.row_bytes, layout.chunk_bytes
        return cls(*cut, layout.filters)


def details(examined: Examined) -> Details:
    """Give pairs of a name and a text for people."""
    layout, packing, matlab = examined.layout, examined.packing, examined.matlab
    stored = 0 if layout.chunks is None else len(layout.chunks)
    found = _details(_Cut.of(layout), stored, examined.access.kind, default_budget())
    if packing is not None:
        found = (*found, ("packing", shown(packing)))
    return found if matlab is None else (*found, ("matlab", MATLAB[matlab]))


def decoded_per_used(layout: Layout, budget: int) -> tuple[float, float]:
    """Give the bytes decoded for each byte used: shuffled by rows, and shuffled by blocks.

    By rows, a chunk is decoded again whenever it left the cache since its last row; a cache that
    holds the whole dataset decodes each chunk once. By blocks each is decoded once where the cache
    holds two blocks, one that is read and the next. Else it is as by rows, at worst.
    """
    return _decoded_per_used(_Cut.of(layout), budget)


@functools.lru_cache(maxsize=64)
def _details(cut: _Cut, stored: int, kind: str, budget: int) -> Details:
    found = [("row", f"{cut.row_bytes} bytes")]
    if cut.chunk_shape is not None:
        found.append(("chunks", f"{cut.chunk_shape}, {stored} stored"))
    if cut.filters:
        found.append(("filters", ", ".join(_filter(f.name, f.values) for f in cut.filters)))
    if kind == "decoded":
        parts = [DECODERS[step.id] for step in cut.filters]
        found.append(("decoder", ", ".join(f"{part.name} by {part.by}" for part in parts)))
    found.append(("cost", _cost(cut, kind, budget)))
    return tuple(found)


@functools.lru_cache(maxsize=64)
def _decoded_per_used(cut: _Cut, budget: int) -> tuple[float, float]:
    if cut.chunk_shape is None or not cut.filters or 0 in cut.shape:
        return 1.0, 1.0
    grid = [-(-n // c) for n, c in zip(cut.shape, cut.chunk_shape, strict=True)]
    total = math.prod(grid) * cut.chunk_bytes
    once = total / (cut.shape[0] * cut.row_bytes)
    absent = max(0.0, 1 - budget / total)
    per_row = math.prod(grid[1:]) * cut.chunk_bytes / cut.row_bytes
    rows = max(once, per_row * absent)
    return rows, once if 2 * _block_bytes(cut) <= budget else rows


def _block_bytes(cut: _Cut) -> int:
    """Give the decoded bytes of all chunks that the rows of one chunk lie in."""
    shape, chunk = cut.shape[1:], (cut.chunk_shape or cut.shape)[1:]
    return cut.chunk_bytes * math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))


def _cost(cut: _Cut, kind: str, budget: int) -> str:
    if kind == "mapped":
        return "each byte used is read once, in any order"
    if cut.chunk_shape is None:
        return "each byte used is read once, in any order, through h5py's lock"
    held = budget if kind == "decoded" else 0
    rows, blocks = _decoded_per_used(cut, held)
    by_rows = f"{rows:.3g} bytes decoded for each byte used shuffled by rows"
    if 2 * _block_bytes(cut) <= held or blocks <= 1:
        return f"{by_rows}, {blocks:.3g} by blocks"
    why = (
        f"the chunks of one block take {_block_bytes(cut)} bytes, more than half of the "
        f"{budget} of NPDATA_CACHE_BYTES"
        if held
        else "h5py keeps few decoded chunks"
    )
    return f"{by_rows}, up to {blocks:.3g} by blocks: {why}"


def _filter(name: str, values: tuple[int, ...]) -> str:
    return f"{name}({', '.join(map(str, values[:4]))})" if values else name
