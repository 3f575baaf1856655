"""Labels: numbers, with the names that they stand for, such as those of folders.

Idea: "the label is the folder's name" is a function or a regular expression over the path; names
become 0, 1, 2, ... in natural order, and numbers stay what they are. Invariant: all labels of a
source are of one kind, and a number stands for one name in all parts of a field.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.errors import FieldError, an
from npdata.sources.base import Access, Category, Details, Source
from npdata.sources.many_files.file_list import compressed, decompressed
from npdata.sources.memory import MemorySource
from npdata.sources.names import naturally_sorted, some_of

LabelFrom: TypeAlias = str | re.Pattern[str] | Callable[[str], Any]


class LabelSource(MemorySource):
    """A number for each row; where numbers stand for names, `categories[number]`."""

    def __init__(
        self,
        values: NDArray[Any],
        categories: Sequence[Category] = (),
        where: str = "labels from the names of files",
        reason: str | None = None,
        details: Details = (),
    ) -> None:
        super().__init__(values)
        self.categories = tuple(categories)
        self.where = where
        named = f"{len(categories)} categories" if categories else "numbers"
        from_names = f"{named}, from the names of the files"
        self.access = Access(kind="memory", reason=reason or from_names)
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        about = (self.categories, self.where, self.access.reason, self.details)
        return _unpickled, (compressed(self.table.array), *about)


def _unpickled(values: Any, *about: Any) -> LabelSource:
    return LabelSource(decompressed(values), *about)


def in_one_code(parts: Sequence[Source]) -> Sequence[Source]:
    """Give parts whose numbers stand for the same names: all of theirs, as they come.

    The numbers of the first part stay. Raises `FieldError` where only some parts have names, where
    those of some are text and of others numbers, and for windows of parts with different ones.

    Examples:
        >>> a, b = LabelSource(np.array([0, 1]), "BT"), LabelSource(np.array([0, -1, 1]), "KT")
        >>> both = in_one_code([a, b])
        >>> both[1].categories, both[1].table.array.tolist()
        (('B', 'T', 'K'), [2, -1, 1])
    """
    names = tuple(dict.fromkeys(name for part in parts for name in part.categories))
    if not names:
        return parts
    named = next(part for part in parts if part.categories)
    for part in parts:
        if not part.categories and not _all_missing(part):
            raise FieldError(
                f"{part.where} holds numbers, and {named.where} numbers that stand for names; they "
                "make no one field"
            )
    _require_one_kind([part for part in parts if part.categories])
    dtypes = {part.dtype for part in parts}
    if len(dtypes) == 1 and all(part.categories == names for part in parts):
        return parts
    dtype = np.result_type(*dtypes, np.min_scalar_type(-len(names)))
    return [_recoded(part, names, dtype) for part in parts]


def _require_one_kind(parts: Sequence[Source]) -> None:
    first = parts[0]
    for part in parts:
        if isinstance(part.categories[0], str) != isinstance(first.categories[0], str):
            raise FieldError(
                f"the categories of {first.where} begin with {first.categories[0]!r}, and those of "
                f"{part.where} with {part.categories[0]!r}: text and numbers are never the same; "
                "write them alike, as adata.obs[name].astype(str).astype('category')"
            )


def _all_missing(part: Source) -> bool:
    if not isinstance(part, LabelSource) or part.dtype.kind not in "iu":
        return False
    return bool((part.table.array == -1).all())


def _recoded(part: Source, names: tuple[Category, ...], dtype: np.dtype[Any]) -> LabelSource:
    if len(part.shape) > 1:
        raise FieldError(
            f"windows of {part.where} and of another field have numbers that stand for different "
            "names; make windows of the sum: (a + b).windows(...)"
        )
    stored = np.empty(part.shape, part.dtype)
    part.read_run(0, stored)
    code = {name: k for k, name in enumerate(names)}
    codes = np.array([*(code[name] for name in part.categories), -1], dtype)
    values = np.where(stored < 0, stored, codes[stored]).astype(dtype)
    return LabelSource(values, names, part.where, part.access.reason, shown_categories(names))


def shown_categories(names: Sequence[Category]) -> Details:
    """Give the line of `describe()` about categories."""
    return (("codes", f"of {len(names)} categories: {some_of(names, 5)}"),)


def labels_of(paths: Iterable[str], label_from: LabelFrom) -> LabelSource:
    r"""Give the label of each path: what the function returns, or the expression finds.

    An expression that has groups gives the text of the first one, else all that it finds. Texts
    become int64 numbers of `categories`; ints, floats and bools stay. Raises `FieldError` (a
    ValueError) for a path without a label, and for labels of several kinds.

    Examples:
        >>> source = labels_of(["d/cat/1.npy", "d/ant/1.npy", "d/cat/2.npy"], r"([^/]+)/[^/]+$")
        >>> source.table.array.tolist(), source.categories
        ([1, 0, 1], ('ant', 'cat'))
    """
    found = [(path, _label(path, label_from)) for path in paths]
    values = [value for _, value in found]
    first = _kind(values[0])
    for path, value in found:
        if _kind(value) is None:
            raise FieldError(
                f"label_from= gives {value!r:.60} for {path}; a label is a text, or one int, float "
                "or bool of Python or NumPy"
            )
        if _kind(value) is not first:
            raise FieldError(
                f"label_from= gives {value!r} for {path}, and {values[0]!r} for {found[0][0]}; all "
                f"labels are text, or all are ints, floats or bools"
            )
    if first is not str:
        return LabelSource(_numbers(values))
    names = [str(value) for value in values]  # NumPy's own are no plain text, as YAML needs it
    categories = naturally_sorted(set(names))
    code = {name: k for k, name in enumerate(categories)}
    return LabelSource(np.array([code[name] for name in names], np.int64), categories)


def _numbers(values: list[Any]) -> NDArray[Any]:
    """Give numbers of one kind as an array; NumPy would make floats of 1 and 2**63."""
    array = np.array(values)
    if _kind(values[0]) is not int or array.dtype.kind in "iu":
        return array
    whole = [int(value) for value in values]
    if min(whole) < 0 or max(whole) >= 1 << 64:
        raise FieldError(
            f"label_from= gives labels from {min(whole)} to {max(whole)}; one of int64 and uint64 "
            "has to hold all of them"
        )
    return np.array(whole, np.uint64)


def _label(path: str, label_from: LabelFrom) -> Any:
    if callable(label_from):
        try:
            return label_from(path)
        except Exception as error:
            error.add_note(f"while label_from= was called with the path {path!r}, a str")
            raise
    if not isinstance(label_from, str | re.Pattern):
        raise FieldError(
            f"label_from= takes a function of a path or a regular expression, not "
            f"{an(type(label_from).__name__)}; labels by the names of files are "
            "lambda path: labels[Path(path).stem]"
        )
    try:
        match = re.search(label_from, path)
    except re.error as error:
        raise FieldError(f"label_from={label_from!r} is no regular expression: {error}") from error
    label = None if match is None else match[1] if match.re.groups else match[0]
    if label is None:
        shown = label_from if isinstance(label_from, str) else label_from.pattern
        raise FieldError(
            f"label_from={shown!r} finds no label in {path}; the name of the file's folder is "
            "found by r'([^/]+)/[^/]+$'"
        )
    return label


def _kind(value: Any) -> type | None:
    if isinstance(value, bool | np.bool_):
        return bool
    if isinstance(value, int | np.integer):
        return int
    if isinstance(value, float | np.floating):
        return float
    return str if isinstance(value, str) else None
