"""A field that is not windowed has the anchor's row in each window, as the dataset gives it."""

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import spans
import torch
from few import few
from forms import FORMS, LENGTHS, PARTS, same
from hypothesis import given
from hypothesis import strategies as st
from kinds import ROWS, Data
from torch.utils.data import DataLoader, default_collate

import npdata
from npdata import NumpyDataset
from npdata.errors import FieldError
from npdata.loading.finish_on_device import sent_as_stored

borders = st.lists(st.integers(0, ROWS), max_size=4).map(lambda b: [0, *sorted(b), ROWS])
offsets = st.one_of(
    st.integers(1, 9).map(range),
    st.lists(st.integers(-4, 6), min_size=1, max_size=4).map(tuple),
)


def test_each_field_keeps_its_anchor_row(form: str, others: Data) -> None:
    ds = FORMS[form](others)

    @few(form)
    @given(borders, offsets, st.integers(1, 5), st.sampled_from(["drop", "repeat", "zero"]))
    def check(edges: list[int], at: Any, stride: int, edge: str) -> None:
        anchors = list(spans.anchors(edges, [*at, 0], stride, edge))
        windows = ds.windows({"x": at}, stride=stride, borders=edges, edge=edge)
        assert len(windows) == len(anchors)
        assert windows.fields["other"].categories == ds.fields["other"].categories
        for k in {0, len(anchors) // 2, len(anchors) - 1}:
            assert same(windows[k]["other"], ds[anchors[k]]["other"])
        order = np.random.default_rng(len(anchors)).integers(-len(anchors), len(anchors), 9)
        picked = np.array(anchors)[order]
        assert same(windows[order]["other"], ds[picked]["other"])
        batch = npdata.collate(windows.__getitems__(order))
        assert same(batch["other"], npdata.collate(ds.__getitems__(picked))["other"])
        assert same(windows[1:8:3]["other"], ds[anchors[1:8:3]]["other"])
        assert same(windows[[]]["other"], ds[[]]["other"])

    check()


def windows_of(ds: NumpyDataset) -> tuple[NumpyDataset, np.ndarray]:
    """Windows of x, for which not every row is an anchor, and the anchors."""
    edges = [0, 30, 30, *PARTS[1:]]
    windows = ds.windows({"x": (-1, 2)}, stride=2, borders=edges)
    return windows, np.array(list(spans.anchors(edges, (-1, 0, 2), 2, "drop")))


def test_a_loader_gives_the_anchor_rows(form: str, others: Data) -> None:
    ds = FORMS[form](others)
    windows, anchors = windows_of(ds)
    for each in (windows, pickle.loads(pickle.dumps(windows))):
        order, sampler = (npdata.BlockBatchSampler(each, 5, seed=1) for _ in range(2))
        for rows, batch in zip(order, npdata.Loader(each, sampler=sampler), strict=True):
            assert same(batch["other"], ds[anchors[np.array(rows)]]["other"])
    shared = len(pickle.dumps(windows)) - len(pickle.dumps(ds))
    assert shared < 2048


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_give_the_anchor_rows(method: str, others: Data) -> None:
    made = {name: FORMS[name](others) for name in FORMS}
    forms = {name: ds.fields["other"] for name, ds in made.items() if not ds.transforms.any}
    ds = NumpyDataset({"x": others.x, **forms})
    windows, anchors = windows_of(ds)
    loader = DataLoader(
        windows,
        batch_size=16,
        collate_fn=npdata.collate,
        num_workers=1 if method == "spawn" else 2,
        multiprocessing_context=method,
    )
    for k, batch in enumerate(loader):
        expected = ds[anchors[16 * k : 16 * (k + 1)]]
        for name in forms:
            assert same(batch[name], expected[name]), name


def test_samples_of_different_lengths_are_collated_by_torch(others: Data) -> None:
    for form in ("padded", "jagged"):
        windows, anchors = windows_of(FORMS[f"ragged, {form}"](others))
        batch = default_collate(windows.__getitems__([3, 0]))
        assert same(batch["other"], FORMS[f"ragged, {form}"](others)[anchors[[3, 0]]]["other"])


def test_batches_by_size_go_by_the_anchor_rows(others: Data) -> None:
    for form in ("ragged, padded", "hdf5 of variable length", "files of different lengths"):
        windows, anchors = windows_of(FORMS[form](others))
        assert windows.lengths is not None
        assert windows.lengths.tolist() == LENGTHS[anchors].tolist()
        seen = []
        for rank in range(2):
            sampler = npdata.BlockBatchSampler(
                windows, max_rows=12, seed=2, rank=rank, world_size=2, uneven="ragged"
            )
            for rows in sampler:
                given = windows[rows]["other"].values
                assert given.shape[0] * given.shape[1] <= 12
                seen += list(rows)
        assert sorted(seen) == list(range(len(windows)))


def test_windows_of_windows_keep_the_anchor_of_the_anchor(form: str, others: Data) -> None:
    ds = FORMS[form](others)
    windows, anchors = windows_of(ds)
    twice = windows.windows({"x": 2}, stride=3)
    starts = np.unique(np.searchsorted(anchors, [0, 30, *PARTS[1:]]))
    kept = anchors[list(spans.anchors(starts.tolist(), (0, 1), 3, "drop"))]
    assert same(twice[:]["other"], ds[kept]["other"])
    assert twice[:]["x"].shape == (len(kept), 2, 2, 3, 5)


def test_recordings_are_kept_whole_and_datasets_joined(form: str, others: Data) -> None:
    ds = FORMS[form](others)
    windows, anchors = windows_of(ds)
    train, test = windows.split(0.5, seed=1, by="recording")
    owners = [set(np.searchsorted([30, 40, 41], anchors[part], "right")) for part in (train, test)]
    assert not owners[0] & owners[1]
    assert sorted([*train, *test]) == list(range(len(windows)))
    if windows.fields["other"].joins is not None:
        rows = [len(windows) + 3, 1]
        assert same((windows + windows)[rows]["other"], ds[anchors[[3, 1]]]["other"])


def test_advice_and_blocks_follow_the_anchors(others: Data) -> None:
    for form in (
        "hdf5 of variable length",
        "sparse in a file, csr",
        "ragged of compressed values",
    ):
        ds = FORMS[form](others)
        windows, anchors = windows_of(ds)
        source, rows = windows.fields["other"].source, ds.fields["other"].source
        edges, inside = source.blocks.edges(), rows.blocks.edges()
        assert edges[-1] == len(windows)
        for first, stop in itertools.pairwise(edges):
            assert len(set(np.searchsorted(inside, anchors[first:stop], "right"))) == 1
        assert source.spanned(2, 5) == (anchors[2], anchors[4] + 1)
        assert source.spanned(2, 2) == (0, 0)


def test_sparse_anchors_are_sent_sparse(others: Data) -> None:
    ds = FORMS["sparse in a file, dense"](others)
    windows, anchors = windows_of(ds)
    sent, finish = sent_as_stored(windows, torch.device("cpu"))
    assert finish.decoders.keys() == {"other"}
    batch = npdata.collate(sent.__getitems__([4, 9]))
    assert batch["other"].layout == torch.sparse_csr
    assert same(finish(batch)["other"], ds[anchors[[4, 9]]]["other"])
    for batch in npdata.Loader(windows, 8, device="cpu"):
        assert batch["other"].layout == torch.strided


def test_resident_anchors_are_the_same(others: Data) -> None:
    for form in (
        "ragged of compressed values",
        "sparse in a file, csr",
        "sparse in a file, dense",
    ):
        ds = FORMS[form](others)
        windows, anchors = windows_of(ds)
        batches = list(npdata.Loader(windows, 7, resident=True))
        for k, batch in enumerate(batches):
            assert same(batch["other"], ds[anchors[7 * k : 7 * k + 7]]["other"])


def test_describe_shows_anchors_and_what_is_dense(others: Data) -> None:
    ds = FORMS["sparse in a file, csr"](others)
    windows, anchors = windows_of(ds)
    told = f"anchors {len(anchors)} of these {ROWS} rows, the anchor of each window"
    assert told in str(windows.describe())
    dense = ds.windows({"other": 3})
    assert "layout  dense: windows have no sparse form" in str(dense.describe())
    assert dense[[0]]["other"].shape == (1, 3, 7)


@pytest.mark.parametrize("form", ["ragged, padded", "files of different shapes", "text"])
def test_a_named_field_without_windows_is_refused(form: str, others: Data) -> None:
    ds = FORMS[form](others)
    told = r"field 'other' .*not named keep their anchor row: windows\(\{'x': range\(0, 3\)\}\)"
    for asked in (3, {"x": 3, "other": (0,)}):
        with pytest.raises(FieldError, match=told):
            ds.windows(asked)


def test_samples_of_different_lengths_give_no_borders(others: Data) -> None:
    with pytest.raises(FieldError, match="borders='other' is a field of samples of different"):
        FORMS["ragged, list"](others).windows({"x": 3}, borders="other")
