"""What the arguments of a dataset mean: which fields, in which form, with which dtype.

Idea: arguments are sorted out before anything is opened. Invariant: an argument that would be
ignored, or that means two things, is refused. Pure functions.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from npdata.errors import FieldError, NpdataError
from npdata.sources.hdf5.anndata.encoded_groups import stands_for_array
from npdata.suggestions import did_you_mean, each_word

OPTIONS = (
    "transform", "batch_transform", "dtype", "ragged", "padding", "layout", "decode", "columns",
    "axis", "cache", "cache_bytes", "copy",
)  # fmt: skip


def fields_of(
    fields: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[tuple[str, ...] | None, tuple[Any, ...]]:
    """Give the names (None for positional fields) and the values of the fields.

    Examples:
        >>> fields_of((1, 2), {}), fields_of(({"x": 1},), {})
        ((None, (1, 2)), (('x',), (1,)))
    """
    refuse_words_of_loaders(named)
    only = fields[0] if len(fields) == 1 and not named else None
    if _is_mapping(only):
        fields, named = (), {name: _entry(only, name) for name in only}
    if (fields and named) or any(map(_is_mapping, fields)):
        _refuse_misspelled(named)
        alone = ", ".join(map(repr, named)) or "a mapping"
        raise FieldError(
            f"fields are either all named or all positional, and {alone} stands beside positional "
            f"ones; name all of them (options, which are no fields, are {', '.join(OPTIONS)})"
        )
    if not fields and not named:
        raise FieldError("a dataset needs at least one field; give an array or a path")
    return (tuple(named), tuple(named.values())) if named else (None, fields)


def _is_mapping(given: object) -> TypeGuard[Mapping[Any, Any]]:
    """Whether it names fields; a group of h5py that stands for one array is one itself."""
    return isinstance(given, Mapping) and not stands_for_array(given)


def _entry(given: Mapping[Any, Any], name: Any) -> Any:
    """Give an entry of a mapping.

    A group of h5py lists also links that lead nowhere, and an `.npz` what is pickled in it.
    """
    try:
        return given[name]
    except (KeyError, RuntimeError, ValueError) as error:
        raise FieldError(
            f"{given!r:.80} lists {name!r} and does not give it: {error}; name the fields that "
            "you want"
        ) from error


_LOADERS = each_word(
    {
        "num_workers collate_fn persistent_workers prefetch_factor": "DataLoader",
        "timeout worker_init_fn in_order": "DataLoader",
        "batch_size shuffle drop_last sampler batch_sampler pin_memory": "npdata.Loader",
        "seed num_threads prefetch device rank world_size": "npdata.Loader",
    }
)
"""Options of loaders, and whose they are."""


def refuse_words_of_loaders(named: Mapping[str, Any], options: Iterable[str] = OPTIONS) -> None:
    """Raise `FieldError` for an option of a loader; an array or path of that name is a field."""
    for name, value in named.items():
        if name not in _LOADERS or isinstance(value, str | os.PathLike | list | Mapping):
            continue
        order = name in ("sampler", "batch_sampler") and not hasattr(value, "__array__")
        if order or value is None or isinstance(value, bool | int | float) or callable(value):
            shown = repr(value) if isinstance(value, bool | int | float) else "..."
            raise FieldError(
                f"{name}= is for what reads the dataset: leave it out here, and write "
                f"{_LOADERS[name]}(dataset, {name}={shown}, ...); options of a dataset are "
                f"{', '.join(options)}"
            )


_OF_OTHERS = each_word(
    {
        "mmap_mode mmap": (
            "a .npy is always mapped, as is a stored member of a .npz, and a write never reaches "
            "the file: leave it out"
        ),
        "target_transform": "transform= gets the whole sample, and may change a part of it",
        "augment preprocess": "a function of each sample is transform=",
        "normalize": "statistics come first: batch_transform=npdata.normalize(ds.statistics())",
        "in_memory preload": "npdata.Loader(dataset, 64, resident=True) holds the rows in memory",
        "indices subset": (
            "rows are chosen behind it: torch.utils.data.Subset(dataset, rows), or "
            "npdata.Loader(dataset, 64, indices=rows)"
        ),
        "key keys member members dataset datasets": (
            'name it behind ::, NumpyDataset("d.h5::x"), or several: from_hdf5("d.h5", "x", "y")'
        ),
        "lengths offsets": "npdata.ragged takes it: npdata.ragged(values, lengths=...)",
        "window length stride": "windows are made of it: NumpyDataset(...).windows(16, stride=1)",
        "shape offset": (
            "a raw file is described by from_raw: NumpyDataset.from_raw(path, dtype=..., shape=...)"
        ),
        "mode driver libver swmr": "files are opened for reading: leave it out",
        "allow_pickle fix_imports encoding": "no file is unpickled: leave it out",
        "rdcc_nbytes rdcc_nslots rdcc_w0": (
            "npdata has a chunk cache of its own, as large as NPDATA_CACHE_BYTES says: leave it out"
        ),
        "device": 'batches are copied there: npdata.Loader(dataset, 64, device="cuda")',
        "label_from": (
            'stack and concatenate take it: npdata.concatenate(x="*.h5::x", label_from=...)'
        ),
        "genes var_names": (
            "columns are taken from the batch: batch_transform=lambda b: {**b, 'x': b['x'][:, "
            "columns]}"
        ),
        "mask_and_scale": 'write decode="cf"',
        "sparse": 'layout="csr" keeps sparse rows sparse in a batch',
        "check on_missing": 'npdata.stack takes it: npdata.stack(x="*.npy")',
    }
)
"""Arguments of other libraries, and what to write for them."""


SETTINGS = each_word(
    {
        "transforms target_transform": "transform",
        "fields names": (
            "fields are chosen and named where a dataset is made: NumpyDataset(**{**ds.fields, "
            "'image': images})"
        ),
    }
)
"""Attributes that people set on a dataset, and what to do for them."""


def meant_by(name: str, options: Iterable[str]) -> str:
    """Say what to write for an argument that is none of `options`; nothing where that is not known.

    Examples:
        >>> meant_by("mode", OPTIONS), meant_by("dtypes", OPTIONS), meant_by("x", OPTIONS)
        ('; files are opened for reading: leave it out', '; did you mean dtype=?', '')
    """
    return f"; {_OF_OTHERS[name]}" if name in _OF_OTHERS else did_you_mean(name, options)


def may_be_option(given: object) -> bool:
    """Whether a value is no data: neither an array, nor a path, nor a list of them.

    Examples:
        >>> [may_be_option(each) for each in ("r", "x.npy", "(cat|dog)/", ["x", "y"])]
        [True, False, True, True]
    """
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        return isinstance(path, str) and ("(" in path or not ("/" in path or Path(path).suffix))
    if isinstance(given, list | tuple):
        inner = (list, tuple, Mapping)
        return all(not isinstance(each, inner) and may_be_option(each) for each in given)
    return not (hasattr(given, "__array__") or hasattr(given, "shape"))


def _refuse_misspelled(named: Mapping[str, Any]) -> None:
    """Raise `FieldError` for a name that is nearly an option, or is one of another library."""
    for name in named:
        cure = meant_by(name, OPTIONS)
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
        require_fields(option, asked, labels)
        return [asked.get(label) for label in labels]
    if isinstance(asked, list | tuple) and option != "columns":
        if option == "axis" and isinstance(asked, tuple):
            return [asked] * count
        if len(asked) != count:
            several = f"; axes of one field are a tuple: {tuple(asked)}" * (option == "axis")
            raise FieldError(f"{option}= has {len(asked)} entries for {count} fields{several}")
        return list(asked)
    return [asked] * count


def require_fields(
    option: str, names: Iterable[Any], labels: Sequence[Any], error: type[NpdataError] = FieldError
) -> None:
    """Raise `error` where what is given for `option` names what is none of the fields `labels`."""
    for name in names:
        if name not in labels:
            raise error(f"{option}= names {name!r}, which is no field; fields are {labels}")


def as_field(option: str) -> str:
    """Say what to write for a field that has the name of an option."""
    return f"a field of that name goes into a mapping: NumpyDataset({{{option!r}: ...}})"
