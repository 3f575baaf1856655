"""Files of two fields that belong together: every file has one partner, or an error names it."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import npdata
from npdata.errors import FieldError


def written(folder: Path, names: str) -> list[Path]:
    paths = [folder / f"{name}.npy" for name in names.split()]
    for k, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full(2, k))
    return paths


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        ("x1 x2", "a/x1 b/x1 a/x2", r"'mask' has .*a/x1\.npy and .*b/x1\.npy, both of .* 'x1'"),
        ("x1 a/x1", "x1 x2", r"'image' has .*/x1\.npy and .*a/x1\.npy, both of the stem 'x1'"),
        ("a/x1 b/x1", "a/x1 b/x1 a/x2", r"a/x2\.npy of field 'mask' has no partner"),
        ("x1 x2", "x1 x2 x3", r"x3\.npy of field 'mask' has no partner"),
        ("e\u0301 x2", "\u00e9 x2", r"no partner: .* same letters in another form of Unicode"),
    ],
)
def test_a_file_without_one_partner_is_named(
    tmp_path: Path, images: str, masks: str, message: str, turned: bool
) -> None:
    files = {
        "image": written(tmp_path / "image", images),
        "mask": written(tmp_path / "mask", masks),
    }
    fields = dict(reversed(files.items())) if turned else files
    with pytest.raises(FieldError, match=message):
        npdata.stack(fields)


def test_a_member_beside_a_file_of_its_stem_is_named(tmp_path: Path) -> None:
    images, masks = written(tmp_path / "image", "x1 x2"), written(tmp_path / "mask", "x1 x2")
    np.savez(tmp_path / "mask/x2.npz", m=np.zeros(2))
    with pytest.raises(FieldError, match=r"x2\.npy and .*x2\.npz::m, both of the stem 'x2'"):
        npdata.stack(image=images, mask=[*map(str, masks), f"{tmp_path}/mask/x2.npz::m"])


@pytest.mark.parametrize("turned", [False, True])
def test_files_of_one_stem_beside_one_partner_are_named(tmp_path: Path, turned: bool) -> None:
    images, masks = written(tmp_path / "image", "x1 x2"), written(tmp_path / "mask", "x1 x2")
    np.savez(tmp_path / "image/x1.npz", np.zeros(2))
    files = {"image": [*images, tmp_path / "image/x1.npz"], "mask": masks}
    with pytest.raises(FieldError, match=r"'image' has .*x1\.npy and .*x1\.npz.*, which are both"):
        npdata.stack(dict(reversed(files.items())) if turned else files)


def test_what_is_said_of_shards_without_partners_makes_one_dataset_of_them(tmp_path: Path) -> None:
    for k, name in enumerate(["emb", "features"]):
        np.savez(tmp_path / f"{k}.npz", **{name: np.full((2, 3), k), "id": np.full(2, k)})
    emb, ids = [f"{tmp_path}/0.npz::emb", f"{tmp_path}/1.npz::features"], f"{tmp_path}/*.npz::id"
    with pytest.raises(FieldError, match=r"of shards x=concatenate"):
        npdata.concatenate(emb=emb, id=ids)
    ids = [f"{tmp_path}/{k}.npz::id" for k in range(2)]
    ds = npdata.NumpyDataset(emb=npdata.concatenate(emb), id=npdata.concatenate(ids))
    assert ds[:]["emb"][:, 0].tolist() == ds[:]["id"].tolist() == [0, 0, 1, 1]


def test_folders_pair_by_the_path_below_them(tmp_path: Path) -> None:
    written(tmp_path / "image", "b/x1 a/x1 a/x2")
    written(tmp_path / "mask", "a/x1 b/x1 a/x2")
    ds = npdata.stack(image=tmp_path / "image", mask=tmp_path / "mask")
    for image, mask in zip(ds.fields["image"].paths, ds.fields["mask"].paths, strict=True):
        assert Path(image).relative_to(tmp_path / "image") == Path(mask).relative_to(
            tmp_path / "mask"
        )


@pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
def test_datasets_of_one_file_pair_by_their_names(tmp_path: Path, function: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as a, h5py.File(tmp_path / "b.h5", "w") as b:
        for k in (2, 10, 1):
            a[f"scan_{k}/image"], a[f"scan_{k}/mask"] = np.full(2, k), np.full(2, -k)
            b[f"scan_{k}"] = np.full(2, 100 * k)
    ds = function(
        image=f"{tmp_path}/a.h5::*/image", mask=f"{tmp_path}/a.h5::*/mask", y=f"{tmp_path}/b.h5::*"
    )
    image = ds[:]["image"]
    assert image.reshape(-1, 2)[:, 0].tolist() == [1, 2, 10]
    assert (ds[:]["mask"] == -image).all()
    assert (ds[:]["y"] == 100 * image).all()


def test_datasets_of_several_files_pair_by_file_and_name(tmp_path: Path) -> None:
    for stem in "pq":
        with h5py.File(tmp_path / f"{stem}.h5", "w") as file:
            for k in (1, 2):
                file[f"s{k}/x"], file[f"s{k}/y"] = np.full(2, k), np.full(2, -k)
    ds = npdata.stack(x=f"{tmp_path}/*.h5::*/x", y=f"{tmp_path}/*.h5::*/y")
    assert ds[:]["x"][:, 0].tolist() == [1, 2, 1, 2]
    assert (ds[:]["y"] == -ds[:]["x"]).all()


def test_datasets_of_groups_in_several_files_pair_by_file_and_group(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for k in range(12):
                file[f"data/demo_{k}/actions"] = np.full((2, 3), k)
                file[f"data/demo_{k}/obs/pos"] = np.full(2, k)
    files = f"{tmp_path}/*.h5::data"
    ds = npdata.concatenate(action=f"{files}/*/actions", pos=f"{files}/*/obs/pos")
    assert ds[:]["pos"].tolist() == [k for _ in range(2) for k in range(12) for _ in range(2)]
    assert (ds[:]["action"][:, 0] == ds[:]["pos"]).all()
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file.move("data/demo_3/obs", "data/demo_99/obs")
    with pytest.raises(FieldError, match="demo_3/actions of field 'action' has no partner"):
        npdata.concatenate(action=f"{files}/*/actions", pos=f"{files}/*/obs/pos")


@pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
@pytest.mark.parametrize(
    ("images", "image_names", "masks", "mask_names"),
    [
        ("in/*_img.npy", "in/{}_img", "in/*_mask.npy", "in/{}_mask"),
        ("in/x_*.npy", "in/x_{}", "in/y_*.npy", "in/y_{}"),
        ("imagesTr/*_0000.npy", "imagesTr/BRATS_{}_0000", "labelsTr/*.npy", "labelsTr/BRATS_{}"),
        ("p*/scan_?.npy", "p{}/scan_1", "p*/seg_?.npy", "p{}/seg_1"),
        ("a/**/i*.npy", "a/{}/b/i7", "c/**/m*.npy", "c/{}/b/m7"),
        ("a/*_[ij].npy", "a/{}_i", "b/*[!j]m.npy", "b/{}im"),
    ],
)
def test_globs_that_share_no_stem_pair_by_what_their_wildcards_match(
    tmp_path: Path, function: Any, images: str, image_names: str, masks: str, mask_names: str
) -> None:
    numbers = [10, 2, 33, 4]
    written(tmp_path, " ".join(map(image_names.format, numbers)))
    written(tmp_path, " ".join(map(mask_names.format, numbers)))
    ds = function(image=f"{tmp_path}/{images}", mask=f"{tmp_path}/{masks}")
    assert torch.equal(ds[:]["image"], ds[:]["mask"])
    assert ds[:]["image"].flatten().unique().tolist() == [0, 1, 2, 3]


def test_members_of_globs_pair_by_wildcard_and_member(tmp_path: Path) -> None:
    for k in (2, 10):
        for kind in "xy":
            members = {f"m{j}": np.full(2, 100 * k + j) for j in (1, 2)}
            np.savez(tmp_path / f"{kind}_{k}.npz", **members)
    ds = npdata.stack(x=f"{tmp_path}/x_*.npz::m*", y=f"{tmp_path}/y_*.npz::m*")
    assert ds[:]["x"][:, 0].tolist() == [201, 202, 1001, 1002]
    assert torch.equal(ds[:]["x"], ds[:]["y"])


@pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
def test_files_of_folders_by_kind_pair_by_what_their_wildcards_match(
    tmp_path: Path, function: Any
) -> None:
    names = [f"{sequence}/{{}}/{k}" for sequence in ("00", "01") for k in (0, 1, 2)]
    written(tmp_path, " ".join(names).replace("{}", "velodyne"))
    written(tmp_path, " ".join(names).replace("{}", "labels"))
    at = {"x": f"{tmp_path}/*/velodyne/*.npy", "y": f"{tmp_path}/*/labels/*.npy"}
    ds = function(at)
    assert torch.equal(ds[:]["x"], ds[:]["y"])
    for lost in ("00/velodyne/1.npy", "01/labels/2.npy"):
        (tmp_path / lost).unlink()
    with pytest.raises(FieldError, match=r"01/velodyne/2\.npy of field 'x' has no partner"):
        function(at)
    with pytest.raises(FieldError, match=r"00/velodyne/2\.npy .* would lie beside .*labels/1\.npy"):
        npdata.NumpyDataset(x=function(at["x"]), y=function(at["y"]))


@pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
@pytest.mark.parametrize("suffix", ["h5", "npz"])
def test_members_that_share_no_name_pair_by_what_their_wildcards_match(
    tmp_path: Path, function: Any, suffix: str
) -> None:
    images = {9: 2, 25: 3, 100: 1}  # the regions of each
    arrays = {f"{i}_f": np.full((n, 2), i) for i, n in images.items()}
    arrays |= {f"{i}_boxes": np.full((n, 4), i) for i, n in reversed(images.items())}
    at = f"{tmp_path}/d.{suffix}"
    if suffix == "npz":
        np.savez(at, **arrays)
    else:
        with h5py.File(at, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    ds = function(x=f"{at}::*_f", box=f"{at}::*_boxes")
    assert len(ds) == (3 if function is npdata.stack else 6)
    for sample in ds:
        assert sample["x"].unique().tolist() == sample["box"].unique().tolist()


@pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
def test_members_that_were_searched_apart_are_not_laid_beside_wrong_partners(
    tmp_path: Path, function: Any
) -> None:
    numbers = {"f": (9, 25, 100), "boxes": (9, 30, 100)}
    names = [f"{i}_{kind}" for kind, each in numbers.items() for i in each]
    np.savez(tmp_path / "d.npz", **{name: np.zeros((2, 3)) for name in names})
    x, box = f"{tmp_path}/d.npz::*_f", f"{tmp_path}/d.npz::*_boxes"
    with pytest.raises(FieldError, match="25_f of field 'x' has no partner"):
        function(x=x, box=box)
    with pytest.raises(FieldError, match=r"25_f .*beside .*30_boxes.*npz::\*_boxes'\)\.fields"):
        npdata.NumpyDataset(x=function(x), box=function(box))
    listed = function(function(box).fields[0].paths)  # as the error says
    assert len(npdata.NumpyDataset(x=function(x), box=listed)) == len(listed)


def test_a_file_without_a_partner_by_wildcard_is_named(tmp_path: Path) -> None:
    written(tmp_path, "x_1 x_2 x_3 y_1 y_2 y_4")
    with pytest.raises(FieldError, match=r"x_3\.npy of field 'x' has no partner .*'\*_mask\.npy'"):
        npdata.stack(x=f"{tmp_path}/x_*.npy", y=f"{tmp_path}/y_*.npy")


def test_datasets_of_one_file_pair_with_files_of_their_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for k in (2, 10, 1):
            file[f"n{k}"] = np.full(2, k)
    for k in (1, 2, 10):
        np.save(tmp_path / f"n{k}.npy", np.full(2, k))
    fields = {"x": f"{tmp_path}/all.h5::*", "y": f"{tmp_path}/*.npy"}
    ds = npdata.stack(fields)
    assert ds[:]["x"].tolist() == ds[:]["y"].tolist() == [[1, 1], [2, 2], [10, 10]]
    (tmp_path / "n2.npy").rename(tmp_path / "n11.npy")
    with pytest.raises(FieldError, match=r"all\.h5::n2 of field 'x' has no partner"):
        npdata.stack(fields)
    with pytest.raises(FieldError, match=r"all\.h5::n2 of field 'x' would lie beside .*n10\.npy"):
        npdata.NumpyDataset({name: npdata.stack(each) for name, each in fields.items()})


@pytest.mark.parametrize("groups", [False, True])
def test_files_and_groups_of_hdf5_are_not_laid_beside_wrong_partners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    for k in (1, 2, 3):
        with h5py.File(f"n{k}.h5" if not groups else "all.h5", "a") as file:
            file[f"n{k}/x" if groups else "x"] = np.full((2, 3), k)
    x = ["all.h5", "*/x"] if groups else ["n*.h5", "x"]
    for k in (1, 3, 4):
        np.save(f"n{k}.npy", np.full(2, k))
    field = npdata.NumpyDataset.from_hdf5(*x).fields[0]
    y = npdata.concatenate("n*.npy")
    with pytest.raises(FieldError, match=r"n2.* would lie beside|would lie beside .*n2"):
        npdata.NumpyDataset(x=field, y=y)
    listed = npdata.concatenate(y.fields[0].paths)  # the order is the user's
    assert len(npdata.NumpyDataset(x=field, y=listed)) == 6


def test_one_listed_file_is_no_partner_of_one_of_another_name(tmp_path: Path) -> None:
    x, y = written(tmp_path, "x y")
    with pytest.raises(FieldError, match="has no partner"):
        npdata.stack(x=[x], y=[y])


@pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
@pytest.mark.parametrize("form", ["{}/*.npy", "{}"], ids=["glob", "folder"])
def test_files_that_were_searched_apart_are_not_laid_beside_wrong_partners(
    tmp_path: Path, function: Any, form: str
) -> None:
    written(tmp_path / "image", "1 2 3 4")
    masks = written(tmp_path / "mask", "1 2 4 5")
    image = function(form.format(tmp_path / "image"))
    with pytest.raises(FieldError, match=r"image/3\.npy of field 'x' .*mask/4\.npy .*x=\.\.\."):
        npdata.NumpyDataset(x=image, y=function(form.format(tmp_path / "mask")))
    listed = npdata.NumpyDataset(x=image, y=function(masks))  # the order is the user's
    assert len(listed) == len(image)


def test_files_of_other_names_lie_beside_each_other_as_the_error_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "now/1 now/2 next/2 next/3")
    now, later = npdata.stack("now/*.npy"), npdata.stack("next/*.npy")
    with pytest.raises(FieldError, match=r"stack\(stack\('next/\*\.npy'\)\.fields\[0\]\.paths\)"):
        npdata.NumpyDataset(x=now, y=later)
    listed = npdata.stack(npdata.stack("next/*.npy").fields[0].paths)
    assert npdata.NumpyDataset(x=now, y=listed)[:]["y"][:, 0].tolist() == [2, 3]
    for k in (1, 2, 3):
        np.savez(f"{k}.npz", m=np.zeros(2))
    with pytest.raises(FieldError, match=r"stack\(stack\('\[23\]\.npz::m'\)\.fields"):
        npdata.NumpyDataset(x=npdata.stack("[12].npz::m"), y=npdata.stack("[23].npz::m"))


def test_a_list_in_another_order_is_not_laid_beside_a_glob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "image/2 image/10 mask/2 mask/10")
    image, mask = npdata.stack("image/*.npy"), npdata.stack(["mask/10.npy", "mask/2.npy"])
    beside = r"image/2\.npy .*beside mask/10.*, which the list has in another order.*"
    for fields in ({"x": image, "y": mask}, {"y": mask, "x": image}):
        with pytest.raises(FieldError, match=beside + r"stack\(stack\('image/\*\.npy'\)"):
            npdata.NumpyDataset(fields)
    rows, others = (
        npdata.concatenate("image/*.npy", dtype="f4"),
        npdata.concatenate(mask.fields[0].paths),
    )
    with pytest.raises(FieldError, match=beside + r"concatenate\(concatenate\('image/\*\.npy'\)"):
        npdata.NumpyDataset(x=rows, y=others)
    listed = npdata.stack(npdata.stack("image/*.npy").fields[0].paths)  # as the error says
    assert npdata.NumpyDataset(x=listed, y=mask)[0]["y"].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("names", "glob", "listed"),
    [
        ("x/1 x/2", "x/*.npy", "y/2 y/1"),
        ("x/1/i x/2/i", "x/*/i.npy", "y/2/m y/1/m"),
        ("x/i x/1/i", "x/**/i.npy", "y/m y/1/m"),
        ("x/1 x/2", "x/*.npy", "y/2/m y/1/m"),
        ("x/a/1 x/b/1 x/a/2", "x/*/*.npy", "y/b/1 y/a/1 y/a/2"),
    ],
)
def test_a_list_is_compared_by_stem_and_by_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, glob: str, listed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, names)
    x, y = npdata.stack(glob), npdata.stack(written(Path(), listed))
    with pytest.raises(FieldError, match="would lie beside"):
        npdata.NumpyDataset(x=x, y=y)
    others = npdata.stack(written(Path(), listed.replace("y/", "z/0").replace("2", "3")))
    assert len(npdata.NumpyDataset(x=x, y=others)) == len(x)


def test_datasets_that_were_searched_apart_are_not_laid_beside_a_list_of_another_order(
    tmp_path: Path,
) -> None:
    for stem in "mn":
        with h5py.File(tmp_path / f"{stem}.h5", "w") as file:
            file["d2/o"], file["d10/o"] = np.zeros(2), np.ones(2)
    found = npdata.concatenate(f"{tmp_path}/m.h5::*/o")
    d2, d10 = f"{tmp_path}/n.h5::d2/o", f"{tmp_path}/n.h5::d10/o"
    with pytest.raises(FieldError, match=r"d2/o of field 'x' .*beside .*n\.h5::d10/o"):
        npdata.NumpyDataset(x=found, y=npdata.concatenate([d10, d2]))
    assert npdata.NumpyDataset(x=found, y=npdata.concatenate([d2, d10]))[2]["y"] == 1


def test_folders_pair_whatever_their_wildcards_match(tmp_path: Path) -> None:
    written(tmp_path, "s1/image s2/image s1/mask s2/mask")
    ds = npdata.stack(image=f"{tmp_path}/*/image.npy", mask=f"{tmp_path}/s*/mask.npy")
    assert [[int(each[0]) for each in sample.values()] for sample in ds] == [[0, 2], [1, 3]]


def test_files_that_were_searched_apart_and_share_no_name_lie_in_natural_order(
    tmp_path: Path,
) -> None:
    written(tmp_path, "x/a1 x/a2 y/b1 y/b2")
    ds = npdata.NumpyDataset(npdata.stack(f"{tmp_path}/x"), npdata.stack(f"{tmp_path}/y"))
    assert [row[1].tolist() for row in ds] == [[2, 2], [3, 3]]


@pytest.mark.parametrize("form", ["glob", "list", "several kinds", "groups"])
def test_files_of_one_name_with_other_numbers_of_rows_are_not_laid_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    lengths = {"x": (3, 2), "y": (2, 3)}  # as many rows in all
    for field, counts in lengths.items():
        Path(field).mkdir()
        for k, count in enumerate(counts):
            np.save(f"{field}/{k}.npy", np.zeros((count, 4)))
            with h5py.File(f"{field}/{k}.h5", "w") as file:
                file[field] = np.zeros((count, 4))
            with h5py.File(f"{field}.h5", "a") as file:
                file[f"{k}/{field}"] = np.zeros((count, 4))
    at = {
        "glob": "{}/*.npy",
        "list": ["{}/0.npy", "{}/1.npy"],
        "several kinds": "{0}/*.h5::{0}",
        "groups": "{0}.h5::*/{0}",
    }[form]
    named = {
        field: at.format(field) if isinstance(at, str) else [each.format(field) for each in at]
        for field in "xy"
    }
    message = r"x.*0.* of field 'x' has 3 rows, and y.*0.* of field 'y' has 2"
    with pytest.raises(FieldError, match=message):
        npdata.concatenate(named)
    fields = {field: npdata.concatenate(each) for field, each in named.items()}
    with pytest.raises(FieldError, match=message):
        npdata.NumpyDataset(fields)
    if form == "list":
        alone = {field: sum(map(npdata.NumpyDataset, each)) for field, each in named.items()}
        assert len(npdata.NumpyDataset(alone)) == 5  # as the error says


def test_files_of_ragged_rows_have_as_many_rows_as_those_of_their_names(tmp_path: Path) -> None:
    for field, counts in {"x": (3, 2), "y": (2, 3)}.items():
        (tmp_path / field).mkdir()
        for k, count in enumerate(counts):
            np.save(tmp_path / field / f"{k}.npy", np.zeros((count, 4)))
    x = npdata.concatenate(f"{tmp_path}/x/*.npy")
    y = npdata.concatenate(f"{tmp_path}/y/*.npy", ragged="list")
    with pytest.raises(FieldError, match=r"of field 'x' has 3 rows, and .* of field 'y' has 2"):
        npdata.NumpyDataset(x=x, y=y)
