"""Where the recordings and the files of a dataset begin: by borders, by a field, or by its parts.

Idea: whoever makes windows says where recordings begin; else they are the parts that fields are
made of. Invariant: nothing is read but a field that gives the borders, once, in pieces.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npdata.arrays.dtypes import Ints
from npdata.arrays.recordings import FLAGS, Recordings, changes
from npdata.dataset.field import Field
from npdata.errors import BordersWarning, FieldError, warn
from npdata.sources.base import Source
from npdata.sources.ragged import PiecesSource

PIECE_BYTES = 1 << 22
"""So many bytes of a field that gives the borders are read at a time."""


def recordings_by(fields: Sequence[Field], borders: Any) -> Recordings:
    """Give the recordings that `borders` of `windows()` says, or the parts of the fields."""
    rows = len(fields[0])
    one = Recordings.one(rows)
    if borders is None:
        return _parts(fields, one) or one
    if isinstance(borders, str | int | np.integer):
        told = _between_changes(fields, borders)
        return _parts(fields, told) or told
    told = Recordings.of_borders(borders, rows)
    if told.doubt:
        warn(
            f"borders= were taken as {told.origin}{told.doubt}; if not, say so by the number "
            f"of rows as the last border: borders=[..., {rows}]",
            BordersWarning,
        )
    parts = _parts(fields, one)
    if parts is not None and not np.isin(parts.edges, told.edges).all():
        told = replace(told, origin=f"{told.origin}, in place of {parts.origin}")
    return told


def _between_changes(fields: Sequence[Field], label: Any) -> Recordings:
    """Give the recordings that begin where the field `label` changes."""
    by_label: dict[Any, Field] = {field.label: field for field in fields}
    if label not in by_label or isinstance(label, bool):
        raise FieldError(
            f"borders={label!r} is no field; fields are {list(by_label)}; files and groups are "
            "recordings by themselves, and borders=[] lets windows cross from one to the next"
        )
    source = by_label[label].source
    if isinstance(source, PiecesSource):
        raise FieldError(
            f"borders={label!r} is a field of samples of different lengths, and a field that "
            "gives the borders has a number or a text for each row"
        )
    edges = np.concatenate([[0], changes_of(source), [len(source)]]).astype(np.int64)
    if _are_flags(source, edges):
        warn(
            f"a recording begins where a field changes, and field {label!r} looks like flags of "
            f"first or last rows, each of which is taken as a recording of its own; {FLAGS}",
            BordersWarning,
        )
    return Recordings(edges=edges, origin=f"where field {label!r} changes")


def _are_flags(source: Source, edges: Ints) -> bool:
    """Tell whether a field is 0 and 1, half of its 1s in single rows, between 0s if no bool."""
    if source.dtype.kind not in "biuf" or len(source.shape) != 1 or not len(source):
        return False
    values = np.empty(len(edges) - 1, source.dtype)
    source.read(edges[:-1], values)
    ones = values == 1
    single = np.diff(edges)[ones] == 1
    half = 2 * np.count_nonzero(single) >= len(single) > 0
    between = source.dtype == bool or np.count_nonzero(~ones) > 1
    return bool((ones | (values == 0)).all() and half and between)


def _parts(fields: Sequence[Field], told: Recordings) -> Recordings | None:
    """Give the recordings `told`, cut where a field has parts; None where none has any."""
    known = _different(field.source.borders for field in fields)
    if not known:
        return None
    if len(known) == 1 and len(told) == 1:
        return Recordings(edges=known[0], origin=f"the {len(known[0]) - 1} parts of the fields")
    for edges in known:
        told = told.joined(edges, f"the {len(edges) - 1} parts of a field")
    return told


def _different(edges: Iterable[Ints | None]) -> list[Ints]:
    """Give the edges that are known, those of several fields once."""
    known: list[Ints] = []
    for each in edges:
        if each is not None and not any(np.array_equal(each, before) for before in known):
            known.append(each)
    return known


def changes_of(source: Source) -> Ints:
    """Give the rows of a source, from 1 on, that differ from the row before; read in pieces."""
    piece = max(1, PIECE_BYTES // max(1, source.row_bytes))
    found = []
    for first in range(0, len(source), piece):
        begin = max(0, first - 1)
        rows = np.empty((min(first + piece, len(source)) - begin, *source.shape[1:]), source.dtype)
        source.read_run(begin, rows)
        found.append(changes(rows) + begin)
    return np.concatenate([np.zeros(0, np.int64), *found])


def first_of_recordings(fields: Sequence[Field]) -> Ints | None:
    """Give the first sample of each recording, and the number of samples; None if not known.

    Of rows a part of any field begins one, as windows are not to cross it; of windows all do.
    """
    if any(field.windows is not None for field in fields):
        return first_of_whole(fields)
    known = _parts(fields, Recordings.one(len(fields[0])))
    return None if known is None else known.edges


def first_of_whole(fields: Sequence[Field]) -> Ints | None:
    """Give the first sample of recordings that are whole in each field, and the number of samples.

    Beside windows, fields of rows have none. None where no field has any.
    """
    plans = [field.windows for field in fields if field.windows is not None]
    borders = (field.source.borders for field in fields)
    known = _different((plan.apart for plan in plans) if plans else borders)
    return functools.reduce(np.intersect1d, known) if known else None


def first_of_files(fields: Sequence[Field]) -> Ints:
    """Give the first sample of each file, and the number of samples.

    Samples that lie in one file for one field, and in several for another, count as one file.
    """
    known = [edges for field in fields if (edges := field.source.file_borders) is not None]
    if not known:
        return Recordings.one(len(fields[0])).edges
    return functools.reduce(np.intersect1d, known)
