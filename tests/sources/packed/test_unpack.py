"""Numbers decoded as tensors are those that NumPy decodes, to the bit."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import npdata
from npdata import NumpyDataset
from npdata.arrays.convert import as_tensor
from npdata.loading.finish_on_device import sent_as_stored
from npdata.sources.base import Source
from npdata.sources.memory import array_source
from npdata.sources.packed.decode import UnpackedSource
from npdata.sources.packed.packing import Packing, Packings
from npdata.sources.packed.unpack import TensorDecoder, unpack

CPU = torch.device("cpu")
STORED = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
NUMBERS = st.one_of(
    st.integers(-(1 << 15), 1 << 16), st.sampled_from([0, -1, 255, 1 << 31, 0.5, -9999.0, 1e20])
)
FACTORS = st.builds(
    lambda value, dtype: np.dtype(dtype).type(value),
    st.sampled_from([0.5, 3.0])
    | st.floats(-1e3, 1e3, allow_nan=False).filter(lambda value: abs(value) > 1e-3),
    st.sampled_from(["f4", "f8"]),
)

ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "scale_factor": FACTORS,
        "add_offset": FACTORS,
        "_FillValue": NUMBERS,
        "missing_value": st.lists(NUMBERS, min_size=1, max_size=2),
        "valid_min": NUMBERS,
        "valid_max": NUMBERS,
        "_Unsigned": st.sampled_from(["true", "false"]),
    },
)


@settings(max_examples=150)
@given(
    dtype=st.sampled_from(STORED),
    attributes=ATTRIBUTES,
    seed=st.integers(0, 1000),
)
@example(dtype="f4", attributes={"_FillValue": np.nan, "scale_factor": np.float64(0.1)}, seed=0)
@example(dtype="f4", attributes={"_FillValue": np.nan, "add_offset": np.float64(0.1)}, seed=0)
@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_results_are_those_of_numpy(dtype: str, attributes: dict[str, Any], seed: int) -> None:
    packing = Packing.of(attributes, np.dtype(dtype))
    if packing is None or packing.fault or not TensorDecoder.can(packing, np.dtype(dtype)):
        return
    rng = np.random.default_rng(seed)
    raw = np.frombuffer(rng.bytes(64 * np.dtype(dtype).itemsize), dtype).copy()
    ends = [value for value in (*packing.missing, packing.low, packing.high) if value is not None]
    meant = raw.view(packing.meant(raw.dtype))
    for place, value in enumerate(ends):
        if meant.dtype.kind == "f" or (
            np.iinfo(meant.dtype).min <= value <= np.iinfo(meant.dtype).max
        ):
            meant[place] = value
    expected = np.empty(raw.shape, packing.result(raw.dtype))
    unpack(packing, raw, expected)
    decoder = TensorDecoder(packing=packing, stored=raw.dtype, cast=None)
    ours = decoder(as_tensor(raw, copy=True)).numpy()
    assert ours.dtype == expected.dtype
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(expected))
    real = ~np.isnan(expected)
    assert ours[real].tobytes() == expected[real].tobytes()


@settings(max_examples=100)
@given(
    dtype=st.sampled_from(STORED),
    parts=st.lists(ATTRIBUTES, min_size=1, max_size=3),
    seed=st.integers(0, 1000),
)
@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_rows_of_several_packings_are_those_that_each_gives_alone(
    dtype: str, parts: list[dict[str, Any]], seed: int
) -> None:
    packings = [Packing.of(attributes, np.dtype(dtype)) for attributes in parts]
    assume(not any(packing and packing.fault for packing in packings))
    rng = np.random.default_rng(seed)
    stored = np.frombuffer(rng.bytes(len(parts) * 24 * np.dtype(dtype).itemsize), dtype)
    rows = array_source(stored.reshape(-1, 4))
    joined = Packings.of_parts(packings, np.arange(0, len(rows), 6))
    assume(joined.kinds != (None,))
    alone = []
    for k, packing in enumerate(packings):
        part = array_source(stored.reshape(-1, 4)[6 * k : 6 * k + 6])
        source = UnpackedSource(part, Packings.one(packing)) if packing else part
        alone.append(read(source, np.arange(6)))
    expected = np.concatenate(alone)
    order = rng.integers(0, len(rows), 30)
    np.testing.assert_array_equal(read(UnpackedSource(rows, joined), order), expected[order])


def read(source: Source, rows: NDArray[np.int64]) -> NDArray[Any]:
    out = np.empty((len(rows), *source.shape[1:]), source.dtype)
    source.read(rows, out)
    return out


def test_what_torch_does_otherwise_is_left_to_numpy() -> None:
    for packing, dtype in [
        (Packing(since="days since 2000-01-01"), "i4"),
        (Packing(scale=np.float64(2)), "u8"),
        (Packing(unsigned=True), "i2"),
        (Packing(scale=np.longdouble(2)), "i2"),
    ]:
        assert not TensorDecoder.can(packing, np.dtype(dtype))
    assert TensorDecoder.can(Packing(scale=np.float64(2)), np.dtype("i2"))


def write(path: Path, values: Any, **attributes: Any) -> str:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("t", data=values, chunks=(8, *values.shape[1:]))
        for name, value in attributes.items():
            dataset.attrs[name] = value
    return f"{path}::t"


@pytest.fixture
def packed(tmp_path: Path) -> str:
    values = np.arange(90, dtype=">i2").reshape(30, 3)
    return write(tmp_path / "a.nc", values, scale_factor=0.01, add_offset=273.15, _FillValue=7)


class TestSent:
    def test_rows_are_sent_as_they_are_stored(self, packed: str) -> None:
        for options in ({}, {"dtype": {"t": torch.float32}}):
            ds = NumpyDataset(t=packed, y=np.arange(30), decode={"t": "cf"}, **options)
            sent, finish = sent_as_stored(ds, CPU)
            rows = [4, 2, 2, 29]
            stored = npdata.collate(sent.__getitems__(rows))
            assert stored["t"].dtype == torch.int16
            made, expected = finish(stored), npdata.collate(ds.__getitems__(rows))
            assert made["t"].dtype == expected["t"].dtype
            assert torch.equal(made["t"].nan_to_num(-1), expected["t"].nan_to_num(-1))
            assert torch.equal(made["y"], expected["y"])

    def test_then_they_are_normalized(self, packed: str) -> None:
        plain = NumpyDataset(packed, decode="cf")
        function = npdata.normalize(plain.statistics())
        ds = NumpyDataset(packed, decode="cf", batch_transform=function)
        sent, finish = sent_as_stored(ds, CPU)
        made = finish(npdata.collate(sent.__getitems__([1, 2, 3])))
        assert torch.equal(made.nan_to_num(-9), ds[[1, 2, 3]].nan_to_num(-9))

    def test_what_a_function_or_a_window_sees_is_decoded_before(self, packed: str) -> None:
        plain = NumpyDataset(packed, decode="cf")
        for ds in (
            NumpyDataset(packed, decode="cf", transform=torch.clone),
            NumpyDataset(packed, decode="cf", batch_transform=torch.clone),
            plain.windows(2),
        ):
            assert sent_as_stored(ds, CPU) == (ds, None)


@pytest.mark.parametrize("units", ["days since 1970-01-01", "ns since 1970-01-01"])
@pytest.mark.parametrize("time", [2**63, 2**64 - 1])
def test_unsigned_times_beyond_int64_do_not_wrap_around(units: str, time: int) -> None:
    raw, out = np.array([1, time], np.uint64), np.empty(2, np.int64)
    with pytest.raises(ValueError, match=rf"^{time} in '{units}' is outside the years"):
        unpack(Packing(since=units), raw, out)
    unpack(Packing(since=units, missing=(np.uint64(time),)), raw, out)
    assert out[0] > 0
    assert np.isnat(out.view("M8[ns]")).tolist() == [False, True]
