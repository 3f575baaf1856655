"""Rows come through every conversion bit by bit: NumPy and h5py read what was written."""

import tempfile
from pathlib import Path

import h5py
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from conversions import assert_same, convert, load
from hypothesis import given
from hypothesis import strategies as st

import npdata
from npdata.sources.hdf5.catalog import list_datasets

DTYPES = [
    np.dtype(name)
    for name in ("bool", "i1", "u2", ">i4", "i8", ">u8", "f2", "f4", ">f8", "c8", "c16", "S5")
] + [
    np.dtype([("a", "i2"), ("b", ">f8")]),
    np.dtype([("a", "i1"), ("b", "f8")], align=True),
    np.dtype([("a", "f4", (3,)), ("b", [("c", "S2"), ("d", "bool")])]),
]
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=9)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(SHAPES)
    count = int(np.prod(shape)) * dtype.itemsize
    seed = draw(st.integers(0, 1 << 32))
    raw = np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8)
    array = np.frombuffer(raw.tobytes(), dtype).reshape(shape).copy()
    _make_bools(array)
    return np.asfortranarray(array) if draw(st.booleans()) else array


def _make_bools(array: np.ndarray) -> None:
    if array.dtype == bool:
        array.view(np.uint8)[...] &= 1
    for name in array.dtype.names or ():
        _make_bools(array[name])


@given(array=arrays(), data=st.data())
def test_every_format_gives_back_the_rows_of_the_one_before(
    array: np.ndarray, data: st.DataObject
) -> None:
    sizes = [st.integers(1, max(1, size) + 2) for size in array.shape]
    chunks = data.draw(
        st.one_of(st.sampled_from(["auto", "none", "1", "3"]), st.tuples(*sizes).map(_comma))
    )
    pack = data.draw(st.sampled_from(["none", "gzip", "gzip:1"]))
    pack = "none" if chunks == "none" else pack
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", array)
        h5, npz = folder / "a.h5", folder / "b.npz"
        assert convert(folder / "x.npy", h5, "--chunks", chunks, "--compression", pack) == 0
        assert_same(load(h5, "x", array), array)
        assert convert(h5, npz, "--compression", pack, "--verify") == 0
        assert_same(load(npz, "x", array), array)
        assert convert(npz, folder / "c.bin", "--verify") == 0
        assert_same(load(folder / "c.bin", "x", array), array)
        assert convert(f"{npz}::x", folder / "d.npy", "--verify") == 0
        assert_same(load(folder / "d.npy", "x", array), array)


def _comma(sizes: tuple[int, ...]) -> str:
    return ",".join(map(str, sizes))


def test_a_raw_file_needs_what_it_holds(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.integers(0, 1 << 16, (50, 3, 2), dtype=np.uint16).astype(">u2")
    (tmp_path / "x.bin").write_bytes(b"head" + x.tobytes())
    how = ("--dtype", ">u2", "--shape=-1,3,2", "--offset", 4, "--verify")
    for name in ("x.npy", "x.h5", "x.npz"):
        assert convert(tmp_path / "x.bin", tmp_path / name, *how) == 0
        assert_same(load(tmp_path / name, "x", x), x)


def test_several_sources_make_one_file(tmp_path: Path, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((70, 5)), rng.integers(0, 10, 70)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "more.npz", **{"part/y": y, "z": x[:3]})
    assert convert(tmp_path / "x.npy", tmp_path / "more.npz", tmp_path / "all.h5") == 0
    with h5py.File(tmp_path / "all.h5") as file:
        assert_same(file["x"][...], x)
        assert_same(file["part/y"][...], y)
        assert_same(file["z"][...], x[:3])
    assert convert(tmp_path / "all.h5::part", tmp_path / "part.npz") == 0
    with np.load(tmp_path / "part.npz") as archive:
        assert archive.files == ["part/y"]


@pytest.mark.parametrize(
    "chunks, pack",
    [("64", "gzip"), ("50,7,4", "gzip:1"), ("50,7,4", "none"), ("none", "none")],
)
def test_rows_cross_many_blocks_and_tiles(
    tmp_path: Path, rng: np.random.Generator, chunks: str, pack: str
) -> None:
    x = rng.integers(0, 9, (30_000, 10, 8)).astype(np.float64)
    np.save(tmp_path / "x.npy", x)
    how = ("--chunks", chunks, "--compression", pack, "--verify")
    assert convert(tmp_path / "x.npy", tmp_path / "x.h5", *how) == 0
    assert_same(load(tmp_path / "x.h5", "x", x), x)
    assert convert(tmp_path / "x.h5", tmp_path / "back.npy", "--verify") == 0
    assert (tmp_path / "back.npy").read_bytes() == (tmp_path / "x.npy").read_bytes()


def test_what_is_written_is_read_past_h5py(tmp_path: Path, rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (3000, 1000), dtype=np.uint8)
    np.save(tmp_path / "x.npy", noise)
    for name, how, kind in (
        ("packed", ("--compression", "gzip"), "decoded"),
        ("chunked", (), "mapped"),
        ("piece", ("--chunks", "none"), "mapped"),
    ):
        assert convert(tmp_path / "x.npy", tmp_path / f"{name}.h5", *how) == 0
        source = npdata.open_source(f"{tmp_path}/{name}.h5::x")
        assert source.access.kind == kind, source.access
        (listed,) = list_datasets(f"{tmp_path}/{name}.h5").datasets
        assert listed.examined is not None
        chunk_shape = listed.examined.layout.chunk_shape
        assert chunk_shape == (None if name == "piece" else (1048, 1000))


def test_uncompressed_rows_are_aligned_so_that_samples_are_views(tmp_path: Path) -> None:
    x = np.arange(30, dtype=np.float64).reshape(10, 3)
    np.save(tmp_path / "odd_name.npy", x)
    assert convert(tmp_path / "odd_name.npy", tmp_path / "x.npz") == 0
    assert convert(tmp_path / "odd_name.npy", tmp_path / "x.h5", "--chunks", "none") == 0
    for name in ("x.npz", "x.h5"):
        table = npdata.open_source(f"{tmp_path}/{name}::odd_name").table
        assert table is not None
        assert table.array.ctypes.data % 64 == 0
