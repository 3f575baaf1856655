"""The ways in which reading HDF5 past h5py goes wrong silently, a test for each, by its number."""

import os
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5fuzz import dont_filter_partial_chunks, no_fill_value, same

from npdata import NumpyDataset, errors, open_source
from npdata.sources.base import Source
from npdata.sources.hdf5.codecs.fletcher32 import FLETCHER32, checksum
from npdata.sources.hdf5.codecs.pipeline import decode_chunk
from npdata.sources.hdf5.codecs.shuffle import SHUFFLE
from npdata.sources.hdf5.examine.creation_properties import Filter
from npdata.sources.hdf5.examine.decide import decide
from npdata.sources.hdf5.examine.layout import read_layout_named
from npdata.sources.hdf5.file import Hdf5Options
from npdata.sources.hdf5.open import open_hdf5

X = np.arange(60, dtype=np.float32).reshape(20, 3)

USER_BLOCK = "mapped" if h5py.version.hdf5_version_tuple >= (1, 14, 4) else "library"
with_fill_time = pytest.mark.skipif(
    h5py.version.version_tuple[:2] < (3, 12), reason="this h5py sets no fill time"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d.h5"


def rows(source: Source) -> np.ndarray:
    out = np.full((len(source), *source.shape[1:]), 0x5A, "u1").astype(source.dtype)
    source.read(np.arange(len(source)), out)
    return out


def opened(path: Path, name: str = "x") -> Source:
    """The source of a dataset, whose rows are checked against those of h5py."""
    source = open_source(f"{path}::{name}")
    with h5py.File(path) as file:
        assert same(rows(source), file[name][...])
    return source


def layout_of(path: Path, name: str = "x"):
    with h5py.File(path) as file:
        return read_layout_named(file, name)


@pytest.mark.parametrize("maxshape", [(4, None), (6, None)])
def test_trap_1_chunk_coordinates_are_wrong_where_only_a_later_axis_grows(
    path: Path, maxshape: tuple[int, None]
) -> None:
    data = np.arange(24).reshape(4, 6)
    with h5py.File(path, "w", libver="latest") as file:
        dataset = file.create_dataset("x", data=data, chunks=(2, 2), maxshape=maxshape)
        listed = {tuple(dataset.id.get_chunk_info(k).chunk_offset) for k in range(6)}
    print("HDF5 lists the chunks at", sorted(listed))
    source = opened(path)
    assert source.access.kind == "library"
    assert "axis 1 alone can grow" in source.access.reason


def test_trap_2_partial_chunks_may_be_stored_without_their_filters(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((8, 3))
        properties.set_deflate(4)
        if not dont_filter_partial_chunks(properties):
            pytest.skip("this HDF5 lets nobody set the option")
        space = h5py.h5s.create_simple((20, 3))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, properties)
        h5py.Dataset(made)[...] = X
    with h5py.File(path) as file:
        edge = file["x"].id.get_chunk_info(2)
        assert (edge.filter_mask, edge.size) == (0, 8 * 3 * 4)
    source = opened(path)
    assert source.access.kind == "library"
    assert "stored without its filters" in source.access.reason


@pytest.mark.parametrize("chunks", [None, (7, 3)])
def test_trap_3_a_user_block_shifts_offsets(path: Path, chunks: tuple[int, int] | None) -> None:
    with h5py.File(path, "w", userblock_size=2048) as file:
        file.create_dataset("x", data=X, chunks=chunks)
    assert opened(path).access.kind == USER_BLOCK


def test_trap_3_a_user_block_is_left_to_h5py_where_hdf5_is_wrong_about_it(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", data=X, chunks=(7, 3))
    layout = layout_of(path)
    assert decide(layout).kind == USER_BLOCK
    old = decide(replace(layout, file=replace(layout.file, hdf5_version=(1, 14, 3))))
    assert old.kind == "library"
    assert "user block, about which HDF5 1.14.3 is wrong" in old.reason


@pytest.mark.parametrize("options", [{}, {"chunks": (7, 3)}, {"compression": 1, "chunks": (7, 3)}])
def test_trap_4_offsets_belong_to_the_file_that_a_link_leads_to(
    tmp_path: Path, options: dict
) -> None:
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file["before"] = np.zeros(1000)
        file.create_dataset("deep/x", data=X, **options)
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["x"] = h5py.ExternalLink("far.h5", "deep/x")
    ds = NumpyDataset.from_hdf5(tmp_path / "near.h5", "x", allow_external=True, access="direct")
    assert (ds[:].numpy() == X).all()


@pytest.mark.parametrize("options", [{}, {"chunks": (7, 3)}, {"compression": 1, "chunks": (7, 3)}])
def test_trap_5_a_file_that_a_writer_cuts_to_nothing_is_an_error(path: Path, options: dict) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, **options)
    ds = NumpyDataset.from_hdf5(path, "x", access="direct")
    assert (ds[[3, 1]].numpy() == X[[3, 1]]).all()
    os.truncate(path, 0)
    for use in (lambda: ds[[3, 1]], lambda: ds[3], lambda: ds[:]):
        with pytest.raises(errors.ChangedFileError, match=r"had \d+ bytes and now has 0"):
            use()


class TestTrap6NoOffsetIsNotTheFillValue:
    @with_fill_time
    @pytest.mark.parametrize("fill_time", ["alloc", "never", "ifset"])
    @pytest.mark.parametrize("options", [{}, {"chunks": (7, 3)}])
    def test_never_written(self, path: Path, options: dict, fill_time: str) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("x", (20, 3), "f4", fillvalue=9, fill_time=fill_time, **options)
        opened(path)

    def test_compact(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple((20, 3))
            made = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, properties)
            h5py.Dataset(made)[...] = X
        assert opened(path).access.reason.endswith("its storage is compact")

    def test_external(self, path: Path) -> None:
        raw = path.with_suffix(".bin")
        X.tofile(raw)
        with h5py.File(path, "w") as file:
            file.create_dataset("x", X.shape, "f4", external=[(str(raw), 0, X.nbytes)])
        ds = NumpyDataset.from_hdf5(path, "x", allow_external=True)
        assert (ds[:].numpy() == X).all()
        assert "its storage is external" in ds.describe().fields[0].access_reason

    def test_virtual(self, path: Path) -> None:
        layout = h5py.VirtualLayout((20, 3), "f4")
        with h5py.File(path, "w") as file:
            layout[...] = h5py.VirtualSource(file.create_dataset("real", data=X))
            file.create_virtual_dataset("x", layout)
        ds = NumpyDataset.from_hdf5(path, "x", allow_external=True)
        assert (ds[:].numpy() == X).all()
        assert "its storage is virtual" in ds.describe().fields[0].access_reason

    def test_without_rows(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("x", (0, 3), "f4")
        assert len(opened(path)) == 0


def test_trap_7_masks_differ_from_chunk_to_chunk(path: Path) -> None:
    data = np.zeros((40, 64), np.uint8)
    data[10:20] = np.random.default_rng(0).integers(0, 256, (10, 64))
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=data, chunks=(10, 64), compression="lzf", shuffle=True)
        masks = [file["x"].id.get_chunk_info(k).filter_mask for k in range(4)]
    assert masks == [0, 2, 0, 0]
    assert opened(path).access.kind == "decoded"


@pytest.mark.parametrize("mask", range(8))
def test_trap_7_bit_i_of_a_mask_leaves_filter_i_out(path: Path, mask: int) -> None:
    raw = X[:10].tobytes()
    stored = np.frombuffer(raw, np.uint8)
    if not mask & 1:
        stored = np.ascontiguousarray(stored.reshape(-1, 4).T).reshape(-1)
    stored = stored.tobytes()
    if not mask & 2:
        stored = zlib.compress(stored)
    if not mask & 4:
        stored += checksum(np.frombuffer(stored, np.uint8)).to_bytes(4, "little")
    with h5py.File(path, "w") as file:
        options = {"compression": 4, "shuffle": True, "fletcher32": True}
        dataset = file.create_dataset("x", (10, 3), "f4", chunks=(10, 3), **options)
        dataset.id.write_direct_chunk((0, 0), stored, mask)
    assert opened(path).access.kind == "decoded"


@pytest.mark.parametrize(
    "order",
    [
        ("fletcher32", "shuffle", "deflate"),
        ("deflate", "shuffle", "deflate"),
        ("shuffle", "shuffle", "fletcher32", "deflate", "fletcher32"),
    ],
)
def test_trap_8_filters_stand_in_any_order(path: Path, order: tuple[str, ...]) -> None:
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((7, 3))
        for step in order:
            getattr(properties, f"set_{step}")(*([4] if step == "deflate" else []))
        space = h5py.h5s.create_simple((20, 3))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, properties)
        h5py.Dataset(made)[...] = X
    assert opened(path).access.kind == "decoded"


def test_trap_9_shuffle_has_its_own_element_size_and_may_leave_a_rest() -> None:
    data = np.arange(11, dtype=np.uint8)
    shuffled = np.concatenate([data[:9].reshape(3, 3).T.reshape(-1), data[9:]])
    step = Filter(id=2, values=(3,), name="shuffle")
    out = np.zeros(11, np.uint8)
    decode_chunk([step], 0, shuffled.tobytes(), out)
    assert out.tolist() == data.tolist()
    for size in (0, 1, 6, 12):
        same = SHUFFLE.decode(data, (size,), 11, None)
        assert sorted(same) == data.tolist()
    with pytest.raises(ValueError, match="no element size"):
        SHUFFLE.decode(data, (), 11, None)


def test_trap_10_the_checksum_is_the_last_four_bytes_of_its_stage(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=X, chunks=(20, 3), fletcher32=True)
        stored = bytearray(dataset.id.read_direct_chunk((0, 0))[1])
    assert stored[:-4] == X.tobytes()
    found = FLETCHER32.decode(bytes(stored), (), X.nbytes, None)
    assert bytes(found) == X.tobytes()
    opened(path)
    content = path.read_bytes()
    at = content.index(X.tobytes())
    path.write_bytes(content[: at + 5] + b"\xff" + content[at + 6 :])
    ds = NumpyDataset.from_hdf5(path, "x", access="direct")
    with pytest.raises(errors.FormatError, match=r"chunk at \(0, 0\).*Fletcher-32 checksum"):
        ds[[0]]


@pytest.mark.parametrize("length", [X.nbytes - 4, X.nbytes + 4, 100 * X.nbytes])
def test_trap_11_a_stream_of_the_wrong_length_is_an_error(path: Path, length: int) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", X.shape, "f4", chunks=X.shape, compression=4)
        dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(length)))
    ds = NumpyDataset.from_hdf5(path, "x", access="direct")
    with pytest.raises(errors.FormatError, match="does not decode"):
        ds[[0]]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">i2", "c8", "S3", "bool"])
@with_fill_time
@pytest.mark.parametrize("fill_time", ["alloc", "never", "ifset"])
@pytest.mark.parametrize("compression", [None, 4])
@pytest.mark.parametrize("access", ["library", "direct"])
def test_trap_12_chunks_that_are_not_there_have_the_fill_value(
    path: Path, dtype: str, fill_time: str, compression: int | None, access: str
) -> None:
    fill = np.array([1], dtype)[0]
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "x",
            (20, 3),
            dtype,
            chunks=(4, 2),
            fillvalue=fill,
            fill_time=fill_time,
            compression=compression,
        )
        dataset[5:9] = np.array([7]).astype(dtype)[0]
    source = open_hdf5(str(path), "x", Hdf5Options(access=access))
    with h5py.File(path) as file:
        assert same(rows(source), file["x"][...])


@with_fill_time
def test_trap_12_a_virtual_dataset_has_zeros_where_its_source_leaves_the_buffer(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("far", (20, 3), "f4", chunks=(4, 2), fill_time="never")
        layout = h5py.VirtualLayout((20, 3), "f4")
        layout[...] = h5py.VirtualSource(".", "far", (20, 3))
        file.create_virtual_dataset("x", layout)
        assert not file["x"][...].any()
    assert not rows(open_hdf5(str(path), "x", Hdf5Options(allow_external=True))).any()


@with_fill_time
def test_trap_12_rows_never_written_have_an_offset_behind_a_user_block(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", (4,), "f4", fill_time="never")
    assert not rows(opened(path)).any()


def test_trap_12_rows_that_have_no_fill_value_are_left_to_h5py(path: Path) -> None:
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4,))
        if not no_fill_value(properties):
            pytest.skip("HDF5 is not a library of its own here")
        space = h5py.h5s.create_simple((20,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.STD_I32LE, space, properties)
    source = open_source(f"{path}::x")
    assert source.access.reason.endswith("chunks are missing, and their fill value is unknown")


def test_trap_13_chunks_at_the_edge_are_stored_at_full_size(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, chunks=(16, 2))
        assert all(file["x"].id.get_chunk_info(k).size == 16 * 2 * 4 for k in range(4))
    assert opened(path).access.kind == "mapped"


@pytest.mark.parametrize("compression", [None, 4])
def test_an_array_of_arrays_has_the_axes_of_both(path: Path, compression: int | None) -> None:
    kind = np.dtype((np.dtype(("f4", (3,))), (2,)))
    values = np.arange(24, dtype="f4").reshape(4, 2, 3)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", (4,), kind, chunks=(3,), compression=compression).id
        whole = h5py.h5s.create_simple((4,))
        dataset.write(whole, whole, values, h5py.h5t.py_create(kind, logical=True))
    assert same(rows(opened(path)), values)


class TestTrap14TypesThatNumpyHasNot:
    @pytest.mark.parametrize("case", ["bitfield", "odd precision", "null-terminated", "bfloat16"])
    def test_go_to_h5py(self, path: Path, case: str) -> None:
        kind = {
            "bitfield": h5py.h5t.STD_B8LE,
            "odd precision": h5py.h5t.STD_I32LE.copy(),
            "null-terminated": h5py.h5t.C_S1.copy(),
            "bfloat16": h5py.h5t.IEEE_F32LE.copy(),
        }[case]
        if case == "odd precision":
            kind.set_precision(20)
        if case == "null-terminated":
            kind.set_size(4)
        if case == "bfloat16":
            kind.set_fields(15, 7, 8, 0, 7)
            kind.set_size(2)
            kind.set_ebias(127)
        with h5py.File(path, "w") as file:
            h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((4,)))
        with h5py.File(path) as file:
            try:
                file["x"].dtype  # noqa: B018
            except (TypeError, ValueError):
                return
        source = open_source(f"{path}::x")
        assert source.access.kind == "library"
        assert "stored type is not exactly NumPy's" in source.access.reason

    @pytest.mark.parametrize("case", ["24 bits", "time"])
    def test_are_refused_where_h5py_has_none_either(self, path: Path, case: str) -> None:
        kind = h5py.h5t.UNIX_D32LE if case == "time" else h5py.h5t.STD_I32LE.copy()
        if case == "24 bits":
            kind.set_size(3)
        with h5py.File(path, "w") as file:
            h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((4,)))
        with pytest.raises(ValueError, match="a type that NumPy has not"):
            open_source(f"{path}::x")


def test_trap_15_a_file_that_this_process_may_write_is_left_to_h5py(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, chunks=(7, 3), compression=1)
        file.flush()
        source = open_source(f"{path}::x")
        assert source.access.kind == "library"
        assert "open in mode 'r+'" in source.access.reason


@pytest.mark.parametrize("driver", ["core", "stdio"])
def test_trap_16_other_drivers_are_left_to_h5py(
    path: Path, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, chunks=(7, 3))
    with h5py.File(path, "r", driver=driver) as file:
        decision = decide(read_layout_named(file, "x"))
    assert decision.kind == "library"
    assert f"driver '{driver}'" in decision.reason


def test_trap_17_offsets_need_no_alignment(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("odd", data=np.arange(3, dtype="u1"))
        file.create_dataset("x", data=X.astype("f8"))
        file.create_dataset("y", data=X.astype("f8"), chunks=(7, 3))
    for name in "xy":
        assert opened(path, name).access.kind == "mapped"
    with h5py.File(path) as file:
        assert file["x"].id.get_offset() % 8


OPENING = """
import sys, threading
from npdata import open_source

def open_in_turn(first):
    for k in range(600):
        open_source(f"{sys.argv[1]}/{(first + k) % 12}.h5::x")

threads = [threading.Thread(target=open_in_turn, args=(4 * k,)) for k in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_open_files_at_the_same_time(tmp_path: Path) -> None:
    """Before 3.16 h5py reads a stored chunk without its lock, and the process may crash."""
    for k in range(12):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file.create_dataset("x", data=X, chunks=(5, 3), compression="gzip")
    command = [sys.executable, "-c", OPENING, str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=300).returncode == 0
