"""Rows that lie in other files: all of them are found at opening, and watched in every process."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

from npdata import NumpyDataset, collate, errors

X = np.arange(60, dtype=np.float32).reshape(20, 3)


def sources(folder: Path) -> None:
    for part in range(2):
        with h5py.File(folder / f"part-{part}.h5", "w") as file:
            file["x"] = X[part * 10 : part * 10 + 10]


def virtual(folder: Path) -> None:
    sources(folder)
    layout = h5py.VirtualLayout((20, 3), "f4", filename=folder / "d.h5")
    for part in range(2):
        layout[part * 10 : part * 10 + 10] = h5py.VirtualSource(f"part-{part}.h5", "x", (10, 3))
    with h5py.File(folder / "d.h5", "w") as file:
        file.create_virtual_dataset("x", layout, fillvalue=-1)


def nested(folder: Path) -> None:
    virtual(folder)
    (folder / "d.h5").rename(folder / "inner.h5")
    layout = h5py.VirtualLayout((20, 3), "f4")
    layout[...] = h5py.VirtualSource(folder / "inner.h5", "x", (20, 3))
    with h5py.File(folder / "d.h5", "w") as file:
        file.create_virtual_dataset("x", layout)


def growing(folder: Path) -> None:
    for part in range(2):
        with h5py.File(folder / f"part-{part}.h5", "w") as file:
            rows = X[part * 10 : part * 10 + 10]
            file.create_dataset("x", data=rows, maxshape=(None, 3), chunks=(5, 3))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    space = h5py.h5s.create_simple((20, 3), (h5py.h5s.UNLIMITED, 3))
    space.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), (10, 3), (10, 3))
    source = h5py.h5s.create_simple((10, 3))
    properties.set_virtual(space, b"part-%b.h5", b"x", source)
    with h5py.File(folder / "d.h5", "w") as file:
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, properties)


def raw(folder: Path) -> None:
    for part in range(2):
        (folder / f"part-{part}.bin").write_bytes(b"head" + X[part * 10 : part * 10 + 10].tobytes())
    where = [(str(folder / f"part-{part}.bin"), 4, 120) for part in range(2)]
    with h5py.File(folder / "d.h5", "w") as file:
        file.create_dataset("x", X.shape, "f4", external=where)


def linked(folder: Path) -> None:
    virtual(folder)
    (folder / "d.h5").rename(folder / "inner.h5")
    with h5py.File(folder / "d.h5", "w") as file:
        file["x"] = h5py.ExternalLink("inner.h5", "x")


WRITERS: dict[str, Callable[[Path], None]] = {
    "virtual": virtual,
    "virtual over virtual": nested,
    "virtual over numbered files": growing,
    "external": raw,
    "virtual behind a link": linked,
}


def opened(folder: Path, **options: str) -> NumpyDataset:
    return NumpyDataset.from_hdf5(folder / "d.h5", "x", allow_external=True, **options)


def second(folder: Path) -> Path:
    return next(folder.glob("part-1.*"))


@pytest.fixture(params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    WRITERS[request.param](tmp_path)
    return tmp_path


def test_rows_come_as_h5py_gives_them_in_every_process(folder: Path) -> None:
    ds = opened(folder)
    assert (ds[:].numpy() == X).all()
    assert (ds[[19, 0, 10]].numpy() == X[[19, 0, 10]]).all()
    loader = DataLoader(ds, 7, num_workers=1, collate_fn=collate, multiprocessing_context="fork")
    assert np.array_equal(np.concatenate(list(loader)), X)
    assert (pickle.loads(pickle.dumps(ds))[:].numpy() == X).all()


@pytest.mark.parametrize("change", ["replaced", "written to", "cut short", "gone"])
def test_a_change_of_a_file_behind_is_an_error_here_and_elsewhere(
    folder: Path, change: str
) -> None:
    ds, unread = opened(folder), pickle.dumps(opened(folder))
    assert (ds[[11]].numpy() == X[[11]]).all()
    alter(second(folder), change)
    with pytest.raises(errors.ChangedFileError, match=r"part-1\..* (changed|is gone) since"):
        ds[[11]]
    with pytest.raises(errors.ChangedFileError, match=r"part-1\..* (changed|is gone) since"):
        pickle.loads(unread)[[11]]


def alter(path: Path, change: str) -> None:
    status = path.stat()
    if change == "gone":
        path.unlink()
    elif change == "replaced":
        other = path.with_name("other")
        other.write_bytes(path.read_bytes())
        other.replace(path)
    elif change == "cut short":
        os.truncate(path, status.st_size - 4)
    else:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def test_a_change_during_the_read_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = opened(folder)
    ds[[0]]
    read = type(ds.sources[0])._read_runs

    def then_changed(*arguments: object) -> None:
        read(*arguments)
        alter(second(folder), "written to")

    monkeypatch.setattr(type(ds.sources[0]), "_read_runs", then_changed)
    with pytest.raises(errors.ChangedFileError, match=r"part-1\..* changed since"):
        ds[[0]]


@pytest.mark.parametrize("kind", ["virtual", "virtual over virtual", "virtual behind a link"])
def test_a_missing_source_is_an_error_that_names_it(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path)
    second(tmp_path).unlink()
    with pytest.raises(
        errors.ExternalDataError, match=r'source part-1\.h5::x is missing .*missing="fill"'
    ):
        opened(tmp_path)
    filled = opened(tmp_path, missing="fill")
    with h5py.File(tmp_path / "d.h5") as file:
        expected = file["x"][:]
    assert (filled[:].numpy() == expected).all()


def test_a_missing_source_that_turns_up_is_an_error(tmp_path: Path) -> None:
    virtual(tmp_path)
    second(tmp_path).rename(tmp_path / "away")
    filled = opened(tmp_path, missing="fill")
    assert (filled[10:].numpy() == -1).all()
    (tmp_path / "away").rename(tmp_path / "part-1.h5")
    with pytest.raises(errors.ChangedFileError, match=r"part-1\.h5 was missing .* is there now"):
        filled[[0]]


def test_a_source_that_has_lost_the_dataset_or_rows_of_it(tmp_path: Path) -> None:
    virtual(tmp_path)
    with h5py.File(tmp_path / "part-1.h5", "w") as file:
        file["x"] = X[10:19]
    with pytest.raises(errors.TruncatedError, match=r"part-1\.h5 than the shape \(9, 3\) has"):
        opened(tmp_path)
    with h5py.File(tmp_path / "part-1.h5", "w") as file:
        file["y"] = X[10:]
    with pytest.raises(errors.ExternalDataError, match=r"part-1\.h5::x is missing"):
        opened(tmp_path)
    assert (opened(tmp_path, missing="fill")[10:].numpy() == -1).all()


def test_an_external_file_that_is_cut_short_or_missing(tmp_path: Path) -> None:
    raw(tmp_path)
    os.truncate(tmp_path / "part-1.bin", 100)
    with pytest.raises(errors.TruncatedError, match=r"120 bytes .*part-1\.bin from byte 4 .* 100:"):
        opened(tmp_path)
    assert (opened(tmp_path, missing="fill")[18:].numpy() == 0).all()
    (tmp_path / "part-1.bin").unlink()
    for missing in ("error", "fill"):
        with pytest.raises(errors.ExternalDataError, match=r"part-1\.bin, which is missing"):
            opened(tmp_path, missing=missing)


def test_a_process_in_another_folder_is_warned_that_it_would_read_other_files(
    in_folder: Path,
) -> None:
    X.tofile("x.bin")
    with h5py.File("d.h5", "w") as file:
        file.create_dataset("x", X.shape, "f4", external=[("x.bin", 0, X.nbytes)])
    ds = opened(in_folder)
    assert (ds[:].numpy() == X).all()
    sent = pickle.dumps(ds)
    Path("elsewhere").mkdir()
    np.zeros_like(X).tofile("elsewhere/x.bin")
    os.chdir("elsewhere")
    with pytest.raises(errors.ChangedFileError, match=r"in this process in .*elsewhere/x\.bin"):
        pickle.loads(sent)[[0]]


def test_the_shape_of_a_virtual_dataset_opens_nothing_before_it_is_allowed(tmp_path: Path) -> None:
    growing(tmp_path)
    for path in tmp_path.glob("part-*"):
        path.unlink()
        os.mkfifo(path)  # whoever opens it waits for ever
    with pytest.raises(errors.ExternalDataError, match=r"part-%b\.h5.*allow_external=True"):
        NumpyDataset.from_hdf5(tmp_path / "d.h5", "x")


def test_missing_is_for_files_that_may_be_elsewhere(tmp_path: Path) -> None:
    virtual(tmp_path)
    with pytest.raises(errors.FieldError, match="need allow_external=True"):
        NumpyDataset.from_hdf5(tmp_path / "d.h5", "x", missing="fill")
    with pytest.raises(errors.FieldError, match="missing='skip' is none of 'error' and 'fill'"):
        NumpyDataset.from_hdf5(tmp_path / "d.h5", "x", allow_external=True, missing="skip")


def test_a_new_dataset_shows_the_new_source_while_an_old_one_is_open(tmp_path: Path) -> None:
    virtual(tmp_path)
    old = NumpyDataset.from_hdf5(tmp_path / "d.h5", "x", allow_external=True)
    assert (old[:].numpy() == X).all()
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file["x"] = X[10:] + 100
    (tmp_path / "new.h5").replace(tmp_path / "part-1.h5")
    new = NumpyDataset.from_hdf5(tmp_path / "d.h5", "x", allow_external=True)
    assert (new[10:].numpy() == X[10:] + 100).all()
    with pytest.raises(errors.ChangedFileError):
        old[0]
