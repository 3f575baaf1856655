"""`decode="cf"` gives the values of xarray; without it, packings are shown and never mixed."""

import itertools
import pickle
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import npdata
from npdata import NumpyDataset
from npdata.errors import FieldError, FormatError
from npdata.sources.packed.packing import Packing
from npdata.sources.packed.unpack import unpack

PACKED = {"scale_factor": 0.01, "add_offset": 273.15, "_FillValue": np.int16(-999)}


def write(path: Path, values: Any, **attributes: Any) -> str:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("t", data=np.asarray(values))
        for name, value in attributes.items():
            dataset.attrs[name] = value
    return f"{path}::t"


def three_scales(folder: Path) -> list[str]:
    """Three files that store 279.8, 285.2 and 290.0 K by three scales."""
    values = ((279.8, 0.01, 243.7), (285.2, 0.002, 287.3), (290.0, 0.01, 278.96))
    return [
        write(
            folder / f"{k}.nc",
            np.array([round((value - offset) / scale)], np.int16),
            scale_factor=scale,
            add_offset=offset,
        )
        for k, (value, scale, offset) in enumerate(values)
    ]


@pytest.mark.parametrize("many", [False, True])
def test_windows_of_different_packings_are_not_joined(many: bool, tmp_path: Path) -> None:
    numbers = np.arange(9, dtype=np.int16)
    scales = (0.5, 0.5, 0.25, 0.25)
    files = [write(tmp_path / f"{k}.nc", numbers, scale_factor=s) for k, s in enumerate(scales)]
    parts = [npdata.concatenate(files[k : k + 1 + many]) for k in (0, 2)]
    fields = [NumpyDataset(x=part, y=np.arange(len(part))) for part in parts]
    for asked in ({"x": 2}, {"y": 2}):
        first, second = (ds.windows(asked) for ds in fields)
        with pytest.raises(FieldError, match="packed in different ways"):
            first + second
        assert (first + first)[[-1]]["y"].numel() == 1 + ("y" in asked)


def test_values_are_scaled_and_missing_is_nan(tmp_path: Path) -> None:
    where = write(tmp_path / "a.nc", np.array([[0, 100], [-999, 5]], np.int16), **PACKED)
    ds = NumpyDataset(where, decode="cf")
    wanted = np.array([[0, 100], [np.nan, 5]]) * 0.01 + 273.15
    np.testing.assert_array_equal(ds[:].numpy(), wanted)
    np.testing.assert_array_equal(ds[[1, 0, 1]].numpy(), wanted[[1, 0, 1]])
    np.testing.assert_array_equal(ds[1].numpy(), wanted[1])
    assert NumpyDataset(where, decode="cf", dtype="float32")[0].tolist() == pytest.approx(
        [273.15, 274.15]
    )


@pytest.mark.parametrize(
    "attributes, stored, wanted",
    [
        ({"valid_range": np.array([0, 10], "i2")}, [-1, 0, 10, 11], [np.nan, 0, 10, np.nan]),
        ({"valid_min": np.int16(0)}, [-1, 0, 10, 11], [np.nan, 0, 10, 11]),
        ({"valid_max": np.int16(10)}, [-1, 0, 10, 11], [-1, 0, 10, np.nan]),
        ({"missing_value": np.array([1, 2], "i2")}, [1, 2, 3], [np.nan, np.nan, 3]),
        ({"_Unsigned": "true"}, [-1, 1], [65535, 1]),
        ({"_Unsigned": b"true", "_FillValue": np.int16(-1)}, [-1, -2], [np.nan, 65534]),
        ({"_Unsigned": "true", "valid_max": np.int16(-2)}, [-1, -2], [np.nan, 65534]),
        ({"scale_factor": np.array([0.5])}, [2, 3], [1, 1.5]),
        ({"scale_factor": 2}, [2, 3], [4, 6]),
    ],
    ids=str,
)
def test_every_attribute_counts(
    tmp_path: Path, attributes: dict[str, Any], stored: list[int], wanted: list[float]
) -> None:
    where = write(tmp_path / "a.nc", np.array(stored, np.int16), **attributes)
    np.testing.assert_array_equal(NumpyDataset(where, decode="cf")[:].numpy(), wanted)


@pytest.mark.parametrize("units", ["days since 2000-01-01", "hours since 1999-12-31T19:00 -05:00"])
def test_times_are_nanoseconds_since_1970(tmp_path: Path, units: str) -> None:
    where = write(tmp_path / "a.nc", np.array([0, 24, -1]), units=units, _FillValue=np.int64(-1))
    step = np.timedelta64(24, "D" if units[0] == "d" else "h").astype("m8[ns]")
    start = np.datetime64("2000-01-01", "ns")
    wanted = (
        np.array([start, start + step, np.datetime64("NaT", "ns")]).astype("M8[ns]").astype("i8")
    )
    assert NumpyDataset(where, decode="cf")[:].tolist() == wanted.tolist()
    assert NumpyDataset(where)[:].tolist() == [0, 24, -1]


def test_a_missing_time_is_nan_among_floats(tmp_path: Path) -> None:
    where = write(
        tmp_path / "a.nc", [0, 7, 36], units="hours since 1970-01-01", _FillValue=np.int64(7)
    )
    for dtype in (torch.float64, "float32", np.float16):
        found = NumpyDataset(where, decode="cf", dtype=dtype)
        assert found[:].isnan().tolist() == [False, True, False]
        assert found[1].isnan()
    ticks = NumpyDataset(where, decode="cf", dtype=torch.float64)
    assert ticks[[2, 0]].tolist() == [36 * 3600e9, 0]
    assert "float64 nanoseconds since 1970-01-01, NaN if missing" in str(ticks.describe())
    ticks = NumpyDataset(where, decode="cf") + NumpyDataset(where, decode="cf")
    assert pickle.loads(pickle.dumps(ticks)).fields[0].missing == ticks[1]


def test_a_loader_makes_no_number_of_a_missing_time(tmp_path: Path) -> None:
    where = write(tmp_path / "a.nc", [0, 7], units="hours since 1970-01-01", _FillValue=np.int64(7))
    with pytest.raises(npdata.errors.LoaderError, match="give dtype= to the NumpyDataset"):
        npdata.Loader(NumpyDataset(where, decode="cf"), 2, dtype=torch.float32)
    floats = NumpyDataset(where, decode="cf", dtype=torch.float64)
    (batch,) = npdata.Loader(floats, 2, dtype=torch.float32)
    assert batch.isnan().tolist() == [False, True]


def test_statistics_leave_out_missing_times(tmp_path: Path) -> None:
    hours = np.array([0, 7, 36, 7, 3])
    where = write(tmp_path / "a.nc", hours, units="hours since 1970-01-01", _FillValue=np.int64(7))
    ds = NumpyDataset(where, decode="cf")
    np.save(tmp_path / "t.npy", ds[:].numpy().view("M8[ns]"))
    plain = NumpyDataset(tmp_path / "t.npy", dtype=torch.int64)
    for each in (ds, ds + ds, ds.windows(5), plain):
        found = each.statistics()[0]
        times = 2 if len(each) == 10 else 1
        assert (found.count.sum(), found.missing.sum()) == (3 * times, 2 * times)
        assert found.mean.item() == pytest.approx(13 * 3600e9, rel=1e-12)
        assert (found.min.item(), found.max.item()) == (0, 36 * 3600e9)


@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_durations_that_xarray_marked_are_nanoseconds(tmp_path: Path, dtype: str) -> None:
    marks = {"units": "hours", "dtype": "timedelta64[ns]"}
    where = write(tmp_path / "0.nc", np.array([0, 1, 36], dtype), **marks)
    other = write(tmp_path / "1.nc", np.array([1], dtype), **{**marks, "units": "days"})
    hour = 3600 * 10**9
    assert NumpyDataset(where, decode="cf")[:].tolist() == [0, hour, 36 * hour]
    assert "durations in hours" in str(NumpyDataset(where).describe())
    with pytest.raises(FieldError, match="durations in hours; from row 3 on: durations in days"):
        npdata.concatenate([where, other])
    both = npdata.concatenate([where, other], decode="cf")
    assert both[:].tolist() == [0, hour, 36 * hour, 24 * hour]
    lone = write(tmp_path / "2.nc", np.array([5], dtype), units="hours")
    assert NumpyDataset(lone, decode="cf")[0] == 5


def test_truth_values_that_xarray_marked_are_bool(tmp_path: Path) -> None:
    where = write(tmp_path / "a.nc", np.array([0, 1, 1], np.int8), dtype="bool")
    assert NumpyDataset(where, decode="cf")[:].tolist() == [False, True, True]
    assert NumpyDataset(where)[:].dtype == torch.int8


def test_times_and_numbers_are_not_mixed(tmp_path: Path) -> None:
    time = write(tmp_path / "0.nc", [0], units="days since 2000-01-01")
    lone = write(tmp_path / "1.nc", [0], units="days", dtype="timedelta64[ns]")
    plain = write(tmp_path / "2.nc", [0])
    for pair in itertools.combinations([time, lone, plain], 2):
        with pytest.raises(FieldError, match=r"some rows of .* are .*, others"):
            npdata.concatenate(list(pair), decode="cf")


@given(st.integers(1600, 2200), st.integers(1, 12), st.integers(1, 28), st.integers(0, 10**5))
def test_days_are_numpys(year: int, month: int, day: int, count: int) -> None:
    since = f"days since {year}-{month}-{day} 06:00"
    out = np.empty(1, np.int64)
    start = np.datetime64(f"{year:04}-{month:02}-{day:02}T06")
    wanted = start + np.timedelta64(count * 24, "h")
    packing = Packing.of({"units": since}, np.dtype("i4"))
    assert packing is not None
    if not np.datetime64("1678") < wanted < np.datetime64("2262"):
        return
    unpack(packing, np.array([count], np.int32), out)
    assert out[0] == wanted.astype("M8[ns]").astype("i8")


@pytest.mark.parametrize(
    "attributes",
    [
        {"calendar": "noleap"},
        {"units": "months since 2000-01-01"},
        {"units": "days since 2001-02-29"},
        {"units": "days since 2001-13-01"},
        {"units": "days since 2001-01-01 25:00"},
        {"units": "days since 2001-01-01 12:60"},
        {"units": "days since 2001-01-01 12:00:60"},
    ],
    ids=str,
)
def test_times_that_numpy_has_not_are_refused_with_a_way_out(
    tmp_path: Path, attributes: dict[str, str]
) -> None:
    where = write(tmp_path / "a.nc", [1], **({"units": "days since 2000-01-01"} | attributes))
    with pytest.raises(FieldError, match="leave this field out of decode="):
        NumpyDataset(t=where, x=np.zeros(1), decode="cf")
    assert NumpyDataset(t=where, x=np.zeros(1), decode={"x": "cf"})[0]["t"] == 1


def test_a_time_outside_of_int64_is_refused(tmp_path: Path) -> None:
    where = write(tmp_path / "a.nc", [10**6], units="days since 2000-01-01")
    with pytest.raises(FormatError, match="1000000 in 'days since 2000-01-01' is outside"):
        NumpyDataset(where, decode="cf")[0]


def test_attributes_that_make_no_sense_are_named_when_decoding_is_asked_for(tmp_path: Path) -> None:
    where = write(tmp_path / "a.nc", [1], scale_factor="a lot")
    assert NumpyDataset(where)[0] == 1
    with pytest.raises(FormatError, match="a number was expected"):
        NumpyDataset(where, decode="cf")


def test_each_file_is_decoded_by_its_own_attributes(tmp_path: Path) -> None:
    files = three_scales(tmp_path)
    for ds in (
        npdata.concatenate(files, decode="cf"),
        npdata.stack(files, decode="cf"),
        NumpyDataset.from_hdf5(f"{tmp_path}/*.nc", "t", decode="cf"),
        NumpyDataset(files[0], decode="cf")
        + NumpyDataset(files[1], decode="cf")
        + NumpyDataset(files[2], decode="cf"),
    ):
        np.testing.assert_allclose(ds[:].numpy().ravel(), [279.8, 285.2, 290.0], atol=0.002)
        np.testing.assert_allclose(
            ds[[2, 0, 2, 1]].numpy().ravel(), [290, 279.8, 290, 285.2], atol=0.002
        )


def test_files_that_are_packed_in_different_ways_are_refused_without_decode(tmp_path: Path) -> None:
    files = three_scales(tmp_path)
    with pytest.raises(FieldError, match=r'packed in different ways .*decode="cf"'):
        npdata.concatenate(files)
    with pytest.raises(FieldError, match="packed in different ways"):
        npdata.stack(files)
    with pytest.raises(FieldError, match="packed in different ways"):
        NumpyDataset.from_hdf5(f"{tmp_path}/*.nc", "t")
    with pytest.raises(FieldError, match="packed in different ways"):
        NumpyDataset(files[0]) + NumpyDataset(files[1])
    first, second = (pickle.loads(pickle.dumps(NumpyDataset(file))) for file in files[:2])
    with pytest.raises(FieldError, match="packed in different ways"):
        first + second
    with pytest.raises(FormatError, match="packed in another way"):
        npdata.stack(files, check="first use")[1]


def test_times_that_count_from_different_days_are_refused_without_decode(tmp_path: Path) -> None:
    files = [
        write(tmp_path / f"{year}.nc", [0, 1], units=f"days since {year}-01-01")
        for year in (2000, 2001)
    ]
    with pytest.raises(FieldError, match="times in days since 2001"):
        npdata.concatenate(files)
    days = npdata.concatenate(files, decode="cf")[:].numpy().view("M8[ns]").astype("M8[D]")
    assert days.astype(str).tolist() == ["2000-01-01", "2000-01-02", "2001-01-01", "2001-01-02"]


def test_groups_are_decoded_each_by_its_own_attributes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "g.h5", "w") as file:
        for k, scale in enumerate((0.5, 2.0)):
            dataset = file.create_dataset(f"run{k}/t", data=np.arange(3, dtype="i2"))
            dataset.attrs["scale_factor"] = scale
    where = f"{tmp_path}/g.h5::*/t"
    assert NumpyDataset(where, decode="cf")[:].tolist() == [0, 0.5, 1, 0, 2, 4]
    with pytest.raises(FieldError, match="packed in different ways"):
        NumpyDataset(where)


@pytest.mark.slow
@pytest.mark.parametrize("storage", [{}, {"chunks": True}, {"chunks": True, "compression": 4}])
def test_workers_windows_and_statistics_see_decoded_values(
    tmp_path: Path, storage: dict[str, Any]
) -> None:
    stored = np.arange(40, dtype=">i2").reshape(20, 2)
    with h5py.File(tmp_path / "a.nc", "w") as file:
        options = storage | ({"chunks": (4, 2)} if "chunks" in storage else {})
        dataset = file.create_dataset("t", data=stored, **options)
        dataset.attrs["scale_factor"] = np.float32(0.5)
    ds = NumpyDataset(f"{tmp_path}/a.nc::t", decode="cf")
    wanted = stored.astype("f4") * np.float32(0.5)
    loader = DataLoader(
        ds, 8, num_workers=1, collate_fn=npdata.collate, multiprocessing_context="forkserver"
    )
    np.testing.assert_array_equal(np.concatenate([b.numpy() for b in loader]), wanted)
    assert [b.shape for b in npdata.Loader(ds, 8)] == [(8, 2), (8, 2), (4, 2)]
    np.testing.assert_array_equal(ds.windows(3)[4].numpy(), wanted[4:7])
    assert ds.statistics()[0].mean == wanted.mean(dtype="f8")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ds))[[3, 1]].numpy(), wanted[[3, 1]])


@pytest.mark.parametrize("factor", [0.01, 0.5])
def test_each_file_is_decoded_in_the_precision_of_its_own_factors(
    tmp_path: Path, factor: float
) -> None:
    stored = np.arange(20, dtype=np.int32) + 2**30
    files = [
        write(tmp_path / f"{dtype.__name__}.nc", stored, scale_factor=dtype(factor))
        for dtype in (np.float32, np.float64)
    ]
    together = npdata.concatenate(files, decode="cf")[:].numpy()
    apart = [NumpyDataset(file, decode="cf")[:].numpy() for file in files]
    assert together.tobytes() == np.concatenate(apart).tobytes()


def test_the_packing_is_shown_with_and_without_decode(tmp_path: Path) -> None:
    where = write(tmp_path / "a.nc", np.array([0], np.int16), **PACKED)
    stored, decoded = (str(NumpyDataset(where, decode=d).describe()) for d in (None, "cf"))
    assert "scale_factor 0.01, add_offset 273.15, missing -999; numbers are as stored" in stored
    assert "cf: scale_factor 0.01, add_offset 273.15, missing -999" in decoded
    assert "as stored" not in decoded


def test_a_source_that_was_handed_over_stays_open(tmp_path: Path) -> None:
    source = npdata.open_source(write(tmp_path / "a.nc", np.array([1], np.int16), **PACKED))
    NumpyDataset(source, decode="cf").close()
    for handed in (source, pickle.loads(pickle.dumps(source))):
        assert NumpyDataset(handed, decode="cf")[0] == 1 * 0.01 + 273.15


def test_what_is_not_packed_stays_as_it_is() -> None:
    assert NumpyDataset(np.arange(3), decode="cf")[1] == 1
    with pytest.raises(FieldError, match="expected 'cf'"):
        NumpyDataset(np.arange(3), decode="CF")


DTYPES = ("i1", "i2", "i4", "u1", "u2", "i8", "f4", "f8")
FACTORS = (None, np.float32(0.01), np.float64(0.01))
OFFSETS = (None, np.float32(2.5), np.float64(270))


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_dtypes_are_those_of_xarray(tmp_path: Path, engine: str, dtype: str) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4" if engine == "netcdf4" else "h5netcdf")
    rng = np.random.default_rng(0)
    number = np.dtype(dtype).type
    variables = {}
    combinations = itertools.product(FACTORS, OFFSETS, (None, 99), (None, "true", "false"))
    for k, (scale, offset, fill, unsigned) in enumerate(combinations):
        # xarray compares large unsigned integers with the missing one as floats.
        values = rng.integers(-100 if np.dtype(dtype).itemsize < 4 else 0, 127, (9, 3))
        attributes = {
            "scale_factor": scale,
            "add_offset": offset,
            "_FillValue": None if fill is None else number(fill),
            "_Unsigned": None if dtype[0] == "f" else unsigned,
        }
        kept = {name: value for name, value in attributes.items() if value is not None}
        values[2, 1] = 99
        variables[f"v{k}"] = (("x", "y"), values.astype(dtype), kept)
    xr.Dataset(variables).to_netcdf(tmp_path / "a.nc", engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with xr.open_dataset(tmp_path / "a.nc", engine=engine) as opened:
            wanted = {name: opened[name].values for name in variables}
    ds = NumpyDataset.from_hdf5(tmp_path / "a.nc", **{n: n for n in variables}, decode="cf")
    for name, values in ds[:].items():
        assert values.numpy().dtype == wanted[name].dtype, variables[name][2]
        np.testing.assert_array_equal(values.numpy(), wanted[name], str(variables[name][2]))


def test_durations_and_truth_values_are_those_of_xarray(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    hours = np.array([1, 36, "NaT"], "timedelta64[h]").astype("timedelta64[ns]")
    written = xr.Dataset({"lead": ("x", hours), "land": ("x", [True, False, True])})
    written.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    ds = NumpyDataset.from_hdf5(tmp_path / "a.nc", "lead", "land", decode="cf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as opened:
        np.testing.assert_array_equal(ds[:][0], opened.lead.values.astype("m8[ns]").astype("i8"))
        np.testing.assert_array_equal(ds[:][1], opened.land.values)
    assert ds.dtypes == {0: torch.int64, 1: torch.bool}


@pytest.mark.parametrize("dtype", ["i4", "i8", "f4", "f8"])
@pytest.mark.parametrize(
    "units, first",
    [
        ("days since 2000-01-01", 1000),
        ("hours since 1900-01-01 00:00:0.0", 900_000),
        ("seconds since 1970-01-01T00:00:00Z", 10**8),
        ("days since 1-1-1 00:00:0.0", 730_000),
        ("minutes since 1999-12-31 12:30:15.25 +05:30", 10**6),
        ("milliseconds since 2001-02-03 04:05", 10**6),
    ],
)
@pytest.mark.parametrize("calendar", [None, "standard", "proleptic_gregorian"])
def test_times_are_those_of_xarray(
    tmp_path: Path, dtype: str, units: str, first: int, calendar: str | None
) -> None:
    xr, nc = pytest.importorskip("xarray"), pytest.importorskip("netCDF4")
    with nc.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("x", 10)
        times = file.createVariable("time", dtype, ("x",))
        times[:] = np.arange(10) * 7 + first + (0.25 if dtype[0] == "f" else 0)
        times.units = units
        if calendar is not None:
            times.calendar = calendar
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with xr.open_dataset(tmp_path / "a.nc") as opened:
            wanted = opened.time.values.astype("M8[ns]").astype("i8")
    got = NumpyDataset(f"{tmp_path}/a.nc::time", decode="cf")[:].numpy()
    np.testing.assert_array_equal(got, wanted)


def test_valid_ranges_are_those_of_netcdf4(tmp_path: Path) -> None:
    nc = pytest.importorskip("netCDF4")
    with nc.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("x", 200)
        variable = file.createVariable("t", "i1", ("x",), fill_value=-5)
        variable.set_auto_maskandscale(False)
        variable.valid_range = np.array([-50, 60], np.int8)
        variable.scale_factor = 0.5
        variable[:] = np.arange(-100, 100)
        variable.set_auto_maskandscale(True)
        wanted = variable[:].filled(np.nan)
    got = NumpyDataset(f"{tmp_path}/a.nc::t", decode="cf")[:].numpy()
    np.testing.assert_array_equal(got, wanted)


def test_time_series_of_nwb_are_in_their_unit(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    made = datetime(2020, 1, 1, tzinfo=UTC)
    session = pynwb.NWBFile(session_description="one", identifier="1", session_start_time=made)
    series = pynwb.TimeSeries(
        name="force",
        data=np.arange(20, dtype="i2").reshape(10, 2),
        unit="newton",
        conversion=0.25,
        offset=1.5,
        timestamps=np.arange(10) / 10,
    )
    session.add_acquisition(series)
    with pynwb.NWBHDF5IO(tmp_path / "s.nwb", "w") as io:
        io.write(session)
    with pynwb.NWBHDF5IO(tmp_path / "s.nwb", "r") as io:
        wanted = io.read().acquisition["force"].get_data_in_units()
    at = f"{tmp_path}/s.nwb::acquisition/force"
    ds = NumpyDataset(x=f"{at}/data", t=f"{at}/timestamps", decode={"x": "nwb"})
    got = ds[:]
    assert got["x"].numpy().dtype == wanted.dtype
    np.testing.assert_array_equal(got["x"].numpy(), wanted)
    assert got["t"].tolist() == (np.arange(10) / 10).tolist()


def series(folder: Path, name: str, conversion: float, **beside: Any) -> str:
    with h5py.File(folder / f"{name}.nwb", "w") as file:
        file["s/data"] = np.arange(4, dtype="i2")
        file["s/data"].attrs["conversion"] = conversion
        file["s/data"].attrs["offset"] = 0.0
        for key, value in beside.items():
            file[f"s/{key}"] = value
    return f"{folder}/{name}.nwb::s/data"


def test_a_conversion_is_shown_and_never_mixed(tmp_path: Path) -> None:
    files = [series(tmp_path, f"s{k}", conversion) for k, conversion in enumerate((0.5, 2.0))]
    shown = 'scale_factor 0.5; numbers are as stored, decode="nwb" decodes them'
    assert shown in str(NumpyDataset(files[0]).describe())
    with pytest.raises(FieldError, match=r'packed in different ways.*decode="nwb" gives'):
        npdata.concatenate(files)
    assert npdata.concatenate(files, decode="nwb")[:].tolist() == [0, 0.5, 1, 1.5, 0, 2, 4, 6]
    with pytest.raises(FieldError, match="packed by the convention 'nwb', and 'cf' was asked"):
        NumpyDataset(files[0], decode="cf")
    assert NumpyDataset(series(tmp_path, "one", 1.0), decode="nwb")[3].dtype == torch.int16


def test_factors_for_each_channel_are_not_left_out_silently(tmp_path: Path) -> None:
    where = series(tmp_path, "c", 0.5, channel_conversion=np.ones(4))
    with pytest.raises(FormatError, match="channel_conversion"):
        NumpyDataset(where, decode="nwb")
    told = str(NumpyDataset(where).describe())
    assert 'decode="nwb" is refused: channel_conversion' in told
    assert "decodes" not in told
