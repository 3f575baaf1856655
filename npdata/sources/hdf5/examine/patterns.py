"""Names with wildcards: what they match in a file, part by part.

Idea: as in a folder, a wildcard stands for the names in one group, also those of links, so that an
array with several names is there under each. Invariant: no link to another file is followed,
unless that is allowed: it is an error, and nothing behind it is left out in silence.
"""

import fnmatch
import os
from collections.abc import Callable, Sequence

import h5py

from npdata.sources.hdf5.examine.links import encoded, require_inside


def matched(
    file: h5py.File,
    parts: Sequence[str],
    is_pattern: Callable[[str], bool],
    *,
    allow_external: bool = False,
) -> list[str]:
    """Give the names, with a slash before each part, that these parts match, in no order.

    A part that is no pattern is taken as it is, whether it is there or not. Raises
    `ExternalDataError` where a group to look into is in another file.
    """
    found = [""]
    for part in parts:
        if is_pattern(part):
            found = [
                f"{above}/{each}"
                for above in found
                for each in fnmatch.filter(_names_in(file, above, allow_external), part)
            ]
        else:
            found = [f"{above}/{part}" for above in found]
    return found


def _names_in(file: h5py.File, above: str, allow_external: bool) -> list[str]:
    if not allow_external:
        require_inside(file, above)
    group = file.get(encoded(above or "/"))
    return [*map(os.fsdecode, group)] if isinstance(group, h5py.Group) else []
