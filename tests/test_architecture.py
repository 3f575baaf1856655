"""The page on architecture names what is there, and the way of a batch is the one it shows."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import npdata

ROOT = Path(__file__).parent.parent
PACKAGE = Path(npdata.__file__).parent
MOST_BYTES = 1 << 18
PAGE = (ROOT / "docs" / "architecture.md").read_text()
WALKS = re.findall(r"(?:^\d+\. .+\n(?: .+\n)*)+", PAGE, re.MULTILINE)
FOLDERS = ("cli", "loading", "dataset", "sampling", "sources", "arrays", "runtime")


def named(text: str) -> list[str]:
    """Give the paths in backticks, as the page writes them."""
    return re.findall(r"`([\w/]+(?:\.py|/))`", text)


def collapsed(names: list[str]) -> list[str]:
    """Give the folders of some files, neighbours that are equal once."""
    folders = [name.split("/")[0] for name in names]
    return [name for k, name in enumerate(folders) if k == 0 or folders[k - 1] != name]


@pytest.mark.parametrize("name", sorted(set(named(PAGE))))
def test_what_is_named_is_there(name: str) -> None:
    assert any((root / name).exists() for root in (PACKAGE, ROOT))


def classes(text: str) -> set[str]:
    return set(re.findall(r"`([A-Z]\w+)`", text))


CLASSES = sorted(classes(PAGE))


STEPS = [line for walk in WALKS for line in walk.splitlines()]


@pytest.mark.parametrize("line", [line for line in STEPS if "`:" in line])
def test_a_class_is_in_the_file_that_the_walk_names(line: str) -> None:
    (file,) = named(line)
    text = (PACKAGE / file).read_text()
    assert all(f"class {name}(" in text or f"class {name}:" in text for name in classes(line))


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_that_is_named_is_defined(name: str) -> None:
    defined = re.compile(rf"^class {name}\b", re.MULTILINE)
    assert any(defined.search(path.read_text()) for path in PACKAGE.rglob("*.py"))


def test_every_file_of_the_project_is_small() -> None:
    """Where there is git, and a checkout that it trusts."""
    git = shutil.which("git") or "false"
    listed = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, check=False)
    files = [ROOT / name for name in listed.stdout.decode().splitlines()]
    assert [each.name for each in files if each.exists() and each.stat().st_size > MOST_BYTES] == []


def test_every_folder_has_a_row_and_a_place_in_the_picture() -> None:
    picture = (ROOT / "docs" / "img" / "architecture.svg").read_text()
    there = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert there == set(FOLDERS)
    for name in there:
        assert f"| `{name}/` |" in PAGE
        assert f">{name}/<" in picture


class Calls:
    """Which files of the package were called, in the order of the first call, while in a `with`.

    `kernel` is the stack at the first copy of rows, outermost first.
    """

    def __init__(self) -> None:
        self.files: list[str] = []
        self.kernel: list[str] = []

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        name = _file(frame)
        if name is not None and name not in self.files:
            self.files.append(name)
        if (
            event == "c_call"
            and getattr(argument, "__name__", "") in ("index_select", "take")
            and not self.kernel
        ):
            self.kernel = [each for each in map(_file, _outwards(frame)) if each is not None][::-1]

    def __enter__(self) -> "Calls":
        threading.setprofile(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def _file(frame: FrameType) -> str | None:
    path = Path(frame.f_code.co_filename)
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else None


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.zeros((100, 40_000), np.float32))
    return tmp_path / "x.npy"


def read_by_threads(path: Path, threads: int) -> Calls:
    dataset = npdata.NumpyDataset(path)
    with Calls() as calls:
        for _ in npdata.Loader(dataset, 10, shuffle=False, num_threads=threads):
            pass
    return calls


def opened(path: Path) -> Calls:
    with Calls() as calls:
        npdata.NumpyDataset(path)
    return calls


@pytest.mark.parametrize(
    ("walk", "calls"),
    [(0, opened), (1, lambda path: read_by_threads(path, 1))],
    ids=["opening", "reading"],
)
def test_a_walk_names_files_that_are_called(
    walk: int, calls: Callable[[Path], Calls], path: Path
) -> None:
    listed = [name for name in named(WALKS[walk]) if name.endswith(".py")]
    assert len(listed) == WALKS[walk].count("\n")
    assert set(listed) <= set(calls(path).files)


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_goes_down_and_enters_no_folder_twice(walk: str) -> None:
    folders = collapsed(named(walk))
    assert folders == [name for name in FOLDERS if name in folders]


@pytest.mark.parametrize("threads", [0, 1])
def test_the_calls_down_to_the_kernel_enter_no_folder_twice(threads: int, path: Path) -> None:
    stack = read_by_threads(path, threads).kernel
    assert stack[-1] == "arrays/gather.py"
    assert collapsed(stack) == ["loading", "dataset", "arrays"]
    listed = [name for name in named(WALKS[1]) if name in stack]
    assert listed == list(dict.fromkeys(name for name in stack if name in listed))
