"""Rows that are decoded once: those of h5py, whatever happens to the file that keeps them."""

import _thread
import contextlib
import errno
import fcntl
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

import h5py
import numpy as np
import pytest
import torch
from another_user import IS_ROOT, another_user
from descriptors import descriptors_of
from forks import Fork
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupts import run_interrupted
from processes import HANG, run, running
from torch.utils.data import DataLoader

import npdata
from npdata import NumpyDataset
from npdata.errors import CacheWarning, ChangedFileError
from npdata.sources import file_map
from npdata.sources.cache import large_pages
from npdata.sources.cache.cache import Cache, KeptInFolder, KeptInMemory
from npdata.sources.cache.cached import cached
from npdata.sources.cache.entry import Entry
from npdata.sources.cache.folder import Folder
from npdata.sources.cache.plan import HEADER, Plan
from npdata.sources.cache.room import Room

ROWS, CHUNK = 1000, 64
CHUNKS = -(-ROWS // CHUNK)
X = np.random.default_rng(3).integers(0, 99, (ROWS, 40)).astype(np.float32)
ORDER = np.random.default_rng(4).permutation(ROWS)
ONLY_H5PY = {"scaleoffset": 0}
"""A filter that npdata does not decode by itself."""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="for Linux")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(CHUNK, 40), compression=4, shuffle=True)
        file.create_dataset("tiles", data=X, chunks=(CHUNK, 15), compression=1)
        file["plain"] = X
        file["numbers"] = np.arange(ROWS)
    return tmp_path / "d.h5"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(path: Path, cache: Any, name: str = "x", **options: Any) -> NumpyDataset:
    return NumpyDataset.from_hdf5(path, name, cache=cache, **options)


def decodes(ds: NumpyDataset, expected: np.ndarray = X) -> int:
    """Read all rows in random order; gives how many chunks were decoded for that."""
    before = ds.sources[0].decoded_chunks
    for k in range(0, ROWS, 128):
        rows = ORDER[k : k + 128]
        assert (ds[rows].numpy() == expected[rows]).all()
    return ds.sources[0].decoded_chunks - before


def kept_file(folder: Path) -> Path:
    (found,) = folder.glob("*.npdata")
    return found


@pytest.mark.parametrize("name", ["x", "tiles"])
def test_a_chunk_is_decoded_once_by_all_runs(path: Path, folder: Path, name: str) -> None:
    chunks = CHUNKS * (3 if name == "tiles" else 1)
    ds = opened(path, folder, name)
    assert decodes(ds) == chunks
    assert decodes(ds) == 0
    for _ in range(2):
        ds = opened(path, folder, name)
        assert decodes(ds) == 0
        assert decodes(ds) == 0


def test_rows_in_memory_are_decoded_once_and_end_with_the_dataset(path: Path) -> None:
    with opened(path, "ram") as ds:
        assert decodes(ds) == CHUNKS
        assert decodes(ds) == 0
    ds = opened(path, "ram")
    assert decodes(ds) == CHUNKS
    assert "kept in memory" in str(ds.describe())


dtypes = st.sampled_from(["u1", "<i2", ">f4", "<f8", "S3", "?", "c8"])


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    chunk=st.lists(st.integers(1, 9), min_size=3, max_size=3),
    dtype=dtypes,
    filters=st.sampled_from(
        [{"compression": 1}, {"compression": "lzf", "shuffle": True}, {"fletcher32": True}]
    ),
    written=st.integers(0, 9),
    most=st.sampled_from([None, 0, 20_000, 21_000]),
    rows=st.lists(st.integers(0, 8), max_size=12),
)
@settings(max_examples=60)
def test_kept_rows_are_those_of_h5py(
    tmp_path_factory: pytest.TempPathFactory,
    shape: list[int],
    chunk: list[int],
    dtype: str,
    filters: dict[str, Any],
    written: int,
    most: int | None,
    rows: list[int],
) -> None:
    here = tmp_path_factory.mktemp("kept")
    sizes = tuple(min(n, c) for n, c in zip(shape, chunk, strict=False))
    values = np.random.default_rng(written).integers(0, 2, shape).astype(dtype)
    with h5py.File(here / "d.h5", "w") as file:
        dataset = file.create_dataset("x", shape, dtype, chunks=sizes, fillvalue=None, **filters)
        dataset[:written] = values[:written]
        expected = dataset[...]
    indices = np.array([row % shape[0] for row in rows], np.int64)
    for cache in (here / "cache", here / "cache", "ram"):
        source = _source(here / "d.h5", cache, most)
        for _ in range(2):
            out = np.empty((len(indices), *shape[1:]), source.dtype)
            source.read(indices, out)
            assert out.tobytes() == expected[indices].tobytes()
        source.close()


def _source(path: Path, cache: Any, most: int | None) -> npdata.Source:
    return cached(npdata.open_source(f"{path}::x"), Cache.of(cache, most))


def overwrite(offset: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset if offset >= 0 else path.stat().st_size + offset)
            file.write(b"\xff" * 8)

    return write


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_and_extended(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, HEADER + 4096 + 5 * CHUNK * 160)
    os.truncate(path, size)


def moved(path: Path) -> None:
    """As blocks of the disk that were another chunk's: whole, and at the wrong place."""
    data = bytearray(path.read_bytes())
    for start, size in ((HEADER, 8), (HEADER + 4096, CHUNK * 160)):
        data[start + size : start + 2 * size] = data[start : start + size]
    path.write_bytes(data)


@LINUX
@pytest.mark.parametrize(
    ("refused", "each"),
    [(None, 1), (errno.EAGAIN, 2), (errno.EINVAL, 0)],
    ids=["are made once", "are tried again where a thread writes", "are given up where unknown"],
)
def test_large_pages_of_rows_in_memory(
    monkeypatch: pytest.MonkeyPatch, refused: int | None, each: int
) -> None:
    plan = Plan(about="{}", chunk_bytes=1 << 20, count=11)
    data = np.random.default_rng(0).integers(0, 256, (plan.count, 1 << 20), np.uint8)
    asked: list[int] = []

    def allocate(descriptor: int, offset: int, address: int) -> None:
        assert address % file_map.LARGE_PAGE == 0
        asked.append(offset // file_map.LARGE_PAGE)
        if refused is not None and asked.count(asked[-1]) == 1:
            raise OSError(refused, "refused")
        with contextlib.suppress(OSError):  # this system may have none
            file_map.allocate_large_page(descriptor, offset, address)

    monkeypatch.setattr(large_pages, "allocate_large_page", allocate)
    kept = KeptInMemory(plan, 9).open()
    for number in range(plan.count):
        found = kept.keep(number, data[number])
        assert (found is None) == (number >= 9)
    assert Counter(asked) == (dict.fromkeys(range(4), each) if each else {0: 1})
    scratch = np.empty(1 << 20, np.uint8)
    assert all((kept.find(k, scratch) == data[k]).all() for k in range(9))


@LINUX
def test_large_pages_of_small_chunks_are_made_once_a_quarter_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = Plan(about="{}", chunk_bytes=1 << 16, count=65)
    asked: list[int] = []
    monkeypatch.setattr(large_pages, "allocate_large_page", lambda *where: asked.append(where[1]))
    kept = KeptInMemory(plan, plan.count).open()
    data = np.ones(1 << 16, np.uint8)
    for number in (*range(32, 39), 63):
        assert kept.keep(number, data) is not None
    assert asked == []
    kept.keep(40, data)
    assert asked == [file_map.LARGE_PAGE]


@pytest.mark.parametrize(
    ("damage", "again"),
    [
        (moved, 1),
        (overwrite(HEADER), 1),
        (overwrite(HEADER + 8 * (CHUNKS - 1)), 1),
        (overwrite(HEADER + 4096), 1),
        (overwrite(-8), 1),
        (overwrite(0), CHUNKS),
        (cut, CHUNKS),
        (cut_and_extended, CHUNKS - 5),
        (lambda path: path.write_bytes(b""), CHUNKS),
        (lambda path: path.unlink(), CHUNKS),
    ],
    ids=[
        "moved",
        "record",
        "last record",
        "chunk",
        "last",
        "header",
        "cut",
        "holes",
        "empty",
        "gone",
    ],
)
def test_what_is_damaged_is_decoded_again(
    path: Path, folder: Path, damage: Callable[[Path], None], again: int
) -> None:
    decodes(opened(path, folder))
    damage(kept_file(folder))
    assert decodes(opened(path, folder)) == again
    assert decodes(opened(path, folder)) == 0


@LINUX
def test_a_file_is_trusted_once_all_its_chunks_were_seen(path: Path, folder: Path) -> None:
    with opened(path, folder) as ds:
        assert not entry_of(ds).complete
        decodes(ds)
    with opened(path, folder) as ds:
        assert entry_of(ds).complete
    assert kept_file(folder).stat().st_mtime_ns % (2 * 10**9) == 0  # which every file system keeps
    overwrite(-8)(kept_file(folder))
    with opened(path, folder) as ds:
        assert not entry_of(ds).complete


@LINUX
def test_a_damaged_file_leaves_none_open(folder: Path) -> None:
    plan = Plan(about="{}", chunk_bytes=8, count=2)
    Folder(folder).open(plan, plan.nbytes)
    overwrite(0)(kept_file(folder))
    before = len(list(Path("/proc/self/fd").iterdir()))
    Folder(folder).open(plan, plan.nbytes)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@LINUX
def test_an_interrupt_while_a_kept_file_is_opened_leaves_none_open(folder: Path) -> None:
    kept = KeptInFolder(Plan(about="{}", chunk_bytes=8, count=2), str(folder), 2)
    kept.open()
    at, threads = "npdata/runtime/undisturbed.py", _thread._count()
    count = run_interrupted(kept.open, at, -1)
    for boundary in range(1, count):
        run_interrupted(kept.open, at, boundary)
        while _thread._count() > threads:  # what was begun goes on to its end
            pass
    assert descriptors_of(kept_file(folder)) == 0


def test_memory_of_a_process_that_has_ended_is_made_anew() -> None:
    data = np.ones(8, np.uint8)
    sent = pickle.dumps(KeptInMemory(Plan(about="{}", chunk_bytes=8, count=2), 2))
    entry = pickle.loads(sent).open()
    assert entry.find(0, data.copy()) is None
    assert entry.keep(0, data) is not None


def test_a_chunk_that_is_seen_again_counts_once() -> None:
    entry, data = (
        KeptInMemory(Plan(about="{}", chunk_bytes=8, count=2), 2).open(),
        np.zeros(8, "u1"),
    )
    for number in (0, 1):
        assert not entry.complete
        entry.keep(number, data)
        for _ in range(2):
            assert entry.find(number, data) is not None
    assert entry.complete


def entry_of(ds: NumpyDataset) -> Entry:
    ds[[0]]
    return ds.sources[0]._state.get().entry


@pytest.mark.parametrize("name", ["x", "tiles"])
def test_a_file_that_is_cut_while_in_use_is_left(path: Path, folder: Path, name: str) -> None:
    ds = opened(path, folder, name)
    decodes(ds)
    os.truncate(kept_file(folder), 0)
    with pytest.warns(CacheWarning, match="cut short, and rows are decoded as without it"):
        decodes(ds)
    decodes(ds)
    assert decodes(opened(path, folder, name)) > 0
    decodes(ds)


def test_a_cache_that_is_removed_while_in_use_goes_on(path: Path, folder: Path) -> None:
    ds = opened(path, folder)
    decodes(ds)
    assert Folder(folder).clear() == 1
    assert decodes(ds) == 0
    assert decodes(opened(path, folder)) == CHUNKS


FILL = """
import sys, numpy as np, npdata
path, cache, seed, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ds = npdata.NumpyDataset.from_hdf5(path, "x", cache=cache)
for row in np.tile(np.random.default_rng(seed).permutation(len(ds)), epochs):
    print(int(row), float(ds[int(row)].sum()), flush=True)
"""


@LINUX
def test_a_file_that_is_being_made_is_removed_after_that(folder: Path) -> None:
    folder.mkdir()
    part, whole = (folder / f"{'0' * 32}{suffix}" for suffix in (".part", ".npdata"))
    part.touch()
    removed: SimpleQueue[int] = SimpleQueue()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: removed.put(Folder(folder).clear()))
        thread.start()
        while not waits_for_lock(lock.fileno()) and thread.is_alive():
            pass
        part.replace(whole)
    assert removed.get(timeout=HANG) == 1
    thread.join(HANG)
    assert list(folder.glob("0*")) == []


def waits_for_lock(descriptor: int) -> bool:
    """Tell whether somebody waits for the lock of an open file."""
    inode = f":{os.fstat(descriptor).st_ino} "
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and inode in line for line in locks)


def filling(
    path: Path, folder: Path, seed: int, epochs: int = 1
) -> contextlib.AbstractContextManager[tuple[Fork, TextIO]]:
    return running(FILL, *map(str, (path, folder, seed, epochs)))


@pytest.mark.parametrize("lines", [1, 5, 12])
def test_a_kill_costs_no_row(path: Path, folder: Path, lines: int) -> None:
    with filling(path, folder, lines, epochs=100) as (process, out):  # more than the pipe holds
        for _ in range(lines):
            out.readline()
        process.send(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert decodes(opened(path, folder)) < CHUNKS


def test_processes_that_fill_one_cache_at_once_read_their_rows(path: Path, folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(filling(path, folder, seed)) for seed in range(3)]
        for process, out in processes:
            lines = out.readlines()
            assert process.wait() == 0
            assert len(lines) == ROWS
            for line in lines:
                row, total = line.split()
                assert float(total) == X[int(row)].sum()
    assert decodes(opened(path, folder)) == 0


def test_a_cache_holds_the_first_chunks_within_its_bytes(path: Path, folder: Path) -> None:
    most = 100_000
    ds = opened(path, folder, cache_bytes=most)
    decodes(ds)
    decodes(ds)
    assert kept_file(folder).stat().st_blocks * 512 <= most
    assert "the first 7 of 16 chunks are decoded once" in str(ds.describe())
    again = opened(path, folder, cache_bytes=most)
    assert decodes(again) == CHUNKS - 7
    for each in (ds, again):
        each.close()
    del ds, again, each
    assert decodes(opened(path, folder, cache_bytes=most)) == CHUNKS - 7  # makes no room for itself


def test_a_cache_without_room_keeps_nothing(path: Path, folder: Path) -> None:
    for cache in (folder, "ram"):
        ds = opened(path, cache, cache_bytes=0)
        assert decodes(ds) == CHUNKS
        assert "the first 0 of 16 chunks" in str(ds.describe())


def test_memory_is_bounded_over_all_datasets(path: Path) -> None:
    most = 16 * CHUNK * 160 + 5 * CHUNK * 160
    with opened(path, "ram", cache_bytes=most) as first:
        decodes(first)
        with opened(path, "ram", cache_bytes=most) as second:
            assert "the first 5 of 16 chunks" in str(second.describe())
            decodes(second)


def test_what_was_not_used_for_the_longest_makes_room(path: Path, folder: Path) -> None:
    for name in ("x", "tiles"):
        script = "import sys, npdata; npdata.NumpyDataset.from_hdf5(sys.argv[1], sys.argv[2], "
        script += "cache=sys.argv[3])[:]"
        assert run(script, str(path), name, str(folder)).returncode == 0
    assert {held.about["dataset"] for held in Folder(folder).held()} == {"/x", "/tiles"}
    with h5py.File(path.with_name("new.h5"), "w") as file:
        file.create_dataset("x", data=X, chunks=(CHUNK, 40), compression=4)
    ds = opened(path.with_name("new.h5"), folder, cache_bytes=400_000)
    assert decodes(ds) == CHUNKS
    assert [held.about["dataset"] for held in Folder(folder).held()].count("/tiles") == 1
    files = {Path(held.about["files"][0][0]).name for held in Folder(folder).held()}
    assert files == {"d.h5", "new.h5"}
    # What is in use stays, and the newcomer has what is left.
    third = opened(path, folder, cache_bytes=300_000)
    assert "the first" in str(third.describe())
    decodes(third)
    assert decodes(ds) == 0


@LINUX
def test_to_look_at_what_is_kept_is_no_use_of_it(path: Path, folder: Path) -> None:
    with opened(path, folder) as ds:
        ds[:CHUNK]
    (held,) = Folder(folder).held()
    used, written = 10**18, 2 * 10**18  # the next read is noted where files are mounted as usual
    os.utime(held.path, ns=(used, written))
    assert [[each.used for each in Folder(folder).held()] for _ in range(2)] == [[used]] * 2


def test_what_was_closed_makes_room_in_the_same_process(path: Path, folder: Path) -> None:
    for name in ("x", "tiles", "x"):
        with opened(path, folder, name, cache_bytes=250_000) as ds:
            assert "each chunk is decoded once" in str(ds.describe())
            ds[:]
        del ds
        assert len(Folder(folder).held()) == 1


@pytest.mark.parametrize("locks", [True, False])
def test_room_that_a_dataset_has_reserved_goes_to_no_other(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    if not locks:

        def refuse(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "as on some file systems")

        monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        opened(path, folder, cache_bytes=250_000) as unread,
        opened(path, folder, "tiles", cache_bytes=250_000) as tiles,
    ):
        assert "the first" in str(tiles.describe())
        assert decodes(unread) == CHUNKS
        assert decodes(unread) == 0


def test_what_another_process_has_locked_makes_no_room(path: Path, folder: Path) -> None:
    with opened(path, folder) as ds:
        decodes(ds)
    del ds
    with kept_file(folder).open() as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        with opened(path, folder, "tiles", cache_bytes=250_000) as tiles:
            assert "the first" in str(tiles.describe())
    assert decodes(opened(path, folder)) == 0


READ_LATER = """
import sys, npdata
path, cache, go, end = sys.argv[1:]
ds = npdata.NumpyDataset.from_hdf5(path, "x", cache=cache, cache_bytes=250_000)
print(ds.describe(), flush=True)
open(go).close()
ds[:]
print(ds.sources[0].decoded_chunks, flush=True)
open(end).close()  # of one pipe, a second opening could meet the first of the other side
"""


@LINUX
@pytest.mark.parametrize("before", ["nothing is kept", "all is kept", "all is removed"])
def test_room_that_another_process_has_reserved_goes_to_nobody(
    path: Path, folder: Path, before: str
) -> None:
    if before == "all is kept":
        with opened(path, folder) as ds:
            decodes(ds)
        del ds
    go, end = path.with_name("go"), path.with_name("end")
    os.mkfifo(go)
    os.mkfifo(end)
    pipes = str(go), str(end)
    with running(READ_LATER, str(path), str(folder), *pipes) as (process, lines):
        while "each chunk is decoded once" not in lines.readline():
            pass
        if before == "all is removed":
            Folder(folder).clear()
        else:
            with opened(path, folder, "tiles", cache_bytes=250_000) as tiles:
                assert "the first" in str(tiles.describe())
        go.open("w").close()
        decoded = "0\n" if before == "all is kept" else f"{CHUNKS}\n"
        while lines.readline() != decoded:
            pass
        with opened(path, folder, "tiles", cache_bytes=250_000) as tiles:
            assert "the first" in str(tiles.describe())
            decodes(tiles)
        assert sum(held.nbytes for held in Folder(folder).held()) <= 250_000
        end.open("w").close()
        assert process.wait() == 0


def test_who_has_less_room_for_a_file_takes_none_of_what_another_has(
    path: Path, folder: Path
) -> None:
    most = 250_000
    with opened(path, folder, cache_bytes=most) as ds, opened(path, folder, cache_bytes=0) as less:
        assert decodes(less) == CHUNKS
        with opened(path, folder, "tiles", cache_bytes=most) as tiles:
            decodes(tiles)
            decodes(ds)
            assert sum(held.nbytes for held in Folder(folder).held()) <= most


def test_what_was_kept_of_a_dataset_takes_none_of_its_room(path: Path, folder: Path) -> None:
    for name in ("tiles", "x"):
        with opened(path, folder, name) as ds:
            ds[:]
    ds = opened(path, folder, cache_bytes=250_000)
    assert "each chunk is decoded once" in str(ds.describe())
    assert [held.about["dataset"] for held in Folder(folder).held()] == ["/x"]
    assert decodes(ds) == 0


def test_what_was_closed_makes_room_while_its_map_is_in_use(path: Path, folder: Path) -> None:
    with opened(path, folder, cache_bytes=250_000) as ds:
        decodes(ds)
        entry = entry_of(ds)  # as a thread has it that is late
    with opened(path, folder, "tiles", cache_bytes=250_000) as ds:
        assert "each chunk is decoded once" in str(ds.describe())
    assert (entry.rows(X.shape, X.dtype) == X).all()


@LINUX
def test_a_full_disk_ends_the_writing_and_no_reading(path: Path, folder: Path) -> None:
    ds = opened(path, folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER + 4096 + 5 * CHUNK * 160 + 99, hard))
        why = r"no more rows are kept: .*too large; .*give a folder on a disk .*\.npdata"
        with pytest.warns(CacheWarning, match=why):
            decodes(ds)
        assert decodes(ds) == 0
        with pytest.raises(OSError, match=r"give a folder on a disk that has room.*\.npdata"):
            opened(path, folder, "tiles")
        with pytest.raises(OSError, match=r'too large; cache="ram" is a file of \d+ .*ulimit -f'):
            opened(path, "ram", "tiles")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 0 < decodes(opened(path, folder)) <= CHUNKS


@LINUX
def test_what_ends_the_writing_holds_no_chunk(folder: Path) -> None:
    plan = Plan(about="{}", chunk_bytes=8, count=2)
    entry = Entry(Folder(folder).open(plan, plan.nbytes), plan, 2, kept_file(folder))
    data = np.ones(8, np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER, hard))
        assert entry.keep(0, data) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert entry.trouble is not None
    held = weakref.ref(data)
    del data
    assert held() is None


@LINUX
def test_memory_for_more_files_than_may_be_open_is_an_error_with_its_cure() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match=r"open for each file .*ulimit -n.*, or give a folder"):
            KeptInMemory(Plan(about="{}", chunk_bytes=8, count=2), 2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@LINUX
def test_memory_is_read_by_the_descriptor_that_keeps_it() -> None:
    kept = KeptInMemory(Plan(about="{}", chunk_bytes=8, count=2), 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert kept.open().intact()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(path: Path) -> None:
    with pytest.raises(OSError, match=r"\] Not a directory: .*d\.h5"):
        opened(path, path / "cache")
    with pytest.raises(NotADirectoryError, match=r"no folder, and cache= needs one: .*d\.h5"):
        opened(path, path)


def test_a_folder_may_be_in_the_home(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(path.parent))
    decodes(opened(path, "~/kept/here"))
    assert len(Folder(path.parent / "kept" / "here").held()) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_read_only_folder_is_an_error_with_its_name(path: Path, folder: Path) -> None:
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="cache"):
        opened(path, folder)


@contextlib.contextmanager
def shared_by_users(path: Path) -> Iterator[tuple[Path, Path]]:
    """Give a copy of the data, and a folder in which root has kept it, both for all users."""
    with tempfile.TemporaryDirectory() as name:  # others may not enter that of pytest
        data, folder = Path(shutil.copy(path, name)), Path(name) / "cache"
        data.parent.chmod(0o755)
        folder.mkdir()
        folder.chmod(0o1777)  # as /tmp: nobody removes what another made
        os.chown(folder, 65533, -1)  # else Linux lets root's files there be created once more
        umask = os.umask(0)
        try:
            with opened(data, folder) as ds:
                decodes(ds)
        finally:
            os.umask(umask)
        yield data, folder


@pytest.mark.skipif(not IS_ROOT, reason="root may be anybody")
def test_what_was_left_by_another_user_who_was_killed_is_in_nobodys_way(path: Path) -> None:
    with shared_by_users(path) as (data, folder):
        kept_file(folder).rename(kept_file(folder).with_suffix(".part"))
        with another_user():
            for _ in range(2):
                with opened(data, folder) as ds:
                    decodes(ds)
            assert decodes(opened(data, folder)) == 0


@pytest.mark.skipif(not IS_ROOT, reason="root may be anybody")
def test_users_share_a_folder_whose_files_each_may_write_to(path: Path) -> None:
    with shared_by_users(path) as (data, folder):
        with another_user():
            assert decodes(opened(data, folder)) == 0
            with opened(data, folder, "tiles", cache_bytes=250_000) as tiles:
                decodes(tiles)
                assert "the first" in str(tiles.describe())
            with pytest.raises(PermissionError, match=r"not permitted: .*\.npdata'$"):
                Folder(folder).clear()
            ds = opened(data, folder)
        of_root = kept_file(folder)
        of_root.chmod(0o600)
        with another_user():
            with pytest.raises(PermissionError, match=r"a folder of your own.*\.npdata"):
                opened(data, folder)
            assert [held.about for held in Folder(folder).held()] == [{}]
        folder.chmod(0o700)
        with another_user():
            with pytest.warns(CacheWarning, match=r"cannot be opened, .* as without it: .*\.lock"):
                assert decodes(ds) == CHUNKS
            with pytest.raises(PermissionError, match="cache"):
                Folder(folder).held()


def test_a_cache_that_is_no_folder_any_more_is_left(path: Path, folder: Path) -> None:
    ds, seen = opened(path, folder), opened(path, folder)
    decodes(seen)
    seen.sources[0].close_idle()
    shutil.rmtree(folder)
    folder.touch()
    with pytest.warns(CacheWarning, match="cannot be opened, and rows are decoded as without it"):
        assert decodes(ds) == CHUNKS
    with pytest.warns(CacheWarning, match="file is out of reach or was cut short, and rows"):
        decodes(seen)


def test_a_folder_in_place_of_a_kept_file_is_an_error_with_its_cure(
    path: Path, folder: Path
) -> None:
    with opened(path, folder):
        kept = kept_file(folder)
    kept.unlink()
    kept.mkdir()
    cure = rf"cache= writes here: remove what stands there, .*{kept.name}"
    with pytest.raises(IsADirectoryError, match=cure):
        opened(path, folder)
    kept.rmdir()
    decodes(opened(path, folder))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_nobody_waits_for_a_pipe_in_a_folder_of_a_cache(path: Path, folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / f"{'0' * 32}.npdata")
    (folder / f"{'1' * 32}.npdata").symlink_to(f"{'1' * 32}.npdata")
    assert Folder(folder).held() == []
    with opened(path, folder, cache_bytes=250_000) as ds:  # for which others would make room
        decodes(ds)


def test_a_changed_file_has_other_rows(path: Path, folder: Path) -> None:
    ds = opened(path, folder)
    decodes(ds)
    status = path.stat()
    with h5py.File(path, "r+") as file:
        file["x"][...] = X + 1
    # As tools that copy files do; what tells them apart is the time of the change itself.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    if path.stat().st_size == status.st_size:
        assert decodes(opened(path, folder), X + 1) == CHUNKS
    os.utime(path)
    with pytest.raises(ChangedFileError):
        ds[0]
    assert decodes(opened(path, folder), X + 1) == CHUNKS


def test_a_pickle_is_an_address(path: Path, folder: Path) -> None:
    for cache in (folder, "ram"):
        ds = opened(path, cache)
        decodes(ds)
        text = pickle.dumps(ds)
        assert len(text) < 3000
        again = pickle.loads(text)
        assert decodes(again) == 0


@pytest.mark.parametrize("method", ["fork", "forkserver"])
@pytest.mark.parametrize("cache", ["folder", "ram"])
def test_workers_share_what_is_kept(path: Path, folder: Path, cache: str, method: str) -> None:
    ds = opened(path, folder if cache == "folder" else "ram")
    torch.get_num_threads()
    context = multiprocessing.get_context(method)
    loader = DataLoader(ds, 50, num_workers=2, multiprocessing_context=context)
    assert (torch.cat(list(loader)).numpy() == X).all()
    # All of the chunks came from the workers, which have ended.
    assert decodes(ds) == 0
    assert (torch.cat(list(loader)).numpy() == X).all()


def test_loader_reads_kept_rows(path: Path, folder: Path) -> None:
    ds = opened(path, folder)
    for shuffle in ("block", True, False, "block"):
        seen = torch.cat(list(npdata.Loader(ds, 30, shuffle=shuffle))).numpy()
        assert sorted(map(tuple, seen)) == sorted(map(tuple, X))
    assert ds.sources[0].decoded_chunks == CHUNKS


def test_rows_that_need_no_decoding_are_read_as_ever(path: Path, folder: Path) -> None:
    ds = NumpyDataset.from_hdf5(path, "plain", "x", "numbers", cache=folder)
    assert [held.about["dataset"] for held in Folder(folder).held()] == ["/x"]
    plain, kept, _ = ds.describe().fields
    assert dict(plain.details)["cache"] == "not needed: its rows are mapped"
    assert str(folder) in dict(kept.details)["cache"]
    assert (ds[5][0] == ds[5][1]).all()


def test_a_source_of_the_user_stays_as_it_is(path: Path) -> None:
    source = npdata.open_source(f"{path}::plain")
    before = source.details
    ds = NumpyDataset(source, cache="ram")
    assert source.details == before
    for same in (ds, pickle.loads(pickle.dumps(ds))):
        (field,) = same.describe().fields
        assert dict(field.details)["cache"] == "not needed: its rows are mapped"


@pytest.mark.parametrize(("filters", "chunks"), [({"compression": 4}, CHUNKS), (ONLY_H5PY, 1)])
def test_rows_along_another_axis_are_decoded_once(
    filters: dict[str, int], chunks: int, tmp_path: Path, folder: Path
) -> None:
    path, expected = tmp_path / "d.h5", X.T
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X.astype("i4"), chunks=(CHUNK, 40), **filters)
    ds = opened(path, folder, axis=-1)
    for _ in range(2):
        rows = np.array([39, 0, 5, 39])
        assert (ds[rows].numpy() == expected[rows]).all()
        assert (ds[:].numpy() == expected).all()
    assert ds.sources[0].decoded_chunks == chunks
    again = opened(path, folder, axis=-1)
    assert (again[:].numpy() == expected).all()
    assert again.sources[0].decoded_chunks == 0
    os.utime(path)
    with pytest.raises(ChangedFileError):
        again[0]


def test_virtual_rows_are_known_by_all_their_files(tmp_path: Path, folder: Path) -> None:
    layout = h5py.VirtualLayout((20, 4), "f4")
    for part in range(2):
        name = tmp_path / f"part-{part}.h5"
        with h5py.File(name, "w") as file:
            file["x"] = np.full((10, 4), part, "f4")
        layout[10 * part : 10 * part + 10] = h5py.VirtualSource(name, "x", (10, 4))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    ds = opened(tmp_path / "v.h5", folder, allow_external=True)
    assert ds[:].sum() == 40
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file["x"] = np.full((10, 4), 7, "f4")
    (tmp_path / "new.h5").replace(tmp_path / "part-1.h5")
    with pytest.raises(ChangedFileError):
        ds[0]
    ds = opened(tmp_path / "v.h5", folder, allow_external=True)
    assert ds[:].sum() == 280


def test_many_files_are_kept_each_by_itself(tmp_path: Path, folder: Path) -> None:
    for part in range(3):
        with h5py.File(tmp_path / f"part-{part}.h5", "w") as file:
            file.create_dataset("x", data=X + part, chunks=(CHUNK, 40), compression=1)
    expected = np.concatenate([X + part for part in range(3)])
    glob = f"{tmp_path}/part-*.h5"
    for ds in (
        NumpyDataset.from_hdf5(glob, "x", cache=folder),
        npdata.concatenate(f"{glob}::x", cache=folder),
    ):
        rows = np.random.default_rng(0).permutation(3 * ROWS)
        assert (ds[rows].numpy() == expected[rows]).all()
        assert "cache" in str(ds.describe())
    assert len(Folder(folder).held()) == 3
    assert ds.sources[0].decoded_chunks == 0


@LINUX
@pytest.mark.parametrize("most", [None, 60_000])
def test_the_folder_is_looked_at_once_for_many_files(
    tmp_path: Path, folder: Path, most: int | None
) -> None:
    """Also where there is no room for all of them; to do so for each took 40 s for 5,000."""
    files = 40
    for part in range(files):
        with h5py.File(tmp_path / f"part-{part}.h5", "w") as file:
            file.create_dataset("x", data=X[part : part + 7], chunks=(3, 40), compression=1)
    script = """
        import collections, os, sys, npdata
        glob, folder, most = sys.argv[1:]
        seen = collections.Counter()
        def hook(event, details):
            if event in ("os.scandir", "open") and str(details[0]).startswith(folder):
                seen[event] += not str(details[0]).endswith(".lock")
        sys.addaudithook(hook)
        most = None if most == "None" else int(most)
        for _ in range(2):
            ds = npdata.concatenate(glob, cache=folder, cache_bytes=most)
        print(seen["os.scandir"], seen["open"])
    """
    done = run(textwrap.dedent(script), f"{tmp_path}/part-*.h5::x", str(folder), str(most))
    assert done.returncode == 0, done.stderr
    looks, opened = map(int, done.stdout.split())
    assert looks == 2
    assert opened <= 2 * 3 * files


def test_files_that_one_dataset_keeps_make_no_room_for_each_other(
    tmp_path: Path, folder: Path
) -> None:
    for part in range(6):
        with h5py.File(tmp_path / f"part-{part}.h5", "w") as file:
            file.create_dataset("x", data=X[part : part + 70], chunks=(7, 40), compression=1)
    parts = list(range(6))
    for order in (parts, parts, parts[::-1], parts):
        files = [f"{tmp_path}/part-{part}.h5::x" for part in order]
        with npdata.concatenate(files, cache=folder, cache_bytes=110_000) as ds:
            assert (ds[:].numpy() == np.concatenate([X[part : part + 70] for part in order])).all()
        del ds
        held = Folder(folder).held()
        assert len(held) == 3
        assert 70_000 < sum(file.nbytes for file in held) <= 110_000


@pytest.mark.parametrize("most", [0, 20_000, 21_600, 70_000, 158_000])
def test_no_number_of_files_takes_more_than_the_bytes_of_a_cache(
    tmp_path: Path, folder: Path, most: int
) -> None:
    for part in range(20):
        with h5py.File(tmp_path / f"part-{part:02}.h5", "w") as file:
            file.create_dataset("x", data=X[part : part + 14], chunks=(7, 40), compression=1)
    for _ in range(2):
        ds = npdata.concatenate(f"{tmp_path}/part-*.h5::x", cache=folder, cache_bytes=most)
        assert (ds[:].numpy() == np.concatenate([X[part : part + 14] for part in range(20)])).all()
        assert sum(held.nbytes for held in Folder(folder).held()) <= most


def test_what_a_file_holds_takes_room_where_less_is_reserved(folder: Path) -> None:
    large, small = (Plan(about=f"{n}", chunk_bytes=n, count=3) for n in (1 << 16, 8))
    entry = KeptInFolder(large, str(folder), 3).open()
    for number in range(3):
        entry.keep(number, np.ones(1 << 16, np.uint8))
    del entry  # and with it its reservation
    with Room(Folder(folder), large.most_with(3) - 1, set()) as room:
        assert [room.reserve(plan)[0] for plan in (large, small)] == [2, 0]


def test_some_of_many_files_are_kept(tmp_path: Path, folder: Path) -> None:
    """Whichever comes first: rows of uncompressed files stay where they are."""
    for name, options in (("a", {}), ("b", {"chunks": (3, 4), "compression": "gzip"}), ("c", {})):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("x", data=np.full((10, 4), ord(name)), **options)
    for order in ("ab", "ba", "abc", "cab"):
        files = [f"{tmp_path}/{name}.h5::x" for name in order]
        for cache in ("ram", folder):
            ds = npdata.concatenate(files, cache=cache)
            assert ds[:][:, 0].tolist() == [ord(name) for name in order for _ in range(10)]
            assert "each chunk is decoded once and kept in" in str(ds.describe())


@LINUX
def test_of_many_files_few_stay_open(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (192, 192))
    for part in range(100):
        with h5py.File(tmp_path / f"part-{part}.h5", "w") as file:
            file.create_dataset("x", data=X[part : part + 7], chunks=(3, 40), compression=1)
    expected = np.concatenate([X[part : part + 7] for part in range(100)])
    before = len(list(Path("/proc/self/fd").iterdir()))
    ds = npdata.concatenate(f"{tmp_path}/part-*.h5::x", cache=folder)
    rows = np.random.default_rng(0).permutation(700)
    loader = npdata.Loader(ds, sampler=np.split(rows, 14), num_threads=0)
    for _ in range(2):
        for batch, chosen in zip(loader, np.split(rows, 14), strict=True):
            assert (batch.numpy() == expected[chosen]).all()
            assert len(list(Path("/proc/self/fd").iterdir())) - before < 80
    # A file that is cut short while it is closed is left as well.
    os.truncate(next(folder.glob("*.npdata")), 5)
    with pytest.warns(CacheWarning, match="cut short"):
        assert (ds[rows].numpy() == expected[rows]).all()
    Folder(folder).clear()
    assert (ds[rows].numpy() == expected[rows]).all()
    batches = list(npdata.Loader(ds, 16))  # its advice looks for the files that were removed
    assert (torch.cat(batches).numpy() == expected).all()


def test_what_rows_are_made_of_is_kept(tmp_path: Path, folder: Path) -> None:
    values = np.arange(3000, dtype="f4")
    bounds = np.arange(0, 3001, 30)
    records = np.zeros(500, [("id", "i4"), ("pos", "f8", 2)])
    records["id"] = np.arange(500)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for name, data in {"data": values, "columns": np.arange(3000) % 40, "t": records}.items():
            file.create_dataset(name, data=data, chunks=(100,), compression=1)
    path = tmp_path / "d.h5"
    for runs in (1, 0):
        spans = npdata.ragged(f"{path}::data", offsets=bounds)
        sparse = npdata.csr(f"{path}::data", f"{path}::columns", bounds, (100, 40))
        ds = NumpyDataset(spans, sparse, cache=folder)
        rows = [99, 5, 5, 0]
        _, dense = ds[rows]
        assert (ds[5][0].numpy() == values[150:180]).all()
        assert dense.sum() == sum(values[30 * k : 30 * k + 30].sum() for k in rows)
        columns = NumpyDataset(
            f"{path}::t.id", f"{path}::t", columns={1: ["id", "pos"]}, cache=folder
        )
        assert (columns[:][0].numpy() == records["id"]).all()
        assert (columns[:][1]["id"].numpy() == records["id"]).all()
        for field in (*ds.describe().fields, *columns.describe().fields):
            assert str(folder) in dict(field.details)["cache"]
        decoded = [source.decoded_chunks for source in (*ds.sources, *columns.sources)]
        assert any(decoded) == bool(runs)
    assert len(Folder(folder).held()) == 3


def test_a_cache_may_be_for_some_fields(path: Path, folder: Path) -> None:
    ds = NumpyDataset.from_hdf5(
        path, a="x", b="tiles", cache={"a": folder}, cache_bytes=10**9, decode=None
    )
    assert [held.about["dataset"] for held in Folder(folder).held()] == ["/x"]
    assert (ds[3]["a"] == ds[3]["b"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache": True}, r"cache=True: expected a folder, or \"ram\""),
        ({"cache": ""}, "expected a folder"),
        ({"cache": "RAM"}, r'cache=.RAM.: write cache="ram" for memory, or "./RAM" for a folder'),
        ({"cache": "memory"}, r'write cache="ram" for memory'),
        ({"cache_bytes": 5}, r"cache_bytes= is for cache="),
        ({"cache": "ram", "cache_bytes": "1GB"}, "expected a number of bytes"),
        ({"cache": "ram", "cache_bytes": -1}, "expected a number of bytes"),
        ({"cache": "ram", "cache_bytes": True}, "expected a number of bytes"),
    ],
)
def test_what_is_no_cache_says_what_to_give(
    path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(npdata.errors.FieldError, match=message):
        NumpyDataset.from_hdf5(path, "x", **options)


def test_the_file_says_what_it_keeps(path: Path, folder: Path) -> None:
    opened(path, folder)
    about = json.loads(kept_file(folder).read_bytes().split(b"\0")[0])
    assert about["files"][0][0] == str(path)
    assert about["dataset"] == "/x"
