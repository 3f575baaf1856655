"""Who keeps files open between two reads, no more of them than the system lets a process have.

Idea: a file is opened when it is read and stays open for the next read; where too many are open,
those that were opened first are closed until theirs. Invariant: it keeps nothing alive; a holder
says itself when it has opened and closed its file, and closes it when no read of its own uses it.
"""

import itertools
import resource
from typing import Any

from npdata.runtime.living import Living

MOST = 2048
"""So many descriptors are divided where there are more: each file that h5py has open takes memory,
and time whenever another is opened."""


class OpenFiles(Living[Any]):
    """Whoever has a file open, of a `share`-th part of all descriptors; `close_idle` closes it.

    Examples:
        >>> class Held:
        ...     def close_idle(self): print("closed")
        >>> held, files = Held(), OpenFiles(2)
        >>> files.add(held)
        >>> list(files) == [held], files.discard(held), list(files)
        (True, None, [])
    """

    def __init__(self, share: int) -> None:
        super().__init__()
        self._share = share

    def add(self, value: Any) -> None:
        """Take note that it has opened a file: it is now the last."""
        self.discard(value)
        super().add(value)

    def make_room(self) -> None:
        """Close those that were opened first, where there is no room for one more."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = (MOST if limit < 0 else min(limit, MOST)) // self._share  # -1 is no limit
        for holder in itertools.islice(self, max(0, len(self) + 1 - most)):
            holder.close_idle()
