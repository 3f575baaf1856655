"""What the arguments of a dataset mean: which fields, in which form, with which dtype.

Idea: arguments are sorted out before anything is opened. Invariant: an argument that would be
ignored, or that means two things, is refused. Pure functions, but for the search for files that a
glob names; nothing is opened here.
"""

import glob
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from npdata.errors import FieldError, UnsupportedSourceError, near

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
        _refuse_misspelled(named)
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


_OF_OTHERS = {
    "mmap_mode": "a .npy is always mapped, and a write never reaches the file: leave it out",
    "target_transform": "transform= gets the whole sample, and may change a part of it",
    **dict.fromkeys(
        ("key", "keys", "member", "members", "dataset", "datasets"),
        'name it behind ::, NumpyDataset("d.h5::x"), or several: from_hdf5("d.h5", "x", "y")',
    ),
    **dict.fromkeys(("mode", "driver", "swmr"), "files are opened for reading: leave it out"),
}
"""Arguments of other libraries, and what to write for them."""

_ROWS = (
    "rows are chosen by ds[rows]; torch.utils.data.Subset(ds, rows) is a dataset of them, and "
    "Loader(ds, 64, indices=rows) gives their batches"
)
ATTRIBUTES = {
    **dict.fromkeys(("keys", "columns", "column_names", "features", "items"), "write ds.names"),
    **dict.fromkeys(("shape", "size", "ndim"), "each field has its own: ds.shapes"),
    "dtype": "each field has its own: ds.dtypes",
    **{each: f"a field has them: ds.fields[0].{each}" for each in ("paths", "categories", "where")},
    **dict.fromkeys(("info", "summary", "nbytes"), "print(ds.describe()) shows how rows are read"),
    **dict.fromkeys(
        ("map", "apply", "transform", "batch_transform", "set_transform", "with_transform"),
        "functions are given where it is made: NumpyDataset(..., transform=f) for samples, "
        "batch_transform=f for batches",
    ),
    **dict.fromkeys(
        ("select", "filter", "take", "skip", "subset", "sample", "head", "iloc", "isel", "sel"),
        _ROWS,
    ),
    **dict.fromkeys(
        ("batch", "shuffle", "repeat", "prefetch", "loader", "dataloader", "iter", "collate_fn"),
        "batches are made by npdata.Loader(ds, 64, shuffle=True), or by a DataLoader with "
        "collate_fn=npdata.collate",
    ),
    **dict.fromkeys(("to", "cuda", "cpu", "device"), 'write npdata.Loader(ds, 64, device="cuda")'),
    **dict.fromkeys(
        ("values", "data", "load", "read", "compute", "tensors", "numpy", "to_numpy"),
        "ds[:] reads all rows, and gives tensors",
    ),
    **dict.fromkeys(("set_format", "with_format"), "rows are tensors; dtype= casts them"),
    **dict.fromkeys(("train_test_split", "random_split"), "write train, test = ds.split(0.8)"),
    **dict.fromkeys(("mean", "std", "min", "max", "stats"), "write ds.statistics()"),
    **dict.fromkeys(("window", "rolling", "unfold", "sliding_window"), "write ds.windows(16)"),
    **dict.fromkeys(("concat", "append", "extend", "concatenate"), "write ds + other"),
    **dict.fromkeys(("save", "to_hdf5", "to_disk"), "a shell writes files: npdata convert"),
}
"""Attributes that people look for, and what takes their place."""


def _refuse_misspelled(named: Mapping[str, Any]) -> None:
    """Raise `FieldError` for a name that is nearly an option, or is one of another library."""
    for name in named:
        cure = f"; {_OF_OTHERS[name]}" if name in _OF_OTHERS else near(name, OPTIONS)
        if cure:
            raise FieldError(f"{name}= is no option of a dataset{cure}")


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
    """Raise `FieldError` for an option that must be a function of one argument and is not.

    Examples:
        >>> require_functions(transform=len, batch_transform=None)
    """
    for name, value in options.items():
        if value is not None and not callable(value):
            raise FieldError(
                f"{name}= takes a function, and what was given is of type {type(value).__name__}; "
                f"a field of that name goes into a mapping: NumpyDataset({{{name!r}: ...}})"
            )
        if value is not None and not _takes_one(value):
            one = "batch" if name == "batch_transform" else "sample"
            raise FieldError(
                f"{name}= is called with one {one}, which holds all fields, and with rng= where it "
                f"has a parameter of that name: write def {name}({one}), and in it x, y = {one} "
                f"or {one}['x']"
            )


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return True
    try:
        signature.bind(None, **{name: None for name in ("rng",) if name in signature.parameters})
    except TypeError:
        return False
    return True


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
    constructor: str,
    names: Sequence[object],
    named: Mapping[str, object],
    known: Sequence[str] = (),
) -> None:
    """Raise `FieldError` for what names no dataset of a file, such as an option that is not there.

    Examples:
        >>> require_dataset_names("from_hdf5", ["x"], {})
        >>> require_dataset_names("from_hdf5", ["x"], {"acces": 2}, ["access"])
        Traceback (most recent call last):
        npdata.errors.FieldError: acces=2 is no option of from_hdf5; did you mean access=? (it ...
    """
    _refuse_words_of_loaders({k: v for k, v in named.items() if not isinstance(v, str)})
    known = (*known, *OPTIONS)

    def no_option(key: str) -> str:
        given = f"{key}={named[key]!r} is no option of {constructor}"
        return f"{given}{near(key, known)} (it has {', '.join(known)})"

    for key, value in named.items():
        if not isinstance(value, str):
            raise FieldError(
                f"{no_option(key)}, and as a field it needs the name of a dataset as text"
            )
    for name in names:
        if not isinstance(name, str):
            raise FieldError(
                f"{constructor} takes names of datasets, and {name!r} is none; give each name as "
                f'an argument, as in {constructor}(path, "images", "labels")'
            )
    if names and named:
        raise FieldError(
            f"{no_option(next(iter(named)))}, and as a field it would be named while {names[0]!r} "
            "is not: fields are either all named or all positional"
        )


def path_of(path: object) -> str:
    """Give a path as text; raise `UnsupportedSourceError` (a TypeError) for what is none.

    Examples:
        >>> path_of("x.npy")
        'x.npy'
    """
    if not isinstance(path, str | os.PathLike):
        raise UnsupportedSourceError(
            f"a {type(path).__name__} names no file: expected a path, a glob or a list of paths; "
            'of an open file give its datasets, as NumpyDataset(file["x"], file["y"])'
        )
    return os.fspath(path)


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
    if isinstance(path, Mapping) or not isinstance(path, Iterable):  # a file of h5py is a mapping
        path_of(path)
    paths = [path_of(each) for each in path]
    if not paths:
        raise FieldError("an empty list of files makes no dataset")
    real = [os.path.realpath(each) for each in paths]
    twice = next((p for p, r in zip(paths, real, strict=True) if real.count(r) > 1), None)
    if twice is not None:
        raise FieldError(f"{twice} comes twice among the files, and so would its rows")
    return paths
