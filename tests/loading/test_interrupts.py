"""Ctrl-C at any bytecode of the loading and sampling code: right rows, no hang, no thread left."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from interrupts import boundaries, run_interrupted
from threads import assert_no_thread_is_left
from torch.utils.data import DataLoader

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset
from npdata.dataset.batch_memory import REUSE_BYTES
from npdata.loading import schedule
from npdata.loading.buffer_pool import BufferPool
from npdata.loading.comparison import Comparison
from npdata.loading.prefetcher import Prefetcher
from npdata.loading.turns import LEAST_LOOP, Alone, Turns

ROWS = 23
X = np.arange(ROWS)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert_no_thread_is_left()


def each_boundary(action: Callable[[], object], files: str = "/npdata/") -> list[int]:
    total = run_interrupted(action, files, -1)
    assert total > 50
    return boundaries(total)


def loader(threads: Any) -> Loader:
    return Loader(NumpyDataset(X), 4, shuffle="full", seed=1, num_threads=threads, prefetch=3)


@pytest.mark.parametrize("files", ["/npdata/", "/weakref.py"])
@pytest.mark.parametrize("threads", [0, 1, 2, 8, "auto", "auto, helped"])
def test_an_epoch_of_a_loader(threads: Any, files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if threads == "auto, helped":
        monkeypatch.setattr(schedule, "SMALL_BYTES", 0)
        monkeypatch.setattr(schedule, "RUN_BYTES", 0)
        threads = "auto"
        assert loader(threads).describe().helps

    def read(mine: Loader, rows: list[int]) -> None:
        for batch in mine:
            rows += batch.tolist()
        mine.close()

    def epoch(number: int) -> list[int]:
        fresh = loader(0)
        fresh.set_epoch(number)
        return torch.cat(list(fresh)).tolist()

    whole, later = epoch(0), epoch(5)
    if files == "/weakref.py" and not loader(threads).describe().threads:
        pytest.skip("nothing is stopped there")
    total = run_interrupted(lambda: read(loader(threads), []), files, -1)
    for boundary in boundaries(total):
        mine, rows = loader(threads), []
        run_interrupted(lambda mine=mine, rows=rows: read(mine, rows), files, boundary)
        state = mine.state_dict()
        rest = loader(threads)
        rest.load_state_dict(state)
        left = [] if state["epoch"] else torch.cat(list(rest)).tolist()
        assert rows + left == whole, boundary
        mine._closed = False
        mine.set_epoch(5)
        assert torch.cat(list(mine)).tolist() == later, boundary
        del mine, rest
        assert_no_thread_is_left()


@pytest.mark.parametrize("threads", [0, 2, "auto"])
@pytest.mark.parametrize("files", ["/npdata/", "/npdata/dataset/"])
def test_an_error_of_a_signal_handler_ends_the_loop(threads: Any, files: str) -> None:
    class PreemptedError(Exception):
        pass

    def read(iterator: Any, rows: list[int], ended: list[bool]) -> None:
        for batch in iterator:
            rows += batch.tolist()
        ended.append(True)

    whole = torch.cat(list(loader(0))).tolist()
    iterator = iter(loader(threads))
    total = run_interrupted(lambda: read(iterator, [], []), files, -1)
    for boundary in boundaries(total):
        iterator, rows, ended = iter(loader(threads)), [], []
        run_interrupted(lambda: read(iterator, rows, ended), files, boundary, PreemptedError)  # noqa: B023
        assert rows == whole[: len(rows)]
        assert not ended, boundary


def test_going_on_with_an_interrupted_iterator_loses_no_batch_in_silence() -> None:
    whole = torch.cat(list(loader(0))).tolist()
    for threads in (0, 2):
        for boundary in each_boundary(lambda threads=threads: list(loader(threads))):
            rows: list[int] = []
            iterators: list[Any] = []

            def read(rows: list[int] = rows, iterators: list[Any] = iterators) -> None:
                if not iterators:
                    iterators.append(iter(loader(threads)))  # noqa: B023
                for batch in iterators[0]:
                    rows += batch.tolist()

            run_interrupted(read, "/npdata/", boundary)
            read()
            assert rows == whole[: len(rows)], boundary
            del iterators, read
            assert_no_thread_is_left()


def test_an_epoch_of_a_data_loader_without_workers() -> None:
    ds = NumpyDataset(X)

    def made() -> tuple[BlockBatchSampler, Any]:
        sampler = BlockBatchSampler(ds, 4, block_rows=3, window_blocks=2)
        return sampler, DataLoader(ds, batch_sampler=sampler, collate_fn=npdata.collate)

    sampler, stock = made()
    sampler.set_epoch(5)
    later = torch.cat(list(stock)).tolist()
    for boundary in each_boundary(lambda: list(made()[1])):
        sampler, stock = made()
        run_interrupted(lambda stock=stock: list(stock), "/npdata/", boundary)
        state = sampler.state_dict()
        assert state["epoch"] in (0, 1)
        sampler.set_epoch(5)
        assert torch.cat(list(stock)).tolist() == later, boundary


@pytest.mark.parametrize("helps", [False, True])
@pytest.mark.parametrize("threads", [0, 1, 2, 8])
def test_a_prefetcher(threads: int, helps: bool) -> None:
    def read() -> None:
        with Prefetcher(str, range(9), threads=threads, depth=3, helps=helps) as results:
            list(results)

    for boundary in each_boundary(read):
        run_interrupted(read, "/npdata/", boundary)
        assert_no_thread_is_left()
        with Prefetcher(str, range(9), threads=threads, depth=3) as results:
            assert list(results) == list(map(str, range(9)))


@pytest.mark.parametrize("away", [LEAST_LOOP, math.inf])
def test_a_prefetcher_whose_threads_start_after_the_first_job(away: float) -> None:
    any_is_long = Alone(away=away, job=0.0)

    def read() -> None:
        turns = Turns(any_is_long, Comparison())
        with Prefetcher(str, range(9), threads=2, depth=3, turns=turns) as results:
            assert list(results) == list(map(str, range(9)))

    cores = torch.get_num_threads()
    for boundary in each_boundary(read):
        run_interrupted(read, "/npdata/", boundary)
        assert_no_thread_is_left()
        assert torch.get_num_threads() == cores


def test_a_buffer_pool_never_gives_out_memory_that_is_in_use() -> None:
    shape = (REUSE_BYTES,)

    def fill(pool: BufferPool, kept: list[torch.Tensor]) -> None:
        for number in range(4):
            tensor = pool(shape, torch.uint8)
            tensor[:8] = number
            if number % 2:
                kept.append(tensor)
            del tensor

    for boundary in each_boundary(lambda: fill(BufferPool(most=2), [])):
        pool, kept = BufferPool(most=2), []
        run_interrupted(lambda pool=pool, kept=kept: fill(pool, kept), "/npdata/", boundary)
        fresh = [pool(shape, torch.uint8).fill_(9) for _ in range(3)]
        assert [int(tensor[0]) for tensor in kept] == [1, 3][: len(kept)], boundary
        assert len({tensor.data_ptr() for tensor in kept + fresh}) == len(kept) + len(fresh)
