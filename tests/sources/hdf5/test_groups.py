"""A dataset out of each of many groups is their rows end to end, with their borders known."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import npdata
from npdata import NumpyDataset, open_source
from npdata.errors import (
    ChangedFileError,
    ConversionError,
    ExternalDataError,
    FieldError,
    MemberNotFoundError,
)

STORED: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": True},
    "gzip": {"chunks": True, "compression": "gzip", "shuffle": True},
    "big-endian": {"dtype": ">f4"},
}
LENGTHS = [7, 1, 12, 5, 9, 3, 8, 2, 6, 4, 11, 10]


def demonstrations(path: Path, **stored: Any) -> list[np.ndarray]:
    """Write a file laid out as robomimic's, and give the actions by demonstration."""
    rng = np.random.default_rng(0)
    written = []
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for k, length in enumerate(LENGTHS):
            demo = data.create_group(f"demo_{k}")
            demo.attrs["num_samples"] = length
            actions = rng.standard_normal((length, 3)).astype(np.float32)
            demo.create_dataset("actions", data=actions, **stored)
            demo.create_dataset("obs/eef", data=actions[:, :2] * 2, **STORED["gzip"])
            written.append(actions)
        file["mask/train"] = np.array([b"demo_10", b"demo_2", b"demo_0"])
    return written


@pytest.fixture(params=STORED)
def demos(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    path = tmp_path / "demo.hdf5"
    return path, demonstrations(path, **STORED[request.param])


def test_groups_are_end_to_end_in_natural_order(demos: Any) -> None:
    path, written = demos
    source = open_source(f"{path}::data/*/actions")
    expected = np.concatenate(written)
    assert source.borders is not None
    assert source.borders.tolist() == [0, *np.cumsum(LENGTHS)]
    datasets = [NumpyDataset(each) for each in (source, pickle.loads(pickle.dumps(source)))]

    @given(st.lists(st.integers(-len(expected), len(expected) - 1), max_size=30))
    def check(rows: list[int]) -> None:
        for ds in datasets:
            batch = npdata.collate(ds.__getitems__(rows))
            assert (batch.numpy() == expected[np.array(rows, int)]).all()

    check()
    out = np.empty_like(expected, source.dtype)
    source.read_run(0, out)
    assert (out == expected).all()
    source.close()


def test_runs_of_rows_within_and_across_groups(demos: Any) -> None:
    path, written = demos
    source, expected = open_source(f"{path}::data/*/actions"), np.concatenate(written)
    edges = st.integers(0, len(expected)) | st.sampled_from(np.cumsum([0, *LENGTHS]).tolist())

    @given(st.lists(st.tuples(edges, edges).map(sorted), max_size=8))
    def check(pairs: list[list[int]]) -> None:
        given_runs = np.array(pairs, np.int64).reshape(-1, 2)
        got = source.runs(given_runs[:, 0], given_runs[:, 1])
        for run_of_rows, (start, stop) in zip(got, pairs, strict=True):
            assert run_of_rows.dtype == source.dtype
            assert run_of_rows.tolist() == expected[start:stop].tolist()
            run_of_rows[...] = 0  # memory of its own

    check()
    source.close()


def test_windows_stay_inside_their_group(demos: Any) -> None:
    path, written = demos
    ds = NumpyDataset.from_hdf5(path, actions="data/*/actions", eef="data/*/obs/eef")
    windows = ds.windows({"actions": range(4), "eef": (-1, 0)})
    expected = [
        (a[k : k + 4], 2 * a[k - 1 : k + 1, :2]) for a in written for k in range(1, len(a) - 3)
    ]
    assert len(windows) == len(expected)
    batch = windows[:]
    assert (batch["actions"].numpy() == [actions for actions, _ in expected]).all()
    assert (batch["eef"].numpy() == [eef for _, eef in expected]).all()
    train, test = windows.split(0.7, by="recording")
    assert len(train) + len(test) == len(windows)
    assert "the 12 parts of the fields" in str(windows.describe())


def test_groups_are_picked_in_the_order_given(demos: Any) -> None:
    path, written = demos
    with h5py.File(path) as file:
        train = file["mask/train"][:]
    expected = np.concatenate([written[10], written[2], written[0]])
    for groups in (
        train,
        ["demo_10", "demo_2", "demo_0"],
        ["data/demo_10", "/data/demo_2", "demo_0"],
    ):
        ds = NumpyDataset.from_hdf5(path, "data/*/actions", groups=groups)
        assert (ds[:].numpy() == expected).all()
    ds = NumpyDataset.from_hdf5(
        path, "actions", groups=["data/demo_10", "data/demo_2", "data/demo_0"]
    )
    assert (ds[:].numpy() == expected).all()


def test_names_are_looked_for_in_the_groups_alone(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for name in ("x", "y", "top"):
            file[name] = np.zeros(3)
        file["one/x"], file["one/y"] = np.ones(3), np.ones(3)
        matrix = file.create_group("matrix")
        matrix.attrs["encoding-type"], matrix.attrs["shape"] = "csr_matrix", (1, 2)
        matrix["data"], matrix["indices"], matrix["indptr"] = [1.0], [0], [0, 1]
    ds = NumpyDataset.from_hdf5(tmp_path / "d.h5", x="x", y="y", groups=["one"])
    assert {name: values.tolist() for name, values in ds[:].items()} == {
        "x": [1, 1, 1],
        "y": [1, 1, 1],
    }
    assert NumpyDataset(f"{tmp_path}/d.h5::matrix")[:].tolist() == [[1, 0]]
    for name in ("top", "matrix"):
        with pytest.raises(KeyError, match=f"one/{name}"):
            NumpyDataset.from_hdf5(tmp_path / "d.h5", name, groups=["one"])


def test_groups_of_a_relative_path_are_found_from_another_folder(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = demonstrations(Path("demo.hdf5"))
    ds = NumpyDataset("demo.hdf5::data/*/actions")
    Path("other").mkdir()
    monkeypatch.chdir("other")
    again = pickle.loads(pickle.dumps(ds))
    assert (again[:].numpy() == ds[:].numpy()).all()
    assert len(ds) == sum(map(len, written))


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A file with groups of another: of all below `data`, and of the first and last of `some`."""
    with h5py.File(tmp_path / "far.h5", "w") as file:
        for k, name in enumerate("abc"):
            file[f"groups/{name}/x"] = np.full(2, k)
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["data"] = h5py.ExternalLink("far.h5", "/groups")
        file["some/a"] = h5py.ExternalLink("far.h5", "/groups/a")
        file["some/b/x"] = np.full(2, 1)
        file["some/c"] = h5py.ExternalLink("far.h5", "/groups/c")
    return tmp_path / "near.h5"


@pytest.mark.parametrize("name", ["data/*/x", "some/*/x"])
def test_groups_of_another_file_are_read_where_that_is_allowed(linked: Path, name: str) -> None:
    with pytest.raises(ExternalDataError, match=r"in another .* pass allow_external=True"):
        NumpyDataset.from_hdf5(linked, name)
    ds = NumpyDataset.from_hdf5(linked, name, allow_external=True)
    for each in (ds, pickle.loads(pickle.dumps(ds))):
        assert each[:].tolist() == [0, 0, 1, 1, 2, 2]
        assert each[[4, 2, 1]].tolist() == [2, 1, 0]
    linked.with_name("far.h5").touch()
    with pytest.raises(ChangedFileError, match=r"far\.h5 changed since it was opened"):
        ds[:]


def test_groups_of_another_file_are_not_even_looked_at(linked: Path) -> None:
    with pytest.raises(ExternalDataError, match="leads through 'data' to '/groups' in another"):
        NumpyDataset.from_hdf5(linked, "data/*/x", groups=["z"])


def test_a_bracket_before_a_wildcard_is_part_of_the_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["a[1]/b/x"] = np.arange(3)
    assert NumpyDataset(f"{tmp_path}/d.h5::a[1]/*/x")[:].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"keys": ["demo_1"]},
            r"keys=\['demo_1'\] is no option of from_hdf5; .*; groups= takes what",
        ),
        ({"filter_key": "train"}, r"groups= takes the groups of a mask: .*mask/train"),
        ({"filter_by_attribute": "train"}, "groups= takes the groups of a mask"),
        ({"obs_keys": ["object"]}, r'name each dataset: from_hdf5\(path, actions="data'),
    ],
)
def test_words_of_robomimic_say_what_to_write(
    demos: Any, options: dict[str, Any], message: str
) -> None:
    for names, fields in ((("data/*/actions",), {}), ((), {"actions": "data/*/actions"})):
        with pytest.raises(FieldError, match=message):
            NumpyDataset.from_hdf5(demos[0], *names, **fields, **options)


def test_a_field_may_be_named_keys(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["keys"] = np.arange(3)
    ds = NumpyDataset.from_hdf5(tmp_path / "d.h5", keys="keys")
    assert ds[2]["keys"] == 2


def test_groups_of_several_files_follow_each_other(tmp_path: Path) -> None:
    parts = [demonstrations(tmp_path / f"part-{k}.hdf5", **STORED["contiguous"]) for k in range(2)]
    ds = NumpyDataset.from_hdf5(f"{tmp_path}/part-*.hdf5", "data/*/actions")
    assert (ds[:].numpy() == np.concatenate([*parts[0], *parts[1]])).all()
    borders = ds.fields[0].source.borders
    assert borders is not None
    assert borders.tolist() == [0, *np.cumsum([*LENGTHS, *LENGTHS])]
    assert len(ds.windows(2)) == 2 * (sum(LENGTHS) - len(LENGTHS))


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_read_groups(tmp_path: Path, method: str) -> None:
    written = demonstrations(tmp_path / "demo.hdf5", **STORED["gzip"])
    ds = NumpyDataset(f"{tmp_path}/demo.hdf5::data/*/actions")
    ds[0]
    loader = DataLoader(
        ds, 16, collate_fn=npdata.collate, num_workers=2, multiprocessing_context=method
    )
    assert (np.concatenate([b.numpy() for b in loader]) == np.concatenate(written)).all()


def test_every_row_comes_once_through_the_loader(demos: Any) -> None:
    path, written = demos
    ds = NumpyDataset(f"{path}::data/*/actions", np.arange(sum(LENGTHS)))
    assert ds.blocks.total_rows == len(ds)
    rows = []
    for actions, row in npdata.Loader(ds, 7, shuffle="block", num_threads=2, memory_budget=1 << 20):
        assert (actions.numpy() == np.concatenate(written)[row.numpy()]).all()
        rows += row.tolist()
    assert sorted(rows) == list(range(sum(LENGTHS)))


def test_a_dataset_that_has_a_star_in_its_name_is_itself(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["a*"], file["ab"] = np.arange(3), np.arange(5)
    assert len(NumpyDataset(f"{tmp_path}/d.h5::a*")) == 3
    assert len(NumpyDataset(f"{tmp_path}/d.h5::a?")) == 8


def test_a_dataset_beside_groups_is_none_of_them(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(4, 3)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["a/0/x"], file["b/1/x"] = x, x + 1
        file["a/index"] = file["meta"] = np.arange(4)
    ds = NumpyDataset(f"{tmp_path}/d.h5::*/*/x")
    assert (ds[:].numpy() == np.concatenate([x, x + 1])).all()
    assert len(NumpyDataset.from_hdf5(tmp_path / "d.h5", "a/*/x")) == 4
    with pytest.raises(KeyError, match=r"no group that matches 'me\*/x'"):
        NumpyDataset(f"{tmp_path}/d.h5::me*/x")


def test_groups_of_other_storage_are_opened_one_by_one(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(4, 3)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["g/0/x"] = x
        file.create_dataset("g/1/x", data=x + 1, chunks=(2, 3), compression="gzip")
        file.create_dataset("g/2/x", shape=(2, 3), dtype="f8")
        file.create_dataset("g/3/x", shape=(0, 3), dtype="f8")
        file["g/4"] = h5py.SoftLink("/g/0")
    ds = NumpyDataset(f"{tmp_path}/d.h5::g/*/x")
    assert (ds[:].numpy() == np.concatenate([x, x + 1, np.zeros((2, 3)), x])).all()
    assert "3 of them are opened one by one" in str(ds.describe())


def test_groups_without_rows_are_among_others(tmp_path: Path) -> None:
    path, lengths = tmp_path / "demo.hdf5", [3, 0, 4, 0]
    with h5py.File(path, "w") as file:
        for k, length in enumerate(lengths):
            file[f"data/demo_{k}/x"] = np.arange(length) + 10 * k
    ds = NumpyDataset(f"{path}::data/*/x")
    assert ds[[6, 0]].tolist() == [23, 0]
    assert ds[:].tolist() == [0, 1, 2, 20, 21, 22, 23]


def test_samples_of_different_lengths_lie_in_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tokens = [[rng.integers(0, 99, n) for n in rng.integers(0, 6, rows)] for rows in LENGTHS]
    for part, some in enumerate((tokens[:5], tokens[5:])):
        with h5py.File(tmp_path / f"d{part}.h5", "w") as file:
            for k, rows in enumerate(some):
                group = file.create_group(f"data/demo_{k}")
                tokens_of = group.create_dataset("t", (len(rows),), h5py.vlen_dtype(np.int64))
                for j, row in enumerate(rows):
                    tokens_of[j] = row
                group["x"] = np.arange(len(rows))
    every = [row for rows in tokens for row in rows]
    ds = NumpyDataset.from_hdf5(f"{tmp_path}/d*.h5", t="data/*/t", x="data/*/x")
    for each in (ds, pickle.loads(pickle.dumps(ds))):
        for k in (0, 30, len(every) - 1):
            assert each[k]["t"].tolist() == every[k].tolist()
        assert each.lengths is not None
        assert each.lengths.tolist() == [len(row) for row in every]
    windows = ds.windows({"x": 2}, edge="repeat")
    assert windows.fields["t"].source.borders.tolist() == [0, *np.cumsum(LENGTHS)]
    batches = DataLoader(windows, 16, collate_fn=npdata.collate, num_workers=2)
    given = [row for batch in batches for row in batch["t"].samples()]
    assert [row.tolist() for row in given] == [row.tolist() for row in every]
    picked = NumpyDataset.from_hdf5(tmp_path / "d0.h5", "data/*/t", groups=["demo_3"])
    assert [row.tolist() for row in picked] == [row.tolist() for row in tokens[3]]


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    demonstrations(tmp_path / "demo.hdf5")
    ds = NumpyDataset(f"{tmp_path}/demo.hdf5::data/*/actions")
    with h5py.File(tmp_path / "demo.hdf5", "r+") as file:
        file["data/demo_0/actions"][0] = 7
    with pytest.raises(npdata.errors.ChangedFileError):
        ds[[0]]


@pytest.mark.parametrize("options", [{}, {"compression": 1}])
def test_a_group_of_a_file_that_took_the_place_is_not_read(tmp_path: Path, options: dict) -> None:
    for name, before in (("a.h5", 0), ("b.h5", 9)):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("before", data=np.ones(before), chunks=True, maxshape=(None,))
            for group in "abc":
                file.create_dataset(f"{group}/x", data=np.arange(9), chunks=(2,), **options)
    ds = NumpyDataset(f"{tmp_path}/a.h5::*/x")
    assert ds[0] == 0
    (tmp_path / "b.h5").replace(tmp_path / "a.h5")
    with pytest.raises(npdata.errors.ChangedFileError, match="another file has taken its place"):
        ds[[9]]


def test_rows_of_one_group_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "demo.hdf5"
    demonstrations(path)
    with h5py.File(path, "r+") as file:
        for name, length in (("demo_2", LENGTHS[2] + 1), ("demo_10", LENGTHS[10] - 1)):
            del file[f"data/{name}/actions"]
            file[f"data/{name}/actions"] = np.zeros((length, 3), "f4")
    names = {"action": "data/*/actions", "eef": "data/*/obs/eef"}
    message = r"demo_2/actions has 13 rows, and /data/demo_2/obs/eef has 12"
    with pytest.raises(FieldError, match=message):
        NumpyDataset.from_hdf5(path, **names)
    with pytest.raises(FieldError, match=message):
        NumpyDataset({name: f"{path}::{dataset}" for name, dataset in names.items()})
    demonstrations(tmp_path / "other.hdf5")
    with pytest.raises(FieldError, match=message):
        NumpyDataset.from_hdf5([tmp_path / "other.hdf5", path], **names)


def test_groups_of_other_names_or_other_files_are_compared(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file, h5py.File(tmp_path / "b.h5", "w") as other:
        for k in range(4):
            file[f"actions/ep_{k}"] = np.zeros((3, 2))
            file[f"obs/ep_{k + (k > 1)}"] = np.zeros((3, 5))  # it has no ep_2
            other[f"reward/ep_{k}"] = np.zeros(3 + (k == 1) - (k == 2))
            other[f"text/part_{k}"] = np.zeros(3)
            other[f"more/ep_{k}"] = other[f"more/ep_{k + 4}"] = np.zeros(3)
    actions, b = f"{tmp_path}/a.h5::actions/*", f"{tmp_path}/b.h5"
    with pytest.raises(FieldError, match="'ep_2' would stand beside 'ep_3'; groups="):
        NumpyDataset(actions, f"{tmp_path}/a.h5::obs/*")
    with pytest.raises(FieldError, match="no group would stand beside 'ep_4'; groups="):
        NumpyDataset(actions, f"{b}::more/*")
    with pytest.raises(FieldError, match=r"ep_1 has 3 rows, and .*b\.h5::/reward/ep_1 has 4"):
        NumpyDataset(actions, f"{b}::reward/*")
    assert len(NumpyDataset(actions, f"{b}::text/*")) == 12


@pytest.mark.parametrize(
    ("other", "named", "left_out"),
    [
        (np.zeros((2, 3), "f8"), r"array\.astype\(dtype\)", "ragged="),
        (np.zeros((2, 4), "f4"), "ragged='padded'", "astype"),
        (np.zeros((2, 4), "f8"), r"astype\(dtype\).*ragged='stacked'", "nothing"),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_the_cure_for_rows_that_differ_is_that_of_what_differs(
    tmp_path: Path, other: np.ndarray, named: str, left_out: str, listed: bool
) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["a/x"], file["b/x"] = np.zeros((2, 3), "f4"), other
    names = [f"{tmp_path}/d.h5::{k}/x" for k in "ab"]
    with pytest.raises(FieldError, match=f"they make no one field; .*{named}") as caught:
        npdata.concatenate(names) if listed else NumpyDataset(f"{tmp_path}/d.h5::*/x")
    assert left_out not in str(caught.value)


def test_datasets_of_other_names_are_compared_by_what_the_wildcards_match(tmp_path: Path) -> None:
    at = f"{tmp_path}/features.h5"
    with h5py.File(at, "w") as file:
        for i in (9, 25, 100):
            file[f"{i}_f"] = np.full((2, 3), i)
            file[f"{i}_box"] = np.full((2, 4), i)
            file[f"{i + (i == 25)}_class"] = np.full(2, i + (i == 25))
    ds = NumpyDataset.from_hdf5(at, x="*_f", box="*_box")
    assert ds[:]["x"][:, 0].tolist() == ds[:]["box"][:, 0].tolist() == [9, 9, 25, 25, 100, 100]
    with pytest.raises(FieldError, match="'25' would stand beside '26'; list those that belong"):
        NumpyDataset.from_hdf5(at, x="*_f", label="*_class")
    both = {kind: [f"{at}::{i}_{kind}" for i in (9, 100)] for kind in ("f", "class")}
    ds = NumpyDataset(  # as the error says
        x=npdata.concatenate(both["f"]), label=npdata.concatenate(both["class"])
    )
    assert ds[:]["x"][:, 0].tolist() == ds[:]["label"].tolist() == [9, 9, 100, 100]


def test_a_state_more_than_steps_says_how_to_pair_them(tmp_path: Path) -> None:
    path = tmp_path / "main.hdf5"
    with h5py.File(path, "w") as file:
        for k in range(12):
            file[f"episode_{k}/states"] = np.arange(4.0 + k) + 100 * k
            file[f"episode_{k}/actions"] = np.arange(3.0 + k) + 100 * k
    with pytest.raises(FieldError, match=r"one row more.*windows\(2\).*\*\*actions\.fields\)"):
        NumpyDataset.from_hdf5(path, states="*/states", actions="*/actions")
    states = NumpyDataset.from_hdf5(path, states="*/states").windows(2)
    actions = NumpyDataset.from_hdf5(path, actions="*/actions")
    both = NumpyDataset(**states.fields, **actions.fields)
    train, test = both.split(0.7, by="recording")
    episodes = [set((both[part]["actions"] // 100).tolist()) for part in (train, test)]
    assert episodes[0].isdisjoint(episodes[1])
    rows = list(npdata.Loader(both, 16, shuffle=True))
    pairs = torch.cat([batch["states"] for batch in rows])
    assert sum(map(len, pairs.unbind())) == 2 * len(actions)
    assert torch.equal(pairs[:, 0], torch.cat([batch["actions"] for batch in rows]))
    assert torch.equal(pairs[:, 1], pairs[:, 0] + 1)


def test_a_name_without_its_groups_suggests_the_wildcard(tmp_path: Path) -> None:
    demonstrations(tmp_path / "demo.hdf5")
    with pytest.raises(MemberNotFoundError, match=r"did you mean data/\*/actions\?"):
        NumpyDataset.from_hdf5(tmp_path / "demo.hdf5", "data/actions")
    told = r"mean data/demo_0/actions, or data/\*/actions in all groups\?"
    with pytest.raises(MemberNotFoundError, match=told):
        NumpyDataset.from_hdf5(tmp_path / "demo.hdf5", "actions")
    for name in ("data/*/obs", "data/demo_1/obs"):
        with pytest.raises(MemberNotFoundError, match=r"or data/\*/obs/\w+ in all groups"):
            NumpyDataset.from_hdf5(tmp_path / "demo.hdf5", name)


def test_samples_of_different_lengths_of_one_group_belong_to_its_rows(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for k, rows in enumerate(((3, 2), (2, 3))):
            file.create_dataset(f"data/demo_{k}/t", (rows[0],), h5py.vlen_dtype(np.int32))
            file[f"data/demo_{k}/x"] = np.zeros(rows[1])
    fields = {name: f"{tmp_path}/d.h5::data/*/{name}" for name in "tx"}
    with pytest.raises(FieldError, match="demo_0/t has 3 rows, and /data/demo_0/x has 2"):
        NumpyDataset(fields)


def test_spans_of_rows_of_a_group_are_as_many_as_they_are(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for k in range(3):
            lengths = np.arange(3 + k) + k
            file[f"data/demo_{k}/x"] = np.zeros(len(lengths))
            file[f"data/demo_{k}/lengths"] = lengths
            file[f"data/demo_{k}/words"] = np.arange(lengths.sum()) + 100 * k
    x, words, lengths = (f"{tmp_path}/d.h5::data/*/{name}" for name in ("x", "words", "lengths"))
    ds = NumpyDataset(x=x, words=npdata.ragged(words, lengths=lengths), also=x)
    assert ds[4]["words"].tolist() == [101, 102]
    with h5py.File(tmp_path / "other.h5", "w") as file:
        for k, rows in enumerate((4, 3, 5)):
            file[f"data/demo_{k}/x"] = np.zeros(rows)
    with pytest.raises(FieldError, match=r"demo_0/x has 3 rows, and .*/data/demo_0/x has 4"):
        NumpyDataset(x, npdata.ragged(words, lengths=lengths), f"{tmp_path}/other.h5::data/*/x")
    with pytest.raises(FieldError, match=r"other.h5::/data/demo_0/x has 4 rows, and .*words has 3"):
        NumpyDataset(npdata.ragged(words, lengths=lengths), f"{tmp_path}/other.h5::data/*/x")
    one = npdata.ragged(words, offsets=[0, *range(2, 24, 2), 33])  # two lie in two groups
    assert len(NumpyDataset(x, one)) == 12


def test_decoded_rows_of_one_group_belong_together(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for k, rows in enumerate(((3, 2), (2, 3))):
            for name, count in zip("xy", rows, strict=True):
                file[f"data/demo_{k}/{name}"] = np.zeros(count, np.int16)
                file[f"data/demo_{k}/{name}"].attrs["scale_factor"] = 0.5
    fields = {name: f"{tmp_path}/d.h5::data/*/{name}" for name in "xy"}
    with pytest.raises(FieldError, match="demo_0/x has 3 rows, and /data/demo_0/y has 2"):
        NumpyDataset(fields, decode="cf")


def test_rows_of_one_file_belong_together(tmp_path: Path) -> None:
    for k, (x, y) in enumerate([(5, 6), (5, 4)]):
        with h5py.File(tmp_path / f"run-{k}.h5", "w") as file:
            file["x"], file["y"] = np.zeros(x), np.zeros(y)
    with pytest.raises(FieldError, match=r"run-0\.h5 has 5 rows of 'x' and 6 of 'y'"):
        NumpyDataset.from_hdf5(tmp_path / "run-*.h5", x="x", y="y")


def test_what_is_missing_or_different_is_named(tmp_path: Path) -> None:
    path = tmp_path / "demo.hdf5"
    demonstrations(path)
    with h5py.File(path, "r+") as file:
        file["data/demo_3/obs/extra"] = np.zeros(5)
        file["odd/a/x"], file["odd/b/x"] = np.zeros((2, 3)), np.zeros((2, 4))
        file["odd/c/y"] = np.zeros(2)
        file["types/a/x"], file["types/b/x"] = np.zeros(2), np.zeros(2, "f4")
        file["scalar/a/x"], file["scalar/b/x"] = np.zeros(2), 1.0
        file["out/a"] = h5py.ExternalLink("other.h5", "/x")
    for name, message in (
        ("nothing/*/x", "no group that matches 'nothing/[*]/x'; it has 'data/demo_0/"),
        ("data/*/speed", "no dataset '/data/demo_0/speed'"),
        ("data/*/obs/extra", "no dataset '/data/demo_0/obs/extra'"),
        ("data/*", "is a group, and a dataset is needed"),
        ("odd/[!c]/x", "no dataset"),
        ("odd/?/x", r"b/x holds rows of \(4,\) of float64, and .*::/odd/a/x rows of \(3,\)"),
        ("types/*/x", r"::/types/b/x holds rows of \(\) of float32"),
        ("scalar/*/x", "is a scalar dataset and has no rows"),
    ):
        with pytest.raises((MemberNotFoundError, FieldError, ValueError), match=message):
            open_source(f"{path}::{name}")
    with pytest.raises(ExternalDataError):
        open_source(f"{path}::out/*/x")
    for groups, message in (
        ([], "groups= is empty"),
        ("mask/train", r"groups='mask/train': expected a list .*\['mask/train'\]\[:\]"),
        (b"demo_1", "groups=b'demo_1': expected a list"),
        (5, "groups=5: expected a list"),
        ({"demo_1", "demo_2"}, "groups= is a set, which has another order"),
        (["demo_1", "demo_1"], "'demo_1' and 'demo_1', which is one group twice"),
        (["demo_1", "data/demo_1/"], "'demo_1' and 'data/demo_1/', which is one group twice"),
        (["demo_1", "demo_99"], "no group 'demo_99' .*1 of the 2 in groups= are missing"),
    ):
        with pytest.raises((FieldError, MemberNotFoundError), match=message):
            NumpyDataset.from_hdf5(path, "data/*/actions", groups=groups)
    with pytest.raises(FieldError, match="'data/demo_0' and '/data/demo_0', which is one group"):
        NumpyDataset.from_hdf5(path, "actions", groups=["data/demo_0", "/data/demo_0"])
    with pytest.raises(MemberNotFoundError, match="'/data/demo_77/actions'"):
        NumpyDataset.from_hdf5(path, "actions", groups=["data/demo_0", "data/demo_77"])


def test_a_column_of_the_records_of_all_groups_is_a_field(tmp_path: Path) -> None:
    path = tmp_path / "users.h5"
    events = [np.zeros(3 + k, [("item", "i4"), ("at", [("x", "f4")])]) for k in range(12)]
    with h5py.File(path, "w") as file:
        for k, each in enumerate(events):
            each["item"], each["at"]["x"] = np.arange(3 + k) + 100 * k, k
            file[f"user.v1_{k}/events"] = each
    ds = NumpyDataset.from_hdf5(path, item="*/events.item", x="*/events.at.x")
    assert ds[:]["item"].tolist() == np.concatenate(events)["item"].tolist()
    assert ds[:]["x"].tolist() == np.concatenate(events)["at"]["x"].tolist()
    assert len(ds.windows(3)) == sum(len(each) - 2 for each in events)
    some = NumpyDataset.from_hdf5(path, "*/events.item", groups=["user.v1_10", "user.v1_2"])
    assert some[:].tolist() == [*events[10]["item"], *events[2]["item"]]
    lengths = [len(each) for each in events]
    users = NumpyDataset(npdata.ragged(f"{path}::*/events.item", lengths=lengths))
    assert users[11].tolist() == events[11]["item"].tolist()
    with pytest.raises(ConversionError, match=r"make npdata\.ragged\(npdata\.open_source"):
        npdata.stack(f"{path}::*/events")
    with pytest.raises(MemberNotFoundError, match="no column 'speed'"):
        NumpyDataset.from_hdf5(path, "*/events.speed")


def test_groups_are_named_from_the_first_wildcard_to_the_last(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for k, name in enumerate(["a/m/b", "a/m/c", "d/m/b"]):
            file[f"run/{name}/x"] = [k]
    for pattern in ("run/*/m/*/x", "/run/*/m/*/x"):
        for groups in (["d/m/b", "a/m/c"], ["run/d/m/b", "/run/a/m/c/"]):
            ds = NumpyDataset.from_hdf5(tmp_path / "d.h5", pattern, groups=groups)
            assert ds[:].tolist() == [2, 1]
