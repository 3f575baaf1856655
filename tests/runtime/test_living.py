"""Objects that are known as long as somebody refers to them."""

import sys
import threading
from collections.abc import Iterator

import pytest

from npdata.runtime.living import Living
from npdata.sources.many_files.watch import Watch


class Thing:
    pass


@pytest.fixture
def switching() -> Iterator[None]:
    """Let threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_it_has_what_lives_in_the_order_in_which_it_came() -> None:
    living: Living[Thing] = Living()
    things = [Thing() for _ in range(3)]
    for thing in things:
        living.add(thing)
    living.add(things[0])
    assert (list(living), len(living)) == (things, 3)
    del things[1], thing
    assert (list(living), len(living)) == (things, 2)
    living.clear()
    assert list(living) == []


@pytest.mark.usefixtures("switching")
def test_threads_may_add_while_others_look() -> None:
    living: Living[Thing] = Living()
    kept = [Thing() for _ in range(20)]
    errors: list[Exception] = []

    def add_and_look() -> None:
        try:
            for thing in kept * 50:
                living.add(thing)
                living.add(Thing())
                assert len(list(living)) >= 1
                Watch()  # which counts the others
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add_and_look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(living) == set(kept)
