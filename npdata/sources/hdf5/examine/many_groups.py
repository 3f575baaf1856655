"""Looking at one dataset of each of many groups, which are to make one field.

Idea: every dataset is looked at once, for its length and where its rows lie; only those that lie
in one piece need their layout. Invariant: rows are of one kind in all groups, or it is an error; a
place in the file is given only for a dataset that would be read there alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from npdata.arrays.dtypes import Ints
from npdata.errors import FieldError
from npdata.sources.base import Access, matlab_of
from npdata.sources.concatenated.parts import Held
from npdata.sources.hdf5.examine.attributes import packing_and_class
from npdata.sources.hdf5.examine.examine import OpenedFile, decided, examine, look_at
from npdata.sources.hdf5.examine.layout import Layout, read_layout
from npdata.sources.packed.packing import Packing, Packings


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """What was seen of each dataset: `offsets` in the file, -1 for those to be opened.

    `lengths` are rows, `block_rows` those of a chunk, 0 without chunks; int64, one a dataset.
    `pattern` is what the names match, "" where they were listed.
    """

    path: str
    pattern: str
    names: tuple[str, ...]
    lengths: Ints
    offsets: Ints
    block_rows: Ints
    first: Layout
    access: Access
    packings: Packings
    matlab: str | None


def look_at_groups(opened: OpenedFile, names: Sequence[str], pattern: str) -> Groups:
    """Look at each dataset once; the first is examined as any dataset is.

    Raises `FieldError` where rows differ, and what `examine` raises.
    """
    examined = examine(opened, names[0])
    first, access = examined.layout, examined.access
    if examined.categories is not None:
        raise FieldError(
            f"{examined.where} is a categorical column, and each group has categories of its own; "
            "give the columns by their names: npdata.concatenate(['FILE::GROUP/COLUMN', ...])"
        )
    seen, packings, classes = zip(*(_seen(opened, name, first) for name in names), strict=True)
    lengths, offsets, block_rows = np.array(seen, np.int64).T
    away = int((offsets < 0).sum())
    reason = f"{len(names)} groups end to end, as the first: {access.reason}"
    if offsets[0] >= 0 and away:
        reason += f"; {away} of them are opened one by one"
    return Groups(
        path=opened.path,
        pattern=pattern,
        names=tuple(names),
        lengths=lengths,
        offsets=offsets,
        block_rows=block_rows,
        first=replace(first, chunks=None, file=opened.facts),
        access=Access(kind=access.kind, reason=reason),
        packings=Packings.of_parts(packings, np.append(0, np.cumsum(lengths)[:-1])),
        matlab=matlab_of(classes),
    )


def _seen(
    opened: OpenedFile, name: str, first: Layout
) -> tuple[tuple[int, int, int], Packing | None, str | None]:
    """Give length, offset and rows of a chunk of one dataset, as `Groups` has them.

    Beside them what its numbers stand for, as packing and as class of MATLAB.

    Raises `FieldError` where its rows are not like those of the first.
    """
    dataset, where, facts, creation = look_at(opened, name)
    length, *rest = dataset.get_space().get_simple_extent_dims()
    row, chunk = (*rest, *creation.inner), creation.chunk_shape
    if (row, creation.dtype) != (first.shape[1:], first.dtype):
        wanted, held = Held.rows(first.shape[1:], first.dtype), Held.rows(row, creation.dtype)
        cure = held.no_one_field_with(wanted)
        if creation.dtype == first.dtype:
            cure += ". Groups are laid end to end so by npdata.concatenate('FILE::*/x', ragged=...)"
        raise FieldError(f"{where} holds {held}, and {first.path}::{first.name} {wanted}; {cure}")
    offset = -1
    if creation.storage == "contiguous" and facts is opened.facts:
        layout = read_layout(dataset, facts, creation)
        if decided(opened, dataset, layout).kind == "mapped":
            offset = layout.offset or 0
    found = length, offset, chunk[0] if chunk else 0
    return found, *packing_and_class(dataset, first.dtype)
