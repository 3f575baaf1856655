"""A bar that shows how far an epoch is, drawn by rich.

Idea: rich is optional and imported when a bar is asked for. Invariant: without it the error names
the extra, and a bar that was opened is closed with its iteration.
"""

import importlib
from typing import Any

from npdata.errors import MissingExtraError


class Bar:
    """A progress bar over `total` batches, from `done` on."""

    def __init__(self, total: int, description: str) -> None:
        """Open it; raises `MissingExtraError` (an ImportError) without rich."""
        try:
            rich: Any = importlib.import_module("rich.progress")
        except ImportError as error:
            raise MissingExtraError(
                "progress=True needs rich, which is not installed: pip install 'npdata[cli]'"
            ) from error
        self._progress = rich.Progress(
            "[progress.description]{task.description}",
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
            "{task.fields[note]}",
        )
        self._task = self._progress.add_task(description, total=total, note="")
        self._progress.start()

    def advance(self, note: str) -> None:
        """Count one batch, and show `note` beside the bar."""
        self._progress.update(self._task, advance=1, note=note)

    def close(self) -> None:
        """Leave the bar as it is; idempotent."""
        self._progress.stop()
