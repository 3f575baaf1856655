"""Looking at one dataset of each of many groups, which are to make one field.

Idea: every dataset is looked at once, by the calls below h5py's objects, for its length and where
its rows lie. Invariant: rows are of one kind in all groups, or it is an error; a place in the file
is given only for a dataset whose first row was found there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from npdata.errors import FieldError, SourceError
from npdata.sources.base import Access
from npdata.sources.concatenated.summary import NO_ONE_FIELD
from npdata.sources.hdf5.examine.attributes import read_packing
from npdata.sources.hdf5.examine.creation_properties import storage_of
from npdata.sources.hdf5.examine.examine import OpenedFile, examine, open_id
from npdata.sources.hdf5.examine.layout import Layout
from npdata.sources.hdf5.examine.links import require_own_data
from npdata.sources.packed.packing import Packing, Packings


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """What was seen of each dataset: `offsets` in the file, -1 for those to be opened.

    `lengths` are rows, `block_rows` those of a chunk, 0 without chunks; int64, one a dataset.
    """

    path: str
    names: tuple[str, ...]
    lengths: NDArray[np.int64]
    offsets: NDArray[np.int64]
    block_rows: NDArray[np.int64]
    first: Layout
    access: Access
    packings: Packings


def look_at_groups(opened: OpenedFile, names: Sequence[str]) -> Groups:
    """Look at each dataset once; the first is examined as any dataset is.

    Raises `FieldError` where rows differ, and what `examine` raises.
    """
    with open(opened.path, "rb", buffering=0) as raw:  # noqa: PTH123
        first = _First(opened, names[0], raw)
        seen = [first.look_at(name) for name in names]
    lengths = np.array([each.length for each in seen], np.int64)
    offsets = np.array([each.offset for each in seen], np.int64)
    access = first.examined.access
    away = int((offsets < 0).sum())
    reason = f"{len(names)} groups end to end, as the first: {access.reason}"
    if first.in_place and away:
        reason += f"; {away} of them are opened one by one"
    packings = [each.packing for each in seen]
    return Groups(
        path=opened.path,
        names=tuple(names),
        lengths=lengths,
        offsets=offsets,
        block_rows=np.array([each.block_rows for each in seen], np.int64),
        first=first.examined.layout,
        access=Access(kind=access.kind, reason=reason),
        packings=Packings.of_parts(packings, np.append(0, np.cumsum(lengths)[:-1])),
    )


class _Seen(NamedTuple):
    """What was seen of one dataset; see `Groups`."""

    length: int
    offset: int
    block_rows: int
    packing: Packing | None


class _First:
    """The first dataset, with which the others are compared."""

    def __init__(self, opened: OpenedFile, name: str, raw: Any) -> None:
        """Examine it; `raw` is the file, open for reading past HDF5."""
        self.examined = examine(opened, name)
        layout = self.examined.layout
        plain = layout.storage == "contiguous" and layout.rank == len(layout.shape)
        self.in_place = self.examined.access.kind == "mapped" and plain
        self._opened = opened
        self._raw = raw
        self._type = open_id(opened, name).get_type()
        self._rest = layout.shape[1 : layout.rank]
        self._row = np.empty((1, *layout.shape[1:]), layout.dtype)
        self._target = h5py.h5s.create_simple(self._row.shape)

    def look_at(self, name: str) -> _Seen:
        """Look at another dataset, whose rows must be like those of the first.

        To ask it anything makes an object of h5py, so it is asked once.
        """
        where, layout = f"{self._opened.path}::{name}", self.examined.layout
        dataset = open_id(self._opened, name)
        properties = dataset.get_create_plist()
        storage = storage_of(properties)
        if not self._opened.options.allow_external:
            # Before its shape: that of a virtual dataset may be that of its sources.
            require_own_data(dataset, storage, where)
        space = dataset.get_space()
        shape = space.get_simple_extent_dims()
        if not shape:
            raise SourceError(f"{where} is a scalar or null dataset and has no rows")
        if shape[1:] != self._rest or not (
            dataset.get_type().equal(self._type) and len(shape) == layout.rank
        ):
            raise FieldError(
                f"rows of {self.examined.where} are {self._rest} of {layout.dtype}, those of "
                f"{where} are {shape[1:]} of {dataset.dtype}; {NO_ONE_FIELD}"
            )
        packing, chunked = read_packing(dataset, layout.dtype), storage == "chunked"
        block_rows = int(properties.get_chunk()[0]) if chunked else 0
        offset = self._offset(dataset, space) if storage == "contiguous" else -1
        return _Seen(shape[0], offset, block_rows, packing)

    def _offset(self, dataset: Any, space: Any) -> int:
        """Give where rows that lie in one piece lie in the file, -1 where that is not sure."""
        layout = self.examined.layout
        nbytes = space.get_simple_extent_dims()[0] * layout.row_bytes
        offset = dataset.get_offset() if self.in_place and nbytes else None
        if offset is None or dataset.get_storage_size() != nbytes:
            return -1
        if offset + nbytes > layout.identity.size:
            return -1
        space.select_hyperslab((0,) * layout.rank, self._row.shape)
        dataset.read(self._target, space, self._row)
        self._raw.seek(offset)
        return offset if self._raw.read(self._row.nbytes) == self._row.tobytes() else -1
