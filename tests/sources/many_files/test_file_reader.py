"""Which of many files the kernel is asked for: those that are not in memory, and what it costs."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import npdata
from npdata.sources.many_files import file_reader, file_table, stack
from npdata.sources.many_files.file_reader import FEW


@pytest.fixture
def cold() -> set[bytes]:
    return set()


@pytest.fixture
def looked_at(cold: set[bytes], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Name each file that is looked at, which is in memory unless it is among `cold`."""
    looks: list[bytes] = []

    def ask_for(descriptor: int, offset: int, nbytes: int) -> bool:
        path = Path(f"/proc/self/fd/{descriptor}").readlink().name.encode()
        looks.append(path)
        return path not in cold

    monkeypatch.setattr(file_reader, "ask_for", ask_for)
    return looks


@pytest.fixture
def source(tmp_path: Path):
    for k in range(10 * FEW):
        np.save(tmp_path / f"{k}.npy", np.zeros(3))
    return npdata.stack(tmp_path).sources[0]


def names(first: int, stop: int, step: int = 1) -> list[bytes]:
    return [f"{k}.npy".encode() for k in range(first, stop, step)]


def test_files_in_memory_are_soon_looked_at_now_and_then(source, looked_at) -> None:
    for k in range(10 * FEW):
        source.will_need(k, k + 1)
    assert looked_at[:FEW] == names(0, FEW)
    assert looked_at[FEW:] == names(2 * FEW - 1, 10 * FEW, FEW)


def test_all_are_asked_for_once_one_is_not_in_memory(source, looked_at, cold) -> None:
    cold.update(names(3 * FEW, 10 * FEW))
    source.will_need(0, 10 * FEW)
    assert set(looked_at) >= set(names(4 * FEW, 10 * FEW))


def test_a_file_that_is_gone_is_left_to_the_reading(source, tmp_path: Path) -> None:
    (tmp_path / "2.npy").unlink()
    source.will_need(0, 5)
    source.dont_need(0, 5)
    with pytest.raises(npdata.errors.ChangedFileError, match=r"2\.npy is gone"):
        source.read(np.arange(5), np.empty((5, 3)))


def test_beyond_the_sources_that_are_kept_files_are_opened_anew_and_describe_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(5):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file.create_dataset("x", data=np.full(3, k), chunks=(3,), compression="gzip")
    opened: list[int] = []
    open_alone = file_table.open_alone

    def noted(files, number, raw):
        opened.append(number)
        return open_alone(files, number, raw)

    monkeypatch.setattr(file_table, "open_alone", noted)
    for module in (file_reader, stack):
        monkeypatch.setattr(module, "MOST_KEPT", 3)
    ds = npdata.stack(f"{tmp_path}/*.h5::x")
    for _ in range(2):
        assert ds[:].tolist() == [[k] * 3 for k in range(5)]
    assert len(opened) == 5 + 2
    assert "beyond 3 each read opens its file anew, some 3 ms: npdata convert" in str(ds.describe())
