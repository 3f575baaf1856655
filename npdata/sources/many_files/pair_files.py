"""Which file of one field belongs to which of another: those of the same stem.

Idea: a file is known by its stem (`img/a7.npy`, `mask/a7.npy`); where stems come more than once, by
its path below the folder that was searched; where all are one (`a7/image.npy`), by its folder; a
dataset by the part of its name that differs. Where fields share none of these, by what the
wildcards of their globs match (`a7` of `*_img.npy` and `*_mask.npy`). Invariant: a file has one
partner in each field, or an error says so. It opens no file.
"""

import os
from collections.abc import Mapping, Sequence
from unicodedata import normalize

import numpy as np

from npdata.arrays.dtypes import Ints
from npdata.errors import FieldError
from npdata.sources.many_files.file_list import SEPARATOR, FileList
from npdata.sources.names import matched_by, without_common_parts

IN_ONE_ORDER = (
    "give the files of each field as a list, in one order: NumpyDataset(x=stack([...]), of shards "
    "x=concatenate([...]), ...)"
)


def pair_files(found: Mapping[str, FileList]) -> dict[str, FileList]:
    """Give the files of each field, in the order of the first field.

    Raises `FieldError` for a file without a partner, or with two.

    Examples:
        >>> from npdata.sources.many_files.find_files import find_files
        >>> images, masks = find_files(["m/1.npy", "m/2.npy"]), find_files(["n/2.npy", "n/1.npy"])
        >>> list(pair_files({"image": images, "mask": masks})["mask"])
        ['n/1.npy', 'n/2.npy']
    """
    (first, wanted), *others = zip(found, keys_of(*found.values()), strict=True)
    numbers = {key: k for k, key in enumerate(wanted)}
    if len(numbers) < len(wanted):
        raise _twice(first, found[first], wanted)
    paired = {first: found[first]}
    for label, own in others:
        files = found[label]
        places = {key: k for k, key in enumerate(own)}
        if len(places) < len(own):
            raise _twice(label, files, own)
        if places.keys() != numbers.keys():
            raise _unpaired((first, found[first], wanted), (label, files, own))
        paired[label] = files if own == wanted else files.take([places[key] for key in wanted])
    return paired


def require_paired(
    found: Mapping[str | int, Sequence[str]], made_by: Mapping[str | int, str]
) -> None:
    """Raise `FieldError` where files that were searched apart would lie beside wrong partners.

    So they do where each folder lacks another file, or where a list names the same ones in another
    order. Two lists have the order that the user gave them. `made_by` are the functions that made
    the fields.
    """
    known = {label: files for label, files in found.items() if isinstance(files, FileList)}
    searched = [label for label, files in known.items() if files.searched is not None]
    if not searched:
        return
    first = searched[0]
    files = known.pop(first)
    for label, partners in known.items():
        listed = label not in searched
        if len(partners) != len(files) or partners.same_names(files):
            continue
        if listed and not _may_pair(files, partners):
            continue
        keys, own = keys_of(files, partners)
        pairs = enumerate(zip(keys, own, strict=True))
        apart = next((k for k, (key, other) in pairs if key != other), None)
        if apart is None or (sorted(keys) != sorted(own) if listed else set(keys).isdisjoint(own)):
            continue
        why = "which the list has in another order" if listed else "which has another name"
        function = made_by[first if listed else label]
        raise FieldError(
            f"{files[apart]} of field {first!r} would lie beside {partners[apart]} of field "
            f"{label!r}, {why}: stack(x=..., y=...) and concatenate(x=..., y=...) pair files by "
            "name, and name those without a partner; where this order is meant, a list of names "
            f"keeps it: {function}({function}("
            f"{_asked_for(files if listed else partners)!r}).fields[0].paths)"
        )


def require_equal_lengths(known: Mapping[str | int, tuple[FileList, Ints]]) -> None:
    """Raise `FieldError` where files that belong together differ in their number of rows.

    `known` are the files of each field and the rows of each file. Rows would lie beside those of
    other files in silence where the sums of all are equal.
    """
    if len(known) < 2:
        return
    (first, (files, lengths)), *others = known.items()
    for label, (partners, own) in others:
        if len(own) != len(lengths) or np.array_equal(own, lengths):
            continue
        if not files.same_names(partners):
            keys, partner_keys = keys_of(files, partners)
            if keys != partner_keys:
                continue
        k = int(np.flatnonzero(own != lengths)[0])
        raise FieldError(
            f"{files[k]} of field {first!r} has {lengths[k]} rows, and {partners[k]} of field "
            f"{label!r} has {own[k]}; where rows belong together over the borders of files, "
            "x=sum(map(npdata.NumpyDataset, paths)) has the rows alone"
        )


def _may_pair(files: FileList, partners: FileList) -> bool:
    """Whether one file has the stem or folder of some partner, as it must for keys to be equal."""
    if files.has_members or partners.has_members:
        return True
    below = [files.text(k).removeprefix(files.anchor) for k in (0, len(files) - 1)]
    names = _stem_and_folder(max(below, key=os.path.dirname)) - {""}
    texts = partners.texts()
    return any(name in text and name in _stem_and_folder(text) for name in names for text in texts)


def _stem_and_folder(text: str) -> set[str]:
    folder, name = os.path.split(text)
    return {_stem(name), os.path.basename(folder)}  # noqa: PTH119


def _asked_for(files: FileList) -> str:
    folder, glob, member = files.searched or ("", "", None)
    return (glob or folder) + ("" if member is None else SEPARATOR + member)


def keys_of(*found: FileList) -> list[list[str]]:
    """Give what each file of each field is known by.

    Examples:
        >>> from npdata.sources.many_files.find_files import find_files
        >>> folders, flat = find_files(["d/a/x.npy", "d/b/x.npy"]), find_files(["d/a/x.npy"])
        >>> keys_of(folders), keys_of(flat)
        ([['a', 'b']], [['x']])
    """
    texts = [files.texts() for files in found]
    stems = list(map(_stems, texts))
    several = [set(each) for each in stems]
    matched = None if set.intersection(*several) else _matched_by_wildcards(found, texts, 1)
    if matched is None:
        apart = any(1 < len(known) < len(each) for known, each in zip(several, stems, strict=True))
        for number, (files, own) in enumerate(zip(found, stems, strict=True)):
            if len(several[number]) < len(own):
                below = [text.removeprefix(files.anchor) for text in texts[number]]
                stems[number] = [_stem(text) if apart else os.path.dirname(text) for text in below]  # noqa: PTH120
        if not set.intersection(*map(set, stems)):
            matched = _matched_by_wildcards(found, texts, 1)
    keys = stems if matched is None else matched
    for number, members in enumerate(_members_of(found)):
        if members:
            own, one_file = keys[number], len(set(texts[number])) == 1
            keys[number] = (
                members if one_file else list(map(SEPARATOR.join, zip(own, members, strict=True)))
            )
    return keys


def _members_of(found: Sequence[FileList]) -> list[list[str]]:
    """Give what sets the members of each field apart; nothing where all are one or none."""
    whole = [
        [files.member(k) or "" for k in range(len(files))] if files.has_members else []
        for files in found
    ]
    members = [without_common_parts(each) if len(set(each)) > 1 else [] for each in whole]
    if all(members) and not set.intersection(*map(set, members)):
        return _matched_by_wildcards(found, whole, 2) or members
    return members


def _matched_by_wildcards(
    found: Sequence[FileList], names: Sequence[list[str]], part: int
) -> list[list[str]] | None:
    """Give what the wildcards of each glob, `searched[part]`, matched in the names of its files.

    None where no file has a partner so.
    """
    matched = []
    for files, each in zip(found, names, strict=True):
        glob = None if files.searched is None else files.searched[part]
        own = matched_by((glob or "").strip("/"), [name.strip("/") for name in each])
        if own is None:
            return None
        matched.append(own)
    return matched if set.intersection(*map(set, matched)) else None


def _stems(texts: list[str]) -> list[str]:
    return [_stem(os.path.basename(text)) for text in texts]  # noqa: PTH119


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
        stems, known = _stems(files.texts()), set(_stems(others.texts()))
        members = files.members_differ and len(set(files.texts())) == 1  # of one file
        if len(set(stems)) < len(stems) and len(known) == len(others) and not members:
            first, again = _same(stems)
            return FieldError(
                f"field {label!r} has {files[first]} and {files[again]}, both of the stem "
                f"{stems[first]!r}, so that one has no partner in field {other!r}; {IN_ONE_ORDER}"
            )
    for (label, files, keys), (other, others, partners) in sorted(
        (sides, sides[::-1]), key=lambda pair: len(pair[1][1]) > 1
    ):
        known = set(partners)
        alone = next((k for k, key in enumerate(keys) if key not in known), None)
        if alone is not None:
            composed = normalize("NFC", keys[alone])
            for k, key in enumerate(partners):
                if normalize("NFC", key) == composed:
                    return FieldError(
                        f"{files[alone]} of field {label!r} has no partner: {others[k]} of field "
                        f"{other!r} has the same letters in another form of Unicode (macOS may "
                        f"write é as e and an accent); rename files, or {IN_ONE_ORDER}"
                    )
            cure = IN_ONE_ORDER
            if len(others) == 1 < len(files):
                cure = (
                    "one that holds rows of all is a field beside them: "
                    f"NumpyDataset({label}=npdata.concatenate(files), {other}={others[0]!r})"
                )
            return FieldError(
                f"{files[alone]} of field {label!r} has no partner among the {len(others)} files "
                f"of field {other!r}, such as {others[0]}; files of different fields belong "
                "together by their stem, or by what the wildcards of their globs match, as in "
                f"x='*_img.npy', y='*_mask.npy'; else {cure}"
            )
    raise AssertionError


def _same(keys: list[str]) -> tuple[int, int]:
    """Give the places of the first two keys that are the same."""
    known: dict[str, int] = {}
    for k, key in enumerate(keys):
        if known.setdefault(key, k) != k:
            return known[key], k
    raise AssertionError
