"""The batch sampler: batches, epochs, subsets, weights, errors, and stock DataLoaders."""

import copy
import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
)

import npdata
from npdata.arrays.blocks import Blocks
from npdata.errors import NpdataError, SamplerError, StateError
from npdata.sampling.order.recipe import Recipe
from npdata.sampling.order.splits import split
from npdata.sampling.order.wrapped import chosen_rows
from npdata.sampling.row_numbers import MaskedRows
from npdata.sampling.sampler import BlockBatchSampler

SPLIT = npdata.NumpyDataset(np.arange(10)).split(0.8)


def rows_of(sampler):
    return [row for batch in sampler for row in batch]


class Rows(Dataset):
    """A dataset that gives what it was asked for."""

    def __init__(self, length, blocks=None):
        self.length = length
        if blocks is not None:
            self.blocks = blocks

    def __len__(self):
        return self.length

    def __getitems__(self, indices):
        rows = torch.from_numpy(np.asarray(indices))
        if isinstance(indices, MaskedRows):
            return rows, torch.from_numpy(indices.mask)
        return rows


def as_is(batch):
    return batch


class TestBatches:
    @pytest.mark.parametrize("shuffle", ["block", "full", False])
    @pytest.mark.parametrize("n, batch_size", [(0, 4), (1, 4), (12, 4), (13, 4), (100_003, 256)])
    def test_int64_arrays_of_every_row_once(self, shuffle, n, batch_size):
        sampler = BlockBatchSampler(n, batch_size, shuffle=shuffle, block_rows=7)
        batches = list(sampler)
        assert all(type(batch) is np.ndarray and batch.dtype == np.int64 for batch in batches)
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        assert len(batches) == len(sampler) == -(-n // batch_size)
        assert sorted(np.concatenate([*batches, []]).tolist()) == list(range(n))

    def test_a_batch_of_more_rows_than_are_numbered_at_a_time_is_one_batch(self):
        first, second = BlockBatchSampler(300_000, 200_000, shuffle=False)
        assert np.array_equal(np.concatenate([first, second]), np.arange(300_000))
        assert (len(first), len(second)) == (200_000, 100_000)

    @pytest.mark.parametrize("n", [0, 3, 12, 13])
    def test_drop_last(self, n):
        sampler = BlockBatchSampler(n, 4, drop_last=True)
        assert [len(batch) for batch in sampler] == [4] * (n // 4)
        assert len(sampler) == n // 4

    def test_it_is_a_batch_sampler(self):
        sampler = BlockBatchSampler(10, np.int64(4))
        assert isinstance(sampler, BatchSampler)
        assert (sampler.batch_size, sampler.drop_last, len(sampler.sampler)) == (4, False, 10)

    @pytest.mark.parametrize("uneven", ["pad", "mask", "ragged", "drop"])
    @pytest.mark.parametrize("rank", [0, 1])
    @pytest.mark.parametrize(
        "options",
        [
            {"batch_size": 2},
            {"batch_size": 2, "num_samples": 7},
            {"batch_size": 2, "steps_per_epoch": 2},
            {"max_rows": 9},
            {"max_rows": 10},  # 5 batches, of which rank 1 has one only by padding
        ],
        ids=str,
    )
    def test_the_length_of_its_rows_is_that_of_this_rank(self, uneven, rank, options):
        ds = npdata.NumpyDataset(npdata.ragged(np.arange(33), lengths=[1, 4, 4, 1, 5, 3, 2, 6, 7]))
        sampler = BlockBatchSampler(ds, **options, uneven=uneven, rank=rank, world_size=2)
        assert len(sampler.sampler) == len(list(sampler.sampler)) < 9
        sampler.load_state_dict(sampler.state_dict(consumed=1))
        assert len(sampler.sampler) == len(list(sampler.sampler))

    def test_the_blocks_are_those_of_the_dataset_unless_given(self):
        data = Rows(90, Blocks(rows=(40, 50), block_rows=(10, 25)))
        found = rows_of(BlockBatchSampler(data, 8, window_blocks=1))
        assert {frozenset(found[start : start + 25]) for start in range(0, 90, 5)} >= {
            frozenset(range(40, 65)),
            frozenset(range(65, 90)),
        }
        own = rows_of(BlockBatchSampler(data, 8, window_blocks=1, block_rows=45))
        assert set(own[:45]) in (set(range(45)), set(range(45, 90)))

    def test_lanes_deal_the_blocks_of_the_dataset_without_a_shuffle_too(self):
        data = Rows(80, Blocks(rows=(20, 60), block_rows=(10, 15)))
        for rank, own in enumerate(
            (
                [*range(10), *range(20, 35), *range(50, 65)],
                [*range(10, 20), *range(35, 50), *range(65, 80)],
            )
        ):
            sampler = BlockBatchSampler(data, 5, shuffle=False, lanes=2, rank=rank, world_size=2)
            assert rows_of(sampler) == own

    def test_lanes_without_a_shuffle_deal_the_rows_of_a_subset_as_they_stand_in_it(self):
        subset = Subset(range(8), [5, 1, 7, 0, 3, 2, 6, 4])
        order = {"shuffle": False, "lanes": 2, "block_rows": 2}
        assert rows_of(BlockBatchSampler(subset, 4, **order)) == [0, 2, 1, 3, 4, 6, 5, 7]

    def test_true_is_a_full_shuffle_also_that_of_numpy(self):
        full = rows_of(BlockBatchSampler(50, 8, shuffle="full"))
        for shuffle in (True, np.True_):
            assert rows_of(BlockBatchSampler(50, 8, shuffle=shuffle)) == full
        assert rows_of(BlockBatchSampler(50, 8, shuffle=np.False_)) == list(range(50))

    @pytest.mark.parametrize("order", [{}, {"shuffle": False, "lanes": 2}])
    def test_blocks_elsewhere_are_refused_where_the_order_has_blocks(self, order):
        one, other = (
            Rows(90, Blocks(rows=(rows, 90 - rows), block_rows=(10, 10))) for rows in (45, 55)
        )
        state = BlockBatchSampler(one, 4, **order).state_dict()
        with pytest.raises(StateError, match="blocks_checksum"):
            BlockBatchSampler(other, 4, **order).load_state_dict(state)
        state = BlockBatchSampler(one, 4, shuffle="full").state_dict()
        BlockBatchSampler(other, 4, shuffle="full").load_state_dict(state)

    def test_the_global_generators_play_no_part(self):
        before = rows_of(BlockBatchSampler(50, 4))
        torch.manual_seed(1)
        np.random.seed(1)
        assert rows_of(BlockBatchSampler(50, 4)) == before

    def test_it_is_pickled_with_its_state(self):
        sampler = BlockBatchSampler(50, 4)
        state = sampler.state_dict()
        sampler.load_state_dict({**state, "position": 20})
        assert rows_of(pickle.loads(pickle.dumps(sampler))) == rows_of(sampler)


class TestEpochs:
    def test_each_iteration_is_the_next_epoch(self):
        sampler = BlockBatchSampler(50, 4, shuffle="full")
        epochs = [(sampler.epoch, rows_of(sampler), sampler.epoch) for _ in range(3)]
        assert [(before, after) for before, _, after in epochs] == [(0, 0), (0, 1), (1, 2)]
        assert len({tuple(rows) for _, rows, _ in epochs}) == 3

    def test_set_epoch(self):
        sampler = BlockBatchSampler(50, 4)
        first, second, third = (rows_of(sampler) for _ in range(3))
        sampler.set_epoch(1)
        assert [rows_of(sampler), rows_of(sampler)] == [second, third]
        sampler.set_epoch(0)
        sampler.set_epoch(0)
        assert rows_of(sampler) == first

    def test_an_iterator_that_gave_nothing_uses_up_no_epoch(self):
        sampler = BlockBatchSampler(50, 4)
        iter(sampler)
        iter(sampler)
        assert rows_of(sampler) == rows_of(BlockBatchSampler(50, 4))

    def test_a_batch_size_that_is_set_is_that_of_the_next_epoch(self):
        sampler = BlockBatchSampler(50, 4)
        batches = iter(sampler)
        first = next(batches)
        sampler.batch_size = 25
        assert [len(first), *map(len, batches)] == [4] * 12 + [2]
        assert [len(batch) for batch in sampler] == [25, 25]

    def test_a_batch_size_that_is_set_keeps_the_steps_of_an_epoch(self):
        sampler = BlockBatchSampler(50, 4, steps_per_epoch=3)
        sampler.batch_size = 5
        assert [len(batch) for batch in sampler] == [5, 5, 5]
        with pytest.raises(SamplerError, match="asks for 60 samples of 50 rows"):
            sampler.batch_size = 20

    def test_a_batch_size_is_not_set_beside_max_rows(self):
        ragged = npdata.NumpyDataset(npdata.ragged(np.arange(9), lengths=[2, 3, 4]))
        sampler = BlockBatchSampler(ragged, max_rows=9)
        with pytest.raises(SamplerError, match="max_rows=9, which decides"):
            sampler.batch_size = 2

    def test_a_copy_stands_where_it_was_copied_and_goes_on_alone(self):
        sampler = BlockBatchSampler(50, 4)
        expected = [rows_of(BlockBatchSampler(50, 4))]
        other = copy.copy(sampler)
        assert [rows_of(sampler)] == expected
        assert (other.epoch, sampler.epoch) == (0, 0)
        assert [rows_of(other)] == expected

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
    def test_the_state_of_a_copy_counts_no_batch_that_the_other_gives_later(self, copied):
        sampler = BlockBatchSampler(50, 4)
        batches = iter(sampler)
        next(batches)
        other = copied(sampler)
        list(batches)
        assert other.state_dict()["position"] == 4

    def test_the_rows_one_by_one_are_as_many_as_their_number_says(self):
        for length in ({}, {"num_samples": 6}, {"steps_per_epoch": 3}):
            rows = BlockBatchSampler(50, 4, **length).sampler
            assert len(list(rows)) == len(rows)

    @pytest.mark.parametrize("persistent", [False, True])
    def test_workers_get_the_next_epoch_too(self, persistent):
        loader = DataLoader(
            Rows(50),
            batch_sampler=BlockBatchSampler(50, 8),
            num_workers=2,
            persistent_workers=persistent,
            collate_fn=as_is,
        )
        plain = BlockBatchSampler(50, 8)
        for _ in range(3):
            assert torch.cat(list(loader)).tolist() == rows_of(plain)


def test_a_list_of_samples_is_a_dataset() -> None:
    for sample in ((torch.ones(3), 1), ("text", 1), {"x": 1}):
        assert len(rows_of(BlockBatchSampler([sample] * 10, 4))) == 10


class TestSubsets:
    @pytest.mark.parametrize("shuffle", ["block", "full", False])
    def test_each_row_of_the_subset_once(self, shuffle):
        train, valid = split(1000, 0.9, seed=0)
        none = np.array([], object)  # as of an index of pandas
        for part in (train, valid, np.array([5, 3, 3, 900], np.uint16), [], none):
            sampler = BlockBatchSampler(1000, 16, shuffle=shuffle, block_rows=32, indices=part)
            found = rows_of(sampler)
            assert sorted(found) == sorted(np.asarray(part).tolist())
            assert len(sampler) == -(-len(part) // 16)

    def test_without_shuffle_in_the_order_given(self):
        assert rows_of(BlockBatchSampler(9, 2, shuffle=False, indices=[7, 1, 4])) == [7, 1, 4]

    def test_windows_keep_to_the_blocks_of_the_file_in_whatever_order_rows_are_given(self):
        train, _ = split(1000, 0.9, seed=0)
        mixed = np.random.default_rng(0).permutation(train)
        for given in (torch.tensor(train), train[::-1], mixed):
            found = rows_of(
                BlockBatchSampler(1000, 16, block_rows=50, window_blocks=1, indices=given)
            )
            blocks = np.array(found) // 50
            assert np.count_nonzero(np.diff(blocks)) == 19
            assert sorted(found) == train.tolist()

    @pytest.mark.parametrize("shuffle", ["block", "full", False])
    @pytest.mark.parametrize("options", [{}, {"rank": 1, "world_size": 3}, {"block_rows": 30}])
    def test_of_torch_are_read_in_the_order_of_their_rows_as_indices(self, shuffle, options):
        chosen = np.random.default_rng(0).permutation(1000)[:700]
        chosen[5] = chosen[6]
        blocks = {} if "block_rows" in options else {"blocks": Blocks.uniform(1000, 50)}
        ds = Rows(1000, **blocks)
        options = {**options, "shuffle": shuffle, "window_blocks": 2, "seed": 3}
        expected = rows_of(BlockBatchSampler(ds, 16, indices=chosen, **options))
        inner = Subset(ds, np.sort(chosen).tolist())
        places = np.argsort(np.argsort(chosen, kind="stable")) - 700
        for subset in (
            Subset(ds, chosen.tolist()),
            Subset(ds, chosen - 1000),
            Subset(inner, places),
        ):
            found = rows_of(BlockBatchSampler(subset, 16, **options))
            assert sorted(found) == sorted(set(found))
            assert chosen[found].tolist() == expected

    def test_of_torch_and_indices_of_its_places(self):
        ds = Rows(1000, Blocks.uniform(1000, 50))
        chosen = np.random.default_rng(0).permutation(1000)[:700]
        places = np.random.default_rng(1).permutation(700)[:200]
        found = rows_of(BlockBatchSampler(Subset(ds, chosen), 16, indices=places, window_blocks=1))
        assert sorted(found) == sorted(places.tolist())
        assert np.count_nonzero(np.diff(chosen[found] // 50)) == 19

    @pytest.mark.parametrize("indices", [[1000], [-1001], [[1], [2, 3]], [0.5], {1, 2}])
    def test_of_torch_by_what_is_no_row_number_are_left_to_reading(self, indices):
        for subset in (Subset(Rows(1000), indices), Subset(Subset(Rows(1000), indices), [0])):
            assert chosen_rows(subset) is None
            found = rows_of(BlockBatchSampler(subset, 4))
            assert sorted(found) == list(range(len(subset)))

    @pytest.mark.parametrize("indices", [[0, 1000], [0, -1001]])
    def test_of_torch_with_one_row_that_is_not_there_are_left_to_reading(self, indices):
        assert chosen_rows(Subset(Rows(1000), indices)) is None

    def test_of_torch_of_what_has_no_length_are_left_to_reading(self):
        assert chosen_rows(Subset(object(), [0])) is None

    def test_of_torch_keep_their_array_of_indices(self):
        indices = np.array([-1, 3])
        BlockBatchSampler(Subset(Rows(9), indices), 4)
        assert indices.tolist() == [-1, 3]

    @pytest.mark.parametrize("form", [list, np.array, torch.tensor])
    def test_of_torch_are_read_again_where_their_indices_changed(self, form):
        def state():
            return BlockBatchSampler(subset, 2).state_dict()

        subset = Subset(Rows(9), form([1, 2, 3]))
        first = state()
        assert state() == first
        subset.indices[0] = 5
        changed = state()
        assert changed != first
        subset = Subset(Rows(9), [5, 2, 3])
        assert changed == state()

    def test_as_many_zeros_and_ones_as_rows_are_no_mask_from_9_on(self):
        assert len(rows_of(BlockBatchSampler(8, 4, indices=[0, 1] * 4))) == 8
        with pytest.raises(SamplerError, match="give a mask of the rows as bools"):
            BlockBatchSampler(9, 4, indices=[0, 1] * 4 + [0])


class TestWeights:
    def test_draws_follow_the_weights(self):
        sampler = BlockBatchSampler(1000, 50, weights=np.repeat([0, 1, 3, 0], 250))
        counts = np.bincount([row // 250 for _ in range(20) for row in rows_of(sampler)])
        assert counts[0] == 0
        assert counts.sum() == 20_000
        assert counts[2] == pytest.approx(15_000, abs=300)

    def test_their_sum_plays_no_part(self):
        weights = np.arange(10) / 45
        found = rows_of(BlockBatchSampler(10, 4, weights=weights))
        assert found == rows_of(BlockBatchSampler(10, 4, weights=weights / 1024))

    def test_weights_of_recordings_are_those_of_their_rows_as_the_error_says(self):
        dataset = npdata.NumpyDataset(np.arange(1000)).windows(1, borders=[700, 950])
        weights = np.array([1, 2, 5])
        with pytest.raises(SamplerError, match="of 3 recordings, as files are, np") as caught:
            BlockBatchSampler(dataset, 50, weights=weights)
        cure = re.search(r"(np.repeat.*) with count = (.*)", str(caught.value))
        count = eval(cure[2], {"np": np, "dataset": dataset})
        given = eval(cure[1], {"np": np, "weights": weights, "count": count})
        drawn = rows_of(BlockBatchSampler(dataset, 50, weights=given, num_samples=8000))
        assert np.histogram(drawn, [0, 700, 950, 1000])[0] // 100 == pytest.approx(
            [10, 20, 50], abs=2
        )

    def test_no_rows_have_no_weights(self):
        assert list(BlockBatchSampler(0, 4, weights=[])) == []

    def test_epochs_share_the_running_totals(self):
        recipe = Recipe.of(9, shuffle="block", seed=0, weights=np.arange(9))
        assert recipe.order(0).args[0] is recipe.order(1).args[0]

    def test_draws_from_a_subset(self):
        sampler = BlockBatchSampler(10, 5, weights=np.arange(10), indices=[0, 8, 3])
        drawn = rows_of(sampler)
        assert len(drawn) == 3
        assert set(drawn) <= {3, 8}
        only = BlockBatchSampler(10, 5, weights=np.arange(10) == 8, indices=[0, 8, 3])
        assert rows_of(only) == [8, 8, 8]


class TestMask:
    def test_one_rank_has_no_padding(self):
        batches = list(BlockBatchSampler(7, 3, uneven="mask"))
        assert [type(batch) for batch in batches] == [MaskedRows] * 3
        assert [batch.mask.tolist() for batch in batches] == [[True] * 3, [True] * 3, [True]]

    def test_it_reads_as_a_sequence_of_ints_and_as_an_array(self):
        batch = MaskedRows(rows=np.array([4, 2]), filler=1)
        assert (len(batch), batch[0], list(batch)) == (2, 4, [4, 2])
        assert np.asarray(batch).tolist() == [4, 2]
        assert np.asarray(batch) is batch.rows
        assert np.array(batch, np.int32).dtype == np.int32

    def test_a_slice_keeps_the_padding_apart(self):
        batch = MaskedRows(rows=np.array([4, 2, 7, 7]), filler=2)
        for part in (slice(None), slice(1, None), slice(2), slice(3), slice(0, 0), slice(0, 4, 2)):
            found = batch[part]
            assert list(found) == [4, 2, 7, 7][part]
            assert found.mask.tolist() == [True, True, False, False][part]
        with pytest.raises(SamplerError, match="slice forwards"):
            batch[::-1]

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_the_mask_reaches_the_batch_through_a_stock_loader(self, num_workers):
        seen = []
        for rank in range(2):
            sampler = BlockBatchSampler(7, 2, rank=rank, world_size=2, uneven="mask")
            loader = DataLoader(
                Rows(7), batch_sampler=sampler, num_workers=num_workers, collate_fn=as_is
            )
            for rows, mask in loader:
                assert mask.dtype == torch.bool
                seen += rows[mask].tolist()
        assert sorted(seen) == list(range(7))

    def test_a_stock_dataset_reads_padding_as_rows(self):
        data = TensorDataset(torch.arange(7))
        sampler = BlockBatchSampler(7, 2, rank=0, world_size=2, uneven="mask")
        assert sum(len(batch) for (batch,) in DataLoader(data, batch_sampler=sampler)) == 4


@pytest.mark.parametrize("number", [np.array(20), torch.tensor(20), np.uint8(20)])
def test_the_number_of_rows_may_be_any_integer(number: object) -> None:
    asked, plain = BlockBatchSampler(number, 8), BlockBatchSampler(20, 8)
    assert [rows.tolist() for rows in asked] == [rows.tolist() for rows in plain]


class TestErrors:
    @pytest.mark.parametrize(
        "arguments, message",
        [
            ({"batch_size": 0}, "batch_size=0: expected a whole number of at least 1"),
            ({"batch_size": -3}, "batch_size=-3: expected a whole number of at least 1"),
            ({"batch_size": 2.5}, "batch_size=2.5: expected a whole number"),
            ({"batch_size": True}, "batch_size=True: expected a whole number"),
            ({"data": -1}, "the number of rows=-1: expected a whole number of at least 0"),
            ({"data": True}, "the number of rows=True: expected a whole number"),
            ({"data": 2.5}, "data=2.5: expected a dataset or its number of rows"),
            ({"data": "abc"}, "data='abc': expected a dataset or its number of rows"),
            ({"data": 1 << 62}, "expected less than 2**62"),
            ({"data": SequentialSampler(range(9))}, "data is a SequentialSampler"),
            ({"shuffle": 0}, "shuffle=0: expected True, 'full', 'block' or False"),
            ({"shuffle": np.array(["full"])}, "expected True, 'full', 'block' or False"),
            ({"shuffle": "blocks"}, "shuffle='blocks': expected True, 'full', 'block' or False"),
            ({"seed": -1}, "seed=-1: expected a whole number of at least 0"),
            ({"seed": 2**64}, "expected less than 2**64"),
            ({"block_rows": 0}, "block_rows=0: expected a whole number of at least 1"),
            ({"window_blocks": 0}, "window_blocks=0: expected a whole number of at least 1"),
            ({"rank": 2, "world_size": 2}, "rank 2 of a world of 2"),
            ({"rank": -1, "world_size": 2}, "rank=-1: expected a whole number of at least 0"),
            ({"rank": 0, "world_size": 0}, "world_size=0: expected a whole number of at least 1"),
            ({"rank": 1}, "rank=1 and world_size=None: give both"),
            ({"padded": False}, "padded=False counts the rows of max_rows="),
            ({"padded": "x"}, "padded='x': expected True or False"),
            ({"uneven": "skip"}, "uneven='skip': expected one of drop, pad, mask, ragged"),
            ({"lanes": 0}, "lanes=0: expected a whole number of at least 1"),
            ({"lanes": 3, "rank": 0, "world_size": 2}, "3 lanes cannot be owned evenly by 2"),
            ({"lanes": 6, "rank": 0, "world_size": 2}, "give a batch_size that is a multiple of 3"),
            ({"lanes": 2, "shuffle": "full"}, "lanes=2 with shuffle='full'"),
            ({"lanes": 2, "weights": np.ones(10)}, "lanes=2 with weighted draws"),
            ({"shuffle": False, "weights": np.ones(10)}, "weights with shuffle=False"),
            ({"weights": np.ones(9)}, "weights of shape (9,): expected one weight for each of the"),
            ({"weights": [1.0] * 9 + [np.nan]}, "weight nan of row 9 (1 such rows)"),
            ({"weights": [-1.0] * 2 + [1] * 8}, "weight -1.0 of row 0 (2 such rows)"),
            ({"weights": [np.inf] * 10}, "weight inf of row 0 (10 such rows)"),
            ({"weights": np.zeros(10)}, "weights that sum to 0.0"),
            ({"weights": [1e308] * 10}, "weights that sum to inf"),
            ({"weights": "balanced"}, "expected one weight for each row; for classes that come"),
            ({"weights": {0: 1.0}}, "expected one weight for each row; for classes that come"),
            ({"weights": SequentialSampler(range(10))}, "a sampler is sampler="),
            ({"weights": np.ones(3)}, "of classes (1 / np.bincount(labels))[labels], of a Subset"),
            ({"weights": [None] * 10 + [[1]]}, "weights: expected an array of numbers"),
            (
                {"weights": np.ma.array([1.0] * 9 + [9.96e36], mask=[0] * 9 + [1])},
                "weights is masked at 1 of 10 places, as at place 9, and has no number there: "
                "leave those rows out by weights=x.filled(0)",
            ),
            ({"indices": np.ma.array([True] * 10, mask=[1] * 2 + [0] * 8)}, "=x.filled(False)"),
            ({"indices": np.ma.array([3, 4], mask=[0, 1])}, "indices=x.compressed()"),
            ({"data": SPLIT}, "data is a tuple of arrays or lists: expected a dataset"),
            ({"data": SPLIT[0]}, "BlockBatchSampler(dataset, 64, indices=rows)"),
            ({"data": torch.tensor([2, 3])}, "data is a Tensor of integers: expected a dataset"),
            ({"data": [2, 3]}, "row numbers are indices="),
            ({"indices": [0, 1] * 5}, "give a mask of the rows as bools, np.asarray(mask, bool)"),
            ({"indices": [[1], [2, 3], 4]}, "indices: expected an array of numbers"),
            ({"indices": SPLIT}, "these are 2 arrays: take one, as train of train, test = dataset"),
            ({"indices": [*map(list, SPLIT)]}, "these are 2 lists: take one, or give all in one"),
            ({"indices": [*torch.ones(2, 2)]}, "these are 2 arrays: take one"),
            ({"indices": [SPLIT] * 5}, "these are 5 folds: take one part of one, as train in for"),
            ({"indices": np.nonzero([True] * 10)}, "rows of a mask are np.flatnonzero(mask)"),
            ({"indices": [0, 10]}, "expected row numbers from 0 to 9"),
            ({"indices": [-1, 3]}, "indices from -1 to 3"),
            ({"indices": [0.5]}, "dtype float64: expected one dimension of integers"),
            ({"indices": [[1]]}, "indices of shape (1, 1)"),
            ({"indices": slice(3)}, "indices is a slice: expected row numbers, as those of"),
            ({"indices": npdata.NumpyDataset(np.arange(9))}, "indices is a NumpyDataset: expected"),
            (
                {"indices": Subset(TensorDataset(torch.arange(9)), [0])},
                "indices is a Subset: expected row numbers",
            ),
            ({"indices": [True] * 9}, "or a bool mask of the 10 rows"),
            ({"data": Rows(10, Blocks.uniform(9, 2))}, "give block_rows= to use your own"),
        ],
    )
    def test_what_cannot_be_is_refused(self, arguments, message):
        arguments = {"data": 10, "batch_size": 4, **arguments}
        with pytest.raises(SamplerError, match=re.escape(message)) as caught:
            BlockBatchSampler(**arguments)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, NpdataError)

    def test_epoch(self):
        with pytest.raises(SamplerError, match="epoch=-1: expected a whole number of at least 0"):
            BlockBatchSampler(10, 4).set_epoch(-1)
        with pytest.raises(SamplerError, match=r"expected less than 2\*\*64"):
            BlockBatchSampler(10, 4).set_epoch(2**64)

    def test_the_number_of_rows_may_be_an_integer_of_numpy(self):
        assert rows_of(BlockBatchSampler(np.int32(9), 4)) == rows_of(BlockBatchSampler(9, 4))

    def test_blocks_that_the_order_has_no_use_for_are_not_looked_at(self):
        data = Rows(10, blocks=[1, 2])
        assert sorted(rows_of(BlockBatchSampler(data, 4, shuffle="full"))) == list(range(10))
        with pytest.raises(SamplerError, match="give block_rows= to use your own"):
            BlockBatchSampler(data, 4)


class TestTrainers:
    """A trainer makes a batch sampler of the same class around a sampler of its own."""

    def test_a_sampler_put_in_place_of_the_data_is_refused_saying_what_to_do(self):
        data = range(100)
        ours = BlockBatchSampler(data, 4)
        injected = DistributedSampler(data, num_replicas=2, rank=0)
        with pytest.raises(SamplerError, match=r"Trainer\(use_distributed_sampler=False\)"):
            type(ours)(injected, batch_size=ours.batch_size, drop_last=ours.drop_last)


class TestWithADataset:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_mask_comes_with_every_batch(self, workers: int) -> None:
        ds = npdata.NumpyDataset(x=np.arange(11), y=np.arange(11) * 2.0)
        seen: list[int] = []
        for rank in range(3):
            sampler = BlockBatchSampler(ds, 2, uneven="mask", rank=rank, world_size=3)
            loader = DataLoader(
                ds, batch_sampler=sampler, collate_fn=npdata.collate, num_workers=workers
            )
            batches = list(loader)
            assert len(batches) == 2
            for fields, mask in batches:
                assert type(fields) is dict
                assert mask.dtype == torch.bool
                assert (fields["y"] == fields["x"] * 2).all()
                seen += fields["x"][mask].tolist()
        assert sorted(seen) == list(range(11))

    def test_a_split_is_disjoint_and_whole_and_trains_apart(self) -> None:
        ds = npdata.NumpyDataset(np.arange(50))
        train, validation = ds.split(0.8, seed=3)
        assert len(train) == 40
        assert sorted([*train, *validation]) == list(range(50))
        assert (ds.split(0.8, seed=3)[0] == train).all()
        sampler = BlockBatchSampler(ds, 8, indices=train)
        loader = DataLoader(ds, batch_sampler=sampler, collate_fn=npdata.collate)
        assert sorted(torch.cat(list(loader)).tolist()) == train.tolist()

    def test_blocks_are_those_of_the_costliest_field(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file.create_dataset("x", data=np.arange(100), chunks=(7,), compression=4)
        ds = npdata.NumpyDataset(np.zeros((100, 9)), tmp_path.joinpath("d.h5::x"))
        assert ds.blocks.edges().tolist() == [*range(0, 100, 7), 100]
        order = np.concatenate(list(BlockBatchSampler(ds, 7, window_blocks=1)))
        blocks = order // 7
        assert np.count_nonzero(np.diff(blocks)) == 14
