"""The threads of loaders in this process, that they end, and a system that gives only a few."""

import gc
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from processes import HANG


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "npdata"]


def assert_no_thread_is_left() -> None:
    """See that all threads end, also those that only find out themselves that nobody needs them.

    `gc.collect` does nothing while another thread collects, which Hypothesis makes last longer.
    """
    gc.collect()
    last = monotonic() + HANG
    while (left := ours()) and monotonic() < last:
        left[0].join(0.1)
        gc.collect()
    assert ours() == []


@contextmanager
def refused_after(count: int | None) -> Iterator[None]:
    """Let the system give so many threads to a thread that starts others; with None not even that.

    No system has room for a stack of so many bytes.
    """
    starts, begin = itertools.count(), threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if next(starts) == count:
            threading.stack_size(1 << 48)
        begin(thread)

    usual = threading.stack_size(1 << 48 if count is None else 0)
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            yield
    finally:
        threading.stack_size(usual)
