"""The command that converts an array, as text to paste into a shell.

Idea: the target is named after the file and the array, and stands beside its file, so commands for
several arrays do not collide. Invariant: the target is never the source. Pure: nothing is looked
up, so a target of that name may be there.
"""

import shlex
from pathlib import PurePath


def convert_command(where: str, suffix: str, *options: str) -> str:
    """Give the command for `where`, a path or `file::member`, into a file with this suffix.

    Examples:
        >>> convert_command("d/photos.h5::train/images", ".npy")
        'npdata convert d/photos.h5::train/images d/photos-train-images.npy'
        >>> convert_command("x.npy", ".npy"), convert_command("-x.npz::x", ".h5", "--chunks 9")
        ('npdata convert x.npy x-rows.npy', 'npdata convert ./-x.npz::x ./-x-x.h5 --chunks 9')
    """
    if where.startswith("-"):
        where = f"./{where}"
    path, _, member = where.partition("::")
    folder = path[: len(path) - len(PurePath(path).name)]
    names = [PurePath(path).stem, *(part for part in member.split("/") if part not in ("", "."))]
    target = f"{folder}{'-'.join(names)}{suffix}"
    if target == path:
        target = f"{folder}{names[0]}-rows{suffix}"
    return " ".join(["npdata", "convert", shlex.quote(where), shlex.quote(target), *options])
