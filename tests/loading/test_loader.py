"""`Loader` gives the batches of a stock DataLoader, on any number of threads, and cleans up."""

import contextlib
import copy
import gc
import os
import pickle
import re
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from descriptors import descriptors_of
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds import KINDS, ROWS, Data, dataset
from processes import HANG, interrupted, raises_in_a_worker, run
from threads import ours
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    StackDataset,
    Subset,
    TensorDataset,
    get_worker_info,
)

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset, stack
from npdata.errors import (
    BatchTransformError,
    ClosedError,
    DeviceError,
    ForkError,
    LoaderError,
    MaskLostError,
    NotBatchedError,
    RowIndexError,
    RowIndexTypeError,
    StateError,
    StateWarning,
)

THREADS = (0, 1, 2, 8, "auto")
CUDA = torch.accelerator.is_available()


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    gc.collect()
    assert ours() == []


def pickled(loader: Loader) -> Loader:
    return pickle.loads(pickle.dumps(loader))


def sampler(ds: object, batch_size: int = 16, **options: object) -> BlockBatchSampler:
    return BlockBatchSampler(ds, batch_size, block_rows=5, window_blocks=3, seed=1, **options)


def same(ours: object, stock: object) -> None:
    assert type(ours) is type(stock)
    if isinstance(stock, torch.Tensor):
        assert ours.dtype == stock.dtype
        assert torch.equal(ours, stock)
    elif isinstance(stock, dict):
        assert list(ours) == list(stock)
        for name in stock:
            same(ours[name], stock[name])
    elif isinstance(stock, list | tuple):
        for mine, other in zip(ours, stock, strict=True):
            same(mine, other)
    else:
        assert ours == stock


def assert_same_epochs(ds: object, threads: int, **options: object) -> None:
    """Two epochs of both, with samplers of their own."""
    loader = Loader(ds, sampler=sampler(ds, **options), num_threads=threads)
    stock = DataLoader(ds, batch_sampler=sampler(ds, **options), collate_fn=npdata.collate)
    for _ in range(2):
        count = 0
        for mine, other in zip(loader, stock, strict=True):
            same(mine, other)
            count += 1
        assert count == len(loader) == len(stock)


class TestBatches:
    @pytest.mark.parametrize("threads", THREADS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_are_those_of_the_stock_data_loader(
        self, data: Data, kind: str, threads: "int | str"
    ) -> None:
        assert_same_epochs(dataset(kind, data), threads)

    @pytest.mark.parametrize("threads", THREADS)
    def test_of_all_kinds_at_once(self, data: Data, threads) -> None:
        assert_same_epochs(NumpyDataset({k: make(data) for k, make in KINDS.items()}), threads)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_stock_data_loader_with_its_own_collate(
        self, data: Data, threads: "int | str"
    ) -> None:
        ds = NumpyDataset(image=data.x, label=data.y)
        stock = DataLoader(ds, batch_sampler=sampler(ds))
        for mine, other in zip(
            Loader(ds, sampler=sampler(ds), num_threads=threads), stock, strict=True
        ):
            same(mine, other)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_subset_of_a_stack_have_its_form(self, data: Data, threads) -> None:
        ds, other = NumpyDataset(x=data.x, y=data.y), TensorDataset(torch.arange(ROWS))
        for stacked in (StackDataset(ds), StackDataset(other, ds), StackDataset(one=ds)):
            assert_same_epochs(Subset(stacked, range(20)), threads)

    @pytest.mark.parametrize("options", [{"num_threads": 0}, {}, {"resident": "auto"}])
    @pytest.mark.parametrize(
        "indices", [np.arange(ROWS) % 2 == 0, [True, False], [1.0], [[1], [2]]]
    )
    def test_of_a_subset_by_what_is_no_row_number_are_refused(
        self, data: Data, indices: object, options: dict
    ) -> None:
        with pytest.raises((RowIndexError, RowIndexTypeError)):
            list(Loader(Subset(NumpyDataset(data.y), indices), 2, **options))

    @pytest.mark.parametrize(
        "indices", [[(1 << 64) - 1], np.array([0, (1 << 64) - 1], np.uint64)], ids=["list", "array"]
    )
    def test_of_a_subset_by_numbers_of_64_bits_are_refused(self, indices: object) -> None:
        """As signed numbers they are rows from the end."""
        for options in ({"num_threads": 0}, {"shuffle": "block"}, {"resident": True}):
            with pytest.raises(RowIndexError, match="is out of range"):
                list(Loader(Subset(NumpyDataset(np.arange(5)), indices), 2, **options))

    @pytest.mark.parametrize("shuffle", [False, "block"])
    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_subset_are_those_that_its_indices_give_one_by_one(self, threads, shuffle) -> None:
        class Labelled(list):
            """As a Series of pandas, which looks for labels."""

            def __getitem__(self, label):
                return super().__getitem__(2 - label)

        for indices, rows in (
            (Labelled([7, 8, 9]), [9, 8, 7]),
            ({0: 3, 1: 1}, [3, 1]),
            (torch.tensor([4, 6]).to_sparse(), [4, 6]),
        ):
            subset = Subset(NumpyDataset(np.arange(10)), indices)
            order = list(BlockBatchSampler(len(rows), 2, shuffle=shuffle))
            loader = Loader(subset, 2, shuffle=shuffle, num_threads=threads)
            for batch, places in zip(loader, order, strict=True):
                assert batch.tolist() == np.take(rows, places).tolist()

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_subset_of_a_dataset_with_samples_of_its_own(self, data: Data, threads) -> None:
        class Negative(NumpyDataset):
            def __getitem__(self, row):
                return -super().__getitem__(row)

        assert_same_epochs(Subset(Negative(data.x), [3, -1, 3, 0, 50]), threads)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_wrapped_datasets_with_a_method_of_their_own(self, data: Data, threads) -> None:
        ds = NumpyDataset(data.x)
        for wrapped in (Subset(ds, [3, 1, 2]), StackDataset(ds)):
            wrapped.__getitems__ = lambda rows: [-ds[row] for row in rows]
            assert_same_epochs(wrapped, threads)
            assert_same_epochs(Subset(wrapped, [2, 0]), threads)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_dataset_whose_attributes_are_named_as_those_of_wrappers(
        self, data: Data, threads
    ) -> None:
        class Named(TensorDataset):
            def __getitems__(self, rows):
                return [self[row] for row in rows]

        part, whole = Named(torch.from_numpy(data.x)), Named(torch.from_numpy(data.y))
        whole.datasets, part.dataset = {"train": part, "again": part}, whole  # each has the other
        for value in (3, np.array(["a", "b"]), print, "ab", iter("ab"), whole, [whole, [part]]):
            for name in ("dataset", "datasets"):
                named = Named(torch.from_numpy(data.x))
                setattr(named, name, value)
                assert_same_epochs(named, threads)
                assert_same_epochs(Subset(named, [2, 0]), threads)
        assert_same_epochs(whole, threads)

    @pytest.mark.parametrize("threads", THREADS)
    def test_of_wrapped_datasets(self, data: Data, threads) -> None:
        ds = NumpyDataset(data.x, data.y)
        assert_same_epochs(Subset(ds, range(3, 90, 2)), threads)
        assert_same_epochs(StackDataset(a=ds, b=NumpyDataset(data.y)), threads)

    @pytest.mark.parametrize("threads", [0, 2])
    @pytest.mark.parametrize("kind", KINDS)
    def test_of_a_stack_of_any_kind_and_of_subsets_with_functions(
        self, data: Data, kind: str, threads: "int | str"
    ) -> None:
        def mixed(batch):
            return batch + batch.flip(0)

        rows = np.random.default_rng(0).permutation(ROWS).tolist()
        parts = {
            "first": dataset(kind, data),
            "chosen": Subset(NumpyDataset(data.x, transform=torch.neg), rows),
            "mixed": NumpyDataset(data.x, batch_transform=mixed),
        }
        for stack_of in (StackDataset(**parts), StackDataset(*parts.values())):
            assert_same_epochs(stack_of, threads)

    def test_of_a_stack_are_stacked_once_without_its_samples(self, data: Data, monkeypatch) -> None:
        ds = StackDataset(x=NumpyDataset(data.x), y=Subset(NumpyDataset(data.y), range(ROWS)))
        made = []
        monkeypatch.setattr(npdata.dataset.batch.Batch, "_make", made.append)
        first = next(iter(Loader(ds, 4)))
        assert torch.equal(first["x"], torch.from_numpy(data.x[:4]))
        assert torch.equal(first["y"], torch.from_numpy(data.y[:4]))
        assert not made

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_stack_with_a_function_that_loses_rows_are_refused(self, data, threads) -> None:
        halved = NumpyDataset(data.x, batch_transform=lambda batch: batch[::2])
        with pytest.raises(BatchTransformError):
            list(Loader(StackDataset(halved, NumpyDataset(data.y)), 4, num_threads=threads))

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_stack_with_a_dataset_that_gives_stacked_rows(self, data: Data, threads) -> None:
        class Stacked(TensorDataset):
            def __getitems__(self, rows):
                return self.tensors[0][rows]

        other = Stacked(torch.arange(2 * ROWS).reshape(ROWS, 2))
        assert_same_epochs(StackDataset(NumpyDataset(data.x), other), threads)

    @pytest.mark.parametrize("threads", [0, 2])
    @pytest.mark.parametrize("uneven", ["mask", "ragged", "pad", "drop"])
    def test_of_ranks_and_masks(self, data: Data, uneven: str, threads) -> None:
        ds = NumpyDataset(data.x, data.y)
        for rank in range(3):
            assert_same_epochs(ds, threads, rank=rank, world_size=3, uneven=uneven)

    @pytest.mark.parametrize("threads", [0, 2])
    @pytest.mark.parametrize("width", [3, 20_000], ids=["in runs", "one by one"])
    def test_of_a_subset_with_masks(self, width: int, threads) -> None:
        subset = Subset(NumpyDataset(np.arange(30 * width).reshape(30, width)), range(25))
        for rank in range(2):
            loader = Loader(subset, 10, rank=rank, world_size=2, uneven="mask", num_threads=threads)
            masks = [mask.tolist() for _, mask in loader]
            assert masks == [[True] * 10, [True, True, rank == 0]]

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_datasets_that_take_batches_apart_with_masks(self, threads) -> None:
        class Apart(NumpyDataset):
            def __getitems__(self, indices):
                return list(super().__getitems__(indices))

        def plus(sample: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
            return sample + int(rng.integers(10**9))

        rows, options = np.arange(23), {"rank": 1, "world_size": 2, "uneven": "mask"}
        for expected, other in (
            (NumpyDataset(rows, rows), StackDataset(NumpyDataset(rows), NumpyDataset(rows))),
            (NumpyDataset(rows, transform=plus), Apart(rows, transform=plus)),
        ):
            loader = Loader(other, 10, num_threads=threads, **options)
            for batch, same in zip(loader, Loader(expected, 10, **options), strict=True):
                assert torch.equal(batch[1], same[1])
                assert all(map(torch.equal, batch[0], same[0]))

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_stacked_datasets_draw_as_those_of_each(self, threads) -> None:
        def plus(sample: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
            return sample + int(rng.integers(10**9))

        rows, chosen = np.arange(40), np.arange(23)[::-1] + 3
        drawing, plain = NumpyDataset(rows, transform=plus), NumpyDataset(rows)
        of_each = Subset(drawing, chosen), Subset(plain, chosen)
        options = {"shuffle": True, "rank": 1, "world_size": 2, "uneven": "mask"}
        for stacked, parts in (
            (StackDataset(drawing, plain, drawing), (drawing, plain, drawing)),
            (StackDataset(x=of_each[0], y=of_each[1]), of_each),
            (Subset(StackDataset(drawing, plain), chosen.tolist()), of_each),
        ):
            loader = Loader(stacked, 10, num_threads=threads, **options)
            alone = [Loader(part, 10, **options) for part in parts]
            for _ in range(2):
                epochs = zip(loader, *alone, strict=True)
                for (batch, mask), *of_parts in epochs:
                    values = batch.values() if isinstance(batch, dict) else batch
                    assert all(
                        torch.equal(v, x) for v, (x, _) in zip(values, of_parts, strict=True)
                    )
                    assert torch.equal(mask, of_parts[0][1])
        sampler = BlockBatchSampler(StackDataset(drawing, plain), 10, shuffle=True)
        loader = DataLoader(StackDataset(drawing, plain), batch_sampler=sampler)
        first, second = (torch.cat([x for x, _ in loader]).sort()[0] for _ in range(2))
        assert not torch.equal(first, second)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_dataset_that_leaves_samples_out_have_no_mask(self, threads) -> None:
        class Gaps(NumpyDataset):
            def __getitems__(self, indices):
                return [self[row] for row in indices if row != 13]

        loader = Loader(Gaps(np.arange(20)), 10, uneven="mask", num_threads=threads)
        batches = iter(loader)
        assert next(batches)[1].all()
        with pytest.raises(MaskLostError, match=r"9 samples for 10 rows .*uneven='ragged'"):
            next(batches)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_with_transforms(self, data: Data, threads) -> None:
        ds = NumpyDataset(
            data.x, data.y, transform=lambda s: (s[0].mul_(2), s[1]), batch_transform=tuple
        )
        assert_same_epochs(ds, threads)

    @settings(max_examples=60)
    @given(
        rows=st.integers(0, 60),
        batch_size=st.integers(1, 20),
        threads=st.integers(0, 4),
        prefetch=st.integers(1, 7),
        shuffle=st.sampled_from(["block", "full", False]),
        drop_last=st.booleans(),
    )
    def test_have_every_row(
        self, rows: int, batch_size: int, threads: int, prefetch: int, shuffle, drop_last: bool
    ) -> None:
        ds = NumpyDataset(np.arange(rows) * 3)
        options = {"shuffle": shuffle, "drop_last": drop_last}
        loader = Loader(ds, batch_size, num_threads=threads, prefetch=prefetch, seed=2, **options)
        batches = [batch.tolist() for batch in loader]
        expected = BlockBatchSampler(ds, batch_size, seed=2, **options)
        assert batches == [(rows * 3).tolist() for rows in expected]
        assert len(loader) == len(batches)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_subclass_and_of_a_patched_dataset(self, data: Data, threads) -> None:
        class Doubled(NumpyDataset):
            def __getitems__(self, indices):
                return [2 * sample for sample in super().__getitems__(indices)]

        assert_same_epochs(Doubled(data.y), threads)
        patched = NumpyDataset(data.y)
        read = patched.__getitems__
        patched.__getitems__ = lambda rows: [-sample for sample in read(rows)]
        assert_same_epochs(patched, threads)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_a_class_that_is_patched(self, data: Data, threads: int, monkeypatch) -> None:
        read = NumpyDataset.__getitems__
        monkeypatch.setattr(
            NumpyDataset, "__getitems__", lambda ds, rows: [-s for s in read(ds, rows)]
        )
        assert_same_epochs(NumpyDataset(data.y), threads)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_of_lists_of_row_numbers(self, data: Data, threads) -> None:
        batches = list(Loader(NumpyDataset(data.y), sampler=[[3, -1], [0]], num_threads=threads))
        assert [b.tolist() for b in batches] == [data.y[[3, -1]].tolist(), data.y[[0]].tolist()]

    def test_are_kept_as_they_came(self, data: Data) -> None:
        ds = NumpyDataset(data.x)
        kept = list(Loader(ds, 4, num_threads=2, prefetch=8, shuffle="block"))
        for batch, rows in zip(kept, BlockBatchSampler(ds, 4), strict=True):
            assert (batch.numpy() == data.x[rows]).all()

    def test_of_two_iterators_at_once(self, data: Data) -> None:
        ds = NumpyDataset(data.x)
        loader = Loader(ds, 8, num_threads=2, shuffle="block")
        first, second = list(loader), list(loader)
        loader.set_epoch(0)
        for count, (a, b) in enumerate(zip(iter(loader), iter(loader), strict=True)):
            assert torch.equal(a, first[count])
            assert torch.equal(b, second[count])

    @pytest.mark.parametrize("threads", THREADS)
    def test_iterations_begun_at_once_are_epochs_one_after_the_other(
        self, data: Data, threads: int
    ) -> None:
        loader = Loader(NumpyDataset(data.y), 8, num_threads=threads, shuffle="block")
        epochs = [torch.cat(list(loader)).tolist() for _ in range(2)]
        loader.set_epoch(0)
        first, second = zip(*zip(loader, loader, strict=True), strict=True)
        assert [torch.cat(first).tolist(), torch.cat(second).tolist()] == epochs
        assert loader.state_dict()["epoch"] == 2

    @pytest.mark.parametrize("threads", THREADS)
    def test_threads_that_iterate_one_loader_get_an_epoch_each(
        self, data: Data, threads: int
    ) -> None:
        loader = Loader(NumpyDataset(data.y), 8, num_threads=threads, shuffle="block")
        epochs = [torch.cat(list(loader)).tolist() for _ in range(4)]
        loader.set_epoch(0)
        together = threading.Barrier(4)

        def epoch(batches) -> list[int]:
            together.wait()
            return torch.cat(list(batches)).tolist()

        with ThreadPoolExecutor(4) as pool:
            got = list(pool.map(epoch, [iter(loader) for _ in range(4)]))
        assert sorted(got) == sorted(epochs)
        first, second = iter(loader.batch_sampler), iter(loader.batch_sampler)
        assert [first.begin().start.epoch, second.begin().start.epoch] == [4, 5]


class Streamed(IterableDataset):
    """A dataset that reads through a Loader, in whichever process it is iterated."""

    def __init__(self, **options: object) -> None:
        self.options = options

    def __iter__(self):
        ds, options = NumpyDataset(np.arange(100)), dict(self.options)
        info = get_worker_info()
        if options.pop("shared", False) and info is not None:
            rank, ranks = options.pop("rank", 0), options.pop("ranks", 1)
            options["sampler"] = BlockBatchSampler(
                ds,
                8,
                rank=rank * info.num_workers + info.id,
                world_size=ranks * info.num_workers,
                uneven="ragged",
            )
        yield from Loader(ds, **options)


class TestInAWorker:
    """Every worker would read every row, so a Loader there has to be given its share."""

    def rows(self, num_workers: int, **options: object) -> list[int]:
        stream = DataLoader(Streamed(**options), batch_size=None, num_workers=num_workers)
        return sorted(row for batch in stream for row in batch.tolist())

    @pytest.mark.slow
    @pytest.mark.parametrize("options", [{"batch_size": 8}, {"sampler": [[1, 2]]}])
    def test_it_is_refused_with_what_to_type(self, options: dict[str, object]) -> None:
        with raises_in_a_worker(ValueError, match=r"rank=rank \* info.num_workers \+ info.id"):
            self.rows(2, **options)

    @pytest.mark.parametrize("num_workers", [0, 1, 3])
    def test_with_its_share_each_row_comes_once(self, num_workers: int) -> None:
        options = {"shared": True} if num_workers else {"batch_size": 8}
        assert self.rows(num_workers, **options) == list(range(100))

    def test_with_its_share_each_row_comes_once_on_several_ranks(self) -> None:
        of_ranks = [self.rows(2, shared=True, rank=rank, ranks=3) for rank in range(3)]
        assert sorted(row for rows in of_ranks for row in rows) == list(range(100))


class TestShuffle:
    def test_rows_come_in_the_order_of_the_file_unless_asked_otherwise(self, data: Data) -> None:
        ds = NumpyDataset(data.x, data.y)
        for mine, stock in zip(Loader(ds, 8), DataLoader(ds, 8), strict=True):
            same(mine, stock)

    def test_true_permutes_all_rows_as_full_does(self, data: Data) -> None:
        ds = NumpyDataset(data.y)
        rows = torch.cat(list(Loader(ds, 8, shuffle=True, seed=3)))
        assert torch.equal(rows, torch.cat(list(Loader(ds, 8, shuffle="full", seed=3))))
        assert not torch.equal(rows, torch.from_numpy(data.y))

    def test_a_sampler_decides_it(self, data: Data) -> None:
        ds = NumpyDataset(data.y)
        with pytest.raises(LoaderError, match="sampler= decides shuffle"):
            Loader(ds, sampler=BlockBatchSampler(ds, 8), shuffle=True)


class TestState:
    @pytest.mark.parametrize("threads", THREADS)
    @pytest.mark.parametrize("consumed", [0, 1, 5, 12])
    def test_counts_what_the_loop_received(self, data: Data, threads: int, consumed: int) -> None:
        ds = NumpyDataset(data.y)
        loader = Loader(ds, 8, num_threads=threads, shuffle="block")
        whole = [batch.tolist() for batch in loader]
        loader.set_epoch(0)
        iterator = iter(loader)
        for _ in range(consumed):
            next(iterator)
        state = loader.state_dict()
        iterator.close()
        assert state["position"] == consumed * 8
        other = Loader(ds, 8, num_threads=2, shuffle="block")
        other.load_state_dict(state)
        assert other.state_dict()["position"] == consumed * 8
        assert [batch.tolist() for batch in other] == whole[consumed:]

    def test_goes_on_in_a_data_loader_and_back(self, data: Data) -> None:
        ds = NumpyDataset(data.y)
        loader = Loader(ds, 8, num_threads=2, shuffle="block")
        seen = [batch.tolist() for _, batch in zip(range(3), loader, strict=False)]
        batches = BlockBatchSampler(ds, 8)
        batches.load_state_dict(loader.state_dict())
        rest = DataLoader(ds, batch_sampler=batches, collate_fn=npdata.collate)
        seen += [batch.tolist() for batch in rest]
        assert seen == [batch.tolist() for batch in Loader(ds, 8, shuffle="block")]

    def test_the_end_of_an_epoch_goes_on_with_the_next(self, data: Data) -> None:
        loader = Loader(NumpyDataset(data.y), 8, num_threads=2, shuffle="block")
        list(loader)
        other = Loader(NumpyDataset(data.y), 8, shuffle="block")
        other.load_state_dict(loader.state_dict())
        assert [b.tolist() for b in other] == [b.tolist() for b in loader]

    def test_after_a_state_was_loaded_it_is_the_state(self, data: Data) -> None:
        loader = Loader(NumpyDataset(data.y), 8, num_threads=0)
        next(iter(loader))
        state = loader.state_dict()
        list(loader)
        loader.load_state_dict(state)
        assert loader.state_dict() == state

    @pytest.mark.parametrize("threads", THREADS)
    def test_an_epoch_that_was_chosen_has_a_state_before_it_begins(
        self, data: Data, threads: int
    ) -> None:
        loader = Loader(NumpyDataset(data.y), 8, num_threads=threads, shuffle="block")
        list(loader)
        loader.set_epoch(3)
        state = loader.state_dict()
        assert (state["epoch"], state["position"]) == (3, 0)

    def test_an_epoch_or_a_state_that_the_sampler_was_given_is_the_state(self, data: Data) -> None:
        loader = Loader(NumpyDataset(data.y), 8, shuffle="block")
        batches = iter(loader)
        next(batches)
        state = loader.state_dict()
        list(batches)
        whole = len(loader)
        loader.batch_sampler.load_state_dict(state)
        assert loader.state_dict() == state
        batches = iter(loader)
        next(batches)
        loader.batch_sampler.set_epoch(2)
        assert len(loader) == whole
        list(loader)
        loader.sampler.set_epoch(7)
        assert loader.state_dict() == loader.batch_sampler.state_dict()
        assert loader.state_dict()["epoch"] == 7

    def test_an_epoch_set_before_the_first_batch_is_that_of_the_state(self, data: Data) -> None:
        loader = Loader(NumpyDataset(data.y), 8, shuffle=True)
        batches = iter(loader)
        loader.set_epoch(3)
        next(batches)
        assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (3, 8)

    @pytest.mark.parametrize("threads", THREADS)
    def test_a_look_at_a_batch_in_the_middle_of_a_loop_leaves_its_state_alone(
        self, data: Data, threads: int
    ) -> None:
        loader = Loader(NumpyDataset(data.y), 8, num_threads=threads, shuffle=True)
        for step, _ in enumerate(loader, 1):
            if step == 2:
                next(iter(loader))
            if step == 4:
                state = loader.state_dict()
                break
        assert (state["epoch"], state["position"]) == (0, 4 * 8)
        assert loader.state_dict() == state

    @pytest.mark.parametrize("threads", THREADS)
    def test_an_iterator_that_never_begins_leaves_the_state_of_a_loop_alone(
        self, data: Data, threads: int
    ) -> None:
        loader = Loader(NumpyDataset(data.y), 8, num_threads=threads, shuffle=True)
        for step, _ in enumerate(loader, 1):
            if step == 2:
                waiting = iter(loader)  # noqa: F841
                with pytest.warns(StateWarning, match="another is .* after 2"):
                    assert loader.state_dict()["epoch"] == 1
            if step == 4:
                break
        state = loader.state_dict()
        assert (state["epoch"], state["position"]) == (0, 4 * 8)

    def test_an_epoch_is_chosen_by_a_call_and_not_by_an_attribute(self, data: Data) -> None:
        with pytest.raises(AttributeError, match=r"epoch=3 chooses no epoch: set_epoch\(3\)"):
            Loader(NumpyDataset(data.y), 8).epoch = 3

    def test_in_nested_loops_over_one_loader_is_warned_of(self, data: Data) -> None:
        loader = Loader(NumpyDataset(data.y), 8)
        outer = iter(loader)
        next(outer)
        list(loader)
        with pytest.warns(StateWarning, match="another is .* after 1: .*a Loader of its own"):
            assert loader.state_dict()["epoch"] == 2
        list(outer)
        assert loader.state_dict()["epoch"] == 2

    def test_and_the_length_and_the_figures_are_of_the_same_iteration(self, data: Data) -> None:
        loader = Loader(NumpyDataset(data.y), 8)
        whole = len(loader)
        next(iter(loader))
        loader.load_state_dict(loader.state_dict())
        rest = iter(loader)
        next(rest)
        another = iter(loader)
        next(another)
        assert (len(loader), loader.stats().batches) == (whole, 1)
        next(rest)
        next(rest)
        assert (len(loader), loader.stats().batches) == (whole - 1, 3)
        list(rest)
        assert loader.stats().batches == whole - 1

    def test_a_state_of_another_order_is_refused(self, data: Data) -> None:
        loader = Loader(NumpyDataset(data.y), 8, shuffle="block")
        with pytest.raises(StateError, match="seed=1"):
            Loader(NumpyDataset(data.y), 8, seed=1, shuffle="block").load_state_dict(
                loader.state_dict()
            )

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
    @pytest.mark.parametrize("threads", [0, 2])
    def test_a_copy_begins_with_the_epoch_that_comes(
        self, data: Data, threads: int, copied: Callable[[Loader], Loader]
    ) -> None:
        loader, other = (Loader(NumpyDataset(data.y), 8, shuffle=True) for _ in range(2))
        first, second = (torch.cat(list(other)).tolist() for _ in range(2))
        assert torch.cat(list(copied(copied(loader)))).tolist() == first
        loader.set_epoch(0)
        iterator = iter(loader)
        begun = next(iterator)
        loader.of_the_user = 3
        copy_of_it = copied(loader)
        assert copy_of_it.of_the_user == 3
        assert (copy_of_it.state_dict()["epoch"], copy_of_it.state_dict()["position"]) == (1, 0)
        assert torch.cat(list(copy_of_it)).tolist() == second
        assert torch.cat([begun, *iterator]).tolist() == first

    def test_a_sampler_whose_state_cannot_count_what_was_received_says_so(self, data: Data) -> None:
        class Stateful(BatchSampler):
            def state_dict(self) -> dict[str, int]:
                return {"given": 3}

        loader = Loader(NumpyDataset(data.y), sampler=Stateful(range(9), 3, False))
        with pytest.raises(LoaderError, match=r"Stateful has no state_dict\(consumed\)"):
            loader.state_dict()

    def test_a_sampler_without_state_says_so(self, data: Data) -> None:
        with pytest.raises(LoaderError, match="list has no state_dict"):
            Loader(NumpyDataset(data.y), sampler=[[0]]).state_dict()


class TooMany(BlockBatchSampler):
    """Numbers more rows than the `ROWS` that a `Loader` takes it to number."""

    rows = ROWS


class TestErrors:
    @pytest.mark.parametrize("threads", THREADS)
    def test_one_in_a_batch_names_the_batch_and_its_rows(
        self, data: Data, threads: "int | str"
    ) -> None:
        batches = [[0, 1], [2, ROWS], [3]]
        iterator = iter(Loader(NumpyDataset(data.x), sampler=batches, num_threads=threads))
        next(iterator)
        with pytest.raises(IndexError, match="row 97 at position 1") as caught:
            next(iterator)
        assert caught.value.__notes__ == ["in batch 1 of this iteration, rows [2, 97]"]
        assert list(iterator) == []

    @pytest.mark.parametrize("threads", [0, 2])
    def test_one_in_a_transform(self, data: Data, threads) -> None:
        def transform(sample: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError("in the transform")

        ds = NumpyDataset(data.x, transform=transform)
        with pytest.raises(ZeroDivisionError) as caught:
            next(iter(Loader(ds, 20, shuffle=False, num_threads=threads)))
        given = (
            "transform= was called with one sample, a tensor of shape (3, 5) and torch.float32: "
            "row 0 of the dataset"
        )
        where = "in batch 0 of this iteration, rows [0, 1, 2, 3, 4, 5, 6, 7, ...] (20 of them)"
        assert caught.value.__notes__ == [given, where]

    @pytest.mark.parametrize("threads", [0, 2])
    def test_one_row_in_place_of_a_batch(self, data: Data, threads) -> None:
        rows = range(len(data.y))
        with pytest.raises(LoaderError, match=r"gave 0 where a batch .* wrap it: BatchSampler"):
            list(Loader(NumpyDataset(data.y), sampler=rows, num_threads=threads))
        with pytest.raises(LoaderError, match=r"gave 'ab' where a batch .* wrap it: BatchSampler"):
            list(Loader(NumpyDataset(data.y), sampler=["ab"], num_threads=threads))
        with pytest.raises(TypeError, match=r"\['ab'\] \(list\) selects no rows"):
            list(Loader(NumpyDataset(data.y), 2, sampler=["ab"], num_threads=threads))

    @pytest.mark.parametrize("threads", [0, 2])
    def test_rows_that_are_not_in_the_file_that_is_read_ahead(
        self, data: Data, threads: int
    ) -> None:
        ds = NumpyDataset(data.folder / "x.npy")
        batches = TooMany(ROWS + 1, 8, shuffle=False)
        loader = Loader(ds, sampler=batches, num_threads=threads, memory_budget=1 << 20)
        with pytest.raises(IndexError, match=f"row {ROWS} at position 1") as caught:
            list(loader)
        assert "in batch 12" in caught.value.__notes__[0]
        outside = Loader(Subset(ds, [0, ROWS]), 2, memory_budget=1 << 20, num_threads=threads)
        with pytest.raises(IndexError, match=f"row {ROWS} at position"):
            list(outside)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_one_that_was_caught_keeps_nothing_alive(
        self, data: Data, threads: "int | str"
    ) -> None:
        def transform(sample: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError

        ds = NumpyDataset(data.x, transform=transform)
        alive = weakref.ref(ds)
        loader = Loader(ds, 20, num_threads=threads)
        gc.disable()
        try:
            with contextlib.suppress(ZeroDivisionError):
                list(loader)
            del ds, loader
            assert alive() is None
        finally:
            gc.enable()

    def test_a_file_that_changed(self, data: Data, tmp_path: Path) -> None:
        path = tmp_path / "x.npy"
        np.save(path, data.x)
        ds = NumpyDataset(path)
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(npdata.errors.ChangedFileError, match="changed since"):
            list(Loader(ds, 8, num_threads=2))

    @pytest.mark.parametrize(
        "options, message",
        [
            ({}, "needs a batch_size"),
            ({"batch_size": 4, "num_threads": -1}, "num_threads=-1"),
            ({"batch_size": 4, "num_threads": 10**6}, "num_threads=1000000: .* from 0 to 1024"),
            ({"batch_size": 4, "num_threads": True}, "num_threads=True"),
            ({"batch_size": 4, "prefetch": 0}, "prefetch=0"),
            ({"batch_size": 4, "memory_budget": 100}, "memory_budget=100 holds fewer than 4"),
            ({"batch_size": 4, "sampler": [[0]]}, "batch_size=4, but sampler= decides"),
            ({"seed": 4, "sampler": [[0]]}, "sampler= decides seed; give"),
            ({"sampler": SequentialSampler([0])}, "gives single rows: give batch_size= as well"),
            ({"batch_size": 0}, "batch_size=0"),
            ({"batch_size": 4, "dtype": "float3"}, "dtype='float3': expected a torch.dtype"),
            ({"batch_size": 4, "dtype": {0: str}}, "expected a torch.dtype"),
            ({"batch_size": 4, "dtype": torch.qint8}, "one that numbers are cast to"),
            ({"batch_size": 4, "dtype": [torch.float16]}, "expected a torch.dtype, or a mapping"),
        ],
    )
    def test_options_that_cannot_be(self, data: Data, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Loader(NumpyDataset(data.x), **options)

    def test_a_dataset_that_reads_no_batches(self, data: Data) -> None:
        with pytest.raises(NotBatchedError, match="TensorDataset has no __getitems__"):
            Loader(TensorDataset(torch.zeros(3)), 2)
        one_by_one = type("OneByOne", (NumpyDataset,), {"__getitem__": lambda self, k: k})
        with pytest.raises(NotBatchedError, match="OneByOne changes __getitem__ alone"):
            Loader(one_by_one(data.x), 2)
        with pytest.raises(NotBatchedError, match=r"ConcatDataset .* write first \+ second"):
            Loader(ConcatDataset([NumpyDataset(data.x)] * 2), 2)
        narrow = NumpyDataset(data.x[:, :1])
        with pytest.raises(NotBatchedError, match=r"shapes, .*\(here are .* and .*\(97, 1, 5\)"):
            Loader(sum([NumpyDataset(data.x), NumpyDataset(data.x), narrow]), 2)

    @pytest.mark.parametrize("inside", ["one dataset", "two datasets"])
    def test_added_subsets_are_the_rows_that_the_error_says(self, data: Data, inside: str) -> None:
        dataset, a = NumpyDataset(data.x), NumpyDataset(data.x)
        b = a if inside == "one dataset" else NumpyDataset(data.x + 1)
        first, second = Subset(a, [3, 1]), Subset(b, [2])
        with pytest.raises(NotBatchedError) as caught:
            Loader(first + second, 64)
        cure = re.search(r"write (.*\])\)", str(caught.value))
        assert cure is not None
        names = {"Loader": Loader, "dataset": dataset, "first": first, "second": second}
        (batch,) = eval(cure[1] + ")", names | {"a": a, "b": b})
        assert torch.equal(batch, torch.stack(list(first + second)))

    def test_a_subset_added_to_a_whole_dataset_says_which_rows_these_are(self, data: Data) -> None:
        whole = NumpyDataset(data.x)
        for added in (whole + Subset(whole, [2]), Subset(whole, [2]) + Subset(whole, [1]) + whole):
            with pytest.raises(NotBatchedError, match=r"all rows of one are range\(len\(a\)\)"):
                Loader(added, 64)

    @pytest.mark.parametrize(
        "batch",
        [torch.zeros(2, 1), torch.zeros(2, 1 << 18), {"x": torch.zeros(2)}, iter([1, 2])],
        ids=["tensor", "large tensor", "dict", "iterator"],
    )
    def test_a_dataset_whose_batches_are_no_lists_of_samples(self, batch: object) -> None:
        whole = {"__getitems__": lambda self, rows: batch, "__len__": lambda self: 2}
        dataset = type("Whole", (Dataset,), whole)()
        for loader in (Loader(dataset, 2), DataLoader(dataset, 2, collate_fn=npdata.collate)):
            with pytest.raises(NotBatchedError, match=r"returns \[self\[i\] for i in indices\]"):
                next(iter(loader))

    @pytest.mark.skipif(CUDA, reason="an accelerator is there")
    def test_a_device_that_is_not_there(self, data: Data) -> None:
        with pytest.raises(DeviceError, match="device='cuda' is not on this machine"):
            Loader(NumpyDataset(data.x), 2, device="cuda")
        with pytest.raises(RuntimeError, match="no device of torch"):
            Loader(NumpyDataset(data.x), 2, device="cdua")
        with pytest.raises(LoaderError, match="pin_memory=True, but there is no accelerator"):
            Loader(NumpyDataset(data.x), 2, pin_memory=True)


class TestAuto:
    def test_small_batches_are_made_in_the_caller(self, data: Data) -> None:
        schedule = Loader(NumpyDataset(data.x), 8).describe()
        assert schedule.threads == 0
        assert "480 bytes is read faster" in schedule.reason

    def test_large_batches_are_made_on_threads(self) -> None:
        ds = NumpyDataset(np.zeros((4, 1 << 20)))
        assert Loader(ds, 2).describe().threads >= 1

    @pytest.mark.parametrize("nbytes", [1, 1 << 18])
    def test_small_files_are_read_by_one_thread_alone(self, tmp_path: Path, nbytes: int) -> None:
        for k in range(4):
            np.save(tmp_path / f"{k}.npy", np.zeros(nbytes, np.uint8))
        files = stack(tmp_path)
        for each in (files, Subset(files, [1, 2]), StackDataset(files, files)):
            schedule = Loader(each, 3, shuffle=True).describe()
            assert (schedule.threads, schedule.helps) == (1, False)
        schedule = Loader(stack(tmp_path, transform=torch.sin), 4).describe()
        assert "small files" not in schedule.reason

    def test_large_files_are_read_by_many_threads(self, tmp_path: Path) -> None:
        np.save(tmp_path / "0.npy", np.zeros(1 << 19, np.uint8))
        assert Loader(stack(tmp_path), 4).describe().helps

    def test_h5py_is_kept_in_the_caller(self, data: Data, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file.create_dataset("x", data=data.x, scaleoffset=3)
        ds = NumpyDataset(np.zeros((ROWS, 1 << 16)), f"{tmp_path}/d.h5::x")
        assert ds.describe().fields[1].access == "library"
        for each in (ds, Subset(ds, [1, 2]), StackDataset(ds, ds)):
            schedule = Loader(each, 8).describe()
            assert schedule.threads == 0
            assert "h5py" in str(schedule)


class TestDevice:
    def test_the_cpu_is_the_same_as_none(self, data: Data) -> None:
        ds = NumpyDataset(data.x, data.y)
        for mine, other in zip(Loader(ds, 8, device="cpu"), Loader(ds, 8), strict=True):
            same(mine, other)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_dtype_casts_all_or_some_fields(self, data: Data, threads) -> None:
        ds = NumpyDataset(image=data.x, label=data.y)
        options = {"shuffle": False, "num_threads": threads}
        for batch in Loader(ds, 8, dtype=torch.float64, **options):
            assert [part.dtype for part in batch.values()] == [torch.float64] * 2
        batch = next(iter(Loader(ds, 8, dtype={"image": torch.float16}, **options)))
        assert [part.dtype for part in batch.values()] == [torch.float16, torch.int64]
        assert (batch["image"].numpy() == data.x[:8].astype(np.float16)).all()
        with pytest.raises(LoaderError, match="'picture', which is no field; fields are"):
            next(iter(Loader(ds, 8, dtype={"picture": torch.float16})))

    def test_dtype_leaves_the_mask_alone(self, data: Data) -> None:
        ds = NumpyDataset(data.x)
        batches = sampler(ds, uneven="mask")
        for fields, mask in Loader(ds, sampler=batches, dtype=torch.float64):
            assert (fields.dtype, mask.dtype) == (torch.float64, torch.bool)


class TestLettingGo:
    @pytest.mark.slow
    @pytest.mark.parametrize("threads", THREADS)
    def test_early_breaks_leave_nothing(self, data: Data, threads) -> None:
        ds = NumpyDataset(data.folder / "x.npy", data.folder / "y.npy")
        loader = Loader(ds, 8, num_threads=threads)
        list(loader)
        handles = descriptors_of(data.folder / "x.npy")
        for _ in range(200):
            for _batch in loader:
                break
        assert ours() == []
        assert descriptors_of(data.folder / "x.npy") == handles

    @pytest.mark.slow
    def test_a_thousand_early_breaks_leave_no_memory(self, data: Data) -> None:
        code = """
import sys, threading, os, resource
import numpy as np, npdata
def resident():  # getrusage begins with the peak of the parent
    if not os.path.exists("/proc/self/status"):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
ds = npdata.NumpyDataset(sys.argv[1], np.zeros((97, 1000)))
loader = npdata.Loader(ds, 32, num_threads=1)
def breaks(count):
    for _ in range(count):
        for _ in loader:
            break
breaks(500)
handles = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
before = resident()
breaks(int(sys.argv[2]))
assert threading.active_count() == 1
assert handles == (len(os.listdir("/proc/self/fd")) if handles else 0)
print(resident() - before)
"""
        done = run(code, str(data.folder / "x.npy"), "1000")
        assert done.returncode == 0, done.stderr
        # 24 KiB of a batch, or 8 MiB of a thread's stack, kept each time would show here.
        assert int(done.stdout) < 8 * 1024

    def test_closing_ends_every_iteration(self, data: Data) -> None:
        with Loader(NumpyDataset(data.x), 8, num_threads=2) as loader:
            first, second = iter(loader), iter(loader)
            next(first)
            next(second)
            assert len(ours()) == 4
        assert ours() == []
        with pytest.raises(ClosedError):
            iter(loader)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_an_iteration_that_was_closed_does_not_look_like_a_whole_one(
        self, data: Data, threads: int
    ) -> None:
        loader = Loader(NumpyDataset(data.x), 8, num_threads=threads)
        begun, waiting, ended = iter(loader), iter(loader), iter(loader)
        next(begun)
        list(ended)
        loader.close()
        for iterator, received in ((begun, 1), (waiting, 0), (begun, 1)):
            with pytest.raises(ClosedError, match=f"closed in this iteration, after {received} "):
                next(iterator)
        assert list(ended) == []

    def test_the_loader_may_go_before_its_iterator(self, data: Data) -> None:
        iterator = iter(Loader(NumpyDataset(data.y), 8, num_threads=2, shuffle=False))
        gc.collect()
        assert torch.cat(list(iterator)).tolist() == data.y.tolist()

    def test_control_c_in_the_loop(self, data: Data) -> None:
        code = """
import sys, threading
import npdata
loader = npdata.Loader(npdata.NumpyDataset(sys.argv[1]), 8, num_threads=3)
try:
    print("begun", flush=True)
    while True:
        for batch in loader:
            batch.sum()
except KeyboardInterrupt:
    raise SystemExit(5)
"""
        assert interrupted(code, str(data.folder / "x.npy"), after="begun\n") == (5, "")

    @pytest.mark.slow
    def test_the_end_of_the_process_while_threads_read_a_map(self, data: Data) -> None:
        code = """
import sys, npdata
ds = npdata.NumpyDataset(sys.argv[1])
iterators = [iter(npdata.Loader(ds, 32, num_threads=4, prefetch=50)) for _ in range(5)]
next(iterators[0])
"""
        for _ in range(3):
            done = run(code, str(data.folder / "x.npy"))
            assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_an_iterator_lives(data: Data) -> None:
    code = """
import os, sys
import npdata
from npdata.errors import ForkError
from torch.utils.data import DataLoader
ds = npdata.NumpyDataset(sys.argv[1])
loader = npdata.Loader(ds, 8, num_threads=2)
iterator = iter(loader)
next(iterator)
# A DataLoader with workers, which fork, over the same dataset, meanwhile.
assert len(list(DataLoader(ds, 8, num_workers=2, collate_fn=npdata.collate))) == 13
child = os.fork()
if child == 0:
    try:
        next(iterator)
    except ForkError:
        sys.exit(7 if len(list(loader)) == 13 else 1)
    sys.exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert len(list(iterator)) == 12
"""
    done = run(code, str(data.folder / "x.npy"))
    assert done.returncode == 0, done.stderr
    assert issubclass(ForkError, RuntimeError)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forks_while_threads_take_memory_for_batches() -> None:
    code = """
import os, signal
import numpy as np, npdata
ds = npdata.NumpyDataset(np.zeros((160, 1 << 16), np.uint8))
loader = npdata.Loader(ds, 8, num_threads=3)
for _ in range(30):
    iterator = iter(loader)
    next(iterator)
    child = os.fork()
    if child == 0:
        signal.alarm(200)
        os._exit(0 if len(list(loader)) == 20 else 1)
    list(iterator)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


class TestStats:
    @pytest.mark.parametrize("threads", [0, 2])
    def test_count_what_was_received(self, data: Data, threads) -> None:
        loader = Loader(NumpyDataset(data.x, data.y), 16, num_threads=threads)
        assert loader.stats().batches == 0
        for count, _ in enumerate(loader, 1):
            assert loader.stats().batches == count
        stats = loader.stats()
        assert (stats.samples, stats.nbytes) == (ROWS, data.x.nbytes + data.y.nbytes)
        assert stats.seconds_waited > 0
        assert stats.seconds_used > 0
        assert stats.bound in str(stats)

    def test_count_the_bytes_of_sparse_batches(self) -> None:
        """Each number has two int64 beside it, its row and its column."""
        data = NumpyDataset(np.eye(3, dtype=np.float32), batch_transform=torch.Tensor.to_sparse)
        loader = Loader(data, 3)
        (batch,) = loader
        assert batch.to_dense().tolist() == np.eye(3).tolist()
        assert loader.stats().nbytes == 3 * (4 + 2 * 8)

    @pytest.mark.parametrize("threads", [0, 2, "auto"])
    def test_time_ends_when_a_loop_is_left(self, data: Data, threads) -> None:
        loader = Loader(NumpyDataset(data.x), 8, num_threads=threads)
        for count, _ in enumerate(loader, 1):
            if count == 5:
                break
        stats = loader.stats()
        assert (stats.batches, stats.samples) == (5, 40)
        assert loader.stats() == stats
        iterator = iter(loader)
        next(iterator)
        assert loader.stats().seconds < loader.stats().seconds
        iterator.close()
        assert loader.stats() == loader.stats()

    @pytest.mark.parametrize("threads", [0, 2])
    def test_count_decoded_and_reused_chunks(self, tmp_path: Path, threads) -> None:
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file.create_dataset("x", data=np.arange(960), chunks=(120,), compression="gzip")
        loader = Loader(NumpyDataset(f"{tmp_path}/d.h5::x"), 60, shuffle=False, num_threads=threads)
        for _ in loader:
            pass
        stats = loader.stats()
        # 16 batches need one chunk each, read in runs of 1, 2, 4, 8 and 1 of them on threads; one
        # that was decoded ahead counts as found.
        runs = 12 if threads else 16
        assert stats.decoded_chunks == 8
        assert runs - 8 <= stats.reused_chunks <= runs
        assert f"8 chunks decoded, {stats.reused_chunks} reused" in str(stats)
        for _ in loader:
            pass
        again = loader.stats()
        assert (again.decoded_chunks, again.reused_chunks) == (0, runs)

    def test_chunks_of_several_fields_are_decoded_once(self, tmp_path: Path) -> None:
        records = np.zeros(960, [("a", "i4"), ("b", "f4")])
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file.create_dataset("x", data=np.arange(960), chunks=(120,), compression="gzip")
            file.create_dataset("t", data=records, chunks=(120,), compression="gzip")
        x, t = f"{tmp_path}/d.h5::x", f"{tmp_path}/d.h5::t"
        both = NumpyDataset({"u": x, "v": x})
        for ds in (
            both,
            pickle.loads(pickle.dumps(both)),
            NumpyDataset({"u": x, "v": x}).windows({"v": (0, 1)}),
            NumpyDataset.from_hdf5([tmp_path / "d.h5"], "x", "x"),
            NumpyDataset({"a": t, "b": t}, columns={"a": "a", "b": "b"}),
            NumpyDataset(x, x, cache="ram"),
        ):
            loader = Loader(ds, 60, num_threads=0)
            for _ in loader:
                pass
            assert loader.stats().decoded_chunks == 8

    def test_without_chunks_say_nothing_of_them(self, data: Data) -> None:
        loader = Loader(NumpyDataset(data.x), 16)
        list(loader)
        assert loader.stats().decoded_chunks == 0
        assert "chunks" not in str(loader.stats())

    def test_a_bar_is_drawn_and_closed(self, data: Data, capsys) -> None:
        before = set(threading.enumerate())
        loader = Loader(NumpyDataset(data.x), 16, progress=True)
        assert sum(1 for _ in zip(loader, loader, strict=True)) == 7
        for _ in loader:
            break
        shown = capsys.readouterr().err
        names = ("epoch 0", "epoch 1", "epoch 2", "7/7", "1/7", "-bound")
        assert all(text in shown for text in names)
        assert set(threading.enumerate()) <= before

    def test_a_bar_without_tqdm_names_the_extra(self, data: Data, tmp_path: Path) -> None:
        code = f"""
import sys
class NoTqdm:
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "tqdm":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTqdm())
for name in [name for name in sys.modules if name.split(".")[0] == "tqdm"]:
    del sys.modules[name]
import npdata
try:
    iter(npdata.Loader(npdata.NumpyDataset({str(data.folder / "x.npy")!r}), 8, progress=True))
except ImportError as error:
    assert "npdata[cli]" in str(error)
else:
    sys.exit(1)
"""
        done = run(code)
        assert done.returncode == 0, done.stderr


def test_a_second_thread_may_not_ask_while_one_waits_for_its_batch() -> None:
    asked, go_on, found = threading.Event(), threading.Event(), []

    def slowly(row: torch.Tensor) -> torch.Tensor:
        asked.set()
        assert go_on.wait(HANG)
        return row

    batches = iter(Loader(NumpyDataset(np.arange(6), transform=slowly), 2, num_threads=0))
    thread = threading.Thread(target=lambda: found.append(next(batches)))
    thread.start()
    assert asked.wait(HANG)
    with pytest.raises(LoaderError, match=r"two threads ask one iterator .* queue.Queue"):
        next(batches)
    go_on.set()
    thread.join()
    assert [batch.tolist() for batch in (*found, *batches)] == [[0, 1], [2, 3], [4, 5]]
