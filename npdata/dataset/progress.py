"""A bar that shows how far a pass over data is, drawn by rich.

Idea: rich is optional and imported when a bar is asked for. Invariant: without it the error names
the extra; a bar that was opened is closed with its iteration, and has no thread of its own.
"""

import time

from npdata.errors import require

_SECONDS = 0.1
"""At least so long between two drawings."""


class Bar:
    """A progress bar over `total` batches, on the standard error output."""

    def __init__(self, total: int, description: str) -> None:
        """Open it; raises `MissingExtraError` (an ImportError) without rich."""
        rich = require("rich.progress", extra="cli", purpose="progress=True")
        console = require("rich.console", extra="cli", purpose="progress=True")
        self._progress = rich.Progress(
            "[progress.description]{task.description}",
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
            "{task.fields[note]}",
            # One of its own, since a console shows one bar only, and two iterations may run.
            console=console.Console(stderr=True),
            auto_refresh=False,
        )
        self._task = self._progress.add_task(description, total=total, note="")
        self._progress.start()
        self._drawn = time.monotonic()

    def advance(self, note: str) -> None:
        """Count one batch, and show `note` beside the bar."""
        now = time.monotonic()
        due = now - self._drawn > _SECONDS
        self._drawn = now if due else self._drawn
        self._progress.update(self._task, advance=1, note=note, refresh=due)

    def close(self) -> None:
        """Leave the bar as it is; idempotent."""
        self._progress.stop()
