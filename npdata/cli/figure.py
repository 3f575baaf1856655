"""A picture that a command draws: matplotlib's figure, and a file that appears whole or not.

Idea: matplotlib belongs to the extra `plot` and is imported when a picture is asked for; it draws
without a screen and without state. Invariant: a file under the name asked for is complete.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from npdata.cli.command import UsageError
from npdata.extras import require

FORMATS = (".png", ".svg", ".pdf")


def new_figure(width: float, height: float) -> Any:
    """Give an empty `matplotlib.figure.Figure` of so many inches.

    Raises `MissingExtraError` (an ImportError) without matplotlib.
    """
    matplotlib = require("matplotlib.figure", extra="plot", purpose="--plot")
    return matplotlib.Figure(figsize=(width, height), dpi=120, layout="constrained")


def require_format(path: str) -> None:
    """Raise `UsageError` where a picture cannot be written under this name.

    Examples:
        >>> require_format("a.gif")
        Traceback (most recent call last):
        npdata.cli.command.UsageError: a.gif: a picture is written as .png, .svg or .pdf
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a picture is written as .png, .svg or .pdf")
    if not Path(path).absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {Path(path).absolute().parent}")


def save_figure(figure: Any, path: str) -> None:
    """Write a figure in the format of the name's suffix, over a file that may be there."""
    require_format(path)
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.absolute().parent, suffix=target.suffix)
    os.close(handle)
    try:
        figure.savefig(temporary, facecolor="white")
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
