"""Pictures of `inspect` and `bench`: an empty figure, and the file that it becomes.

Idea: matplotlib belongs to the extra `plot`, is imported when a picture is asked for, and draws
without a screen. Invariant: a file under the name asked for is complete.
"""

import errno
import os
import warnings
from pathlib import Path
from typing import Any

from npdata.cli.console import UsageError, printable
from npdata.cli.output_file import new_output, target_of
from npdata.errors import require

FORMATS = (".png", ".svg", ".pdf")


def require_drawing(path: str) -> None:
    """Raise `UsageError` or OSError where a picture cannot be written under this name.

    Raises `MissingExtraError` (an ImportError) without matplotlib.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a picture is written as .png, .svg or .pdf")
    target = target_of(Path(path), force=True)
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target.parent))
    _matplotlib()


def new_figure(width: float, height: float) -> Any:
    """Give an empty `matplotlib.figure.Figure` of so many inches; raises as `require_drawing`."""
    return _matplotlib().Figure(figsize=(width, height), dpi=120, layout="constrained")


def _matplotlib() -> Any:
    return require("matplotlib.figure", extra="plot", purpose="--plot")


def save_figure(figure: Any, path: str) -> None:
    """Write a figure in the format of the name's suffix, over a file that may be there."""
    with new_output(target_of(Path(path), force=True)) as output, warnings.catch_warnings():
        # A letter of a name that no font here has is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(output.path, facecolor="white", format=Path(path).suffix[1:].lower())
        output.publish(force=True)


def shortened(name: str) -> str:
    """Give a name as `printable`, 80 letters for a title: longer ones without their middle."""
    name = printable(name)
    return name if len(name) <= 80 else f"{name[:40]}…{name[-40:]}"
