"""Which file of one field belongs to which of another: those of the same stem.

Idea: a file is known by its stem (`img/a7.npy` and `mask/a7.npy` by `a7`); where stems come more
than once, by its path below the part that was searched, and where all stems are the same
(`a7/image.npy`), by its folder alone. Datasets of a file are known by the part of their names that
differs (`data/demo_1/actions` by `demo_1`). Invariant: every file has exactly one partner in every
field, or the error names one that has not. It looks at no file.
"""

import os
from collections.abc import Mapping

from npdata.errors import FieldError
from npdata.sources.many_files.file_list import SEPARATOR, FileList
from npdata.sources.many_files.find_files import Found
from npdata.sources.names import without_common_parts

IN_ONE_ORDER = "give the files of each field as a list, in one order: NumpyDataset(x=stack([...]))"


def pair_files(found: Mapping[str, Found]) -> dict[str, FileList]:
    """Give the files of each field, in the order of the first field.

    Raises `FieldError` for a file without a partner, or with two.

    Examples:
        >>> from npdata.sources.many_files.find_files import find_files
        >>> images, masks = find_files(["m/1.npy", "m/2.npy"]), find_files(["n/2.npy", "n/1.npy"])
        >>> list(pair_files({"image": images, "mask": masks})["mask"])
        ['n/1.npy', 'n/2.npy']
    """
    keys = dict(zip(found, keys_of(*found.values()), strict=True))
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
        if places.keys() != numbers.keys():
            raise _unpaired((first, found[first].files, wanted), (label, files, own))
        paired[label] = files if own == wanted else files.take([places[key] for key in wanted])
    return paired


def keys_of(*found: Found) -> list[list[str]]:
    """Give what each file of each field is known by.

    Examples:
        >>> from npdata.sources.many_files.find_files import find_files
        >>> folders, flat = find_files(["d/a/x.npy", "d/b/x.npy"]), find_files(["d/a/x.npy"])
        >>> keys_of(folders), keys_of(flat)
        ([['a', 'b']], [['x']])
    """
    stems = [_stems(each.files) for each in found]
    several = [set(each) for each in stems]
    apart = any(1 < len(known) < len(each) for known, each in zip(several, stems, strict=True))
    one_file = all(len({files.text(k) for k in range(len(files))}) == 1 for files, _ in found)
    keys = []
    for (files, anchor), own, known in zip(found, stems, several, strict=True):
        if len(known) < len(own):
            below = [files.text(k).removeprefix(anchor) for k in range(len(files))]
            own = [_stem(text) if apart else os.path.dirname(text) for text in below]  # noqa: PTH120
        members = [files.member(k) or "" for k in range(len(files))]
        if len(set(members)) > 1:
            members = without_common_parts(members)
            own = members if one_file else list(map(SEPARATOR.join, zip(own, members, strict=True)))
        keys.append(own)
    return keys


def _stems(files: FileList) -> list[str]:
    return [_stem(os.path.basename(files.text(k))) for k in range(len(files))]  # noqa: PTH119


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122


def _twice(label: str, files: FileList, keys: list[str]) -> FieldError:
    first, again = _same(keys)
    return FieldError(
        f"field {label!r} has {files[first]} and {files[again]}, which are both known by "
        f"{keys[first]!r}; {IN_ONE_ORDER}"
    )


def _unpaired(*sides: tuple[str, FileList, list[str]]) -> FieldError:
    """Say which file has no partner; first which two have one stem, where that is the reason."""
    for (label, files, _), (other, others, _) in (sides, sides[::-1]):
        stems, known = _stems(files), set(_stems(others))
        if len(set(stems)) < len(stems) and len(known) == len(others):
            first, again = _same(stems)
            return FieldError(
                f"field {label!r} has {files[first]} and {files[again]}, both of the stem "
                f"{stems[first]!r}, so that one has no partner in field {other!r}; {IN_ONE_ORDER}"
            )
    for (label, files, keys), (other, others, partners) in (sides, sides[::-1]):
        known = set(partners)
        alone = next((k for k, key in enumerate(keys) if key not in known), None)
        if alone is not None:
            return FieldError(
                f"{files[alone]} of field {label!r} has no partner among the {len(others)} files "
                f"of field {other!r}, such as {others[0]}; files of different fields belong "
                f"together by their stem; where their names differ, {IN_ONE_ORDER}"
            )
    raise AssertionError


def _same(keys: list[str]) -> tuple[int, int]:
    """Give the places of the first two keys that are the same."""
    known: dict[str, int] = {}
    for k, key in enumerate(keys):
        if known.setdefault(key, k) != k:
            return known[key], k
    raise AssertionError
