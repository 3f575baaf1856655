"""How far a conversion is: a bar on a terminal, with rate and time left, or nothing.

Idea: rich draws it, on the standard error output. Invariant: nothing is drawn into a pipe or a
file; without rich a note says what to install, and the work goes on.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from npdata.cli.console import new_console
from npdata.errors import MissingExtraError, require

Meter = Callable[[str, int], Callable[[int], None]]
"""Starts a stage of so many bytes; what it gives is told the bytes that are done."""


@contextmanager
def new_meter() -> Iterator[Meter]:
    """Give a meter, whose bars are closed in the end."""
    progress = _progress() if sys.stderr.isatty() else None
    if progress is None:
        yield lambda stage, total: lambda count: None
        return

    def start(stage: str, total: int) -> Callable[[int], None]:
        task = progress.add_task(stage, total=total)
        return lambda count: progress.advance(task, count)

    with progress:
        yield start


def _progress() -> Any:
    try:
        rich = require("rich.progress", extra="cli", purpose="a progress bar")
        console = new_console(stderr=True)
    except MissingExtraError as error:
        print(f"npdata convert: {error}", file=sys.stderr)
        return None
    return rich.Progress(
        "{task.description}",
        rich.BarColumn(),
        rich.TaskProgressColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
        console=console,
    )
