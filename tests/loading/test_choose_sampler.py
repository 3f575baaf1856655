"""A `Loader` takes samplers of batches and of rows, and makes one of its arguments."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from npdata import BlockBatchSampler, Loader, NumpyDataset
from npdata.errors import LoaderError, SamplerError

N = 103


@pytest.fixture
def ds() -> NumpyDataset:
    return NumpyDataset(np.arange(N))


def rows(loader: object) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


class HoldsRows(Sampler):
    """Gives the same iterator in each epoch."""

    def __init__(self) -> None:
        self.batches = iter([[0, 1], [2]])

    def __iter__(self):
        return self.batches


class FillsOneArray:
    """Gives one array for all batches, and overwrites it for each."""

    def __init__(self) -> None:
        self.array = np.empty(2, np.int64)

    def __iter__(self):
        for first in range(0, 40, 2):
            self.array[:] = first, first + 1
            yield self.array


class TestSamplers:
    @pytest.mark.parametrize("threads", [0, 2])
    def test_may_overwrite_the_rows_of_a_batch_which_threads_copy(self, ds, threads) -> None:
        sampler, own = FillsOneArray(), []

        class Asked(Subset):
            def __getitems__(self, rows):
                own.append(rows is sampler.array)
                return self.dataset.__getitems__(rows)

        loader = Loader(Asked(ds, range(N)), sampler=sampler, num_threads=threads)
        assert flat(rows(loader)) == list(range(40))
        assert set(own) == {threads == 0}

    @pytest.mark.parametrize(
        "make",
        [
            lambda: SequentialSampler(range(N)),
            lambda: RandomSampler(range(N), generator=torch.Generator().manual_seed(3)),
            lambda: SubsetRandomSampler(range(5, 50), torch.Generator().manual_seed(3)),
            lambda: WeightedRandomSampler(
                torch.ones(N), 40, generator=torch.Generator().manual_seed(3)
            ),
            lambda: DistributedSampler(range(N), num_replicas=2, rank=1),
            lambda: list(range(N)),
            lambda: list(torch.arange(5, 50)),
        ],
    )
    @pytest.mark.parametrize("drop_last", [False, True])
    def test_of_single_rows_are_batched_as_in_a_data_loader(self, ds, make, drop_last) -> None:
        ours = Loader(ds, 8, sampler=make(), drop_last=drop_last)
        stock = DataLoader(ds, 8, sampler=make(), drop_last=drop_last)
        assert len(ours) == len(stock)
        assert rows(ours) == rows(stock)

    @pytest.mark.parametrize("word", ["sampler", "batch_sampler"])
    def test_of_batches_come_as_they_are(self, ds, word) -> None:
        batches = BatchSampler(SequentialSampler(range(N)), 8, False)
        assert rows(Loader(ds, **{word: batches})) == rows(DataLoader(ds, 8))
        assert rows(Loader(ds, **{word: [[3, 4], [5]]})) == [[3, 4], [5]]

    def test_epochs_reach_a_distributed_sampler(self, ds) -> None:
        of = DistributedSampler(range(N), num_replicas=2, rank=0)
        loader = Loader(ds, 8, sampler=of)
        loader.sampler.set_epoch(3)
        assert of.epoch == 3
        loader.set_epoch(4)
        assert of.epoch == 4

    @pytest.mark.parametrize("num_threads", [0, 2])
    @pytest.mark.parametrize("progress", [False, True])
    def test_need_no_length(self, ds, num_threads, progress) -> None:
        class Endless(Sampler):
            def __iter__(self):
                return itertools.cycle(range(N))

        for words in (
            {"batch_size": 8, "sampler": Endless()},
            {"batch_sampler": BatchSampler(Endless(), 8, False)},
        ):
            loader = Loader(ds, **words, num_threads=num_threads, progress=progress)
            for _ in range(2):
                some = itertools.islice(loader, 14)
                assert flat(rows(some)) == [*range(N), *range(14 * 8 - N)]

    @pytest.mark.parametrize("num_threads", [0, 2])
    @pytest.mark.parametrize("buffer", [[0, 0], np.zeros(2, int), torch.zeros(2, dtype=torch.int)])
    def test_that_write_each_batch_into_one_buffer_give_each(self, ds, buffer, num_threads) -> None:
        class Batches(Sampler):
            def __iter__(self):
                for k in range(9):
                    buffer[0], buffer[1] = k, k + 1
                    yield buffer

        loader = Loader(ds, batch_sampler=Batches(), num_threads=num_threads)
        assert rows(loader) == [[k, k + 1] for k in range(9)]

    @pytest.mark.parametrize("number", [np.array(3), torch.tensor(3), np.int64(3), 3])
    def test_of_single_rows_need_a_batch_size(self, ds, number) -> None:
        with pytest.raises(LoaderError, match=r"gave .*3.* where a batch of rows was expected"):
            rows(Loader(ds, sampler=[[0, 1], number]))

    def test_an_empty_batch_is_a_batch(self, ds) -> None:
        assert rows(Loader(ds, sampler=[[0, 1], [], [2]])) == [[0, 1], [], [2]]

    @pytest.mark.parametrize("num_threads", [0, 2])
    def test_an_error_of_theirs_comes_behind_the_batches_before_it(self, ds, num_threads) -> None:
        class Broken(Sampler):
            def __iter__(self):
                yield from ([0, 1], [2])
                raise ValueError("no more rows")

        loader, received = Loader(ds, batch_sampler=Broken(), num_threads=num_threads), []
        for _ in range(2):
            with pytest.raises(ValueError, match="no more rows"):
                received.extend(batch.tolist() for batch in loader)
        assert received == [[0, 1], [2]] * 2

    def test_that_change_are_asked_again_in_each_epoch(self, ds) -> None:
        batches = [[0, 1], [2]]
        loader = Loader(ds, sampler=batches)
        assert (rows(loader), len(loader)) == ([[0, 1], [2]], 2)
        batches.append([3])
        assert (rows(loader), len(loader)) == ([[0, 1], [2], [3]], 3)

    @pytest.mark.parametrize("change", [lambda rows: rows.append(9), lambda rows: rows.pop()])
    def test_a_dataset_that_has_other_rows_by_now_is_refused(self, ds, change) -> None:
        chosen = [3, 4, 5]
        loader = Loader(Subset(ds, chosen), 2)
        assert rows(loader) == [[3, 4], [5]]
        change(chosen)
        with pytest.raises(LoaderError, match=r"had 3 rows when .* has [24] now: make a new"):
            rows(loader)

    @pytest.mark.parametrize(
        "words",
        [
            {"sampler": (part for part in ([0, 1], [2]))},
            {"batch_sampler": iter([[0, 1], [2]])},
            {"batch_size": 2, "sampler": iter(range(3))},
            {"batch_sampler": HoldsRows()},
        ],
    )
    def test_that_give_their_rows_once_are_refused_in_a_second_epoch(self, ds, words) -> None:
        loader = Loader(ds, **words)
        iter(loader)
        assert rows(loader) == [[0, 1], [2]]
        with pytest.raises(LoaderError, match="begins anew in each epoch"):
            next(iter(loader))

    @pytest.mark.parametrize("other", [N - 1, N + 1])
    def test_ours_of_another_number_of_rows_is_refused(self, ds, other) -> None:
        message = f"numbers {other} rows, and the dataset has {N}"
        with pytest.raises(LoaderError, match=message):
            Loader(ds, sampler=BlockBatchSampler(other, 8))

    @pytest.mark.parametrize(
        "words, message",
        [
            ({"sampler": [[0]], "batch_sampler": [[0]]}, "both decide the batches"),
            ({"sampler": [[0]], "shuffle": True}, "sampler= decides shuffle"),
            ({"batch_sampler": [[0]], "drop_last": True}, "sampler= decides drop_last"),
            ({"sampler": [[0]], "indices": [1]}, "sampler= decides indices"),
            ({"batch_size": 2, "sampler": [0], "weights": np.ones(N)}, "sampler= decides weights"),
            ({"sampler": [[0]], "rank": 0, "world_size": 1}, "decides rank, world_size"),
            ({"sampler": "random", "batch_size": 2}, "'random': expected an iterable of batches"),
            ({"sampler": Subset(range(9), [3]), "batch_size": 2}, "row numbers in subset.indices"),
            ({"sampler": iter}, "expected an iterable of batches"),
        ],
    )
    def test_what_they_decide_is_refused(self, ds, words, message) -> None:
        with pytest.raises(LoaderError, match=message):
            Loader(ds, **words)

    @pytest.mark.parametrize("kind", [BlockBatchSampler, Loader, DataLoader])
    def test_a_sampler_that_numbers_batches_is_refused(self, ds, kind) -> None:
        """It gave the first rows alone, as many as there are batches."""
        divided = DistributedSampler(kind(ds, 4), num_replicas=2, rank=0)
        with pytest.raises(LoaderError, match=r"numbers its \d+ batches, and sampler= the rows"):
            Loader(ds, 4, sampler=divided)
        with pytest.raises(LoaderError, match="leave the RandomSampler out"):
            Loader(ds, 4, sampler=RandomSampler(kind(ds, 4)))

    @pytest.mark.parametrize("batch_size", [1, 8])
    def test_ours_in_the_place_of_a_sampler_of_rows(self, ds, batch_size) -> None:
        loader = DataLoader(ds, batch_size, sampler=BlockBatchSampler(ds, 8))
        with pytest.raises(SamplerError, match="pass it as batch_sampler="):
            next(iter(loader))

    def test_ours_without_batches_of_torch(self, ds) -> None:
        whole = DataLoader(ds, None, sampler=BlockBatchSampler(ds, 8, shuffle=False))
        assert rows(whole) == rows(DataLoader(ds, 8))


class TestOrder:
    def test_options_pass_through_to_the_sampler(self, ds) -> None:
        options = {"indices": np.arange(0, N, 2), "rank": 1, "world_size": 2, "uneven": "ragged"}
        for more in (options, {"weights": np.arange(N), "num_samples": 20}):
            ours = Loader(ds, 8, shuffle="block", **more)
            stock = BlockBatchSampler(ds, 8, **more)
            assert rows(ours) == [batch.tolist() for batch in stock]

    def test_weights_draw_without_a_shuffle_argument(self, ds) -> None:
        stock = BlockBatchSampler(ds, 8, weights=np.arange(N))
        assert rows(Loader(ds, 8, weights=np.arange(N))) == [batch.tolist() for batch in stock]

    def test_indices_take_masks(self, ds) -> None:
        mask = np.arange(N) % 3 == 0
        for given in (mask, torch.from_numpy(mask), mask.tolist()):
            assert flat(rows(Loader(ds, 8, indices=given))) == list(range(0, N, 3))

    @pytest.mark.parametrize("shuffle", [False, "block", True])
    def test_num_samples_ends_the_epoch(self, ds, shuffle) -> None:
        whole, part = Loader(ds, 8, shuffle=shuffle), Loader(ds, 8, shuffle=shuffle, num_samples=20)
        assert len(part) == 3
        for _ in range(2):
            assert flat(rows(part)) == flat(rows(whole))[:20]

    def test_steps_per_epoch_are_steps_of_all_ranks(self, ds) -> None:
        draws = {"weights": np.ones(N), "steps_per_epoch": 50, "shuffle": True}
        for world in (1, 2):
            ranks = [Loader(ds, 8, **draws, rank=r, world_size=world) for r in range(world)]
            assert [len(rank) for rank in ranks] == [50] * world
            assert {len(batch) for rank in ranks for batch in rank} == {8}

    def test_a_state_at_the_end_of_a_short_epoch_is_the_next(self, ds) -> None:
        part = Loader(ds, 8, shuffle=True, steps_per_epoch=5)
        first, state = rows(part), part.state_dict()
        assert (state["epoch"], state["position"]) == (1, 0)
        resumed = Loader(ds, 8, shuffle=True, steps_per_epoch=5)
        resumed.load_state_dict(state)
        assert first != rows(resumed) == rows(part)

    @pytest.mark.parametrize(
        "options, message",
        [
            (
                {"num_samples": 104},
                "num_samples=104 asks for 104 samples of 103 rows",
            ),
            ({"steps_per_epoch": 13}, "steps_per_epoch=13 of 8 samples asks for 104 samples"),
            ({"steps_per_epoch": 2, "num_samples": 9}, "both end the epoch"),
            ({"num_samples": 0}, "num_samples=0"),
        ],
    )
    def test_lengths_that_cannot_be(self, ds, options, message) -> None:
        with pytest.raises(SamplerError, match=message):
            Loader(ds, 8, **options)

    def test_steps_of_more_ranks_than_there_are_rows_for(self, ds) -> None:
        with pytest.raises(SamplerError, match="8 samples on 2 ranks asks for 112 samples"):
            len(Loader(ds, 8, steps_per_epoch=7, rank=0, world_size=2))
