"""Files that a process keeps open are bounded, and those opened first are closed."""

import resource

import pytest

from npdata.runtime.open_files import MOST, OpenFiles


class Held:
    def __init__(self, files: OpenFiles) -> None:
        self.files, self.is_open = files, False

    def open(self) -> None:
        self.files.make_room()
        self.is_open = True
        self.files.add(self)

    def close_idle(self) -> None:
        self.is_open = False
        self.files.discard(self)


@pytest.mark.parametrize(("limit", "most"), [(64, 4), (10 * MOST, MOST // 16), (-1, MOST // 16)])
def test_what_was_opened_first_is_closed(monkeypatch, limit: int, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    files = OpenFiles(16)
    held = [Held(files) for _ in range(most + 3)]
    for each in held[:most]:
        each.open()
    assert list(files) == held[:most]
    held[0].open()
    assert list(files) == [*held[1:most], held[0]]
    for each in held[most:]:
        each.open()
    assert list(files) == [*held[4:most], held[0], *held[most:]]
    assert [each for each in held if not each.is_open] == held[1:4]


def test_it_keeps_nothing_alive() -> None:
    files = OpenFiles(2)
    Held(files).open()
    assert list(files) == []
