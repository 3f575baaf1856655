"""The cache of decoded chunks: which stays, which goes, what is decoded before it is asked for."""

import os
import queue
import resource
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from processes import HANG
from threads import refused_after

from npdata import NumpyDataset, open_source
from npdata.arrays.gather import ByteRows
from npdata.errors import ChangedFileError, FormatError, SettingError, ThreadError
from npdata.runtime.machine import releases_at_once
from npdata.sources.hdf5.chunks.budget import default_budget, share
from npdata.sources.hdf5.chunks.cache import MOST_AT_ONCE, ChunkCache
from npdata.sources.hdf5.chunks.memory import ChunkMemory
from npdata.sources.hdf5.chunks.pending import Pending, Request
from npdata.sources.hdf5.chunks.source_chunks import ChunkPlaces, SourceChunks

SIZE = 4096
counted = pytest.mark.skipif(not releases_at_once(), reason="needs reference counts")


@pytest.fixture
def caches() -> Iterator[list[ChunkCache]]:
    made: list[ChunkCache] = []
    yield made
    for cache in made:
        cache.close()


class Numbers:
    """Decodes chunk n to bytes that are all n, and keeps a list of what it decoded."""

    def __init__(self) -> None:
        self.decoded: list[int] = []
        self.refused: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, number: int, out: np.ndarray, ahead: bool) -> None:
        assert self.gate.wait(HANG)
        self.decoded.append(number)
        if number in self.refused:
            raise FormatError(f"chunk {number} is damaged")
        out[:] = number


class Tried:
    """A cache of so many chunks with one source of chunks, or more."""

    def __init__(self, caches: list[ChunkCache], chunks: int, threads: int = 1) -> None:
        self.cache = ChunkCache(chunks * SIZE, threads)
        caches.append(self.cache)
        self.decode = Numbers()
        self.chunks = SourceChunks(SIZE, self.decode)

    def read(self, *numbers: int) -> None:
        found, _ = self.cache.get(self.chunks, numbers)
        assert [chunk.data[0] for chunk in found] == [n % 256 for n in numbers]

    def announce(self, *numbers: int) -> None:
        """Announce chunks, and wait until the only thread has nothing left to do."""
        for number in numbers:
            self.cache.announce(self.chunks, range(number, number + 1))
        self.settle()

    def settle(self) -> None:
        """Wait until the only thread of the cache has nothing left to do."""
        cache = self.cache
        assert cache.get(self.chunks, []) == ([], 0)
        cache._ask(Request(self.chunks, [], []))  # answered after all that was asked before
        busy, end = True, time.monotonic() + HANG
        while busy:
            assert time.monotonic() < end
            with cache._lock:
                busy = bool(cache.busy or cache._pending.announced_bytes)

    @property
    def held(self) -> list[int]:
        return sorted(self.chunks.ready)


def at_hand(tried: Tried, *numbers: int) -> ChunkPlaces:
    """Give the places of these chunks, of 256, with one row each."""
    chunks, _ = tried.cache.get(tried.chunks, numbers)
    addresses = [chunk.address for chunk in chunks]
    places = ChunkPlaces(ByteRows.between(min(addresses), max(addresses) + SIZE, SIZE), 256, 1)
    places.add(numbers, chunks)
    return places


def test_the_budget_and_the_threads_are_divided_among_workers() -> None:
    assert share(256 << 20, 4) == 64 << 20
    assert share(2, 4) == 1


@pytest.mark.parametrize(
    ("text", "size"), [("1000", 1000), ("8GB", 8 * 10**9), ("512 MiB", 512 << 20), (" ", 256 << 20)]
)
def test_the_budget_is_read_with_its_unit(
    monkeypatch: pytest.MonkeyPatch, text: str, size: int
) -> None:
    monkeypatch.setenv("NPDATA_CACHE_BYTES", text)
    assert default_budget() == size


def test_a_budget_that_is_no_size_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NPDATA_CACHE_BYTES", "plenty")
    with pytest.raises(SettingError, match="NPDATA_CACHE_BYTES: 'plenty' is no size"):
        default_budget()


def test_a_large_budget_takes_no_memory_before_it_is_used(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 1 << 40)
    tried.read(0)
    assert tried.cache.memory.used == SIZE


def test_a_closed_source_gives_its_chunks_back(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 8)
    tried.read(0, 1, 2)
    tried.cache.forget(tried.chunks)
    tried.settle()
    assert tried.held == []
    assert tried.cache.memory.used == 0


def test_the_chunk_that_was_not_used_for_the_longest_goes_first(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 4)
    for number in (0, 1, 2, 3, 0, 4):
        tried.read(number)
    assert tried.held == [0, 2, 3, 4]
    for number in (2, 5):
        tried.read(number)
    assert tried.held == [0, 2, 4, 5]
    tried.read(4, 0)
    tried.read(5, 2)
    tried.read(1)
    tried.read(3)
    assert tried.held == [1, 2, 3, 5]


@counted
def test_a_chunk_that_has_to_go_is_no_longer_at_hand(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 4)
    for number in range(3):
        tried.read(number)
    places = at_hand(tried, 0, 1)
    tried.chunks.keep_near(places, [0, 1])
    assert (tried.chunks.near, tried.cache.tight) == (places, False)
    tried.read(3)
    tried.read(4)
    assert (tried.held, tried.cache.tight) == ([0, 1, 3, 4], True)
    assert tried.chunks.near is places
    gone = [weakref.ref(chunk) for chunk in places.chunks.values()]
    del places
    tried.read(5)
    assert (tried.held, tried.chunks.near) == ([1, 3, 4, 5], None)
    tried.read(6)
    assert [chunk() for chunk in gone] == [None, None]


def test_chunks_that_went_meanwhile_are_not_kept_at_hand(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 2)
    tried.read(0, 1)
    places = at_hand(tried, 0)
    tried.read(2, 3)
    tried.chunks.keep_near(places, [])
    assert tried.chunks.near is None
    places = at_hand(tried, 3)
    tried.chunks.keep_near(places, [3])
    tried.cache.forget(tried.chunks)
    tried.settle()
    assert tried.chunks.near is None
    tried.chunks.keep_near(places, [])
    assert tried.chunks.near is None


def test_a_chunk_at_hand_is_never_replaced(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 1)
    places = at_hand(tried, 0)
    first, start = places.chunks[0], places.origins[0]
    tried.read(1)
    again, _ = tried.cache.get(tried.chunks, [0])
    assert again[0] is not first
    places.add([0], again)
    assert places.chunks[0] is first
    assert places.origins[0] == start


def test_chunks_of_another_size_push_out_the_oldest(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 4)
    larger = SourceChunks(2 * SIZE, Numbers())
    tried.read(0)
    tried.read(1)
    for number in range(2):
        tried.cache.get(larger, [number])
    assert (tried.held, sorted(larger.ready)) == ([], [0, 1])
    assert tried.cache.memory.used == 4 * SIZE


def test_a_chunk_is_decoded_once_and_its_error_goes_to_all_who_wait(
    caches: list[ChunkCache],
) -> None:
    tried = Tried(caches, 8, threads=2)
    tried.decode.refused = {1}
    tried.decode.gate.clear()
    outcomes: list[object] = []

    def ask(*numbers: int) -> None:
        try:
            tried.read(*numbers)
            outcomes.append("read")
        except FormatError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=ask, args=n) for n in ((0,), (0,), (1,), (0, 1))]
    for thread in threads:
        thread.start()
    tried.decode.gate.set()
    for thread in threads:
        thread.join(HANG)
    assert sorted(map(str, outcomes)) == ["chunk 1 is damaged"] * 2 + ["read"] * 2
    assert tried.decode.decoded.count(0) == 1
    tried.decode.refused.clear()
    tried.read(0, 1)


@pytest.mark.parametrize(("nbytes", "at_once"), [(1 << 19, 1), (8, MOST_AT_ONCE)])
@pytest.mark.parametrize("announced", [False, True])
def test_a_thread_that_is_soon_ready_leaves_the_next_chunks_to_other_threads_too(
    caches: list[ChunkCache], announced: bool, nbytes: int, at_once: int
) -> None:
    together = threading.Barrier(2)
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def decode(number: int, out: np.ndarray, ahead: bool) -> None:
        if number in (at_once, 2 * at_once):
            together.wait(HANG)  # broken, and an error, where one thread decodes alone
        ended.put(number)

    cache = ChunkCache(1 << 28, 2 + announced)  # none has to go
    caches.append(cache)
    numbers = range(3 * at_once)
    for _ in range(100):
        chunks = SourceChunks(nbytes, decode)
        if announced:
            cache.announce(chunks, numbers)
        else:
            cache.get(chunks, numbers)
        assert sorted(ended.get(timeout=HANG) for _ in numbers) == list(numbers)


@counted
def test_one_chunk_goes_for_another_while_a_reader_holds_all(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 4)
    held, _ = tried.cache.get(tried.chunks, [0, 1, 2, 3])
    tried.read(4)
    assert (tried.held, tried.cache.memory.used) == ([1, 2, 3, 4], 5 * SIZE)
    del held
    tried.read(5)
    assert (tried.held, tried.cache.memory.used) == ([2, 3, 4, 5], 4 * SIZE)


@counted
def test_chunks_that_a_reader_holds_are_never_written_again(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 2)
    (held,), _ = tried.cache.get(tried.chunks, [7])
    for number in range(20, 40):
        tried.read(number)
        assert (held.data == 7).all()
    assert 7 not in tried.held
    assert not held.data.flags.writeable
    assert tried.cache.memory.used == 2 * SIZE
    gone = weakref.ref(held)
    del held
    assert gone() is None


def test_memory_is_used_again_once_nothing_refers_to_its_chunk() -> None:
    memory = ChunkMemory(SIZE)
    first = memory.take(SIZE)
    assert first is not None
    chunk = memory.chunk(first)
    assert memory.take(SIZE) is None
    assert memory.reclaim() == 0
    address = chunk.address
    assert address % 64 == 0
    del chunk
    assert memory.reclaim() == 1
    again = memory.take(SIZE)
    assert again is not None
    assert memory.chunk(again).address == address
    assert memory.used == SIZE


def test_memory_that_the_system_refuses_takes_none_of_the_budget() -> None:
    memory = ChunkMemory(1 << 60)
    with pytest.raises(MemoryError):
        memory.take(1 << 50)
    assert memory.used == 0


def test_what_readers_hold_may_exceed_the_budget_and_nobody_waits(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 2)
    held = [tried.cache.get(tried.chunks, [number])[0][0] for number in range(5)]
    assert [chunk.data[0] for chunk in held] == [0, 1, 2, 3, 4]
    assert tried.cache.memory.used == 5 * SIZE
    del held
    tried.read(9)
    assert tried.cache.memory.used <= 2 * SIZE


def test_announced_chunks_are_decoded_ahead_into_half_of_the_cache(
    caches: list[ChunkCache],
) -> None:
    tried = Tried(caches, 8)
    tried.announce(0, 1, 2, 3)
    assert tried.held == [0, 1, 2, 3]
    tried.read(0, 1)
    tried.announce(4, 5)
    assert tried.held == [0, 1, 2, 3, 4, 5]


def test_the_newest_announcements_count(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 4)
    tried.announce(0, 1)
    tried.read(1)
    for number in range(2, 90, 2):
        tried.announce(number, number + 1)
        assert tried.held[-2:] == [number, number + 1]
    assert len(tried.held) == 4
    tried.cache.announce(tried.chunks, range(90, 94))
    tried.settle()
    assert tried.held[-2:] == [92, 93]


def test_a_chunk_whose_source_was_closed_meanwhile_is_not_shown(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 4)
    tried.decode.gate.clear()
    tried.cache.announce(tried.chunks, range(1))
    tried.cache.forget(tried.chunks)
    tried.decode.gate.set()
    tried.settle()
    assert tried.held == []


def test_what_is_decoded_ahead_takes_the_place_of_what_was_used_longest_ago(
    caches: list[ChunkCache],
) -> None:
    tried = Tried(caches, 4)
    for number in (0, 1, 2, 3):
        tried.read(number)
    tried.read(0, 1)
    tried.announce(4, 5)
    assert tried.held == [0, 1, 4, 5]


def test_what_is_decoded_ahead_and_not_used_yet_stays(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 4)
    tried.announce(0, 1)
    for number in (2, 3, 4, 5):
        tried.read(number)
    assert tried.held == [0, 1, 4, 5]


def test_what_is_needed_now_goes_before_what_was_decoded_ahead(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 4)
    tried.announce(0, 1)
    held = [tried.cache.get(tried.chunks, [number]) for number in (2, 3, 4)]
    assert 4 in tried.held
    assert tried.cache.memory.used <= 5 * SIZE
    del held


def test_nothing_is_decoded_ahead_where_all_is_in_use(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 4)
    held = tried.cache.get(tried.chunks, [0, 1, 2, 3])
    tried.announce(4)
    assert 4 not in tried.decode.decoded
    del held


def test_what_is_withdrawn_is_not_decoded(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 8)
    others = SourceChunks(SIZE, Numbers())
    tried.decode.gate.clear()
    tried.cache.announce(tried.chunks, range(1))
    while not tried.cache.busy:
        pass
    tried.cache.announce(others, range(1, 3))
    tried.cache.forget(others)
    tried.decode.gate.set()
    tried.settle()
    assert tried.held == [0]
    assert others.decode.decoded == []


def test_an_error_ahead_is_met_by_the_read_and_ends_nothing(caches: list[ChunkCache]) -> None:
    tried = Tried(caches, 8)
    tried.decode.refused = {1}
    tried.announce(0, 1, 2)
    assert tried.held == [0, 2]
    with pytest.raises(FormatError, match="chunk 1"):
        tried.read(1)
    tried.announce(3)
    assert tried.held == [0, 2, 3]


def test_an_error_of_the_cache_itself_answers_who_waits_and_loses_nothing(
    caches: list[ChunkCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Tried(caches, 8)
    tried.read(0, 1)

    def fail(nbytes: int) -> None:
        raise MemoryError("no memory for the books")

    for number, name in ((2, "take"), (3, "reclaim")):
        with monkeypatch.context() as patched:
            patched.setattr(tried.cache.memory, name, fail if name == "take" else lambda: fail(0))
            with pytest.raises(MemoryError, match="books"):
                tried.read(number)
        tried.read(0, 1, number)


def test_an_error_between_decoding_and_showing_answers_who_waits_for_one_chunk(
    caches: list[ChunkCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Tried(caches, 8)

    def fail(memory: np.ndarray) -> None:
        raise MemoryError("no memory for the chunk")

    with monkeypatch.context() as patched:
        patched.setattr(tried.cache.memory, "chunk", fail)
        with pytest.raises(MemoryError, match="for the chunk"):
            tried.read(2)
    tried.read(2)


@pytest.mark.parametrize("given", [None, 0])
def test_where_the_system_gives_no_thread_a_read_says_so(
    caches: list[ChunkCache], given: int | None
) -> None:
    tried = Tried(caches, 4, threads=2)
    with refused_after(given), pytest.raises(ThreadError, match=r'0 of 2 .*access="library"'):
        tried.read(1)
    tried.read(1)


def test_an_error_of_the_cache_itself_ends_no_decoding_ahead(
    caches: list[ChunkCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no memory for the books")

    tried = Tried(caches, 8)
    with monkeypatch.context() as patched:
        patched.setattr("npdata.sources.hdf5.chunks.cache._decode", fail)
        tried.announce(0)
    tried.announce(1)
    assert tried.held == [1]


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


def test_threads_that_are_about_to_start_end_with_the_others(
    caches: list[ChunkCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    starting, may_start = threading.Event(), threading.Event()
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.endswith("_1"):
            starting.set()
            assert may_start.wait(HANG)
        begin(thread)

    tried = Tried(caches, chunks=4, threads=2)
    monkeypatch.setattr(threading.Thread, "start", start)
    tried.cache.announce(tried.chunks, range(1))
    assert starting.wait(HANG)
    closing = threading.Event()

    def close() -> None:
        closing.set()
        tried.cache.close()

    closer = threading.Thread(target=close, name="closer")
    closer.start()
    assert closing.wait(HANG)
    may_start.set()
    closer.join(HANG)
    assert not closer.is_alive()


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


def test_reads_that_wait_for_one_damaged_chunk_get_an_error_each() -> None:
    chunks, pending = SourceChunks(SIZE, Numbers()), Pending()
    asked = [Request(chunks, [1], [None]) for _ in range(2)]
    for request in asked:
        pending.ask(request)
    damaged = FormatError("chunk 1 is damaged")
    damaged.__cause__ = ValueError("of its stream")
    for request, place in pending.waiting((chunks, 1)):
        request.fill(place, damaged)
    errors = [request.reply.get() for request in asked]
    for number, error in enumerate(errors):
        assert isinstance(error, FormatError)
        error.add_note(f"in batch {number}")
    for number, error in enumerate(errors):
        assert (str(error), error.__notes__) == ("chunk 1 is damaged", [f"in batch {number}"])
        assert error.__cause__ is damaged.__cause__


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


def test_advice_to_many_files_keeps_few_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (192, 192))
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
