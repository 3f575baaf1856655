"""What the arguments of a dataset mean: which fields, in which form, with which dtype.

Idea: arguments are sorted out before anything is opened. Invariant: an argument that would be
ignored, or that means two things, is refused. Pure functions, but for the search for files that a
glob names; nothing is opened here.
"""

import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from npdata.errors import FieldError

OPTIONS = (
    "transform",
    "batch_transform",
    "dtype",
    "ragged",
    "padding",
    "layout",
    "decode",
    "columns",
    "axis",
    "cache",
    "cache_bytes",
    "copy",
)

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def fields_of(
    fields: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[tuple[str, ...] | None, tuple[Any, ...]]:
    """Give the names (None for positional fields) and the values of the fields.

    Examples:
        >>> fields_of((1, 2), {}), fields_of(({"x": 1},), {})
        ((None, (1, 2)), (('x',), (1,)))
    """
    _refuse_words_of_loaders(named)
    only = fields[0] if len(fields) == 1 and not named else None
    if isinstance(only, Mapping):
        fields, named = (), only
    if (fields and named) or any(isinstance(field, Mapping) for field in fields):
        alone = ", ".join(map(repr, named)) or "a mapping"
        raise FieldError(
            f"fields are either all named or all positional, and {alone} stands beside positional "
            f"ones; name all of them (options, which are no fields, are {', '.join(OPTIONS)})"
        )
    if not fields and not named:
        raise FieldError("a dataset needs at least one field; give an array or a path")
    return (tuple(named), tuple(named.values())) if named else (None, fields)


_OF_DATA_LOADERS = {"num_workers", "collate_fn", "persistent_workers", "prefetch_factor"}
_OF_LOADERS = {"batch_size", "shuffle", "drop_last", "sampler", "batch_sampler", "pin_memory"} | {
    "seed",
    "num_threads",
    "prefetch",
    "device",
    "rank",
    "world_size",
}


def _refuse_words_of_loaders(named: Mapping[str, Any]) -> None:
    """Raise `FieldError` for an option of a loader; an array or path of that name is a field."""
    for name, value in named.items():
        if name not in _OF_LOADERS | _OF_DATA_LOADERS or isinstance(
            value, str | os.PathLike | list | Mapping
        ):
            continue
        order = name in ("sampler", "batch_sampler") and not hasattr(value, "__array__")
        if order or value is None or isinstance(value, bool | int | float) or callable(value):
            shown = repr(value) if isinstance(value, bool | int | float) else "..."
            loader = "DataLoader" if name in _OF_DATA_LOADERS else "npdata.Loader"
            raise FieldError(
                f"{name}= is for what reads the dataset: leave it out here, and write "
                f"{loader}(dataset, {name}={shown}, ...); options of a dataset are "
                f"{', '.join(OPTIONS)}"
            )


def per_field(option: str, asked: Any, names: tuple[str, ...] | None, count: int) -> list[Any]:
    """Give what `option` asks for each of `count` fields, None where it asks for nothing.

    Examples:
        >>> per_field("dtype", {"y": "float32"}, ("x", "y"), 2), per_field("padding", 0, None, 2)
        ([None, 'float32'], [0, 0])
    """
    labels: list[Any] = list(names or range(count))
    if isinstance(asked, Mapping):
        unknown = [key for key in asked if key not in labels]
        if unknown:
            raise FieldError(
                f"{option}= names {unknown[0]!r}, which is no field; fields are {labels}"
            )
        return [asked.get(label) for label in labels]
    if isinstance(asked, list | tuple) and option != "columns":
        if len(asked) != count:
            raise FieldError(f"{option}= has {len(asked)} entries for {count} fields")
        return list(asked)
    return [asked] * count


def require_functions(**options: object) -> None:
    """Raise `FieldError` for an option that must be a function and is something else.

    Examples:
        >>> require_functions(transform=len, batch_transform=None)
    """
    for name, value in options.items():
        if value is not None and not callable(value):
            raise FieldError(
                f"{name}= takes a function, and what was given is of type {type(value).__name__}; "
                f"a field of that name goes into a mapping: NumpyDataset({{{name!r}: ...}})"
            )


def require_flag(name: str, value: object) -> None:
    """Raise `FieldError` for an option that must be True or False and is something else.

    Examples:
        >>> require_flag("copy", False)
    """
    if not isinstance(value, bool):
        raise FieldError(
            f"{name}= takes True or False, and what was given is of type {type(value).__name__}; "
            f"a field of that name goes into a mapping: NumpyDataset({{{name!r}: ...}})"
        )


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide keyword arguments into the dataset's options and the names of fields.

    Examples:
        >>> split_options({"image": "x", "dtype": None})
        ({'dtype': None}, {'image': 'x'})
    """
    own = {key: value for key, value in options.items() if key in OPTIONS}
    return own, {key: value for key, value in options.items() if key not in OPTIONS}


def require_dataset_names(
    constructor: str, names: Sequence[object], named: Mapping[str, object], known: str
) -> None:
    """Raise `FieldError` for what names no dataset of a file, such as an option that is not there.

    Examples:
        >>> require_dataset_names("from_hdf5", ["x"], {}, "access")
        >>> require_dataset_names("from_hdf5", ["x"], {"num_workers": 2}, "access")
        Traceback (most recent call last):
        npdata.errors.FieldError: num_workers=2 is no option of from_hdf5 (those are access, ...
    """
    options = f"{known}, {', '.join(OPTIONS)}"
    for key, value in named.items():
        if not isinstance(value, str):
            raise FieldError(
                f"{key}={value!r} is no option of {constructor} (those are {options}), and as a "
                f"field it needs the name of a dataset as text; options of a DataLoader go there"
            )
    for name in names:
        if not isinstance(name, str):
            raise FieldError(
                f"{constructor} takes names of datasets, and {name!r} is none; give each name as "
                f'an argument, as in {constructor}(path, "images", "labels")'
            )
    if names and named:
        key = next(iter(named))
        raise FieldError(
            f"{key}={named[key]!r} is no option of {constructor} (those are {options}), and as a "
            f"field it would be named while {names[0]!r} is not: fields are either all named or "
            f"all positional"
        )


def paths_of(path: Paths) -> list[str]:
    """Give the files that a path, a list of paths or a glob (sorted) names.

    Examples:
        >>> paths_of("*.npz"), paths_of(["x.npy"])
        (['d.npz'], ['x.npy'])
    """
    if isinstance(path, str | os.PathLike):
        text = os.fspath(path)
        if Path(text).exists() or not glob.has_magic(text):
            return [text]
        found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207
        if not found:
            raise FieldError(f"no file matches {text!r}")
        return found
    paths = [os.fspath(each) for each in path]
    if not paths:
        raise FieldError("an empty list of files makes no dataset")
    real = [os.path.realpath(each) for each in paths]
    twice = next((p for p, r in zip(paths, real, strict=True) if real.count(r) > 1), None)
    if twice is not None:
        raise FieldError(f"{twice} comes twice among the files, and so would its rows")
    return paths
