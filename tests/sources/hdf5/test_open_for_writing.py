"""Files that somebody writes to: no handle of npdata's keeps them open, and SWMR says its cause."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from descriptors import descriptors_of
from processes import environment, run
from torch.utils.data import DataLoader

from npdata import NumpyDataset, collate, errors

X = np.arange(60, dtype=np.float32).reshape(20, 3)

OPEN = """
import h5py, sys
with h5py.File(sys.argv[1], sys.argv[2], locking=True) as file:
    print(file["x"][0].tolist())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "d.h5", "w", libver="latest") as file:
        file.create_dataset("x", data=X, chunks=(7, 3), maxshape=(None, 3))
        file.create_dataset("packed", data=X, chunks=(7, 3), compression=1)
    return tmp_path / "d.h5"


def elsewhere(path: Path, mode: str) -> str:
    """Open the file in another process; give its row 0, or the error."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, path, mode],
        capture_output=True,
        text=True,
        env=environment(),
    )
    return done.stdout or done.stderr


@pytest.mark.parametrize("by", ["h5py.Dataset", "path"])
@pytest.mark.parametrize("name", ["x", "packed"])
def test_a_file_that_the_user_closes_is_closed(path: Path, by: str, name: str) -> None:
    with h5py.File(path, "r+", locking=True) as file:
        if by == "path":
            ds = NumpyDataset.from_hdf5(path, name, locking=True)
        else:
            ds = NumpyDataset(file[name])
        assert (ds[[3, 1]].numpy() == X[[3, 1]]).all()
        assert (ds[4].numpy() == X[4]).all()
        assert "unable to lock" in elsewhere(path, "r")
    for mode in ("r", "r+"):
        assert elsewhere(path, mode) == "[0.0, 1.0, 2.0]\n"
    assert len(ds) == 20


KILLED = """
import os, signal, sys
import h5py, npdata
file = h5py.File(sys.argv[1], "r+", libver="latest")
ds = npdata.NumpyDataset(file["x"])
ds[[1]]
file["x"].resize((30, 3))
file["x"][20:] = 7
file.close()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_rows_that_were_written_outlive_the_process(path: Path) -> None:
    assert run(KILLED, str(path)).returncode == -signal.SIGKILL
    with h5py.File(path, locking=True) as file:
        assert file["x"].shape == (30, 3)
        assert (file["x"][20:] == 7).all()


def test_rows_that_are_written_meanwhile_are_an_error(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        ds = NumpyDataset(file["x"])
        ds[[1]]
        file["x"][1] = 5
        file.flush()
        with pytest.raises(errors.ChangedFileError, match="open it again"):
            ds[[1]]
        assert NumpyDataset(file["x"])[[1]].tolist() == [[5, 5, 5]]


@pytest.mark.parametrize("by", ["h5py.Dataset", "path"])
def test_a_file_that_grows_by_one_dataset_after_the_other(tmp_path: Path, by: str) -> None:
    """HDF5 sets room aside at the end of the file, and cuts it off when a handle is closed."""
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        for k, name in enumerate(["a b", "a.b", "a[1]", "a*", "a?", "ü", "x:y", "..", "..."]):
            file[name] = X + k
            file.flush()
            ds = NumpyDataset(file[name] if by == "h5py.Dataset" else f"{path}::{name}")
            assert np.array_equal(ds[:], X + k)


def test_forked_workers_read_a_file_that_the_parent_may_write(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        ds = NumpyDataset(file["x"])
        loader = DataLoader(
            ds, 7, num_workers=2, collate_fn=collate, multiprocessing_context="fork"
        )
        assert np.array_equal(np.concatenate(list(loader)), X)
        file["x"][0] = 9
    with h5py.File(path) as file:
        assert (file["x"][1:] == X[1:]).all()
        assert (file["x"][0] == 9).all()


def test_a_handle_of_the_user_that_leads_to_a_replaced_file(path: Path) -> None:
    with h5py.File(path) as file:
        path.with_name("other").write_bytes(path.read_bytes())
        path.with_name("other").replace(path)
        with pytest.raises(errors.UnsupportedSourceError, match="leads to another file"):
            NumpyDataset(file["x"])


WRITER = """
import h5py, sys
file = h5py.File(sys.argv[1], "r+", libver="latest", locking=False)
if sys.argv[2] == "swmr":
    file.swmr_mode = True
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def writing(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path, "swmr"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


class TestSwmr:
    @pytest.mark.parametrize("locking", [None, False])
    def test_a_live_writer_is_named_as_the_cause(self, path: Path, locking: bool | None) -> None:
        with (
            writing(path),
            pytest.raises(errors.FileLockError, match=r"open for writing, perhaps in SWMR mode"),
        ):
            NumpyDataset.from_hdf5(path, "x", locking=locking)

    def test_a_writer_that_died_is_cured_by_h5clear(self, path: Path) -> None:
        with writing(path) as process:
            process.kill()
        with pytest.raises(errors.FileLockError, match=r"`h5clear -s .*d\.h5` takes the mark"):
            NumpyDataset(f"{path}::x")

    @pytest.mark.parametrize("by", ["h5py.Dataset", "path"])
    def test_a_handle_opened_with_swmr_is_refused(self, path: Path, by: str) -> None:
        with (
            h5py.File(path, swmr=True) as file,
            pytest.raises(errors.FileLockError, match=r"SWMR mode.*open it without swmr"),
        ):
            NumpyDataset(file["x"] if by == "h5py.Dataset" else f"{path}::x")
        assert (NumpyDataset(f"{path}::x")[:].numpy() == X).all()

    def test_a_writer_in_this_process_is_refused(self, path: Path) -> None:
        with h5py.File(path, "r+", libver="latest") as file:
            before = NumpyDataset(file["x"])
            assert before[[1]].tolist() == [[3, 4, 5]]
            file.swmr_mode = True  # HDF5 refuses where another handle is open
            with pytest.raises(errors.FileLockError, match="SWMR mode"):
                NumpyDataset(file["x"])


def test_no_descriptor_of_the_file_stays_open(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        ds = NumpyDataset(file["x"])
        ds[[1]]
        count = descriptors_of(path)
    assert count == 1
    assert descriptors_of(path) == 0
