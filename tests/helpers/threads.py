"""The threads of loaders in this process, and that they end."""

import gc
import threading

from processes import HANG


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "npdata"]


def assert_no_thread_is_left() -> None:
    """See that all threads end, also those that only find out themselves that nobody needs them."""
    gc.collect()
    for thread in ours():
        thread.join(HANG)
    assert ours() == []
