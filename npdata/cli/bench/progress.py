"""What the command is at, on a terminal, while it measures.

Idea: a bar of the time that was asked for, drawn between passes only, by no thread of its own,
since it must not disturb what is timed. Invariant: where nobody looks, nothing is printed.
"""

import sys
import time
from types import TracebackType
from typing import Any, Self

from npdata.cli.console import new_console
from npdata.errors import require


class Progress:
    """A bar over `seconds` on the standard error output, gone at its end."""

    def __init__(self, seconds: float) -> None:
        """Prepare it; without a terminal it stays silent."""
        self._seconds = seconds
        self._bar: Any = None
        self._task: Any = None
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        """Show it."""
        if sys.stderr.isatty():
            rich = require("rich.progress", extra="cli", purpose="the progress bar")
            self._bar = rich.Progress(
                rich.BarColumn(20),
                "{task.description}",
                console=new_console(stderr=True),
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._seconds)
            self._bar.start()
        return self

    def tell(self, what: str) -> None:
        """Show what is being done."""
        if self._bar is not None:
            done = min(self._seconds, time.monotonic() - self._begun)
            self._bar.update(self._task, completed=done, description=what, refresh=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.stop()
