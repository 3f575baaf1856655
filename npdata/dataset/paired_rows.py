"""Row i of one field belongs to row i of every other, or an error says what else may be meant.

Idea: fields have the same number of rows; where these come from many files or groups, these have
the same names, and each as many rows. It opens nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from npdata.arrays.dtypes import Ints
from npdata.dataset.field import Field
from npdata.errors import FieldError
from npdata.sources.base import Source
from npdata.sources.concatenated.base import EndToEnd
from npdata.sources.concatenated.concat import ConcatSource
from npdata.sources.concatenated.varied import RaggedRowParts
from npdata.sources.derived.base import DerivedSource
from npdata.sources.hdf5.groups import GroupsSource, files_of_groups, require_equal_groups
from npdata.sources.hdf5.open import is_open_dataset
from npdata.sources.many_files.file_list import SEPARATOR, FileList
from npdata.sources.many_files.pair_files import require_equal_lengths, require_paired
from npdata.sources.open import SourceLike
from npdata.sources.unequal_rows import elsewhere

AS_SAMPLES = "npdata.stack(['FILE::NAME', ...]), or npdata.stack('FILE::*') for all of a file"


def require_one_length(
    labels: Sequence[str | int], sources: Sequence[SourceLike], axes: Sequence[object]
) -> None:
    """Raise `FieldError` for open datasets of different lengths, before any is looked at closely.

    A group of h5py is a mapping, so each of its datasets would be opened as a field first.
    """
    fields = zip(labels, sources, axes, strict=True)
    known = [
        (label, _length(source))
        for label, source, axis in fields
        if axis is None or (isinstance(axis, int) and axis == 0)
    ]
    lengths = [(label, length) for label, length in known if length is not None]
    for label, length in lengths[1:]:
        if length != lengths[0][1]:
            raise FieldError(
                f"field {lengths[0][0]!r} has {lengths[0][1]} rows, field {label!r} has {length}; "
                f"all fields need the same number. Each dataset of an h5py.Group is a field: name "
                f"one of them for that alone; if each is a sample: {AS_SAMPLES}"
            )


def _length(source: SourceLike) -> int | None:
    """Give the length of an open dataset, None for any other source and for a closed one."""
    if not is_open_dataset(source) or not source or not source.shape:
        return None
    return int(source.shape[0])


def require_paired_rows(fields: Sequence[Field], given: Sequence[SourceLike]) -> None:
    """Raise `FieldError` for fields, opened of what was `given`, whose rows are no pairs."""
    require_equal_groups(field.source for field in fields)
    found = {
        field.label: field.paths
        for field, each in zip(fields, given, strict=True)
        if isinstance(each, Field)
    }
    if any(isinstance(files, FileList) for files in found.values()):
        groups = {field.label: files_of_groups(field.source) for field in fields}
        found |= {label: files for label, files in groups.items() if files is not None}
    require_paired(found, {field.label: _made_by(field.source) for field in fields})
    require_equal_lengths(_lengths_of_files(fields))
    _require_equal_rows(fields)


def _made_by(source: Source) -> str:
    """Give the function that makes such a source of many files."""
    joined = isinstance(_stored(source), EndToEnd | GroupsSource)
    return "concatenate" if joined else "stack"


def _stored(source: Source) -> Source:
    """Give the rows as they are stored, of rows that each come from one of these."""
    while isinstance(source, DerivedSource):
        source = source.rows
    parts = source.parts if isinstance(source, RaggedRowParts) else ()
    # Files whose rows are of one shape are one part.
    return parts[0] if len(parts) == 1 and isinstance(parts[0], ConcatSource) else source


def _lengths_of_files(fields: Sequence[Field]) -> dict[str | int, tuple[FileList, Ints]]:
    """Give the files of each field that has their rows end to end, and how many each has."""
    known = {field.label: (field.paths, _stored(field.source)) for field in fields}
    return {
        label: (files, source.edges.lengths)
        for label, (files, source) in known.items()
        if isinstance(files, FileList)
        and isinstance(source, EndToEnd)
        and len(files) == len(source.edges.lengths)
    }


def _require_equal_rows(fields: Sequence[Field]) -> None:
    """Raise `FieldError` for fields of different length, with what else may be meant."""
    first = fields[0]
    for field in fields[1:]:
        if len(field) != len(first):
            sets = "; of several sets name the fields of one: from_npz(path, 'x_train', 'y_train')"
            lengths = Counter(map(len, fields))
            raise FieldError(
                f"field {first.label!r} ({first.where}) has {len(first)} rows, field "
                f"{field.label!r} ({field.where}) has {len(field)}; all fields need the same number"
                f"{_cure(first, field, lengths) or _cure(field, first, lengths)}"
                f"{sets if len(fields) > 2 and _are_members(*fields) else ''}"
            )


def _cure(field: Field, other: Field, lengths: Mapping[int, int]) -> str:
    """Say what to write; `lengths` are how many fields have so many rows."""
    lone = lengths[len(field)] > lengths[len(other)]
    told = elsewhere(field.source, field.label, other.source, other.label, lone=lone)
    alike = field.joins == other.joins is not None and _are_members(field, other)
    samples = f"; if each is a sample, and no field: {AS_SAMPLES}" if alike else ""
    return told or samples or _repeated(field, other)


def _repeated(field: Field, other: Field) -> str:
    """Say what to write where each row of `other` may stand beside several of `field`."""
    rows, fewer = len(field), len(other)
    if fewer < 2 or rows < fewer or rows % fewer:
        return ""
    return (
        f"; if each row of field {other.label!r} goes with {rows // fewer} rows of field "
        f"{field.label!r}, give torch.utils.data.Subset(NumpyDataset(x), np.arange({rows}) // "
        f"{rows // fewer}) in its place"
    )


def _are_members(*fields: Field) -> bool:
    """Whether each is one of several arrays of a file."""
    return all(SEPARATOR in field.where for field in fields)
