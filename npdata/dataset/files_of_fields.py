"""Which files make each field of `stack` and `concatenate`, and what they hold where they are raw.

Idea: arguments by name are fields, and each names files as a user may; `shape` and `offset` say
which of them are raw. Invariant: a name that is no option and names no files is refused. No array
is opened.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from numpy.typing import DTypeLike

from npdata.dataset.arguments import (
    OPTIONS,
    may_be_option,
    meant_by,
    refuse_words_of_loaders,
    require_fields,
)
from npdata.errors import FieldError, NpdataError
from npdata.sources.derived.axis import ONE_FILE_EACH
from npdata.sources.formats.raw import RawFormat
from npdata.sources.many_files.file_list import FileList
from npdata.sources.many_files.find_files import find_files
from npdata.sources.many_files.pair_files import pair_files

OfField: TypeAlias = tuple[Any, FileList, RawFormat | None]
"""The name or position of a field, its files, and what they hold where they are raw."""


def files_of_fields(
    function: str, options: Sequence[str], files: Any, named: Mapping[str, Any], *described: Any
) -> tuple[list[OfField], Any]:
    """Give the files of each field, and the dtypes that the fields are cast to.

    `function` has these `options`; `described` are `dtype`, `shape` and `offset` as given.

    Raises `FieldError` for what names no files, and where files have no partner.
    """
    given = _given(function, options, files, named)
    raw, casts = raw_and_casts(given, *described)
    found = {label: _found(label, each, options) for label, each in given.items()}
    paired = found if len(found) == 1 else pair_files(found)
    return [(label, each, raw[label]) for label, each in paired.items()], casts


def _found(label: Any, given: Any, options: Sequence[str]) -> FileList:
    """Find the files of a field; an error has a note of which, and of the option that is meant."""
    try:
        return find_files(given)
    except (NpdataError, OSError) as error:
        if isinstance(label, str):
            cure = meant_by(label, options) if may_be_option(given) else ""
            error.add_note(f"while looking for the files of field {label!r}{cure}")
        raise


def _given(
    function: str, options: Sequence[str], files: Any, named: Mapping[str, Any]
) -> dict[Any, Any]:
    """Give what names the files of each field."""
    refuse_words_of_loaders(named, options)
    beside = files is not None and not isinstance(files, Mapping)
    refuse_named(function, options, named if beside else _without_files(named))
    if isinstance(files, Mapping):
        files, named = None, {**files, **named}
    if not named and files is None:
        raise FieldError(f"{function} needs files{_all_named(function)}")
    return dict(named) or {0: files}


def _without_files(named: Mapping[str, Any]) -> list[str]:
    """Give the names of values that can name no files, as of options that there are not."""
    return [
        name
        for name, value in named.items()
        if not (isinstance(value, str | os.PathLike) or hasattr(value, "__iter__"))
        or (name in OPTIONS and isinstance(value, Mapping))
    ]


def refuse_named(function: str, options: Sequence[str], named: Iterable[str]) -> None:
    """Raise `FieldError` for a name beside files, which names neither an option nor a field."""
    for name in named:
        cure = ": leave it out" if name in OPTIONS else meant_by(name, options)
        if name == "axis" and function == "concatenate":
            cure = f": {ONE_FILE_EACH}"
        if name in ("label", "labels", "target", "targets"):
            cure = f": write NumpyDataset(x=npdata.{function}(files), label=labels)"
        raise FieldError(f"{name}= is no option of {function}{cure or _all_named(function)}")


def _all_named(function: str) -> str:
    return f': write {function}("x/*.npy"), or name all fields: x="x/*.npy", y="y/*.npy"'


def raw_and_casts(
    labels: Iterable[Any], dtype: Any, shape: Any, offset: Any
) -> tuple[dict[Any, RawFormat | None], Any]:
    """Give the format of the files of each field that are raw, and what is left of `dtype`."""
    asked = {"dtype": dtype, "shape": shape, "offset": offset}
    each = {label: dict(asked) for label in labels}
    others: dict[Any, Any] = {}  # dtypes of fields that are no files, as the label
    for option, value in asked.items():
        if not isinstance(value, Mapping) or each.keys().isdisjoint(value):
            continue  # one for all fields; NumPy describes a dtype by a mapping, too
        unknown = {name: value[name] for name in value if name not in each}
        if option == "dtype":
            others = unknown
        else:
            require_fields(option, unknown, list(each))
        for label, own in each.items():
            own[option] = value.get(label)
    raw = {
        label: _raw(own["dtype"], own["shape"], own["offset"] or 0) for label, own in each.items()
    }
    if not any(raw.values()):
        return raw, dtype
    return raw, others | {label: own["dtype"] for label, own in each.items() if raw[label] is None}


def _raw(
    dtype: DTypeLike | None, shape: int | tuple[int, ...] | None, offset: int
) -> RawFormat | None:
    if shape is None and not offset:
        return None
    if dtype is None:
        raise FieldError("shape= and offset= describe raw files; give dtype= as well")
    return RawFormat(dtype, (-1,) if shape is None else shape, offset)
