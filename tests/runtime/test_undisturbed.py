"""Calls that no Ctrl-C cuts short."""

import threading

import pytest

from npdata.runtime.undisturbed import undisturbed


def test_it_gives_what_the_function_gives() -> None:
    assert undisturbed(sorted, [2, 1], reverse=True) == [2, 1]
    assert undisturbed(lambda: None) is None


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt, SystemExit])
def test_it_raises_what_the_function_raises(kind: type[BaseException]) -> None:
    def fail() -> None:
        raise kind("no such file")

    with pytest.raises(kind, match="no such file"):
        undisturbed(fail)


def test_it_runs_where_no_signal_arrives() -> None:
    assert undisturbed(threading.get_ident) != threading.main_thread().ident
