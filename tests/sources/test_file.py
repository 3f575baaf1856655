"""Maps: copy-on-write, by path in other processes, never past the end of a changed file."""

import ctypes
import mmap
import os
import pickle
import resource
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from descriptors import descriptors_of
from processes import run
from sockets import listens_at

from npdata import NumpyDataset, errors
from npdata.sources import file as file_module
from npdata.sources.file_map import map_pages

X = np.arange(4000, dtype=np.float32).reshape(1000, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", X)
    return tmp_path / "x.npy"


def test_rows_of_a_read_only_file_are_writable_and_the_file_stays(path: Path) -> None:
    path.chmod(0o444)
    before = path.read_bytes()
    ds = NumpyDataset(path)
    ds[3].fill_(7)
    assert ds[3].tolist() == [7] * 4
    assert path.read_bytes() == before


def reads(ds: NumpyDataset) -> dict[str, object]:
    return {
        "a batch": lambda: ds.__getitems__([999]),
        "a sample": lambda: ds[999],
        "a slice": lambda: ds[990:],
        "windows": lambda: ds.windows(2, borders=[500])[[3, 990]],
    }


@pytest.mark.parametrize("way", ["a batch", "a sample", "a slice", "windows"])
class TestAFileThatChanges:
    def test_shrinks(self, path: Path, way: str) -> None:
        ds = NumpyDataset(path)
        reads(ds)[way]()
        os.truncate(path, 200)
        with pytest.raises(errors.ChangedFileError, match="had 16128 bytes and now has 200"):
            reads(ds)[way]()

    def test_is_written_to(self, path: Path, way: str) -> None:
        ds = NumpyDataset(path)
        reads(ds)[way]()
        os.utime(path, (1, 1))
        with pytest.raises(errors.ChangedFileError, match="written to; open it again"):
            reads(ds)[way]()

    def test_is_replaced_before_another_process_opens_it(self, path: Path, way: str) -> None:
        sent = pickle.dumps(NumpyDataset(path))
        np.save(path.with_name("new.npy"), X)
        path.with_name("new.npy").replace(path)
        with pytest.raises(errors.ChangedFileError, match="another file has taken its place"):
            reads(pickle.loads(sent))[way]()

    def test_is_a_pipe_before_another_process_opens_it(self, path: Path, way: str) -> None:
        sent = pickle.dumps(NumpyDataset(path))
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(errors.ChangedFileError, match="changed since it was opened"):
            reads(pickle.loads(sent))[way]()
        path.unlink()
        listens_at(path)
        with pytest.raises(errors.ChangedFileError, match="changed since it was opened"):
            reads(pickle.loads(sent))[way]()

    def test_is_replaced_while_it_is_open(self, path: Path, way: str) -> None:
        ds = NumpyDataset(path)
        expected = reads(ds)[way]()
        np.save(path.with_name("new.npy"), X * 0)
        path.with_name("new.npy").replace(path)
        assert len(reads(ds)[way]()) == len(expected)
        assert (ds[999].numpy() == X[999]).all()


def test_a_file_that_is_gone_in_another_process(path: Path) -> None:
    sent = pickle.dumps(NumpyDataset(path))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(sent)[0]


def test_relative_paths_mean_the_same_after_a_change_of_folder(in_folder: Path) -> None:
    np.save("x.npy", X)
    (in_folder / "other").mkdir()
    sent = pickle.dumps(NumpyDataset("x.npy"))
    os.chdir("other")
    assert (pickle.loads(sent)[3].numpy() == X[3]).all()


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="advice as Linux takes it")
def test_advice_while_another_thread_releases_the_file(path: Path, monkeypatch) -> None:
    (source,) = NumpyDataset(path).sources

    def look(descriptor: int, offset: int) -> bool:
        thread = threading.Thread(target=source.close_idle)
        thread.start()
        thread.join()
        return False

    monkeypatch.setattr(file_module, "_in_memory", look)
    source.will_need(0, len(source))
    source.load(0, len(source))


def pages_in_memory(path: Path) -> list[bool]:
    """Ask Linux which pages of a file are in memory, which reads none of them."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(mapped)
        address, length = ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(mapped))
        assert ctypes.CDLL(None).mincore(address, length, pages) == 0
        del start
        return [page & 1 == 1 for page in pages]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at memory as Linux shows it")
def test_loaded_rows_are_in_memory(on_disk: Path) -> None:
    np.save(on_disk / "x.npy", np.zeros((3 << 20, 1), np.uint8))
    (source,) = NumpyDataset(on_disk / "x.npy").sources
    rows = slice((1 << 20) // mmap.PAGESIZE + 1, (3 << 20) // mmap.PAGESIZE)

    def load_and_look() -> bool:
        with (on_disk / "x.npy").open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        before = any(pages_in_memory(on_disk / "x.npy")[rows])
        source.load(0, 0)
        source.load(1 << 20, 3 << 20)
        return not before and all(pages_in_memory(on_disk / "x.npy")[rows])

    assert any(load_and_look() for _ in range(10)), "a busy machine keeps or takes some pages"


def test_advice_needs_no_call_that_python_may_lack(path: Path) -> None:
    done = run(
        f"""
import os
if hasattr(os, "RWF_NOWAIT"):
    del os.RWF_NOWAIT
from npdata.sources.file import File
file = File({str(path)!r})
file.will_need(0, 4096)
file.load(0, 4096)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_part_of_more_bytes_than_one_call_reads(tmp_path: Path) -> None:
    size = (1 << 31) + 1
    with (tmp_path / "x").open("wb") as file:
        file.truncate(size - 1)
        file.seek(size - 1)
        file.write(b"!")
    data = file_module.File(tmp_path / "x").read(0, size)
    assert (len(data), data[-2:]) == (size, b"\0!")


def test_closing_releases_the_file(path: Path) -> None:
    for _ in range(5):
        with NumpyDataset(path) as ds:
            ds[[1]]
        del ds
    assert not descriptors_of(path)
    NumpyDataset(path)[[1]]
    assert not descriptors_of(path)


@pytest.mark.parametrize("kind", ["npy", "raw"])
def test_constructors_named_after_files_close_what_they_opened(path: Path, kind: str) -> None:
    make = NumpyDataset.from_npy if kind == "npy" else partial(NumpyDataset.from_raw, dtype="u1")
    ds = make(path)
    ds[[1]]
    assert descriptors_of(path)
    ds.close()
    assert not descriptors_of(path)


class TestMemmaps:
    def test_a_view_is_found_again_by_path(self, path: Path) -> None:
        whole = np.load(path, mmap_mode="r")
        views = [whole[10:20], whole[::-2], whole[:, 1:3], whole[5:].T, np.asarray(whole)[3:]]
        for view in views:
            sent = pickle.dumps(NumpyDataset(view))
            assert len(sent) <= 4096
            again = pickle.loads(sent)
            assert (again[:].numpy() == view).all()
            assert again.describe().fields[0].access == "mapped"

    def test_raw_maps_with_an_offset(self, tmp_path: Path) -> None:
        (tmp_path / "a.bin").write_bytes(bytes(10) + X.tobytes())
        view = np.memmap(tmp_path / "a.bin", np.float32, "r", offset=10, shape=X.shape)[7:]
        assert (pickle.loads(pickle.dumps(NumpyDataset(view)))[:].numpy() == X[7:]).all()

    def test_a_copy_of_a_map_is_memory(self, path: Path) -> None:
        copied = np.load(path, mmap_mode="r")[[1, 2]]
        assert NumpyDataset(copied).describe().fields[0].access == "memory"

    def test_a_user_may_write_through_a_map_opened_for_writing(self, path: Path) -> None:
        ds = NumpyDataset(np.load(path, mmap_mode="r+"))
        ds[3].fill_(5)
        again = pickle.loads(pickle.dumps(ds))
        assert again[3].tolist() == ds[[3]][0].tolist() == [5] * 4

    def test_changes_that_no_file_has_are_not_lost_silently(self, path: Path) -> None:
        private = np.load(path, mmap_mode="c")
        ds = NumpyDataset(private)
        pickle.dumps(ds)
        assert not map_pages(private).private
        private[500] = 1
        with pytest.raises(ValueError, match="exist in this process alone"):
            pickle.dumps(ds)

    def test_a_file_that_shrank_is_an_error(self, path: Path) -> None:
        ds = NumpyDataset(np.load(path, mmap_mode="r"))
        os.truncate(path, 4096)
        for read in reads(ds).values():
            with pytest.raises(errors.ChangedFileError, match="has only 4096 bytes now"):
                read()

    def test_a_file_that_another_replaced_is_not_found_again(self, path: Path) -> None:
        ds = NumpyDataset(np.load(path, mmap_mode="r"))
        np.save(path.with_name("new.npy"), X * 0)
        path.with_name("new.npy").replace(path)
        assert (ds[999].numpy() == X[999]).all()
        with pytest.raises(ValueError, match="not the file that this"):
            pickle.dumps(ds)

    def test_a_map_without_a_path_stays_in_its_process(self, path: Path) -> None:
        with path.open("rb") as file:
            unnamed = np.memmap(file, np.float32, "r", offset=128)
        unnamed.filename = None
        assert NumpyDataset(unnamed)[0].item() == X[0, 0]
        with pytest.raises(ValueError, match="no path to find it by"):
            pickle.dumps(NumpyDataset(unnamed))


def test_a_file_that_grew_within_one_tick_of_its_clock_is_another(path: Path) -> None:
    (source,) = NumpyDataset(path).sources
    before = path.stat()
    with path.open("ab") as file:
        file.write(bytes(8))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(errors.ChangedFileError, match="bytes and now has"):
        source.check()


@pytest.mark.skipif(sys.platform != "linux", reason="bounds the addresses of a process")
def test_an_error_names_the_file_that_cannot_be_mapped_and_what_bounds_maps(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    os.truncate(path, 1 << 36)
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 36, before[1]))
        with pytest.raises(OSError, match=f"refused.*max_map_count.*concatenate.*{path}"):
            _ = file_module.File(path).array
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
