"""What a name of an HDF5 file stands for: a dataset, or what is made of one or several.

Idea: a name that is no dataset may be a group that stands for an array, or a column of a table;
one with wildcards is a dataset of many groups. Invariant: a dataset of this very name comes first;
where there is nothing, the error lists what is there.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence, Set

import h5py

from npdata.arrays.dtypes import DType
from npdata.errors import FieldError, MemberNotFoundError
from npdata.sources.base import Source
from npdata.sources.derived.columns import ColumnSource, split_column
from npdata.sources.hdf5.anndata.encoded_groups import open_encoded
from npdata.sources.hdf5.anndata.genes import Genes
from npdata.sources.hdf5.examine.examine import OpenedFile
from npdata.sources.hdf5.examine.find import lost
from npdata.sources.hdf5.examine.links import encoded, leads_outside
from npdata.sources.hdf5.examine.many_groups import look_at_groups
from npdata.sources.hdf5.examine.patterns import matched
from npdata.sources.hdf5.file import AUTO, Hdf5Options, Locking, absolute_path, opened_anew
from npdata.sources.hdf5.groups import GroupsSource
from npdata.sources.hdf5.open import open_datasets, open_hdf5, open_labels
from npdata.sources.hdf5.rows.variable_length import as_numbers
from npdata.sources.names import naturally_sorted, refuse_any_depth, some_of

WILDCARDS = frozenset("*?")
CATEGORIES = "uns/{}_categories"
Picked = Sequence[str | bytes]


def open_names(
    path: str, names: Sequence[str], options: Hdf5Options = AUTO, groups: Picked | None = None
) -> list[Source]:
    """Open what each name stands for, of one file.

    `groups` picks some of the groups that a name with wildcards stands for, in its order: what
    stands for the wildcard, or whole paths; without a wildcard, the groups to look for the name in.
    One name that comes twice is one source. Raises as `open_hdf5`, and `FieldError` where rows of
    groups differ.
    """
    asked, names = names, list(dict.fromkeys(names))
    opened: list[Source] = []
    if len(names) > 1 and groups is None and not any(map(_is_pattern, names)):
        with contextlib.suppress(MemberNotFoundError):  # it may be a group that stands for an array
            opened = open_datasets(path, names, options)
    opened = opened or [_open_name(path, name, options, groups) for name in names]
    for source, name in zip(opened, names, strict=True):
        coded = _coded(source.dtype, path, name, options)
        source.tell(genes=Genes.of(path, name, options.locking), coded=coded)
    by_name = dict(zip(names, opened, strict=True))
    return [by_name[name] for name in asked]


def _open_name(path: str, name: str, options: Hdf5Options, groups: Picked | None) -> Source:
    try:
        return _open_rows(path, name, options, groups)
    except MemberNotFoundError:
        found = open_encoded(path, name, options) if groups is None else None
        if found is None:
            found = _open_column(path, name, options, groups)
        if found is None:
            raise
        return found


def _open_rows(path: str, name: str, options: Hdf5Options, groups: Picked | None) -> Source:
    """Open a dataset, or one out of each of many groups."""
    if groups is None:
        try:
            return open_hdf5(path, name, options)
        except MemberNotFoundError:
            if not _is_pattern(name):
                raise
    path = absolute_path(path)
    with opened_anew(path, options.locking) as file:
        names = _names_of_groups(file, path, name, options, groups)
        pattern = name if _is_pattern(name) else ""
        try:
            seen = look_at_groups(OpenedFile(file, path, options), names, pattern)
        except MemberNotFoundError as error:
            if not pattern:
                raise
            raise MemberNotFoundError(
                f"{error}; where some groups lack it, groups= of from_hdf5 picks the others"
            ) from None
        return as_numbers(GroupsSource(seen, options))


def _names_of_groups(
    file: h5py.File, path: str, name: str, options: Hdf5Options, groups: Picked | None
) -> list[str]:
    """Give the names of the datasets that make one field; `groups` as in `open_names`."""
    names = _expanded(file, path, name, options) if _is_pattern(name) else []
    if groups is None:
        return names
    asked = _checked_groups(groups)
    if names:
        picked = _picked(path, name, names, asked)
    else:
        picked = [f"/{group.strip('/')}/{name.strip('/')}" for group in asked]
    twice = next((each for each, times in Counter(picked).items() if times > 1), None)
    if twice is not None:
        same = [group for group, each in zip(asked, picked, strict=True) if each == twice]
        raise FieldError(
            f"groups= has {same[0]!r} and {same[1]!r}, which is one group twice, and so would "
            "be its rows"
        )
    return picked


def _open_column(
    path: str, name: str, options: Hdf5Options, groups: Picked | None
) -> Source | None:
    """Open `table.column` or `table.outer.inner`; None where no table has the first of the name."""
    last = len(name)
    while (last := name.rfind(".", 0, last)) > 0:
        table, column = name[:last], name[last + 1 :]
        try:
            records = _open_rows(path, table, options, groups)
        except MemberNotFoundError:
            continue
        if records.dtype.names is None:
            return None
        found = ColumnSource(records, split_column(records.dtype, column))
        if column not in _coded(records.dtype, path, table, options):
            return found
        categories, where = CATEGORIES.format(column), f"{path}::{table}.{column}"
        return open_labels(found, path, categories, where, options)
    return None


def coded_columns(
    dtype: DType, path: str, table: str, locking: Locking, *, outside: bool = False
) -> tuple[str, ...]:
    """Give the columns of AnnData 0.6 that are codes of categories in `uns`.

    All that may be, where `uns` is in another file: `outside` lets links to others be followed.
    """
    if dtype.names is None or table.strip("/") not in ("obs", "var"):
        return ()
    categories = {n: CATEGORIES.format(n) for n in dtype.names if dtype[n].kind in "iu"}
    with opened_anew(path, locking) as file:
        return tuple(
            column
            for column, name in categories.items()
            if (not outside and leads_outside(file, name)) or name in file
        )


def _coded(dtype: DType, path: str, table: str, options: Hdf5Options) -> tuple[str, ...]:
    return coded_columns(dtype, path, table, options.locking, outside=options.allow_external)


def _is_pattern(name: str) -> bool:
    return not WILDCARDS.isdisjoint(name)


def _expanded(file: h5py.File, path: str, pattern: str, options: Hdf5Options) -> list[str]:
    """Give the names that a pattern matches up to its last wildcard, in natural order."""
    refuse_any_depth(pattern)
    parts = [part for part in pattern.split("/") if part]
    last = max(k for k, part in enumerate(parts) if _is_pattern(part))
    outside = options.allow_external
    found = matched(file, parts[: last + 1], _is_pattern, allow_external=outside)
    rest = "/".join(parts[last + 1 :])
    if rest:
        found = [each for each in found if not _is_dataset(file, each)]
    if not found:
        raise MemberNotFoundError(
            f"{path} has no group that matches {pattern!r}; {lost(file, pattern)}"
        )
    return [f"{each}/{rest}" if rest else each for each in naturally_sorted(found)]


def _is_dataset(file: h5py.File, name: str) -> bool:
    """Tell whether it is a dataset, and no link, which may lead to another file."""
    found = h5py.h5g.get_objinfo(file.id, encoded(name), follow_link=False)
    return bool(found.type == h5py.h5g.DATASET)


def _checked_groups(groups: object) -> list[str]:
    """Give the names in `groups`; raises `FieldError` for what is no list of some."""
    if isinstance(groups, str | bytes) or not isinstance(groups, Iterable):
        raise FieldError(
            f"groups={groups!r:.60}: expected a list of names of groups; one in the file is "
            "read by h5py.File(path)['mask/train'][:]"
        )
    if isinstance(groups, Set):
        raise FieldError("groups= is a set, which has another order in each process: sort it")
    asked = [g.decode() if isinstance(g, bytes) else str(g) for g in groups]
    if not asked:
        raise FieldError("groups= is empty, and an empty list of groups makes no field")
    return asked


def _picked(path: str, pattern: str, names: list[str], asked: list[str]) -> list[str]:
    """Give those of `names`, which match `pattern`, that lie in the groups asked for, in order.

    A group is named by what stands for the wildcards, or by its whole path.
    """
    parts = [part for part in pattern.split("/") if part]
    at = [k for k, part in enumerate(parts) if _is_pattern(part)]
    known: dict[str, str] = {}
    short: list[str] = []
    for name in names:
        own = name.strip("/").split("/")
        short.append("/".join(own[at[0] : at[-1] + 1]))
        known[short[-1]] = name
        known["/".join(own[: at[-1] + 1])] = name
    absent = [group for group in asked if group.strip("/") not in known]
    if absent:
        raise MemberNotFoundError(
            f"{path} has no group {absent[0]!r} for {pattern!r} ({len(absent)} of the "
            f"{len(asked)} in groups= are missing); it has {some_of(dict.fromkeys(short), 5)}"
        )
    return [known[group.strip("/")] for group in asked]
