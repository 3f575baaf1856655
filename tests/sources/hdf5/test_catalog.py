"""Every dataset of a file is listed once, and nothing outside it is looked at."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from npdata import errors, open_source
from npdata.sources.hdf5.catalog import list_datasets


def test_datasets_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    path = str(tmp_path / "d.h5")
    with h5py.File(path, "w") as file:
        file["a/b/c/deep"] = np.arange(3)
        file["top"] = np.arange(3)
        file["a/loop"] = file["a"]
        file["again"] = file["top"]
        file["soft"] = h5py.SoftLink("/top")
        file["type"] = np.dtype("f4")
    listed = list_datasets(path).datasets
    assert sorted(each.name for each in listed) == ["a/b/c/deep", "again"]
    assert all(each.examined is not None for each in listed)


def test_a_group_lists_what_lies_below_it_and_a_dataset_itself(tmp_path: Path) -> None:
    path = str(tmp_path / "d.h5")
    with h5py.File(path, "w") as file:
        file["a/x"] = file["a/b/y"] = np.arange(3)
        file["z"] = np.arange(3)
        file["soft"] = h5py.SoftLink("/z")
    assert [each.name for each in list_datasets(path, "/a/").datasets] == ["a/b/y", "a/x"]
    for name in ("z", "soft", "a/x"):
        assert [each.name for each in list_datasets(path, name).datasets] == [name]
    with pytest.raises(errors.MemberNotFoundError, match=r"no dataset 'w'.*'z'"):
        list_datasets(path, "w")


def test_links_that_lead_out_or_nowhere_are_listed_and_not_followed(tmp_path: Path) -> None:
    path, other = str(tmp_path / "d.h5"), str(tmp_path / "other.h5")
    with h5py.File(other, "w") as file:
        file["group/secret"] = np.arange(3)
    with h5py.File(path, "w") as file:
        file["out"] = h5py.ExternalLink(other, "/group")
        file["through"] = h5py.SoftLink("/out/secret")
        file["lost"] = h5py.ExternalLink("no such file.h5", "/x")
        file["dangling"] = h5py.SoftLink("/nothing")
        file["round"] = h5py.SoftLink("/round")
    refusals = {each.name: each.refusal for each in list_datasets(path).datasets}
    assert refusals.keys() == {"out", "through", "lost", "dangling", "round"}
    assert "another file" in refusals["out"]
    assert "another file" in refusals["through"]
    assert "links to /nothing, and that leads nowhere" in refusals["dangling"]
    assert "links to /round, and that leads nowhere" in refusals["round"]
    for name in ("out", "out/secret", "through", "lost", "lost/x"):
        (listed,) = list_datasets(path, name).datasets
        assert "another file" in (listed.refusal or "")


def test_names_that_are_no_utf8_are_names_like_others(tmp_path: Path) -> None:
    path, other = str(tmp_path / "d.h5"), str(tmp_path / "other.h5")
    with h5py.File(other, "w") as file:
        file["x"] = np.arange(9)
    with h5py.File(path, "w") as file:
        group = file.create_group(b"g\xff")
        group.create_dataset("packed", data=np.arange(9), chunks=(2,), compression=1)
        group.create_dataset("by h5py", data=np.arange(9), chunks=(2,), scaleoffset=0)
        group["soft"] = h5py.SoftLink("packed")
        file[b"out\xff"] = h5py.ExternalLink(other, "/x")
    names = {f"g\udcff/{name}" for name in ("packed", "by h5py")}
    assert {each.name for each in list_datasets(path).datasets} == names | {"out\udcff"}
    for name in (*names, "g\udcff/soft", "g?/packed", "/g\udcff/*ked"):
        source = pickle.loads(pickle.dumps(open_source(f"{path}::{name}")))
        out = np.empty(2, np.int64)
        source.read(np.array([7, 1]), out)
        assert out.tolist() == [7, 1]
    with pytest.raises(errors.ExternalDataError, match="in another file"):
        open_source(f"{path}::out\udcff")
    with pytest.raises(errors.MemberNotFoundError, match=r"is a group.*udcff/packed'"):
        open_source(f"{path}::g\udcff")


def test_one_damaged_dataset_hides_none_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        file["good"] = np.arange(3)
        file.create_dataset("bad", data=np.arange(64), chunks=(8,), compression="gzip")
        place = h5py.h5o.get_info(file["bad"].id).addr
    raw = bytearray(path.read_bytes())
    raw[place : place + 64] = bytes(64)
    path.write_bytes(raw)
    listed = {each.name: each for each in list_datasets(str(path), "good").datasets}
    assert listed["good"].examined is not None
    catalog = list_datasets(str(path))
    assert catalog.fault is not None or any(each.refusal for each in catalog.datasets)


def test_filters_that_nothing_here_can_undo_are_named(tmp_path: Path) -> None:
    path = str(tmp_path / "d.h5")
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        plist.set_deflate(4)
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT64, space, plist)
        file["x"][...] = np.arange(4)
    raw = Path(path).read_bytes()
    # The filter's number in the message of the pipeline: 1 (deflate) becomes one nobody has.
    at = raw.index(b"deflate") - 8
    assert raw[at : at + 2] == b"\x01\x00"
    Path(path).write_bytes(raw[:at] + b"\xff\x01" + raw[at + 2 :])
    (listed,) = list_datasets(path).datasets
    assert listed.examined is not None
    assert listed.examined.missing == {511}
    with pytest.raises(errors.FormatError, match=r"has its filter 511 .*pip install hdf5plugin"):
        open_source(f"{path}::x")
