"""A `Loader` takes the words of a DataLoader, or names its own."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from processes import raises_in_a_worker
from torch.utils.data import (
    DataLoader,
)

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset
from npdata.errors import ConversionError, FieldError, LoaderError, NotBatchedError

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
            ({"window": 3}, r"window= is .* of the sampler.*BlockBatchSampler.*window_blocks=3"),
            ({"workers": 3}, "workers= is no argument of a Loader; write num_threads="),
            ({"data_source": 3}, "data_source= is no argument of a Loader; write dataset="),
            ({"num_replicas": 2}, "num_replicas= is no argument of a Loader; write world_size="),
            ({"random_state": 3}, "random_state= is no argument of a Loader; write seed="),
            ({"device": "gpu"}, "device='gpu' is no device of torch: write device=\"cuda\""),
            ({"shufle": True}, "shufle= is no argument of a Loader; did you mean shuffle="),
            ({"xyz": True}, r"xyz= is no argument of a Loader \(it has dataset, batch_size"),
        ],
    )
    def test_that_ask_for_more_are_refused_with_ours(self, ds, words, message) -> None:
        with pytest.raises(LoaderError, match=message):
            Loader(ds, 8, **words)


class TestToTheEye:
    def test_attributes(self, ds) -> None:
        loader = Loader(ds, 8, shuffle=True, drop_last=True)
        assert loader.dataset is ds
        assert (loader.batch_size, loader.drop_last, loader.num_workers) == (8, True, 0)
        assert isinstance(loader.batch_sampler, BlockBatchSampler)
        assert len(loader.sampler) == N // 8 * 8
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
        weighted = repr(Loader(ds, 8, weights=np.ones(len(ds))))
        assert "weights=..., seed=0" in weighted
        assert "shuffle" not in weighted

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
