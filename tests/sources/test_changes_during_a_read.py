"""A file that changes while it is read gives an error, and never rows of two versions."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import npdata
from npdata import NumpyDataset, errors, open_source
from npdata.arrays import gather
from npdata.sources.base import Source
from npdata.sources.derived import axis
from npdata.sources.hdf5.rows import mapped
from npdata.sources.hdf5.rows.h5py_rows import H5pySource
from npdata.sources.many_files.file_table import FileTable

X = np.arange(6000, dtype=np.float32).reshape(1000, 6)

WRITERS: dict[str, Callable[[Path], Any]] = {
    "npy": lambda path: np.save(path, X),
    "npy in Fortran order": lambda path: np.save(path, np.asfortranarray(X)),
    "npy of the other byte order": lambda path: np.save(path, X.astype(">f4")),
    "npz, stored": lambda path: np.savez(path, x=X),
    "raw": lambda path: X.tofile(path),
    "hdf5, contiguous": lambda path: write_hdf5(path),
    "hdf5, chunked": lambda path: write_hdf5(path, chunks=(7, 6)),
    "hdf5, tiles": lambda path: write_hdf5(path, chunks=(7, 4)),
    "hdf5, by h5py": lambda path: write_hdf5(path, chunks=(7, 6), scaleoffset=0, dtype="i4"),
}


def write_hdf5(path: Path, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", **({"data": X} | options))


def open_kind(kind: str, path: Path) -> NumpyDataset:
    if kind == "raw":
        return NumpyDataset(open_source(path, dtype="f4", shape=(-1, 6)))
    return NumpyDataset(path if kind.startswith("npy") else f"{path}::x")


@pytest.fixture(params=WRITERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[NumpyDataset, Path]:
    path = tmp_path / "data"
    if request.param.startswith("np"):
        path = path.with_suffix(f".{request.param[:3]}")
    WRITERS[request.param](path)
    return open_kind(request.param, path), path


READS: dict[str, Callable[[NumpyDataset], Any]] = {
    "a batch": lambda ds: ds[[3, 999, 3]],
    "a batch of a DataLoader": lambda ds: ds.__getitems__([3, 999, 3]).stacked,
    "rows of a source": lambda ds: ds.sources[0].read(
        np.array([3, 999, 3]), np.empty((3, 6), ds.sources[0].dtype)
    ),
    "a batch of windows": lambda ds: ds.windows(9, borders=[500])[[3, 980, 3]],
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("change", ["written to", "cut short"])
def test_a_change_during_the_copy_is_an_error(
    opened: tuple[NumpyDataset, Path], read: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds, path = opened
    expected = ds[[3, 999, 3]]

    def at_the_end_of(function: Callable[..., Any]) -> Callable[..., Any]:
        return altering(function, path, change)

    assert (ds[[3, 999, 3]] == expected).all()
    monkeypatch.setattr(gather, "_select", at_the_end_of(gather._select))
    monkeypatch.setattr(gather.RowTable, "select", at_the_end_of(gather.RowTable.select))
    monkeypatch.setattr(gather.RowTable, "few", at_the_end_of(gather.RowTable.few))
    monkeypatch.setattr(gather.RowTable, "gather", at_the_end_of(gather.RowTable.gather))
    monkeypatch.setattr(mapped, "copy_spans", at_the_end_of(mapped.copy_spans))
    monkeypatch.setattr(H5pySource, "_read_runs", at_the_end_of(H5pySource._read_runs))
    with pytest.raises(errors.ChangedFileError, match="changed since it was opened"):
        READS[read](ds)


MADE_OF_RUNS: dict[str, Callable[[Path], NumpyDataset]] = {
    "padded": lambda path: NumpyDataset(npdata.ragged(path, lengths=[2000, 4000])),
    "list": lambda path: NumpyDataset(npdata.ragged(path, lengths=[2000, 4000]), ragged="list"),
    "dense": lambda path: NumpyDataset(sparse(path)),
    "csr": lambda path: NumpyDataset(sparse(path), layout="csr"),
}


def sparse(path: Path) -> Any:
    return npdata.csr(path, np.arange(6000) % 6, np.arange(0, 6001, 6), X.shape)


@pytest.mark.parametrize("kind", MADE_OF_RUNS)
@pytest.mark.parametrize("change", ["written to", "cut short"])
def test_a_change_under_runs_of_rows_is_an_error(
    kind: str, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, X.reshape(-1))
    refused_while_and_after(MADE_OF_RUNS[kind](path), path, change, (Source, "runs"), monkeypatch)


@pytest.mark.parametrize("change", ["written to", "cut short"])
def test_a_change_under_rows_that_lie_unevenly_is_an_error(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, X.reshape(10, 100, 6))
    ds = NumpyDataset(path, axis=(0, 2))
    refused_while_and_after(ds, path, change, (axis, "in_front"), monkeypatch)


def test_a_file_that_takes_the_place_of_one_before_it_is_opened_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in (("a.h5", X), ("new", X + 1)):
        write_hdf5(tmp_path / name, chunks=(7, 6), compression=1, data=rows)
    ds = npdata.stack([f"{tmp_path}/a.h5::x"])
    opened = FileTable.source

    def open_another(table: FileTable, number: int) -> Source:
        (tmp_path / "new").replace(tmp_path / "a.h5")
        return opened(table, number)

    monkeypatch.setattr(FileTable, "source", open_another)
    with pytest.raises(errors.ChangedFileError, match="another file has taken its place"):
        ds[0]


def refused_while_and_after(
    ds: NumpyDataset,
    path: Path,
    change: str,
    at_the_end_of: tuple[Any, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ask for rows of a file that is altered at the end of a function, and of one cut short."""
    owner, name = at_the_end_of
    ds[[1, 0]]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, altering(getattr(owner, name), path, change))
        with pytest.raises(errors.ChangedFileError, match="changed since it was opened"):
            ds[[1, 0]]
    os.truncate(path, 0)
    with pytest.raises(errors.ChangedFileError, match="and now has 0"):
        ds[[1, 0]]


def altering(function: Callable[..., Any], path: Path, change: str) -> Callable[..., Any]:
    """Make a function alter a file when it has done its work."""

    def work(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        alter(path, change)
        return result

    return work


def alter(path: Path, change: str) -> None:
    status = path.stat()
    if change == "cut short":
        os.truncate(path, status.st_size - 4)
    else:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def test_a_file_rewritten_by_another_thread_gives_one_version_or_an_error(tmp_path: Path) -> None:
    path, rows = tmp_path / "x.npy", np.random.default_rng(0).permutation(1 << 16)
    np.save(path, np.zeros((1 << 16, 64), np.float32))
    start = threading.Barrier(2)

    def rewrite(value: int) -> None:
        with path.open("r+b") as stream:
            stream.seek(128)
            start.wait()
            stream.write(np.full((1 << 16, 64), value, np.float32).tobytes())

    for value in range(1, 30):
        os.utime(path, (0, 0))  # no two writes have one time, however soon they come
        ds = NumpyDataset(path)
        writer = threading.Thread(target=rewrite, args=(value,))
        writer.start()
        start.wait()
        try:
            with pytest.raises(errors.ChangedFileError):
                while True:
                    assert (ds[rows] == value - 1).all()
        finally:
            writer.join()
