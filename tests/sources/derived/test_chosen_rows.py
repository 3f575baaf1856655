"""A `Subset` of a dataset of one field is a field: `array[numbers]` of NumPy, read in place."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Subset, random_split

import npdata
from npdata import NumpyDataset
from npdata.errors import (
    FieldError,
    RowIndexError,
    RowIndexTypeError,
    UnsupportedSourceError,
)
from npdata.loading.residence import candidates_of

IMAGES = np.arange(40 * 6, dtype=np.float32).reshape(40, 2, 3)
KINDS = ("memory", "npy", "hdf5", "gzip", "stack", "concatenate")


def images(kind: str, folder: Path) -> NumpyDataset:
    if kind == "memory":
        return NumpyDataset(IMAGES)
    if kind == "npy":
        np.save(folder / "x.npy", IMAGES)
        return NumpyDataset(folder / "x.npy")
    if kind in ("hdf5", "gzip"):
        options: Any = {} if kind == "hdf5" else {"chunks": (8, 2, 3), "compression": 4}
        with h5py.File(folder / "x.h5", "w") as file:
            file.create_dataset("x", data=IMAGES, **options)
        return NumpyDataset(f"{folder}/x.h5::x")
    for k in range(40 if kind == "stack" else 4):
        np.save(folder / f"{k}.npy", IMAGES[k] if kind == "stack" else IMAGES[10 * k : 10 * k + 10])
    return (npdata.stack if kind == "stack" else npdata.concatenate)(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_captions_bring_the_image_that_they_name(kind: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 40, 150)
    captions = np.arange(150 * 4).reshape(150, 4)
    data = NumpyDataset(image=Subset(images(kind, tmp_path), numbers), caption=captions)
    assert len(data) == 150
    for number in (0, 7, -1):
        assert (data[number]["image"].numpy() == IMAGES[numbers[number]]).all()
    for row, sample in enumerate(pickle.loads(pickle.dumps(data))):
        assert (sample["image"].numpy() == IMAGES[numbers[row]]).all()
    for shuffle in (False, True, "full", "block"):
        seen = []
        for batch in npdata.Loader(data, 32, shuffle=shuffle, num_threads=1):
            rows = batch["caption"][:, 0].numpy() // 4
            assert (batch["image"].numpy() == IMAGES[numbers[rows]]).all()
            seen += rows.tolist()
        assert sorted(seen) == list(range(150))


@settings(max_examples=60)
@given(st.lists(st.integers(-40, 39), max_size=30), st.data())
def test_rows_are_those_that_numpy_chooses(numbers: list[int], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, max(0, len(numbers) - 1)), max_size=len(numbers)))
    wanted = IMAGES[np.array(numbers, np.int64)]
    for given_as in (numbers, tuple(numbers), np.array(numbers, np.int64)):
        ds = NumpyDataset(Subset(NumpyDataset(IMAGES), given_as))  # type: ignore[arg-type]
        assert ds[rows].numpy().tobytes() == wanted[np.array(rows, np.int64)].tobytes()
        assert ds[:].numpy().tobytes() == wanted.tobytes()
        assert ds.sources[0].blocks.total_rows == len(numbers)


def test_a_subset_of_a_subset_and_a_random_split_are_fields_as_well() -> None:
    train, _ = random_split(NumpyDataset(IMAGES), [30, 10], torch.Generator().manual_seed(0))
    some = Subset(train, [-1, 3, 3])
    ds = NumpyDataset(some, transform=lambda x: x + 1)
    wanted = IMAGES[np.array(train.indices)[[-1, 3, 3]]] + 1
    assert (ds[:].numpy() == wanted).all()
    some.indices = [0, 0, 0]
    assert (ds[:].numpy() == wanted).all()


def test_a_row_in_place_is_a_view_and_keeps_its_dtype_rule() -> None:
    array = IMAGES.copy()
    ds = NumpyDataset(Subset(NumpyDataset(array), [5, 5]))
    ds[0][0, 0] = -1
    assert array[5, 0, 0] == ds[1][0, 0] == -1
    halves = NumpyDataset(Subset(NumpyDataset(array, dtype=torch.float16), [5]))
    assert halves[0].dtype == halves[:].dtype == torch.float16


def test_text_records_and_categories_are_chosen_too(tmp_path: Path) -> None:
    names = NumpyDataset(np.array(["a", "bb", "c"]), dtype=str)
    assert NumpyDataset(Subset(names, [2, 0, 2]))[:] == ["c", "a", "c"]
    people = np.array([(1, 2.5), (2, 3.5)], [("id", "i4"), ("size", "f8")])
    ds = NumpyDataset(Subset(NumpyDataset(people), [1, 1, 0]), columns="size")
    assert ds[:].tolist() == [3.5, 3.5, 2.5]
    for name in ("cat", "dog"):
        np.save(tmp_path / f"{name}.npy", IMAGES[0])
    labels = npdata.stack(tmp_path, label_from=r"(cat|dog)\.npy").fields[1]
    chosen = NumpyDataset(y=Subset(NumpyDataset(labels), [1, 0, 1]))
    assert [chosen.fields["y"].categories[y] for y in chosen[:]["y"]] == ["dog", "cat", "dog"]


def test_chosen_numbers_stand_for_what_they_stood_for(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, scale in (("halves", 0.5), ("tenths", 0.1)):
            file[name] = np.arange(4, dtype=np.int16)
            file[name].attrs["scale_factor"] = scale
    halves, tenths = (NumpyDataset(f"{tmp_path}/x.h5::{name}") for name in ("halves", "tenths"))
    some = NumpyDataset(Subset(halves, [3, 1]))
    assert (some + halves)[:].tolist() == [3, 1, 0, 1, 2, 3]
    with pytest.raises(FieldError, match=r"0\.5; from row 2 on: scale_factor 0\.1"):
        some + tenths


def test_ascending_numbers_are_read_chunk_by_chunk(tmp_path: Path) -> None:
    numbers = np.repeat(np.arange(40), 5)
    ds = NumpyDataset(Subset(images("gzip", tmp_path), numbers))
    assert ds.sources[0].blocks.edges().tolist() == [0, 40, 80, 120, 160, 200]
    rows = list(npdata.Loader(ds, 16, shuffle="block", num_threads=0))
    assert torch.cat(rows).sum() == 5 * IMAGES.sum()
    assert ds.sources[0].decoded_chunks == 5


@pytest.mark.parametrize("kind", ["gzip", "npy"])
def test_chosen_rows_may_be_held_and_kept(kind: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(0, 40, 90)
    data = Subset(images(kind, tmp_path), numbers)
    kept = NumpyDataset(x=data, cache=tmp_path / "cache")
    for ds in (kept, NumpyDataset(x=data)):
        for options in ({}, {"resident": True}, {"resident": True, "device": "cpu"}):
            batches = npdata.Loader(ds, 16, shuffle=False, **options)
            together = torch.cat([batch["x"] for batch in batches])
            assert (together.numpy() == IMAGES[numbers]).all()


def test_chosen_rows_among_parts_are_kept(tmp_path: Path) -> None:
    found, numbers = images("gzip", tmp_path), [39, 3, 39]
    joined = NumpyDataset(Subset(found, numbers)) + NumpyDataset(IMAGES)
    for chunks in (2, 0):  # of the file, decoded by the first alone
        ds = NumpyDataset(joined, cache=tmp_path / "cache")
        assert (ds[:3].numpy() == IMAGES[numbers]).all()
        assert (ds[3:].numpy() == IMAGES).all()
        assert ds.sources[0].decoded_chunks == chunks


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_row_is_held_once_however_often_it_is_chosen(device: Any, tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(0, 40, 90)
    found, of_some = images("gzip", tmp_path), np.array([7, 3, 7])
    ds = NumpyDataset(x=Subset(Subset(found, range(40)), numbers), y=np.arange(90))
    for data, count in ((ds, len(set(numbers))), (NumpyDataset(x=Subset(found, of_some)), 2)):
        held = candidates_of(data, asked=True, device=device and torch.device(device)).fields[0]
        assert len(held.used) == count
    for rows in (None, [5, 80, 5]):
        loader = npdata.Loader(ds, 16, shuffle=True, resident=True, device=device, indices=rows)
        for batch in loader:
            assert (batch["x"].numpy() == IMAGES[numbers[batch["y"]]]).all()
    for batch in npdata.Loader(ds.windows(3), 16, resident=True, device=device):
        assert (batch["x"].numpy() == IMAGES[numbers[batch["y"]]]).all()


@pytest.mark.parametrize("place", ["ram", "folder"])
def test_both_sides_of_a_pair_are_decoded_once_for_both(place: str, tmp_path: Path) -> None:
    found, numbers = images("gzip", tmp_path), np.random.default_rng(1).integers(0, 40, 90)
    cache = place if place == "ram" else tmp_path / place
    pairs = NumpyDataset(Subset(found, numbers), Subset(found, numbers[::-1]), cache=cache)
    one, other = pairs[:]
    assert (one.numpy() == IMAGES[numbers]).all()
    assert (other.numpy() == IMAGES[numbers[::-1]]).all()
    assert pairs.sources[0].decoded_chunks == pairs.sources[1].decoded_chunks == 5
    assert pairs.sources[0].made_of == pairs.sources[1].made_of


def test_windows_do_not_cross_from_one_file_to_another(tmp_path: Path) -> None:
    numbers = [7, 8, 9, 10, 11, 30, 31, 32, 22, 23]
    windows = NumpyDataset(Subset(images("concatenate", tmp_path), numbers)).windows(2)
    found = [window.numpy()[:, 0, 0].astype(int) // 6 for window in windows]
    assert [w.tolist() for w in found] == [[7, 8], [8, 9], [10, 11], [30, 31], [31, 32], [22, 23]]


def test_rows_that_are_looked_up_make_no_recordings(tmp_path: Path) -> None:
    """They would cut the samples that look them up wherever a row of another file comes."""
    numbers = np.random.default_rng(0).integers(0, 40, 60)
    clicks = npdata.concatenate([np.arange(20) + 100 * k for k in range(3)])
    data = NumpyDataset(item=Subset(images("concatenate", tmp_path), numbers), click=clicks)
    assert data.borders.tolist() == [0, 20, 40, 60]
    assert len(data.windows(5)) == 3 * 16
    train, test = data.split(2 / 3, by="recording")
    assert set(train // 20).isdisjoint(test // 20)


@pytest.mark.parametrize("by", ["recording", "file"])
@pytest.mark.parametrize("kind", ["concatenate", "stack"])
def test_a_split_leaves_no_file_in_both_parts(kind: str, by: Any, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 40, 200)
    file_of = numbers // 10 if kind == "concatenate" else numbers
    found = images(kind, tmp_path)
    with pytest.raises(FieldError, match="groups="):
        NumpyDataset(Subset(found, numbers)).split(0.5, by=by)
    ordered = NumpyDataset(Subset(found, np.sort(numbers)))
    if (kind, by) == ("stack", "recording"):
        return  # a sample of a file is no recording
    train, test = ordered.split(0.5, by=by)
    assert set(np.sort(file_of)[train]).isdisjoint(np.sort(file_of)[test])


@pytest.mark.parametrize("sessions", [3, 4])
def test_chosen_rows_may_lie_beside_other_groups(sessions: int, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for k, count in enumerate((10, 20, 10)):
            file[f"user/{k}/x"] = IMAGES[:count]
        for k in range(sessions):
            file[f"session/{k}/y"] = np.arange(7)
    users = NumpyDataset(f"{tmp_path}/d.h5::user/*/x")
    numbers = np.arange(7 * sessions)
    data = NumpyDataset(x=Subset(users, numbers), y=f"{tmp_path}/d.h5::session/*/y")
    assert (data[:]["x"].numpy() == np.concatenate([IMAGES[:10], IMAGES])[numbers]).all()


def test_workers_read_chosen_rows(tmp_path: Path) -> None:
    numbers = np.arange(80) % 40
    ds = NumpyDataset(Subset(images("gzip", tmp_path), numbers))
    loader = DataLoader(
        ds, 16, num_workers=1, collate_fn=npdata.collate, multiprocessing_context="forkserver"
    )
    assert (torch.cat(list(loader)).numpy() == IMAGES[numbers]).all()


def test_describe_says_which_rows_were_chosen() -> None:
    for rows, order in (([1, 3, 2], "an order of their own"), ([1, 2, 2], "their order")):
        ds = NumpyDataset(Subset(NumpyDataset(IMAGES), rows))
        assert f"3 out of 40, chosen by number, in {order}" in str(ds.describe())


def test_what_stands_for_no_field_is_refused_with_what_to_write() -> None:
    two = NumpyDataset(IMAGES, np.arange(40))
    with pytest.raises(UnsupportedSourceError, match="a Loader takes one of several fields"):
        NumpyDataset(Subset(two, [0]))
    with pytest.raises(UnsupportedSourceError, match=r"as Subset\(NumpyDataset\(x\), rows\)"):
        NumpyDataset(Subset(IMAGES, [0]))


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([1, 40], RowIndexError, "row 40 at position 1 of the indices is out of range"),
        (np.arange(40) < 3, RowIndexTypeError, r"takes np\.flatnonzero\(mask\)"),
        (np.array([0.0, 1.0]), RowIndexTypeError, r"array\.astype\(np\.int64\)"),
        (np.zeros((4, 2), int), RowIndexTypeError, "in one dimension"),
        (NumpyDataset(np.arange(3)).fields[0], FieldError, r"give it np\.asarray\(indices\)"),
    ],
    ids=["1-based", "mask", "floats", "pairs", "field"],
)
def test_indices_that_choose_no_rows_are_refused_as_where_they_are_read(
    indices: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        NumpyDataset(x=Subset(NumpyDataset(IMAGES), indices))
    assert caught.value.__notes__ == ["while opening field 'x'"]


def test_functions_and_windows_of_chosen_rows_are_given_to_the_whole() -> None:
    functions, windows = NumpyDataset(i=IMAGES, transform=abs), NumpyDataset(IMAGES).windows(2)
    for dataset in (functions, windows):
        with pytest.raises(FieldError, match="no functions and no windows") as caught:
            NumpyDataset(x=Subset(dataset, [0]))
    whole = "NumpyDataset(x=Subset(NumpyDataset(ds.fields[0]), rows), transform=f)"
    in_batch = "batch_transform=lambda b: {**b, 'x': windows[b['row']]}"
    assert whole in str(caught.value)
    assert in_batch in str(caught.value)
    names = {"NumpyDataset": NumpyDataset, "Subset": Subset, "ds": NumpyDataset(IMAGES)}
    made = eval(whole, names | {"rows": [5], "f": lambda sample: {"x": -sample["x"]}})
    assert (made[0]["x"].numpy() == -IMAGES[5]).all()
    function = eval(in_batch.removeprefix("batch_transform="), {"windows": windows})
    made = NumpyDataset(row=np.array([7, 3]), batch_transform=function)
    assert (made[:]["x"].numpy() == IMAGES[[[7, 8], [3, 4]]]).all()
