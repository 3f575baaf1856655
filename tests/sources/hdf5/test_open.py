"""HDF5 datasets by path and name, or as an open `h5py.Dataset`."""

import contextlib
import gc
import pickle
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from another_user import IS_ROOT, another_user
from descriptors import descriptors_of
from hypothesis import given
from hypothesis import strategies as st

import npdata
from npdata import NumpyDataset, errors, open_source
from npdata.runtime.machine import releases_at_once
from npdata.sources.hdf5.rows.h5py_rows import plan_runs

X = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["x"] = X
        file["group/y"] = np.arange(20)
        file["scalar"] = 3
        file["null"] = h5py.Empty("f4")
        file["kind"] = np.dtype("f4")
        file["names"] = [f"name {k}" for k in range(20)]
        file["fixed"] = np.array([b"a", b"bc"] * 10)
        file["flags"] = np.arange(20) % 2 == 0
        file["big"] = X.astype(">f8")
        file["complex"] = X[:, 0] * 1j
        file.create_dataset("half", data=X.astype("f2"), chunks=(7, 2), compression="lzf")
        file["records"] = np.array([(k, k / 2) for k in range(20)], [("a", "i2"), ("b", "f8")])
        file.create_dataset("vlen", (20,), h5py.vlen_dtype(np.int32))
        file.create_dataset("vlen table", (20, 2), h5py.vlen_dtype(np.int32))
        file.create_dataset("references", (20,), h5py.ref_dtype)
        file.create_dataset("regions", (20,), h5py.regionref_dtype)
        file["enum"] = np.arange(20, dtype="i1").astype(h5py.enum_dtype({"A": 0, "B": 1}))
        file.create_dataset("empty", (0, 3), "f4")
        file.create_dataset("unwritten", (20, 3), "f4", chunks=(7, 3), fillvalue=9)
    return tmp_path / "d.h5"


@pytest.mark.skipif(not releases_at_once(), reason="needs reference counts")
def test_a_file_that_h5py_reads_is_closed_with_the_last_that_reads_it(path: Path) -> None:
    gc.disable()
    try:
        ds = NumpyDataset.from_hdf5(path, "x", access="library")
        assert ds[3].tolist() == X[3].tolist()
        assert next(iter(npdata.Loader(ds, 4))).shape == (4, 3)
        del ds
        assert descriptors_of(path) == 0
        h5py.File(path, "w").close()  # refused while it is open
    finally:
        gc.enable()


@given(st.lists(st.integers(0, 50), max_size=40))
def test_a_plan_reads_each_run_once_and_restores_the_order(rows: list[int]) -> None:
    plan = plan_runs(np.array(rows, np.int64))
    read = [
        row
        for start, stop in zip(plan.starts, plan.stops, strict=True)
        for row in range(start, stop)
    ]
    assert read == sorted(set(rows))
    assert (read if plan.inverse is None else [read[k] for k in plan.inverse]) == rows
    assert (plan.starts[1:] > plan.stops[:-1]).all()


@pytest.mark.parametrize("name", ["flags", "big", "complex", "half", "enum", "unwritten", "empty"])
def test_every_dtype_that_torch_has(path: Path, name: str) -> None:
    with h5py.File(path) as file:
        expected = file[name][:]
    ds = NumpyDataset.from_hdf5(path, name)
    rows = [5, -1, 5, 0] if len(expected) else []
    assert (ds[rows].numpy() == expected[rows]).all()
    assert (ds[:].numpy() == expected).all()


def test_compound_rows_are_dicts(path: Path) -> None:
    ds = NumpyDataset.from_hdf5(path, "records")
    assert ds[[3, 1]]["a"].tolist() == [3, 1]
    assert ds[3]["b"].item() == 1.5


def test_text_is_kept_when_asked_for(path: Path) -> None:
    assert NumpyDataset.from_hdf5(path, "names", dtype=str)[[2, 0]] == ["name 2", "name 0"]
    assert NumpyDataset.from_hdf5(path, "names", dtype=bytes)[1] == b"name 1"
    assert NumpyDataset.from_hdf5(path, "fixed", dtype=str)[[1, 0]] == ["bc", "a"]
    for name in ("names", "fixed"):
        with pytest.raises(TypeError, match="dtype=str"):
            NumpyDataset.from_hdf5(path, name)


REFUSED = {
    "nothing": (KeyError, r"no dataset 'nothing'.*'group/y'"),
    "group": (KeyError, r"is a group.*it has 'group/y'"),
    "kind": (KeyError, "named type"),
    "scalar": (ValueError, "a scalar dataset"),
    "null": (ValueError, "a null dataset"),
    "vlen table": (TypeError, r"variable length \(HDF5's vlen of int32\)"),
    "references": (TypeError, r"references of HDF5 to other objects.*file\[reference\]\.name"),
    "regions": (TypeError, "references of HDF5 to other objects"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rows_says_what_is_there(path: Path, name: str) -> None:
    kind, reason = REFUSED[name]
    with pytest.raises(kind, match=reason):
        NumpyDataset.from_hdf5(path, name)


def test_text_of_variable_length_is_named_as_why_h5py_reads_it(path: Path) -> None:
    reason = open_source(f"{path}::names").access.reason
    assert reason == "h5py reads it, in sorted runs of rows: it holds text of variable length"


def test_a_file_without_a_name_lists_its_datasets(path: Path) -> None:
    for open_it in (open_source, NumpyDataset.from_hdf5):
        with pytest.raises(KeyError, match="is a group, and a dataset is needed; it has 'big'"):
            open_it(path)


def test_a_file_of_matlab_lists_its_arrays_and_not_what_lies_in_their_cells(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.mat", "w") as file:
        for k in range(30):
            file[f"#refs#/b{k}/height"] = np.zeros((1, 1))
        file["#subsystem#/MCOS"], file["Z"] = np.zeros(3), np.zeros(3)
        file["digitStruct/bbox"] = file["digitStruct/name"] = np.zeros(3)
    with pytest.raises(KeyError, match="it has 'Z', 'digitStruct/bbox', 'digitStruct/name'; name"):
        NumpyDataset(tmp_path / "d.mat")
    with pytest.raises(KeyError, match="it has '#refs#/b7/height'"):
        NumpyDataset(f"{tmp_path}/d.mat::#refs#/b7")


def test_a_file_that_is_damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(errors.FormatError, match=r"d\.h5 cannot be opened as HDF5"):
        NumpyDataset.from_hdf5(path, "x")


def test_a_file_that_may_not_be_read_any_more_is_named_as_such(path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:  # others may not enter that of pytest
        Path(name).chmod(0o755)
        given = f"{shutil.copy(path, name)}::vlen"
        opened = NumpyDataset(given)
        Path(name, "d.h5").chmod(0)
        with another_user() if IS_ROOT else contextlib.nullcontext():
            for read in (lambda: opened[[3]], lambda: npdata.stack(given)):
                with pytest.raises(PermissionError, match=r"d\.h5"):
                    read()


def test_damaged_groups_are_an_error_that_names_the_file(path: Path) -> None:
    good = path.read_bytes()
    for signature in (b"TREE", b"HEAP", b"SNOD"):  # of the groups
        path.write_bytes(good.replace(signature, bytes(4)))
        for read in (NumpyDataset, npdata.stack):
            with pytest.raises(errors.SourceError, match=r"d\.h5"):
                read(f"{path}::x")


def test_names_that_are_no_utf_8_are_listed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file[b"temp\xe9rature"] = X
    with pytest.raises(KeyError, match=r"it has 'temp.*rature'"):
        NumpyDataset(f"{path}::x")


@pytest.mark.parametrize("held", ["scaled", "vlen"])
def test_a_new_dataset_of_a_file_that_was_written_again_has_the_new_rows(
    tmp_path: Path, held: str
) -> None:
    def written(name: str, rows: int) -> Path:
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("scaled", data=np.full(rows, rows), chunks=(4,), scaleoffset=0)
            file.create_dataset("vlen", (rows,), h5py.vlen_dtype(np.int32))[:] = [[rows]] * rows
            file.create_dataset("packed", data=np.full(rows, rows), chunks=(4,), compression=1)
        return tmp_path / name

    path = written("d.h5", 20)
    old = NumpyDataset(f"{path}::{held}")
    assert old[3] == 20
    path.write_bytes(written("new.h5", 30).read_bytes())  # as cp, or another program
    for name in ("scaled", "vlen", "packed"):
        new = NumpyDataset(f"{path}::{name}")
        assert len(new) == new[29] == 30
    with pytest.raises(errors.ChangedFileError):
        old[3]


def test_a_value_in_another_file_is_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["one"] = 42
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["one"] = h5py.ExternalLink("secret.h5", "/one")
    with pytest.raises(errors.ExternalDataError):
        npdata.stack([f"{tmp_path}/d.h5::one"])


class TestOpenDatasets:
    def test_become_path_and_name(self, path: Path) -> None:
        with h5py.File(path) as file:
            ds = NumpyDataset(file["x"], file["group/y"])
        assert ds[[3, 1]][1].tolist() == [3, 1]
        assert pickle.loads(pickle.dumps(ds))[4][0].tolist() == X[4].tolist()

    def test_rows_written_before_are_read(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "new.h5", "w") as file:
            ds = NumpyDataset(file.create_dataset("x", data=X))
            assert (ds[:].numpy() == X).all()

    def test_of_a_file_in_memory_are_refused(self) -> None:
        with h5py.File("m.h5", "w", driver="core", backing_store=False) as file:
            file["x"] = X
            with pytest.raises(TypeError, match="driver 'core'"):
                NumpyDataset(file["x"])

    def test_that_are_closed_are_refused(self, path: Path) -> None:
        with h5py.File(path) as file:
            closed = file["x"]
        with pytest.raises(TypeError, match="is closed"):
            NumpyDataset(closed)

    def test_without_a_name_are_refused(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            unnamed = file.create_dataset(None, data=X)
            with pytest.raises(TypeError, match="no name"):
                NumpyDataset(unnamed)

    def test_the_file_is_left_open(self, path: Path) -> None:
        with h5py.File(path) as file:
            NumpyDataset(file["x"]).close()
            assert file["x"][0].tolist() == X[0].tolist()


def test_a_file_that_changed_before_another_process_opens_it(path: Path) -> None:
    sent = pickle.dumps(NumpyDataset.from_hdf5(path, "x"))
    with h5py.File(path, "a") as file:
        file["more"] = np.zeros(1000)
    with pytest.raises(errors.ChangedFileError, match="changed since it was opened"):
        pickle.loads(sent)[[0]]


@pytest.mark.parametrize("access", ["library", "direct"])
@pytest.mark.parametrize("name", ["x", "chunked"])
def test_a_file_that_changes_while_it_is_open(tmp_path: Path, access: str, name: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = X
        file.create_dataset("chunked", data=X, chunks=(4, 3), compression=1)
    ds = NumpyDataset.from_hdf5(path, name, access=access)
    ds[[0]]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 8)
    with pytest.raises(errors.ChangedFileError, match="changed since it was opened"):
        ds[[19, 3]]


def test_a_dataset_behind_an_external_link_is_read_from_its_own_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["data"] = X
    with h5py.File(tmp_path / "index.h5", "w") as file:
        file["x"] = h5py.ExternalLink("rows.h5", "/data")
        file["data"] = X * 0
    with pytest.raises(errors.SourceError, match="allow_external=True"):
        NumpyDataset(f"{tmp_path}/index.h5::x")
    for access in ("library", "auto"):
        ds = NumpyDataset.from_hdf5(tmp_path / "index.h5", "x", allow_external=True, access=access)
        assert (ds[[3, 1]].numpy() == X[[3, 1]]).all()
        assert (pickle.loads(pickle.dumps(ds))[[3, 1]].numpy() == X[[3, 1]]).all()


def test_a_link_to_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "index.h5", "w") as file:
        file["x"] = h5py.ExternalLink("lost.h5", "/data")
        file["runs/first"] = h5py.ExternalLink("lost.h5", "/")
    for name, target in (("x", "/data"), ("runs/first/y", "/")):
        with pytest.raises(
            errors.MemberNotFoundError, match=f"'{name}': it links to '{target}' in .*'lost.h5'"
        ):
            NumpyDataset.from_hdf5(tmp_path / "index.h5", name, allow_external=True)


def test_fixed_text_in_utf_8(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        text = file.create_dataset("s", (2,), h5py.string_dtype("utf-8", 10))
        text[...] = ["ä".encode(), b"b"]
    assert NumpyDataset(f"{tmp_path}/a.h5::s", dtype=str)[[1, 0]] == ["b", "ä"]


def test_parts_whose_rows_differ_are_refused(tmp_path: Path) -> None:
    for name, rows in (("a.h5", X), ("b.h5", X[:, :2])):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = rows
    with pytest.raises(
        ValueError, match=r"b\.h5::/x holds rows of \(2,\).*a\.h5::/x rows of \(3,\)"
    ):
        NumpyDataset.from_hdf5(str(tmp_path / "*.h5"), "x")


def test_samples_of_chunks_are_independent_tensors(path: Path) -> None:
    ds = NumpyDataset.from_hdf5(path, "half")
    ds[3].fill_(-1)
    assert torch.equal(ds[3], torch.from_numpy(X[3].astype("f2")))


def test_samples_of_contiguous_rows_are_private_views_and_the_file_never_changes(
    path: Path,
) -> None:
    before = path.read_bytes()
    ds = NumpyDataset.from_hdf5(path, "x")
    ds[3].fill_(-1)
    assert ds[3].tolist() == [-1] * 3
    assert path.read_bytes() == before
