"""Rows chosen by a torch `Subset` keep the form that they have: ragged, sparse, text and so on."""

import pickle
from typing import Any

import numpy as np
import pytest
from few import few
from forms import FORMS, LENGTHS, same
from hypothesis import given
from hypothesis import strategies as st
from kinds import ROWS, Data
from torch.utils.data import DataLoader, Subset

import npdata
from npdata import NumpyDataset

NUMBERS = np.random.default_rng(1).integers(0, ROWS, 90)


def chosen(ds: NumpyDataset, numbers: Any) -> NumpyDataset:
    """The samples with these numbers, beside their place."""
    other = Subset(NumpyDataset(other=ds.fields["other"]), numbers)
    return NumpyDataset(row=np.arange(len(numbers)), other=other, transform=ds.transforms.sample)


def test_samples_and_batches_are_those_that_were_chosen(form: str, others: Data) -> None:
    ds = FORMS[form](others)

    @few(form)
    @given(st.lists(st.integers(-ROWS, ROWS - 1), min_size=1, max_size=20), st.data())
    def check(numbers: list[int], data: st.DataObject) -> None:
        wanted, count = np.array(numbers) % ROWS, len(numbers)
        order = np.array(data.draw(st.lists(st.integers(-count, count - 1), max_size=9)), np.int64)
        found = chosen(ds, numbers)
        assert found.fields["other"].categories == ds.fields["other"].categories
        assert same(found[0]["other"], ds[wanted[0]]["other"])
        for each in (found, pickle.loads(pickle.dumps(found))):
            assert same(each[order]["other"], ds[wanted[order]]["other"])
        batch = npdata.collate(found.__getitems__(order))
        assert same(batch["other"], npdata.collate(ds.__getitems__(wanted[order]))["other"])

    check()


@pytest.mark.parametrize("options", [{}, {"resident": "auto"}, {"shuffle": "block"}])
@pytest.mark.parametrize("numbers", [NUMBERS, np.sort(NUMBERS)], ids=["any order", "ascending"])
def test_a_loader_gives_them(form: str, numbers: Any, options: dict, others: Data) -> None:
    ds, seen = FORMS[form](others), []
    for batch in npdata.Loader(chosen(ds, numbers), 16, **{"shuffle": True, **options}):
        assert same(batch["other"], ds[numbers[batch["row"]]]["other"])
        seen += batch["row"].tolist()
    assert sorted(seen) == list(range(len(numbers)))


def test_workers_and_a_cache_give_them(form: str, others: Data) -> None:
    ds = FORMS[form](others)
    data = NumpyDataset(**chosen(ds, NUMBERS).fields, cache="ram", transform=ds.transforms.sample)
    options: Any = {"num_workers": 1, "multiprocessing_context": "forkserver"}
    for k, batch in enumerate(DataLoader(data, 45, collate_fn=npdata.collate, **options)):
        assert same(batch["other"], ds[NUMBERS[45 * k : 45 * (k + 1)]]["other"])


def test_they_may_go_on_with_others_and_have_windows_beside_them(form: str, others: Data) -> None:
    ds = FORMS[form](others)
    if not ds.transforms.any and ds.fields["other"].joins is not None:
        whole = NumpyDataset(other=ds.fields["other"])
        both = NumpyDataset(other=Subset(whole, NUMBERS)) + whole
        assert same(both[[3, 95]]["other"], ds[[NUMBERS[3], 5]]["other"])
    windows = chosen(ds, NUMBERS).windows({"row": range(4)})
    for k in (7, -1):
        number = NUMBERS[windows[k]["row"][0]]
        assert same(windows[k]["other"], ds[number]["other"])


def test_batches_by_size_go_by_the_lengths_of_those_chosen(others: Data) -> None:
    for form in ("ragged, padded", "hdf5 of variable length", "files of different lengths"):
        data = chosen(FORMS[form](others), NUMBERS)
        assert data.lengths is not None
        assert data.lengths.tolist() == LENGTHS[NUMBERS].tolist()
        seen = []
        for batch in npdata.Loader(data, sampler=npdata.BlockBatchSampler(data, max_rows=12)):
            values = batch["other"].values
            assert values.shape[0] * values.shape[1] <= 12
            seen += batch["row"].tolist()
        assert sorted(seen) == list(range(len(NUMBERS)))


def test_sparse_rows_say_what_was_chosen_and_how_large_they_are(others: Data) -> None:
    ds = FORMS["sparse in a file, csr"](others)
    data = chosen(ds, NUMBERS)
    assert f"90 out of {ROWS}, chosen by number" in str(data.describe())
    found, stored = (each.fields["other"].source for each in (data, ds))
    assert found.stored_bytes == stored.stored_bytes
