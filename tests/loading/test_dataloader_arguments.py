"""A `Loader` takes the words of a DataLoader, or names its own."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from processes import raises_in_a_worker
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset
from npdata.errors import ConversionError, FieldError, LoaderError, NotBatchedError, SamplerError

N = 103


@pytest.fixture
def ds() -> NumpyDataset:
    return NumpyDataset(np.arange(N))


def rows(loader: object) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


class TestWords:
    @pytest.mark.parametrize(
        "words",
        [
            {"num_workers": 0},
            {"collate_fn": npdata.collate},
            {"collate_fn": None},
            {"generator": None, "timeout": 0, "worker_init_fn": None},
            {"multiprocessing_context": None, "prefetch_factor": None},
            {"persistent_workers": True, "pin_memory_device": "", "in_order": True},
            {"persistent_workers": False, "batch_sampler": None, "sampler": None},
            {"shuffle": None, "drop_last": np.False_},
        ],
    )
    def test_that_ask_for_nothing_else_are_understood(self, ds, words) -> None:
        assert rows(Loader(ds, 8, **words)) == rows(DataLoader(ds, 8))

    def test_a_number_of_threads_may_be_an_integer_of_numpy(self, ds) -> None:
        assert Loader(ds, 8, num_threads=np.int64(2)).describe().threads == 2

    def test_no_workers_are_no_threads(self, ds) -> None:
        big = NumpyDataset(np.zeros((64, 1 << 18), np.float32))
        assert Loader(big, 8, num_workers=0).describe().threads == 0

    @pytest.mark.parametrize(
        "words, message",
        [
            ({"num_workers": 4}, "num_workers=4: .* write num_threads="),
            ({"collate_fn": list}, "collate_fn=.*batch_transform="),
            ({"generator": torch.Generator()}, "generator=.*write seed="),
            ({"timeout": 5}, "timeout=5: .*leave it out"),
            ({"worker_init_fn": print}, "worker_init_fn=.*rng"),
            ({"multiprocessing_context": "spawn"}, "no worker processes"),
            ({"prefetch_factor": 2}, "prefetch_factor=2: write prefetch="),
            ({"pin_memory_device": "cuda"}, "write device="),
            ({"in_order": False}, "in_order=False: batches always come in order"),
            (
                {"cache": "ram"},
                r"cache= is for the rows of a dataset: NumpyDataset\(\.\.\., cache=",
            ),
            ({"start_epoch": 3}, r"start_epoch= .*then loader\.set_epoch\(epoch\)"),
            ({"state": {}}, r"state= .*then loader\.load_state_dict\(state\)"),
            ({"subset": [1]}, "subset= is no argument of a Loader; write indices="),
            ({"shufle": True}, "shufle= is no argument of a Loader; did you mean shuffle="),
            ({"xyz": True}, r"xyz= is no argument of a Loader \(it has dataset, batch_size"),
        ],
    )
    def test_that_ask_for_more_are_refused_with_ours(self, ds, words, message) -> None:
        with pytest.raises(LoaderError, match=message):
            Loader(ds, 8, **words)


class TestSamplers:
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

    @pytest.mark.parametrize(
        "words",
        [
            {"sampler": (part for part in ([0, 1], [2]))},
            {"batch_sampler": iter([[0, 1], [2]])},
            {"batch_size": 2, "sampler": iter(range(3))},
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


class TestToTheEye:
    def test_attributes(self, ds) -> None:
        loader = Loader(ds, 8, shuffle=True, drop_last=True)
        assert loader.dataset is ds
        assert (loader.batch_size, loader.drop_last, loader.num_workers) == (8, True, 0)
        assert isinstance(loader.batch_sampler, BlockBatchSampler)
        assert len(loader.sampler) == N
        assert loader.collate_fn is npdata.collate

    def test_collate_fn_casts_as_the_loader_does(self, ds) -> None:
        loader = Loader(ds, 8, dtype=torch.float64)
        again = DataLoader(ds, batch_sampler=loader.batch_sampler, collate_fn=loader.collate_fn)
        assert torch.cat(list(again)).dtype == torch.float64

    def test_epochs_through_the_sampler(self, ds) -> None:
        loader = Loader(ds, 8, shuffle=True)
        first = rows(loader)
        rows(loader)
        loader.sampler.set_epoch(0)
        assert rows(loader) == first
        loader.batch_sampler.sampler.set_epoch(0)
        assert rows(loader) == first

    def test_the_rows_of_its_sampler_one_by_one(self, ds) -> None:
        loader = Loader(ds, 8, shuffle=True)
        assert list(Loader(ds, 8, shuffle=True).sampler) == flat(rows(loader))

    def test_it_is_one_line(self, ds) -> None:
        text = repr(Loader(ds, 8, shuffle=True, seed=3))
        assert "\n" not in text
        for part in ("NumpyDataset", "batch_size=8", "shuffle='full'", "seed=3", "num_threads=0"):
            assert part in text

    @pytest.mark.parametrize("threads", [0, 2])
    def test_the_length_after_a_resume_is_what_is_left(self, ds, threads) -> None:
        loader = Loader(ds, 8, shuffle=True, num_threads=threads)
        iterator = iter(loader)
        for _ in range(5):
            next(iterator)
        state, whole = loader.state_dict(), len(loader)
        loader.close()
        resumed = Loader(ds, 8, shuffle=True, num_threads=threads)
        resumed.load_state_dict(state)
        assert (whole, len(resumed)) == (13, 8)
        assert [len(resumed) for _ in resumed] == [8] * 8
        assert len(resumed) == 13

    def test_an_iterator_that_is_asked_for_nothing_begins_nothing(self, ds) -> None:
        loader = Loader(ds, 8, shuffle=True, num_threads=2)
        first = rows(Loader(ds, 8, shuffle=True))
        iter(loader)
        iter(loader)
        assert rows(loader) == first


class TestInsideADataLoader:
    """For what takes nothing but a DataLoader."""

    @pytest.mark.parametrize("threads", [0, 2])
    def test_without_a_batch_size_its_batches_are_handed_on(self, ds, threads) -> None:
        def epochs(loader: Any) -> list[list[int]]:
            return [[batch.tolist() for batch in loader] for _ in range(2)]

        loader = Loader(ds, 4, shuffle=True, num_threads=threads)
        outer = DataLoader(loader, batch_size=None)
        assert len(outer) == len(loader)
        assert epochs(outer) == epochs(Loader(ds, 4, shuffle=True))

    @pytest.mark.parametrize("options", [{}, {"batch_size": 2}])
    def test_with_one_it_is_refused(self, ds, options) -> None:
        outer = DataLoader(Loader(ds, 4), **options)
        with pytest.raises(LoaderError, match=r"write DataLoader\(loader, batch_size=None\)"):
            next(iter(outer))

    def test_attributes_of_a_data_loader_that_it_lacks_name_the_wrapper(self, ds) -> None:
        with pytest.raises(AttributeError, match=r"takes DataLoader\(loader, batch_size=None\)"):
            _ = Loader(ds, 4).timeout
        with pytest.raises(AttributeError, match=r"get_preds\(dl=loader\)"):
            _ = Loader(ds, 4).new
        with pytest.raises(AttributeError, match=r"has no attribute 'nothing'$"):
            _ = Loader(ds, 4).nothing
        assert not hasattr(Loader(ds, 4), "generator")


@pytest.mark.parametrize("workers", [0, 2])
def test_collate_refuses_the_fields_of_one_sample(workers: int) -> None:
    """As a trainer gives them that replaces a batch sampler: they would be stacked."""
    ds = NumpyDataset(np.zeros((6, 2)), np.ones((6, 2)))
    with raises_in_a_worker(NotBatchedError, match="add_dist_sampler=False"):
        next(iter(DataLoader(ds, None, collate_fn=npdata.collate, num_workers=workers)))
    assert len(npdata.collate([ds[0], ds[1]])) == 2
    assert len(npdata.collate((ds[0], ds[1]))) == 2


class TestWordsInTheWrongPlace:
    @pytest.mark.parametrize(
        "words", [{"batch_size": 32}, {"shuffle": True}, {"num_workers": 2}, {"collate_fn": len}]
    )
    def test_of_a_loader_for_a_dataset(self, words) -> None:
        (name,) = words
        for fields in ((np.arange(3),), ()):
            named = {} if fields else {"x": np.arange(3)}
            with pytest.raises(FieldError, match=rf"write (npdata.|Data)Loader\(dataset, {name}="):
                NumpyDataset(*fields, **named, **words)
        assert NumpyDataset(**{name: np.arange(3)}).names == (name,)

    @pytest.mark.parametrize("words", [{"max_rows": 10}, {"lanes": 2}, {"block_rows": 4}])
    def test_of_the_sampler_for_a_loader(self, ds, words) -> None:
        message = r"sampler=BlockBatchSampler\(dataset, {}={}, ...\)"
        ((name, value),) = words.items()
        with pytest.raises(LoaderError, match=message.format(name, value)):
            Loader(ds, **words)

    def test_datasets_for_arrays(self, ds) -> None:
        with pytest.raises(FieldError, match=r"sum\(datasets\)"):
            npdata.concatenate([ds, ds])
        with pytest.raises(ConversionError, match=r"ds\[:\] gives its rows"):
            npdata.as_tensor(ds)


class TestTimes:
    """Times are integers, of which the smallest stands for a missing one."""

    def times(self) -> NumpyDataset:
        days = np.array(["2000-01-01", "NaT"], "M8[D]")
        return NumpyDataset(day=days, x=np.zeros(2), dtype={"day": torch.int64})

    @pytest.mark.parametrize("wrapped", [lambda ds: ds, lambda ds: Subset(ds, [1])])
    @pytest.mark.parametrize("dtype", [torch.float32, {"day": "float64"}])
    def test_are_not_cast_to_floats(self, wrapped, dtype) -> None:
        with pytest.raises(LoaderError, match="missing times in field 'day'"):
            Loader(wrapped(self.times()), 2, dtype=dtype)

    def test_in_a_stack_are_not_either(self) -> None:
        with pytest.raises(LoaderError, match="missing times in field 'day'"):
            Loader(StackDataset(t=self.times()), 2, dtype={"t": torch.float32})

    @pytest.mark.parametrize("dtype", [torch.int64, {"x": torch.float32}, None])
    def test_do_not_forbid_other_casts(self, dtype) -> None:
        smallest = np.iinfo(np.int64).min
        (batch,) = Loader(self.times(), 2, dtype=dtype)
        assert batch["day"].tolist() == [10957, smallest]
