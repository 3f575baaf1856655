"""Numbers that stand for names stand for the same ones in all parts of a field."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import npdata
from npdata.errors import FieldError, FormatError, MemberNotFoundError
from npdata.sources.concatenated.concat import ConcatSource
from npdata.sources.labels import LabelSource


def names_of(ds: npdata.NumpyDataset) -> list[str | None]:
    """The name of each label, None where it is missing."""
    categories = ds.fields["label"].categories
    return [None if code < 0 else categories[code] for code in ds[:]["label"].tolist()]


def write(
    path: Path, codes: list[int], categories: list[str], dtype: str = "i1", refers: bool = False
) -> str:
    """Write a categorical column as AnnData does, or as AnnData 0.7 did, which `refers`."""
    with h5py.File(path, "w") as file:
        if refers:
            names = file.create_dataset("__categories/kind", data=np.array(categories, "S9"))
            file["kind"] = np.array(codes, dtype)
            file["kind"].attrs["categories"] = names.ref
            return f"{path}::kind"
        kind = file.create_group("kind")
        kind.attrs["encoding-type"] = "categorical"
        kind["codes"] = np.array(codes, dtype)
        kind["categories"] = np.array(categories, "S9")
    return f"{path}::kind"


@pytest.fixture(params=[(False, False), (False, True), (True, True)])
def two(in_folder: Path, request: pytest.FixtureRequest) -> tuple[str, str]:
    first, second = request.param
    write(Path("s0.h5"), [1, 0, -1], ["B", "T"], refers=first)
    write(Path("s1.h5"), [1, 2, 0], ["B", "NK", "T"], refers=second)
    return "s0.h5::kind", "s1.h5::kind"


WANTED = ["T", "B", None, "NK", "T", "B"]


@pytest.mark.parametrize("way", ["concatenate", "from_hdf5", "sum"])
def test_files_with_other_categories_share_one_code(two: tuple[str, str], way: str) -> None:
    make = {
        "concatenate": lambda: npdata.concatenate(label="s*.h5::kind"),
        "from_hdf5": lambda: npdata.NumpyDataset.from_hdf5("s*.h5", label="kind"),
        "sum": lambda: sum(npdata.NumpyDataset(label=path) for path in two),
    }
    ds = make[way]()
    assert names_of(ds) == WANTED
    assert ds.fields["label"].categories == ("B", "T", "NK")  # those of the first file stay
    assert "codes   of 3 categories: 'B', 'T', 'NK'" in str(ds.describe())
    again = pickle.loads(pickle.dumps(ds))
    assert names_of(again) == WANTED
    assert names_of(again + npdata.NumpyDataset(label=two[1])) == [*WANTED, "NK", "T", "B"]
    assert names_of(sum([ds, ds])) == 2 * WANTED


def test_codes_of_another_width(two: tuple[str, str], in_folder: Path) -> None:
    many = [f"n{k}" for k in range(200)]
    wide = write(Path("wide.h5"), [199, 0], many, "i2")
    one, other = npdata.NumpyDataset(label=two[0]), npdata.NumpyDataset(label=wide)
    both = one + other
    assert both[:]["label"].dtype == torch.int16
    assert names_of(both) == ["T", "B", None, "n199", "n0"]
    assert names_of(npdata.concatenate(label=[two[0], wide])) == names_of(both)


def test_more_names_than_the_codes_have_room_for(in_folder: Path) -> None:
    parts = [write(Path(f"p{p}.h5"), [99], [f"{p}-{k}" for k in range(100)]) for p in ("a", "b")]
    ds = npdata.concatenate(label=parts)
    assert ds[:]["label"].dtype == torch.int16
    assert names_of(ds) == ["a-99", "b-99"]


@pytest.mark.parametrize("refers", [False, True])
@pytest.mark.parametrize("code", [2, -2])
def test_a_code_without_a_name_is_refused(in_folder: Path, refers: bool, code: int) -> None:
    path = write(Path("wrong.h5"), [1, code, 0], ["B", "T"], refers=refers)
    told = rf"row 1 of .*wrong.h5::/kind has the code {code}, and it has 2 categories"
    with pytest.raises(FormatError, match=told):
        npdata.open_source(path)


def test_columns_of_many_groups_have_no_names_in_common(in_folder: Path) -> None:
    write(Path("s.h5"), [0], ["B"], refers=True)
    with h5py.File("s.h5", "a") as file:
        file["part/a"] = file["/"]
    with pytest.raises(FieldError, match=r"categorical column, .* npdata.concatenate\("):
        npdata.open_source("s.h5::part/*/kind")


def test_columns_of_anndata_0_6_have_their_names(in_folder: Path) -> None:
    codes = [1, 0, -1], [1, 2, 0]
    for k, names in enumerate((["B", "T"], ["B", "NK", "T"])):
        with h5py.File(f"s{k}.h5ad", "w") as file:
            file["obs"] = np.rec.fromarrays([np.array(codes[k], "i1"), codes[k]], names="kind,n")
            file["uns/kind_categories"] = np.array(names, "S9")
    assert names_of(npdata.concatenate(label="s*.h5ad::obs.kind")) == WANTED
    for path in ("s0.h5ad::obs", "s*.h5ad::obs"):
        assert npdata.concatenate(path, columns="n")[:].tolist()[:3] == [1, 0, -1]
        for columns in ("kind", ["n", "kind"]):
            with pytest.raises(FieldError, match=r"'kind' of .*s0.* write '...::obs.kind'"):
                npdata.concatenate(path, columns=columns)
    for whole in ("s0.h5ad::obs", "s*.h5ad::obs"):
        told = r"'kind' holds codes .* write '...::obs.kind', .*; columns=\('n',\) leaves it out"
        with pytest.raises(npdata.errors.ConversionError, match=told):
            npdata.concatenate(whole)
    assert npdata.NumpyDataset("s0.h5ad::obs", columns=["n"])[0] == {"n": 1}
    assert npdata.NumpyDataset("s0.h5ad::obs.n").fields[0].categories == ()
    with pytest.raises(MemberNotFoundError, match="no dataset 'obs/kind'; 'obs' is a table"):
        npdata.open_source("s0.h5ad::obs/kind")


def test_only_tables_of_anndata_hold_codes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["other"] = np.rec.fromarrays([np.arange(3)], names="kind")
        file["obs"] = np.arange(3)
        file["uns/kind_categories"] = np.array(["B", "T", "NK"], "S9")
    for name in ("other.kind", "obs"):
        ds = npdata.NumpyDataset(f"{tmp_path}/d.h5::{name}")
        assert ds[:].tolist() == [0, 1, 2]
        assert ds.fields[0].categories == ()


def test_labels_of_two_folders(in_folder: Path) -> None:
    for name in ("a/cat", "a/dog", "b/ant", "b/dog"):
        Path(name).mkdir(parents=True)
        np.save(f"{name}/0.npy", np.zeros(2))
    parts = [npdata.stack(x=f"{k}/*/*.npy", label_from=r"([^/]+)/[^/]+$") for k in "ab"]
    assert names_of(parts[0] + parts[1]) == ["cat", "dog", "ant", "dog"]


def test_a_part_with_nothing_but_missing_labels(two: tuple[str, str]) -> None:
    empty = write(Path("none.h5"), [-1, -1], [])
    ds = npdata.concatenate(label=[empty, two[0]])
    assert names_of(ds) == [None, None, "T", "B", None]


def test_numbers_without_names_are_no_part(two: tuple[str, str]) -> None:
    with pytest.raises(FieldError, match=r"array in memory holds numbers, and .*s0\.h5.* names"):
        npdata.concatenate([two[0], np.zeros(3, np.int8)])


@pytest.mark.parametrize("number", [-7, -1.0])
def test_numbers_below_0_are_no_missing_labels(two: tuple[str, str], number: float) -> None:
    numbers = LabelSource(np.array([number]), where="numbers")
    with pytest.raises(FieldError, match=r"numbers holds numbers, and .*s0\.h5.* names"):
        npdata.concatenate([two[0], numbers])


def test_windows_of_other_categories_are_refused(two: tuple[str, str]) -> None:
    one, other = (npdata.NumpyDataset(label=path) for path in two)
    with pytest.raises(FieldError, match=r"make windows of the sum: \(a \+ b\)\.windows"):
        one.windows(2) + other.windows(2)
    windows = (one + other).windows(2)
    assert windows.fields["label"].categories == ("B", "T", "NK")


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=6), min_size=1, max_size=4))
def test_any_parts_keep_their_names(parts: list[list[str]]) -> None:
    made = []
    for names in parts:
        categories = sorted(set(names), reverse=len(made) % 2 == 1)
        codes = np.array([categories.index(name) for name in names], np.int64)
        made.append(LabelSource(codes, categories))
    source = ConcatSource(made)
    out = np.empty(source.shape, source.dtype)
    source.read_run(0, out)
    assert [source.categories[code] for code in out] == [n for names in parts for n in names]
