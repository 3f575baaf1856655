"""Finding a dataset by its name; the error for what is not there names what is.

Idea: the names listed are those that a user would write: a group that stands for one array (a
sparse matrix or categories of AnnData) comes as that group. Invariant: a file of very many names
is looked at as far as the error lists them.
"""

import contextlib
import itertools
import os
from pathlib import Path
from typing import Any

import h5py

from npdata.errors import MemberNotFoundError
from npdata.sources.hdf5.anndata.encoding import SPARSE_PARTS, encoded_kind
from npdata.sources.hdf5.examine.links import encoded, found_inside, is_hard, link_of, parts_of
from npdata.sources.hdf5.file import H5PY_ERRORS
from npdata.sources.names import some_of
from npdata.suggestions import did_you_mean

MOST_NAMES = 20
_MATLAB = ("#refs#", "#subsystem#")
"""Groups of MATLAB's own, which hold the cells of the arrays beside them."""
_SPARSE_OF_MATLAB = ("data", "ir", "jc")


def find(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    """Give the dataset `name`; raises `MemberNotFoundError` with the names of what is there."""
    try:
        found: Any = file[encoded(name)] if name else file
    except H5PY_ERRORS as error:
        raise MemberNotFoundError(
            f"{file.filename} has no dataset {name!r}{_why_not(file, name, error)}"
        ) from None
    if isinstance(found, h5py.Dataset):
        return found
    if isinstance(found, h5py.Group):
        raise MemberNotFoundError(_about_group(file, found, name, where))
    there = _listed(_names(file))
    raise MemberNotFoundError(f"{where} is a named type and no dataset; {there}")


def _why_not(file: h5py.File, name: str, error: Exception) -> str:
    target = _target(file, name)
    if target is not None:
        return f": it links to {target}, and that leads nowhere{_cause(error)}"
    return f"{_cause(error)}; {lost(file, name)}"


def _about_group(file: h5py.File, group: h5py.Group, name: str, where: str) -> str:
    """Say which names a group has, and how to open one, or several."""
    if encoded_kind(group) is not None:  # which is opened by its own name before
        return (
            f"{where} is a group that stands for one array, as AnnData writes it, and no "
            "wildcard or groups= opens it; lay such groups end to end: "
            f"npdata.concatenate([{where!r}, ...])"
        )
    names = _names(group, "/".join(parts_of(name)))
    every = _in_all_groups(file, names[0]) if names and "/" in name.strip("/") else []
    there = ", or ".join([_listed(names), *every])
    return (
        f"{where.removesuffix('::')} is a group, and a dataset is needed; {there}; "
        "name one, as in NumpyDataset('FILE::NAME'), or several: "
        f"NumpyDataset.from_hdf5('FILE', 'NAME', 'NAME'){_as_rows(group)}"
    )


def _cause(error: Exception) -> str:
    """Give what h5py says, but for a name that is just not there."""
    plain = ("doesn't exist", "component not found", "message type not found")
    return "" if any(each in str(error) for each in plain) else f" ({error})"


def _target(file: h5py.File, name: str) -> str | None:
    """Give where the soft link `name` leads, or a link on its way to what no other file has."""
    parts = parts_of(name)
    with contextlib.suppress(*H5PY_ERRORS):
        for k in range(1, len(parts) + 1):
            path = encoded("/".join(parts[:k]))
            link = link_of(file, path)
            if isinstance(link, h5py.ExternalLink) and file.get(path) is None:
                return f"{link.path!r} in another file, {link.filename!r}"
        return str(link.path) if isinstance(link, h5py.SoftLink) else None
    return None


def lost(file: h5py.File, name: str) -> str:
    """Say what was perhaps meant by `name`, which the file has not, and which names it has."""
    if os.path.isfile(name):  # noqa: PTH113 - a name may be no path at all
        return (
            f"it is the name of a file: several files are one list, as in "
            f"from_hdf5([{Path(file.filename).name!r}, {name!r}], ...)"
        )
    names = _names(file)
    for place in (k for k, letter in enumerate(name) if letter == "/"):
        table = file.get(name[:place]) if name[:place] in names else None
        if isinstance(table, h5py.Dataset) and table.dtype.names:
            column = f"{name[:place]}.{name[place + 1 :].replace('/', '.')}"
            return f"{name[:place]!r} is a table, whose columns come after a dot: {column!r}"
    tail = "/" + name.replace(".", "/").strip("/").casefold()
    found = [each for each in names if f"/{each}".casefold().endswith(tail)]
    found = [*found[:1], *_in_all_groups(file, found[0])] if found else _in_each_group(name, names)
    meant = f"; did you mean {', or '.join(found)}?" if found else did_you_mean(name, names, "")
    return f"{meant.removeprefix('; ')} {_listed(names)}".lstrip()


def _as_rows(group: h5py.Group) -> str:
    """Say what to write where a group has the parts of a sparse matrix, and no shape."""
    if all(found_inside(group, part) is not None for part in _SPARSE_OF_MATLAB):
        return (
            "; a sparse matrix of MATLAB lies by columns: npdata.csr of its data, ir, jc, and "
            "(columns, rows) has a row for each, and scipy.sparse.csc_matrix((data, ir, jc), "
            "(rows, columns)).tocsr() has its rows, for npdata.csr"
        )
    if not all(found_inside(group, part) is not None for part in SPARSE_PARTS):
        return ""
    return (
        "; a sparse matrix by rows is npdata.csr of its data, indices, indptr, and (rows, columns)"
    )


def _in_each_group(name: str, names: list[str]) -> list[str]:
    """Give the pattern of a dataset that lies in several groups, where `name` leaves these out.

    Examples:
        >>> _in_each_group("data/x", ["data/demo_0/x", "data/demo_0/y", "data/demo_1/x"])
        ['data/*/x']
    """
    first, _, last = name.strip("/").rpartition("/")
    above = first.split("/") if first else []
    below = [each.split("/") for each in names]
    alike = [parts for parts in below if parts[:-2] == above and parts[-1] == last and parts[1:]]
    return ["/".join([*above, "*", last])] if len(alike) > 1 else []


def _in_all_groups(file: h5py.File, name: str) -> list[str]:
    """Give `name` as it is in all groups, where a group beside its own has it too.

    Examples:
        >>> with h5py.File("d.h5", "w") as file:
        ...     file["data/demo_0/x"] = file["data/demo_1/x"] = [1, 2]
        ...     _in_all_groups(file, "data/demo_0/x")
        ['data/*/x in all groups']
    """
    parts = name.split("/")
    for place, own in enumerate(parts[:-1]):
        above = file["/" + "/".join(parts[:place])]
        below = "/".join(parts[place + 1 :])
        others = itertools.islice((each for each in above if each != own), MOST_NAMES)
        if any(found_inside(above, f"{each}/{below}") is not None for each in others):
            return [f"{'/'.join([*parts[:place], '*', below])} in all groups"]
    return []


def _names(group: h5py.Group, above: str = "") -> list[str]:
    """Give the names of arrays below the group `above`, one more than are listed at most."""
    names: list[str] = []
    array = "\0"  # the group seen last that stands for one array

    def visit(found: str | bytes, item: object) -> bool | None:
        nonlocal array
        name = os.fsdecode(found)  # h5py gives bytes that are no UTF-8 as they are
        if name.startswith(f"{array}/"):
            return None
        if isinstance(item, h5py.Group):
            kind = None
            with contextlib.suppress(*H5PY_ERRORS):
                kind = encoded_kind(item)
            if kind is None:
                return None
            array = name
        # PyTables keeps the indexes of its columns beside a table.
        if isinstance(item, h5py.Dataset | h5py.Group) and "/_i_" not in f"/{name}":
            names.append(f"{above}/{name}".lstrip("/"))
        return True if len(names) > MOST_NAMES else None

    if not is_hard(group.id, _MATLAB[0]):
        group.visititems(visit)
        return names
    for own in group:
        if own not in _MATLAB and is_hard(group.id, own):
            item = group[own]
            full = visit(own, item)
            if not full and isinstance(item, h5py.Group):
                full = item.visititems(lambda below, each, own=own: visit(f"{own}/{below}", each))
            if full:
                break
    return names


def _listed(names: list[str]) -> str:
    return f"it has {some_of(names, MOST_NAMES)}" if names else "there is no dataset in it"
