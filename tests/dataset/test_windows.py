"""Windows of any source are NumPy's slices, one recording at a time."""

import itertools
import pickle
import sys
import warnings
from typing import Any

import h5py
import numpy as np
import pytest
import spans
import torch
from few import few
from hypothesis import example, given
from hypothesis import strategies as st
from kinds import KINDS, ROWS, Data
from numpy.lib.stride_tricks import sliding_window_view
from torch.utils.data import ConcatDataset, DataLoader

import npdata
from npdata import NumpyDataset, open_source
from npdata.errors import ArgumentError, FieldError
from npdata.sources.concatenated.concat import ConcatSource


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


borders = st.lists(st.integers(0, ROWS), max_size=5).map(lambda b: [0, *sorted(b), ROWS])
few_rows = st.integers(-6, 9)
offsets = st.one_of(
    st.builds(lambda first, length: range(first, first + length), few_rows, st.integers(1, 12)),
    st.lists(few_rows, min_size=1, max_size=5).map(tuple),
)


def test_windows_are_slices_of_each_recording(kind: str, data: Data) -> None:
    ds = NumpyDataset(KINDS[kind](data))

    @few(kind)
    @given(borders, offsets, st.integers(1, 5), st.sampled_from(["drop", "repeat", "zero"]))
    def check(edges: list[int], named: Any, stride: int, edge: str) -> None:
        expected = [
            spans.values(data.x, window, edge)
            for window in spans.windows(edges, named, stride, edge, [*named, *named])
        ]
        if not expected:
            with pytest.raises(FieldError, match="no window fits"):
                ds.windows(named, stride=stride, borders=edges, edge=edge)
            return
        windows = ds.windows(named, stride=stride, borders=edges, edge=edge)
        assert len(windows) == len(expected)
        order = np.random.default_rng(len(expected)).integers(0, len(expected), 9)
        batch = npdata.collate(windows.__getitems__(order))
        assert batch.numpy().tobytes() == np.stack([expected[k] for k in order]).tobytes()
        assert windows[[]].shape == (0, *batch.shape[1:])
        for k in order[:3]:
            assert (windows[k].numpy() == expected[k]).all()
        assert (windows[2:9].numpy() == np.array(expected)[2:9].reshape(-1, *batch.shape[1:])).all()

    check()


def test_uniform_windows_are_those_of_sliding_window_view(kind: str, data: Data) -> None:
    windows = NumpyDataset(KINDS[kind](data)).windows(7, stride=3, borders=[])
    view = np.moveaxis(sliding_window_view(data.x, 7, axis=0), -1, 1)[::3]
    assert len(windows) == len(view)
    assert (windows[:].numpy() == view).all()
    assert (windows[[-1, 0, 5, 5]].numpy() == view[[-1, 0, 5, 5]]).all()


def test_each_field_has_its_own_offsets(data: Data) -> None:
    ds = NumpyDataset(observation=data.x, action=f"{data.folder}/d.h5::packed", label=data.y)
    edges = [0, 10, 10, 57, ROWS]
    windows = ds.windows(
        {"observation": (-1, 0), "action": range(16)}, borders=edges, edge="repeat", mask=True
    )
    assert list(windows[0]) == [
        "observation",
        "action",
        "label",
        "observation_is_pad",
        "action_is_pad",
    ]
    before = spans.windows(edges, (-1, 0), 1, "repeat")
    after = spans.windows(edges, range(16), 1, "repeat")
    assert len(windows) == len(after) == ROWS
    batch = windows[:]
    assert (batch["observation"].numpy() == data.x[[w.rows for w in before]]).all()
    assert (batch["action"].numpy() == data.x[[w.rows for w in after]]).all()
    assert (batch["label"].numpy() == data.y).all()
    assert batch["observation_is_pad"].tolist() == [w.padded for w in before]
    assert batch["action_is_pad"].tolist() == [w.padded for w in after]


def test_a_field_without_offsets_keeps_its_anchor_row(data: Data) -> None:
    ds = NumpyDataset(data.x, data.y)
    windows = ds.windows({0: (-3, -2)}, stride=2, borders=[50])
    anchors = list(spans.anchors([0, 50, ROWS], (-3, -2, 0), 2, "drop"))
    x, y = windows[:]
    assert (y.numpy() == data.y[anchors]).all()
    assert (x.numpy() == np.stack([data.x[a - 3 : a - 1] for a in anchors])).all()


def test_offsets_are_numbers_of_any_kind() -> None:
    ds = NumpyDataset(np.arange(6))
    for named in ([-1, 1], np.array([-1, 1]), np.array([-1, 1], np.int8), torch.tensor([-1, 1])):
        assert ds.windows(named)[:].tolist() == [[0, 2], [1, 3], [2, 4], [3, 5]]
    for named in ([1, 0, -1], range(1, -2, -1)):
        assert ds.windows(named)[2].tolist() == [4, 3, 2]


def test_masks_of_tuples_come_after_all_fields(data: Data) -> None:
    sample = NumpyDataset(data.x, data.y).windows({1: 4}, edge="zero", mask=True)[ROWS - 1]
    assert [part.shape for part in sample] == [(3, 5), (4,), (4,)]
    assert sample[2].tolist() == [False, True, True, True]
    assert sample[1].tolist() == [int(data.y[-1]), 0, 0, 0]


def test_a_field_gives_the_borders_where_it_changes(data: Data, monkeypatch: Any) -> None:
    monkeypatch.setattr("npdata.dataset.recordings.PIECE_BYTES", 80)
    episode = np.repeat([5, 5, 2, 7], [20, 20, 30, 27])
    ds = NumpyDataset(x=data.x, episode=episode)
    edges = [0, 40, 70, ROWS]
    windows = ds.windows(6, borders="episode")
    expected = spans.windows(edges, range(6), 1, "drop")
    assert (windows[:]["x"].numpy() == data.x[[w.rows for w in expected]]).all()
    assert (windows[:]["episode"] == windows[:]["episode"][:, :1]).all()
    assert "where field 'episode' changes" in str(windows.describe())
    pairs = NumpyDataset(x=data.x, episode=np.stack([episode % 5, episode % 2], axis=1))
    assert len(pairs.windows(6, borders="episode")) == len(windows)


@example([0, 2], 1)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=9),
    st.one_of(st.integers(1, 3), st.sampled_from([sys.maxsize, 1 << 80])),
)
def test_lengths_make_borders_in_each_form(lengths: list[int], stride: int) -> None:
    rows = sum(lengths)
    ends = np.cumsum(lengths)
    x = np.arange(rows) * 10
    pieces = np.split(x, ends[:-1])
    expected = [p[k : k + 2].tolist() for p in pieces for k in range(0, len(p) - 1, stride)]
    for borders in (ends, ends[:-1], np.append(0, ends), np.append(0, ends[:-1])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", npdata.errors.BordersWarning)
            if not expected:
                with pytest.raises(FieldError, match="no window fits"):
                    NumpyDataset(x).windows(2, stride=stride, borders=borders)
                continue
            windows = NumpyDataset(x).windows(2, stride=stride, borders=borders)
        assert windows[:].tolist() == expected
        told = str(windows.describe())
        alone = set(ends) <= {0, rows} and "one recording of" in told
        assert alone or f"rows: {len(borders)} " in told


def test_a_field_of_flags_is_doubted_as_borders() -> None:
    last = np.isin(np.arange(12), [3, 4, 8, 11])
    x = np.arange(12)
    cure = r"last rows borders=np\.flatnonzero\(flags\) \+ 1"
    with pytest.warns(npdata.errors.BordersWarning, match=rf"'done' looks like flags .*{cure}"):
        NumpyDataset(x=x, done=last).windows(2, borders="done")
    with pytest.raises(FieldError, match=cure):
        NumpyDataset(x=x, done=last).windows(2, borders=last)
    for flags in (np.isin(x, [3, 8, 11]), np.isin(x, [3, 8]), np.isin(x, [0, 4, 9])):
        for dtype in (np.uint8, np.int64, np.float32):
            ds = NumpyDataset(x=x, done=flags.astype(dtype))
            with pytest.warns(npdata.errors.BordersWarning, match=cure) as warned:
                ds.windows(2, borders="done")
            assert warned[0].filename == __file__
    windows = NumpyDataset(x).windows(2, borders=np.flatnonzero(last) + 1)
    assert windows[:].tolist() == [[k, k + 1] for k in (0, 1, 2, 5, 6, 7, 9, 10)]


@pytest.mark.parametrize(
    "run",
    [
        [0, 0, 1, 1],
        [0, 1, 1, 0, 0, 1, 1],
        [0, 0, 0, 1],
        [1, 1, 2],
        [0, 1, 2, 3],
        [0, 1, 1, 0],
        [0, 1],
        [5, 5, 0, 5],
        [2, 2, 2],
    ],
)
def test_numbers_of_recordings_are_no_flags(run: list[int]) -> None:
    NumpyDataset(x=np.arange(len(run)), run=np.array(run)).windows(1, borders="run")


def test_a_field_without_rows_gives_no_borders() -> None:
    empty = NumpyDataset(x=np.zeros((0, 2)), run=np.zeros(0, np.int64))
    assert len(empty.windows(3, borders="run", edge="repeat")) == 0


def test_a_state_that_lasts_is_no_flag() -> None:
    ds = NumpyDataset(x=np.arange(6), night=np.array([False, False, False, True, True, True]))
    assert ds.windows(2, borders="night")[:]["x"].tolist() == [[0, 1], [1, 2], [3, 4], [4, 5]]
    for last in ([2], [2, 3, 6]):  # of recordings of 3, 1 and 3 rows
        done = np.isin(np.arange(last[-1] + 1), last)
        with pytest.warns(npdata.errors.BordersWarning, match="'done' looks like flags"):
            NumpyDataset(x=np.arange(len(done)), done=done).windows(2, borders="done")


def test_borders_that_may_be_lengths_are_named_where_they_are_given() -> None:
    ds = NumpyDataset(np.arange(8))
    told = r"taken as 3 rows where a recording begins, .*=np.cumsum\(lengths\); .*\[\.\.\., 8\]"
    with pytest.warns(npdata.errors.BordersWarning, match=told) as warned:
        windows = ds.windows(2, borders=[1, 1, 6])
    assert warned[0].filename == __file__
    assert windows[:][:, 0].tolist() == [1, 2, 3, 4, 6]
    assert ds.windows(2, borders=[1, 1, 6, 8])[:].tolist() == windows[:].tolist()
    with pytest.warns(npdata.errors.BordersWarning, match="a number for each of the 8 rows"):
        ds.windows(1, borders=[0, 0, 0, 1, 1, 2, 2, 2])
    told = r"taken as 2 rows where a recording begins; if they are lengths \(8 rows together\)"
    with pytest.warns(npdata.errors.BordersWarning, match=told):
        assert len(ds.windows(2, borders=[3, 5])) == 5
    assert len(ds.windows(2, borders=[3, 5, 8])) == len(ds.windows(2, borders=[0, 3, 5])) == 5


def test_borders_that_may_be_last_rows_are_doubted_and_cured_as_said() -> None:
    done = np.isin(np.arange(9), [2, 5, 8])
    ds, last_rows = NumpyDataset(np.arange(9)), np.flatnonzero(done)
    cure = r"if they are last rows, .* with 8 the last of all, give borders=last_rows \+ 1; if not"
    with pytest.warns(npdata.errors.BordersWarning, match=cure):
        assert len(ds.windows(2, borders=last_rows)) == 1 + 2 + 2
    assert ds.windows(3, borders=last_rows + 1)[:].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    for of_first_rows in ([2, 5, 8, 9], [0, 2, 5, 8], [2, 5, 7]):
        assert len(ds.windows(2, borders=of_first_rows)) in (5, 6)


@pytest.mark.parametrize("shift", [0, 1], ids=["of last rows", "of first rows"])
def test_flags_of_a_recording_of_one_row_are_doubted_too(shift: int) -> None:
    done = np.roll(np.isin(np.arange(40), [9, 21, 22, 39]), shift).astype(np.int64)
    ds = NumpyDataset(x=np.arange(40), done=done)
    with pytest.warns(npdata.errors.BordersWarning, match="'done' looks like flags"):
        ds.windows(3, borders="done")
    assert len(ds.windows(3, borders=np.flatnonzero(done) + 1 - shift)) == 8 + 10 + 15


def test_files_end_to_end_are_recordings(data: Data) -> None:
    windows = NumpyDataset.from_hdf5(f"{data.folder}/part-*.h5", "x").windows(5)
    expected = spans.windows([0, 40, 41, ROWS], range(5), 1, "drop")
    assert (windows[:].numpy() == data.x[[w.rows for w in expected]]).all()
    assert len(NumpyDataset.from_hdf5(f"{data.folder}/part-*.h5", "x").windows(5, borders=[])) == 93
    assert "the 3 parts of the fields" in str(windows.describe())


def test_windows_cross_neither_files_nor_what_else_gives_borders(data: Data) -> None:
    x = NumpyDataset.from_hdf5(f"{data.folder}/part-*.h5", "x").sources[0]
    y = ConcatSource([open_source(data.y[:30]), open_source(data.y[30:])])
    step = np.arange(ROWS) // 20
    for fields, edges in (
        ({"x": x, "step": step}, [0, 20, 40, 41, 60, 80, ROWS]),
        ({"x": x, "step": step, "y": y}, [0, 20, 30, 40, 41, 60, 80, ROWS]),
        ({"x": x, "y": y}, [0, 30, 40, 41, ROWS]),
    ):
        windows = NumpyDataset(**fields).windows(5, borders="step" if "step" in fields else None)
        expected = spans.windows(edges, range(5), 1, "drop")
        assert (windows[:]["x"].numpy() == data.x[[w.rows for w in expected]]).all()


def test_row_numbers_stand_in_place_of_files_unless_both_are_given(data: Data) -> None:
    ds = NumpyDataset.from_hdf5(f"{data.folder}/part-*.h5", "x")
    alone = ds.windows(5, borders=[30])
    assert len(alone) == 30 - 4 + ROWS - 30 - 4
    told = "2 recordings of 30 to 67 rows: 1 row where a recording begins, in place of the 3 parts"
    assert told in str(alone.describe())
    with pytest.raises(FieldError, match=r"borders=np\.union1d\(borders, dataset\.borders\)"):
        alone.split(0.5, by="file")
    both = ds.windows(5, borders=np.union1d([30], ds.borders))
    expected = spans.windows([0, 30, 40, 41, ROWS], range(5), 1, "drop")
    assert (both[:].numpy() == data.x[[w.rows for w in expected]]).all()
    assert "in place" not in str(both.describe())
    assert sum(map(len, both.split(0.5, by="file"))) == len(both)


def test_a_window_in_place_shares_the_memory() -> None:
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    for windows in (NumpyDataset(x).windows(4), NumpyDataset(x).windows(4, borders=[9])):
        windows[3][1, 0] = -1
        assert x[4, 0] == -1
        x[4, 0] = 8
        assert windows.describe().fields[0].conversion == "view"


def test_windows_that_share_a_chunk_decode_it_once(data: Data) -> None:
    windows = NumpyDataset(f"{data.folder}/d.h5::packed").windows((-1, 0, 5), edge="zero")
    assert len(windows[:]) == ROWS
    assert windows.fields[0].source.decoded_chunks == -(-ROWS // 10)


def test_windows_of_read_only_rows_are_copies() -> None:
    x = np.arange(20)
    x.flags.writeable = False
    windows = NumpyDataset(x).windows(4)
    windows[0][0] = 9
    assert x[0] == 0
    assert windows.describe().fields[0].conversion == "copy"


def test_dtype_names_and_functions_are_kept() -> None:
    def halves(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return batch[:, :-1], batch[:, 1:]

    tokens = np.arange(100, dtype=np.uint16)
    ds = NumpyDataset(tokens, dtype=torch.int64, batch_transform=halves).windows(9)
    x, y = npdata.collate(ds.__getitems__([0, 50]))
    assert x.dtype == torch.int64
    assert x.tolist() == [list(range(8)), list(range(50, 58))]
    assert (y == x + 1).all()


def test_a_billion_windows_start_at_once(tmp_path: Any) -> None:
    (tmp_path / "t.bin").touch()
    with (tmp_path / "t.bin").open("r+b") as stream:
        stream.truncate(2 * 10**9)
    windows = NumpyDataset.from_raw(tmp_path / "t.bin", dtype="u2").windows(1025)
    assert len(windows) == 10**9 - 1024
    assert windows[[0, -1]].shape == (2, 1025)
    assert len(pickle.dumps(windows)) < 4096
    sampler = npdata.BlockBatchSampler(windows, 64, seed=0)
    assert windows[next(iter(sampler))].shape == (64, 1025)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_every_window_comes_once_on_all_ranks(data: Data, world: int) -> None:
    ds = NumpyDataset(f"{data.folder}/d.h5::packed", np.arange(ROWS))
    windows = ds.windows({0: 4}, borders=[0, 30, 31, ROWS])
    anchors = list(spans.anchors([0, 30, 31, ROWS], range(4), 1, "drop"))
    seen: list[int] = []
    for rank in range(world):
        sampler = npdata.BlockBatchSampler(
            windows, 5, seed=1, rank=rank, world_size=world, uneven="ragged"
        )
        for x, row in npdata.Loader(windows, sampler=sampler):
            assert (x.numpy() == np.stack([data.x[r : r + 4] for r in row.tolist()])).all()
            seen += row.tolist()
    assert sorted(seen) == anchors


def test_a_resumed_epoch_gives_the_windows_that_are_left(data: Data) -> None:
    windows = NumpyDataset(np.arange(ROWS)).windows(3, borders=[40])
    loader = npdata.Loader(windows, 8, shuffle="block", seed=4)
    whole = torch.cat(list(npdata.Loader(windows, 8, shuffle="block", seed=4)))
    batches = iter(loader)
    first = [next(batches) for _ in range(4)]
    again = npdata.Loader(windows, 8, shuffle="block", seed=4)
    again.load_state_dict(loader.state_dict())
    assert torch.equal(torch.cat([*first, *again]), whole)


def test_blocks_follow_the_file(data: Data) -> None:
    around = range(-1, 3)
    windows = NumpyDataset(f"{data.folder}/d.h5::packed").windows(around, borders=[25, 60])
    edges = windows.blocks.edges()
    firsts = np.array(list(spans.anchors([0, 25, 60, ROWS], around, 1, "drop"))) - 1
    assert edges[-1] == len(windows) == len(firsts)
    for first, stop in itertools.pairwise(edges):
        assert len(set(firsts[first:stop] // 10)) == 1


def test_windows_farther_apart_than_a_block_has_rows_are_blocks_of_one(data: Data) -> None:
    windows = NumpyDataset(f"{data.folder}/d.h5::packed").windows(2, stride=25)
    assert windows.blocks.edges().tolist() == [0, 1, 2, 3, 4]


def test_windows_are_as_far_apart_as_blocks_have_rows_or_nearer(data: Data) -> None:
    ds = NumpyDataset(f"{data.folder}/d.h5::packed")
    assert ds.windows(2, stride=4).blocks.edges().tolist() == [*range(0, 24, 2), 24]


def test_a_block_in_which_no_window_begins_is_none(data: Data) -> None:
    windows = NumpyDataset(f"{data.folder}/d.h5::packed").windows(30, borders=[50])
    assert windows.blocks.edges().tolist() == [0, 10, 20, 21, 31, 39]
    assert sorted(np.concatenate([*npdata.BlockBatchSampler(windows, 4)])) == [*range(39)]


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_give_the_same_windows(data: Data, method: str) -> None:
    ds = NumpyDataset(x=f"{data.folder}/d.h5::packed", y=data.folder / "y.npy")
    windows = ds.windows({"x": 4, "y": (-1, 0)}, borders=[30], edge="zero", mask=True)
    loader = DataLoader(
        windows,
        batch_size=16,
        collate_fn=npdata.collate,
        num_workers=2,
        multiprocessing_context=method,
    )
    batches = list(loader)
    assert sum(len(batch["x"]) for batch in batches) == len(windows)
    for name, whole in windows[:].items():
        assert torch.equal(torch.cat([batch[name] for batch in batches]), whole)


def test_no_recording_is_on_both_sides_of_a_split(data: Data) -> None:
    edges = [0, 10, 10, 30, 44, 60, 90, ROWS]
    windows = NumpyDataset(np.arange(ROWS)).windows(5, borders=edges)
    for fraction in (0.0, 0.3, 0.8, 1.0):
        parts = windows.split(fraction, seed=3, by="recording")
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(windows)))
        firsts = [windows[part][:, 0].numpy() for part in parts]
        owners = [set(np.searchsorted(edges, rows, "right").tolist()) for rows in firsts]
        assert not owners[0] & owners[1]
        assert bool(owners[0]) == (fraction > 0)
        assert bool(owners[1]) == (fraction < 1)
    with pytest.raises(FieldError, match="needs recordings"):
        NumpyDataset(data.x).split(0.5, by="recording")


@pytest.mark.parametrize("how", [{"fraction": 0.8}, {"fraction": [0.5, 0.5]}, {"folds": 3}])
def test_windows_that_share_rows_are_not_split_at_random(how: dict[str, Any]) -> None:
    ds = NumpyDataset(np.arange(ROWS))
    two_each = ds.windows(4, stride=3, borders=range(7, ROWS, 7))
    repeat = ds.windows((-3, 0), edge="repeat", borders=[50])
    for windows in (ds.windows(4, stride=3), two_each, repeat):
        with pytest.raises(FieldError, match=r"share rows.*by='recording'.*stride=4\) share none"):
            windows.split(**how)
    with pytest.raises(FieldError, match=r"range\(cut \+ 1, len"):
        ds.windows(4, stride=3).split(**how)
    for windows in (ds.windows(4, stride=4), ds.windows(4, borders=[*range(4, ROWS, 4), ROWS])):
        # A part is rows, or with folds a pair of them, of different lengths.
        parts = [np.hstack(part) for part in windows.split(**how)]
        assert set(np.concatenate(parts).tolist()) == set(range(len(windows)))
    groups = np.arange(len(ds.windows(4))) // 8
    assert sum(map(len, ds.windows(4).split(0.5, groups=groups))) == len(groups)


def test_windows_of_windows_and_sums_of_windows_share_rows_too() -> None:
    ds = NumpyDataset(np.arange(ROWS))
    apart = ds.windows(4, stride=4)
    for windows in (ds.windows(4).windows(1), ds.windows(4) + ds.windows(4), apart.windows(2)):
        with pytest.raises(FieldError, match="share rows"):
            windows.split(0.5)
    for windows in (apart + ds.windows(4, stride=4, borders=[50]), apart.windows(2, stride=2)):
        assert sum(map(len, windows.split(0.5))) == len(windows)
    parts = (ds.windows(4) + ds.windows(4)).split(0.5, by="recording")
    assert [part.tolist() for part in parts] == [[*range(94)], [*range(94, 188)]]
    parts = apart.windows(1, borders=[12]).split(0.5, by="recording")
    assert [part.tolist() for part in parts] == [[*range(12)], [*range(12, 24)]]


def test_windows_of_windows_that_share_rows_at_a_border_say_what_splits_them() -> None:
    inner = NumpyDataset(np.arange(11)).windows(3)
    windows = inner.windows(1, stride=3, borders=[2, 6, 9])  # of rows 0-2, 2-4, 5-7 and 6-8
    with pytest.raises(FieldError, match=r"begins inside a recording .* by='recording'\) keeps"):
        windows.split(0.5)
    whole = inner.windows(1, stride=3, borders=[3, 6, 9])
    assert sum(map(len, whole.split(0.5))) == len(whole)


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.integers(0, 20)),
    st.integers(0, 3),
    st.booleans(),
    st.lists(st.integers(1, 4), min_size=1, max_size=2),
)
@example(2, 1, [3, 7], 0, False, [1])
@example(3, 1, [2, 4, 6, 9], 0, False, [3])
def test_no_row_is_in_two_recordings_of_windows_of_windows(
    length: int, stride: int, borders: list[int], seed: int, of_a_sum: bool, outer: list[int]
) -> None:
    """Borders that lie between two windows which share rows divide nothing."""

    def outside(windows: NumpyDataset) -> NumpyDataset:
        for step in outer:
            edges = sorted(min(border, len(windows)) for border in borders)
            windows = windows.windows(1, stride=step, borders=[0, *edges, len(windows)])
        return windows

    first, second = (
        NumpyDataset(rows).windows(length, stride=stride, borders=[8])
        for rows in (np.arange(20), np.arange(20, 40))
    )
    windows = outside(first + second) if of_a_sum else outside(first) + outside(second)
    rows = windows[:].numpy().reshape(len(windows), -1)
    for by in ("recording", None):
        try:
            one, other = windows.split(0.5, by=by, seed=seed)
        except FieldError:
            continue
        assert not np.isin(rows[one], rows[other]).any()
        assert sorted([*one, *other]) == list(range(len(windows)))


def test_windows_of_rows_and_of_windows_of_one_row_are_one_dataset_in_either_order() -> None:
    rows = NumpyDataset(np.arange(6)[:, None]).windows(3)
    single = NumpyDataset(np.arange(10, 16)).windows(1).windows(3)
    for first, second in ((rows, single), (single, rows)):
        both = first + second
        assert isinstance(both, NumpyDataset)
        assert both[:].tolist() == first[:].tolist() + second[:].tolist()
        assert both.borders.tolist() == [0, 4, 8]


def test_windows_of_other_rows_are_joined_by_torch() -> None:
    ds = NumpyDataset(np.arange(ROWS))
    for other in (ds.windows((-1, 0)), ds.windows(2, stride=2), NumpyDataset(np.ones((3, 2), int))):
        assert isinstance(ds.windows(2) + other, ConcatDataset)


def test_one_recording_is_not_split_by_recording() -> None:
    windows = NumpyDataset(np.arange(ROWS)).windows(5)
    for by in ("recording", "file"):
        with pytest.raises(FieldError, match=f"there is one {by}.*range\\(cut, len"):
            windows.split(0.5, by=by)


def test_describe_shows_windows_borders_and_what_is_left_out(data: Data) -> None:
    ds = NumpyDataset(x=data.x)
    text = str(ds.windows(10, stride=10, borders=[5, 31]).describe())
    assert "8, every 10 rows; whole windows only" in text
    assert "3 recordings of 5 to 66 rows: 2 rows where a recording begins" in text
    assert "5 rows in recordings shorter than 10 (1 of them) and 12 rows between windows" in text
    one, other = ds.windows(10, stride=7, borders=[5, 31]), ds.windows(10, stride=7, borders=[50])
    joined = (ds + ds).windows(10, stride=7, borders=[5, 31, ROWS, ROWS + 50])
    notes, expected = dict((one + other).describe().notes), dict(joined.describe().notes)
    assert notes["left out"] == expected["left out"]
    assert notes["borders"].startswith("5 recordings of 5 to 66 rows")


def test_a_row_that_any_field_keeps_is_not_left_out() -> None:
    next_rows: Any = {"x": (1,)}
    ds = NumpyDataset(x=np.arange(9))
    alone = dict(ds.windows(next_rows, stride=2).describe().notes)
    assert alone["left out"].startswith("5 rows between windows")
    both = NumpyDataset(x=np.arange(9), y=np.arange(9)).windows(next_rows, stride=2)
    assert dict(both.describe().notes)["left out"].startswith("1 row")


def test_describe_says_one_length_of_recordings_that_have_the_same() -> None:
    text = str(NumpyDataset(np.arange(20)).windows(4, borders=[10]).describe())
    assert "14, every row; whole windows only" in text
    assert "2 recordings of 10 rows: 1 row where a recording begins" in text


def test_describe_says_of_windows_that_share_rows_who_splits_them(data: Data) -> None:
    ds = NumpyDataset(x=data.x)
    assert "split() puts none into two parts" in str(ds.windows(10, stride=9).describe())
    assert "split()" not in str(ds.windows(10, stride=10).describe())


def test_describe_says_whether_a_mask_marks_what_stands_in(data: Data) -> None:
    one = NumpyDataset(x=data.x).windows(3, edge="zero", mask=True)
    for ds in (one, one + one):
        zeros = ds.windows(2, edge="zero")  # x_is_pad is windowed, too
        for marked in (ds, zeros, zeros + zeros):
            assert "marked by fields _is_pad" in str(marked.describe())
        anchored = ds.windows({"x": 2}, edge="zero")
        for unmarked in (anchored, ds.windows(2, edge="repeat"), anchored + anchored):
            assert "nothing marks them (mask=True)" in str(unmarked.describe())
    unmarked = NumpyDataset(x=data.x).windows(3, edge="zero")
    assert "nothing marks them (mask=True)" in str(unmarked.describe())


def test_describe_shows_the_windows_of_each_field_that_has_its_own() -> None:
    ds = NumpyDataset(x=np.arange(12))
    whole = ds.windows(3, stride=3, borders=[6])
    padded = ds.windows(3, stride=3, edge="zero", mask=True)
    plain = ds.windows(3, stride=3, edge="zero")
    both = NumpyDataset(a=whole.fields["x"], b=padded.fields["x"], c=plain.fields["x"])
    for each in (both, both + both, pickle.loads(pickle.dumps(both))):
        told = [text for name, text in each.describe().notes if name in ("fields", "windows")]
        first, second = told[1::2]
        assert told[::2] == ["a", "b, c"]
        assert "whole windows only" in first
        assert "nothing marks them" in second
    marked = NumpyDataset(a=whole.fields["x"], **padded.fields).describe().notes
    assert [text for name, text in marked if name == "fields"] == ["a", "x, x_is_pad"]
    assert "marked by fields _is_pad" in str(marked)
    assert "fields" not in dict(padded.describe().notes)


def test_statistics_say_where_zeros_around_recordings_count() -> None:
    ds = NumpyDataset(x=np.arange(12.0))
    zeros = ds.windows(3, edge="zero")
    for each in (zeros, zeros + zeros, zeros.windows(1), NumpyDataset(zeros.fields["x"])):
        assert "zeros around the recordings count" in str(each.statistics())
    assert "zeros around" not in str(ds.windows(3, edge="repeat").statistics())


def test_closing_the_windows_closes_the_files(data: Data) -> None:
    with NumpyDataset(data.folder / "x.npy").windows(3) as windows:
        kept = windows[0]
    assert (kept.numpy() == data.x[:3]).all()
    with pytest.raises(npdata.errors.ClosedError):
        windows[0]


def test_records_and_text_have_windows_where_they_can(tmp_path: Any) -> None:
    records = np.array([(k, k / 2) for k in range(9)], [("a", "i4"), ("b", "f8")])
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["r"] = records
    for source in (records, f"{tmp_path}/d.h5::r"):
        batch = NumpyDataset(source).windows(3)[[6, 0]]
        assert batch["a"].tolist() == [[6, 7, 8], [0, 1, 2]]
        assert NumpyDataset(source).windows(3)[1]["b"].tolist() == [0.5, 1.0, 1.5]
    with pytest.raises(FieldError, match=r"0 is text, and windows are tensors; give np.unique"):
        NumpyDataset(np.array(["a", "b"]), dtype=str).windows(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "the length of a window is 0"),
        ({"length": 2.5}, "the length of a window is 2.5"),
        ({"length": True}, "the length of a window is True"),
        ({"length": "x"}, "offsets from the anchor row"),
        ({"length": ()}, "offsets from the anchor row"),
        ({"length": range(0)}, "offsets from the anchor row"),
        ({"length": np.arange(0)}, "offsets from the anchor row"),
        ({"length": {"z": 3}}, "'z', which is no field; fields are"),
        ({"length": {}}, "windows of no field"),
        ({"length": {"x": (0.5, 1)}}, "field 'x': expected a length, or offsets"),
        ({"length": 98}, "needs 98 rows .*the longest of 1 recordings has 97"),
        ({"length": 1 << 50}, f"needs {1 << 50} rows .*has 97"),
        ({"length": 10**20}, "a window: an offset of 9+ rows leads out of any data"),
        ({"length": {"x": (0, 1 << 62)}, "edge": "zero"}, "field 'x': an offset of"),
        ({"length": {"x": (0, -(1 << 62))}, "edge": "zero"}, "field 'x': an offset of"),
        ({"length": 9, "borders": range(0, 97, 8)}, "the longest of 13 .*has 8"),
        ({"length": 3, "stride": 0}, "stride is 0"),
        ({"length": 3, "edge": "wrap"}, "edge='wrap': expected one of 'drop'"),
        ({"length": 3, "edge": "same"}, r"'repeat' \(the nearest row .* and 'zero' \(zeros do\)"),
        ({"length": 3, "edge": np.zeros(2)}, "edge=array.*: expected one of 'drop'"),
        ({"length": 3, "mask": True}, "mask=True with edge='drop'"),
        ({"length": 3, "borders": "z"}, "borders='z' is no field"),
        ({"length": 3, "borders": np.int64(5)}, r"borders=np.int64\(5\) is no field"),
        ({"length": 3, "borders": [98]}, "border 98 lies outside the 97 rows"),
        ({}, r"needs length: write windows\(16\)"),
        ({"length": None}, "the length of a window is None"),
        ({"size": 3}, r"windows\(\) has no argument size=; write length=3"),
        ({"length": 3, "step": 2}, "no argument step=; write stride=2"),
        ({"length": slice(0, 3)}, r"a window: write offsets as a range, range\(16\)"),
        ({"length": {"x": slice(0, 3)}}, r"field 'x': write offsets as a range, range\(16\)"),
        ({"length": [range(3), range(3, 5)]}, "fields have offsets by their names"),
        ({"length": (range(3), range(3, 6))}, "fields have offsets by their names"),
        ({"length": {"x": 0}}, r"length of field 'x' is 0: .*the anchor row itself is \[0\]"),
        ({"length": 3, "stride": 0}, "stride is 0: expected a whole number of rows, at least 1$"),
        ({"length": {"past": 3}}, r"'past', which is no field; .*NumpyDataset\(x=a, y=a\)"),
        ({"length": 3, "horizon": 2}, r"no argument horizon=; .*NumpyDataset\(x=a, y=a\)"),
        ({"length": 3, "drop_last": True}, "no argument drop_last=; write edge='drop'"),
        ({"length": 3, "pad": True}, "no argument pad=; write edge='zero' or edge='repeat'"),
        ({"length": 3, "padding_value": 0}, "no argument padding_value=; write edge='zero' or"),
        ({"length": 3, "episode_ends": [9]}, "no argument episode_ends=; write borders="),
        ({"length": 3, "n_obs_steps": 2}, r"no argument n_obs_steps=; .*'observation': \(-1, 0\)"),
        (
            {"length": 3, "shuffle": True},
            r"no argument shuffle=; that is for npdata.Loader\(ds.win",
        ),
        (
            {"length": 3, "lengths": [9]},
            r"no argument lengths=; write borders=np.cumsum\(lengths\)",
        ),
        ({"length": 3, "hop_size": 2}, "no argument hop_size=; write stride="),
        ({"length": 3, "episode_index": "x"}, "no argument episode_index=; write borders="),
        ({"length": 3, "overlap": 2}, "no argument overlap=; write stride="),
        ({"length": 3, "wide": 2}, r"no argument wide= \(it has length, stride, borders"),
    ],
)
def test_what_cannot_be_windowed_says_why(
    arguments: dict[str, Any], message: str, data: Data
) -> None:
    with pytest.raises((FieldError, ArgumentError), match=message):
        NumpyDataset(x=data.x).windows(**arguments)


@pytest.mark.parametrize("flag", [True, False])
def test_true_and_false_are_no_positions_of_fields(flag: bool) -> None:
    ds = NumpyDataset(np.arange(4), np.arange(4))
    with pytest.raises(FieldError, match=f"borders={flag} is no field"):
        ds.windows(1, borders=flag)
    for option in ("groups", "stratify"):
        with pytest.raises(FieldError, match=f"{option}={flag} names no field"):
            ds.split(0.5, **{option: flag})
    assert len(ds.windows(1, borders=np.int64(1))) == 4


def test_a_name_that_a_mask_needs_is_refused_with_a_cure(data: Data) -> None:
    with pytest.raises(FieldError, match="'x_is_pad', and there is one already; give that another"):
        NumpyDataset(x=data.x, x_is_pad=data.y).windows(3, edge="zero", mask=True)
    marked = NumpyDataset(x=data.x).windows(3, edge="zero", mask=True)
    with pytest.raises(FieldError, match="of windows of windows mark the padding of one call"):
        marked.windows(2, edge="zero", mask=True)


@pytest.mark.parametrize("edge", ["repeat", "zero"])
def test_zeros_around_windows_with_a_mask_are_marked_in_it(edge: str) -> None:
    one = NumpyDataset(x=np.arange(1, 7)).windows((-1, 0, 1), edge=edge, mask=True)
    for ds in (one, one + one):
        windows = ds.windows((-1, 0), edge="zero")
        marked = windows[:]["x_is_pad"]
        assert marked[::6, 0].all()
        assert torch.equal(marked[:, 1], ds[:]["x_is_pad"])
        assert windows.windows((-1, 0), edge="zero")[:]["x_is_pad"][::6, 0].all()


def test_names_that_are_no_text_are_kept() -> None:
    ds = NumpyDataset({0: np.arange(4), 7: np.arange(4)}).windows({7: 2}, edge="repeat", mask=True)
    assert list(ds[0]) == [0, 7, "7_is_pad"]


def test_a_subclass_that_changes_samples_is_refused(data: Data) -> None:
    class Doubled(NumpyDataset):
        def __getitem__(self, index: object) -> Any:
            return 2 * super().__getitem__(index)

    with pytest.raises(FieldError, match="Doubled changes __getitem__"):
        Doubled(data.x).windows(3)


def test_fields_are_found_by_name_and_position(data: Data) -> None:
    ds = NumpyDataset(x=data.x, y=data.y)
    assert list(ds.fields) == ["x", "y"]
    assert list(NumpyDataset(data.x, data.y).fields) == [0, 1]
    with pytest.raises(TypeError):
        ds.fields["x"] = None  # type: ignore[index]


def test_categories_stay_with_windows(tmp_path: Any) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        kind = file.create_group("kind")
        kind.attrs["encoding-type"] = "categorical"
        kind["codes"], kind["categories"] = np.array([0, 1, 1, -1], np.int8), ["a", "b"]
    windows = NumpyDataset(kind=f"{tmp_path}/d.h5::kind").windows(2)
    assert windows.fields["kind"].categories == ("a", "b")
    assert windows[2]["kind"].tolist() == [1, -1]


def test_text_keeps_its_anchor_row() -> None:
    ds = NumpyDataset(x=np.arange(4), name=np.array(["a", "b", "c", "d"]), dtype={"name": str})
    told = r"'name' is text, .* anchor row: windows\(\{'x': range\(0, 2\)\}\)"
    with pytest.raises(FieldError, match=told):
        ds.windows(2)
    batch = ds.windows({"x": 2})[[2, 0]]
    assert batch["x"].tolist() == [[2, 3], [0, 1]]
    assert batch["name"] == ["c", "a"]


@pytest.mark.parametrize("edge", ["repeat", "zero"])
def test_no_rows_have_no_windows(edge: Any) -> None:
    ds = NumpyDataset(x=np.zeros((0, 3)), y=np.zeros(0))
    windows = ds.windows({"x": (-1, 0)}, edge=edge, mask=True)
    assert len(windows) == 0
    assert windows[:]["x"].shape == (0, 2, 3)
    assert list(npdata.Loader(windows, 4)) == []
    with pytest.raises(FieldError, match="no window fits"):
        ds.windows(1)


def test_windows_longer_than_every_recording_are_named_with_their_fields_and_the_longest() -> None:
    ds = NumpyDataset(x=np.zeros((9, 3)), y=np.zeros(9), z=np.zeros(9))
    told = (
        r"needs 7 rows \(offsets -1 to 0 of field 'x', 2 to 5 of field 'y'\), and the longest of 3 "
        "recordings has 4, from row 2 on; take shorter"
    )
    with pytest.raises(FieldError, match=told):
        ds.windows({"x": (-1, 0), "y": range(2, 6)}, borders=[2, 6])


def test_masks_of_fields_in_a_tuple_come_behind_them() -> None:
    pair = NumpyDataset(np.arange(3), np.arange(3)).windows(
        {0: 1, 1: [0, 1]}, edge="zero", mask=True
    )
    *_, first, second = pair[2]
    assert (first.tolist(), second.tolist()) == ([False], [False, True])
