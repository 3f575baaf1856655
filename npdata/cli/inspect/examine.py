"""From a path to a report: which arrays a file holds, and how each is stored and read.

Idea: each format has an examination in `npdata.sources`, whose answer is put into the words of a
report. Invariant: a file that cannot be inspected gives a report that says why, and so does each
array; only a path or a member that is not there raises. No rows are read.
"""

import glob
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from npdata.cli.console import UsageError
from npdata.cli.inspect.advice import advise
from npdata.cli.inspect.report import Chunks, Cost, DatasetReport, FileReport, FilterUse, Stored
from npdata.cli.raw import RawLayout, undescribed
from npdata.dataset.rows_field import conversion_of
from npdata.errors import FormatError, MemberNotFoundError, NpdataError, SourceError
from npdata.sources.base import Source
from npdata.sources.file import require_local
from npdata.sources.foreign import foreign_file
from npdata.sources.hdf5 import list_datasets
from npdata.sources.hdf5.budget import default_budget
from npdata.sources.hdf5.catalog import Listed
from npdata.sources.hdf5.codecs.pipeline import DECODERS
from npdata.sources.hdf5.details import decoded_per_used
from npdata.sources.hdf5.examine import Examined
from npdata.sources.hdf5.kinds import Filter
from npdata.sources.hdf5.open import source_of, without_filters
from npdata.sources.many_files.file_list import SEPARATOR, split_member
from npdata.sources.memory import MemorySource
from npdata.sources.npz import examine_npz, npz_members
from npdata.sources.open import identify, open_source

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")
ALIGNMENT = 64
"""Rows begin as well aligned as others that begin so many bytes further."""
RAW_SUFFIXES = (".bin", ".raw", ".dat")


def files_of(text: str, raw: RawLayout | None) -> list[str]:
    """Give the files that a path, a folder or a glob names, each with its member, if any.

    Raises `UsageError` for a folder or a glob without a file.
    """
    path, separator, member = text.partition(SEPARATOR)
    names = []
    if Path(path).is_dir():
        suffixes = SUFFIXES if raw is None else RAW_SUFFIXES
        files = sorted(p for p in Path(path).rglob("*") if p.suffix.lower() in suffixes)
        names = [str(file) for file in files if file.is_file()]
        if foreign_file(path) is not None:
            raise UsageError(f"{path}: {undescribed(path)}")
        if not names:
            raise UsageError(f"{path} holds no file that ends in {', '.join(suffixes)}")
    elif glob.has_magic(path) and not Path(path).exists():
        # Path.glob takes no absolute pattern.
        names = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
        if not names and "*" in path:
            raise UsageError(f"{path} names no file")
    return [f"{name}{separator}{member}" for name in names] or [text]


def examine(text: str, raw: RawLayout | None) -> FileReport:
    """Report on `text`, a path or `file::member`; raises for what is not there."""
    path, _ = split_member(text)
    require_local(path)
    status = Path(path).stat()
    report = FileReport(
        path=path,
        nbytes=status.st_size,
        disk_bytes=getattr(status, "st_blocks", -(-status.st_size // 512)) * 512,
    )
    try:
        found = identify(text)
        report = replace(report, path=found.path, format=found.format)
        if found.format == "hdf5":
            catalog = list_datasets(found.path, found.member or "")
            budget = default_budget()
            alike: Alike = {}
            arrays = [_listed(found.path, listed, budget, alike) for listed in catalog.datasets]
            for listed in catalog.datasets[:1]:
                if listed.examined is not None:
                    listed.examined.file.close()  # that of all
            return replace(report, datasets=tuple(arrays), failure=catalog.fault)
        if found.format == "npz":
            names = [found.member] if found.member else npz_members(found.path)
            arrays = [_npz_member(found.path, name, named=bool(found.member)) for name in names]
            return replace(report, datasets=tuple(arrays))
        if found.format == "raw" and raw is None:
            raise FormatError(undescribed(found.path))
        source = raw.open(found.path) if raw and found.format == "raw" else open_source(found.path)
        return replace(report, datasets=(_in_place(found.path, None, source),))
    except MemberNotFoundError:
        raise
    except (NpdataError, OSError) as error:
        return replace(report, failure=_without(path, error))


def _npz_member(path: str, name: str, *, named: bool) -> DatasetReport:
    where = f"{path}{SEPARATOR}{name}"
    try:
        member = examine_npz(path, name)
    except MemberNotFoundError:
        if named:
            raise
        return DatasetReport(where=where, name=name, refusal="its name is there twice or broken")
    except (SourceError, OSError) as error:
        return DatasetReport(where=where, name=name, refusal=_without(where, error))
    if member.method is None:
        return _in_place(where, name, member.source)
    source, shape = member.source, member.source.shape
    order: Literal["C", "F"] = "F" if member.fortran else "C"
    stored = replace(
        # Decoded rows will lie in memory like those of this array.
        _stored(MemorySource(np.empty((min(2, shape[0]), *shape[1:]), source.dtype, order))),
        shape=shape,
        stored_bytes=member.stored_bytes,
        layout=f"{order} order",
        access=source.access.kind,
        access_reason=source.access.reason,
        filters=(FilterUse(id=None, name=member.method, decoder=member.method),),
    )
    return _advised(where, name, stored)


Alike: TypeAlias = dict[Hashable, Stored]
"""The first of the datasets that are read alike, by what decides that."""


def _listed(path: str, listed: Listed, budget: int, alike: Alike) -> DatasetReport:
    where = f"{path}{SEPARATOR}{listed.name}"
    examined = listed.examined
    if examined is None:
        return DatasetReport(where=where, name=listed.name, refusal=listed.refusal)
    try:
        stored = _of_hdf5(examined, budget, alike)
    except (NpdataError, OSError) as error:
        return DatasetReport(where=where, name=listed.name, refusal=_without(where, error))
    if examined.missing:
        refusal = f"reading fails, since {without_filters(examined)}"
        return DatasetReport(where=where, name=listed.name, stored=stored, refusal=refusal)
    report = _advised(where, listed.name, stored, budget)
    packing = examined.packing
    if packing is not None and packing.fault is None:
        call = f'NumpyDataset({where!r}, decode="{packing.convention}")'
        packed = f"packed ({packing}): {call} gives its values"
        report = replace(report, advice=(packed, *report.advice))
    if examined.matlab is not None:
        dtype = ", dtype=str" if examined.matlab == "char" else ""
        call = f'NumpyDataset({where!r}, axis=-1, decode="matlab"{dtype})'
        meant = f"{examined.matlab} of MATLAB: {call} gives its values"
        report = replace(report, advice=(meant, *report.advice))
    return report


def _of_hdf5(examined: Examined, budget: int, alike: Alike) -> Stored:
    layout, decision = examined.layout, examined.decision
    place = (layout.offset or 0) % ALIGNMENT, layout.shape[0] == 0
    key = decision, layout.storage, layout.dtype, layout.shape[1:], layout.filters, place
    # To ask each source took most of the time; of the library, each has a reason of its own.
    known = alike.get(key) if decision.kind != "library" else None
    if known is None:
        readable = replace(examined, missing=frozenset()) if examined.missing else examined
        source = source_of(readable, budget=budget)
        filters = tuple(_filter(step, decision.kind) for step in layout.filters)
        known = replace(_stored(source, layout.storage), filters=filters)
        alike[key] = known
    else:
        known = replace(known, shape=layout.shape)
    chunks = None
    if layout.chunk_shape is not None and layout.chunks is not None:
        chunks = Chunks(
            shape=layout.chunk_shape,
            bytes=layout.chunk_bytes,
            grid=layout.chunks.grid,
            stored=len(layout.chunks),
        )
    full, block = decoded_per_used(layout, budget if decision.kind == "decoded" else 0)
    cost = Cost(full=full, block=block)
    stored_bytes = layout.stored_bytes
    return replace(known, stored_bytes=stored_bytes, chunks=chunks, decoded_per_used=cost)


def _filter(step: Filter, access: str) -> FilterUse:
    decoder = DECODERS[step.id].by if access == "decoded" else None
    return FilterUse(id=step.id, name=step.name, values=step.values, decoder=decoder)


def _in_place(where: str, name: str | None, source: Source) -> DatasetReport:
    ordered = source.table is None or source.table.array.flags.c_contiguous
    stored = _stored(source, "C order" if ordered else "Fortran order")
    source.close()
    return _advised(where, name, stored)


def _stored(source: Source, layout: str = "") -> Stored:
    conversion = conversion_of(source)
    return Stored(
        shape=source.shape,
        dtype=source.dtype,
        stored_bytes=len(source) * source.row_bytes,
        layout=layout,
        access=source.access.kind,
        access_reason=source.access.reason,
        sample="refused" if conversion.action == "refuse" else conversion.action,
        sample_reason=conversion.reason,
        tensor_dtype=conversion.dtype,
    )


def _advised(
    where: str, name: str | None, stored: Stored, budget: int | None = None
) -> DatasetReport:
    budget = default_budget() if budget is None else budget
    advice = advise(stored, where=where, budget=budget)
    return DatasetReport(where=where, name=name, stored=stored, advice=advice)


def _without(where: str, error: Exception) -> str:
    """Give the message of an error without the place, which the report shows anyway."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    for place in (str(Path(where).absolute()), where):
        reason = reason.removeprefix(place).lstrip(": ")
    return reason
