"""What datasets of an HDF5 file have beside their rows, and a copy of the rows has not.

Idea: each object is visited once, under its first name; its other names are links. Invariant: no
link to another file is followed, and what is not there or damaged counts nothing.
"""

import contextlib
import glob
from collections.abc import Iterable
from typing import NamedTuple

import h5py

from npdata.sources.hdf5.catalog import is_lost, matching
from npdata.sources.hdf5.examine.links import decoded, encoded, leads_outside, parts_of
from npdata.sources.hdf5.file import H5PY_ERRORS, absolute_path, opened_anew


class LeftBehind(NamedTuple):
    """How many attributes there are, and the names of links and of enumerations.

    A link is another name of what has one, or leads out of the group that was asked for.
    """

    attributes: int = 0
    links: tuple[str, ...] = ()
    enumerations: tuple[str, ...] = ()

    def and_of(self, other: "LeftBehind") -> "LeftBehind":
        """Give both together."""
        return LeftBehind(
            attributes=self.attributes + other.attributes,
            links=self.links + other.links,
            enumerations=self.enumerations + other.enumerations,
        )


def left_behind(path: str, names: Iterable[str]) -> LeftBehind:
    """Look at datasets, at groups with all below them, and at what patterns match; "" is the file.

    Examples:
        >>> left_behind("d.h5", [""])
        LeftBehind(attributes=0, links=(), enumerations=())
    """
    found = LeftBehind()
    with opened_anew(absolute_path(path), None) as file:
        for name in names:
            with contextlib.suppress(*H5PY_ERRORS):
                found = found.and_of(_of(file, path, "/".join(parts_of(name))))
    return found


def _of(file: h5py.File, path: str, name: str) -> LeftBehind:
    if name and leads_outside(file, name):
        return LeftBehind()
    if name and encoded(name) not in file and glob.has_magic(name):
        found = matching(file, path, name).inside
        return _of_objects({each: file[encoded(each)] for each in found if found[each]})
    item = file[encoded(name or "/")]
    if not isinstance(item, h5py.Group):
        return _of_objects({name: item})
    above, objects = f"{name}/" if name else "", {name: item}
    item.visititems(lambda below, each: objects.update({above + below: each}))
    return _of_objects(objects)._replace(links=_links(item, above, objects))


def _of_objects(objects: dict[str, h5py.Group | h5py.Dataset]) -> LeftBehind:
    enumerations = [
        name
        for name, each in objects.items()
        if isinstance(each, h5py.Dataset) and h5py.check_enum_dtype(each.dtype) is not None
    ]
    attributes = sum(len(each.attrs) for each in objects.values())
    return LeftBehind(attributes=attributes, enumerations=tuple(enumerations))


def _links(group: h5py.Group, above: str, objects: dict[str, object]) -> tuple[str, ...]:
    """Give the names below a group that are not the first ones of the objects that they lead to."""
    names: list[bytes] = []

    def visit(below: bytes, info: h5py.h5l.LinkInfo) -> None:
        names.append(below)

    group.id.links.visit(visit, info=True)
    file = group.file
    return tuple(
        name
        for below in names
        if (name := above + decoded(below)) not in objects
        and not is_lost(file, group, above, below)
    )
