"""Every codec: what it undoes bit by bit, and how it takes damaged, short and overlong data."""

import bz2
import contextlib
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import HANG

from npdata import NumpyDataset, errors, open_source
from npdata.sources.hdf5.codecs import deflate
from npdata.sources.hdf5.codecs.base import UndoFilter
from npdata.sources.hdf5.codecs.fletcher32 import checksum
from npdata.sources.hdf5.codecs.packages import optional
from npdata.sources.hdf5.codecs.pipeline import DECODERS, decode_chunk
from npdata.sources.hdf5.codecs.shuffle import SMALL, unshuffle
from npdata.sources.hdf5.examine.creation_properties import Filter

hdf5plugin = pytest.importorskip("hdf5plugin")
pytest.importorskip("numcodecs")

DATA = {
    "smooth": np.cumsum(np.ones((51, 33)), axis=0),
    "noise": np.random.default_rng(0).standard_normal((51, 33)),
    "zeros": np.zeros((51, 33)),
}
PLUGINS = {
    "zstd": hdf5plugin.Zstd(),
    "lz4": hdf5plugin.LZ4(),
    "lz4, small blocks": hdf5plugin.LZ4(nbytes=512),
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle + lz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bitshuffle + zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "bitshuffle, small blocks": hdf5plugin.Bitshuffle(nelems=16, cname="lz4"),
} | {
    f"blosc {name}, shuffle {shuffle}": hdf5plugin.Blosc(cname=name, shuffle=shuffle)
    for name in ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
    for shuffle in (0, 1, 2)
}


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "u1", "c16"])
@pytest.mark.parametrize("plugin", PLUGINS)
def test_what_the_plugin_wrote_is_read_bit_by_bit(tmp_path: Path, plugin: str, dtype: str) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        for name, data in DATA.items():
            rows = data.astype(dtype)
            file.create_dataset(name, data=rows, chunks=(17, 11), **PLUGINS[plugin])
            file.create_dataset(
                f"{name} more",
                data=rows,
                chunks=(17, 11),
                shuffle=True,
                fletcher32=True,
                **PLUGINS[plugin],
            )
    for name, data in DATA.items():
        for each in (name, f"{name} more"):
            source = open_source(f"{path}::{each}")
            assert source.access.kind == "decoded", source.access
            out = np.empty(data.shape, dtype)
            source.read(np.arange(51), out)
            assert out.tobytes() == data.astype(dtype).tobytes()


@pytest.mark.parametrize(
    "plugin",
    [
        hdf5plugin.Blosc2(),
        hdf5plugin.Blosc(cname="snappy"),
        hdf5plugin.BZip2(),
        hdf5plugin.Zfp(),
    ],
)
def test_other_filters_go_through_h5py(tmp_path: Path, plugin: dict) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", data=DATA["smooth"], chunks=(17, 11), **plugin)
        expected = file["x"][...]
    source = open_source(f"{tmp_path / 'd.h5'}::x")
    assert source.access.kind == "library"
    assert "does not know its filter" in source.access.reason
    out = np.empty_like(expected)
    source.read(np.arange(51), out)
    assert (out == expected).all()


def test_a_filter_that_nobody_has_says_what_to_install(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4,))
        properties.set_filter(301, h5py.h5z.FLAG_OPTIONAL)
        made = h5py.h5d.create(
            file.id, b"x", h5py.h5t.STD_U8LE, h5py.h5s.create_simple((4,)), properties
        )
        made.write_direct_chunk((0,), bz2.compress(b"abcd"))
    with pytest.raises(errors.FormatError, match=r"filter 301 .*pip install hdf5plugin"):
        NumpyDataset.from_hdf5(tmp_path / "d.h5", "x")


WITHOUT = """
import sys
for name in ("isal", "isal.igzip_lib", "deflate", "numcodecs"):
    sys.modules[name] = None
import numpy as np, npdata
for name, kind in (("gzip", "decoded"), ("zstd", "library")):
    source = npdata.open_source(f"{sys.argv[1]}::{name}")
    assert source.access.kind == kind, source.access
    print(source.access.reason, dict(source.details).get("decoder"))
source = npdata.open_source(f"{sys.argv[1]}::gzip")
out = np.empty((51, 33)); source.read(np.arange(51), out); print(out.sum())
"""


def test_without_the_extra_packages(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("gzip", data=DATA["smooth"], chunks=(17, 11), compression=4)
        file.create_dataset("zstd", data=DATA["smooth"], chunks=(17, 11), **PLUGINS["zstd"])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path / "d.h5")],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert "deflate by zlib" in done.stdout
    assert (
        "its filter zstd needs the package numcodecs: pip install 'npdata[codecs]'" in done.stdout
    )
    assert str(DATA["smooth"].sum()) in done.stdout


@given(st.binary(max_size=300), st.integers(0, 9))
def test_unshuffle_undoes_shuffle(data: bytes, size: int) -> None:
    count = len(data) // size if size else 0
    shuffled = np.frombuffer(data, np.uint8)
    if size > 1:
        whole = shuffled[: count * size].reshape(count, size).T.reshape(-1)
        shuffled = np.concatenate([whole, shuffled[count * size :]])
    into = np.empty(len(data), np.uint8)
    for target in (None, into):
        assert bytes(unshuffle(shuffled, (size,), len(data), target)) == data


@pytest.mark.parametrize("size", [2, 3, 4, 7, 8, 16, 100])
@pytest.mark.parametrize("length", [SMALL - 1, SMALL, SMALL + 1, 3 * SMALL + 77])
def test_unshuffle_undoes_shuffle_of_large_chunks(size: int, length: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, length, dtype=np.uint8)
    whole = length // size * size
    shuffled = np.append(data[:whole].reshape(-1, size).T.reshape(-1), data[whole:])
    for into in (None, np.empty(length, np.uint8)):
        assert (unshuffle(shuffled.tobytes(), (size,), length, into) == data).all()


@given(st.binary(max_size=200_000 // 100))
def test_the_checksum_is_hdf5s(data: bytes) -> None:
    low = high = 0
    for k in range(0, len(data), 2):
        low = (low + (data[k] << 8 | (data[k + 1] if k + 1 < len(data) else 0))) % 65535
        high = (high + low) % 65535
    found = checksum(np.frombuffer(data, np.uint8))
    assert ((found & 0xFFFF) - low) % 65535 == ((found >> 16) - high) % 65535 == 0


def test_a_checksum_that_is_a_multiple_of_65535_is_not_taken_for_that_of_zeros(
    tmp_path: Path,
) -> None:
    # The last word counts once, the one before it twice: their sum is 65535 << 32.
    counted = np.arange(1 << 17, 0, -1)
    words = np.where((counted <= 92682) & (counted != 55607), 65535, 0).astype(">u2")
    data = words.view(np.uint8)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", data=data, chunks=data.shape, fletcher32=True)
    source = open_source(f"{tmp_path / 'd.h5'}::x")
    assert source.access.kind == "decoded"
    out = np.empty_like(data)
    source.read_run(0, out)
    assert (out == data).all()


@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=400), st.integers(0, 500))
def test_any_bytes_decode_or_are_a_value_error(code: int, data: bytes, raw: int) -> None:
    step = Filter(id=code, values=(0, 3, 4, 0, 2), name=DECODERS[code].name)
    guarded = np.full(raw + 64, 0xA5, np.uint8)
    with contextlib.suppress(ValueError):
        decode_chunk([step], 0, data, guarded[32 : 32 + raw])
    assert (guarded[:32] == 0xA5).all()
    assert (guarded[32 + raw :] == 0xA5).all()


@pytest.mark.parametrize("plugin", ["zstd", "lz4", "bitshuffle + lz4", "blosc lz4, shuffle 1"])
def test_damage_anywhere_is_an_error_or_changes_nothing_outside(
    tmp_path: Path, plugin: str
) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        x = file.create_dataset("x", data=DATA["smooth"], chunks=(51, 33), **PLUGINS[plugin])
        stored = x.id.read_direct_chunk((0, 0))[1]
        code, _, values, _ = x.id.get_create_plist().get_filter(0)
    step = Filter(id=code, values=tuple(values), name=plugin)
    rng = np.random.default_rng(0)
    out = np.empty(DATA["smooth"].nbytes, np.uint8)
    for cut in rng.integers(0, len(stored), 50):
        with pytest.raises(ValueError):
            decode_chunk([step], 0, stored[: int(cut)], out)
    for place in rng.integers(0, min(64, len(stored)), 200):
        damaged = bytearray(stored)
        damaged[place] ^= int(rng.integers(1, 256))
        with contextlib.suppress(ValueError):
            decode_chunk([step], 0, bytes(damaged), out)


INFLATES = [deflate.with_zlib, deflate.with_isal, deflate.with_libdeflate]


@pytest.mark.parametrize("inflate", INFLATES)
@pytest.mark.parametrize("size", [0, 1, 1000, 1 << 20])
def test_inflating_is_exact_and_bounded(inflate: UndoFilter, size: int) -> None:
    if inflate is not deflate.with_zlib:
        pytest.importorskip("isal" if inflate is deflate.with_isal else "deflate")
    data = np.random.default_rng(0).integers(0, 4, size, dtype=np.uint8).tobytes()
    stream = zlib.compress(data)
    assert bytes(inflate(stream, (), size, None)) == data
    assert bytes(inflate(stream + b"rest", (), size, None)) == data
    if size:
        with pytest.raises(ValueError, match=f"gives more than {size - 1} bytes"):
            inflate(stream, (), size - 1, None)
    with pytest.raises(ValueError, match=r"breaks off|damaged"):
        inflate(stream[: len(stream) // 2], (), size, None)
    with pytest.raises(ValueError, match=r"damaged|breaks off"):
        inflate(b"no stream at all", (), size, None)


def test_a_module_that_is_not_installed_is_none() -> None:
    assert optional("no_such_module") is None


def test_a_zstd_block_that_holds_fewer_bytes_than_declared_is_refused() -> None:
    numcodecs = pytest.importorskip("numcodecs")
    content = np.arange(512, dtype=np.uint8)
    for held, method in ((100, 3), (512, 3)):
        block = numcodecs.zstd.compress(content[:held].tobytes())
        data = struct.pack(">QI", 512, 512) + struct.pack(">I", len(block)) + block
        step = Filter(id=32008, values=(0, 2, 2, 0, method), name="bitshuffle")
        out = np.empty(512, np.uint8)
        if held == 512:
            decode_chunk([step], 0, data, out)
        else:
            with pytest.raises(ValueError, match="declares 100 bytes, not 512"):
                decode_chunk([step], 0, data, out)


@pytest.mark.skipif(sys.platform == "win32", reason="limits its memory")
def test_damaged_streams_give_the_rows_of_h5py_or_an_error() -> None:
    count = os.environ.get("NPDATA_CODEC_STREAMS", "150")
    seed = os.environ.get("NPDATA_FUZZ_SEED", "1")
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.codec_fuzz", count, seed],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    print(done.stdout)
