"""Every dataset of a file, at any depth: how it is stored and read, or why it is refused.

Idea: each object is visited once, under its first name; links that lead out of the file or nowhere
are listed too, since a user who looks for a dataset wants to know. Invariant: no link to another
file is followed, and one damaged dataset hides none of the others. No rows are read, but for the
few chunks by which an opening proves its layout.
"""

import contextlib
from dataclasses import dataclass

import h5py

from npdata.errors import ExternalDataError
from npdata.sources.hdf5.layout import Filter, open_file
from npdata.sources.hdf5.links import require_inside
from npdata.sources.hdf5.open import Examined, examine, find, require_file


@dataclass(frozen=True, kw_only=True, eq=False)
class Listed:
    """A dataset by its name: `examined`, or `refusal` with the reason.

    `missing` are the filters that neither npdata nor this h5py can undo, so that reading fails.
    """

    name: str
    examined: Examined | None = None
    refusal: str | None = None
    missing: tuple[Filter, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalog:
    """The datasets of a file, and `fault`: why there may be more of them, or None."""

    datasets: tuple[Listed, ...]
    fault: str | None = None


def list_datasets(path: str, name: str = "") -> Catalog:
    """List the dataset `name`, or every dataset of that group; the whole file without a name.

    Raises `MemberNotFoundError` where there is nothing of this name, and as `open_hdf5` does for
    the file.

    Examples:
        >>> [dataset.name for dataset in list_datasets("d.h5").datasets]
        ['x', 'y']
    """
    path = require_file(path)
    with open_file(path, None) as file:
        names, fault = _names(file, path, name.strip("/"))
        return Catalog(
            datasets=tuple(_listed(file, path, each) for each in names),
            fault=fault,
        )


def count_attributes(path: str, name: str = "") -> int:
    """Count the attributes of the dataset `name`, or of that group and all below it.

    What is not there, lies in another file or is damaged counts nothing.

    Examples:
        >>> count_attributes("d.h5")
        0
    """
    counts = []
    with open_file(require_file(path), None) as file:
        if name and _leads_outside(file, name):
            return 0
        with contextlib.suppress(KeyError, OSError, RuntimeError, ValueError, TypeError):
            item = file[name or "/"]
            counts.append(len(item.attrs))
            if isinstance(item, h5py.Group):
                item.visititems(lambda _, below: counts.append(len(below.attrs)))
    return sum(counts)


def _names(file: h5py.File, path: str, name: str) -> tuple[list[str], str | None]:
    group: h5py.Group = file["/"]
    if name:
        if _leads_outside(file, name):
            return [name], None
        if name not in file:
            find(file, name, f"{path}::{name}")
        try:
            item = file[name]
        except (KeyError, OSError, RuntimeError, ValueError):
            return [name], None
        if not isinstance(item, h5py.Group):
            return [name], None
        group = item
    above = f"{name}/" if name else ""
    found: list[str] = []

    def visit(below: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(above + below)

    def visit_link(below: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink) or (
            isinstance(link, h5py.SoftLink)
            and (_leads_outside(file, above + below) or group.get(below) is None)
        ):
            found.append(above + below)

    try:
        group.visititems(visit)
        group.visititems_links(visit_link)
    except (KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
        return found, f"the groups of {path} cannot all be read: {error}; it is damaged"
    return found, None


def _leads_outside(file: h5py.File, name: str) -> bool:
    try:
        require_inside(file, name)
    except ExternalDataError:
        return True
    return False


def _listed(file: h5py.File, path: str, name: str) -> Listed:
    try:
        examined = examine(file, path, name)
    except Exception as error:
        reason = str(error)
        for where in (f"{path}::/{name}", f"{path}::{name}"):
            reason = reason.removeprefix(where).lstrip(": ")
        return Listed(name=name, refusal=reason)
    return Listed(name=name, examined=examined, missing=_missing(examined))


def _missing(examined: Examined) -> tuple[Filter, ...]:
    chunks, layout = examined.layout.chunks, examined.layout
    if examined.decision.kind != "library" or chunks is None or len(chunks) == 0:
        return ()
    return tuple(step for step in layout.filters if not h5py.h5z.filter_avail(step.id))
