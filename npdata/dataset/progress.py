"""A bar that shows how far a pass over data is: in a notebook by itself, else drawn by rich.

Idea: rich is optional and imported when a bar is asked for; a notebook needs neither it nor
ipywidgets, only a display that is updated. Invariant: without rich a terminal gets the error that
names the extra; a bar that was opened is closed with its iteration, and has no thread of its own.
"""

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any, Protocol

from npdata.errors import require

_SECONDS = 0.1
"""At least so long between two drawings."""


class Bar(Protocol):
    """A bar over a known number of batches."""

    def advance(self, note: str) -> None:
        """Count one batch, and show `note` beside the bar."""

    def close(self) -> None:
        """Leave the bar as it is; idempotent."""


def require_bar() -> None:
    """Raise `MissingExtraError` (an ImportError) where no bar can be drawn."""
    if _notebook_display() is None:
        require("rich", extra="cli", purpose="progress=True")


def open_bar(total: int, description: str) -> Bar:
    """Draw a bar over `total` batches; raises `MissingExtraError` (an ImportError) without rich."""
    display = _notebook_display()
    if display is not None:
        return NotebookBar(total, description, display)
    return TerminalBar(total, description)


class NotebookBar:
    """A bar in the output of a notebook's cell, which `display` of IPython shows."""

    def __init__(self, total: int, description: str, display: Callable[..., Any]) -> None:
        """Show it, empty."""
        self._total = total
        self._description = description
        self._done = 0
        self._note = ""
        self._drawn = time.monotonic()
        self._handle = display(self._drawing(), raw=True, display_id=True)

    def advance(self, note: str) -> None:
        """Count one batch, and show `note` beside the bar."""
        self._done += 1
        self._note = note
        now = time.monotonic()
        if now - self._drawn > _SECONDS:
            self._drawn = now
            self._handle.update(self._drawing(), raw=True)

    def close(self) -> None:
        """Leave the bar as it is; idempotent."""
        self._handle.update(self._drawing(), raw=True)

    def _drawing(self) -> dict[str, str]:
        text = f"{self._description} {self._done}/{self._total} {self._note}".rstrip()
        bar = f'<progress value="{self._done}" max="{self._total}"></progress>'
        return {"text/plain": text, "text/html": f"{bar} {escape(text)}"}


class TerminalBar:
    """A bar on the standard error output."""

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


def _notebook_display() -> Callable[..., Any] | None:
    """Give IPython's `display` where a notebook runs this process, which has a kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    display: Callable[..., Any] = require(
        "IPython.display", extra="cli", purpose="progress=True"
    ).display
    return display
