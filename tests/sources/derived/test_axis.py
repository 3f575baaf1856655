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
from npdata.sources.derived.axis import along_axis

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
    if kind == "npz":
        np.savez_compressed(folder / "a.npz", a=array())
        return f"{folder}/a.npz::a"
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
    wanted = {
        "chunked": "chunks  (3, 2, 5), 27 stored, with axes (2, 0, 1) of the dataset",
        "gzip": "cost    1 bytes decoded for each byte used shuffled by rows, 1 by blocks",
    }
    assert wanted.get(kind, "a row lies in 60 pieces") in described


def test_an_axis_that_is_not_there_is_refused() -> None:
    for axis in (3, -4, "last", True):
        with pytest.raises(FieldError, match="has 3 axes, 0 to 2"):
            NumpyDataset(array(), axis=axis)
    with pytest.raises(FieldError, match="has 2 axes, 0 to 1"):
        NumpyDataset(array()[0], axis=2)
    ds = NumpyDataset(x=array(), y=np.arange(7), axis={"x": -1})
    assert ds[6]["x"].tolist() == array()[:, :, 6].tolist()


TRAJECTORIES: dict[str, Any] = {
    **STORAGE,
    "whole trajectories": {"chunks": (2, 12, 7), "compression": 4},
    "even pieces": {"chunks": (1, 4, 7), "compression": 4},
    "uneven pieces": {"chunks": (2, 5, 3), "compression": 4},
    "longer chunks": {"chunks": (3, 16, 7), "maxshape": (None, None, 7), "compression": 4},
    "by h5py": {"chunks": (2, 5, 7), "scaleoffset": 0},
}


@pytest.fixture(params=["memory", "npy", "npz", *TRAJECTORIES])
def trajectories(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param in ("memory", "npy", "npz"):
        return stored(request.param, tmp_path)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = array().astype("i4" if request.param == "by h5py" else "f4")
        file.create_dataset("a", data=data, **TRAJECTORIES[request.param])
    return f"{tmp_path}/a.h5::a"


@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (0, 2), (-1, 0), (0, 1, 2)])
def test_rows_lie_along_several_axes(trajectories: Any, axes: tuple[int, ...]) -> None:
    moved = np.moveaxis(array(), axes, range(len(axes)))
    wanted = moved.reshape(-1, *moved.shape[len(axes) :])
    rows = [3, 0, -1, 3, 4]
    ds = NumpyDataset(trajectories, axis=axes)
    for each in (ds, pickle.loads(pickle.dumps(ds))):
        np.testing.assert_array_equal(each[rows].numpy(), wanted[rows])
        np.testing.assert_array_equal(each[2].numpy(), wanted[2])
        np.testing.assert_array_equal(each[1:4].numpy(), wanted[1:4])
        assert each[[]].shape == (0, *wanted.shape[1:])
    sampler = npdata.BlockBatchSampler(ds, 7, seed=1)
    order = [row for batch in npdata.BlockBatchSampler(ds, 7, seed=1) for row in batch]
    seen = np.concatenate([b.numpy() for b in npdata.Loader(ds, sampler=sampler)])
    np.testing.assert_array_equal(seen, wanted[order])
    assert sorted(order) == list(range(len(wanted)))
    np.testing.assert_allclose(ds.statistics()[0].mean, wanted.mean())


@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (0, 2)])
@pytest.mark.parametrize("options", [{}, {"cache": "ram"}])
def test_no_window_leaves_its_trajectory(
    trajectories: Any, axes: tuple[int, ...], options: dict[str, str]
) -> None:
    moved = np.moveaxis(array(), axes, (0, 1))
    ds = NumpyDataset(trajectories, axis=axes, **options)
    assert ds.borders.tolist() == [*range(0, len(ds) + 1, moved.shape[1])]
    windows = ds.windows(3, stride=2)
    wanted = np.concatenate(
        [[each[k : k + 3] for k in range(0, len(each) - 2, 2)] for each in moved]
    )
    np.testing.assert_array_equal(windows[:].numpy(), wanted)
    for resident in (False, True):
        batches = npdata.Loader(windows, 4, resident=resident)
        np.testing.assert_array_equal(np.concatenate([b.numpy() for b in batches]), wanted)
    owner = np.repeat(np.arange(len(moved)), len(windows) // len(moved))
    train, test = windows.split(0.6, by="recording")
    assert len(train) + len(test) == len(windows)
    assert set(owner[train]).isdisjoint(owner[test])


@pytest.mark.parametrize("kind", ["memory", "npy", "npz", "contiguous"])
def test_trajectories_in_place_are_views(kind: str, tmp_path: Path) -> None:
    assert NumpyDataset(stored(kind, tmp_path), axis=(0, 1)).sources[0].table is not None


def test_rows_of_two_axes_say_so(trajectories: Any) -> None:
    assert "axis    (0, 1) of (5, 12, 7)" in str(NumpyDataset(trajectories, axis=(0, 1)).describe())


def test_chunks_of_other_axes_are_decoded_once(tmp_path: Path) -> None:
    ds = NumpyDataset(stored("gzip", tmp_path), axis=-1)
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(7)
        np.testing.assert_array_equal(ds[order].numpy(), np.moveaxis(array(), -1, 0)[order])
    assert ds.sources[0].access.kind == "decoded"
    assert ds.sources[0].decoded_chunks == 3


def test_a_cache_keeps_the_axes_of_a_square_apart(tmp_path: Path) -> None:
    square = np.arange(64).reshape(8, 8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=square, chunks=(4, 4), compression=4)
    for axis, wanted in ((0, square), (1, square.T), (0, square), (1, square.T)):
        ds = NumpyDataset(f"{tmp_path}/a.h5::a", axis=axis, cache=tmp_path / "cache")
        np.testing.assert_array_equal(ds[:].numpy(), wanted)


def test_a_cache_keeps_the_chunks_of_trajectories(tmp_path: Path) -> None:
    path = stored("gzip", tmp_path)
    for decoded in (3, 0):
        ds = NumpyDataset(path, axis=(0, 1), cache=tmp_path / "cache")
        np.testing.assert_array_equal(ds[:].numpy(), array().reshape(60, 7))
        assert ds.sources[0].decoded_chunks == decoded


def test_the_chunks_of_trajectories_are_read_ahead(tmp_path: Path) -> None:
    (source,) = NumpyDataset(stored("chunked", tmp_path), axis=(0, 1)).sources
    told: list[tuple[str, int, int]] = []

    class Listener(type(source.rows)):  # type: ignore[misc]
        def will_need(self, first: int, stop: int) -> None:
            told.append(("need", first, stop))

        def dont_need(self, first: int, stop: int) -> None:
            told.append(("go", first, stop))

    source.rows.__class__ = Listener
    source.will_need(0, 5)
    source.dont_need(24, 29)
    assert told == [("need", 0, 10), ("go", 30, 40)]


RECORD = np.dtype([("a", "<i4"), ("b", ">f8", 2)])


@pytest.mark.parametrize("axis", [1, 2, (2, 0), (0, 1)])
@pytest.mark.parametrize("dtype", [">i2", "?", "c16", "S3", RECORD, np.dtype(("<i4", (2,)))])
def test_elements_of_any_type_keep_their_bytes(dtype: Any, axis: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("a", (5, 4, 6), dtype, chunks=(2, 3, 4), compression=1)
        given = made[1:4]
        bits = np.random.default_rng(0).integers(0, 2, given.nbytes, np.uint8)
        made[1:4] = np.frombuffer(bits, given.dtype).reshape(given.shape)
        stored = made[:]
    axes = axis if isinstance(axis, tuple) else (axis,)
    moved = np.moveaxis(stored, axes, range(len(axes)))
    wanted = moved.reshape(-1, *moved.shape[len(axes) :])
    source = along_axis(npdata.open_source(f"{tmp_path}/a.h5::a"), axis)
    assert source.access.kind == "decoded"
    rows = np.array([3, 0, 3, len(wanted) - 1])
    out = np.empty((4, *source.shape[1:]), source.dtype)
    source.read(rows, out)
    assert out.tobytes() == wanted[rows].tobytes()


def test_a_damaged_chunk_is_named_by_the_axes_of_the_dataset(tmp_path: Path) -> None:
    where = stored("gzip", tmp_path)
    with h5py.File(tmp_path / "a.h5") as file:
        chunk = file["a"].id.get_chunk_info_by_coord((0, 8, 0))
    with (tmp_path / "a.h5").open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"x" * chunk.size)
    for axis in (-1, 1, (0, 2), (0, 1)):
        with pytest.raises(FormatError, match=r"the chunk at \(0, 8, 0\)"):
            NumpyDataset(where, axis=axis)[:]


def test_a_chunk_is_decoded_once_for_all_its_trajectories(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=array(), chunks=(2, 5, 7), compression=4)
    ds = NumpyDataset(f"{tmp_path}/a.h5::a", axis=(0, 1))
    for _ in npdata.Loader(ds.windows(3), 4, shuffle="block"):
        pass
    assert ds.sources[0].decoded_chunks == 3 * 3


def test_blocks_fit_into_a_small_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        whole = np.zeros((9, 1000, 7), "f4")
        file.create_dataset("a", data=whole, chunks=(3, 300, 7), compression=4)
    expected = {8: (3000, 6000, "1.2 by blocks"), 2: (300, 600, "3.6 by blocks")}
    for held, (rows, in_memory, cost) in expected.items():
        monkeypatch.setenv("NPDATA_CACHE_BYTES", str(held * 3 * 300 * 7 * 4))
        ds = NumpyDataset(f"{tmp_path}/a.h5::a", axis=(0, 1))
        assert ds.blocks.largest == rows
        assert ds.rows_in_memory == in_memory
        assert cost in str(ds.describe())


def test_the_cost_counts_what_chunks_have_beside_the_dataset(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = {"chunks": (60, 5, 7), "maxshape": (None, 12, 7), "compression": 4}
        file.create_dataset("a", data=array(), **options)
        file.create_dataset("by h5py", data=array().astype("i4"), scaleoffset=0, **options)
    for axis in ((0, 1), (0, 2)):
        described = str(NumpyDataset(f"{tmp_path}/a.h5::a", axis=axis).describe())
        assert "15 bytes decoded for each byte used shuffled by rows, 15 by blocks" in described
    described = str(NumpyDataset(f"{tmp_path}/a.h5::by h5py", axis=(0, 2)).describe())
    assert "by blocks of 35 rows" in described


@pytest.mark.parametrize("shape", [(0, 12, 7), (5, 0, 7), (5, 12, 0)])
def test_trajectories_without_a_row_or_a_value_are_described(shape: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = {"chunks": (2, 5, 3), "maxshape": (None, None, None), "compression": 4}
        file.create_dataset("a", shape, "f4", **options)
    ds = NumpyDataset(f"{tmp_path}/a.h5::a", axis=(0, 1))
    assert ds[:].shape == (shape[0] * shape[1], shape[2])
    assert "(0, 1) of" in str(ds.describe())


@pytest.mark.parametrize(("axis", "pieces"), [(1, 7), (2, 1), ((0, 1), 7), ((2, 1), 1)])
def test_a_row_in_fortran_order_lies_in_other_pieces(axis: Any, pieces: int) -> None:
    described = str(NumpyDataset(np.asfortranarray(array()), axis=axis).describe())
    assert f"a row lies in {pieces} piece" in described


@pytest.mark.parametrize("axis", [1, (0, 1), (0, 2)])
def test_the_bytes_of_a_row_are_not_those_of_the_first_axis(axis: Any, tmp_path: Path) -> None:
    described = str(NumpyDataset(stored("contiguous", tmp_path), axis=axis).describe())
    assert "336 bytes" not in described


def test_trajectories_of_many_files_are_recordings(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", array()[: 2 + k] + k)
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file["contiguous"] = array()[: 2 + k] + k
            file.create_dataset("gzip", data=array()[: 2 + k] + k, chunks=(2, 5, 7), compression=1)
    wanted = np.concatenate([array()[: 2 + k] + k for k in range(3)])
    made = [
        sum(NumpyDataset(tmp_path / f"{k}.npy", axis=(0, 1)) for k in range(3)),
        NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", "contiguous", axis=(0, 1)),
        NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", "gzip", axis=(0, 1)),
    ]
    for ds in (*made, *pickle.loads(pickle.dumps(made))):
        np.testing.assert_array_equal(ds[:].numpy(), wanted.reshape(-1, 7))
        assert ds.borders.tolist() == [*range(0, 9 * 12 + 1, 12)]
        windows = ds.windows(12)
        np.testing.assert_array_equal(windows[:].numpy(), wanted)
        (train, test), owner = windows.split(0.5, by="file"), np.repeat([0, 1, 2], [2, 3, 4])
        assert set(owner[train]).isdisjoint(owner[test])


@pytest.mark.parametrize("axis", [(), (0, 0), (0, -3), (1, 0, 1)])
def test_axes_that_do_not_differ_are_refused(axis: tuple[int, ...]) -> None:
    with pytest.raises(FieldError, match="expected one axis, or several that differ"):
        NumpyDataset(array(), axis=axis)


def test_a_list_of_axes_is_one_for_each_field() -> None:
    ds = NumpyDataset(array(), np.arange(60).reshape(5, 12), axis=[(0, 1), (0, 1)])
    assert ds[13][0].tolist() == array()[1, 1].tolist()
    assert ds[13][1] == 13
    with pytest.raises(FieldError, match=r"axes of one field are a tuple: \(0, 1\)"):
        NumpyDataset(array(), axis=[0, 1])


def require_advice(values: np.ndarray, wanted: str, folder: Path) -> None:
    """Values beside trajectories, in memory and in several files, are refused with this advice."""
    with pytest.raises(FieldError, match=wanted):
        NumpyDataset(u=array(), value=values, axis={"u": (0, 1)})
    for k in range(2):
        with h5py.File(folder / f"{k}.h5", "w") as file:
            file["u"], file["value"] = array(), values
    with pytest.raises(FieldError, match=wanted):
        NumpyDataset.from_hdf5(f"{folder}/*.h5", u="u", value="value", axis={"u": (0, 1)})


def test_a_value_for_each_trajectory_is_repeated(tmp_path: Path) -> None:
    values = np.arange(5.0)
    wanted = (
        r"field 'u' has 5 recordings: .* np.repeat\(values, np.diff\(dataset.borders\), axis=0\)"
    )
    require_advice(values, wanted, tmp_path)
    ds = NumpyDataset(u=array(), axis=(0, 1))
    ds = NumpyDataset(**ds.fields, value=np.repeat(values, np.diff(ds.borders), axis=0))
    assert ds.windows({"u": range(3)})[-1]["value"] == 4


def test_values_for_the_steps_of_each_trajectory_are_repeated(tmp_path: Path) -> None:
    times = np.arange(12.0)
    wanted = r"field 'u' has 5 recordings of 12 rows: .* np.concatenate\(\[values\] \* 5\)"
    require_advice(times, wanted, tmp_path)
    ds = NumpyDataset(u=array(), axis=(0, 1))
    ds = NumpyDataset(**ds.fields, time=np.concatenate([times] * 5))
    assert ds[14]["time"] == 2


def test_windows_longer_than_there_are_trajectories_name_the_axes() -> None:
    wanted = r"where rows of shape \(12, 7\) are trajectories, NumpyDataset\(x, axis=\(0, 1\)\)"
    with pytest.raises(FieldError, match=wanted):
        NumpyDataset(array()).windows(6)
    windows = NumpyDataset(array()).windows(4)
    for ds, length in (
        (windows, 3),
        (NumpyDataset(array()), 13),
        (NumpyDataset(array()[..., 0]), 6),
    ):
        with pytest.raises(FieldError, match=r"edge='repeat' or 'zero'$"):
            ds.windows(length)


def test_one_trajectory_is_a_recording() -> None:
    ds = NumpyDataset(u=array()[:1], axis=(0, 1))
    assert ds.borders.tolist() == [0, 12]
    with pytest.raises(FieldError, match=r"field 'u' has 1 recording: a value for each"):
        NumpyDataset(**ds.fields, value=[7.0])
    ds = NumpyDataset(**ds.fields, value=np.repeat([7.0], np.diff(ds.borders)))
    assert ds[11]["value"] == 7


def test_rows_of_one_axis_are_no_recordings_and_those_of_three_are_as_long_as_the_last() -> None:
    assert NumpyDataset(array(), axis=1).borders is None
    assert NumpyDataset(array(), axis=(0, 1, 2)).borders.tolist() == [*range(0, 421, 7)]


@pytest.mark.parametrize("axis", [1, (0, 1), (0, 2)])
@pytest.mark.parametrize("kind", ["contiguous", "chunked"])
def test_rows_along_any_axis_are_decoded(kind: str, axis: Any, tmp_path: Path) -> None:
    path = stored(kind, tmp_path)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["a"].attrs["scale_factor"] = 0.5
    stored_as = NumpyDataset(array(), axis=axis)[[3, 0]].numpy()
    found = NumpyDataset(path, axis=axis, decode="cf")[[3, 0]].numpy()
    np.testing.assert_array_equal(found, stored_as * 0.5)


def test_axes_for_all_fields_are_for_those_that_have_them() -> None:
    with pytest.raises(FieldError, match=r"has one axis; .* axis=\{'x': \(0, 1\)\}"):
        NumpyDataset(u=array(), value=np.arange(5), axis=(0, 1))


@pytest.mark.parametrize("axis", [{0: [0, 1]}, np.array([0, 1]), range(2), slice(0, 2), "01", 1.0])
def test_an_error_shows_how_axes_are_written(axis: Any) -> None:
    with pytest.raises(FieldError, match=r"for several axes a tuple of them, as \(0, 1\); .* 3 ax"):
        NumpyDataset(array(), axis=axis)


def test_rows_of_other_axes_of_a_file_are_not_turned_again(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=array(), chunks=(2, 5, 7), compression=1)
    turned = NumpyDataset.from_hdf5(tmp_path / "a.h5", a="a", axis=(0, 1))
    wanted = r"lie along other axes already, \(0, 1\) of \(5, 12, 7\)"
    with pytest.raises(FieldError, match=wanted):
        NumpyDataset(**turned.fields, axis=(0, 1))


def test_axes_of_groups_are_given_for_each(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/0/x"], file["g/1/x"] = array(), array()[:2] + 1
        file["packed/0/x"], file["packed/1/x"] = array(), array()
        file["packed/1/x"].attrs["scale_factor"] = 0.5
    for groups in ("g", "packed"):
        with pytest.raises(
            FieldError, match=r"of groups sum\(npdata.NumpyDataset\(f'FILE::\{name\}/x'"
        ):
            NumpyDataset.from_hdf5(tmp_path / "a.h5", f"{groups}/*/x", axis=(0, 1))
    ds = sum(NumpyDataset(f"{tmp_path}/a.h5::g/{name}/x", axis=(0, 1)) for name in "01")
    assert ds.borders.tolist() == [*range(0, 7 * 12 + 1, 12)]


@pytest.mark.parametrize("axis", [1, (0, 1)])
def test_open_datasets_are_as_long_as_their_axis(axis: Any, tmp_path: Path) -> None:
    rows = len(NumpyDataset(array(), axis=axis))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"], file["reward"] = array(), np.arange(rows)
        ds = NumpyDataset(u=file["u"], reward=file["reward"], axis={"u": axis})
        assert ds[7]["reward"] == 7
        with pytest.raises(FieldError, match=f"field 'u' has 5 rows, field 'reward' has {rows}"):
            NumpyDataset(u=file["u"], reward=file["reward"])


def test_a_field_of_the_same_trajectories_is_no_value_for_each(tmp_path: Path) -> None:
    wanted = r"field 'y' has as many along its axes \(0, 1\): give axis=\{'y': \(0, 1\)\}"
    with pytest.raises(FieldError, match=wanted):
        NumpyDataset(u=array(), y=array()[:, :, 0], axis={"u": (0, 1)})
    for k in range(2):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file["u"], file["y"] = array(), array()[:, :, 0]
    with pytest.raises(FieldError, match=wanted):
        NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", u="u", y="y", axis={"u": (0, 1)})


def test_rows_that_lie_along_two_axes_of_another_field_are_pointed_out() -> None:
    with pytest.raises(FieldError, match=r"axes \(0, 1\): give axis=\{'u': \(0, 1\)\}"):
        NumpyDataset(u=array(), reward=np.arange(60))


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
