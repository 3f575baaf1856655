"""What is to be converted: the arrays of the files named, and what in them is no array.

Idea: a file that holds several arrays stands for all of them. Invariant: whatever has a name in
it is either opened or listed with the reason why not, before anything is written; an array that
was named by itself is opened, or that is an error. It reads no rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from npdata.arrays.dtypes import is_variable_text
from npdata.cli.console import UsageError
from npdata.cli.convert.formats import Array, ConvertError
from npdata.cli.files import files_of, identified, undescribed
from npdata.dataset.stack_and_concatenate import concatenated, stacked
from npdata.errors import MemberNotFoundError, SourceError, TruncatedError
from npdata.sources.base import Source
from npdata.sources.concatenated.varied import VariedParts
from npdata.sources.formats.npz import find_member, npz_members
from npdata.sources.formats.raw import RawFormat, open_raw
from npdata.sources.hdf5.catalog import Listed, list_datasets
from npdata.sources.hdf5.left_behind import LeftBehind, left_behind
from npdata.sources.hdf5.open import source_of
from npdata.sources.many_files.file_list import SEPARATOR, FileList, split_member
from npdata.sources.many_files.find_files import find_files, is_pattern
from npdata.sources.open import Identified, open_source

ManyFiles: TypeAlias = Literal["stack", "concatenate"]
LeftOut: TypeAlias = tuple[str, str]
"""The place of what is no array, and the reason."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The arrays, the `files` that they come from, what is left out, and what they leave behind."""

    arrays: tuple[Array, ...]
    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    behind: LeftBehind


def open_inputs(texts: Sequence[str], raw: RawFormat | None, how: ManyFiles | None) -> Inputs:
    """Open what `texts` name: a file, `path::member`, or `path::group` of HDF5.

    A folder or a glob stands for many files, of which `how` makes one array. `raw` is for files
    of no known format. Raises the errors of `open_source`, `UsageError` for a raw file that is not
    described, and `ConvertError` where there is nothing to convert.
    """
    opened: list[Array | LeftOut] = []
    files: list[str] = []
    behind = LeftBehind()
    if how is not None and not any(map(_is_many, texts)):
        raise UsageError(
            f"--files is for a folder, or a glob in quotes, which the shell leaves as it is; "
            f"{texts[0]} is one file"
        )
    for text in texts:
        if _is_many(text):
            array, many = _many(text, raw, how)
            opened.append(array)
            files += many.texts()
            behind = behind.and_of(_left_by(many))
            continue
        found = identified(text, raw)
        opened += _opened(found, raw)
        files.append(found.path)
        if found.format == "hdf5":
            behind = behind.and_of(left_behind(found.path, [found.member or ""]))
    arrays = tuple(each for each in opened if isinstance(each, Array))
    left_out = tuple(each for each in opened if not isinstance(each, Array))
    if not arrays:
        reasons = "".join(f"\n  {where}: {why}" for where, why in left_out)
        raise ConvertError(f"{', '.join(texts)}: there is no array to convert{reasons}")
    return Inputs(arrays=arrays, files=tuple(files), left_out=left_out, behind=behind)


def _is_many(text: str) -> bool:
    path, _ = split_member(text)
    return path != "" and (Path(path).is_dir() or is_pattern(path))


def _left_by(files: FileList) -> LeftBehind:
    """Give what the HDF5 datasets among the members of files leave behind."""
    named: dict[str, list[str]] = {}
    for k in range(len(files)):
        if (member := files.member(k)) is not None:
            named.setdefault(files.text(k), []).append(member)
    found = LeftBehind()
    for path, members in named.items():
        if identified(path, None).format == "hdf5":
            found = found.and_of(left_behind(path, members))
    return found


def _many(text: str, raw: RawFormat | None, how: ManyFiles | None) -> tuple[Array, FileList]:
    """Open the files of a folder or a glob as one array, named after it; give the files."""
    if how is None:
        raise UsageError(
            f"{text} stands for many files; --files stack makes a row of each of them, and "
            f"--files concatenate lays their rows end to end"
        )
    if raw is None:
        files = find_files(text)
    else:
        files = find_files(files_of(text, raw))
        for file in files:
            identified(file, raw)
    source = stacked(files, raw) if how == "stack" else concatenated(files, raw)
    if isinstance(source, VariedParts):
        one, *others = source.parts
        other = next(part for part in others if part.shape[1:] != one.shape[1:])
        raise ConvertError(
            f"{other.where} holds rows of {other.shape[1:]}, and {one.where} rows of "
            f"{one.shape[1:]}: one array has rows of one shape; convert each file by itself"
        )
    if source.dtype.hasobject:
        raise ConvertError(
            f"{text}: its rows have no one shape and size; where files differ in their first axis "
            f"alone, --files concatenate lays them end to end"
        )
    first = Path(files.text(0))
    chunk = source.blocks.largest * source.row_bytes if _decodes(source) else 0
    name = first.parent.name or first.stem
    return Array(name=name, source=source, chunk_bytes=chunk), files


def _opened(found: Identified, raw: RawFormat | None) -> Iterator[Array | LeftOut]:
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
        yield _array(Path(path).stem, open_raw(path, *raw))


def _member(path: str, name: str) -> Array | LeftOut:
    try:
        source = find_member(path, name)
    except (TruncatedError, MemberNotFoundError):
        raise
    except SourceError as error:
        return f"{path}{SEPARATOR}{name}", str(error)
    return _array(name.removesuffix(".npy"), source)


def _dataset(path: str, listed: Listed) -> Array | LeftOut:
    where = f"{path}{SEPARATOR}{listed.name}"
    if listed.examined is None:
        return where, str(listed.refusal)
    if listed.examined.missing:
        return where, listed.examined.without_filters
    source, layout = source_of(listed.examined), listed.examined.layout
    chunked = layout.chunks is not None and _decodes(source)
    return _array(listed.name, source, chunk=layout.chunk_bytes if chunked else 0)


def _decodes(source: Source) -> bool:
    return source.access.kind in ("decoded", "library")


def _array(name: str, source: Source, *, chunk: int = 0) -> Array | LeftOut:
    """Give an array, whose source has to decode chunks of `chunk` bytes."""
    if is_variable_text(source.dtype):
        return source.where, "it holds text of variable length"
    if source.dtype.hasobject:
        return source.where, f"its elements have no fixed size ({source.dtype})"
    return Array(name=name, source=source, chunk_bytes=chunk)
