"""Random transforms draw the same numbers on any number of threads, workers and ranks."""

import pickle
import re
import traceback

import numpy as np
import pytest
import torch
from kinds import ROWS, Data
from torch.utils._pytree import tree_leaves
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset, SeededRows
from npdata.errors import FieldError, RandomnessWarning
from npdata.sampling.row_numbers import SeededRow


def draw(sample, rng: np.random.Generator):
    return sample, rng.random()


def draw_batch(batch, *, rng: np.random.Generator):
    return batch, rng.random()


class Pairs(Dataset):
    """What a user writes around a dataset, which asks for one row after the other."""

    def __init__(self, datasets) -> None:
        (self.base,) = datasets

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int):
        return self.base[index]


class PairsInBatches(Pairs):
    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Stream(IterableDataset):
    def __init__(self, datasets) -> None:
        (self.base,) = datasets

    def __iter__(self):
        return iter(self.base)


def samples_of(batches) -> dict[int, float]:
    """What each row drew, from batches of (rows, draws)."""
    return {
        int(row): float(drawn)
        for rows, draws in batches
        for row, drawn in zip(rows, draws, strict=True)
    }


@pytest.fixture
def rows() -> NumpyDataset:
    return NumpyDataset(np.arange(ROWS), transform=draw)


@pytest.fixture
def expected(rows: NumpyDataset) -> dict[int, float]:
    """What each row draws in epoch 0."""
    drawn = samples_of(Loader(rows, 8, seed=3, num_threads=0, shuffle="block"))
    assert sorted(drawn) == list(range(ROWS))
    assert len(set(drawn.values())) == ROWS
    return drawn


class TestErrors:
    @pytest.mark.parametrize(
        "fields, what",
        [
            ({0: np.zeros(4), 1: np.zeros(4)}, "a dict of its fields 0, 1"),
            ((np.zeros(4), np.zeros(4)), "a (tuple|list) of length 2"),
            ((np.zeros((4, 3)),), r"a tensor of shape \((4, )?3,?\) and torch.float64"),
        ],
    )
    @pytest.mark.parametrize("option", ["transform", "batch_transform"])
    def test_say_what_the_function_was_called_with(self, option, fields, what) -> None:
        def image(value):
            raise TypeError("this takes an image")

        def noted(error: pytest.ExceptionInfo[TypeError]) -> bool:
            called = (
                f"{option}= was called with one (sample|batch), {what}(: row 0 of the dataset)?$"
            )
            return any(re.match(called, note) for note in error.value.__notes__)

        given = (fields,) if isinstance(fields, dict) else fields
        ds = NumpyDataset(*given, **{option: image})
        for read in (lambda: ds[:], lambda: list(Loader(ds, 4)), lambda: list(DataLoader(ds, 4))):
            with pytest.raises(TypeError, match="takes an image") as error:
                read()
            assert noted(error)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_name_the_row(self, workers: int) -> None:
        ds = NumpyDataset(np.arange(40), transform=fails_at_27)
        orders = BlockBatchSampler(ds, 8, shuffle=True)
        stock = DataLoader(ds, batch_sampler=orders, collate_fn=npdata.collate, num_workers=workers)
        for read in (lambda: ds[27], lambda: ds[[3, 27]], lambda: list(stock)):
            with pytest.raises(ZeroDivisionError) as error:
                read()
            text = "".join(traceback.format_exception(error.value))
            assert "torch.int64: row 27 of the dataset" in text

    @pytest.mark.parametrize("option", ["transform", "batch_transform"])
    @pytest.mark.parametrize("workers", [0, 1])
    def test_end_no_loop_in_silence(self, option: str, workers: int) -> None:
        ds = NumpyDataset(np.arange(40), **{option: finds_nothing_from_27_on})
        loops = [
            ds,
            Subset(ds, range(40)),
            DataLoader(ds, 4, collate_fn=npdata.collate, num_workers=workers),
            DataLoader(ds, 4, num_workers=workers),
            DataLoader(ds, batch_size=None, num_workers=workers),
            Loader(ds, 4, num_threads=workers),
        ]
        for loop in loops:
            with pytest.raises(RuntimeError, match=f"{option}= raised StopIteration, by which"):
                list(loop)

    @pytest.mark.parametrize("option", ["transform", "batch_transform"])
    def test_in_an_index_are_not_the_end_of_the_dataset(self, option: str) -> None:
        prices = torch.zeros(40)

        def priced(value):
            return value + prices[value]

        assert len(list(NumpyDataset(np.arange(40), transform=priced))) == 40
        with pytest.raises(IndexError, match="out of bounds"):
            list(NumpyDataset(np.arange(41), **{option: priced}))


def fails_at_27(sample: torch.Tensor) -> torch.Tensor:
    1 // (int(sample) - 27)
    return sample


def finds_nothing_from_27_on(value: torch.Tensor) -> torch.Tensor:
    next(number for number in range(27) if number >= value.max())
    return value


class TestSamples:
    @pytest.mark.parametrize("threads", [1, 2, 8])
    @pytest.mark.parametrize("batch_size", [1, 8, 30])
    def test_on_any_threads_and_batch_sizes(
        self, rows: NumpyDataset, expected: dict[int, float], threads: int, batch_size: int
    ) -> None:
        loader = Loader(rows, batch_size, seed=3, num_threads=threads, shuffle="block")
        assert samples_of(loader) == expected

    @pytest.mark.parametrize("workers", [0, 2])
    def test_in_the_workers_of_a_data_loader(
        self, rows: NumpyDataset, expected: dict[int, float], workers: int
    ) -> None:
        batches = BlockBatchSampler(rows, 8, seed=3)
        loader = DataLoader(
            rows, batch_sampler=batches, collate_fn=npdata.collate, num_workers=workers
        )
        assert samples_of(loader) == expected
        assert samples_of(loader) != expected, "the next epoch"

    @pytest.mark.parametrize("uneven", ["pad", "mask", "ragged"])
    @pytest.mark.parametrize("world_size", [2, 3])
    def test_on_any_ranks(
        self, rows: NumpyDataset, expected: dict[int, float], world_size: int, uneven: str
    ) -> None:
        drawn = {}
        for rank in range(world_size):
            ranks = {"rank": rank, "world_size": world_size, "uneven": uneven}
            batches = Loader(rows, sampler=BlockBatchSampler(rows, 8, seed=3, **ranks))
            drawn |= samples_of(b[0] if uneven == "mask" else b for b in batches)
        assert drawn == expected

    def test_after_a_resume(self, rows: NumpyDataset, expected: dict[int, float]) -> None:
        loader = Loader(rows, 8, seed=3, num_threads=2, shuffle="block")
        drawn = samples_of(batch for _, batch in zip(range(4), loader, strict=False))
        state = loader.state_dict()
        resumed = Loader(rows, 5, seed=3, shuffle="block")
        resumed.load_state_dict(state)
        assert drawn | samples_of(resumed) == expected

    def test_of_another_seed_or_epoch_are_others(
        self, rows: NumpyDataset, expected: dict[int, float]
    ) -> None:
        loader = Loader(rows, 8, seed=3, shuffle="block")
        loader.set_epoch(1)
        second, other = samples_of(loader), samples_of(Loader(rows, 8, seed=4, shuffle="block"))
        assert not set(expected.values()) & set(second.values())
        assert not set(expected.values()) & set(other.values())

    def test_in_a_slice_of_a_batch(self, rows: NumpyDataset, expected: dict[int, float]) -> None:
        batches = list(BlockBatchSampler(rows, 8, seed=3))
        parts = [batch[half] for batch in batches for half in (slice(4), slice(4, None))]
        gathered = [npdata.collate(rows.__getitems__(part)) for part in parts if len(part)]
        assert samples_of(gathered) == expected

    def test_a_row_drawn_twice_in_an_epoch_draws_two_numbers(self) -> None:
        ds = NumpyDataset(np.arange(2), transform=draw)
        batches = BlockBatchSampler(ds, 50, weights=np.array([1.0, 0.0]), indices=None)
        (drawn_rows, draws), *_ = Loader(ds, sampler=batches)
        assert drawn_rows.tolist() == [0, 0]
        assert len(set(draws.tolist())) == 2


class TestBatches:
    @pytest.mark.parametrize("threads", [0, 2])
    @pytest.mark.parametrize("world_size", [1, 2])
    def test_are_known_by_their_place_in_the_epoch(self, threads: int, world_size: int) -> None:
        ds = NumpyDataset(np.arange(96), batch_transform=draw_batch)
        expected = {tuple(rows.tolist()): drawn for rows, drawn in Loader(ds, 8, shuffle="block")}
        assert len(set(expected.values())) == 12
        drawn = {}
        for rank in range(world_size):
            batches = BlockBatchSampler(ds, 8, rank=rank, world_size=world_size)
            loader = Loader(ds, sampler=batches, num_threads=threads)
            drawn |= {tuple(rows.tolist()): number for rows, number in loader}
        assert drawn == expected

    def test_both_transforms_draw_independently(self) -> None:
        ds = NumpyDataset(np.arange(4), transform=draw, batch_transform=draw_batch)
        (_, samples), number = next(iter(Loader(ds, 4, shuffle="block")))
        assert number not in samples.tolist()

    @pytest.mark.parametrize("threads", [0, 2])
    @pytest.mark.parametrize("shuffle", ["block", "full", False])
    def test_in_a_subset_they_draw_as_with_indices(
        self, rows: NumpyDataset, threads: int, shuffle: object
    ) -> None:
        chosen = np.random.default_rng(0).permutation(ROWS)[: ROWS - 3]
        subset = Subset(Subset(rows, chosen[::-1].copy()), range(-1, -len(chosen) - 1, -1))
        for uneven in ("mask", "ragged"):
            options = {"shuffle": shuffle, "seed": 5, "num_threads": threads, "uneven": uneven}
            options |= {"rank": 1, "world_size": 2}
            expected = Loader(rows, 4, indices=chosen, **options)
            given = Loader(subset, 4, **options)
            for _ in range(2):
                for ours, theirs in zip(given, expected, strict=True):
                    leaves = zip(tree_leaves(ours), tree_leaves(theirs), strict=True)
                    assert all(torch.equal(*pair) for pair in leaves)


class TestWithoutASeed:
    def test_rows_draw_by_their_number_whoever_asks(self, rows: NumpyDataset) -> None:
        drawn = [float(rows[5][1]), float(rows[5 - ROWS][1])]
        drawn += [float(rows[5:6][1][0]), float(rows[[5]][1][0])]
        assert len(set(drawn)) == 1
        assert drawn[0] != rows[4][1]

    def test_a_loader_that_would_draw_the_same_in_every_epoch_is_warned_of(
        self, rows: NumpyDataset
    ) -> None:
        class Own(Subset):
            pass

        orders = BlockBatchSampler(Subset(rows, [3, 4]), 2, shuffle="block")
        for read in (
            lambda: rows.__getitems__([0]),
            lambda: next(iter(DataLoader(rows, 4, collate_fn=npdata.collate))),
            lambda: next(iter(DataLoader(Subset(rows, [3, 4]), batch_sampler=orders))),
            lambda: next(iter(Loader(Own(rows, [3, 4]), 2, shuffle="block"))),
        ):
            with pytest.warns(RandomnessWarning, match=r"indices=subset\.indices"):
                read()

    @pytest.mark.parametrize("workers", [0, 1])
    def test_so_is_a_loader_whose_wrapper_asks_for_single_rows(
        self, rows: NumpyDataset, workers: int
    ) -> None:
        loaders = [
            DataLoader(wrapper([rows]), 8, num_workers=workers)
            for wrapper in (ConcatDataset, Pairs, Stream)
        ]
        for loader in (*loaders, Loader(PairsInBatches([rows]), 8, num_threads=workers)):
            with pytest.raises(RandomnessWarning, match="asks for single rows in a loader"):
                next(iter(loader))  # a warning is an error here, also in a worker

    def test_what_that_warning_says_to_write_draws_others(self, rows: NumpyDataset) -> None:
        joined = Loader(rows + rows, 2 * ROWS)
        assert not torch.equal(*(draws for _ in range(2) for _, draws in joined))
        drawing = NumpyDataset(np.arange(ROWS), transform=lambda row: (row, torch.rand(())))
        own = DataLoader(Pairs([drawing]), ROWS, num_workers=1, multiprocessing_context="fork")
        assert not torch.equal(*(draws for _ in range(2) for _, draws in own))

    def test_lists_of_seeded_rows_draw_as_seeded_rows(self, rows: NumpyDataset) -> None:
        whole = SeededRows(rows=np.array([5, 8]), seed=3, epoch=2, positions=np.array([0, 1]))
        one, two = (SeededRow(row, seed=3, epoch=2, position=k) for k, row in enumerate([5, 8]))
        listed = [two, pickle.loads(pickle.dumps(one))]
        forward, backward = (npdata.collate(rows.__getitems__(each)) for each in (whole, listed))
        assert forward[1].tolist() == backward[1].tolist()[::-1]
        assert forward[0].tolist() == backward[0].tolist()[::-1] == [5, 8]

    def test_seeded_rows_are_read(self, rows: NumpyDataset) -> None:
        seeded = SeededRows(rows=np.array([5]), seed=3, epoch=0, positions=np.array([0]))
        again = [rows.__getitems__(seeded)[0] for _ in range(2)]
        assert again[0] == again[1]
        assert again[0][0] == 5

    def test_a_subset_by_indices(self, rows: NumpyDataset) -> None:
        batches = BlockBatchSampler(rows, 4, indices=[3, 5, 8])
        assert sorted(samples_of(Loader(rows, sampler=batches))) == [3, 5, 8]

    def test_functions_without_rng_need_none(self, data: Data) -> None:
        for function in (torch.clone, lambda sample, other=1: sample, np.sin, str):
            assert not NumpyDataset(data.x, transform=function).takes_rng
        assert type(next(iter(BlockBatchSampler(NumpyDataset(data.x), 4)))) is np.ndarray


class TestAForgottenReturn:
    """A function that changes its sample in place, and returns nothing."""

    @pytest.mark.parametrize(
        "option, function",
        [
            ("transform", lambda sample: None),
            ("transform", lambda sample, rng: None),
            ("batch_transform", lambda batch: None),
            ("batch_transform", lambda batch, rng: None),
        ],
    )
    @pytest.mark.parametrize("num_threads", [0, 2])
    def test_is_named(self, option: str, function: object, num_threads: int) -> None:
        ds = NumpyDataset(np.arange(8.0), **{option: function})
        numbers = BlockBatchSampler(ds, 4)
        stock = DataLoader(ds, batch_sampler=numbers, collate_fn=npdata.collate)
        one = "sample" if option == "transform" else "batch"
        message = f"^{option}= returned None.*: end the function with return {one}"
        for read in (
            lambda: next(iter(Loader(ds, 4, num_threads=num_threads))),
            lambda: next(iter(stock)),
        ):
            with pytest.raises(FieldError, match=message):
                read()

    def test_of_one_row_names_it(self) -> None:
        ds = NumpyDataset(np.arange(8), transform=lambda n: None if n == 5 else n)
        with pytest.raises(FieldError, match=r"^transform= returned None for sample 1 \(row 5\)"):
            ds[[2, 5, 3]]

    def test_is_left_out_by_a_collate_fn_of_the_user(self) -> None:
        ds = NumpyDataset(np.arange(8.0), transform=lambda sample: sample if sample % 3 else None)
        kept = DataLoader(ds, 4, collate_fn=lambda samples: [x for x in samples if x is not None])
        assert [[float(x) for x in batch] for batch in kept] == [[1, 2], [4, 5, 7]]
        assert ds[3] is None
