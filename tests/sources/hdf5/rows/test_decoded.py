"""Decoded chunks: each decoded once, within the budget, by any number of threads and processes."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import HANG
from processes import run as run_script
from torch.utils.data import DataLoader

import npdata
from npdata import NumpyDataset, open_source
from npdata.sources.hdf5.rows import decoded_rows

ROWS = 5000
X = np.random.default_rng(5).integers(0, 50, (ROWS, 40)).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("decoded") / "d.h5"
    with h5py.File(found, "w") as file:
        file.create_dataset("x", data=X, chunks=(64, 40), compression=4, shuffle=True)
        file.create_dataset("tiles", data=X, chunks=(64, 15), compression=1, fletcher32=True)
        file.create_dataset("raw", data=X, chunks=(64, 15))
        file["names"] = [f"row {k}" for k in range(ROWS)]
    return found


def windows(rows: int, block: int, count: int, batch: int) -> list[np.ndarray]:
    """Batches of an epoch whose blocks are shuffled in windows of `count`."""
    rng = np.random.default_rng(0)
    blocks = rng.permutation(-(-rows // block))
    batches = []
    for k in range(0, len(blocks), count):
        parts = [np.arange(b * block, min(rows, (b + 1) * block)) for b in blocks[k : k + count]]
        window = rng.permutation(np.concatenate(parts))
        batches += [window[j : j + batch] for j in range(0, len(window), batch)]
    return batches


def test_a_block_shuffled_epoch_decodes_each_chunk_once(path: Path) -> None:
    source = open_source(f"{path}::x")
    ds = NumpyDataset(source)
    for rows in windows(ROWS, 64, 32, 50):
        assert (ds[rows].numpy() == X[rows]).all()
    assert source.decoded_chunks == -(-ROWS // 64)


def test_where_cores_are_few_one_copies_until_every_chunk_is_decoded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for few, while_missing in ((1 << 20, True), (0, False)):
        monkeypatch.setattr(decoded_rows, "FEW_CORES", few)
        source = open_source(f"{path}::x")
        state = source._state.get()
        for stop, expected in ((ROWS // 2, while_missing), (ROWS, False)):
            rows = np.arange(stop)
            out = np.empty((stop, 40), np.float32)
            source.read(rows, out)
            assert (out == X[:stop]).all()
            assert state._on_one_core is expected


@pytest.mark.slow
def test_threads_that_ask_for_one_chunk_decode_it_once(path: Path) -> None:
    source = open_source(f"{path}::tiles")
    ds = NumpyDataset(source)
    gate = threading.Barrier(6)

    def epoch(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(ROWS)
        gate.wait()
        for k in range(0, ROWS, 200):
            rows = order[k : k + 200]
            assert (ds[rows].numpy() == X[rows]).all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(epoch, range(6)))
    assert source.decoded_chunks == -(-ROWS // 64) * 3


SMALL = """
import sys, threading, numpy as np, npdata
from npdata.runtime.machine import releases_at_once
from npdata.sources.hdf5.chunks.cache import chunk_cache
path, budget = sys.argv[1], int(sys.argv[2])
assert chunk_cache().budget == budget
with __import__("h5py").File(path) as file:
    x = file["x"][...]
fields = [npdata.open_source(f"{path}::{name}") for name in ("x", "tiles")]
def epoch(seed):
    order = np.random.default_rng(seed).integers(0, len(x), 600)
    for k in range(0, 600, 150):
        rows = order[k:k + 150]
        for source in fields:
            source.will_need(int(rows.min()), int(rows.max()) + 1)
            out = np.empty((len(rows), 40), "f4")
            source.read(rows, out)
            if not (out == x[rows]).all():
                failed.append(seed)
    finished.append(seed)
failed, finished = [], []
threads = [threading.Thread(target=epoch, args=(k,)) for k in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
assert not failed and len(finished) == 4
# What two threads held at once goes when the next chunk is decoded.
npdata.open_source(f"{path}::x").read(np.zeros(1, np.int64), np.empty((1, 40), "f4"))
used = chunk_cache().memory.used
assert used <= max(budget, 12288) or not releases_at_once(), used
"""


@pytest.mark.parametrize("budget", [1, 12288, 100_000, 1 << 20])
def test_any_budget_gives_the_same_rows_to_any_thread(path: Path, budget: int) -> None:
    done = run_script(SMALL, str(path), str(budget), NPDATA_CACHE_BYTES=str(budget))
    assert done.returncode == 0, done.stderr


MEMORY = """
import sys, numpy as np, npdata
from npdata.sources.hdf5.chunks.cache import chunk_cache
path = sys.argv[1]
def private():
    fields = (line.split() for line in open("/proc/self/smaps_rollup") if line[0] == "P")
    return sum(int(f[1]) for f in fields if f[0] in ("Private_Clean:", "Private_Dirty:")) << 10
source = npdata.open_source(f"{path}::x")
ds = npdata.NumpyDataset(source)
ds[:1]
source.close()
def batches(source):
    ds = npdata.NumpyDataset(source)
    if sys.argv[2] == "batches":
        for first in range(0, len(ds), 64):
            yield ds.__getitems__(np.arange(first, first + 64)).stacked
    else:
        sampler = npdata.BlockBatchSampler(ds, 64, shuffle="block", window_blocks=8)
        yield from npdata.Loader(ds, sampler=sampler, num_threads=2)
source = npdata.open_source(f"{path}::x")
before = most = private()
for k, batch in enumerate(batches(source)):
    assert len(batch) == 64
    if k % 16 == 0:
        most = max(most, private())
print(source.decoded_chunks, most - before)
assert chunk_cache().budget == 32 << 20
assert source.decoded_chunks == 320
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="measured on Linux")
@pytest.mark.parametrize("way", ["batches", "Loader"])
def test_an_epoch_over_ten_times_the_budget_stays_within_it_and_100_mb(
    tmp_path: Path, way: str
) -> None:
    budget, path = 32 << 20, tmp_path / "big.h5"
    chunk = zlib.compress(np.arange(1 << 18, dtype="f4").tobytes(), 1)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (320 * 64, 4096), "f4", chunks=(64, 4096), compression=1)
        x_bytes = x.nbytes
        for k in range(320):
            x.id.write_direct_chunk((64 * k, 0), chunk)
    assert x_bytes == 10 * budget
    environment = os.environ | {"NPDATA_CACHE_BYTES": str(budget)}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), way],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    decoded, grown = map(int, done.stdout.split())
    assert decoded == 320
    assert grown < budget + 100_000_000
    print(f"private memory grew by {grown / 1e6:.0f} MB with a budget of {budget / 1e6:.0f} MB")


NAMES = ("x", "tiles", "raw")


class Batches:
    def __iter__(self):
        return iter(windows(ROWS, 64, 32, 250))

    def __len__(self) -> int:
        return len(windows(ROWS, 64, 32, 250))


@pytest.mark.slow
@pytest.mark.parametrize("read_before", [True, False])
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_read_the_same_rows(path: Path, method: str, read_before: bool) -> None:
    ds = NumpyDataset.from_hdf5(path, **{name: name for name in NAMES})
    text = NumpyDataset.from_hdf5(path, "names", dtype=str)
    with h5py.File(path) as user:
        user["x"][3:9], user["names"][5]
        if read_before:
            ds[[1, 4999]], text[3]
        batches = DataLoader(
            ds,
            batch_sampler=Batches(),
            collate_fn=npdata.collate,
            num_workers=2,
            multiprocessing_context=method,
            persistent_workers=True,
        )
        for _ in range(2):
            for batch, rows in zip(batches, Batches(), strict=True):
                for name in NAMES:
                    assert (batch[name].numpy() == X[rows]).all()
        words = DataLoader(text, batch_size=500, num_workers=1, multiprocessing_context=method)
        assert [w for batch in words for w in batch] == [f"row {k}" for k in range(ROWS)]
        assert (user["x"][3:9] == X[3:9]).all()


LIVE_AT_EXIT = """
import atexit, sys, threading, npdata
from npdata.sources.hdf5.rows import decoded

batches = iter(npdata.Loader(npdata.NumpyDataset(sys.argv[1]), 500, shuffle=True, num_threads=2))
decode, begun, exits = decoded.decode_chunk, threading.Event(), threading.Event()


def waits(*arguments):
    begun.set()
    exits.wait()
    return decode(*arguments)


decoded.decode_chunk = waits
threading.Thread(target=next, args=(batches,), daemon=True).start()
begun.wait()
atexit.register(exits.set)
"""


def test_the_interpreter_ends_while_loaders_wait_for_chunks(path: Path) -> None:
    done = run_script(LIVE_AT_EXIT, f"{path}::tiles")
    assert done.returncode == 0, done.stderr


def test_a_fork_while_threads_read(path: Path) -> None:
    ds = NumpyDataset.from_hdf5(path, *NAMES)
    stop = threading.Event()

    def read() -> None:
        rng = np.random.default_rng(threading.get_ident())
        while not stop.is_set():
            ds[rng.integers(0, ROWS, 300)]

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        rows = np.arange(0, ROWS, 7)
        context = multiprocessing.get_context("fork")
        for _ in range(4):
            receive, send = context.Pipe(duplex=False)
            child = context.Process(target=send_equal, args=(send, ds, rows))
            child.start()
            assert receive.poll(HANG), "the child hangs"
            assert receive.recv()
            child.join(HANG)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def send_equal(pipe: Connection, ds: NumpyDataset, rows: np.ndarray) -> None:
    torch.set_num_threads(1)
    pipe.send(all(bool((value.numpy() == X[rows]).all()) for value in ds[rows]))


def test_chunks_at_hand_lie_in_their_span_whatever_thread_found_them_last(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread finds chunk 0 and another chunk 1, each while the other is half done."""
    between, make = decoded_rows.ByteRows.between, decoded_rows.ChunkPlaces
    begun, found, done = threading.Event(), threading.Event(), threading.Event()
    other = ThreadPoolExecutor(1, "other")

    def read(chunk: int) -> None:
        assert (ds[64 * chunk : 64 * chunk + 64].numpy() == X[64 * chunk : 64 * chunk + 64]).all()

    def other_reads() -> None:
        read(1)
        done.set()

    def span(*bounds: int) -> decoded_rows.ByteRows:
        if threading.current_thread().name.startswith("other"):
            begun.set()
            assert found.wait(HANG)
        elif not begun.is_set():
            reading.append(other.submit(other_reads))
            assert begun.wait(HANG)
        return between(*bounds)

    def places(*arguments: Any) -> decoded_rows.ChunkPlaces:
        if not found.is_set():
            found.set()
            assert done.wait(HANG)
        return make(*arguments)

    for _ in range(8):  # where chunks lie is by chance
        ds, reading = NumpyDataset(f"{path}::x"), []
        with monkeypatch.context() as patched:
            patched.setattr(decoded_rows.ByteRows, "between", span)
            patched.setattr(decoded_rows, "ChunkPlaces", places)
            read(0)
        reading[0].result(HANG)
        read(2)
        read(0)
        for event in (begun, found, done):
            event.clear()
    other.shutdown()


def test_a_pickle_has_no_table_and_no_rows(path: Path) -> None:
    ds = NumpyDataset.from_hdf5(path, *NAMES)
    ds[:]
    assert len(pickle.dumps(ds)) <= 4096
    assert (pickle.loads(pickle.dumps(ds))[[3, 1]][0].numpy() == X[[3, 1]]).all()


def test_the_table_takes_at_most_40_bytes_a_chunk(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        x = file.create_dataset("x", (20_000, 2), "u1", chunks=(1, 2), compression="lzf")
        for k in range(0, 20_000, 2):
            x.id.write_direct_chunk((k, 0), bytes([k % 256, 1]), 1)
    source = open_source(f"{tmp_path / 'd.h5'}::x")
    table = source._origin.table
    arrays = (table.numbers, table.offsets, table.sizes, table.masks)
    assert sum(array.nbytes for array in arrays) <= 40 * len(table) == 40 * 10_000
    rows = np.arange(20_000)
    out = np.empty((20_000, 2), "u1")
    source.read(rows, out)
    assert (out[:, 0] == np.where(rows % 2, 0, rows % 256)).all()


def test_many_files_keep_few_open(tmp_path: Path) -> None:
    count = 150
    for k in range(count):
        with h5py.File(tmp_path / f"{k:03}.h5", "w") as file:
            file["c"] = X[k * 3 : k * 3 + 3]
            file.create_dataset("k", data=X[k * 3 : k * 3 + 3], chunks=(2, 40))
            file.create_dataset("z", data=X[k * 3 : k * 3 + 3], chunks=(2, 40), compression=1)
            file.create_dataset("s", data=X[k * 3 : k * 3 + 3], chunks=(2, 40), scaleoffset=4)
    ds = NumpyDataset.from_hdf5(str(tmp_path / "*.h5"), "c", "k", "z", "s")
    before = descriptors()
    rng = np.random.default_rng(0)
    for _ in range(5):
        rows = rng.integers(0, len(ds), 300)
        for value in ds[rows][:3]:
            assert (value.numpy() == X[rows]).all()
    # Four fields, each with at most 64 files, of which a map keeps two descriptors.
    assert descriptors() - before <= 4 * 64 * 2
    ds.close()
    assert descriptors() - before <= 10


def descriptors() -> int:
    """Count the open descriptors of this process, where the system tells."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.mark.parametrize("kind", ["x", "tiles", "raw", "holes", "big"])
@pytest.mark.parametrize("access", ["auto", "library"])
def test_runs_of_rows_are_slices(
    kind: str, access: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPDATA_CACHE_BYTES", "8192")  # holds no read whole
    values = np.arange(900, dtype=">i2" if kind == "big" else "i2")
    with h5py.File(tmp_path / "n.h5", "w") as file:
        packed = {} if kind == "raw" else {"compression": 1}
        chunks = (64, 2) if kind == "tiles" else (64,)
        stored = np.stack([values] * 3, 1) if kind == "tiles" else values
        made = file.create_dataset("n", stored.shape, stored.dtype, chunks=chunks, **packed)
        made[: 640 if kind == "holes" else None] = stored[: 640 if kind == "holes" else None]
        stored = made[:]
    source = NumpyDataset.from_hdf5(tmp_path / "n.h5", n="n", access=access).sources[0]

    @given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), max_size=9))
    def check(bounds: list[tuple[int, int]]) -> None:
        pairs = np.array([sorted(pair) for pair in bounds], np.int64).reshape(-1, 2)
        runs = source.runs(pairs[:, 0], pairs[:, 1])
        assert len(runs) == len(pairs)
        for run, (first, stop) in zip(runs, pairs.tolist(), strict=True):
            assert run.dtype == stored.dtype
            assert run.tobytes() == stored[first:stop].tobytes()

    check()


def test_windows_and_spans_of_narrow_packed_rows_decode_each_chunk_once(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 99, 6400).astype(np.uint16)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("t", data=values, chunks=(640,), compression=1)
    rows = np.random.default_rng(1).integers(0, 6300, 64)
    for ds, expected in (
        (NumpyDataset(f"{tmp_path}/t.h5::t").windows(100), lambda k: values[k : k + 100]),
        (
            NumpyDataset(npdata.ragged(f"{tmp_path}/t.h5::t", lengths=[1] * 6300 + [100])),
            lambda k: values[k : k + 1],
        ),
    ):
        batch = npdata.collate(ds.__getitems__(rows))
        made = batch.values if isinstance(batch, npdata.Padded) else batch
        assert (made.numpy() == np.stack([expected(k) for k in rows])).all()
        assert ds.sources[0].decoded_chunks == 10


def test_the_cost_without_a_chunk_cache_names_its_size(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPDATA_CACHE_BYTES", "0")
    described = str(NumpyDataset(f"{path}::x").describe())
    assert "more than half of the 0 of NPDATA_CACHE_BYTES" in described
    by_h5py = str(NumpyDataset.from_hdf5(path, "x", access="library").describe())
    assert "h5py keeps few decoded chunks" in by_h5py
