"""`npdata inspect` of thousands of arrays: kinds of them on one screen, every array counted."""

import fnmatch
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspected import stored

import npdata
from npdata.cli.inspect.kinds import kinds_of, patterns_of
from npdata.cli.inspect.report import DatasetReport
from npdata.cli.main import main
from npdata.sources.hdf5.examine import examine
from npdata.sources.hdf5.examine.layout import Layout
from npdata.sources.hdf5.examine.verify_offsets import verify_offsets

SCREEN = 40

parts = st.text("ab01.", min_size=1, max_size=4)
names = st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=60)


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    capsys.readouterr()
    assert main(["inspect", *arguments]) == code
    return capsys.readouterr().out.splitlines()


@given(names)
def test_every_name_fits_its_pattern_and_alone_it_is_its_own(found: list[str]) -> None:
    patterns = patterns_of(found)
    assert len(patterns) == len(found)
    for name, pattern in zip(found, patterns, strict=True):
        assert fnmatch.fnmatchcase(name, pattern)
        assert pattern.count("/") == name.count("/")
    if len(set(found)) == 1:
        assert set(patterns) == set(found)


@given(names, st.data())
def test_every_array_is_in_one_kind(found: list[str], data: st.DataObject) -> None:
    arrays = [
        DatasetReport(
            where=name,
            stored=stored(
                shape=data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple)),
                dtype=np.dtype(data.draw(st.sampled_from(["f4", "i8"]))),
            ),
        )
        for name in found
    ]
    kinds = kinds_of(arrays)
    assert sum(len(kind.members) for kind in kinds) == len(arrays)
    assert sum(kind.nbytes for kind in kinds) == sum(each.stored.nbytes for each in arrays)
    for kind in kinds:
        assert len({(len(each.stored.shape), each.stored.dtype) for each in kind.members}) == 1


def test_one_dataset_per_episode_is_a_line_per_kind(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("demos.h5", "w") as file:
        for k in range(40):
            file[f"data/demo_{k}/actions"] = np.zeros((57 + k, 7), np.float32)
            file[f"data/demo_{k}/obs/state"] = np.zeros((57 + k, 19))
        file["mask"] = np.arange(40)
        file["note"] = "a scalar"
    lines = shown(capsys, "demos.h5")
    assert len(lines) <= SCREEN
    words = [line.split() for line in lines]
    assert ["data/demo_*/actions", "40", "of", "57..96×7", "float32", "contiguous"] in [
        line[:6] for line in words
    ]
    assert ["mask", "40", "int64", "contiguous"] in [line[:4] for line in words]
    assert any("scalar dataset" in line for line in lines)
    # A name as the report has it, and what lies below one.
    assert "40 arrays" in shown(capsys, "demos.h5::data/demo_*/actions")[0]
    assert "20 arrays" in shown(capsys, "demos.h5::data/demo_1?/*")[0]


def test_what_is_advised_for_many_arrays_gives_all_of_them_and_no_more(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("same").mkdir()
    Path("rows").mkdir()
    for k in range(60):
        np.save(f"same/{k}.npy", np.full((4, 5), k, np.float32))
        with h5py.File(f"rows/{k}.h5", "w") as file:
            file["x"] = np.full((k + 1, 5), k)
            file["only here" if k else "y"] = np.arange(k + 1)
    with h5py.File("d.h5", "w") as file:
        for k in range(60):
            file[f"demo_{k}/obs"] = np.full((k + 1, 3), k)
            file[f"demo_{k}/size"] = np.arange(k + 1) if k % 2 else np.zeros(k + 1)
    for what, length in (("same", 60), ("rows", 1830), ("d.h5", 1830)):
        text = "\n".join(shown(capsys, what))
        (call, *_) = re.findall(r"npdata\.\w+\('[^']+'\)", text)
        with eval(call, {"npdata": npdata}) as ds:
            assert len(ds) == length
    assert "one sample per file, 60 samples of 4×5: use" in "\n".join(shown(capsys, "same"))
    assert "stack" not in "\n".join(shown(capsys, *(f"same/{k}.npy" for k in range(55))))
    assert "demo_*/size" not in text.partition("Advice")[2]


def test_many_kinds_fit_a_screen_too_and_what_is_left_out_is_counted(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("d.h5", "w") as file:
        for k in range(100):
            group = "abcdefghijklmnopqrst"[k % 20]
            file[f"{group}/{k}"] = np.zeros((k + 1, 3), np.uint8)
    lines = shown(capsys, "d.h5")
    assert len(lines) <= SCREEN
    listed = sum(int(line.split()[1]) for line in lines if "*  " in line and "of" in line)
    (rest,) = (line for line in lines if line.startswith("and 7 more kinds: "))
    assert listed + int(rest.split()[4]) == 100


def test_a_folder_and_a_glob_stand_for_their_files(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder/deeper").mkdir(parents=True)
    for k in range(60):
        np.save(f"folder/deeper/{k:03d}.npy", np.zeros((4, 5), np.float32))
    np.savez("folder/both.npz", x=np.zeros(3), y=np.zeros(3))
    Path("folder/readme.md").write_text("no array")
    lines = shown(capsys, "folder")
    assert [line.split()[:4] for line in lines if ".npy " in line or ".npz::" in line][:3] == [
        ["folder/deeper/*.npy", "60", "of", "4×5"],
        ["folder/both.npz::x", "3", "float64", "C"],
        ["folder/both.npz::y", "3", "float64", "C"],
    ]
    assert len(lines) <= SCREEN
    assert "60 of 4×5" in shown(capsys, "folder/**/*.npy")[4]
    assert "60 of 4×5" in shown(capsys, *map(str, sorted(Path("folder/deeper").iterdir())))[4]
    capsys.readouterr()
    assert main(["inspect", "--json", "folder"]) == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == 61


def test_files_that_cannot_be_read_are_named_and_the_others_are_shown(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder").mkdir()
    for k in range(60):
        np.save(f"folder/{k}.npy", np.zeros((4, 5), np.float32))
    Path("folder/7.npy").write_bytes(b"")
    Path("folder/8.npy").write_bytes(b"\x93NUMPY\x01\x00")
    lines = shown(capsys, "folder", code=1)
    assert "58 of 4×5" in lines[4]
    assert any("is empty" in line for line in lines)
    assert any("folder/7.npy" in line for line in lines)
    assert any("cut short" in line for line in lines)


def test_raw_files_of_a_folder_are_shown_once_they_are_described(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder").mkdir()
    for k in range(60):
        np.zeros((k + 1, 5), np.float32).tofile(f"folder/{k}.bin")
    lines = shown(capsys, "folder", "--dtype", "float32", "--shape=-1,5")
    assert lines[4].split()[:4] == ["folder/*.bin", "60", "of", "1..60×5"]


def test_a_picture_shows_one_array_of_each_kind(in_folder: Path) -> None:
    with h5py.File("d.h5", "w") as file:
        for k in range(60):
            file[f"a{k}"] = np.zeros((k + 1, 5), np.float32)
            file[f"b{k}"] = np.arange(k + 1)
    assert main(["inspect", "d.h5", "--plot", "a.svg"]) == 0
    text = Path("a.svg").read_text()
    assert "d.h5::a59" in text
    assert "d.h5::b59" in text
    assert "d.h5::a58" not in text


def test_files_that_are_stored_alike_are_checked_against_hdf5_a_few_times_in_all(
    in_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(60):
        with h5py.File(f"{k}.h5", "w") as file:
            file["x"] = np.full((4, 5), k)
    checked: list[str] = []

    def counted(dataset: h5py.h5d.DatasetID, layout: Layout) -> str | None:
        checked.append(layout.path)
        return verify_offsets(dataset, layout)

    monkeypatch.setattr(examine, "verify_offsets", counted)
    assert any("60 of 4×5 int64" in line for line in shown(capsys, "."))
    assert len(checked) == examine.MOST_PROVEN
