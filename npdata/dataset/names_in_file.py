"""Which keyword arguments of `from_hdf5` and `from_npz` are options, and which name fields.

Idea: `image="x"` names the field and what it is in the file, so an option that is not there, or is
another library's, looks like a field. Invariant: what names nothing in a file is refused, with what
to write. No file is looked at.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from npdata.dataset.arguments import OPTIONS, meant_by, refuse_words_of_loaders
from npdata.errors import FieldError, MemberNotFoundError


def sorted_out(
    constructor: str, names: Sequence[object], options: Mapping[str, Any], known: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, str]]:
    """Divide keyword arguments into the dataset's options and the names of fields.

    `known` are options of the constructor itself. Raises `FieldError` for what names no dataset of
    a file.

    Examples:
        >>> sorted_out("from_npz", (), {"copy": False, "image": "x"})
        ({'copy': False}, {'image': 'x'})
    """
    own = {key: value for key, value in options.items() if key in OPTIONS}
    named = {key: value for key, value in options.items() if key not in OPTIONS}
    refuse_words_of_loaders(named)
    known = (*known, *OPTIONS)

    def no_option(key: str) -> str:
        given = f"{key}={named[key]!r} is no option of {constructor}"
        return f"{given}{meant_by(key, known)} (it has {', '.join(known)})"

    for key, value in named.items():
        if not isinstance(value, str):
            raise FieldError(
                f"{no_option(key)}, and as a field it needs the name of a dataset as text"
                f"{_cure_for(constructor, key, value)}"
            )
    for name in names:
        if not isinstance(name, str):
            raise FieldError(_no_name(constructor, name))
    if names and named:
        if all(Path(str(each)).is_file() for each in names):
            shown = ", ".join(f"{key}={value!r}" for key, value in named.items())
            raise FieldError(
                f"{names[0]!r} is a file, where the name of a dataset stands: several files are "
                f"one list, {constructor}([...], {shown})"
            )
        raise FieldError(
            f"{no_option(next(iter(named)))}, and as a field it would be named while {names[0]!r} "
            "is not: fields are either all named or all positional"
        )
    return own, named


def _cure_for(constructor: str, key: str, value: object) -> str:
    """Say what to write for a value that is no name."""
    if isinstance(value, list | tuple):
        return (
            f'; several fields are {constructor}(path, "a", "b"), without {key}=; "data/*/x" lays '
            'those of all groups end to end, npdata.concatenate(["d.h5::a", "d.h5::b"]) those that '
            "it names"
        )
    if isinstance(value, Mapping):
        return "; a field has no fields of its own: name each, and nest by batch_transform="
    return ""


def _no_name(constructor: str, given: object) -> str:
    """Say what to write for an argument that is no name."""
    many = ""
    if isinstance(given, list | tuple | dict):
        star = "**" if isinstance(given, dict) else "*"
        many = f", or {constructor}(path, {star}names)"
    return (
        f"{constructor} takes names of datasets, and {given!r} is none; give each name as an "
        f'argument, as in {constructor}(path, "images", "labels"){many}'
    )


@contextmanager
def words_explained(named: Iterable[str]) -> Iterator[None]:
    """Note of names of fields, where one is not in the file, which are words of other libraries."""
    try:
        yield
    except MemberNotFoundError as error:
        for name in named:
            if cure := meant_by(name, ()):
                error.add_note(f"{name}= names a field here{cure}")
        raise
