"""The slab: which chunk stays, which goes, and what is decoded before it is asked for."""

import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from npdata import open_source
from npdata.errors import FormatError
from npdata.sources.hdf5.ahead import Ahead
from npdata.sources.hdf5.residents import Entry, Residents
from npdata.sources.hdf5.slab import Slab, share

PAGE = 4096


def decode(slab: Slab, chunks: Residents, number: int) -> None:
    """Have a chunk in the slab, with bytes that tell it."""
    lease = slab.lease(chunks, [number])
    for entry in lease.fresh:
        fill(slab, entry)
    slab.release(lease)


def fill(slab: Slab, entry: Entry) -> None:
    entry.arena.part(entry.slot, entry.arena.slot_bytes)[:] = entry.number
    slab.done(entry)


def held(chunks: Residents) -> list[int]:
    """The chunks that a read finds."""
    return np.flatnonzero(chunks.places >= 0).tolist()


def look(slab: Slab, chunks: Residents, *numbers: int) -> None:
    """Do what a read of these chunks does, when all of them are there."""
    ticket = slab.begin()
    assert (chunks.places[list(numbers)] >= 0).all()
    chunks.used[list(numbers)] = ticket
    slab.end(ticket)


def announce(slab: Slab, chunks: Residents, *numbers: int) -> None:
    """Announce chunks, and wait until the only thread of the slab has nothing left to do."""
    Ahead(slab).announce(chunks, numbers, lambda entry: fill(slab, entry))
    slab.pool.submit(int).result()


def test_the_budget_and_the_threads_are_divided_among_workers() -> None:
    assert share(256 << 20, 4) == 64 << 20
    assert share(2, 4) == 1


def test_a_closed_source_gives_its_chunks_back() -> None:
    slab, chunks = Slab(1 << 20, 1), Residents(3, 5000)
    lease = slab.lease(chunks, [0, 1, 2])
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
    first, second = (slab.lease(chunks, [0]) for _ in range(2))
    assert (len(first.fresh), len(second.fresh)) == (1, 0)
    slab.done(first.fresh[0], FormatError("damaged"))
    with pytest.raises(FormatError, match="damaged"):
        slab.wait(second)
    slab.release(first)
    slab.release(second)
    assert slab.used == 0
    assert slab.lease(chunks, [0]).fresh


def test_memory_that_a_read_may_look_at_is_not_used_again_before_its_end() -> None:
    slab, chunks = Slab(PAGE, 1), Residents(2, PAGE)
    decode(slab, chunks, 1)
    there = slab.arena(PAGE).part(0, PAGE)
    ticket = slab.begin()
    other = threading.Thread(target=decode, args=(slab, chunks, 0))
    other.start()
    while chunks.places[1] >= 0:
        assert other.is_alive()
    assert (there == 1).all()
    assert slab.used == PAGE
    slab.end(ticket)
    other.join()
    assert held(chunks) == [0]
    assert (there == 0).all()


def test_a_read_that_begins_later_keeps_nothing_back() -> None:
    slab, chunks = Slab(PAGE, 1), Residents(2, PAGE)
    decode(slab, chunks, 0)
    early = slab.begin()
    other = threading.Thread(target=decode, args=(slab, chunks, 1))
    other.start()
    while chunks.places[0] >= 0:
        assert other.is_alive()
    late = slab.begin()
    slab.end(early)
    other.join()
    assert held(chunks) == [1]
    slab.end(late)


def test_announced_chunks_are_decoded_ahead_into_half_of_the_slab() -> None:
    slab, chunks = Slab(8 * PAGE, 1), Residents(9, PAGE)
    announce(slab, chunks, *range(9))
    assert held(chunks) == [0, 1, 2, 3]
    look(slab, chunks, 0, 1)
    announce(slab, chunks, 4, 5, 6)
    assert held(chunks) == [0, 1, 2, 3, 4, 5]


def test_what_is_decoded_ahead_takes_the_place_of_what_was_used_longest_ago() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(8, PAGE)
    for number in (0, 1, 2, 3):
        decode(slab, chunks, number)
    look(slab, chunks, 0, 1)
    announce(slab, chunks, 4, 5, 6)
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
    leases = [slab.lease(chunks, [number]) for number in (2, 3, 4)]
    assert held(chunks) == [0]
    for lease in leases:
        slab.release(lease)


def test_nothing_is_decoded_ahead_where_all_is_in_use() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(5, PAGE)
    lease = slab.lease(chunks, [0, 1, 2, 3])
    announce(slab, chunks, 4)
    assert held(chunks) == []
    slab.release(lease)


def test_what_is_withdrawn_is_not_decoded() -> None:
    slab, chunks, gate = Slab(8 * PAGE, 1), Residents(3, PAGE), threading.Event()
    slab.pool.submit(gate.wait)
    ahead = Ahead(slab)
    ahead.announce(chunks, range(3), lambda entry: fill(slab, entry))
    ahead.withdraw(chunks, [1])
    gate.set()
    slab.pool.submit(int).result()
    assert held(chunks) == [0, 2]


def test_what_is_let_go_is_the_first_to_go() -> None:
    slab, chunks = Slab(4 * PAGE, 1), Residents(6, PAGE)
    announce(slab, chunks, 0)
    for number in (1, 2, 3):
        decode(slab, chunks, number)
    slab.let_go(chunks, [0, 3])
    decode(slab, chunks, 4)
    decode(slab, chunks, 5)
    assert held(chunks) == [1, 2, 4, 5]


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
    source.let_go(0, 64)
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
