"""The slab: which chunk stays, which goes, and what is decoded before it is asked for."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from npdata import NumpyDataset, open_source
from npdata.errors import ChangedFileError, FormatError
from npdata.sources.hdf5.budget import share
from npdata.sources.hdf5.chunk_cache import Lease, Slab
from npdata.sources.hdf5.decode_ahead import Ahead
from npdata.sources.hdf5.residents import Entry, Residents

PAGE = 4096


def decode(slab: Slab, chunks: Residents, number: int) -> None:
    """Have a chunk in the slab, with bytes that tell it."""
    lease = leased(slab, chunks, number)
    for entry in lease.fresh:
        fill(slab, entry)
    slab.release(lease)


def leased(slab: Slab, chunks: Residents, *numbers: int) -> Lease:
    lease = Lease()
    slab.lease(lease, chunks, numbers)
    return lease


def fill(slab: Slab, entry: Entry) -> None:
    entry.arena.part(entry.slot, entry.arena.slot_bytes)[:] = entry.number
    slab.done(entry)


def held(chunks: Residents) -> list[int]:
    """The chunks that a read finds."""
    return np.flatnonzero(chunks.places >= 0).tolist()


def look(slab: Slab, chunks: Residents, *numbers: int) -> None:
    """Do what a read of these chunks does, when all of them are there."""
    assert (chunks.places[list(numbers)] >= 0).all()
    chunks.used[list(numbers)] = slab.ticket()


def begin(slab: Slab) -> int:
    ticket = slab.ticket()
    slab.reads[ticket] = None
    return ticket


def end(slab: Slab, ticket: int) -> None:
    del slab.reads[ticket]
    slab.settle()


def announce(slab: Slab, chunks: Residents, *numbers: int) -> None:
    """Announce chunks, and wait until the only thread of the slab has nothing left to do."""
    Ahead(slab).announce(chunks, numbers, lambda entry: fill(slab, entry))
    slab.pool.submit(int).result()


def test_the_budget_and_the_threads_are_divided_among_workers() -> None:
    assert share(256 << 20, 4) == 64 << 20
    assert share(2, 4) == 1


def test_a_closed_source_gives_its_chunks_back() -> None:
    slab, chunks = Slab(1 << 20, 1), Residents(3, 5000)
    lease = leased(slab, chunks, 0, 1, 2)
    for entry in lease.fresh:
        slab.done(entry)
    assert slab.used == 3 * 2 * PAGE
    slab.forget(chunks)
    slab.release(lease)
    assert slab.used == 0


def test_the_chunk_that_was_not_used_for_the_longest_goes_first() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(6, PAGE)
    for number in (0, 1, 2, 3, 0, 4):
        decode(slab, chunks, number)
    assert held(chunks) == [0, 2, 3, 4]
    look(slab, chunks, 2)
    decode(slab, chunks, 5)
    assert held(chunks) == [0, 2, 4, 5]
    look(slab, chunks, 4, 0)
    look(slab, chunks, 5, 2)
    decode(slab, chunks, 1)
    decode(slab, chunks, 3)
    assert held(chunks) == [1, 2, 3, 5]


def test_chunks_of_another_size_push_out_the_oldest() -> None:
    slab = Slab(4 * PAGE, 1)
    for chunks in (Residents(2, PAGE), Residents(2, 2 * PAGE)):
        for number in range(2):
            decode(slab, chunks, number)
        assert slab.used <= slab.budget
    assert slab.used == 4 * PAGE


def test_whoever_waits_for_a_chunk_gets_the_error_of_its_decoding() -> None:
    slab, chunks = Slab(1 << 20, 1), Residents(1, PAGE)
    first, second = (leased(slab, chunks, 0) for _ in range(2))
    assert (len(first.fresh), len(second.fresh)) == (1, 0)
    slab.done(first.fresh[0], FormatError("damaged"))
    with pytest.raises(FormatError, match="damaged"):
        slab.wait(second)
    slab.release(first)
    slab.release(second)
    assert slab.used == 0
    assert leased(slab, chunks, 0).fresh


def test_memory_that_a_read_may_look_at_is_not_used_again_before_its_end() -> None:
    slab, chunks = Slab(PAGE, 1), Residents(2, PAGE)
    decode(slab, chunks, 1)
    there = slab.arena(PAGE).part(0, PAGE)
    ticket = begin(slab)
    other = threading.Thread(target=decode, args=(slab, chunks, 0))
    other.start()
    while chunks.places[1] >= 0:
        assert other.is_alive()
    assert (there == 1).all()
    assert slab.used == PAGE
    end(slab, ticket)
    other.join()
    assert held(chunks) == [0]
    assert (there == 0).all()


def test_a_read_that_begins_later_keeps_nothing_back() -> None:
    slab, chunks = Slab(PAGE, 1), Residents(2, PAGE)
    decode(slab, chunks, 0)
    early = begin(slab)
    other = threading.Thread(target=decode, args=(slab, chunks, 1))
    other.start()
    while chunks.places[0] >= 0:
        assert other.is_alive()
    late = begin(slab)
    end(slab, early)
    other.join()
    assert held(chunks) == [1]
    end(slab, late)


def test_announced_chunks_are_decoded_ahead_into_half_of_the_slab() -> None:
    slab, chunks = Slab(8 * PAGE, 1), Residents(9, PAGE)
    announce(slab, chunks, *range(4))
    assert held(chunks) == [0, 1, 2, 3]
    look(slab, chunks, 0, 1)
    announce(slab, chunks, 4, 5)
    assert held(chunks) == [0, 1, 2, 3, 4, 5]


def test_the_newest_announcements_count() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(99, PAGE)
    announce(slab, chunks, 0, 1)
    look(slab, chunks, 1)
    for number in range(2, 90, 2):
        announce(slab, chunks, number, number + 1)
        assert held(chunks)[-2:] == [number, number + 1]
    assert len(held(chunks)) == 4
    announce(slab, chunks, 90, 91, 92, 93)
    assert held(chunks)[-2:] == [92, 93]


def test_a_chunk_whose_source_was_closed_meanwhile_is_not_shown() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(1, PAGE)
    lease = leased(slab, chunks, 0)
    slab.forget(chunks)
    fill(slab, lease.fresh[0])
    slab.release(lease)
    assert held(chunks) == []
    assert slab.used == 0


def test_what_is_decoded_ahead_takes_the_place_of_what_was_used_longest_ago() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(8, PAGE)
    for number in (0, 1, 2, 3):
        decode(slab, chunks, number)
    look(slab, chunks, 0, 1)
    announce(slab, chunks, 4, 5)
    assert held(chunks) == [0, 1, 4, 5]


def test_what_is_decoded_ahead_and_not_used_yet_stays() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(9, PAGE)
    announce(slab, chunks, 0, 1)
    for number in (2, 3, 4, 5):
        decode(slab, chunks, number)
    assert held(chunks) == [0, 1, 4, 5]


def test_what_is_needed_now_goes_before_what_was_decoded_ahead() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(9, PAGE)
    announce(slab, chunks, 0, 1)
    leases = [leased(slab, chunks, number) for number in (2, 3, 4)]
    assert held(chunks) == [0]
    for lease in leases:
        slab.release(lease)


def test_nothing_is_decoded_ahead_where_all_is_in_use() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(5, PAGE)
    lease = leased(slab, chunks, 0, 1, 2, 3)
    announce(slab, chunks, 4)
    assert held(chunks) == []
    slab.release(lease)


def test_what_is_withdrawn_is_not_decoded() -> None:
    slab, gate = Slab(8 * PAGE, 1), threading.Event()
    chunks, others = Residents(3, PAGE), Residents(3, PAGE)
    slab.pool.submit(gate.wait)
    ahead = Ahead(slab)
    for number in range(2):
        for each in (chunks, others):
            ahead.announce(each, [number], lambda entry: fill(slab, entry))
    ahead.withdraw(others)
    gate.set()
    slab.pool.submit(int).result()
    assert held(chunks) == [0, 1]
    assert held(others) == []


def test_what_was_decoded_ahead_and_used_stays_before_what_was_used_earlier() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(9, PAGE)
    decode(slab, chunks, 0)
    decode(slab, chunks, 1)
    look(slab, chunks, 0, 1)
    announce(slab, chunks, 2, 3)
    look(slab, chunks, 2, 3)
    announce(slab, chunks, 4)
    assert held(chunks) == [1, 2, 3, 4]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", data=np.arange(64), chunks=(8,), compression=1, fletcher32=True)
    return tmp_path / "d.h5"


def test_announced_rows_are_decoded_once(path: Path) -> None:
    source = open_source(f"{path}::x")
    source.will_need(0, 64)
    out = np.empty(64, np.int64)
    source.read(np.arange(64), out)
    assert (out == np.arange(64)).all()
    assert source.decoded_chunks == 8
    source.read(np.arange(64), out)
    assert source.decoded_chunks == 8
    assert 8 <= source.reused_chunks <= 16


def test_a_damaged_chunk_is_an_error_of_the_read_that_needs_it(path: Path) -> None:
    with h5py.File(path) as file:
        info = file["x"].id.get_chunk_info(3)
    with path.open("r+b") as file:
        file.seek(info.byte_offset + 5)
        file.write(bytes(4))
    source = open_source(f"{path}::x")
    source.will_need(0, 64)
    out = np.empty(8, np.int64)
    source.read(np.arange(8), out)
    assert (out == np.arange(8)).all()
    with pytest.raises(FormatError, match="chunk at"):
        source.read(np.arange(24, 32), out)


def test_what_was_announced_outlives_no_source(path: Path) -> None:
    source = open_source(f"{path}::x")
    source.will_need(0, 64)
    source.close()
    again = open_source(f"{path}::x")
    out = np.empty(64, np.int64)
    again.read(np.arange(64), out)
    assert (out == np.arange(64)).all()


def test_a_file_that_changed_before_a_chunk_was_read_gives_no_rows(path: Path) -> None:
    source = open_source(f"{path}::x")
    out = np.empty(8, np.int64)
    source.read(np.arange(8), out)
    os.utime(path, ns=(0, 0))
    source.will_need(8, 64)
    with pytest.raises(ChangedFileError):
        source.read(np.arange(8, 16), out)
    assert source.decoded_chunks == 1


def test_advice_past_the_end_is_cut_off(path: Path) -> None:
    source = open_source(f"{path}::x")
    source.will_need(60, 1000)
    source.will_need(100, 1000)


def test_advice_to_many_files_keeps_few_open(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("descriptors are counted on Linux")
    for k in range(200):
        with h5py.File(tmp_path / f"{k:03}.h5", "w") as file:
            file.create_dataset("x", data=np.arange(8) + 8 * k, chunks=(4,), compression=1)
    ds = NumpyDataset.from_hdf5(str(tmp_path / "*.h5"), "x")
    before = len(list(folder.iterdir()))
    source = ds.sources[0]
    source.will_need(0, len(ds))
    rows = np.arange(len(ds))
    assert (ds[rows].numpy() == rows).all()
    assert source.decoded_chunks == 400
    assert len(list(folder.iterdir())) - before <= 70


INTERRUPTED = """
import signal, sys, numpy as np, npdata
from npdata.sources.hdf5.chunk_cache import slab
source = npdata.open_source(sys.argv[1] + "::x")
out, rows = np.empty(64, np.int64), np.arange(64)
source.read(rows, out)
armed = False
def interrupt(*_):
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
for _ in range(500):
    try:
        armed = True
        while True:
            source.read(rows, out)
    except KeyboardInterrupt:
        pass
print(len(slab().reads))
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
def test_ctrl_c_leaves_no_read_under_way(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "0\n", done.stderr
