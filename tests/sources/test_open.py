"""Paths: known by content, `file::member`, and errors that say what is there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from processes import run

import npdata
from npdata import NumpyDataset, Source, errors, open_source

X = np.arange(12, dtype=np.uint16).reshape(4, 3)


def test_a_file_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    with (tmp_path / "array.data").open("wb") as file:
        np.save(file, X)
    with (tmp_path / "arrays.data").open("wb") as file:
        np.savez(file, x=X)
    with h5py.File(tmp_path / "tree.data", "w", userblock_size=1024) as file:
        file["x"] = X
    for name in ("array.data", "arrays.data::x", "tree.data::x"):
        assert (NumpyDataset(f"{tmp_path}/{name}")[:].numpy() == X).all()


def test_a_path_may_contain_the_separator(tmp_path: Path) -> None:
    np.save(tmp_path / "a::b.npy", X)
    np.savez(tmp_path / "c::d.npz", **{"x::y": X})
    assert (NumpyDataset(tmp_path / "a::b.npy")[:].numpy() == X).all()
    assert (NumpyDataset(f"{tmp_path}/c::d.npz::x::y")[:].numpy() == X).all()


def test_a_source_is_given_back() -> None:
    source = open_source(X)
    assert isinstance(source, Source)
    assert open_source(source) is source


@pytest.mark.parametrize("name", ["nothing.npy", "nothing.npz::x", "nothing.h5::x", "nothing"])
def test_a_path_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["*.npy", "part-?.h5::x", "part-*.npz::x"])
def test_a_glob_is_not_expanded_and_says_where_it_would_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"not expanded here.*concatenate\(glob\)"):
        NumpyDataset(tmp_path / name)
    np.save(tmp_path / "a*.npy", np.arange(3))
    assert len(NumpyDataset(tmp_path / "a*.npy")) == 3


@pytest.mark.parametrize(
    "opened",
    [
        lambda: NumpyDataset("s3://bucket/x.npy"),
        lambda: NumpyDataset("s3://bucket/d.h5::x"),
        lambda: NumpyDataset.from_npz("s3://bucket/d.npz"),
        lambda: NumpyDataset.from_hdf5("s3://bucket/d.h5", "x"),
        lambda: NumpyDataset.from_raw("s3://bucket/x.bin", dtype="u1"),
    ],
)
def test_a_url_is_to_be_downloaded(opened: Callable[[], NumpyDataset]) -> None:
    with pytest.raises(FileNotFoundError, match="mount or download it: 's3://bucket/"):
        opened()


@pytest.mark.parametrize(
    "opened", [NumpyDataset, npdata.concatenate, npdata.stack, NumpyDataset.from_npz]
)
def test_no_path_and_a_path_from_home_and_of_bytes_say_what_to_type(
    opened: Callable[[Any], NumpyDataset], in_folder: Path
) -> None:
    np.save("x.npy", X)
    with pytest.raises(FileNotFoundError, match="the path is empty"):
        opened("")
    for path in ("~/not there.npy", Path("~/not there.npy")):
        with pytest.raises(FileNotFoundError, match=r"os.path.expanduser\(path\)"):
            opened(path)
    with pytest.raises(FileNotFoundError, match=r"os.path.expandvars\(path\)"):
        opened("$PWD/not there.npy")
    with pytest.raises(errors.UnsupportedSourceError, match=r"os.fsdecode\(path\)|expected a path"):
        opened(b"x.npy")
    with pytest.raises(FileNotFoundError, match="null character"):
        opened("x\0.npy")
    with os.scandir(b".") as entries:
        entry = next(each for each in entries if each.name == b"x.npy")
    if opened != NumpyDataset.from_npz:
        assert (opened(entry)[0].numpy() == opened("x.npy")[0].numpy()).all()
    np.save("~x.npy", X)
    assert len(npdata.concatenate("~*.npy")) == len(NumpyDataset("~x.npy")) == len(X)


def test_a_folder_whose_name_looks_like_a_url_is_read(in_folder: Path) -> None:
    Path("s3:").mkdir()
    np.save("s3:/x.npy", X)
    assert (NumpyDataset("s3://x.npy")[:].numpy() == X).all()


def test_a_url_of_a_local_file_names_its_path() -> None:
    with pytest.raises(FileNotFoundError, match=r"a URL is no path; give '/data/my x\.npy'"):
        NumpyDataset("file:///data/my%20x.npy")


def test_raw_rows_of_a_dtype_with_axes_of_its_own(tmp_path: Path) -> None:
    np.arange(24, dtype="<i2").tofile(tmp_path / "x.bin")
    rows = np.fromfile(tmp_path / "x.bin", "(2,3)<i2")
    for shape in (-1, 4, (4,)):
        ds = NumpyDataset.from_raw(tmp_path / "x.bin", dtype="(2,3)<i2", shape=shape)
        assert np.array_equal(ds[:], rows)
    with pytest.raises(errors.FormatError, match="no whole number of 10-byte rows"):
        NumpyDataset.from_raw(tmp_path / "x.bin", dtype="(5,)<i2")


def test_raw_data_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        NumpyDataset.from_raw(tmp_path, dtype="u1")


def test_an_open_npz_with_pickled_objects_names_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", x=np.array([None]), y=np.arange(3))
    with np.load(tmp_path / "o.npz") as arrays:
        with pytest.raises(errors.FieldError, match="lists 'x' and does not give it: Object arr"):
            NumpyDataset(arrays)
        assert len(NumpyDataset(y=arrays["y"])) == 3


@pytest.mark.parametrize("target", ["/nothing", "/link"])
def test_an_open_file_with_a_link_that_leads_nowhere(tmp_path: Path, target: str) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["link"], file["x"] = h5py.SoftLink(target), np.zeros(3)
        with pytest.raises(errors.FieldError, match="lists 'link' and does not give it"):
            NumpyDataset(file)
        assert len(NumpyDataset(x=file["x"])) == 3


@pytest.mark.parametrize(
    ("kind", "what"),
    [("object", "pickled Python objects"), ("vlunicode", "text, as the numbers of its characters")],
)
@pytest.mark.parametrize("member", ["b/x", "*/x"])
def test_what_pytables_keeps_as_rows_of_numbers(
    tmp_path: Path, kind: str, what: str, member: str
) -> None:
    """pandas pickles a column of text so; the numbers would be the bytes of pickles."""
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for group in "ab":
            file.create_dataset(f"{group}/x", (2,), h5py.vlen_dtype("u1"))
        file["b/x"].attrs["PSEUDOATOM"] = np.bytes_(kind)
    with pytest.raises(errors.FormatError, match=rf"b/x holds {what}"):
        NumpyDataset(f"{tmp_path}/d.h5::{member}")


def test_bytes_of_pytables_are_numbers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        x = file.create_dataset("x", (1,), h5py.vlen_dtype("u1"))
        x.attrs["PSEUDOATOM"] = np.bytes_("vlstring")
        x[0] = np.frombuffer(b"jpeg", np.uint8)
    assert bytes(NumpyDataset(f"{tmp_path}/d.h5::x")[0].tolist()) == b"jpeg"


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"is a folder; npdata\.stack"):
        open_source(tmp_path)


@pytest.mark.parametrize("text", ["d.h5/group/x", "d.h5:group/x", "d.h5:/group/x", "d.h5//group/x"])
def test_a_member_without_two_colons(text: str, in_folder: Path) -> None:
    with h5py.File("d.h5", "w") as file:
        file["group/x"] = X
    with pytest.raises(FileNotFoundError, match=r"comes after '::', as 'd\.h5::group/x'"):
        open_source(text)


def test_a_file_of_several_arrays_says_how_to_name_one(in_folder: Path) -> None:
    with h5py.File("d.h5", "w") as file:
        file["x"], file["y"] = X, X
        file["_i_x/sorted"] = X  # as PyTables keeps the index of a column
    with pytest.raises(
        KeyError, match=r"it has 'x', 'y'; name one, as in NumpyDataset\('FILE::NAM"
    ):
        open_source("d.h5")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    path = tmp_path / "pipe.npy"
    for opened in (
        open_source,
        NumpyDataset.from_npz,
        lambda path: NumpyDataset.from_hdf5(path, "x"),
        lambda path: NumpyDataset.from_raw(path, dtype="u1"),
    ):
        with pytest.raises(errors.FormatError, match=r"pipe\.npy is a pipe or a device"):
            opened(path)


def test_a_file_of_no_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz")
    with pytest.raises(errors.MemberNotFoundError, match="holds no array"):
        open_source(tmp_path / "none.npz")


def test_an_empty_file(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz", "a.h5", "a.bin"):
        (tmp_path / name).touch()
        with pytest.raises(errors.TruncatedError, match=r"empty"):
            open_source(tmp_path / name)
    with pytest.raises(errors.TruncatedError, match=r"empty"):
        NumpyDataset.from_raw(tmp_path / "a.bin", dtype="u1")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5"])
def test_a_name_that_promises_another_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(
        errors.FormatError, match=r"neither \.npy nor \.npz nor HDF5; it is damaged"
    ):
        open_source(tmp_path / name)


def test_an_unknown_file_says_how_to_open_raw_data(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"0123")
    with pytest.raises(errors.FormatError, match=r"from_raw\(path, dtype=\.\.\., shape="):
        open_source(tmp_path / "a.bin")


def test_a_member_of_a_file_of_one_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(KeyError, match=r"one array and has no 'x'"):
        open_source(f"{tmp_path}/a.npy::x")


class TestRaw:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        X.tofile(tmp_path / "x.bin")
        return tmp_path / "x.bin"

    @pytest.mark.parametrize("shape", [(-1, 3), (4, 3), (4, -1), -1, 12, (-1,)], ids=str)
    def test_shapes(self, path: Path, shape: object) -> None:
        expected = X.reshape(shape)
        assert (NumpyDataset.from_raw(path, dtype="u2", shape=shape)[:].numpy() == expected).all()

    def test_byte_order(self, path: Path) -> None:
        ds = NumpyDataset.from_raw(path, dtype=">u2", shape=(-1, 3))
        assert (ds[[1]].numpy() == X[[1]].byteswap()).all()

    @pytest.mark.parametrize(
        ("dtype", "shape", "reason"),
        [
            ("u2", (-1, 5), "no whole number of 10-byte rows"),
            ("u2", (5, 3), "declares"),
            ("u2", (3, 3), "only 18; use -1"),
            ("u2", (-1, -1), "one may be -1"),
            ("u2", (-1, 0), "no whole number of 0-byte rows"),
            ("u2", (), "make no rows"),
            ("u2", (-2,), "make no rows"),
            ("O", (-1,), "fixed size"),
            ("S0", (-1,), "fixed size"),
        ],
    )
    def test_what_does_not_fit(self, path: Path, dtype: str, shape: object, reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            NumpyDataset.from_raw(path, dtype=dtype, shape=shape)

    def test_an_offset_behind_the_file(self, path: Path) -> None:
        with pytest.raises(errors.TruncatedError, match="24 bytes, and offset=26 is behind them"):
            NumpyDataset.from_raw(path, dtype="u2", offset=26)
        assert len(NumpyDataset.from_raw(path, dtype="u2", offset=24)) == 0

    @pytest.mark.parametrize("dtype", ["flot32", 3.5, {"f4"}], ids=str)
    def test_what_is_no_dtype(self, path: Path, dtype: object) -> None:
        with pytest.raises(errors.UnsupportedSourceError) as caught:
            NumpyDataset.from_raw(path, dtype=dtype)
        assert isinstance(caught.value, TypeError)
        assert str(caught.value).startswith(f"{path}: dtype={dtype!r} is no dtype of NumPy")

    @pytest.mark.parametrize("dtype", [torch.int16, "torch.int16"], ids=repr)
    def test_a_dtype_of_torch_is_that_of_numpy(self, path: Path, dtype: Any) -> None:
        wanted = np.fromfile(path, np.int16)
        np.testing.assert_array_equal(NumpyDataset.from_raw(path, dtype=dtype)[:], wanted)
        ds = npdata.stack([path], dtype=dtype, shape=-1)
        np.testing.assert_array_equal(ds[0], wanted)

    @pytest.mark.parametrize("name", ["float", "int", "cfloat", "half", "long", "double"])
    def test_a_name_of_torch_is_what_torch_means_by_it(self, tmp_path: Path, name: str) -> None:
        """To NumPy, "float" is float64."""
        stored = torch.arange(8).to(getattr(torch, name))
        stored.numpy().tofile(tmp_path / "x.bin")
        found = NumpyDataset.from_raw(tmp_path / "x.bin", dtype=f"torch.{name}")[:]
        assert found.dtype == stored.dtype
        assert torch.equal(found, stored)

    def test_without_ml_dtypes_bfloat16_is_uint16_that_is_viewed(self, path: Path) -> None:
        code = "import sys, npdata; npdata.NumpyDataset.from_raw(sys.argv[1], dtype='bfloat16')"
        done = run(code, str(path))
        assert done.returncode
        assert '"uint16", and batch_transform=lambda x: x.view(torch.bfloat16)' in done.stderr

    def test_dtype_is_for_paths(self) -> None:
        with pytest.raises(TypeError, match="describe a raw file"):
            open_source(X, dtype="u2")
