"""A picture that a command draws: matplotlib's figure, and a file that appears whole or not.

Idea: matplotlib belongs to the extra `plot` and is imported when a picture is asked for; it draws
without a screen and without state. Invariant: a file under the name asked for is complete.
"""

import errno
import os
import warnings
from pathlib import Path
from typing import Any

from npdata.cli.console import UsageError
from npdata.cli.output import new_output
from npdata.errors import require

FORMATS = (".png", ".svg", ".pdf")


def new_figure(width: float, height: float) -> Any:
    """Give an empty `matplotlib.figure.Figure` of so many inches.

    Raises `MissingExtraError` (an ImportError) without matplotlib.
    """
    matplotlib = require("matplotlib.figure", extra="plot", purpose="--plot")
    return matplotlib.Figure(figsize=(width, height), dpi=120, layout="constrained")


def shortened(name: str, most: int = 80) -> str:
    """Give a name that fits a title, without its middle where it is long.

    Examples:
        >>> shortened("d.h5::x"), shortened("abcdefghijklmnop", 9)
        ('d.h5::x', 'abcd…mnop')
    """
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def require_format(path: str) -> None:
    """Raise `UsageError` or OSError where a picture cannot be written under this name.

    Examples:
        >>> require_format("a.gif")
        Traceback (most recent call last):
        npdata.cli.console.UsageError: a.gif: a picture is written as .png, .svg or .pdf
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a picture is written as .png, .svg or .pdf")
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no folder {folder}")
    if Path(path).is_dir():
        raise UsageError(f"{path} is a folder; name a file for the picture")
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def save_figure(figure: Any, path: str) -> None:
    """Write a figure in the format of the name's suffix, over a file that may be there."""
    require_format(path)
    target = Path(path).absolute()
    with new_output(target) as output, warnings.catch_warnings():
        # A letter of a name that no font here has is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(output.path, facecolor="white", format=target.suffix[1:].lower())
        output.path.replace(target)
