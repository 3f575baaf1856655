"""From whatever the user has to a source: arrays, memory maps, paths, open datasets.

Idea: a file is known by its first bytes, not by its name. `file::member` names one array of a
file that holds several. Invariant: an argument that is no source of rows fails here, at
construction, with what to do about it. Reading is left to the sources.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npdata.arrays.dtypes import CLASS_NUMBERS
from npdata.errors import FieldError, FormatError, TruncatedError, UnsupportedSourceError, an
from npdata.runtime.lazy_torch import torch
from npdata.sources.base import Access, Source
from npdata.sources.concatenated.end_to_end import end_to_end
from npdata.sources.containers import rows_held_by
from npdata.sources.derived.axis import along_axis
from npdata.sources.formats import npy, npz
from npdata.sources.formats.foreign import refuse_foreign
from npdata.sources.formats.raw import open_raw
from npdata.sources.hdf5.anndata.encoded_groups import open_group
from npdata.sources.hdf5.file import HDF5_MAGIC, Hdf5Options
from npdata.sources.hdf5.groups import require_equal_groups
from npdata.sources.hdf5.names import open_names
from npdata.sources.hdf5.open import is_open_dataset, is_open_group, open_dataset
from npdata.sources.many_files.file_list import FileList, split_member
from npdata.sources.memory import array_source
from npdata.sources.paths import SUFFIXES, require_regular
from npdata.sources.unequal_rows import elsewhere
from npdata.suggestions import explained

SourceLike: TypeAlias = NDArray[Any] | str | os.PathLike[str] | Source | Any


@explained(
    {
        "member name key dataset": 'it stands behind ::, as "d.h5::x"',
        "mmap_mode mmap mode driver swmr": (
            "files are opened for reading, mapped where they can be: leave it out"
        ),
        "allow_pickle": "no file is unpickled: leave it out",
        "axis dim": "the dataset has it: NumpyDataset(x, axis=1)",
    },
    by_name='open_source("d.h5::x") for one array of a file, or dtype= of a raw file',
)
def open_source(
    source: SourceLike,
    *,
    dtype: "DTypeLike | torch.dtype | None" = None,
    shape: int | tuple[int, ...] | None = None,
    offset: int = 0,
) -> Source:
    """Open rows, wherever they lie: the one function behind every argument of `NumpyDataset`.

    Rows are read when they are asked for.

    Args:
        source: an array, an `np.memmap` (or a view of one), a path to a `.npy`, `"d.npz::member"`,
            `"d.h5::dataset"`, an open `h5py.Dataset`, or a `Source`, which is given back. A tensor,
            a column of pandas, polars or Arrow, and whatever gives an array by `__array__` or
            DLPack is read in place where its library can, as `describe()` shows; a list is copied.
            A dataset of one field, as `npdata.concatenate` gives, stands for its rows.
        dtype: of NumPy or torch, of a raw binary file; None for all else.
        shape: of a raw file, rows first; one size may be -1. None: (-1,).
        offset: the byte of a raw file at which its rows begin. None: 0.

    Raises:
        UnsupportedSourceError: a TypeError and a ValueError, for what is no source of rows.
        FileNotFoundError: where there is no such file.
        FormatError: a ValueError, for a file that is not what its name or header says, or of a
            format that is not read; `TruncatedError` where it holds less than it declares.
        MemberNotFoundError: a KeyError, for a member that is not there.

    Examples:
        >>> npdata.open_source("d.npz::y").shape
        (5,)
    """
    if dtype is not None or shape is not None or offset:
        if not isinstance(source, str | os.PathLike):
            cure = "an array is given alone: NumpyDataset(array, dtype=...)"
            if isinstance(source, list | tuple):
                cure = "npdata.concatenate(paths, dtype=..., shape=(-1,)) lays several end to end"
            raise UnsupportedSourceError(
                f"{an(type(source).__name__)} is no path, and dtype=, shape= and offset= describe "
                f"a raw file; {cure}"
            )
        if dtype is None:
            raise UnsupportedSourceError(
                "shape= and offset= describe a raw file; give dtype= as well"
            )
        return open_raw(source, dtype, (-1,) if shape is None else shape, offset)
    if isinstance(source, Source):
        return source
    if isinstance(source, np.ndarray):
        return array_source(source)
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fsdecode(source))
    if is_open_dataset(source):
        return open_dataset(source)
    if hasattr(source, "only_source"):  # a dataset of one field
        stands_for: Source = source.only_source()
        return stands_for
    kind = type(source).__name__
    group = source if is_open_group(source) else getattr(source, "group", None)
    if is_open_group(group):  # a sparse X that AnnData has not read has its group
        return open_group(group)
    if hasattr(source, "tocsr"):
        raise UnsupportedSourceError(
            f"{an(kind)} is sparse; give npdata.csr(m.data, m.indices, m.indptr, m.shape), with "
            "m = matrix.tocsr()"
        )
    held = None if _means_fields(source) else rows_held_by(source)
    if held is not None:
        opened = array_source(held.array)
        opened.tell(access=Access(kind="memory", reason=held.reason))
        return opened
    raise UnsupportedSourceError(f"{an(kind)} is no source of rows; {_cure(source)}")


def _means_fields(source: object) -> bool:
    """Whether it is a field, or a list of what may be fields (files, arrays, samples)."""
    if isinstance(getattr(source, "source", None), Source):
        return True
    of = source[0] if isinstance(source, list | tuple) and source else None
    fields = isinstance(of, str | os.PathLike | Mapping)
    return fields or (isinstance(of, np.ndarray) and of.ndim > 0)


def _cure(source: object) -> str:
    """Say what to type in place of an argument that is no source of rows."""
    if isinstance(source, bytes):
        return "give a path as text, os.fsdecode(path), and numbers as np.frombuffer(x, dtype)"
    if isinstance(source, list | tuple) and source:
        if isinstance(source[0], str | os.PathLike):
            return (
                "files that are fields are arguments of their own, NumpyDataset(a, b); "
                "npdata.concatenate(list) lays the rows of files end to end, npdata.stack(list) "
                "makes each file a sample; texts that are rows are np.array(list), with dtype=str, "
                f"or {CLASS_NUMBERS}"
            )
        if isinstance(source[0], np.ndarray):
            return (
                "arrays that are fields are arguments of their own, NumpyDataset(a, b); np.stack "
                "or np.concatenate makes one of them, npdata.ragged takes those of different "
                "lengths"
            )
        if isinstance(source[0], Mapping):
            return (
                "samples become a field for each name: NumpyDataset({name: np.stack([s[name] for s "
                "in samples]) for name in samples[0]})"
            )
    if isinstance(source, Mapping):
        return (
            "a field has no fields of its own: name each, and nest them by batch_transform=lambda "
            'b: {"obs": {"eef": b["eef"]}, "action": b["action"]}'
        )
    if isinstance(getattr(source, "source", None), Source):
        return "give the rows of the field, field.source"
    if hasattr(source, "dataset") and hasattr(source, "indices"):
        return (
            "NumpyDataset(x=subset) takes one of a NumpyDataset of one field, as "
            "Subset(NumpyDataset(x), rows); a Loader takes one of several fields as it is, and one "
            "with a transform= of its own is Subset(NumpyDataset(**ds.fields, transform=f), "
            "subset.indices)"
        )
    if hasattr(source, "tensors"):
        return "give its tensors, each a field: NumpyDataset(*dataset.tensors)"
    if hasattr(source, "variables") or hasattr(source, "obsm"):  # a file of netCDF4, AnnData
        return (
            'give one of its arrays, or the path of its file with the name of one: "d.nc::t2m", '
            '"cells.h5ad::X"'
        )
    return (
        "give an array (of NumPy, torch, pandas, polars, Arrow, JAX; a list of numbers), a path, "
        "an h5py.Dataset or a Source"
    )


def open_files(files: FileList) -> list[Source]:
    """Open the array that each name stands for: an HDF5 file once for names that follow each other.

    Raises as `open_source`.
    """
    opened: list[Source] = []
    for _, run in groupby(range(len(files)), files.path):
        numbers = list(run)
        found = identify(files[numbers[0]]) if len(numbers) > 1 else None
        if found is None or found.format != "hdf5":
            opened += [open_source(files[k]) for k in numbers]
        else:
            opened += open_names(found.path, [files.member(k) or "" for k in numbers])
    return opened


def open_hdf5_files(
    paths: FileList,
    names: Sequence[str],
    options: Hdf5Options,
    groups: Sequence[str | bytes] | None,
    axes: Sequence[object],
) -> list[Source]:
    """Open datasets of HDF5 files, for each name one source: the files one after the other.

    A name with wildcards stands for a dataset in many groups, of which `groups` picks some. Rows
    lie along `axes`, one for each name; None is the first.

    Raises as `open_source` does.
    """
    files = [
        [
            along_axis(*each)
            for each in zip(open_names(path, names, options, groups), axes, strict=True)
        ]
        for path in paths
    ]
    for parts in files:
        require_equal_groups(parts)
    if len(paths) == 1:
        return files[0]
    for path, parts in zip(paths, files, strict=True):
        first = parts[0]
        for name, part in zip(names, parts, strict=True):
            if len(part) != len(first):
                cure = elsewhere(first, names[0], part, name) or elsewhere(
                    part, name, first, names[0]
                )
                raise FieldError(
                    f"{path} has {len(first)} rows of {names[0]!r} and {len(part)} of {name!r}: "
                    f"the rows of one file belong together{cure}"
                )
    joined: list[Source] = []
    for alike, name in zip(zip(*files, strict=True), names, strict=True):
        own = FileList.of([*paths], [name] * len(paths))
        if paths.searched is not None:
            own.searched = (*paths.searched[:2], name)
        joined.append(end_to_end(alike, own))
    return joined


Format = Literal["npy", "npz", "hdf5", "raw"]


@dataclass(frozen=True, kw_only=True)
class Identified:
    """What a text names: a file, its format by its first bytes, and one of its members or None."""

    path: str
    member: str | None
    format: Format


def identify(text: str) -> Identified:
    """Split `file::member` and look at the file; "raw" is whatever is no known format.

    Raises `FileNotFoundError`, `TruncatedError` for an empty file, `FormatError` for one whose
    name says .npy, .npz or HDF5 and whose bytes do not, `MemberNotFoundError` for a member of a
    file that has none.

    Examples:
        >>> identify("d.npz::x")
        Identified(path='d.npz', member='x', format='npz')
    """
    path, member = split_member(text)
    if os.path.isdir(path):  # noqa: PTH112  # a Path takes several times as long
        refuse_foreign(path)
    kind, magic = _format_of(path)
    if kind == "npy" and member is not None:
        raise npy.no_member(path, member)
    if kind == "raw" and path.endswith(SUFFIXES):
        refuse_foreign(path)
        raise FormatError(
            f"{path} begins with {magic!r}, which is neither .npy nor .npz nor HDF5; it is damaged"
        )
    return Identified(path=path, member=member, format=kind)


def _open_path(text: str) -> Source:
    found = identify(text)
    if found.format == "npy":
        return npy.open_npy(found.path)
    if found.format == "npz":
        npz.require_name(found.path, found.member)
        return npz.open_npz(found.path, found.member or "")
    if found.format == "hdf5":
        return open_names(found.path, [found.member or ""])[0]
    refuse_foreign(found.path)
    names = "a list of files goes into npdata.concatenate(path) or npdata.stack(path), and "
    raise FormatError(
        f"{found.path} is neither .npy nor .npz nor HDF5; "
        f"{names if found.path.endswith('.txt') else ''}for raw binary say what it holds: "
        "NumpyDataset.from_raw(path, dtype=..., shape=(-1, ...))"
    )


def _format_of(path: str) -> tuple[Format, bytes]:
    """Give the format of a file, and its first bytes."""
    require_regular(path)
    with open(path, "rb") as stream:  # noqa: PTH123
        size = os.fstat(stream.fileno()).st_size
        magic = stream.read(8)
        if not magic:
            raise TruncatedError(f"{path} is empty (0 bytes)")
        if magic.startswith(npy.MAGIC):
            return "npy", magic
        if magic.startswith(npz.MAGIC):
            return "npz", magic
        place = 0
        while place < size:  # HDF5 may begin at 0, 512, 1024, 2048, and so on
            stream.seek(place)
            if stream.read(len(HDF5_MAGIC)) == HDF5_MAGIC:
                return "hdf5", magic
            place = max(512, place * 2)
    return "raw", magic
