"""`.npz` files: stored members in place, compressed ones decoded, broken ones refused."""

import importlib
import io
import multiprocessing
import os
import pickle
import struct
import threading
import zipfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import HANG

import npdata
from npdata import NumpyDataset, errors, open_source
from npdata.sources.file import FileIdentity
from npdata.sources.formats import npz, zip_members

X = np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    np.savez_compressed(tmp_path / "packed.npz", x=X, y=np.arange(50))
    return tmp_path / "packed.npz"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    np.savez(tmp_path / "stored.npz", x=X, y=np.arange(50))
    return tmp_path / "stored.npz"


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_stored_members_are_mapped_where_they_lie(stored: Path) -> None:
    assert open_source(f"{stored}::x").access.kind == "mapped"


def test_compressed_members_are_decoded_once_per_process(packed: Path) -> None:
    source = open_source(f"{packed}::x")
    assert source.access.kind == "decoded"
    assert source.table is source.table
    assert pickle.loads(pickle.dumps(source)).table is not source.table


def test_a_fork_while_a_thread_decodes(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, begun, go_on = npz.DecodedMember._decode, threading.Event(), threading.Event()

    def waits(member: npz.DecodedMember) -> np.ndarray:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            assert go_on.wait(HANG)
        return decode(member)

    monkeypatch.setattr(npz.DecodedMember, "_decode", waits)
    source = pickle.loads(pickle.dumps(open_source(f"{packed}::x")))
    thread = threading.Thread(target=lambda: source.table)
    thread.start()
    try:
        assert begun.wait(HANG)
        context = multiprocessing.get_context("fork")
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=send_equal, args=(send, source))
        child.start()
        assert receive.poll(HANG), "the child hangs"
        assert receive.recv()
        child.join(HANG)
    finally:
        go_on.set()
        thread.join()


def send_equal(pipe: Connection, source: npdata.Source) -> None:
    pipe.send(bool((source.table.array == X).all()))


def test_fortran_order_in_a_compressed_member(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.asfortranarray(X))
    assert (NumpyDataset(f"{tmp_path}/a.npz::x")[:].numpy() == X).all()


def test_members_in_folders_and_names_with_dots(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"train/x.y": X})
    assert (NumpyDataset(f"{tmp_path}/a.npz::train/x.y")[3].numpy() == X[3]).all()
    assert (NumpyDataset(f"{tmp_path}/a.npz::train/x.y.npy")[3].numpy() == X[3]).all()


@pytest.mark.parametrize("size", [0, 3])
def test_members_without_elements(tmp_path: Path, size: int) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((size, 0)))
    assert open_source(f"{tmp_path}/a.npz::x").shape == (size, 0)


def test_a_member_that_is_not_there_lists_those_that_are(stored: Path) -> None:
    for name in (f"{stored}::z", f"{stored}"):
        with pytest.raises(KeyError, match=r"'x', 'y'"):
            open_source(name)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
        archive.writestr("text.npy", "hello")
    with pytest.raises(errors.MemberNotFoundError, match=r"no array 'readme\.txt'; it has 'text'$"):
        open_source(f"{tmp_path}/a.npz::readme.txt")
    with pytest.raises(errors.FormatError, match=r"a\.npz::text"):
        open_source(f"{tmp_path}/a.npz::text")


def damaged(path: Path, *, at: bytes, offset: int) -> Path:
    content = bytearray(path.read_bytes())
    place = content.index(at) + offset
    content[place : place + 8] = b"\xff" * 8
    broken = path.with_name("broken.npz")
    broken.write_bytes(content)
    return broken


def test_a_compressed_member_that_is_broken_fails_at_construction(packed: Path) -> None:
    for offset in (400, 2000):
        broken = damaged(packed, at=b"x.npy", offset=offset)
        with pytest.raises(errors.FormatError, match=r"broken\.npz::x cannot be decompressed"):
            NumpyDataset(f"{broken}::x")


def test_a_compressed_member_with_a_wrong_checksum_fails_at_construction(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        checksum = archive.getinfo("x.npy").CRC.to_bytes(4, "little")
    content = packed.read_bytes().replace(checksum, b"\0\0\0\0")
    packed.write_bytes(content)
    with pytest.raises(errors.FormatError, match="cannot be decompressed: Bad CRC"):
        NumpyDataset(f"{packed}::x")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("cut", [1, 4000, 7950])
def test_a_member_shorter_than_its_header_says(tmp_path: Path, compression: int, cut: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("x.npy", npy(X)[:-cut])
        archive.writestr("y.npy", npy(np.zeros(9999)))
    with pytest.raises(errors.TruncatedError, match=r"a\.npz::x declares \(50, 40\) of float32"):
        open_source(f"{tmp_path}/a.npz::x")


def test_a_file_of_one_array_is_named_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X)
    with pytest.raises(errors.MemberNotFoundError, match=r"a.npz::NAME, with one of 'arr_0'$"):
        open_source(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_among_many_is_named_wherever_it_is_broken(tmp_path: Path, save) -> None:
    for k in range(2):
        save(tmp_path / f"{k}.npz", one=np.float32(k))
    whole = (tmp_path / "1.npz").read_bytes()
    for at in range(0, len(whole), 4):
        (tmp_path / "1.npz").write_bytes(whole[:at] + b"\xff" * 4 + whole[at + 4 :])
        told = []
        try:
            told = npdata.stack(f"{tmp_path}/*.npz::one")[:].tolist()
        except errors.SourceError as error:
            told = ["1.npz" in str(error)]
        assert told in ([True], [0, 1])


def test_a_zip_that_was_cut_short(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes()[:5000])
    with pytest.raises(errors.FormatError, match=r"no readable \.npz"):
        open_source(f"{stored}::x")


def test_relative_paths_mean_the_same_after_a_change_of_folder(in_folder: Path) -> None:
    np.savez_compressed("a.npz", x=X)
    sent = pickle.dumps(NumpyDataset("a.npz::x"))
    (in_folder / "other").mkdir()
    os.chdir("other")
    assert (pickle.loads(sent)[3].numpy() == X[3]).all()


@pytest.mark.parametrize("left", [{"y": X}, {"x": X[:3]}])
def test_a_file_that_changed_on_the_way_to_another_process(packed: Path, left: dict) -> None:
    sent = pickle.dumps(open_source(f"{packed}::x"))
    np.savez_compressed(packed, **left)
    there = pickle.loads(sent)
    assert there.shape == X.shape
    with pytest.raises(errors.ChangedFileError, match=r"packed\.npz changed since it was opened"):
        there.table  # noqa: B018


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", x=np.array([{}]), allow_pickle=True)
        with pytest.raises(errors.FormatError, match="pickled Python objects"):
            open_source(f"{tmp_path}/a.npz::x")


def test_a_file_with_members_that_are_no_rows_says_how_to_leave_them_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, count=3)
    with pytest.raises(errors.FormatError, match=r"count holds one value.*leave it out by naming"):
        NumpyDataset.from_npz(tmp_path / "a.npz")
    assert len(NumpyDataset.from_npz(tmp_path / "a.npz", "x")) == len(X)


def test_sets_of_different_lengths_in_one_file_are_to_be_named(tmp_path: Path) -> None:
    sets = {f"{kind}_{name}": X[:k] for kind in "xy" for name, k in (("train", 3), ("test", 2))}
    np.savez(tmp_path / "a.npz", **sets)
    with pytest.raises(errors.FieldError, match=r"has 3 rows.* has 2; .*'x_train', 'y_train'"):
        NumpyDataset.from_npz(tmp_path / "a.npz")
    assert len(NumpyDataset.from_npz(tmp_path / "a.npz", "x_train", "y_train")) == 3


def test_a_sparse_matrix_of_scipy(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    path = f"{tmp_path}/m.npz"
    matrix = sparse.csr_matrix(np.diag([1.0, 2.0, 3.0]))
    for kind in ("csr", "csc", "coo"):
        sparse.save_npz(path, matrix.asformat(kind))
        for opened in (NumpyDataset, NumpyDataset.from_npz):
            with pytest.raises(errors.UnsupportedSourceError, match="sparse matrix of scipy") as no:
                opened(path)
        m = eval(str(no.value).partition("m = ")[2].partition(" give ")[0], {"scipy": scipy()})
        given = eval(str(no.value).partition(" give ")[2], {"npdata": npdata, "m": m})
        assert np.array_equal(NumpyDataset(given)[:], matrix.toarray())


def scipy() -> Any:
    """The package with `scipy.sparse` imported."""
    return importlib.import_module("scipy")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_bytes_behind_the_data_of_a_member_are_ignored_as_numpy_does(
    tmp_path: Path, compression: int
) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("x.npy", npy(X) + bytes(100))
    assert np.array_equal(NumpyDataset(f"{tmp_path}/a.npz::x")[:], X)


@pytest.fixture
def zips_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The zips whose directories were read, in order."""
    read: list[str] = []
    original = zip_members._read_directory

    def counted(path: str, identity: FileIdentity) -> zip_members.Directory:
        read.append(Path(path).name)
        return original(path, identity)

    monkeypatch.setattr(zip_members, "_read_directory", counted)
    monkeypatch.setattr(zip_members, "_directories", zip_members._Directories())
    return read


def test_what_a_zip_holds_is_read_once_for_all_members_until_it_changes(
    tmp_path: Path, zips_read: list[str]
) -> None:
    path = tmp_path / "a.npz"
    for add in (0, 1):
        np.savez_compressed(path, **{f"x{k}": np.arange(3) + k + add for k in range(50)})
        os.utime(path, ns=(add, add))
        ds = npdata.stack(f"{path}::*")
        assert (ds[:].numpy() == np.arange(3) + np.arange(50)[:, None] + add).all()
        assert zips_read == ["a.npz"] * (add + 1)


def test_of_many_zips_those_of_the_last_members_are_remembered(
    tmp_path: Path, zips_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_members, "MOST_MEMBERS", 5)
    for name in "abcd":
        np.savez_compressed(tmp_path / f"{name}.npz", x=np.arange(3), y=ord(name))
        os.utime(tmp_path / f"{name}.npz", ns=(0, 0))
    np.savez_compressed(tmp_path / "large.npz", **{f"x{k}": np.arange(3) for k in range(6)})
    os.utime(tmp_path / "large.npz", ns=(0, 0))

    def read(*names: str) -> str:
        zips_read.clear()
        for name in names:
            zip_members.directory_of(str(tmp_path / f"{name}.npz"))
        return " ".join(each.removesuffix(".npz") for each in zips_read)

    assert read("a", "b", "a", "b") == "a b"
    assert read("c", "b", "c") == "c"
    assert read("a") == "a"
    assert read("large", "large") == "large"
    assert read("c") == "c"


@pytest.mark.parametrize("size", [100, 1 << 20])
@pytest.mark.parametrize("fault", ["one byte", "the end", "the directory's size"])
def test_a_damaged_member_of_many_files_is_named(tmp_path: Path, size: int, fault: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    for name in "ab":
        np.savez_compressed(tmp_path / f"{name}.npz", x=values)
    ds = npdata.stack(f"{tmp_path}/*.npz::x")
    assert (ds[:].numpy() == values).all()
    path = tmp_path / "b.npz"
    content, status = bytearray(path.read_bytes()), path.stat()
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("x.npy")
    central = content.rindex(b"PK\x01\x02")
    if fault == "one byte":
        content[info.compress_size // 2] ^= 1
    elif fault == "the end":
        content[central - 8 : central] = bytes(8)
    else:
        struct.pack_into("<I", content, central + 24, info.file_size - 1)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    zip_members._directories.__init__()  # type: ignore[misc]
    with pytest.raises(errors.FormatError, match=r"b\.npz::x cannot be decompressed"):
        ds[[1]]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_of_another_name_than_the_directory_says_is_refused(
    tmp_path: Path, compression: int
) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("é.npy", npy(X))
        archive.writestr("x.npy", npy(X))
    assert (NumpyDataset(f"{tmp_path}/a.npz::é")[:].numpy() == X).all()
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content.replace(b"x.npy", b"y.npy", 1))
    with pytest.raises(errors.FormatError, match="x is not where the zip's directory says"):
        open_source(f"{tmp_path}/a.npz::x")
