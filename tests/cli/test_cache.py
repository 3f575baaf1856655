"""`npdata cache`: what a folder keeps, and its removal."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

import npdata
from npdata.cli.main import main


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder that keeps two datasets, beside a file of somebody else's and an unfinished one."""
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        for name in ("x", "y"):
            file.create_dataset(name, data=np.ones((500, 100)), chunks=(50, 100), compression=1)
    folder = tmp_path / "kept"
    ds = npdata.NumpyDataset.from_hdf5(path, "x", "y", cache=folder)
    ds[:]
    ds.close()
    (folder / "mine.npdata").write_text("mine")
    (folder / f"{'0' * 32}.part").write_text("")
    return folder


def test_it_lists_files_datasets_and_bytes(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", str(kept)]) == 0
    *rows, total = capsys.readouterr().out.splitlines()
    assert sorted(row.split("  ")[0] for row in rows) == [f"{kept.parent}/d.h5::/{x}" for x in "xy"]
    assert all(re.search(r"  \d+ kB of 400 kB, last used 20\d\d-", row) for row in rows)
    assert total.startswith("2 datasets, ")
    assert main(["cache", str(kept), "--list", "--json"]) == 0
    (first, _) = json.loads(capsys.readouterr().out)["kept"]
    assert first["whole_nbytes"] == 400_000
    assert first["nbytes"] >= 400_000


@pytest.mark.parametrize(
    "header", ["", "{", "[1]", '{"files": 5}', '{"files": [[]]}', '{"files": {}}', "[" * 9000]
)
def test_a_damaged_file_is_listed_as_unknown(
    kept: Path, header: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = next(kept.glob(f"{'?' * 32}.npdata"))
    damaged.write_text(header)
    (kept / f"{'1' * 32}.npdata").mkdir()
    assert main(["cache", str(kept)]) == 0
    out = capsys.readouterr().out
    assert "unknown" in out
    assert "2 datasets" in out
    assert main(["cache", str(kept), "--clear"]) == 0
    assert not damaged.exists()


def test_it_removes_what_the_cache_made_and_nothing_else(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", str(kept), "--clear"]) == 0
    assert capsys.readouterr().out.startswith("removed 2 datasets, ")
    assert [path.name for path in kept.iterdir() if path.name != ".lock"] == ["mine.npdata"]
    assert main(["cache", str(kept)]) == 0
    assert capsys.readouterr().out == "0 datasets, 0 B\n"


def test_a_folder_that_keeps_nothing_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--list", "--clear"):
        assert main(["cache", str(tmp_path), option]) == 0
        assert capsys.readouterr().out.endswith("0 datasets, 0 B\n")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", str(tmp_path / "none")]) == 2
    assert "none is no folder" in capsys.readouterr().err
    assert main(["cache", "", "--clear"]) == 2
    assert "the path is empty; '.' is this folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["cache", str(tmp_path), "--list", "--clear"])
    with pytest.raises(SystemExit):
        main(["cache"])
