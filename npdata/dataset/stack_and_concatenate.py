"""`stack` and `concatenate`: many files as one dataset, by NumPy's own two words.

Idea: both find the files, look at what is in them, and give a `NumpyDataset` like any other; its
only fields are the files, and a label that their names tell. Invariant: the samples are those of
`np.stack` or `np.concatenate` over the files in the order of `ds.fields[...].paths`. Here arguments
are sorted out; the files are read by `npdata.sources`.
"""

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from npdata.dataset.files_of_fields import files_of_fields, raw_and_casts, refuse_named
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.dataset.ragged_form import Form
from npdata.dataset.transforms import Transform
from npdata.errors import FieldError
from npdata.sources.base import Source
from npdata.sources.cache.cache import CachePlace
from npdata.sources.concatenated.base import EndToEnd
from npdata.sources.concatenated.concat import ConcatSource
from npdata.sources.concatenated.end_to_end import end_to_end
from npdata.sources.concatenated.parts import Parts
from npdata.sources.derived.columns import Columns
from npdata.sources.formats.raw import RawFormat
from npdata.sources.labels import LabelFrom, LabelSource, labels_of
from npdata.sources.many_files.file_list import FileList
from npdata.sources.many_files.file_table import FileTable
from npdata.sources.many_files.find_files import Files, find_files
from npdata.sources.many_files.stack import open_stack
from npdata.sources.open import SourceLike, open_files, open_source
from npdata.sources.packed.decode import Decode
from npdata.sources.sparse import Layout
from npdata.suggestions import explained

Check: TypeAlias = Literal["open", "first use"]
Shape: TypeAlias = int | tuple[int, ...]


@explained(by_name='stack(["a.npy", "b.npy"]): one list, or a glob; fields are x=, y=')
def stack(
    files: Files | None = None,
    /,
    *,
    label_from: LabelFrom | None = None,
    check: Check = "open",
    dtype: Any = None,
    decode: Decode | Mapping[Any, Decode] | None = None,
    columns: Columns | Mapping[Any, Columns] | None = None,
    shape: Shape | Mapping[Any, Shape] | None = None,
    offset: int | Mapping[Any, int] = 0,
    ragged: Form | None = None,
    padding: float | None = None,
    transform: Transform | None = None,
    batch_transform: Transform | None = None,
    copy: bool = True,
    on_missing: Literal["raise"] = "raise",
    **named: Files,
) -> NumpyDataset:
    """Give a dataset whose samples are files: the array in each, as by `np.stack`.

    `stack("img/*.npy")` gives bare tensors, `stack(image="img/*.npy", mask="mask/*.npy")` dicts of
    files that have the same stem. Files are read when their sample is asked for, straight into the
    batch; none is kept open.

    Files of one shape stack. Where they differ in axis 0 alone, a batch is padded, jagged or a
    list, as `ragged` says. Where they differ otherwise, samples have their own shapes, and
    `transform` has to bring them to one.

    Args:
        files: a glob (`**` too), a folder (every array below it), a list of paths, or a `.txt`
            with one path a line; of `.npy`, `"*.npz::member"`, `"*.h5::dataset"` (a member may
            hold wildcards), or raw files. A glob and a folder give natural order (`x2` before
            `x10`), a list its own.
        label_from: a function of the path, or a regular expression whose first group (or whole
            match) is the label. Texts become int64 numbers of `ds.fields[...].categories`, in
            natural order; ints, floats and bools stay. Samples are `(x, label)`, or have the key
            "label".
        check: "open" looks at every file now, so that a broken one is named at once; "first use"
            looks at the first only, and expects the others to be like it when they are read.
        dtype: as in `NumpyDataset`; but with `shape` or `offset` the dtype that raw files hold, as
            in `NumpyDataset.from_raw`.
        decode: as in `NumpyDataset`; each file is decoded by its own attributes.
        columns: as in `NumpyDataset`.
        shape: of the array in each raw file; one size may be -1. A mapping names fields, as for
            `dtype` and `offset`: the files of others are not raw.
        offset: the byte at which the array in each raw file begins.
        ragged: "padded", "jagged", "list" or "stacked", as in `NumpyDataset`.
        padding: as in `NumpyDataset`.
        transform: as in `NumpyDataset`.
        batch_transform: as in `NumpyDataset`.
        copy: as in `NumpyDataset`.
        on_missing: "raise": no file is ever left out.
        named: the files of each field, by its name.

    Raises:
        FieldError: a ValueError, where nothing is found, a file comes twice or has no partner, and
            where dtypes differ.
        FormatError: a ValueError, for a file that cannot be read; it, `TruncatedError`,
            `MemberNotFoundError` and FileNotFoundError name the file.
        ChangedFileError: a RuntimeError, from reading samples of a file that was changed.

    Examples:
        >>> ds = npdata.stack(["x.npy"], label_from=lambda path: len(path))
        >>> x, label = ds[0]
        >>> x.shape, label, ds.fields[0].paths[0]
        (torch.Size([5, 2, 3]), tensor(5), 'x.npy')
    """
    if check not in ("open", "first use"):
        raise FieldError(f"check={check!r}: expected 'open' or 'first use'")
    _require_raise(on_missing)
    found, casts = files_of_fields("stack", OWN["stack"], files, named, dtype, shape, offset)
    first_only = check == "first use"
    sources = {label: stacked(each, raw, first_only=first_only) for label, each, raw in found}
    options: dict[str, Any] = {"dtype": casts, "decode": decode, "copy": copy}
    options |= {"columns": columns, "ragged": ragged, "padding": padding}
    options |= {"transform": transform, "batch_transform": batch_transform}
    return _dataset(sources, label_from, options)


@explained(by_name="concatenate([a, b]): one list, or a glob; fields are x=, y=")
def concatenate(
    files: Files | Sequence[SourceLike] | None = None,
    /,
    *,
    label_from: LabelFrom | None = None,
    dtype: Any = None,
    ragged: Form | None = None,
    padding: float | None = None,
    layout: Layout | Mapping[Any, Layout] | None = None,
    decode: Decode | Mapping[Any, Decode] | None = None,
    columns: Columns | Mapping[Any, Columns] | None = None,
    cache: CachePlace | Mapping[Any, CachePlace] | None = None,
    cache_bytes: int | None = None,
    shape: Shape | Mapping[Any, Shape] | None = None,
    offset: int | Mapping[Any, int] = 0,
    transform: Transform | None = None,
    batch_transform: Transform | None = None,
    copy: bool = True,
    on_missing: Literal["raise"] = "raise",
    **named: Files,
) -> NumpyDataset:
    """Give a dataset of the rows of many files, end to end, as by `np.concatenate`.

    `concatenate("part-*.npy")` gives bare tensors, `concatenate(x="x-*.npy", y="y-*.npy")` dicts,
    of files that have the same stem. Every file is looked at now and mapped when a row of it is
    asked for; a map needs no open file. One gather takes the rows of a batch out of all files.

    Args:
        files: as in `stack`; a list may also hold what `npdata.open_source` takes: arrays, maps,
            open datasets.
        label_from: as in `stack`; each row has the label of its file.
        dtype: as in `stack`.
        ragged: of samples of different lengths, as in `NumpyDataset`. It also lets the rows of
            files have different shapes: "stacked" with a `transform` that brings them to one, and
            the other forms where they differ in their first axis alone.
        padding: as in `NumpyDataset`.
        layout: of sparse rows, as in `NumpyDataset`.
        decode: as in `NumpyDataset`; each file is decoded by its own attributes.
        columns: as in `NumpyDataset`.
        cache: as in `NumpyDataset`; each file is kept by itself.
        cache_bytes: as in `NumpyDataset`.
        shape: of the array in each raw file, as `(-1, 64)`; one size may be -1; or as in `stack`.
        offset: the byte at which the array in each raw file begins.
        transform: as in `NumpyDataset`.
        batch_transform: as in `NumpyDataset`.
        copy: as in `NumpyDataset`.
        on_missing: "raise": no file is ever left out.
        named: the files of each field, by its name.

    Raises:
        FieldError: a ValueError, as from `stack`, and where files that belong together differ in
            their number of rows; all other errors are those of `stack`.

    Examples:
        >>> ds = npdata.concatenate(["x.npy", np.ones((2, 2, 3), np.float32)])
        >>> len(ds), ds[[0, -1]].sum()
        (7, tensor(6.))
    """
    _require_raise(on_missing)
    own = OWN["concatenate"]
    options: dict[str, Any] = {"decode": decode, "copy": copy}
    options |= {"columns": columns, "ragged": ragged, "padding": padding, "cache": cache}
    options |= {"cache_bytes": cache_bytes, "layout": layout, "transform": transform}
    options |= {"batch_transform": batch_transform}
    if isinstance(files, list | tuple) and not all(
        isinstance(each, str | os.PathLike) for each in files
    ):
        if any(isinstance(each, NumpyDataset) for each in files):
            raise FieldError("datasets are laid end to end by sum(datasets), or one + other")
        refuse_named("concatenate", own, named)
        if label_from is not None:
            raise FieldError("a list that holds arrays has no names of files for label_from=")
        raw, casts = raw_and_casts([0], dtype, shape, offset)
        parts = [source for each in files for source in _sources_of(each, raw[0])]
        return _dataset({0: end_to_end(parts)}, None, {**options, "dtype": casts})
    found, casts = files_of_fields("concatenate", own, files, named, dtype, shape, offset)
    sources = {label: concatenated(each, raw) for label, each, raw in found}
    return _dataset(sources, label_from, {**options, "dtype": casts})


def stacked(files: FileList, raw: RawFormat | None, *, first_only: bool = False) -> Source:
    """Give a source with a row for each file, of any dtype, also of one that no tensor has."""
    return open_stack(FileTable.of(files, raw, first_only=first_only))


def concatenated(files: FileList, raw: RawFormat | None) -> EndToEnd:
    """Give a source of the rows of all files, of any dtype, also of one that no tensor has."""
    if files.has_members:
        return end_to_end(_sources(files, raw), files)
    table = FileTable.of(files, raw)
    shapes = {kind.rest for kind in table.kinds}
    if len(shapes) > 1 and None not in shapes:
        return end_to_end([table.source(k) for k in range(len(table))], files)
    return ConcatSource(Parts.of_files(table), files)


OWN = {
    function.__name__: tuple(inspect.signature(function).parameters)[1:-1]
    for function in (stack, concatenate)
}
"""The options of each."""


def _dataset(
    sources: Mapping[Any, Source], label_from: LabelFrom | None, options: dict[str, Any]
) -> NumpyDataset:
    fields, dtype = dict(sources), options["dtype"]
    first = next(iter(sources))
    named = isinstance(first, str)
    if label_from is not None:
        label = "label" if named else 1
        if label in fields:
            raise FieldError(
                "label_from= adds a field 'label', and the files of one have that name already; "
                "give these another: x=..."
            )
        fields[label] = _labels(sources[first], label_from)
        if dtype is not None and not isinstance(dtype, Mapping | list | tuple):
            options["dtype"] = dict.fromkeys(sources, dtype)
    given = (fields,) if named else tuple(fields.values())
    return NumpyDataset(*given, **options)._owning_all()


def _labels(source: Source, label_from: LabelFrom) -> LabelSource:
    labels = labels_of(source.paths, label_from)
    if not isinstance(source, EndToEnd):
        return labels
    return LabelSource(np.repeat(labels.table.array, source.edges.lengths), labels.categories)


def _require_raise(on_missing: str) -> None:
    if on_missing != "raise":
        raise FieldError(
            f"on_missing={on_missing!r}: expected 'raise'; no file is left out in silence, give a "
            f"list of those that are wanted"
        )


def _sources_of(given: Any, raw: RawFormat | None) -> list[Source]:
    if isinstance(given, str | os.PathLike):
        return _sources(find_files(given), raw)
    return [open_source(given)]


def _sources(files: FileList, raw: RawFormat | None) -> list[Source]:
    if raw is None:
        return open_files(files)
    return [open_source(path, **raw._asdict()) for path in files]
