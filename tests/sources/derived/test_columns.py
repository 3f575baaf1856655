"""Columns of records are NumPy's `array["a"]["b"]`, in place and out of compressed files."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import npdata
from npdata import NumpyDataset
from npdata.errors import ConversionError, FieldError, MemberNotFoundError

PERSON = np.dtype(
    [
        ("age", "i4"),
        ("name", "S6"),
        ("price", ">f8"),
        ("pos", [("x", "f4", (2,)), ("y", "f8")]),
    ]
)
ROWS = [0, 7, 3, 7, -1]


def people() -> np.ndarray:
    made = np.zeros(30, PERSON)
    made["age"], made["price"] = np.arange(30), np.arange(30) / 4
    made["name"] = [f"n{k}" for k in range(30)]
    made["pos"]["x"] = np.arange(60).reshape(30, 2)
    made["pos"]["y"] = -np.arange(30)
    return made


def stored(kind: str, folder: Path) -> Any:
    if kind == "memory":
        return people()
    if kind == "npy":
        np.save(folder / "t.npy", people())
        return folder / "t.npy"
    options: Any = {"hdf5": {}, "gzip": {"chunks": (8,), "compression": 4}}[kind]
    with h5py.File(folder / "t.h5", "w") as file:
        file.create_dataset("group/table", data=people(), **options)
    return f"{folder}/t.h5::group/table"


KINDS = ("memory", "npy", "hdf5", "gzip")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", ["age", "price", "pos.x", "pos.y"])
def test_one_column_is_a_field_of_its_own(kind: str, column: str, tmp_path: Path) -> None:
    wanted = people()
    for name in column.split("."):
        wanted = wanted[name]
    ds = NumpyDataset(stored(kind, tmp_path), columns=column)
    np.testing.assert_array_equal(ds[ROWS].numpy(), wanted[ROWS])
    np.testing.assert_array_equal(ds[5].numpy(), wanted[5])
    np.testing.assert_array_equal(ds[3:9:2].numpy(), wanted[3:9:2])
    np.testing.assert_array_equal(ds.windows(3)[2].numpy(), wanted[2:5])
    copy = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(copy[ROWS].numpy(), wanted[ROWS])
    if column != "pos.x":
        np.testing.assert_allclose(ds.statistics()[0].mean, wanted.mean())


@pytest.mark.parametrize("kind", KINDS)
def test_several_columns_are_a_dict_with_text_that_was_named(kind: str, tmp_path: Path) -> None:
    ds = NumpyDataset(stored(kind, tmp_path), columns=("price", "name", "pos", "pos.y"))
    batch, wanted = ds[ROWS], people()[ROWS]
    assert list(batch) == ["price", "name", "pos", "pos.y"]
    np.testing.assert_array_equal(batch["price"].numpy(), wanted["price"])
    np.testing.assert_array_equal(batch["pos"]["x"].numpy(), wanted["pos"]["x"])
    np.testing.assert_array_equal(batch["pos.y"].numpy(), wanted["pos"]["y"])
    assert batch["name"] == [name.decode() for name in wanted["name"].tolist()]
    assert ds[3]["name"] == "n3"
    loader = DataLoader(
        ds, 16, num_workers=1, collate_fn=npdata.collate, multiprocessing_context="forkserver"
    )
    assert [batch["name"][0] for batch in loader] == ["n0", "n16"]
    assert set(ds.statistics()) == {"0.price", "0.pos.x", "0.pos.y"}


@pytest.mark.parametrize("kind", KINDS)
def test_text_that_was_named_is_kept_in_a_sum(kind: str, tmp_path: Path) -> None:
    ds = NumpyDataset(stored(kind, tmp_path), columns=("name", "age"))
    sent = pickle.loads(pickle.dumps(ds + ds))
    for both in (ds + ds, sent, sent + ds):
        batch = both[[37, 3]]
        assert batch["name"] == ["n7", "n3"]
        assert batch["age"].tolist() == [7, 3]


def test_text_of_windows_is_refused_with_what_leaves_it_out() -> None:
    ds = NumpyDataset(people(), columns=("name", "age"))
    with pytest.raises(ConversionError, match=r"one string a row only; columns=\('age',\) leaves"):
        ds.windows(2)
    assert NumpyDataset(people(), columns=("age",)).windows(2)[0]["age"].tolist() == [0, 1]


def test_a_path_names_a_column(tmp_path: Path) -> None:
    where = stored("gzip", tmp_path)
    ds = NumpyDataset(age=f"{where}.age", x=f"{where}.pos.x")
    np.testing.assert_array_equal(ds[4]["x"].numpy(), people()["pos"]["x"][4])
    named = NumpyDataset.from_hdf5(tmp_path / "t.h5", age="group/table.age")
    assert named[4]["age"] == 4
    assert NumpyDataset(f"{where}.name", dtype=str)[:2] == ["n0", "n1"]


def test_a_dataset_with_a_dot_in_its_name_comes_first(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["a"], file["a.age"] = people(), np.arange(3)
        file["b.c"], file["plain"] = people(), np.arange(3)
    assert len(NumpyDataset(f"{tmp_path}/t.h5::a.age")) == 3
    assert len(NumpyDataset(f"{tmp_path}/t.h5::a.price")) == 30
    assert NumpyDataset(f"{tmp_path}/t.h5::b.c.age")[3] == 3
    with pytest.raises(MemberNotFoundError, match=r"no dataset 'plain\.age'"):
        NumpyDataset(f"{tmp_path}/t.h5::plain.age")


@pytest.mark.parametrize("kind", KINDS)
def test_the_advice_of_the_error_works(kind: str, tmp_path: Path) -> None:
    given = stored(kind, tmp_path)
    with pytest.raises(ConversionError, match="column 'name': a tensor holds no text") as caught:
        NumpyDataset(given)
    advised = str(caught.value).partition("columns=")[2].partition(" leaves")[0]
    assert advised == "('age', 'price', 'pos.x', 'pos.y')"
    assert list(NumpyDataset(given, columns=eval(advised))[0]) == list(eval(advised))
    assert NumpyDataset(given, columns=("age", "name"))[1]["name"] == "n1"


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    where = stored("hdf5", tmp_path)
    with pytest.raises(MemberNotFoundError, match="no column 'agee'; it has 'age', 'name'"):
        NumpyDataset(f"{where}.agee")
    with pytest.raises(MemberNotFoundError, match="pos has no column 'z'; it has 'x', 'y'"):
        NumpyDataset(where, columns=("age", "pos.z"))
    with pytest.raises(MemberNotFoundError, match=r"no dataset 'other\.age'"):
        NumpyDataset(f"{tmp_path}/t.h5::other.age")
    for given in (where, (where, ("age", "name"))):
        path, columns = given if isinstance(given, tuple) else (given, None)
        with pytest.raises(ConversionError, match="columns= keeps its text columns as str"):
            NumpyDataset(path, columns=columns, dtype=str)
    with pytest.raises(FieldError, match="columns= is for rows that are records"):
        NumpyDataset(np.zeros(3), columns="age")
    with pytest.raises(FieldError, match="twice"):
        NumpyDataset(where, columns=("age", "age"))
    with pytest.raises(FieldError, match="expected the name of a column"):
        NumpyDataset(where, columns=3)


@pytest.mark.parametrize("names", [("x", "y"), (0,), (0, 1), (1, 0)])
def test_columns_of_plain_rows_are_taken_from_the_batch_as_the_error_says(
    names: tuple[Any, ...],
) -> None:
    table, numbers = np.arange(12).reshape(4, 3), np.arange(4)
    arrays = {name: table if name == names[0] else numbers for name in sorted(names)}
    named = isinstance(names[0], str)
    fields, given = ([], arrays) if named else (list(arrays.values()), {})
    with pytest.raises(FieldError, match="take them from the batch") as error:
        NumpyDataset(*fields, **given, columns={names[0]: "a"})
    told = str(error.value).rpartition("batch_transform=")[2]
    ds = NumpyDataset(*fields, **given, batch_transform=eval(told, {"columns": [0, 2]}))
    batch = ds[:] if len(names) > 1 else [ds[:]]
    assert batch[names[0]].tolist() == table[:, [0, 2]].tolist()
    with pytest.raises(FieldError, match="rows of one shape; a field of that name"):
        NumpyDataset(numbers, columns="a")


def test_columns_are_chosen_for_each_field_and_over_many_files(tmp_path: Path) -> None:
    chosen = {"t": "age", "u": ("price",)}
    ds = NumpyDataset(t=people(), u=people(), x=np.zeros(30), columns=chosen)
    assert ds[3]["t"] == 3
    assert ds[3]["u"] == {"price": 0.75}
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", people())
    assert npdata.concatenate(f"{tmp_path}/*.npy", columns="age")[35] == 5
    assert npdata.stack(f"{tmp_path}/*.npy", columns="age")[1].tolist() == list(range(30))


def test_text_of_variable_length_in_records_is_kept_where_it_is_named(tmp_path: Path) -> None:
    kind = np.dtype([("id", "i8"), ("note", h5py.string_dtype())])
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["t"] = np.array([(1, "a"), (2, "bcd é")], kind)
    ds = NumpyDataset(f"{tmp_path}/t.h5::t", columns=("id", "note"))
    assert ds[:]["note"] == ["a", "bcd é"]
    assert NumpyDataset(f"{tmp_path}/t.h5::t.id")[:].tolist() == [1, 2]


def test_tables_of_pytables_are_read(tmp_path: Path) -> None:
    tables = pytest.importorskip("tables")
    with tables.open_file(tmp_path / "p.h5", "w") as file:
        rows = people().astype(PERSON.newbyteorder("<"))
        table = file.create_table("/", "people", rows, filters=tables.Filters(complevel=5))
        wanted = table.read()
    ds = NumpyDataset(f"{tmp_path}/p.h5::people", columns=("age", "pos.x", "name"))
    np.testing.assert_array_equal(ds[ROWS]["pos.x"].numpy(), wanted["pos"]["x"][ROWS])
    np.testing.assert_array_equal(ds[ROWS]["age"].numpy(), wanted["age"][ROWS])
    assert ds[2]["name"] == wanted["name"][2].decode()


def test_frames_of_pandas_are_read(tmp_path: Path) -> None:
    pytest.importorskip("tables")
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"age": np.arange(9), "price": np.arange(9) / 2})
    frame["city"] = list("abcdefghi")
    frame.to_hdf(tmp_path / "f.h5", key="df", format="table", data_columns=True)
    frame[["age"]].to_hdf(tmp_path / "f.h5", key="fixed", format="fixed")
    ds = NumpyDataset(f"{tmp_path}/f.h5::df/table", columns=("age", "price", "city"))
    batch = ds[[5, 0]]
    assert batch["price"].tolist() == frame.price[[5, 0]].tolist()
    assert batch["city"] == frame.city[[5, 0]].tolist()
    assert NumpyDataset(f"{tmp_path}/f.h5::df/table.age")[:].tolist() == frame.age.tolist()
    fixed = NumpyDataset(f"{tmp_path}/f.h5::fixed/block0_values")
    assert fixed[:].squeeze(1).tolist() == frame.age.tolist()


def test_a_column_may_have_dots_in_its_own_name(tmp_path: Path) -> None:
    """R and pandas have such names: `Sepal.Length`."""
    records = np.zeros(5, [("Sepal.Length", "f8"), ("at", [("x.y", "i4")]), ("id", "i2")])
    records["Sepal.Length"], records["at"]["x.y"] = np.arange(5) / 2, np.arange(5)
    np.save(tmp_path / "t.npy", records)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["t"] = records
    for source in (records, tmp_path / "t.npy", f"{tmp_path}/t.h5::t"):
        assert NumpyDataset(source, columns="Sepal.Length")[3] == 1.5
        some = NumpyDataset(source, columns=("at.x.y", "Sepal.Length"))
        again = pickle.loads(pickle.dumps(some))[[4]]
        assert {name: rows.tolist() for name, rows in again.items()} == {
            "at.x.y": [4],
            "Sepal.Length": [2.0],
        }
    assert NumpyDataset(f"{tmp_path}/t.h5::t.Sepal.Length")[3] == 1.5
    assert NumpyDataset(f"{tmp_path}/t.h5::t.at.x.y")[3] == 3


def test_a_column_of_times_says_how_to_have_its_ticks() -> None:
    records = np.zeros(3, [("id", "i4"), ("t", "M8[s]")])
    records["t"] = np.arange(3)
    with pytest.raises(ConversionError, match=r"columns='t' with dtype=torch\.int64"):
        NumpyDataset(records)
    assert NumpyDataset(records, columns="t", dtype=torch.int64)[:].tolist() == [0, 1, 2]
