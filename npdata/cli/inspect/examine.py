"""From a path to a report: which arrays a file holds, and how each is stored and read.

Idea: each format has an examination in `npdata.sources`, whose answer is put into the words of a
report. Invariant: a file that cannot be inspected gives a report that says why, and so does each
array; only a path or a member that is not there raises. No rows are read.
"""

import os
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from npdata.cli.files import undescribed
from npdata.cli.inspect.advice import advise
from npdata.cli.inspect.report import Chunks, Cost, DatasetReport, FileReport, Sample, Stored
from npdata.cli.signals import interrupts_wait
from npdata.errors import FormatError, MemberNotFoundError, NpdataError
from npdata.sources.base import Source
from npdata.sources.conversion import conversion_of
from npdata.sources.derived.columns import numeric_columns
from npdata.sources.formats.npy import declared, open_npy
from npdata.sources.formats.npz import DecodedMember, find_member, npz_members
from npdata.sources.formats.raw import RawFormat, open_raw
from npdata.sources.hdf5.catalog import list_datasets
from npdata.sources.hdf5.chunks.budget import default_budget
from npdata.sources.hdf5.examine.creation_properties import Filter
from npdata.sources.hdf5.examine.details import decoded_per_used
from npdata.sources.hdf5.examine.examine import Examined
from npdata.sources.hdf5.examine.layout import Layout
from npdata.sources.hdf5.names import coded_columns
from npdata.sources.hdf5.open import source_of
from npdata.sources.many_files.file_list import SEPARATOR, split_member
from npdata.sources.memory import MemorySource
from npdata.sources.open import Identified, identify
from npdata.sources.paths import require_local

ALIGNMENT = 64
"""Rows begin as well aligned as others that begin so many bytes further."""


@dataclass(frozen=True)
class Seen:
    """What is learned once for all files of a command; of 3,000 it takes half of the time.

    `alike` has the first of the datasets that are read alike, by what decides that, and `proven`
    counts those whose places were checked, by kind.
    """

    alike: dict[Hashable, Stored] = field(default_factory=dict)
    proven: Counter[object] = field(default_factory=Counter)


def examine(text: str, raw: RawFormat | None, seen: Seen | None = None) -> FileReport:
    """Report on `text`, a path or `file::member`; raises for what is not there."""
    seen = Seen() if seen is None else seen
    path, _ = split_member(text)
    require_local(path)
    try:
        report = FileReport(path=path, bytes=os.stat(path).st_size)  # noqa: PTH116
    except OSError as error:
        if not Path(path).is_symlink():
            raise
        return FileReport(path=path, bytes=0, failure=f"is a link: {error.strerror}")
    try:
        found = identify(text)
        report = replace(report, path=found.path, format=found.format)
        if found.format == "hdf5":
            with interrupts_wait():
                return _hdf5(report, found.member or "", seen)
        return replace(report, datasets=tuple(_arrays(found, raw)))
    except MemberNotFoundError:
        raise
    except (NpdataError, OSError) as error:
        return replace(report, failure=_without(path, error))


def _arrays(found: Identified, raw: RawFormat | None) -> Iterator[DatasetReport]:
    """Report on the arrays of a file that is not HDF5; raises where it has none to be read."""
    path = found.path
    if found.format == "npz":
        yield from _members(path, found.member)
    elif found.format == "npy":
        with Path(path).open("rb") as stream:
            refusal = declared(stream, path).refusal()
        if refusal is not None:
            yield DatasetReport(where=path, refusal=refusal)
        else:
            yield _in_place(path, open_npy(path))
    elif raw is not None:
        yield _in_place(path, open_raw(path, *raw))
    else:
        raise FormatError(undescribed(path))


def _in_place(where: str, source: Source) -> DatasetReport:
    row = source.row_layout
    ordered = row is None or row.contiguous or not len(source)
    stored = _stored(source, "C order" if ordered else "Fortran order")
    source.close()
    return _advised(where, stored)


def _members(path: str, named: str | None) -> Iterator[DatasetReport]:
    for name in [named] if named else npz_members(path):
        where = f"{path}{SEPARATOR}{name}"
        try:
            yield _member(where, path, name)
        except (NpdataError, OSError) as error:
            if named and isinstance(error, MemberNotFoundError):
                raise
            yield DatasetReport(where=where, refusal=_without(where, error))


def _member(where: str, path: str, name: str) -> DatasetReport:
    source = find_member(path, name)
    if not isinstance(source, DecodedMember):
        return _in_place(where, source)
    shape = source.shape
    order: Literal["C", "F"] = "F" if source.fortran else "C"
    # Decoded rows will lie in memory like those of this array.
    like = MemorySource(np.empty((min(2, shape[0]), *shape[1:]), source.dtype, order))
    stored = replace(
        _stored(like, f"{order} order"),
        shape=shape,
        stored_bytes=source.compressed_bytes,
        access=source.access,
        filters=(Filter(id=0, values=(), name=source.method),),
    )
    return _advised(where, stored)


def _advised(where: str, stored: Stored) -> DatasetReport:
    advice = (*_columns(where, stored), *advise(stored, where=where))
    return DatasetReport(where=where, stored=stored, advice=advice)


def _hdf5(report: FileReport, name: str, seen: Seen) -> FileReport:
    catalog = list_datasets(report.path, name, seen.proven)
    budget = default_budget()
    arrays = []
    for listed in catalog.datasets:
        where = f"{report.path}{SEPARATOR}{listed.name}"
        if listed.examined is None:
            arrays.append(DatasetReport(where=where, refusal=listed.refusal))
            continue
        try:
            dtype = listed.examined.layout.dtype
            coded = coded_columns(dtype, report.path, listed.name, None)
            arrays.append(_dataset(where, listed.examined, budget, seen.alike, coded))
        except (NpdataError, OSError) as error:
            arrays.append(DatasetReport(where=where, refusal=_without(where, error)))
    first = next((each.examined for each in catalog.datasets if each.examined is not None), None)
    if first is not None:
        first.file.close()  # that of all
    return replace(report, datasets=tuple(arrays), failure=catalog.fault)


def _dataset(
    where: str,
    examined: Examined,
    budget: int,
    alike: dict[Hashable, Stored],
    coded: tuple[str, ...],
) -> DatasetReport:
    layout = examined.layout
    full, block = decoded_per_used(layout, budget if examined.access.kind == "decoded" else 0)
    stored = replace(
        _read_alike(examined, alike, coded),
        shape=layout.shape,
        stored_bytes=layout.stored_bytes,
        chunks=_chunks(layout),
        filters=layout.filters,
        decoded_per_used=Cost(full=full, block=block),
    )
    if examined.missing:
        refusal = f"reading fails, since {examined.without_filters}"
        return DatasetReport(where=where, stored=stored, refusal=refusal)
    advice = (*_meanings(where, examined), *_columns(where, stored, coded))
    advice += advise(stored, where=where, budget=budget)
    return DatasetReport(where=where, stored=stored, advice=advice)


def _read_alike(
    examined: Examined, alike: dict[Hashable, Stored], coded: tuple[str, ...]
) -> Stored:
    """Give what is known of this dataset, or of one in `alike` whose rows are read in this way."""
    layout, access = examined.layout, examined.access
    place = (layout.offset or 0) % ALIGNMENT, layout.shape[0] == 0
    key = access, layout.storage, layout.dtype, layout.shape[1:], layout.filters, place, coded
    # To ask each of 5,000 sources took 0.4 s of 1.8; the library has a reason for each.
    known = alike.get(key) if access.kind != "library" else None
    if known is None:
        readable = replace(examined, missing=frozenset()) if examined.missing else examined
        source = source_of(readable)
        source.tell(coded=coded)
        known = alike[key] = _stored(source, layout.storage)
    return known


def _chunks(layout: Layout) -> Chunks | None:
    if layout.chunk_shape is None or layout.chunks is None:
        return None
    return Chunks(
        shape=layout.chunk_shape,
        bytes=layout.chunk_bytes,
        grid=layout.chunks.grid,
        stored=len(layout.chunks),
    )


def _meanings(where: str, examined: Examined) -> Iterator[str]:
    """Say how the values are had for which stored numbers stand."""
    packing, matlab = examined.packing, examined.matlab
    if matlab == "empty":
        yield "an empty array of MATLAB: what is stored is its size"
    elif matlab is not None:
        dtype = ", dtype=str" if matlab == "char" else ""
        call = f'npdata.NumpyDataset({where!r}, axis=-1, decode="matlab"{dtype})'
        yield f"{matlab} of MATLAB; a dataset of its values:\n{call}"
    if packing is not None and packing.fault is None:
        call = f'npdata.NumpyDataset({where!r}, decode="{packing.convention}")'
        yield f"packed ({packing}); a dataset of its values:\n{call}"


def _columns(where: str, stored: Stored, coded: tuple[str, ...] = ()) -> Iterator[str]:
    """Name the columns of numbers of records that hold text, objects or codes as well."""
    for name in coded:
        yield f"codes of names; a dataset of them:\nnpdata.NumpyDataset({f'{where}.{name}'!r})"
    names = tuple(name for name in numeric_columns(stored.dtype) if name not in coded)
    if stored.sample.kind == "refused" and names:
        call = f"npdata.NumpyDataset({where!r}, columns={names!r})"
        yield f"a table of numbers and text; a dataset of its columns of numbers:\n{call}"


def _stored(source: Source, layout: str) -> Stored:
    conversion = conversion_of(source)
    kind = "refused" if conversion.action == "refuse" else conversion.action
    return Stored(
        shape=source.shape,
        dtype=source.dtype,
        stored_bytes=len(source) * source.row_bytes,
        layout=layout,
        access=source.access,
        sample=Sample(kind=kind, reason=conversion.reason, dtype=conversion.dtype_text),
    )


def _without(where: str, error: Exception) -> str:
    """Give the message of an error without the place, which the report shows anyway."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    for place in (str(Path(where).absolute()), where):
        reason = reason.removeprefix(place).lstrip(": ")
    return reason
