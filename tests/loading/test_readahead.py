"""Advice to the kernel: the right rows, in time, within the budget, and never a change to data."""

import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from descriptors import descriptors_of
from hypothesis import example, given
from hypothesis import strategies as st
from kinds import Data
from torch.utils.data import StackDataset, Subset

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset, open_source
from npdata.arrays.blocks import Blocks
from npdata.loading.readahead import ReadAhead
from npdata.sources.base import Access
from npdata.sources.concatenated import base
from npdata.sources.concatenated.concat import ConcatSource
from npdata.sources.memory import MemorySource

linux = pytest.mark.skipif(sys.platform != "linux", reason="advice as Linux takes it")


def rows_of(runs: list[tuple[int, int]]) -> set[int]:
    return {row for first, stop in runs for row in range(first, stop)}


@example(rows=41, block_rows=4, batch_size=1, shuffle="block", budget=40)
@given(
    rows=st.integers(1, 400),
    block_rows=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    shuffle=st.sampled_from(["block", False]),
    budget=st.one_of(st.none(), st.integers(40, 2000)),
)
def test_rows_are_announced_before_they_are_read(
    rows: int, block_rows: int, batch_size: int, shuffle, budget: int | None
) -> None:
    sampler = BlockBatchSampler(rows, batch_size, shuffle=shuffle, block_rows=block_rows)
    expected = [batch.tolist() for batch in sampler]
    sampler.set_epoch(0)
    plan = ReadAhead(Blocks.uniform(rows, block_rows), row_bytes=1, budget=budget)
    announced: set[int] = set()
    resident: set[int] = set()
    thin = 0
    for number, job in enumerate(plan.jobs(sampler)):
        assert (job.number, job.rows.tolist()) == (number, expected[number])
        for advice in job.advice:
            assert not rows_of(advice.need) & resident
            resident = (resident | rows_of(advice.need)) - rows_of(advice.leave)
            announced |= rows_of(advice.need)
            assert budget is None or len(resident) <= max(budget, block_rows)
            assert budget is not None or not advice.leave
        thin += not set(job.rows.tolist()) <= announced
    assert number == len(expected) - 1
    if budget is None:
        assert not thin


def test_neighbouring_blocks_are_one_request() -> None:
    plan = ReadAhead(Blocks.uniform(100, 10), row_bytes=1, budget=None)
    first, *rest = plan.jobs([np.arange(k, k + 20) for k in range(0, 100, 20)])
    assert [advice.need for advice in first.advice] == [[(0, 100)]]
    assert not any(job.advice for job in rest)


def test_rows_that_lie_thinly_are_left_alone() -> None:
    plan = ReadAhead(Blocks.uniform(10_000, 100), row_bytes=1, budget=None)
    (job,) = plan.jobs([np.arange(0, 10_000, 100)])
    assert not job.advice


def test_what_is_behind_is_dropped() -> None:
    plan = ReadAhead(Blocks.uniform(100, 10), row_bytes=1, budget=40)
    jobs = plan.jobs([np.arange(k, k + 10) for k in range(0, 100, 10)])
    left = [run for job in jobs for advice in job.advice for run in advice.leave]
    assert rows_of(left) == set(range(60))


def test_what_was_needed_again_is_dropped_later() -> None:
    plan = ReadAhead(Blocks.uniform(100, 10), row_bytes=1, budget=40)
    batches = [np.arange(10 * block, 10 * block + 10) for block in (0, 1, 2, 3, 0, 4)]
    advised = [advice for job in plan.jobs(batches) for advice in job.advice]
    left = [advice.leave for advice in advised if advice.leave]
    assert left == [[(10, 20)]]


@pytest.mark.parametrize("budget", [160, 200, 240, 300, 400])
def test_no_block_leaves_before_its_rows_were_read(budget: int) -> None:
    sampler = BlockBatchSampler(800, 7, block_rows=10, window_blocks=8)
    plan = ReadAhead(Blocks.uniform(800, 10), row_bytes=1, budget=budget)
    held: set[int] = set()
    for job in plan.jobs(sampler):
        for advice in job.advice:
            held = (held | rows_of(advice.need)) - rows_of(advice.leave)
        assert set(job.rows.tolist()) <= held
        assert len(held) <= budget


def test_blocks_that_would_drive_each_other_out_are_not_announced() -> None:
    batches = [np.arange(0, 100, 10), np.arange(0, 100, 10)]
    for budget, needed in ((40, []), (100, [(0, 100)])):
        plan = ReadAhead(Blocks.uniform(100, 10), row_bytes=1, budget=budget)
        runs = [run for job in plan.jobs(batches) for advice in job.advice for run in advice.need]
        assert runs == needed


@linux
class TestFiles:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        np.save(tmp_path / "x.npy", np.arange(1 << 20).reshape(-1, 1024))
        return tmp_path / "x.npy"

    def test_advice_changes_nothing_that_was_written_or_read(self, path: Path) -> None:
        ds = NumpyDataset(path)
        ds[5].fill_(-1)
        source = ds.sources[0]
        for _ in range(3):
            source.dont_need(0, 1024)
            source.will_need(0, 1024)
        assert (ds[5] == -1).all()
        assert (ds[6] == torch.arange(6 * 1024, 7 * 1024)).all()
        assert (np.load(path)[5] == np.arange(5 * 1024, 6 * 1024)).all()

    def test_rows_dropped_leave_the_memory_of_the_process(self, path: Path) -> None:
        ds = NumpyDataset(path)
        ds[:].sum()
        before = resident_kib(path)
        ds.sources[0].dont_need(0, 1024)
        assert before > 8000
        assert resident_kib(path) < before / 2

    def test_advice_reaches_the_parts_that_have_the_rows(self, path: Path) -> None:
        told: list[tuple[int, str, int, int]] = []

        class Listener(type(open_source(path))):  # type: ignore[misc]
            def will_need(self, first: int, stop: int) -> None:
                told.append((self.number, "need", first, stop))

            def dont_need(self, first: int, stop: int) -> None:
                told.append((self.number, "go", first, stop))

        parts = []
        for number in range(3):
            source = open_source(path)
            source.__class__, source.number = Listener, number
            parts.append(source)
        both = ConcatSource(parts)
        both.will_need(1000, 2050)
        both.dont_need(1024, 2048)
        both.will_need(0, 0)
        assert told == [
            (0, "need", 1000, 1024),
            (1, "need", 0, 1024),
            (2, "need", 0, 2),
            (1, "go", 0, 1024),
        ]

    def test_files_that_are_samples_are_asked_for(self, tmp_path: Path) -> None:
        for k in range(12):
            np.save(tmp_path / f"{k}.npy", np.full(1 << 18, k, np.float32))
        ds = npdata.stack(tmp_path)
        assert ReadAhead.of(ds, 32 << 20).sources == ds.sources
        loader = Loader(ds, 3, shuffle="block", memory_budget=32 << 20)
        assert sorted(int(x[0]) for batch in loader for x in batch) == list(range(12))

    def test_advice_keeps_no_file_open(self, path: Path) -> None:
        both = ConcatSource([open_source(path) for _ in range(5)])
        both.will_need(0, len(both))
        both.dont_need(0, len(both))
        assert not descriptors_of(path)

    def test_advice_opens_no_more_parts_than_reading_does(self, path: Path, monkeypatch) -> None:
        monkeypatch.setattr(base, "MOST_MAPPED", 2)
        np.save(path.with_name("f.npy"), np.asfortranarray(np.load(path)))
        parts = [open_source(path.with_name("f.npy")) for _ in range(5)]
        both = ConcatSource(parts)
        opened = []
        for part in parts:
            monkeypatch.setattr(part, "will_need", lambda *_, part=part: part.table)
            monkeypatch.setattr(part, "close_idle", lambda part=part: opened.append(part))
        both.will_need(0, len(both))
        both.dont_need(0, len(both))
        assert opened == parts[:3]

    @pytest.mark.parametrize("threads", [0, 2])
    @pytest.mark.parametrize("shuffle", ["block", "full", False])
    def test_a_budget_changes_no_batch(self, path: Path, threads: int, shuffle) -> None:
        ds = NumpyDataset(path, np.arange(1024))
        options = {"shuffle": shuffle, "num_threads": threads}
        budget = Loader(ds, 16, memory_budget=1 << 20, **options)
        for (mine, _), (other, _) in zip(budget, Loader(ds, 16, **options), strict=True):
            assert torch.equal(mine, other)

    @pytest.mark.parametrize("made_of", ["chosen", "ragged", "end to end"])
    def test_a_budget_counts_whole_records_whatever_is_made_of_a_column(
        self, path: Path, made_of: str
    ) -> None:
        records = np.zeros(1 << 14, [("x", "i4"), ("rest", "u1", 1020)])
        records["x"] = np.arange(len(records))
        with path.open("wb") as file:
            np.save(file, records)
            file.flush()
            os.fsync(file.fileno())  # what is not written yet does not leave memory
        column = NumpyDataset(path, columns="x")
        ds = {
            "chosen": NumpyDataset(Subset(column, range(len(column)))),
            "ragged": NumpyDataset(npdata.ragged(column, lengths=[16] * 1024), ragged="list"),
            "end to end": column + column,
        }[made_of]
        most = 0
        for _ in Loader(ds, len(ds) // 64, memory_budget=4 << 20, num_threads=0):
            most = max(most, resident_kib(path))
        assert 0 < most < 6 << 10

    def test_rows_that_do_not_lie_together_take_no_advice(self, data: Data) -> None:
        for name in ("fortran.npy", "y.npy", "big_endian.npy"):
            source = open_source(data.folder / name)
            source.will_need(0, len(source))
            source.dont_need(0, len(source))
            assert NumpyDataset(source)[:] is not None


def resident_kib(path: Path) -> int:
    """Give the resident memory of the maps of a file in this process."""
    inside, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split(maxsplit=1)[0]
        if "-" in head and not head.endswith(":"):
            inside = line.endswith(str(path))
        elif inside and head == "Rss:":
            total += int(line.split()[1])
    return total


class Listener(MemorySource):
    """Rows in memory that claim to be `kind`, and write down the advice."""

    def __init__(self, array: np.ndarray, kind: str, ahead: int | None = None) -> None:
        super().__init__(array)
        self.access = Access(kind=kind, reason="for a test")
        self.ahead, self.needed, self.left = ahead, [], []

    @property
    def blocks(self) -> Blocks:
        return Blocks.uniform(len(self), 64)

    @property
    def ahead_bytes(self) -> int | None:
        return self.ahead

    def will_need(self, first: int, stop: int) -> None:
        self.needed.append((first, stop))

    def dont_need(self, first: int, stop: int) -> None:
        self.left.append((first, stop))


class TestWhoIsTold:
    """A budget makes advice worth while for the small data of these tests."""

    ROWS = 4096

    def listener(self, kind: str = "mapped", ahead: int | None = None) -> Listener:
        return Listener(np.arange(self.ROWS * 64).reshape(self.ROWS, 64), kind, ahead)

    def iterate(self, ds: object, **options: object) -> None:
        for _ in Loader(ds, 64, shuffle=False, memory_budget=1 << 20, **options):
            pass

    def test_small_files_only_within_a_budget(self) -> None:
        told = self.listener()
        list(Loader(NumpyDataset(told), 64, shuffle="block"))
        assert told.needed == []
        wide = np.lib.stride_tricks.as_strided(np.zeros(1), (4, 1 << 23), (0, 0))
        large = Listener(wide, "mapped")
        next(iter(Loader(NumpyDataset(large), 1, num_threads=0, shuffle="block")))
        assert large.needed

    def test_of_files_only_those_that_are_read(self) -> None:
        wide = np.lib.stride_tricks.as_strided(np.zeros(1), (20_000, 1 << 13), (0, 0))
        told = Listener(wide, "files")
        order = list(BlockBatchSampler(len(told), 64, shuffle="full"))
        sampler = BlockBatchSampler(len(told), 64, shuffle="full")
        batches = iter(Loader(NumpyDataset(told), sampler=sampler, num_threads=0))
        for _ in range(4):
            next(batches)
        assert 4 * 64 <= len(rows_of(told.needed)) <= 40 * 64
        assert rows_of(told.needed) <= set(np.concatenate(order[:40]).tolist())

    def test_not_where_a_subset_names_what_npdata_does_not_know(self) -> None:
        class Lengths:
            def __getitems__(self, words):
                return [len(word) for word in words]

        batches = list(Loader(Subset(Lengths(), ["a", "bcd"]), 2, shuffle=False))
        assert [batch.tolist() for batch in batches] == [[1, 3]]

    @pytest.mark.parametrize("threads", [0, 2])
    def test_sources_of_a_dataset(self, threads: int) -> None:
        told, deaf = self.listener(), self.listener("memory")
        self.iterate(NumpyDataset(told, deaf), num_threads=threads)
        assert rows_of(told.needed) == set(range(self.ROWS))
        assert told.left
        assert deaf.needed == deaf.left == []

    def test_of_a_subset_the_rows_that_it_has(self) -> None:
        told = self.listener()
        half = Subset(NumpyDataset(told), range(self.ROWS // 2, self.ROWS))
        self.iterate(Subset(half, range(-8, 0)))
        assert rows_of(told.needed) <= set(range(self.ROWS // 2, self.ROWS))
        assert rows_of(told.needed) >= set(range(self.ROWS - 8, self.ROWS))

    def test_of_stacked_datasets_all(self) -> None:
        first, second = self.listener(), self.listener()
        stacked = StackDataset(a=NumpyDataset(first), b=NumpyDataset(second))
        self.iterate(stacked)
        assert rows_of(first.needed) == rows_of(second.needed) == set(range(self.ROWS))

    def test_a_wrapper_of_ones_own_is_not_guessed_at(self) -> None:
        class Reversed(Subset):
            def __getitems__(self, indices):
                return super().__getitems__([len(self) - 1 - k for k in indices])

        told = self.listener()
        self.iterate(Reversed(NumpyDataset(told), range(64)))
        assert told.needed == []

    def test_decoded_sources_no_further_ahead_than_they_can_hold(self) -> None:
        told = self.listener("decoded", ahead=self.ROWS * 512 // 8)
        loader = Loader(NumpyDataset(told), 64, shuffle=False, num_threads=0)
        seen = [len(rows_of(told.needed)) - int(batch[-1, -1] + 1) // 64 for batch in loader]
        assert rows_of(told.needed) == set(range(self.ROWS))
        # A stretch is a quarter of what is ahead, and there is one more.
        assert 0 < max(seen) <= self.ROWS // 8 * 5 // 4

    def test_windows_as_far_ahead_as_their_rows(self) -> None:
        told = {}
        for length in (1, 256):
            told[length] = self.listener("decoded", ahead=self.ROWS * 512 // 8)
            windows = NumpyDataset(told[length]).windows(length)
            next(iter(Loader(windows, 16, num_threads=0)))
        assert rows_of(told[1].needed) <= rows_of(told[256].needed)
        assert len(rows_of(told[256].needed)) <= len(rows_of(told[1].needed)) + 256 + 64

    def test_a_quarter_of_the_budget_is_left_for_batches(self) -> None:
        told, most = self.listener(), 0
        budget = self.ROWS * 512 // 2
        ds = NumpyDataset(told)
        for _ in Loader(ds, 64, shuffle=False, memory_budget=budget, num_threads=0):
            most = max(most, len(rows_of(told.needed)) - len(rows_of(told.left)))
        assert budget * 5 // 8 < 512 * most <= budget * 3 // 4

    def test_decoded_sources_that_hold_nothing_ahead_are_left_alone(self) -> None:
        told = self.listener("decoded")
        self.iterate(NumpyDataset(told))
        assert told.needed == []


@linux
class TestOtherFiles:
    def test_a_memmap_takes_advice_and_loses_nothing(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.arange(1 << 20).reshape(-1, 1024))
        for mode in ("r", "c", "r+"):
            array = np.load(tmp_path / "x.npy", mmap_mode=mode)
            ds = NumpyDataset(array[100:])
            (source,) = ds.sources
            assert ds[:].sum() != 0
            before = resident_kib(tmp_path / "x.npy")
            if mode != "r":
                array[105] = -1
            source.dont_need(0, len(source))
            assert resident_kib(tmp_path / "x.npy") < before / 2
            source.will_need(0, len(source))
            assert (ds[5] == (-1 if mode != "r" else torch.arange(105 * 1024, 106 * 1024))).all()
        assert (np.load(tmp_path / "x.npy")[105] == -1).all()

    def test_a_memmap_whose_file_is_gone_takes_it_too(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.arange(1 << 16))
        (source,) = NumpyDataset(np.load(tmp_path / "x.npy", mmap_mode="r")).sources
        (tmp_path / "x.npy").unlink()
        source.will_need(0, len(source))
        source.dont_need(0, len(source))

    def test_chunks_in_a_file(self, tmp_path: Path) -> None:
        x = np.arange(1 << 20).reshape(-1, 1024)
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file.create_dataset("x", data=x, chunks=(64, 512))
        ds = NumpyDataset(f"{tmp_path}/d.h5::x")
        assert ds.describe().fields[0].access == "mapped"
        assert (ds[:].numpy() == x).all()
        before = resident_kib(tmp_path / "d.h5")
        ds.sources[0].dont_need(0, 1024)
        assert resident_kib(tmp_path / "d.h5") < before / 2
        ds.sources[0].will_need(3, 1024)
        for batch, rows in zip(
            Loader(ds, 64, memory_budget=3 << 20, shuffle="block"),
            BlockBatchSampler(ds, 64),
            strict=True,
        ):
            assert (batch.numpy() == x[rows]).all()
