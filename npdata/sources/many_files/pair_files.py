"""Which file of one field belongs to which of another: those of the same stem.

Idea: a file is known by its stem (`img/a7.npy` and `mask/a7.npy` by `a7`); where stems come more
than once, by its path below the part that was searched, and where all stems are the same
(`a7/image.npy`), by its folder alone. Invariant: every file has exactly one partner in every field,
or the error names one that has not. It looks at no file.
"""

import os
from collections.abc import Mapping

from npdata.errors import FieldError
from npdata.sources.many_files.file_list import SEPARATOR, FileList
from npdata.sources.many_files.find_files import Found


def pair_files(found: Mapping[str, Found]) -> dict[str, FileList]:
    """Give the files of each field, in the order of the first field.

    Raises `FieldError` for a file without a partner, or with two.

    Examples:
        >>> from npdata.sources.many_files.find_files import find_files
        >>> images, masks = find_files(["m/1.npy", "m/2.npy"]), find_files(["n/2.npy", "n/1.npy"])
        >>> list(pair_files({"image": images, "mask": masks})["mask"])
        ['n/1.npy', 'n/2.npy']
    """
    keys = {label: keys_of(each) for label, each in found.items()}
    (first, wanted), *others = keys.items()
    numbers = {key: k for k, key in enumerate(wanted)}
    if len(numbers) < len(wanted):
        raise _twice(first, found[first].files, wanted)
    paired = {first: found[first].files}
    for label, own in others:
        files = found[label].files
        places = {key: k for k, key in enumerate(own)}
        if len(places) < len(own):
            raise _twice(label, files, own)
        for key, number in numbers.items():
            if key not in places:
                raise _alone(first, found[first].files[number], label, files)
        for key, number in places.items():
            if key not in numbers:
                raise _alone(label, files[number], first, found[first].files)
        paired[label] = files if own == wanted else files.take([places[key] for key in wanted])
    return paired


def keys_of(found: Found) -> list[str]:
    """Give what each file is known by.

    Examples:
        >>> from npdata.sources.many_files.find_files import find_files
        >>> keys_of(find_files(["d/a/x.npy", "d/b/x.npy"])), keys_of(find_files(["d/a/x.npy"]))
        (['a', 'b'], ['x'])
    """
    files, anchor = found
    texts = [files.text(k) for k in range(len(files))]
    stems = [_stem(os.path.basename(text)) for text in texts]  # noqa: PTH119
    if len(set(stems)) < len(stems):
        below = [text.removeprefix(anchor) for text in texts]
        same = len(set(stems)) == 1
        stems = [os.path.dirname(text) if same else _stem(text) for text in below]  # noqa: PTH120
    if len({files.member(k) for k in range(len(files))}) > 1:
        stems = [f"{stem}{SEPARATOR}{files.member(k)}" for k, stem in enumerate(stems)]
    return stems


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122


def _twice(label: str, files: FileList, keys: list[str]) -> FieldError:
    known: dict[str, int] = {}
    for k, key in enumerate(keys):
        if key in known:
            return FieldError(
                f"field {label!r} has {files[known[key]]} and {files[k]}, which are both known by "
                f"{key!r}; give the files of each field as a list, in one order, by "
                f"NumpyDataset({label}=npdata.stack([...]), ...)"
            )
        known[key] = k
    raise AssertionError


def _alone(label: str, file: str, other: str, files: FileList) -> FieldError:
    return FieldError(
        f"{file} of field {label!r} has no partner among the {len(files)} files of field "
        f"{other!r}, such as {files[0]}; files of different fields belong together by their stem"
    )
