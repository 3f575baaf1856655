"""Parts and folds of row numbers: disjoint, whole, together by group, in proportion by class."""

import contextlib
import itertools
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Subset

import npdata
from npdata import Loader, NumpyDataset
from npdata.errors import ArgumentError, FieldError, SamplerError

N = 1000
LABELS = np.random.default_rng(0).choice(3, N, p=[0.7, 0.2, 0.1])
GROUPS = np.random.default_rng(1).integers(0, 50, N)


@pytest.fixture
def ds() -> NumpyDataset:
    return NumpyDataset(x=np.arange(N), label=LABELS, group=GROUPS)


def whole(parts: list[np.ndarray]) -> None:
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(N))
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


class Pairs(NumpyDataset):
    """Samples of a table of rows, of which there are more than rows."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index % 10), super().__getitem__(-1)


class TestASubclassOfAnotherLength:
    def test_its_samples_are_split(self) -> None:
        pairs = Pairs(x=np.arange(10), kind=np.arange(10))
        whole(pairs.split(0.8))
        whole([test for _, test in pairs.split(folds=4)])
        whole(pairs.split(0.8, groups=GROUPS))
        one, other = (np.bincount(LABELS[part]) for part in pairs.split(0.5, stratify=LABELS))
        assert np.abs(one - other).max() <= 1

    def test_rows_of_its_fields_are_not(self) -> None:
        pairs = Pairs(x=np.arange(10), kind=np.arange(10))
        for option in ("groups", "stratify"):
            with pytest.raises(FieldError, match=r"shape \(10,\): .* for each of 1000 rows"):
                pairs.split(0.8, **{option: "kind"})
        halves = Pairs(x=np.zeros((2, 5)), axis=(0, 1))
        with pytest.raises(FieldError, match="divides the 10 rows of the fields, and Pairs has 10"):
            halves.split(0.5, by="recording")
        with pytest.raises(
            FieldError, match=r"of the 10 rows .* Pairs has 1000 samples of its own"
        ):
            pairs.statistics([3, 5])
        rows = NumpyDataset(**pairs.fields).statistics([3, 5])
        assert pairs.statistics()["x"].mean == 4.5
        assert rows["x"].mean == 4


class TestShares:
    @pytest.mark.parametrize("shares", [[0.8, 0.1, 0.1], (0.333, 0.667), [1.0], [0, 0.5, 0.5]])
    def test_parts_have_their_shares(self, ds: NumpyDataset, shares: list[float]) -> None:
        parts = ds.split(shares, seed=3)
        whole(parts)
        assert [len(part) for part in parts] == [round(share * N) for share in shares]
        assert all(map(np.array_equal, parts, ds.split(shares, seed=3)))

    def test_two_shares_are_a_fraction(self, ds: NumpyDataset) -> None:
        assert all(map(np.array_equal, ds.split([0.8, 0.2], seed=1), ds.split(0.8, seed=1)))

    @pytest.mark.parametrize("by", ["label", "array"])
    def test_classes_keep_their_proportion(self, ds: NumpyDataset, by: str) -> None:
        parts = ds.split([0.8, 0.1, 0.1], stratify="label" if by == "label" else LABELS)
        whole(parts)
        for part in parts:
            counts = np.bincount(LABELS[part], minlength=3) / len(part)
            assert np.allclose(counts, np.bincount(LABELS) / N, atol=0.02)

    @pytest.mark.parametrize("fraction", [0.7, [0.6, 0.2, 0.2]])
    def test_groups_stay_together(self, ds: NumpyDataset, fraction: object) -> None:
        parts = ds.split(fraction, groups="group")
        whole(parts)
        seen = [set(GROUPS[part]) for part in parts]
        assert sum(map(len, seen)) == len(set(GROUPS))

    @pytest.mark.parametrize("how", [{"fraction": 0.5}, {"folds": 2}], ids=["fraction", "folds"])
    @pytest.mark.parametrize("more", [{}, {"groups": "group"}, {"stratify": "label"}], ids=str)
    def test_the_seed_alone_makes_the_split(self, ds: NumpyDataset, how: dict, more: dict) -> None:
        first, again, other = (
            np.concatenate([np.concatenate(each) for each in pairs] if "folds" in how else pairs)
            for pairs in (ds.split(**how, **more, seed=seed) for seed in (1, 1, 2))
        )
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    @pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0, 1.0)])
    @pytest.mark.parametrize("option", ["groups", "stratify"])
    def test_a_share_of_nothing_is_an_empty_part(
        self, ds: NumpyDataset, shares: tuple[float, ...], option: str
    ) -> None:
        parts = ds.split(*shares, **{option: "label"})
        assert [len(part) for part in parts] == [N * share for share in shares]

    @pytest.mark.parametrize("sizes", [(38, 1, 1), (34, 3, 3), (28, 6, 6)])
    def test_shares_of_groups_are_those_of_their_number(self, sizes: tuple[int, ...]) -> None:
        groups = np.repeat(np.arange(40), 3)
        parts = NumpyDataset(groups).split([size / 40 for size in sizes], groups=groups)
        assert tuple(len(set(groups[part])) for part in parts) == sizes

    @pytest.mark.parametrize(
        ("count", "shares", "sizes"),
        [(4, (0.7, 0.3), (3, 1)), (2, (0.9, 0.1), (1, 1)), (3, (0.9, 0.05, 0.05), (1, 1, 1))],
    )
    def test_each_part_has_a_group(
        self, count: int, shares: tuple[float, ...], sizes: tuple[int, ...]
    ) -> None:
        groups = np.arange(count)
        assert tuple(map(len, NumpyDataset(groups).split(shares, groups=groups))) == sizes

    @pytest.mark.parametrize("option", [None, "groups", "stratify"])
    @pytest.mark.parametrize(
        ("shares", "sizes"),
        [
            ((0.999, 0.001), (39, 1)),
            ((0.001, 0.999), (1, 39)),
            ((0.98, 0.01, 0.01), (38, 1, 1)),
            ((0.999, 0.001, 0), (39, 1, 0)),
        ],
    )
    def test_a_small_share_is_one_row(
        self, option: str | None, shares: tuple[float, ...], sizes: tuple[int, ...]
    ) -> None:
        values = {"groups": np.arange(40), "stratify": np.zeros(40)}
        few, more = NumpyDataset(np.arange(40)), {option: values[option]} if option else {}
        parts = few.split(shares, **more)
        assert tuple(map(len, parts)) == sizes
        if len(shares) == 2:
            assert all(map(np.array_equal, parts, few.split(shares[0], **more)))

    def test_a_small_share_is_one_file(self, tmp_path: Path) -> None:
        for k in range(3):
            np.save(tmp_path / f"{k}.npy", np.zeros(2))
        assert [len(part) for part in npdata.stack(tmp_path).split(0.999, by="file")] == [2, 1]
        assert [len(part) for part in npdata.concatenate(tmp_path).split(0.999, by="file")] == [
            4,
            2,
        ]

    @pytest.mark.parametrize("shares", [(0.8,), (0.5, 0.25, 0.25)])
    def test_fewer_rows_than_parts_are_refused(self, shares: tuple[float, ...]) -> None:
        with pytest.raises(SamplerError, match=r"^[23] parts of 1 row: each part has one at least"):
            NumpyDataset(np.arange(1)).split(*shares)
        assert NumpyDataset(np.arange(0)).split(0.8)[1].tolist() == []

    def test_classes_have_the_number_of_rows_that_a_split_has(self, ds: NumpyDataset) -> None:
        for share in (0.29, 0.57, 0.0035):
            assert len(ds.split(share, stratify="label")[0]) == len(ds.split(share)[0])

    def test_recordings_without_a_window_are_no_part(self) -> None:
        edges = [10, 11, 12, 13, 14, 15, 16, 26, 36]
        windows = NumpyDataset(np.arange(46)).windows(4, borders=edges)
        assert np.count_nonzero(np.diff(windows.borders)) == 4 < len(windows.borders) - 1
        parts = windows.split([0.5, 0.25, 0.25], by="recording")
        assert [len(part) for part in parts] == [14, 7, 7]

    def test_recordings_stay_together_in_many_parts(self) -> None:
        windows = NumpyDataset(np.arange(90)).windows(1, borders=list(range(10, 90, 10)))
        parts = windows.split([0.5, 0.25, 0.25], by="recording")
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(90))
        assert sum(len(set(part // 10)) for part in parts) == 9

    def test_a_recording_of_one_window_is_in_one_part(self) -> None:
        windows = NumpyDataset(np.arange(16)).windows(4, borders=[4, 8, 12])
        parts = windows.split([0.5, 0.25, 0.25], by="recording")
        assert [len(part) for part in parts] == [2, 1, 1]
        assert sorted(test.tolist() for _, test in windows.split(folds=4, by="recording")) == [
            [0],
            [1],
            [2],
            [3],
        ]

    def test_a_fraction_by_recording_is_that_of_the_rows_not_of_the_recordings(self) -> None:
        windows = NumpyDataset(np.arange(100)).windows(1, borders=[60, 80])
        sizes = {len(windows.split(0.6, seed=seed, by="recording")[0]) for seed in range(8)}
        assert 60 in sizes  # two of three recordings have 40 rows, or 80

    def test_a_dataset_of_the_fields_of_windows_keeps_them_apart(self) -> None:
        windows = NumpyDataset(x=np.arange(90)).windows(4, borders=[30, 50])
        labelled = NumpyDataset(**windows.fields, label=np.zeros(len(windows)))
        for ds in (labelled, labelled + labelled, pickle.loads(pickle.dumps(labelled))):
            with pytest.raises(FieldError, match="windows of 4 rows, every 1 rows, share rows"):
                NumpyDataset(**ds.fields).split(0.5)
        assert np.array_equal(labelled.borders, windows.borders)
        parts = [ds.split(0.5, by="recording") for ds in (labelled, windows)]
        assert all(map(np.array_equal, *parts))

    def test_no_row_of_any_field_is_on_both_sides_of_a_split_by_recording(self) -> None:
        apart = 0
        for seed in range(60):
            rng = np.random.default_rng(seed)
            fields = {"a": _windows_of(rng, 12, 0), "b": _windows_of(rng, 12, 1000)}
            ds = NumpyDataset(**fields, label=np.zeros(12))
            others = {"a": _windows_of(rng, 12, 2000), "b": _windows_of(rng, 12, 3000)}
            more = ds + NumpyDataset(**others, label=np.ones(12))
            for each in (ds, ds.windows(2), more, pickle.loads(pickle.dumps(more))):
                if np.count_nonzero(np.diff(each.borders)) == 1:
                    continue
                parts = each.split(0.5, seed=seed, by="recording")
                apart += 1
                for name in fields:
                    first, second = (set(each[part][name].flatten().tolist()) for part in parts)
                    assert not first & second
        assert apart > 120

    def test_the_gap_between_parts_is_that_of_the_field_whose_windows_share_most(self) -> None:
        short, long = (NumpyDataset(np.arange(7 + n)).windows(n).fields[0] for n in (2, 5))
        for fields in ({"a": short, "b": long}, {"a": long, "b": short}):
            with pytest.raises(
                FieldError, match=r"of 5 rows, .* range\(cut \+ 4, len\(windows\)\)"
            ):
                NumpyDataset(**fields).split(0.5)

    def test_windows_of_thirty_levels_are_looked_at_once_for_each(self) -> None:
        ds = NumpyDataset(np.arange(100))
        for _ in range(30):
            ds = ds.windows(1, borders=[40])
        assert ds.borders.tolist() == [0, 40, 100]
        parts = ds.split(0.6, by="recording", seed=1)
        assert sorted(map(len, parts)) == [40, 60]
        assert sorted(map(len, ds.split(0.5))) == [50, 50]

    def test_fields_of_other_parts_are_split_where_parts_of_all_begin(self) -> None:
        def in_parts(*rows: int) -> NumpyDataset:
            return npdata.concatenate([np.arange(count) for count in rows])

        ds = NumpyDataset(x=in_parts(4, 6), y=in_parts(4, 1, 5), z=np.arange(10))
        assert ds.borders.tolist() == [0, 4, 5, 10]
        for seed in range(8):
            parts = ds.split(0.5, seed=seed, by="recording")
            assert sorted(part.tolist() for part in parts) == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]
        with pytest.raises(FieldError, match="there is one recording"):
            NumpyDataset(x=in_parts(4, 6), y=in_parts(5, 5)).split(0.5, by="recording")

    def test_a_recording_without_windows_counts_for_no_window(self) -> None:
        windows = NumpyDataset(np.arange(6)).windows(2, borders=[1, 4])  # 0, 2 and 1 of them
        for seed in range(8):
            parts = windows.split(0.5, seed=seed, by="recording")
            assert sorted(part.tolist() for part in parts) == [[0, 1], [2]]

    def test_a_file_without_windows_counts_for_no_window(self, tmp_path: Path) -> None:
        for k, rows in enumerate([1, 3, 2]):
            np.save(tmp_path / f"{k}.npy", np.arange(rows))
        windows = npdata.concatenate(tmp_path).windows(2)
        for seed in range(8):
            parts = windows.split(0.5, seed=seed, by="file")
            assert sorted(part.tolist() for part in parts) == [[0, 1], [2]]


def test_borders_are_the_first_sample_of_each_recording_and_then_the_number_of_all(
    tmp_path: Path,
) -> None:
    _three_files_of_groups(tmp_path)
    ds = NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", "*/x")
    assert ds.borders.tolist() == list(range(0, 61, 5))
    windows = ds.windows(4)
    assert windows.borders.tolist() == list(range(0, 25, 2))
    windows.borders[:] = 0
    assert len(windows) == windows.borders[-1] == 24
    assert NumpyDataset(np.arange(6)).windows(3, borders=[2]).borders.tolist() == [0, 0, 2]
    assert NumpyDataset(np.arange(6)).borders is None


def test_an_empty_group_is_a_recording_also_beside_other_files(tmp_path: Path) -> None:
    for name, lengths in {"a": [3, 0, 2], "b": [0, 0], "c": [2, 0]}.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for k, rows in enumerate(lengths):
                file[f"{k}/x"] = np.arange(rows)
    files = NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", "*/x")
    each = sum(NumpyDataset(f"{tmp_path}/{name}.h5::*/x") for name in "abc")
    for ds in (files, each, npdata.concatenate(f"{tmp_path}/*.h5::*/x")):
        assert np.diff(ds.borders).tolist() == [3, 0, 2, 0, 0, 2, 0]
        assert np.diff(ds.windows(2).borders).tolist() == [2, 0, 1, 0, 0, 1, 0]
        assert sorted(map(len, ds.split(0.6, by="recording"))) in ([2, 5], [3, 4])


def _windows_of(rng: np.random.Generator, count: int, first: int) -> Any:
    """Give a field of so many windows of 3 rows, in recordings of 3 to 6 of them."""
    cuts = np.cumsum(rng.integers(1, 3, count) * 3)
    counts = np.diff([0, *cuts[cuts < count], count])
    edges = np.cumsum(counts + 2)
    rows = np.arange(first, first + edges[-1])
    return NumpyDataset(rows).windows(3, borders=edges.tolist()).fields[0]


def _three_files_of_groups(folder: Path) -> np.ndarray:
    for k in range(3):
        with h5py.File(folder / f"{k}.h5", "w") as file:
            for group in range(4):
                file[f"demo_{group}/x"] = np.full((5, 2), k)
    return np.repeat(np.arange(3), 20)


class TestFiles:
    """by="file": rows of one file are in one part, however many groups or windows it has."""

    @pytest.mark.parametrize("share", [0.5, [0.4, 0.3, 0.3]])
    @pytest.mark.parametrize(
        "form", ["rows", "windows", "more borders", "groups as samples", "sum", "sum of windows"]
    )
    def test_files_of_several_groups_stay_whole(
        self, tmp_path: Path, form: str, share: object
    ) -> None:
        owner = _three_files_of_groups(tmp_path)
        names = [f"{tmp_path}/{k}.h5" for k in range(3)]
        parts = [NumpyDataset.from_hdf5(name, "*/x") for name in names]
        ds = NumpyDataset.from_hdf5(names, "*/x")
        if form == "windows":
            ds = ds.windows(range(2), edge="repeat")
        elif form == "more borders":
            ds = NumpyDataset(ds.fields[0], np.arange(60) // 2).windows({0: 1}, borders=1)
        elif form == "groups as samples":
            ds, owner = npdata.stack(f"{tmp_path}/*.h5::*/x"), np.repeat(np.arange(3), 4)
        elif form == "sum":
            ds = sum(parts)
        elif form == "sum of windows":
            ds = sum(part.windows(range(2), edge="zero") for part in parts)
        split = ds.split(share, by="file")
        assert np.array_equal(np.sort(np.concatenate(split)), np.arange(len(owner)))
        assert sum(len(set(owner[part])) for part in split) == 3

    @pytest.mark.parametrize("sparse", [False, True])
    def test_files_of_the_values_of_samples_of_different_lengths_stay_whole(
        self, tmp_path: Path, sparse: bool
    ) -> None:
        apart = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            cuts = np.sort(rng.integers(0, 31, 3))
            files = np.repeat(np.arange(4), np.diff([0, *cuts, 30]))
            names = [f"{tmp_path}/{seed}-{k}.npy" for k in range(4)]
            for k, name in enumerate(names):
                np.save(name, files[files == k])
            ends = np.unique([*cuts[: rng.integers(1, 4)], *rng.integers(0, 30, 4), 30])
            offsets = np.append(0, ends[ends > 0])
            count, values = len(offsets) - 1, npdata.concatenate(names)
            field: Any = npdata.ragged(values, offsets=offsets)
            if sparse:
                field = npdata.csr(values, np.arange(30), offsets, (count, 30))
            ds = NumpyDataset(x=field, label=np.arange(count))
            read = [set(files[first:stop]) for first, stop in itertools.pairwise(offsets)]
            for each in (ds, pickle.loads(pickle.dumps(ds))):
                for by in ("file", "recording"):
                    with contextlib.suppress(FieldError):  # of one file
                        parts = each.split(0.5, seed=seed, by=by)
                        one, other = (set().union(*(read[k] for k in part)) for part in parts)
                        assert not one & other
                        apart += 1
        assert apart > 80

    def test_samples_that_have_rows_of_all_files_are_one_file(self, tmp_path: Path) -> None:
        for name, rows in {"a": 4, "b": 4}.items():
            np.save(tmp_path / f"{name}.npy", np.arange(rows))
        values = npdata.concatenate(tmp_path)
        crossing = npdata.ragged(values, lengths=[3, 2, 3])
        with pytest.raises(FieldError, match="there is one file"):
            NumpyDataset(crossing).split(0.5, by="file")

    def test_a_field_in_one_file_counts_for_nothing_and_coarser_files_count(
        self, tmp_path: Path
    ) -> None:
        owner = _three_files_of_groups(tmp_path)
        x = npdata.concatenate(f"{tmp_path}/*.h5::*/x").fields[0]
        train, test = NumpyDataset(x, owner).split(0.5, by="file")
        assert not set(owner[train]) & set(owner[test])
        for k in range(6):
            np.save(tmp_path / f"{k}.npy", np.zeros(10))
        fine = npdata.concatenate(f"{tmp_path}/*.npy").fields[0]
        train, test = NumpyDataset(fine, x).split(0.5, by="file")
        assert not set(owner[train]) & set(owner[test])

    def test_files_of_one_sample_each_are_split_as_rows(self, tmp_path: Path) -> None:
        for k in range(3):
            np.save(tmp_path / f"{k}.npy", np.zeros(2))
        ds = npdata.stack(tmp_path)
        assert all(map(np.array_equal, ds.split(0.5, by="file"), ds.split(0.5)))

    def test_files_in_a_part_of_a_sum_stay_whole_and_each_part_in_memory_does(
        self, tmp_path: Path
    ) -> None:
        for k, length in enumerate((3, 4, 2)):
            np.save(tmp_path / f"{k}.npy", np.full(length, k))
        files = npdata.concatenate(tmp_path).windows(1)
        memory, more = (NumpyDataset(np.full(5, k)).windows(1) for k in (3, 4))
        ds = memory + files + more
        held = [set(ds[rows].flatten().tolist()) for rows in ds.split([0.2] * 5, by="file")]
        assert sorted(map(list, held)) == [[0], [1], [2], [3], [4]]
        with pytest.raises(FieldError, match="there is one file"):
            (memory + more).split(0.5, by="file")

    def test_a_file_of_spans_is_one_by_any_of_its_names(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        np.save("x.npy", np.arange(5))
        names = "x.npy", tmp_path / "x.npy"
        parts = [NumpyDataset(npdata.ragged(name, lengths=[2, 3])) for name in names]
        other = NumpyDataset(npdata.ragged([7, 8], lengths=[1, 1]))
        with pytest.raises(FieldError, match="there is one file"):
            sum(parts).split(0.5, by="file")
        with pytest.raises(FieldError, match=f"'{tmp_path}/x.npy' do not follow"):
            sum([parts[0], other, parts[1]]).split(0.5, by="file")

    def test_a_file_in_two_parts_of_a_sum_is_refused_whatever_the_parts_are(
        self, tmp_path: Path
    ) -> None:
        for k in range(4):
            np.save(tmp_path / f"{k}.npy", np.full((3, 1), k))
        rows, stacked = npdata.concatenate(tmp_path), npdata.stack(tmp_path)
        one = NumpyDataset(tmp_path / "1.npy")

        def chosen(ds: NumpyDataset, numbers: list[int]) -> NumpyDataset:
            return NumpyDataset(Subset(ds, numbers))

        ragged = NumpyDataset(npdata.ragged(rows, lengths=[3] * 4))
        for first, second in (
            (rows, rows),
            (rows, one),
            (stacked, stacked),
            (ragged, ragged),
            (rows.windows(1), rows.windows(1)),
            (rows.windows(1), one.windows(1)),
            (chosen(rows, [0, 4]), chosen(rows, [1, 11])),
            (chosen(stacked, [0, 1, 2]), chosen(stacked, [1, 3])),
            (chosen(rows, [0, 4, 1]), one),
        ):
            with pytest.raises(FieldError, match=r"rows of file .*/[01]\.npy' do not follow one"):
                (first + second).split(0.5, by="file")
        apart = chosen(rows, [0, 4, 1]) + chosen(rows, [6, 6, 9])
        held = [set(apart[part].flatten().tolist()) for part in apart.split(0.5, by="file")]
        assert held == [{0, 1}, {2, 3}]

    @pytest.mark.parametrize("by", ["file", "recording"])
    def test_rows_of_files_that_are_looked_up_are_kept_together_as_the_error_says(
        self, tmp_path: Path, by: Any
    ) -> None:
        for k in range(4):
            np.save(tmp_path / f"{k}.npy", np.full(3, k))
        rows, numbers = npdata.concatenate(tmp_path), np.array([11, 0, 4, 1, 9, 3, 7])
        ds = NumpyDataset(Subset(rows, numbers))
        with pytest.raises(FieldError, match=r"field 0 are chosen by number, .*side='right'\)$"):
            ds.split(0.5, by=by)
        train, test = ds.split(0.5, groups=np.searchsorted(rows.borders, numbers, side="right"))
        assert not set(ds[train].tolist()) & set(ds[test].tolist())
        with pytest.raises(FieldError, match=r"there is one (file|recording)"):
            NumpyDataset(Subset(rows, [1, 1, 2])).split(0.5, by=by)

    def test_windows_across_files_and_files_out_of_order_are_refused(self, tmp_path: Path) -> None:
        _three_files_of_groups(tmp_path)
        ds = NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", "*/x")
        with pytest.raises(FieldError, match="cross from one file to the next"):
            ds.windows(2, borders=[]).split(0.5, by="file")
        with pytest.raises(FieldError, match=r"one file.*by='recording'"):
            NumpyDataset.from_hdf5(f"{tmp_path}/0.h5", "*/x").split(0.5, by="file")
        with pytest.raises(FieldError, match=r"one file.*leave by= out"):
            npdata.stack(f"{tmp_path}/0.h5::*/x").split(0.5, by="file")
        names = [f"{tmp_path}/{name}" for name in ("0.h5::demo_0/x", "1.h5::demo_0/x")]
        with pytest.raises(FieldError, match=r"0\.h5' do not follow one another.*groups="):
            npdata.concatenate([*names, f"{tmp_path}/0.h5::demo_1/x"]).split(0.5, by="file")


class TestFolds:
    @pytest.mark.parametrize("more", [{}, {"stratify": "label"}, {"groups": GROUPS}])
    def test_each_row_is_tested_once(self, ds: NumpyDataset, more: dict) -> None:
        pairs = ds.split(folds=5, **more)
        whole([test for _, test in pairs])
        for train, test in pairs:
            whole([train, test])
            if "groups" in more:
                assert not set(GROUPS[train]) & set(GROUPS[test])

    def test_groups_and_classes_at_once(self, ds: NumpyDataset) -> None:
        for train, test in ds.split(folds=4, groups="group", stratify="label"):
            assert not set(GROUPS[train]) & set(GROUPS[test])

    def test_recordings_and_classes_at_once(self) -> None:
        windows = NumpyDataset(np.arange(80)).windows(4, borders=range(10, 80, 10))
        recording = np.repeat(np.arange(8), 7)
        pairs = windows.split(folds=4, by="recording", stratify=recording % 2)
        for train, test in pairs:
            assert not set(recording[train]) & set(recording[test])
            assert sorted(set(recording[test] % 2)) == [0, 1]

    def test_a_loader_takes_a_fold(self, ds: NumpyDataset) -> None:
        train, _ = ds.split(folds=5)[0]
        rows = np.concatenate([b["x"].numpy() for b in Loader(ds, 32, shuffle=True, indices=train)])
        assert np.array_equal(np.sort(rows), train)


def test_shares_and_sizes_are_written_in_a_list_or_by_themselves(ds: NumpyDataset) -> None:
    expected = ds.split([0.7, 0.2, 0.1], seed=4)
    for parts in (
        ds.split(0.7, 0.2, 0.1, seed=4),
        ds.split(700, 200, 100, seed=4),
        ds.split((700, 200, 100), seed=4),
        ds.split(np.array([700, 200, 100]), seed=4),
        ds.split([torch.tensor(700), np.array(200), np.uint8(100)], seed=4),
    ):
        for part, other in zip(parts, expected, strict=True):
            np.testing.assert_array_equal(part, other)
    with pytest.raises(SamplerError, match=r"sum to 1.8: .* the seed is seed="):
        ds.split(0.8, 1)


def test_a_number_of_rows_may_be_0(ds: NumpyDataset) -> None:
    assert [len(part) for part in ds.split(600, 0, 400)] == [600, 0, 400]


@pytest.mark.parametrize("option", [None, "groups", "stratify"])
def test_no_rows_are_split_into_parts_without_rows(option: str | None) -> None:
    more = {} if option is None else {option: np.zeros(0, int)}
    parts = NumpyDataset(np.zeros(0)).split(0.5, **more)
    assert [part.tolist() for part in parts] == [[], []]


def test_a_field_of_text_keeps_rows_of_equal_text_together() -> None:
    names = np.array(["b", "a", "b", "c"] * 5)
    first, second = NumpyDataset(name=names, dtype=str).split(0.5, groups="name")
    assert not set(names[first]) & set(names[second])


def test_a_field_is_named_by_its_position_in_a_tuple() -> None:
    ds = NumpyDataset(np.arange(len(GROUPS)), GROUPS)
    for part, other in zip(ds.split(0.5, groups=1), ds.split(0.5, groups=GROUPS), strict=True):
        np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({}, SamplerError, "give fraction="),
        ({"fraction": 0.5, "folds": 3}, SamplerError, "not both"),
        ({"fraction": [0.5, 0.4]}, SamplerError, "sum to 0.9"),
        ({"fraction": 1.5, "stratify": LABELS}, SamplerError, "^fraction=1.5: expected the share"),
        ({"fraction": [1.5, -0.5]}, SamplerError, "from 0 to 1"),
        ({"fraction": 2.0}, SamplerError, r"fraction=2.0.*split\(0.8, 0.1, 0.1\)"),
        ({"fraction": "80%"}, SamplerError, "expected a number from 0 to 1"),
        ({"fraction": (700, 200)}, SamplerError, "numbers of rows that sum to 1,000"),
        ({"fraction": (700, 299.5, 0.5)}, SamplerError, "numbers of rows that sum to 1,000"),
        ({"fraction": (1200, -200)}, SamplerError, "shares from 0 to 1"),
        ({"fraction": (28, 6, 6)}, SamplerError, r"as \[0.7, 0.15, 0.15\]"),
        ({"test_size": 0.2}, ArgumentError, r"no argument test_size=; .* 1 - that of the second"),
        ({"fraction": 0.5, "random_state": 0}, ArgumentError, r"write seed=0"),
        ({"fraction": 0.5, "shuffle": False}, ArgumentError, r"are parts in order"),
        ({"fraction": 0.5, "colour": 1}, ArgumentError, "it has fraction, seed, by"),
        ({"fraction": 0.5, "stratify": "nothing"}, FieldError, "names no field"),
        ({"fraction": 0.5, "groups": [1, 2]}, FieldError, "one value for each of 1000 rows"),
        (
            {"fraction": [0.5, 0.5], "groups": GROUPS, "stratify": LABELS},
            SamplerError,
            "give folds=",
        ),
        (
            {"fraction": 0.5, "groups": np.zeros(N)},
            SamplerError,
            "2 parts of 1 group: each part has one at least",
        ),
        (
            {"fraction": 0.9, "stratify": np.arange(N) // 2},
            SamplerError,
            "scikit-learn cannot split these rows: .*the number of classes = 500",
        ),
        ({"folds": 3, "groups": np.zeros(N)}, SamplerError, "scikit-learn's GroupKFold cannot"),
        ({"folds": 1}, SamplerError, "scikit-learn's KFold cannot split"),
        ({"fraction": 0.5, "by": "recording", "groups": GROUPS}, SamplerError, "leave out"),
        ({"fraction": 0.5, "by": "recording", "stratify": LABELS}, SamplerError, "folds keep both"),
        ({"folds": 3, "by": "recording", "groups": GROUPS}, SamplerError, "leave out"),
    ],
)
def test_what_cannot_be_is_refused(ds: NumpyDataset, options: dict, error: type, message: str):
    with pytest.raises(error, match=message):
        ds.split(**options)


@pytest.mark.parametrize("by", ["episode", "files", True, 0])
def test_what_stays_together_is_named_recording_or_file(by: object) -> None:
    windows = NumpyDataset(np.arange(40)).windows(2, borders=[10, 20])
    with pytest.raises(FieldError, match=f"by={by!r}: expected 'recording', .* or 'file'"):
        windows.split(0.5, by=by)


PAIRS = np.arange(60) // 6
DAYS = np.datetime64("2020-01-01") + PAIRS.astype("m8[D]")
OF_ANY_KIND = {
    "text": PAIRS.astype(str),
    "bytes": PAIRS.astype("S"),
    "StringDType": PAIRS.astype(np.dtypes.StringDType()),
    "complex": PAIRS * 1j,
    "float16": PAIRS.astype(np.float16),
    "big-endian": PAIRS.astype(">i4"),
    "dates": DAYS,
    "records": PAIRS.astype([("a", "i4")]),
    "large": [2**70 + k for k in PAIRS.tolist()],
    "mixed": np.array([f"{k}" if k % 2 else k for k in PAIRS.tolist()], object),
}


@pytest.mark.parametrize("values", OF_ANY_KIND.values(), ids=OF_ANY_KIND)
def test_groups_and_classes_are_values_of_any_kind(values: object) -> None:
    few = NumpyDataset(np.arange(60))
    train, test = few.split(0.8, groups=values)
    assert len(train) == 48
    assert not set(PAIRS[train]) & set(PAIRS[test])
    assert np.bincount(PAIRS[few.split(0.5, stratify=values)[0]]).tolist() == [3] * 10
    for train, test in few.split(folds=5, groups=values):
        assert not set(PAIRS[train]) & set(PAIRS[test])
    for _, test in few.split(folds=3, stratify=values):
        assert np.bincount(PAIRS[test]).tolist() == [2] * 10


class Variable:
    """What gives a masked array, as a variable of netCDF4 does."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.ma.array(PAIRS, mask=PAIRS == 3)


WITHOUT_ONE = {
    "nan": np.where(PAIRS == 3, np.nan, PAIRS),
    "nat": np.where(PAIRS == 3, np.datetime64("NaT", "D"), DAYS),
    "None": [None if k == 3 else k for k in PAIRS.tolist()],
    "objects": np.array([float("nan") if k == 3 else str(k) for k in PAIRS.tolist()], object),
    "StringDType": np.array(
        [None if k == 3 else str(k) for k in PAIRS.tolist()], np.dtypes.StringDType(na_object=None)
    ),
    "masked": np.ma.array(PAIRS, mask=PAIRS == 3),
    "variable": Variable(),
    "pandas": pd.array([None if k == 3 else k for k in PAIRS.tolist()], dtype="Int64"),
    "time": "time",
}


@pytest.mark.parametrize("values", WITHOUT_ONE.values(), ids=WITHOUT_ONE)
@pytest.mark.parametrize("option", ["groups", "stratify"])
@pytest.mark.parametrize("more", [{"fraction": 0.5}, {"folds": 2}], ids=["two", "folds"])
def test_rows_without_a_value_are_named(values: object, option: str, more: dict) -> None:
    few = NumpyDataset(time=WITHOUT_ONE["nat"], dtype=torch.int64)
    with pytest.raises(FieldError, match=rf"{option} has no value for 6 of 60 rows, as row 18: "):
        few.split(**more, **{option: values})


def test_values_under_a_mask_are_filled() -> None:
    with pytest.raises(FieldError, match=r"as groups=x\.filled\(-1\)$"):
        NumpyDataset(PAIRS).split(0.5, groups=WITHOUT_ONE["masked"])


def test_a_value_of_one_row_is_in_no_two_parts(ds: NumpyDataset) -> None:
    with pytest.raises(SamplerError, match=r"^stratify= has 1 of 2 values .* of row 5, "):
        ds.split(0.5, stratify=np.arange(N) == 5)


def test_values_that_cannot_be_compared_are_refused() -> None:
    lists = np.array([[1], [1, 2]], object)
    with pytest.raises(FieldError, match="groups has values that cannot be compared: unhashable"):
        NumpyDataset(np.arange(2)).split(0.5, groups=lists)


@pytest.mark.parametrize("more", [{}, {"groups": GROUPS}, {"stratify": LABELS}, {"folds": 2}])
@pytest.mark.parametrize("seed", [None, 1.0, True, -1, "1"])
def test_a_split_without_a_seed_would_be_another_each_time(
    ds: NumpyDataset, more: dict, seed: object
) -> None:
    with pytest.raises(SamplerError, match=rf"seed={seed!r}: expected a whole number of at least"):
        ds.split(**({} if "folds" in more else {"fraction": 0.5}), **more, seed=seed)


def test_a_seed_is_any_integer_of_64_bits(ds: NumpyDataset) -> None:
    assert all(map(np.array_equal, ds.split(0.5, seed=np.int32(3)), ds.split(0.5, seed=3)))
    with pytest.raises(SamplerError, match=rf"seed={2**64}: expected less than 2\*\*64"):
        ds.split(0.5, seed=2**64)


@pytest.mark.parametrize("option", ["groups", "stratify"])
def test_only_one_number_or_text_for_each_row_divides_rows(option: str) -> None:
    records = np.zeros(2, [("a", "i4")])
    ds = NumpyDataset(
        rows=np.zeros((2, 3)),
        spans=npdata.ragged(np.arange(3), lengths=[1, 2]),
        sparse=npdata.csr([1.0], [0], [0, 0, 1], (2, 3)),
        records=records,
        bits=np.arange(2),
        layout={"sparse": "csr"},
        dtype={"bits": torch.bfloat16},
    )
    for name in ds.names:
        with pytest.raises(FieldError, match=f"{option}='{name}' .* one number or text for each"):
            ds.split(0.5, **{option: name})
    with pytest.raises(FieldError, match=f"{option} makes no array of values"):
        ds.split(0.5, **{option: [[1], [1, 2]]})
    windows = NumpyDataset(x=np.arange(9)).windows(2, stride=2)
    with pytest.raises(FieldError, match="does not name keeps the row of offset 0"):
        windows.split(0.5, **{option: "x"})


@pytest.mark.parametrize("option", ["groups", "stratify"])
@pytest.mark.parametrize("shape", [(-1, 1), (-1, 1, 1, 1)])
def test_labels_in_a_column_divide_rows_as_flat_ones_do(option: str, shape: tuple) -> None:
    labels = np.arange(40) // 5
    column = labels.reshape(shape)
    flat = NumpyDataset(y=labels).split(0.5, **{option: "y"})
    ds = NumpyDataset(y=column)
    for values in ("y", column, column.astype(str), np.ma.array(column)):
        parts = ds.split(0.5, **{option: values})
        assert all(map(np.array_equal, parts, flat))
    with pytest.raises(FieldError, match=f"{option} has no value for 40 of 40 rows"):
        ds.split(0.5, **{option: np.ma.masked_all_like(column)})


def test_draws_balanced_by_class(ds: NumpyDataset) -> None:
    weights = (1 / np.bincount(LABELS))[LABELS]
    ranks = [Loader(ds, 50, shuffle=True, weights=weights, rank=r, world_size=2) for r in (0, 1)]
    drawn = np.concatenate([b["label"].numpy() for rank in ranks for b in rank])
    assert len(drawn) == N
    assert np.bincount(drawn).min() > 270
