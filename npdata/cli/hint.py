"""The command that converts an array, as text to paste into a shell.

Idea: the target is named after the array, and stands beside its file. Invariant: the target is
never the source. Pure: nothing is looked up, so a target of that name may be there.
"""

import shlex
from pathlib import PurePath


def convert_command(where: str, suffix: str, options: str = "") -> str:
    """Give the command for `where`, a path or `file::member`, into a file with this suffix.

    Examples:
        >>> convert_command("d/photos.h5::train/images", ".npy")
        'npdata convert d/photos.h5::train/images d/images.npy'
        >>> convert_command("x.h5::x", ".h5", "--compression gzip")
        'npdata convert x.h5::x x-rows.h5 --compression gzip'
    """
    path, _, member = where.partition("::")
    source = PurePath(path)
    target = source.with_name((PurePath(member).name or source.stem) + suffix)
    if target == source:
        target = source.with_name(f"{target.stem}-rows{suffix}")
    words = ["npdata", "convert", shlex.quote(where), shlex.quote(str(target)), options]
    return " ".join(words).rstrip()
