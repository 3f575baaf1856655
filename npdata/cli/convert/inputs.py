"""What is to be converted: the arrays of the files named, and what in them is no array.

Idea: a file that holds several arrays stands for all of them. Invariant: whatever has a name in
it is either opened or listed with the reason why not, before anything is written; an array that
was named by itself is opened, or that is an error. It reads no rows.
"""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from npdata.arrays.dtypes import is_variable_text
from npdata.cli.console import UsageError
from npdata.cli.convert.plan import BETWEEN_FILTERS, ConvertError
from npdata.cli.convert.writer import Array
from npdata.cli.raw import RawLayout, undescribed
from npdata.dataset.many_files import concatenate, stack
from npdata.errors import MemberNotFoundError, SourceError, TruncatedError
from npdata.sources.base import Source
from npdata.sources.hdf5 import Listed, count_attributes, list_datasets, source_of
from npdata.sources.hdf5.open import without_filters
from npdata.sources.many_files.file_list import SEPARATOR, FileList, split_member
from npdata.sources.many_files.stack import PiecesSource
from npdata.sources.npz import DecodedMember, examine_npz, npz_members
from npdata.sources.open import Identified, identify, open_source

ManyFiles: TypeAlias = Literal["stack", "concatenate"]
Opened: TypeAlias = tuple[Source, Array] | tuple[str, str]
"""An array and what the plan has to know of it, or the place of what is none and the reason."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The arrays with the `sources` of their rows, and the `files` that these come from.

    `left_out` are pairs of a place and a reason, `attributes` is a count.
    """

    sources: tuple[Source, ...]
    arrays: tuple[Array, ...]
    files: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    attributes: int


def open_inputs(
    texts: Sequence[str], raw: RawLayout | None, files: ManyFiles | None = None
) -> Inputs:
    """Open what `texts` name: a file, `path::member`, or `path::group` of HDF5.

    A folder or a glob stands for many files, of which `files` makes one array. `raw` is for files
    of no known format. Raises the errors of `open_source`, `UsageError` for a raw file that is not
    described, and `ConvertError` where there is nothing to convert.
    """
    opened: list[Opened] = []
    read: list[str] = []
    attributes = 0
    for text in texts:
        path = split_member(text)[0]
        if Path(path).is_dir() or (glob.has_magic(text) and not Path(path).exists()):
            source = _many(text, raw, files)
            many, first = source.paths, source.paths[0]
            read += map(many.text, range(len(many))) if isinstance(many, FileList) else [first]
            opened.append(_array(Path(first).parent.name or Path(first).stem, source))
            continue
        found = identify(text)
        if raw is not None and found.format != "raw":
            raise UsageError(f"--dtype is for raw files, and {found.path} is {found.format}")
        read.append(found.path)
        opened += _opened(found, raw)
        if found.format == "hdf5":
            attributes += count_attributes(found.path, found.member or "")
    kept = [(source, array) for source, array in opened if isinstance(array, Array)]
    left_out = tuple((str(where), why) for where, why in opened if isinstance(why, str))
    if not kept:
        reasons = "".join(f"\n  {where}: {why}" for where, why in left_out)
        raise ConvertError(f"{', '.join(texts)}: there is no array to convert{reasons}")
    sources, arrays = zip(*kept, strict=True)
    return Inputs(
        sources=sources,
        arrays=arrays,
        files=tuple(read),
        left_out=left_out,
        attributes=attributes,
    )


def _many(text: str, raw: RawLayout | None, files: ManyFiles | None) -> Source:
    """Open the files of a folder or a glob as one array."""
    if files is None:
        raise UsageError(
            f"{text} stands for many files; --files stack makes a row of each of them, and "
            f"--files concatenate lays their rows end to end"
        )
    described: dict[str, Any] = {} if raw is None else asdict(raw)
    make = stack if files == "stack" else concatenate
    (source,) = make(text, **described).sources
    if isinstance(source, PiecesSource):
        raise ConvertError(
            f"{text}: the files differ in shape, and make no rows of one array; where they differ "
            f"in their first axis alone, --files concatenate lays them end to end"
        )
    return source


def _opened(found: Identified, raw: RawLayout | None) -> Iterator[Opened]:
    path = found.path
    if found.format == "hdf5":
        catalog = list_datasets(path, found.member or "")
        if catalog.fault is not None:
            raise ConvertError(catalog.fault)
        yield from (_dataset(path, listed) for listed in catalog.datasets)
    elif found.format == "npz":
        names = [found.member] if found.member else npz_members(path)
        yield from (_member(path, name) for name in names)
    elif found.format == "npy":
        yield _array(Path(path).stem, open_source(path))
    elif raw is None:
        raise UsageError(f"{path}: {undescribed(path)}")
    else:
        yield _array(Path(path).stem, raw.open(path))


def _member(path: str, name: str) -> Opened:
    try:
        source = examine_npz(path, name).source
    except (TruncatedError, MemberNotFoundError):
        raise
    except SourceError as error:
        return f"{path}{SEPARATOR}{name}", str(error)
    return _array(name.removesuffix(".npy"), source)


def _dataset(path: str, listed: Listed) -> Opened:
    where = f"{path}{SEPARATOR}{listed.name}"
    if listed.examined is None:
        return where, str(listed.refusal)
    if listed.examined.missing:
        return where, without_filters(listed.examined)
    layout, source = listed.examined.layout, source_of(listed.examined)
    if layout.chunks is None or source.access.kind == "mapped":
        return _array(listed.name, source)
    stored = int(layout.chunks.sizes.max(initial=0))
    return _array(listed.name, source, chunk=layout.chunk_bytes, stored=stored)


def _array(name: str, source: Source, *, chunk: int = 0, stored: int = 0) -> Opened:
    """Give an array, of which a chunk of `chunk` bytes, `stored` in the file, is decoded."""
    if is_variable_text(source.dtype):
        return source.where, "it holds text of variable length"
    if source.dtype.hasobject:
        return source.where, f"its elements have no fixed size ({source.dtype})"
    held = isinstance(source, DecodedMember)
    return source, Array(
        name=name,
        where=source.where,
        shape=source.shape,
        dtype=source.dtype,
        source_rows=1 if held else next(iter(source.blocks.block_rows), 1),
        held_bytes=len(source) * source.row_bytes if held else 0,
        chunk_bytes=chunk,
        decoding_bytes=stored + BETWEEN_FILTERS * chunk,
    )
