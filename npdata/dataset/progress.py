"""A bar that shows how far a pass over data is, drawn by tqdm in terminals and notebooks alike.

Idea: tqdm is optional and imported when a bar is asked for. Invariant: a bar that was opened is
closed with its iteration, and has neither a thread of its own nor a lock of several processes.
"""

import threading
from typing import Any

from npdata.errors import require

_lock = threading.RLock()


class Bar:
    """A bar over `total` batches (None: unknown) on the standard error output, if it is `shown`.

    Raises `MissingExtraError` (an ImportError) without tqdm.
    """

    def __init__(self, total: int | None, description: str, *, shown: bool = True) -> None:
        self._drawn: Any = None
        if not shown:
            return
        drawn: Any = type("Bar", (require_bar(),), {"monitor_interval": 0})
        drawn.set_lock(_lock)
        form = "{desc}: {n_fmt}/{total_fmt} |{bar}| {remaining}{postfix}"
        self._drawn = drawn(total=total, desc=description, bar_format=form, dynamic_ncols=True)

    def advance(self, note: str = "") -> None:
        """Count one batch, and show `note` beside the bar."""
        if self._drawn is not None:
            self._drawn.set_postfix_str(note, refresh=False)
            self._drawn.update()

    def close(self) -> None:
        """Leave the bar as it is; idempotent."""
        if self._drawn is not None:
            self._drawn.close()


def require_bar() -> Any:
    """Give tqdm's class of bars; raises `MissingExtraError` (an ImportError) without tqdm."""
    return require("tqdm", extra="cli", purpose="progress=True").tqdm
