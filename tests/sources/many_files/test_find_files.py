"""Names of files: natural order, lists kept small, pairs by stem."""

import itertools
import os
import pickle
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npdata
from npdata.cli.files import files_of
from npdata.errors import ExternalDataError, FieldError, FormatError, MemberNotFoundError
from npdata.sources.many_files.file_list import FileList, compressed, decompressed
from npdata.sources.many_files.find_files import find_files
from npdata.sources.names import matched_by, natural_key, naturally_sorted, some_of

names = st.lists(
    st.text("ab019/-.é", min_size=1, max_size=8).map(lambda t: t.strip("/") or "a"), unique=True
)


@given(names)
def test_natural_order_compares_numbers_as_numbers(given_names: list[str]) -> None:
    def slow(name: str) -> list[list[object]]:
        folders = [re.split(r"([0-9]+)", folder) for folder in name.split("/")]
        return [[(0, int(p)) if p.isdigit() else p for p in parts] for parts in folders]

    ordered = naturally_sorted(given_names)
    assert sorted(ordered) == sorted(given_names)
    assert ordered == sorted(given_names, key=natural_key)
    for one, two in itertools.pairwise(ordered):
        a, b = slow(one), slow(two)
        if [[t for t in f if isinstance(t, str)] for f in a] == [
            [t for t in f if isinstance(t, str)] for f in b
        ]:
            assert a <= b


@pytest.mark.parametrize(
    "ordered",
    [
        ["x1.npy", "x2.npy", "x10.npy"],
        ["x01", "x1", "x2"],
        ["a/x2", "a/x10", "a-b/x1"],
        ["1", "2", "10"],
        ["v1.2", "v1.10", "v2.1"],
        ["x0.npy", "x00.npy", "x1.npy"],
        ["x12", "x100"],
        ["a10b", "a20"],
        ["a5", "x1", "x2"],
        ["x²1", "x³1"],
    ],
)
def test_natural_order_of_usual_names(ordered: list[str]) -> None:
    assert naturally_sorted(reversed(ordered)) == ordered


@pytest.mark.parametrize(
    ("pattern", "found", "matched"),
    [
        ("a+(*).npy", ["a+(1).npy", "a+(20).npy"], ["1", "20"]),
        ("*/x", ["a/x", "b/x"], ["a", "b"]),
        ("*/x", ["a/x", "b/c/x"], None),
        ("*_1", ["a_1", "a_1", "b_2"], None),
    ],
)
def test_wildcards_match_parts_of_names(pattern: str, found: list[str], matched: Any) -> None:
    assert matched_by(pattern, found) == matched


def test_of_many_names_the_first_are_shown() -> None:
    assert some_of("xyz", 2) == "'x', 'y', ..."


@given(names, st.data())
def test_a_list_of_files_is_the_names(paths: list[str], data: st.DataObject) -> None:
    members = [data.draw(st.sampled_from([None, "x", "a::b"])) for _ in paths]
    files = FileList.of(paths, members)
    shown = [p if m is None else f"{p}::{m}" for p, m in zip(paths, members, strict=True)]
    for each in (files, pickle.loads(pickle.dumps(files))):
        assert list(each) == shown
        assert each[::-1] == shown[::-1]
        assert [each.path(k) for k in range(len(each))] == [
            os.fsencode(f"{Path.cwd()}/{path}") for path in paths
        ]
    if paths:
        order = data.draw(st.permutations(range(len(paths))))
        assert list(files.take(order)) == [shown[k] for k in order]
        assert files.take(order).path(0) == files.path(order[0])


def test_absolute_and_odd_names_are_found_again() -> None:
    for name in ("/a/b.npy", "/", "é/ü.npy", os.fsdecode(b"\xff/x.npy")):
        files = FileList.of([name, name + "x"])
        assert list(files) == [name, name + "x"]
        assert files.path(0) == os.fsencode(Path.cwd() / name)
    with pytest.raises(IndexError):
        files[2]


def test_absolute_names_beside_relative_ones() -> None:
    files = FileList.of(["/a/b.npy", "c/d.npy"])
    assert list(files) == ["/a/b.npy", "c/d.npy"]
    assert [files.path(k) for k in (0, 1)] == [b"/a/b.npy", os.fsencode(Path.cwd() / "c/d.npy")]
    assert files.take([1, 0]).path(1) == b"/a/b.npy"


@given(st.lists(st.integers(-(1 << 40), 1 << 40)))
def test_packed_numbers_come_back(numbers: list[int]) -> None:
    array = np.array(numbers, np.int64)
    assert (decompressed(compressed(array)) == array).all()


def test_a_million_names_pickle_into_a_tenth() -> None:
    names = [f"/data/train/{k // 1000}/image_{k}.npy" for k in range(10**5)]
    assert len(pickle.dumps(FileList.of(names))) < sum(map(len, names)) / 10


def test_members_by_wildcards_and_files_with_colons(in_folder: Path) -> None:
    np.savez("a.npz", scan_10=1, scan_2=1, other=1)
    np.savez("b::c.npz", scan_1=1)
    assert list(find_files("*.npz::scan_*")) == [
        "a.npz::scan_2",
        "a.npz::scan_10",
        "b::c.npz::scan_1",
    ]
    assert list(find_files("b::c.npz::scan_1")) == ["b::c.npz::scan_1"]
    with pytest.raises(MemberNotFoundError, match="matches 'y"):
        find_files("*.npz::y*")
    with pytest.raises(FieldError, match="comes twice"):
        find_files(["a.npz::scan_2", "a.npz::scan_*"])


def test_a_name_behind_a_file_of_one_array_is_refused_also_where_it_is_empty(
    in_folder: Path,
) -> None:
    np.save("x.npy", np.arange(3))
    for name in ("x.npy::", "x.npy::x"):
        for opened in (npdata.NumpyDataset, npdata.concatenate, npdata.stack):
            with pytest.raises(MemberNotFoundError, match=r"has no 'x?': leave out what .* ::"):
                opened(name)


def test_the_longest_part_that_is_there_is_the_file(in_folder: Path) -> None:
    for name in ("b/x.npz", "b::c/x.npz", "::.npz"):
        Path(name).parent.mkdir(exist_ok=True)
        np.savez(name, a=1)
    for text, found in (
        ("b::c/x.npz::a", "b::c/x.npz"),
        ("b::c/*.npz::a", "b::c/x.npz"),
        ("b::c/*.npz::[ab]", "b::c/x.npz"),
        ("b::c::a", "b::c/x.npz"),
        ("./::.npz::a", "./::.npz"),
    ):
        assert list(find_files(text)) == [f"{found}::a"]
    assert list(find_files("b::c/*")) == ["b::c/x.npz"]


def test_a_link_to_a_folder_above_repeats_no_file(tmp_path: Path) -> None:
    for name in ("a/x.npy", "a/b/x.npy", "x.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/b/up").symlink_to(tmp_path)
    found = [f"{tmp_path}/{name}" for name in ("a/b/x.npy", "a/x.npy", "x.npy")]
    assert list(find_files(f"{tmp_path}/**/*.npy")) == found
    assert sorted(find_files(tmp_path)) == found


def test_a_link_to_itself_in_a_folder_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x.npy").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert list(find_files(tmp_path)) == [f"{tmp_path}/x.npy"]


def test_files_keep_the_name_without_a_link_whatever_is_listed_first(tmp_path: Path) -> None:
    for folder, links in (("b", ("a", "c")), ("far/b", ("d", "e"))):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.npy").touch()
        for link in links:
            (tmp_path / link).symlink_to(tmp_path / folder)
    for text in (f"{tmp_path}/**/*.npy", f"{tmp_path}", f"{tmp_path}/"):
        found = [name.removeprefix(f"{tmp_path}/") for name in find_files(text)]
        assert found == ["b/x.npy", "far/b/x.npy"]
    (tmp_path / "near").mkdir()
    for link in ("n2", "n1"):
        (tmp_path / "near" / link).symlink_to(tmp_path / "far")
    for text in (f"{tmp_path}/near/**/*.npy", f"{tmp_path}/near"):
        assert list(find_files(text)) == [f"{tmp_path}/near/n1/b/x.npy"]


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (frozenset({"x.npy"}), TypeError, "a frozenset names no files"),
        (np.array("x.npy"), TypeError, "an ndarray names no files"),
        ("{x,y}.npy*", FieldError, r"braces stand for themselves: a list of globs"),
        (["~/x.npy"], OSError, "expanduser"),
        ("$PWD/not there/*.npy", OSError, "expandvars"),
        (["s3://a/x.npy"], OSError, "mount or download"),
        ("wide.txt", FormatError, "wide.txt has null bytes, as text in UTF-16 has"),
        ("d.h5::**/x", FieldError, r"\*\* in '\*\*/x'.* one part of it"),
        ("list.txt", OSError, "list.txt names it, and names in a .txt are seen from its folder"),
    ],
    ids=repr,
)
def test_what_names_no_files_says_what_to_write(
    in_folder: Path, files: Any, error: type[Exception], message: str
) -> None:
    Path("wide.txt").write_text("x.npy\n", "utf-16")
    Path("list.txt").write_text("data/x.npy\n")
    h5py.File("d.h5", "w").close()
    with pytest.raises(error, match=message):
        find_files(files)


def test_any_depth_is_no_wildcard_of_a_dataset(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["a/x"] = file["b/x"] = np.zeros(2)
    with pytest.raises(FieldError, match=r"write a \* for each"):
        npdata.NumpyDataset.from_hdf5(tmp_path / "d.h5", "**/x")


@pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
def test_a_name_with_wildcards_that_is_there_is_that_dataset(tmp_path: Path, function: Any) -> None:
    path = tmp_path / "star.h5"
    with h5py.File(path, "w") as file:
        file["a**b"], file["a*c"], file["a--c"] = np.zeros(2), np.ones(2), np.full(2, 2)
    for name, value in (("a**b", 0), ("a*c", 1)):
        rows = npdata.NumpyDataset(f"{path}::{name}")[:].tolist()
        assert function(f"{path}::{name}")[:].flatten().tolist() == rows == [value, value]


def test_a_file_in_which_nothing_matches_is_named_beside_others(tmp_path: Path) -> None:
    for name, member in (("a", "scan_1"), ("b", "other"), ("c", "none"), ("d", "scan_2")):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file[member] = np.arange(2)
    with pytest.raises(MemberNotFoundError, match=r"of \S+b.h5 matches 'scan_\*', nor of 1 more"):
        npdata.stack(f"{tmp_path}/*.h5::scan_*")
    with pytest.raises(MemberNotFoundError, match=r"as a list, \['\S+a.h5::scan_\*', ...\]"):
        npdata.concatenate(tmp_path / "[ab].h5::scan_*")
    assert len(npdata.stack([f"{tmp_path}/{name}.h5::scan_*" for name in "ad"])) == 2


def test_an_array_with_several_names_is_found_under_each(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for k in range(3):
            file[f"demo/{k}/x"] = np.full(2, k)
        file["a"] = file["demo/0/x"]  # a name that comes before
        file["best"] = file["demo/2"]
        file["demo/3"] = h5py.SoftLink("/best")
        file["demo/empty/y"] = 1
    members = find_files(f"{tmp_path}/d.h5::demo/*/x")
    assert [name.rpartition("::")[2] for name in members] == [f"demo/{k}/x" for k in range(4)]
    assert npdata.stack(f"{tmp_path}/d.h5::demo/*/x")[:].tolist() == [
        [0, 0],
        [1, 1],
        [2, 2],
        [2, 2],
    ]
    assert npdata.stack(f"{tmp_path}/d.h5::*")[:].tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("link", "error", "message"),
    [
        (h5py.ExternalLink("other.h5", "/x"), ExternalDataError, "'other.h5'"),
        (h5py.SoftLink("/nothing"), MemberNotFoundError, "leads nowhere"),
    ],
    ids=["to another file", "to nothing"],
)
def test_a_name_that_leads_to_no_array_of_the_file_is_refused(
    link: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    for path, name in (("d.h5", "x1"), ("groups.h5", "demo/1/x")):
        with h5py.File(tmp_path / path, "w") as file:
            file[name.replace("1", "0")] = np.arange(2)
            file[name] = link
        with pytest.raises(error, match=message):
            npdata.stack(f"{tmp_path}/{path}::{name.replace('1', '*')}")


def test_members_are_found_whatever_the_case_of_the_suffix(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=np.zeros(2), b=np.ones(2))
    capital = (tmp_path / "d.npz").rename(tmp_path / "D.NPZ")
    assert npdata.concatenate(f"{capital}::*")[:].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        ("m.h5::*/o", ("arrays", "3, in natural order: m.h5::d1/o, m.h5::d2/o, m.h5::d10/o")),
        (["m.h5::d2/o", "m.h5::d1/o"], ("arrays", "2, in this order: m.h5::d2/o, m.h5::d1/o")),
        ("?.h5::d1/o", ("files", "2, in natural order: m.h5::d1/o, n.h5::d1/o")),
    ],
    ids=str,
)
def test_a_description_says_the_order_of_arrays_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Any, shown: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for stem in "mn":
        with h5py.File(f"{stem}.h5", "w") as file:
            for k in (1, 2, 10):
                file[f"d{k}/o"] = np.zeros(2)
    for function in (npdata.stack, npdata.concatenate):
        assert shown in function(files).describe().fields[0].details


def test_a_suffix_in_capitals_is_the_same(tmp_path: Path) -> None:
    for name in ("a.NPY", "b.npy", "c.txt"):
        (tmp_path / name).touch()
    assert list(find_files(tmp_path)) == [f"{tmp_path}/a.NPY", f"{tmp_path}/b.npy"]


def test_a_folder_of_h5ad_files_is_found_and_one_of_several_kinds_is_refused(
    tmp_path: Path,
) -> None:
    for name, rows in (("b", 2), ("a", 3)):
        with h5py.File(tmp_path / f"{name}.h5ad", "w") as file:
            file["obs/n"] = np.arange(rows)
    assert npdata.concatenate(f"{tmp_path}::obs/n")[:].tolist() == [0, 1, 2, 0, 1]
    assert [Path(each).name for each in files_of(str(tmp_path), None)] == ["a.h5ad", "b.h5ad"]
    (tmp_path / "a.h5ad").rename(tmp_path / "a.h5")
    with pytest.raises(FormatError, match=r"several formats, .*\.h5ad .*such as .*\*\.h5'"):
        npdata.concatenate(f"{tmp_path}::obs/n")
    (tmp_path / "b.h5ad").write_bytes(b"damaged")
    with pytest.raises(FormatError, match="nor HDF5; it is damaged"):
        npdata.NumpyDataset(f"{tmp_path}/b.h5ad::obs/n")


def test_a_column_behind_a_wildcard_is_named_by_columns(tmp_path: Path) -> None:
    records = np.array([(1, 0.5), (2, 1.5)], dtype=[("a", "i4"), ("b", "f4")])
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["d/0/rec"] = file["d/1/rec"] = records
    with pytest.raises(MemberNotFoundError, match=r"is 'd/\*/rec' with columns='a'"):
        npdata.concatenate(f"{tmp_path}/d.h5::d/*/rec.a")
    rows = npdata.concatenate(f"{tmp_path}/d.h5::d/*/rec", columns="a")
    assert rows[:].tolist() == [1, 2, 1, 2]


def test_a_member_of_every_file_in_a_list_of_names(tmp_path: Path) -> None:
    for k in range(3):
        np.savez(tmp_path / f"x{k}.npz", a=np.zeros(1), b=np.zeros(1))
    (tmp_path / "names.txt").write_text("x2.npz\nx0.npz::b\nx1.npz\n")
    for member, expected in (
        ("a", ["x2.npz::a", "x0.npz::b", "x1.npz::a"]),
        ("[ab]", ["x2.npz::a", "x2.npz::b", "x0.npz::b", "x1.npz::a", "x1.npz::b"]),
    ):
        found = find_files(f"{tmp_path}/names.txt::{member}")
        assert [Path(name).name for name in found] == expected
