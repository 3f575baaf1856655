"""Rows along any axis are those of `np.moveaxis`; MATLAB's logical and char are understood."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import npdata
from npdata import NumpyDataset
from npdata.errors import ConversionError, FieldError, FormatError

SHAPE = (5, 12, 7)
STORAGE: dict[str, Any] = {
    "contiguous": {},
    "chunked": {"chunks": (2, 5, 3)},
    "gzip": {"chunks": (5, 4, 7), "compression": 4},
}


def array() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype="f4").reshape(SHAPE)


def stored(kind: str, folder: Path) -> Any:
    if kind == "memory":
        return array()
    if kind == "npy":
        np.save(folder / "a.npy", array())
        return folder / "a.npy"
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("a", data=array(), **STORAGE[kind])
    return f"{folder}/a.h5::a"


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3, np.int64(1)])
@pytest.mark.parametrize("kind", ["memory", "npy", *STORAGE])
def test_rows_lie_along_the_axis(kind: str, axis: int, tmp_path: Path) -> None:
    wanted = np.moveaxis(array(), axis, 0)
    ds = NumpyDataset(stored(kind, tmp_path), axis=axis)
    assert len(ds) == len(wanted)
    rows = [3, 0, -1, 3, 4]
    np.testing.assert_array_equal(ds[rows].numpy(), wanted[rows])
    np.testing.assert_array_equal(ds[2].numpy(), wanted[2])
    np.testing.assert_array_equal(ds[1:4].numpy(), wanted[1:4])
    assert ds[[]].shape == (0, *wanted.shape[1:])
    copy = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(copy[rows].numpy(), wanted[rows])
    seen = np.concatenate([b.numpy() for b in npdata.Loader(ds, 2)])
    np.testing.assert_array_equal(seen, wanted)
    np.testing.assert_allclose(ds.statistics()[0].mean, wanted.mean())


@pytest.mark.parametrize("kind", ["memory", "npy", *STORAGE])
def test_the_cost_is_stated(kind: str, tmp_path: Path) -> None:
    described = str(NumpyDataset(stored(kind, tmp_path), axis=-1).describe())
    assert "axis    2 of (5, 12, 7)" in described
    wanted = {"chunked": "a row lies in 9 chunks", "gzip": "a row lies in 3 chunks"}
    assert wanted.get(kind, "a row lies in 60 pieces") in described


def test_an_axis_that_is_not_there_is_refused() -> None:
    for axis in (3, -4, "last", True):
        with pytest.raises(FieldError, match="has 3 axes, 0 to 2"):
            NumpyDataset(array(), axis=axis)
    ds = NumpyDataset(x=array(), y=np.arange(7), axis={"x": -1})
    assert ds[6]["x"].tolist() == array()[:, :, 6].tolist()


def matlab_file(path: Path) -> Path:
    """A file as `save -v7.3` writes it: X(100, 3), a logical mask and names."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values, kind in (
            ("X", rng.random((3, 100)), "double"),
            ("mask", (rng.random((1, 100)) < 0.5).astype("u1"), "logical"),
            ("names", np.array([[ord(c) for c in f"n{k:03}"] for k in range(100)], "u2").T, "char"),
        ):
            file.create_dataset(name, data=values, chunks=True, compression=3)
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    return path


def test_a_file_of_matlab_is_read_row_by_row(tmp_path: Path) -> None:
    path = matlab_file(tmp_path / "d.mat")
    with h5py.File(path) as file:
        x, mask = file["X"][:].T, file["mask"][:].ravel().astype(bool)
    ds = NumpyDataset.from_hdf5(
        path, x="X", mask="mask", name="names", axis=-1, decode="matlab", dtype={"name": str}
    )
    batch = ds[[7, 3]]
    np.testing.assert_array_equal(batch["x"].numpy(), x[[7, 3]])
    np.testing.assert_array_equal(batch["mask"].numpy().ravel(), mask[[7, 3]])
    assert batch["name"] == ["n007", "n003"]
    assert pickle.loads(pickle.dumps(ds))[5]["name"] == "n005"


def test_without_decode_the_class_is_shown(tmp_path: Path) -> None:
    path = matlab_file(tmp_path / "d.mat")
    ds = NumpyDataset(f"{path}::mask", axis=-1)
    assert ds[0].dtype.is_floating_point is False
    assert 'class logical; decode="matlab" gives bool' in str(ds.describe())
    names = str(NumpyDataset(f"{path}::names", axis=-1).describe())
    assert 'class char; decode="matlab" with dtype=str gives a text for each row' in names


def test_text_of_matlab_says_what_it_needs(tmp_path: Path) -> None:
    names = f"{matlab_file(tmp_path / 'd.mat')}::names"
    with pytest.raises(ConversionError, match=r"give the field dtype=str"):
        NumpyDataset(names, axis=-1, decode="matlab")
    with pytest.raises(ConversionError, match=r'give decode="matlab" and dtype=str'):
        NumpyDataset(names, axis=-1, dtype=str)


def test_an_empty_array_of_matlab_is_not_its_size(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.mat", "w") as file:
        file["e"] = np.array([0, 3], np.uint64)  # as MATLAB stores zeros(0, 3)
        file["e"].attrs["MATLAB_class"] = np.bytes_("double")
        file["e"].attrs["MATLAB_empty"] = np.uint8(1)
    where = f"{tmp_path}/d.mat::e"
    with pytest.raises(FormatError, match=r"an empty array of MATLAB.* leave it out"):
        NumpyDataset(where, axis=-1, decode="matlab")
    assert "an empty array; what is stored is its size" in str(NumpyDataset(where).describe())


@pytest.mark.filterwarnings("ignore:The chararray class is deprecated")  # by hdf5storage
def test_files_of_hdf5storage_are_read(tmp_path: Path) -> None:
    hdf5storage = pytest.importorskip("hdf5storage")
    x, mask = np.random.default_rng(0).random((50, 3)), np.arange(50)[:, None] % 3 == 0
    hdf5storage.savemat(
        str(tmp_path / "d.mat"), {"X": x, "mask": mask}, format="7.3", oned_as="column"
    )
    ds = NumpyDataset.from_hdf5(tmp_path / "d.mat", x="X", mask="mask", axis=-1, decode="matlab")
    np.testing.assert_array_equal(ds[:]["x"].numpy(), x)
    np.testing.assert_array_equal(ds[:]["mask"].numpy(), mask)


def test_an_axis_of_several_files_is_that_of_each(tmp_path: Path) -> None:
    names = [f"{tmp_path}/{k}.h5" for k in range(3)]
    for k, name in enumerate(names):
        with h5py.File(name, "w") as file:
            file["x"] = array()[:, : 4 + k] + k
            file["t"] = np.arange(4 + k)
    expected = np.concatenate([np.moveaxis(array()[:, : 4 + k] + k, 1, 0) for k in range(3)])
    ds = NumpyDataset.from_hdf5(names, "x", axis=1)
    other = sum(NumpyDataset(f"{name}::x", axis=1) for name in names)
    for each in (ds, other, pickle.loads(pickle.dumps(ds))):
        assert (each[:].numpy() == expected).all()
        assert len(each.windows(3)) == 2 + 3 + 4
        assert (each.windows(3)[2].numpy() == expected[4:7]).all()
    both = NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", x="x", t="t", axis={"x": 1})
    assert both[:]["t"].tolist() == [*range(4), *range(5), *range(6)]
    with pytest.raises(FieldError, match=r"give from_hdf5\(names, 'x', axis=\.\.\.\), or sum\("):
        npdata.concatenate([f"{name}::x" for name in names], axis=1)
    with pytest.raises(FieldError, match="has 5 rows of 'x' and 4 of 't'"):
        NumpyDataset.from_hdf5(names, x="x", t="t")
