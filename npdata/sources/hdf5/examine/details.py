"""What `describe` shows of a dataset: chunks, filters, decoder, and what random access costs.

Idea: the cost is a number that one can act on, the bytes decoded for each byte used. Invariant:
computed from what was examined; nothing is read or timed.
"""

import math
from dataclasses import replace

from npdata.arrays.axes import as_before, shown_axes
from npdata.sources.base import Details, without
from npdata.sources.hdf5.chunks.budget import default_budget
from npdata.sources.hdf5.codecs.pipeline import DECODERS
from npdata.sources.hdf5.examine.attributes import MATLAB, shown_packing
from npdata.sources.hdf5.examine.chunk_order import ChunkOrder
from npdata.sources.hdf5.examine.examine import Examined
from npdata.sources.hdf5.examine.layout import Layout


def details_of(examined: Examined) -> Details:
    """Give pairs of a name and a text for people."""
    layout, kind = examined.layout, examined.access.kind
    found = [("row", f"{layout.row_bytes} bytes")]
    if layout.chunk_shape is not None:
        found.append(("chunks", _chunks(layout)))
    if layout.filters:
        found.append(("filters", ", ".join(_filter(f.name, f.values) for f in layout.filters)))
    if kind == "decoded" and layout.filters:
        parts = [DECODERS[step.id] for step in layout.filters]
        found.append(("decoder", ", ".join(f"{part.name} by {part.by}" for part in parts)))
    found.append(("cost", _cost(layout, kind, default_budget())))
    if examined.packing is not None:
        found.append(("packing", shown_packing(examined.packing)))
    if examined.matlab is not None:
        found.append(("matlab", MATLAB[examined.matlab]))
    return tuple(found)


def details_across(layout: Layout, details: Details, axes: tuple[int, ...]) -> Details:
    """Give what `details` of a dataset become of its rows along other axes, which h5py reads."""
    shape, chunk = layout.shape, layout.chunk_shape
    row_bytes = layout.row_bytes * shape[0] // max(1, math.prod(shape[axis] for axis in axes))
    cost = "a row is scattered through the file, and h5py reads its pieces"
    if chunk is not None:
        grid = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
        touched = math.prod(grid) // max(1, math.prod(grid[axis] for axis in axes))
        rows = touched * layout.chunk_bytes / max(1, row_bytes)
        together = max(1, math.prod(min(shape[axis], chunk[axis]) for axis in axes))
        cost = (
            f"a row lies in {touched} chunks: {rows:.3g} bytes read for each byte used shuffled by "
            f"rows, {rows / together:.3g} by blocks of {together} rows"
        )
    kept = without(details, "row", "cost", "decoder")
    return (*kept, ("axis", shown_axes(axes, shape)), ("cost", cost))


def details_as_one(
    examined: Examined,
    merged: Layout,
    order: ChunkOrder,
    axes: tuple[int, ...],
    turned: tuple[int, ...] | None,
) -> Details:
    """Give what to show of the first axes of a dataset as one, which `merged` has so.

    With `turned` all its axes were put into this order, and `axes` are what the first were before.
    """
    shape = examined.layout.shape
    found = dict(details_of(replace(examined, layout=merged)))
    found["chunks"] = _chunks(examined.layout)
    if turned is not None:
        shape = as_before(shape, turned)
        found["chunks"] += f", with axes {turned} of the dataset"
    if examined.access.kind == "decoded" and not order.straight and 0 not in merged.shape:
        found["cost"] = _cost_in_order(merged, order, default_budget())
    found["axis"] = shown_axes(axes, shape)
    return tuple(found.items())


def _cost_in_order(merged: Layout, order: ChunkOrder, budget: int) -> str:
    """Give the cost of rows that do not follow one another in chunks."""
    chunk_rows, block = order.chunk_rows, _block_bytes(merged)
    rows, _ = decoded_per_used(merged, budget)
    once = math.prod(order.grid) * block / (order.count * merged.row_bytes)
    times = order.times(budget // block * chunk_rows)
    rows = max(rows, once)
    by_blocks = f"up to {rows:.3g}" if times is None else f"{min(rows, once * times):.3g}"
    return f"{rows:.3g} bytes decoded for each byte used shuffled by rows, {by_blocks} by blocks"


def decoded_per_used(layout: Layout, budget: int) -> tuple[float, float]:
    """Give the bytes decoded for each byte used: shuffled by rows, and shuffled by blocks.

    By rows, a chunk is decoded again whenever it left the cache since its last row; a cache that
    holds the whole dataset decodes each chunk once. By blocks each is decoded once where the cache
    holds two blocks, one that is read and the next. Else it is as by rows, at worst.
    """
    if layout.chunk_shape is None or not (layout.filters or budget) or 0 in layout.shape:
        return 1.0, 1.0
    block = _block_bytes(layout)
    total = -(-layout.shape[0] // layout.chunk_shape[0]) * block
    once = total / (layout.shape[0] * layout.row_bytes)
    absent = max(0.0, 1 - budget / total)
    rows = max(once, block / layout.row_bytes * absent)
    return rows, once if 2 * block <= budget else rows


def _block_bytes(layout: Layout) -> int:
    """Give the decoded bytes of all chunks that the rows of one chunk lie in."""
    shape, chunk = layout.shape[1:], (layout.chunk_shape or layout.shape)[1:]
    return layout.chunk_bytes * math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))


def _cost(layout: Layout, kind: str, budget: int) -> str:
    if kind == "mapped":
        return "each byte used is read once, in any order"
    if layout.chunk_shape is None:
        return "each byte used is read once, in any order, through h5py's lock"
    held = budget if kind == "decoded" else 0
    rows, blocks = decoded_per_used(layout, held)
    by_rows = f"{rows:.3g} bytes decoded for each byte used shuffled by rows"
    if 2 * _block_bytes(layout) <= held or blocks <= 1:
        return f"{by_rows}, {blocks:.3g} by blocks"
    why = (
        f"the chunks of one block take {_block_bytes(layout)} bytes, more than half of the "
        f"{budget} of NPDATA_CACHE_BYTES"
        if kind == "decoded"
        else "h5py keeps few decoded chunks"
    )
    return f"{by_rows}, up to {blocks:.3g} by blocks: {why}"


def _chunks(layout: Layout) -> str:
    stored = 0 if layout.chunks is None else len(layout.chunks)
    return f"{layout.chunk_shape}, {stored} stored"


def _filter(name: str, values: tuple[int, ...]) -> str:
    return f"{name}({', '.join(map(str, values[:4]))})" if values else name
