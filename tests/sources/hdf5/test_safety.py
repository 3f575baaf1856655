"""Files that point elsewhere, declare too much, are locked, or are damaged."""

import fcntl
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from processes import run

from npdata import NumpyDataset, errors, open_source, stack

X = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.fixture
def far(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file["group/x"] = X
        file["x"] = X
    return tmp_path / "far.h5"


def make_link(path: Path, case: str) -> str:
    """Write a file in which the name that is returned leads into far.h5."""
    with h5py.File(path, "w") as file:
        if case == "at the end":
            file["x"] = h5py.ExternalLink("far.h5", "x")
            return "x"
        if case == "in the middle":
            file["a/b"] = h5py.ExternalLink("far.h5", "/")
            return "a/b/group/x"
        if case == "behind a soft link":
            file["a/b"] = h5py.ExternalLink("far.h5", "/group")
            file["soft"] = h5py.SoftLink("/a/b/x")
            return "soft"
        if case == "behind a relative soft link":
            file["a/b"] = h5py.ExternalLink("far.h5", "/group")
            file["a/soft"] = h5py.SoftLink("b")
            return "/a/./soft//x"
        raise ValueError(case)


LINKS = ["at the end", "in the middle", "behind a soft link", "behind a relative soft link"]


@pytest.mark.parametrize("case", LINKS)
def test_an_external_link_is_refused_at_any_component(tmp_path: Path, far: Path, case: str) -> None:
    near = tmp_path / "near.h5"
    name = make_link(near, case)
    for use in (
        lambda: NumpyDataset.from_hdf5(near, name),
        lambda: open_source(f"{near}::{name}"),
        lambda: NumpyDataset.from_hdf5(near, name, access="library"),
    ):
        with pytest.raises(errors.ExternalDataError, match=r"'far.h5'; pass allow_external=True"):
            use()
    allowed = NumpyDataset.from_hdf5(near, name, allow_external=True)
    assert (allowed[:].numpy() == X).all()


def test_the_shape_of_a_sparse_matrix_is_not_read_from_another_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file["secret"] = [3, 41]
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["m/data"], file["m/indices"], file["m/indptr"] = [1.0, 2.0], [2, 0], [0, 1, 1, 2]
        file["m/shape"] = h5py.ExternalLink("far.h5", "/secret")
    with pytest.raises(errors.MemberNotFoundError, match=r"near\.h5::m is a group"):
        NumpyDataset.from_hdf5(tmp_path / "near.h5", "m")
    allowed = NumpyDataset.from_hdf5(tmp_path / "near.h5", "m", allow_external=True)
    assert allowed[0].shape == (41,)


def test_an_error_that_lists_names_looks_into_no_other_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file["x"] = [1]
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["g/a/x"] = [1]
        file["g/b"] = h5py.ExternalLink("far.h5", "/")
    with pytest.raises(errors.MemberNotFoundError) as told:
        NumpyDataset.from_hdf5(tmp_path / "near.h5", "g/a")
    assert "it has 'g/a/x'; name one" in str(told.value)


def test_what_a_group_of_another_file_has_is_named_as_it_is_reached(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file["deep/a/x"], file["deep/b/x"] = [1], [2]
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["g"] = h5py.ExternalLink("far.h5", "/deep")
    with pytest.raises(errors.MemberNotFoundError) as told:
        NumpyDataset.from_hdf5(tmp_path / "near.h5", "/g//a", allow_external=True)
    assert "it has 'g/a/x', or g/*/x in all groups; name one" in str(told.value)
    allowed = NumpyDataset.from_hdf5(tmp_path / "near.h5", "g/*/x", allow_external=True)
    assert allowed[:].tolist() == [1, 2]


def test_the_cure_for_cells_in_columns_looks_into_no_other_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file["x"] = [b"AAC", b"AAG"]
    with h5py.File(tmp_path / "near.h5", "w") as file:
        group = file.create_group("m")
        group.attrs["encoding-type"], group.attrs["shape"] = "csc_matrix", (3, 2)
        group["barcodes"] = h5py.ExternalLink("far.h5", "/x")
    with pytest.raises(errors.UnsupportedSourceError, match="write it by rows once, as scipy's"):
        NumpyDataset.from_hdf5(tmp_path / "near.h5", "m")


def test_a_link_that_is_refused_opens_nothing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["x"] = h5py.ExternalLink("/dev/stdin", "x")
    with pytest.raises(errors.ExternalDataError, match="/dev/stdin"):
        NumpyDataset.from_hdf5(tmp_path / "near.h5", "x")


def test_soft_links_inside_the_file_are_followed(tmp_path: Path, far: Path) -> None:
    with h5py.File(far, "a") as file:
        file["one"] = h5py.SoftLink("group")
        file["group/two"] = h5py.SoftLink("x")
        file["round"] = h5py.SoftLink("/round")
        file["lost"] = h5py.SoftLink("/nowhere")
    assert (NumpyDataset.from_hdf5(far, "one/two")[:].numpy() == X).all()
    for name in ("round", "lost", "x/y"):
        with pytest.raises(KeyError, match="has no dataset"):
            NumpyDataset.from_hdf5(far, name)


def test_external_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(X.tobytes())
    with h5py.File(tmp_path / "d.h5", "w") as file:
        where = [(str(tmp_path / "secret.bin"), 0, X.nbytes)]
        file.create_dataset("x", X.shape, "f4", external=where)
    for access in ("auto", "library", "direct"):
        with pytest.raises(errors.ExternalDataError, match=r"in other files .*secret\.bin"):
            NumpyDataset.from_hdf5(tmp_path / "d.h5", "x", access=access)


def test_virtual_datasets_are_refused(tmp_path: Path, far: Path) -> None:
    layout = h5py.VirtualLayout((20, 3), "f4")
    layout[...] = h5py.VirtualSource(str(far), "x", shape=(20, 3))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    with pytest.raises(errors.ExternalDataError, match=r"virtual dataset over .*far\.h5"):
        NumpyDataset.from_hdf5(tmp_path / "d.h5", "x")
    ds = NumpyDataset.from_hdf5(tmp_path / "d.h5", "x", allow_external=True)
    assert (ds[:].numpy() == X).all()


def virtual(file: h5py.File, name: str, far: Path, value: object) -> None:
    """Make a virtual dataset that shows a value of the file `far`, which gets it."""
    value = np.asarray(value)
    with h5py.File(far, "a") as other:
        other[name] = value
    layout = h5py.VirtualLayout(value.shape, value.dtype)
    layout[...] = h5py.VirtualSource(str(far), name, shape=value.shape)
    file.create_virtual_dataset(name, layout)


def test_one_value_of_another_file_is_refused(tmp_path: Path, far: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        virtual(file, "label", far, 41)
    with pytest.raises(errors.ExternalDataError, match=r"virtual dataset over .*far\.h5"):
        stack([f"{tmp_path}/d.h5::label"])


def test_the_mask_of_a_column_in_another_file_is_refused(tmp_path: Path, far: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_group("age").attrs["encoding-type"] = "nullable-integer"
        file["age/values"] = [1, 2, 3]
        virtual(file, "age/mask", far, [False, False, False])
    with pytest.raises(errors.ExternalDataError, match=r"virtual dataset over .*far\.h5"):
        NumpyDataset.from_hdf5(tmp_path / "d.h5", "age")
    allowed = NumpyDataset.from_hdf5(tmp_path / "d.h5", "age", allow_external=True)
    assert allowed[:].tolist() == [1, 2, 3]


def test_which_columns_are_codes_is_not_looked_up_in_another_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file["uns/kind_categories"] = [b"B", b"T"]
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["obs"] = np.array([(0, 7), (1, 8)], [("kind", "i1"), ("size", "i4")])
        file["uns"] = h5py.ExternalLink("far.h5", "/uns")
    for column in ("kind", "size"):  # either may be codes
        with pytest.raises(errors.ExternalDataError, match=r"pass allow_external=True"):
            NumpyDataset.from_hdf5(tmp_path / "near.h5", f"obs.{column}")
    with pytest.raises(errors.ConversionError, match="'kind' holds codes"):
        NumpyDataset.from_hdf5(tmp_path / "near.h5", "obs")
    options: dict = {"allow_external": True}
    kind, size = NumpyDataset.from_hdf5(tmp_path / "near.h5", "obs.kind", "obs.size", **options)[:]
    assert (kind.tolist(), size.tolist()) == ([0, 1], [7, 8])


@pytest.mark.parametrize("part", ["shape", "indptr"])
def test_only_its_own_file_says_what_a_group_stands_for(
    tmp_path: Path, far: Path, part: str
) -> None:
    parts = {"data": [1.0, 2.0], "indices": [2, 0], "indptr": [0, 1, 1, 2], "shape": [3, 41]}
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for name in parts.keys() - {part}:
            file[f"m/{name}"] = parts[name]
        virtual(file, f"m/{part}", far, parts[part])
    with pytest.raises(errors.MemberNotFoundError, match=r"d\.h5::m is a group"):
        NumpyDataset.from_hdf5(tmp_path / "d.h5", "m")
    allowed = NumpyDataset.from_hdf5(tmp_path / "d.h5", "m", allow_external=True)
    assert allowed[0].shape == (41,)


@pytest.mark.parametrize("options", [{}, {"compression": 4}])
def test_rows_larger_than_the_file_could_hold_are_refused(tmp_path: Path, options: dict) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", (4, 1 << 40), "u1", chunks=(1, 1 << 20), **options)
    for access in ("auto", "library", "direct"):
        with pytest.raises(errors.FormatError, match=r"declares rows of 1099511627776 bytes"):
            NumpyDataset.from_hdf5(tmp_path / "d.h5", "x", access=access)


def test_a_grid_of_any_size_costs_what_is_stored(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        dataset = file.create_dataset("x", (1 << 50,), "u1", chunks=(10,), fillvalue=7)
        dataset[35:41] = 1
    ds = NumpyDataset.from_hdf5(tmp_path / "d.h5", "x", access="direct")
    assert ds[[(1 << 50) - 1, 34, 35, 40, 41]].tolist() == [7, 7, 1, 1, 7]


@pytest.mark.parametrize("name", ["contiguous", "chunked", "packed", "text"])
def test_a_file_that_is_written_to_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        file["contiguous"] = X
        file.create_dataset("chunked", data=X, chunks=(7, 3))
        file.create_dataset("packed", data=X, chunks=(7, 3), compression=1)
        file["text"] = [f"row {k}" for k in range(20)]
    ds = NumpyDataset.from_hdf5(path, name, dtype=str if name == "text" else None)
    if name != "text":
        ds[[3]]
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(before.st_size - 1)
        stream.write(b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(errors.ChangedFileError, match="it was written to; open it again"):
        ds[[3]]


def test_a_damaged_chunk_names_its_place(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=X, chunks=(7, 3), compression=4)
        where = dataset.id.get_chunk_info(1)
    with path.open("r+b") as stream:
        stream.seek(where.byte_offset)
        stream.write(b"\0" * 8)
    ds = NumpyDataset.from_hdf5(path, "x", access="direct")
    assert (ds[[0, 19]].numpy() == X[[0, 19]]).all()
    for _ in range(2):
        with pytest.raises(errors.FormatError, match=r"d\.h5::/x: the chunk at \(7, 0\).*damaged"):
            ds[[0, 8]]
    assert (ds[[0, 19]].numpy() == X[[0, 19]]).all()


class TestLocks:
    def test_a_lock_that_is_refused_says_what_to_do(self, tmp_path: Path) -> None:
        path = tmp_path / "d.h5"
        with h5py.File(path, "w") as file:
            file["x"] = X
        with path.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(errors.FileLockError, match=r"NFS.*locking=False"):
                NumpyDataset.from_hdf5(path, "x", locking=True)
            ds = NumpyDataset.from_hdf5(path, "x", locking=False)
            assert (ds[:].numpy() == X).all()

    @pytest.mark.slow
    def test_locking_reaches_h5py_in_every_process(self, tmp_path: Path) -> None:
        path = tmp_path / "d.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("y", data=X, chunks=(7, 3))
        code = "import pickle,sys; print(pickle.load(open(sys.argv[1], 'rb'))[[1]])"
        with path.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            for access in ("library", "direct"):
                ds = NumpyDataset.from_hdf5(path, "y", locking=False, access=access)
                (tmp_path / "ds").write_bytes(pickle.dumps(ds))
                done = run(code, str(tmp_path / "ds"))
                assert "[[3., 4., 5.]]" in done.stdout, done.stderr

    def test_a_dataset_that_the_user_opened_without_a_lock(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file["x"] = X
        with h5py.File(tmp_path / "d.h5", locking=False) as file:
            assert (NumpyDataset(file["x"])[:].numpy() == X).all()


def test_access_is_one_of_three(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, chunks=(7, 3))
        file.create_dataset("odd", data=X.astype("i4"), chunks=(7, 3), scaleoffset=0)
    assert (
        NumpyDataset.from_hdf5(path, "x", access="library").describe().fields[0].access == "library"
    )
    with pytest.raises(errors.DirectAccessError, match=r"does not know its filter 6.*access=.auto"):
        NumpyDataset.from_hdf5(path, "odd", access="direct")
    assert (NumpyDataset.from_hdf5(path, "odd")[:].numpy() == X).all()
    with pytest.raises(ValueError, match="access='mapped' is none of 'auto', 'library'"):
        NumpyDataset.from_hdf5(path, "x", access="mapped")
