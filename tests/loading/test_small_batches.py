"""Runs of small batches: the same batches, counts and errors as one by one, over one memory."""

import io
import os
import pickle
import sys
import weakref
from operator import setitem
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run
from torch.utils.data import DataLoader, Subset

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset
from npdata.arrays.dtypes import NATIVE, torch_dtype
from npdata.arrays.values import numpy_casts
from npdata.errors import ConversionError
from npdata.loading.finish_on_device import sent_as_stored
from npdata.loading.pipeline import Pipeline
from npdata.loading.schedule import RUN_BYTES, Options, Schedule
from npdata.loading.to_device import Sender

X = np.random.default_rng(0).random((1000, 3), np.float32)
Y = np.arange(1000)
THREADS = ("auto", 1, 3)


def one_by_one(ds: Any, sampler: Any, **options: Any) -> list[Any]:
    """The batches of the way without runs."""
    loader = Loader(ds, sampler=sampler, num_threads=0, **options)
    assert loader.describe().run == 1
    return list(loader)


def sent_in_runs(ds: Any, sampler: Any, dtype: Any = None) -> list[Any]:
    """The batches of the way to an accelerator, which here is the CPU, and an error after them."""
    cpu = torch.device("cpu")
    sent, finish = sent_as_stored(ds, cpu)
    pipeline = Pipeline(
        dataset=ds,
        sent=sent,
        sender=Sender(cpu, dtype, finish=finish, aside=False),
        ordered=False,
        options=Options(dtype=dtype, device=cpu),
        schedule=Schedule(threads=0, depth=1, pinned=False, reason="", run=16),
    )
    given: list[Any] = []
    with pipeline.start(iter(sampler)) as results:
        for made in results:
            given += made.batches
            if made.error is not None:
                return [*given, made.error]
    return given


def assert_same(ours: Any, other: Any) -> None:
    assert type(ours) is type(other)
    if isinstance(ours, torch.Tensor):
        assert ours.dtype == other.dtype
        assert torch.equal(ours, other)
    elif isinstance(ours, dict):
        assert list(ours) == list(other)
        assert_same(list(ours.values()), list(other.values()))
    else:
        for a, b in zip(ours, other, strict=True):
            assert_same(a, b)


def extremes_of(dtype: np.dtype[Any]) -> np.ndarray:
    """Numbers of a dtype, its smallest and its largest among them."""
    if dtype.kind == "b":
        return np.arange(20) % 3 == 0
    if dtype.kind in "fc":
        return np.arange(20).astype(dtype) / 7
    bounds = np.iinfo(dtype)
    return np.array([bounds.min, bounds.max, bounds.max - 1, *range(17)], dtype)


class TestBatches:
    @settings(max_examples=60, deadline=None)
    @given(
        rows=st.integers(1, 400),
        size=st.integers(1, 40),
        shuffle=st.sampled_from(["full", "block", False]),
        uneven=st.sampled_from(["pad", "mask", "ragged", "drop"]),
        world=st.integers(1, 3),
        form=st.sampled_from(["bare", "tuple", "dict"]),
        weighted=st.booleans(),
        threads=st.sampled_from([*THREADS]),
        skipped=st.integers(0, 6),
    )
    def test_are_those_made_one_by_one(
        self, rows, size, shuffle, uneven, world, form, weighted, threads, skipped
    ):
        fields = {"bare": ((X[:rows],), {}), "tuple": ((X[:rows], Y[:rows]), {})}
        given, named = fields.get(form, ((), {"x": X[:rows], "y": Y[:rows]}))
        ds = NumpyDataset(*given, **named)
        options = {"shuffle": shuffle, "uneven": uneven, "rank": 0, "world_size": world}
        if weighted and shuffle:
            options["weights"] = np.arange(1, rows + 1)
        samplers = [BlockBatchSampler(ds, size, seed=3, **options) for _ in range(2)]
        loader = Loader(ds, sampler=samplers[0], num_threads=threads)
        assert loader.describe().run > 1
        other = one_by_one(ds, samplers[1])
        received = 0
        for ours, theirs in zip(loader, other, strict=True):
            assert_same(ours, theirs)
            received += 1
            if received == skipped:
                state = loader.state_dict()
                rest = BlockBatchSampler(ds, size, seed=3, **options)
                rest.load_state_dict(state)
                expected = other[skipped:]
                if expected:
                    assert_same(list(Loader(ds, sampler=rest)), expected)
        assert loader.stats().batches == len(other) == received
        tensors = [each for batch in other for each in _tensors(batch)]
        assert loader.stats().nbytes == sum(each.nbytes for each in tensors)

    @pytest.mark.parametrize("threads", THREADS)
    def test_of_files_subsets_and_casts(self, tmp_path: Path, threads: Any) -> None:
        np.save(tmp_path / "x.npy", X)
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file.create_dataset("x", data=X, chunks=(64, 3), compression="gzip")
            file.create_dataset("y", data=Y)
            file.create_dataset("scaled", data=Y, scaleoffset=0, chunks=(64,))
        ds = NumpyDataset(
            x=tmp_path / "x.npy",
            packed=f"{tmp_path}/d.h5::x",
            y=f"{tmp_path}/d.h5::y",
            scaled=f"{tmp_path}/d.h5::scaled",
            half=X.astype(">f2"),
            dtype={"y": torch.int32},
        )
        chosen = np.random.default_rng(1).permutation(1000)[:333].tolist()
        for data in (ds, Subset(ds, chosen), Subset(Subset(ds, chosen), range(-1, -300, -2))):
            for dtype in (None, torch.float64, {"x": torch.float16}):
                samplers = [BlockBatchSampler(data, 7, seed=2) for _ in range(2)]
                ours = Loader(data, sampler=samplers[0], num_threads=threads, dtype=dtype)
                assert ours.describe().run > 1
                assert_same(list(ours), one_by_one(data, samplers[1], dtype=dtype))

    @pytest.mark.parametrize("threads", THREADS)
    def test_of_a_subset_are_of_the_rows_that_it_has_in_each_epoch(self, threads: Any) -> None:
        subset = Subset(NumpyDataset(X), [3, 1, 4, 1, 5, 9])
        loader = Loader(subset, 2, shuffle=False, num_threads=threads)
        for change in (lambda: None, lambda: setitem(subset.indices, 2, -1), subset.indices.sort):
            change()
            assert_same(torch.cat(list(loader)), torch.from_numpy(X[subset.indices]))
        subset.indices = [2, 7, 1, 8, 2, 1000]
        with pytest.raises(IndexError, match="1000"):
            list(loader)

    def test_of_a_subset_do_not_change_with_its_array_while_an_epoch_is_read(self) -> None:
        rows = np.arange(600)
        loader = Loader(Subset(NumpyDataset(X), rows), 2, shuffle=False, num_threads=1)
        batches = iter(loader)
        got = [next(batches)]
        rows[:] = 1 << 40  # no row, which a gather without a check would read outside of the data
        got.extend(batches)
        assert_same(torch.cat(got), torch.from_numpy(X[:600]))

    @pytest.mark.parametrize("stored", NATIVE)
    @pytest.mark.parametrize("asked_of", ["dataset", "loader"])
    def test_are_cast_one_by_one_where_that_changes_no_number(
        self, stored: str, asked_of: str
    ) -> None:
        x = extremes_of(np.dtype(stored))
        for wanted in NATIVE:
            if x.dtype.kind not in "biu" and not np.can_cast(x.dtype, wanted, "same_kind"):
                continue  # refused
            dtype = getattr(torch, wanted)
            ds = NumpyDataset(x, dtype=dtype if asked_of == "dataset" else None)
            options = {} if asked_of == "dataset" else {"dtype": dtype}
            loader = Loader(ds, 3, pin_memory=False, **options)
            grows = np.dtype(wanted).itemsize >= 2 * x.itemsize
            assert loader.describe().casts_late == (
                grows and numpy_casts(torch_dtype(stored), dtype)
            )
            batches = list(loader)
            assert_same(batches, one_by_one(ds, BlockBatchSampler(ds, 3, shuffle=False), **options))
            with np.errstate(all="ignore"):
                assert np.array_equal(torch.cat(batches).numpy(), x.astype(wanted))
            assert loader.stats().nbytes == sum(batch.nbytes for batch in batches)

    @pytest.mark.parametrize("threads", THREADS)
    @pytest.mark.parametrize("uneven", ["pad", "mask", "ragged"])
    def test_are_cast_one_by_one_in_every_form(self, threads: Any, uneven: Any) -> None:
        images = np.arange(6000, dtype=np.uint16).reshape(1000, 6)
        float_labels = {"image": torch.float32, "label": torch.float32}
        for ds, options in [
            (NumpyDataset(images, dtype=torch.int64), {}),
            (NumpyDataset(images, Y, X[:, :1], dtype={0: torch.float64, 1: torch.int32}), {}),
            (NumpyDataset(image=images, label=Y), {"dtype": {"image": torch.float64}}),
            (NumpyDataset(image=images, label=images[:, 0]), {"dtype": float_labels}),
            (NumpyDataset(images, dtype=torch.int64).windows(5, stride=3), {}),
            (Subset(NumpyDataset(images), range(999, 0, -2)), {"dtype": torch.float32}),
        ]:
            samplers = [
                BlockBatchSampler(ds, 7, uneven=uneven, world_size=2, rank=1) for _ in range(2)
            ]
            how: dict[str, Any] = {"num_threads": threads, "pin_memory": False}
            loader = Loader(ds, sampler=samplers[0], **how, **options)
            assert loader.describe().casts_late
            expected = one_by_one(ds, samplers[1], **options)
            assert_same(list(loader), expected)
            tensors = [each for batch in expected for each in _tensors(batch)]
            assert loader.stats().nbytes == sum(each.nbytes for each in tensors)

    def test_are_cast_together_where_some_casts_cannot_wait(self) -> None:
        images = np.arange(6000, dtype=np.uint16).reshape(1000, 6)
        for ds, options in [
            (NumpyDataset(images, Y), {"dtype": torch.float32}),
            (NumpyDataset(images, dtype=torch.float32), {"dtype": torch.float64}),
            (NumpyDataset(images, dtype=torch.uint8), {}),
            (NumpyDataset(X, images[:, 0], dtype={1: torch.int64}), {}),  # and they gain little
        ]:
            loader = Loader(ds, 7, **options)
            assert not loader.describe().casts_late
            sampler = BlockBatchSampler(ds, 7, shuffle=False)
            assert_same(list(loader), one_by_one(ds, sampler, **options))

    @pytest.mark.parametrize("dtype", [None, torch.float16, torch.float64])
    @pytest.mark.parametrize("uneven", ["pad", "mask"])
    def test_are_the_same_on_a_device_where_they_are_finished(
        self, tmp_path: Path, dtype: Any, uneven: Any
    ) -> None:
        with h5py.File(tmp_path / "d.h5", "w") as file:
            packed = file.create_dataset("packed", data=Y.astype(np.int16))
            packed.attrs["scale_factor"], packed.attrs["add_offset"] = 0.5, 10.0
        cells = npdata.csr(Y.astype(np.uint16), Y % 7, np.arange(1001), (1000, 7))
        for ds in (
            NumpyDataset(x=f"{tmp_path}/d.h5::packed", y=Y, decode="cf"),
            Subset(NumpyDataset(f"{tmp_path}/d.h5::packed", decode="cf"), range(999, 100, -1)),
            NumpyDataset(cells, Y),
        ):
            samplers = [BlockBatchSampler(ds, 7, uneven=uneven) for _ in range(2)]
            expected = one_by_one(ds, samplers[1], dtype=dtype)
            assert_same(sent_in_runs(ds, samplers[0], dtype), expected)

    def test_are_not_gathered_where_a_batch_is_more_than_a_gather(self) -> None:
        class Own(NumpyDataset):
            def __getitems__(self, indices: Any) -> Any:
                return super().__getitems__(indices)

        for ds, options in [
            (NumpyDataset(X, transform=torch.neg), {}),
            (NumpyDataset(X, batch_transform=torch.neg), {}),
            (NumpyDataset(np.array(["a", "b"]), dtype=str), {}),
            (NumpyDataset(X), {"dtype": torch.bfloat16}),
            (NumpyDataset(X), {"num_threads": 0}),
            (NumpyDataset(X), {"sampler": [[0, 1]], "batch_size": None}),
            (Own(X), {}),
            (Subset(Own(X), [0, 1]), {}),
            (NumpyDataset(npdata.ragged(Y, offsets=np.array([0, 3, 1000]))), {}),
        ]:
            assert Loader(ds, **{"batch_size": 2, **options}).describe().run == 1

    def test_the_first_run_is_one_batch(self) -> None:
        data = X.copy()
        batches = iter(Loader(NumpyDataset(data), 10))
        next(batches)
        data[:] = 7
        assert (torch.cat(list(batches)) == 7).all()


def _tensors(batch: Any) -> list[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        return [batch]
    if isinstance(batch, tuple):  # with a mask, which is not counted
        return _tensors(batch[0])
    return list(batch.values()) if isinstance(batch, dict) else list(batch)


class TestMemory:
    def test_a_batch_that_is_kept_keeps_no_more_than_a_mebibyte(self) -> None:
        ds = NumpyDataset(np.zeros((100_000, 32), np.uint8), np.arange(100_000))
        for dtype in (None, torch.float64):
            loader = Loader(ds, 64, dtype=dtype)
            run = loader.describe().run
            batches = list(loader)
            whole = batches[run : 2 * run]
            assert sum(t.nbytes for batch in whole for t in batch) <= RUN_BYTES == 1 << 20

    def test_one_that_was_cast_by_itself_keeps_itself_alone(self) -> None:
        data = np.zeros((1000, 32), np.uint8)
        for batch in Loader(NumpyDataset(data, dtype=torch.float32), 64):
            assert batch.untyped_storage().nbytes() == batch.nbytes
            batch += 1
        assert not data.any()

    def test_nor_does_one_of_a_size_that_was_set_since(self) -> None:
        loader = Loader(NumpyDataset(np.zeros((1 << 15, 32), np.uint8)), 8)
        loader.batch_sampler.batch_size = 1 << 12
        sizes = [len(batch) for batch in loader]
        assert sizes == 8 * [1 << 12]
        assert loader.describe().run * (1 << 12) * 32 <= RUN_BYTES

    def test_each_is_a_tensor_of_its_own(self) -> None:
        """Of its own storage, for torch.save, and of its own version, for autograd."""
        batches = list(Loader(NumpyDataset(X), 10))
        for batch in batches:
            assert batch.untyped_storage().nbytes() == batch.nbytes
            assert not batch._is_view()
            assert len(pickle.dumps(batch)) < 1000
        file = io.BytesIO()
        torch.save(batches[50], file)
        assert file.tell() < 3000
        weight = torch.ones(3, requires_grad=True)
        loss = (batches[50] * weight).sum()
        batches[51].add_(1)
        loss.backward()
        assert torch.equal(weight.grad, torch.from_numpy(X[500:510]).sum(0))
        batches[51].add_(weight)

    def test_a_change_in_place_stays_in_its_batch_and_out_of_the_data(self) -> None:
        data = X.copy()
        for number, batch in enumerate(Loader(NumpyDataset(data), 10)):
            assert torch.equal(batch, torch.from_numpy(X[10 * number : 10 * number + 10]))
            batch.fill_(9)
        assert np.array_equal(data, X)


class TooMany(BlockBatchSampler):
    """Numbers more rows than the 95 that a `Loader` takes it to number."""

    rows = 95


class Damaged(npdata.Source):
    """A hundred numbers, of which one cannot be read."""

    shape, dtype, where = (100,), np.dtype(np.int64), "damaged numbers"
    access = npdata.Access(kind="library", reason="read one by one")

    def __init__(self, row: int) -> None:
        self.row = row

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        if self.row in indices:
            raise OSError(f"row {self.row} is damaged")
        out[...] = indices


NO_MEMORY = """
import contextlib, resource
import numpy as np, npdata, torch
ds = npdata.NumpyDataset(np.zeros((3, 1 << 18), np.uint8), dtype=torch.float64)
torch.set_num_threads(1)  # many would cast such batches together
loader = npdata.Loader(ds, 1, pin_memory=False)  # too few rows for threads
batches = iter(loader)
received = [next(batches), next(batches)]  # of a run of one batch, and of one of two
resource.setrlimit(resource.RLIMIT_AS, (1 << 20, -1))
taken = []
for _ in range(100):  # malloc asks in one place after the other
    with contextlib.suppress(MemoryError):
        while True:
            taken.append(np.empty(1 << 20, np.uint8))  # half of what a batch needs
try:
    next(batches)
except MemoryError as error:
    print(*error.__notes__, loader.state_dict()["position"], next(batches, "nothing"))
"""


class TestErrors:
    @pytest.mark.parametrize("threads", THREADS)
    def test_one_is_raised_in_the_place_of_its_batch(self, threads: Any) -> None:
        ds = NumpyDataset(X[:95])
        iterator = iter(Loader(ds, sampler=TooMany(100, 4, shuffle=False), num_threads=threads))
        with pytest.raises(IndexError, match="row 95 at position 3") as caught:
            list(iterator)
        with pytest.raises(StopIteration):
            next(iterator)
        assert "in batch 23 of this iteration" in caught.value.__notes__[0]

    @pytest.mark.parametrize("batches", range(24))
    def test_one_is_raised_wherever_in_a_run_it_comes(self, batches: int, monkeypatch) -> None:
        ds = NumpyDataset(X[: 4 * batches + 3])
        sampler = TooMany(100, 4, shuffle=False)
        monkeypatch.setattr(TooMany, "rows", len(ds))
        loader = Loader(ds, sampler=sampler, num_threads=1)
        got = []
        with pytest.raises(IndexError, match=f"row {len(ds)}"):
            got.extend(loader)
        assert len(got) == batches

    @pytest.mark.parametrize("threads", THREADS)
    def test_all_batches_before_it_are_given(self, threads: Any) -> None:
        ds = Subset(NumpyDataset(X), list(range(95)))
        loader = Loader(ds, sampler=TooMany(100, 4, shuffle=False), num_threads=threads)
        got = []
        with pytest.raises(IndexError):
            got.extend(loader)
        assert len(got) == 23
        assert torch.equal(torch.cat(got), torch.from_numpy(X[:92]))
        assert loader.state_dict()["position"] == 92

    @pytest.mark.parametrize("threads", THREADS)
    @pytest.mark.parametrize("batches", range(9))
    def test_one_of_a_source_is_raised_wherever_in_a_run_it_comes(
        self, batches: int, threads: Any
    ) -> None:
        ds = NumpyDataset(Y[:100], Damaged(4 * batches + 3))
        loader = Loader(ds, 4, num_threads=threads)
        assert loader.describe().run > 1
        got = []
        with pytest.raises(OSError, match=r"row \d+ is damaged") as caught:
            got.extend(loader)
        assert f"in batch {batches} of this iteration" in caught.value.__notes__[0]
        assert [batch[1].tolist() for batch in got] == Y[: 4 * batches].reshape(-1, 4).tolist()
        assert loader.state_dict()["position"] == 4 * batches

    @pytest.mark.skipif(sys.platform != "linux", reason="limits its memory")
    def test_one_of_a_batch_that_is_cast_when_it_is_asked_for_names_it(self) -> None:
        done = run(NO_MEMORY)
        assert done.stdout == "in batch 2 of this iteration, rows [2] 2 nothing\n", done.stderr

    def test_one_of_the_device_is_raised_in_the_place_of_its_batch(self) -> None:
        x = X.copy()
        x[500] = np.nan
        sampler = BlockBatchSampler(1000, 4, shuffle=False)
        *given, error = sent_in_runs(NumpyDataset(x), sampler, torch.int64)
        assert_same(given, list(torch.from_numpy(X[:500]).long().split(4)))
        assert isinstance(error, ConversionError)
        assert error.__notes__ == ["in batch 125 of this iteration, rows [500, 501, 502, 503]"]

    def test_a_dataset_that_is_closed(self) -> None:
        ds = NumpyDataset(X)
        with pytest.raises(npdata.errors.ClosedError):
            for _ in Loader(ds, 10):
                ds.close()

    def test_closing_the_loader_ends_the_run(self) -> None:
        loader = Loader(NumpyDataset(X), 10)
        iterator = iter(loader)
        for _ in range(10):
            next(iterator)
        loader.close()
        with pytest.raises(npdata.errors.ClosedError):
            next(iterator)
        assert loader.state_dict()["position"] == 100

    @pytest.mark.parametrize("threads", THREADS)
    def test_a_batch_that_was_received_is_not_kept(self, threads: Any) -> None:
        received: list[weakref.ref[torch.Tensor]] = []
        for batch in Loader(NumpyDataset(X), 10, num_threads=threads):
            assert all(each() is None for each in received)
            received.append(weakref.ref(batch))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    def test_a_child_gets_none_of_the_run_of_its_parent(self) -> None:
        ds = NumpyDataset(Damaged(65))  # in the last batch of a run of four
        iterator = iter(Loader(ds, 10, num_threads=1))
        for _ in range(4):
            next(iterator)
        child = os.fork()
        if not child:
            try:
                next(iterator)
            except BaseException as error:
                os._exit(7 if isinstance(error, npdata.errors.ForkError) else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_data_loader_gives_the_same() -> None:
    ds = NumpyDataset(X, Y)
    stock = DataLoader(
        ds, batch_sampler=BlockBatchSampler(ds, 16, seed=5), collate_fn=npdata.collate
    )
    assert_same(list(Loader(ds, 16, shuffle="block", seed=5)), list(stock))
