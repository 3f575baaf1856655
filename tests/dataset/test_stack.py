"""`npdata.stack`: every file is a sample, as by `np.stack`; what is wrong with a file names it."""

import codecs
import os
import pickle
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from few import few
from hypothesis import given
from hypothesis import strategies as st
from processes import require_workers_read, run
from sockets import listens_at
from torch.utils.data import DataLoader, Subset

import npdata
from npdata import NumpyDataset, errors

COUNT = 37


def negated(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "x": -sample["x"]}


def same_list(made: Any, wanted: list[torch.Tensor]) -> bool:
    """Whether it is a plain list of plain tensors that are the same."""
    assert type(made) is list
    assert {type(each) for each in made} == {torch.Tensor}
    return len(made) == len(wanted) and all(map(torch.equal, made, wanted))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered arrays of one shape, as files of every format."""
    folder = tmp_path_factory.mktemp("stacked")
    for kind in ("npy", "npz", "packed", "fortran", "raw", "h5", "packed_h5", "mask"):
        (folder / kind).mkdir()
    for k, x in enumerate(arrays()):
        np.save(folder / f"npy/x{k}.npy", x)
        np.save(folder / f"mask/x{k}.npy", x > 0)
        np.save(folder / f"fortran/x{k}.npy", np.asfortranarray(x))
        np.savez(folder / f"npz/x{k}.npz", image=x, other=x[:1])
        np.savez_compressed(folder / f"packed/x{k}.npz", image=x)
        (folder / f"raw/x{k}.bin").write_bytes(b"head" + x.tobytes())
        with h5py.File(folder / f"h5/x{k}.h5", "w") as file:
            file["x"] = x
        with h5py.File(folder / f"packed_h5/x{k}.h5", "w") as file:
            file.create_dataset("x", data=x, chunks=(2, 3), compression=4)
    with h5py.File(folder / "all.h5", "w") as file:
        for k, x in enumerate(arrays()):
            file[f"scan_{k}"] = x
    return folder


def arrays() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((COUNT, 4, 3)).astype(np.float32)


KINDS = {
    "npy": lambda d: npdata.stack(f"{d}/npy/*.npy"),
    "looked at when read": lambda d: npdata.stack(f"{d}/npy/*.npy", check="first use"),
    "Fortran order": lambda d: npdata.stack(f"{d}/fortran"),
    "stored npz": lambda d: npdata.stack(f"{d}/npz/*.npz::image"),
    "compressed npz": lambda d: npdata.stack(f"{d}/packed/*.npz::image"),
    "compressed npz, looked at when read": lambda d: npdata.stack(
        f"{d}/packed/*.npz::image", check="first use"
    ),
    "raw": lambda d: npdata.stack(f"{d}/raw/*.bin", dtype="f4", shape=(4, 3), offset=4),
    "HDF5": lambda d: npdata.stack(f"{d}/h5/*.h5::x"),
    "compressed HDF5": lambda d: npdata.stack(f"{d}/packed_h5::x"),
    "datasets of one file": lambda d: npdata.stack(f"{d}/all.h5::scan_*"),
}


@pytest.mark.parametrize("kind", KINDS)
class TestEqualsNumpy:
    def test_batches_samples_and_slices(self, folder: Path, kind: str) -> None:
        ds, expected = KINDS[kind](folder), arrays()
        assert len(ds) == COUNT

        @few(kind)
        @given(st.lists(st.integers(-COUNT, COUNT - 1), max_size=30))
        def check(indices: list[int]) -> None:
            got = npdata.collate(ds.__getitems__(indices))
            assert got.numpy().tobytes() == expected[np.array(indices, np.int64)].tobytes()

        check()
        assert all(torch.equal(ds[k], torch.from_numpy(expected[k])) for k in (0, 5, -1))
        assert (ds[3:30:4].numpy() == expected[3:30:4]).all()

    @pytest.mark.parametrize("method", ["fork", "forkserver"])
    def test_every_kind_of_worker(self, folder: Path, kind: str, method: str) -> None:
        if kind not in ("npy", "looked at when read", "compressed HDF5") and method != "fork":
            pytest.skip("one kind of each will do")
        ds = KINDS[kind](folder)
        ds[[1, 2]]
        order = np.random.default_rng(0).permutation(COUNT).reshape(-1, 1)
        require_workers_read(ds, order, arrays(), method)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_loader(self, folder: Path, kind: str, threads: int) -> None:
        ds = KINDS[kind](folder)
        order = np.random.default_rng(0).permutation(COUNT)[:36].reshape(9, 4)
        loader = npdata.Loader(ds, sampler=order, num_threads=threads)
        for rows, batch in zip(order, loader, strict=True):
            assert (batch.numpy() == arrays()[rows]).all()

    def test_pickles_by_name(self, folder: Path, kind: str) -> None:
        ds = KINDS[kind](folder)
        sent = pickle.dumps(ds)
        assert len(sent) < 6000
        assert (pickle.loads(sent)[[7, -1]].numpy() == arrays()[[7, -1]]).all()

    def test_keeps_no_descriptor(self, folder: Path, kind: str) -> None:
        ds = KINDS[kind](folder)
        before = len(list(Path("/proc/self/fd").iterdir()))
        ds[:]
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


class TestFiles:
    def test_natural_order_for_a_glob_and_a_folder(self, folder: Path) -> None:
        names = [f"{folder}/npy/x{k}.npy" for k in range(COUNT)]
        for files in (f"{folder}/npy/*.npy", f"{folder}/npy", folder / "npy", f"{folder}/n*/*.npy"):
            assert list(npdata.stack(files).fields[0].paths) == names

    def test_a_list_and_a_text_file_keep_their_order(self, folder: Path, in_folder: Path) -> None:
        order = [5, 2, 9]
        names = [f"{folder}/npy/x{k}.npy" for k in order]
        Path("train.txt").write_text("\n".join(names) + "\n\n")
        for files in (names, [Path(name) for name in names], "train.txt"):
            ds = npdata.stack(files)
            assert list(ds.fields[0].paths) == names
            assert (ds[:].numpy() == arrays()[order]).all()

    def test_a_text_file_is_seen_from_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        np.save(tmp_path / "a/x.npy", np.ones(3))
        (tmp_path / "a/list.txt").write_text("x.npy\r\n")
        assert list(npdata.stack(tmp_path / "a/list.txt").fields[0].paths) == [
            f"{tmp_path}/a/x.npy"
        ]

    @pytest.mark.parametrize("name", [b"\xff.npy", "n\u2028l.npy".encode()])
    def test_a_text_file_holds_any_name(self, tmp_path: Path, name: bytes) -> None:
        """Neither of UTF-8 alone, nor without what ends a line of text elsewhere."""
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        np.save(path, np.ones(3))
        (tmp_path / "list.txt").write_bytes(codecs.BOM_UTF8 + name + b"\n")
        assert list(npdata.stack(tmp_path / "list.txt").fields[0].paths) == [str(path)]

    def test_names_stay_as_given_and_files_are_found_from_elsewhere(self, in_folder: Path) -> None:
        np.save("x.npy", np.ones(3))
        ds = npdata.stack(["x.npy"])
        os.chdir("/")
        assert ds.fields[0].paths[0] == "x.npy"
        assert pickle.loads(pickle.dumps(ds))[0].tolist() == [1, 1, 1]

    def test_folders_of_every_depth_also_behind_links(self, tmp_path: Path) -> None:
        (tmp_path / "a/b").mkdir(parents=True)
        for name in ("a/b/x10", "a/b/x9", "a/y"):
            np.save(tmp_path / f"{name}.npy", np.zeros(2))
        (tmp_path / "a/.hidden.npy").write_bytes(b"no array")
        (tmp_path / "a/readme.md").write_text("read me")
        (tmp_path / "a/b/loop").symlink_to(tmp_path / "a")
        shown = [Path(p).stem for p in npdata.stack(tmp_path / "a").fields[0].paths]
        assert sorted(shown) == ["x10", "x9", "y"]

    def test_values_without_an_axis(self, tmp_path: Path) -> None:
        for k in range(3):
            np.save(tmp_path / f"{k}.npy", np.float32(k))
        assert npdata.stack(tmp_path)[:].tolist() == [0, 1, 2]

    def test_structured_and_swapped_arrays(self, tmp_path: Path) -> None:
        for k in range(3):
            np.save(tmp_path / f"big{k}.npy", np.arange(k, k + 3, dtype=">i4"))
            np.save(tmp_path / f"rec{k}.npy", np.array([(k, 0.5)], [("a", "i4"), ("b", "f4")]))
        assert npdata.stack(f"{tmp_path}/big*.npy")[2].tolist() == [2, 3, 4]
        assert npdata.stack(f"{tmp_path}/rec*.npy")[:]["a"].tolist() == [[0], [1], [2]]

    def test_dtype_casts(self, folder: Path) -> None:
        ds = npdata.stack(f"{folder}/npy", dtype="float64", label_from=lambda path: 3)
        x, label = ds[0]
        assert (x.dtype, label.dtype) == (torch.float64, torch.int64)


class TestFieldsPairByStem:
    def test_dicts_of_files_with_the_same_stem(self, folder: Path) -> None:
        backwards = [f"{folder}/mask/x{k}.npy" for k in reversed(range(COUNT))]
        for mask in (f"{folder}/mask/*.npy", backwards):
            ds = npdata.stack(image=f"{folder}/npy/*.npy", mask=mask)
            batch = ds[[3, -1, 3]]
            assert (batch["image"].numpy() == arrays()[[3, -1, 3]]).all()
            assert (batch["mask"].numpy() == (arrays()[[3, -1, 3]] > 0)).all()

    def test_a_folder_for_each_sample(self, tmp_path: Path) -> None:
        for k in (2, 10, 1):
            (tmp_path / f"p{k}").mkdir()
            np.save(tmp_path / f"p{k}/image.npy", np.full(2, k))
            np.save(tmp_path / f"p{k}/mask.npy", np.full(3, -k))
        ds = npdata.stack(image=f"{tmp_path}/*/image.npy", mask=f"{tmp_path}/*/mask.npy")
        assert ds[:]["image"][:, 0].tolist() == [1, 2, 10]
        assert ds[:]["mask"][:, 0].tolist() == [-1, -2, -10]

    def test_a_missing_partner_is_named(self, folder: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "x1.npy", np.zeros(3))
        with pytest.raises(errors.FieldError, match=r"x0\.npy of field 'image' has no partner"):
            npdata.stack(image=f"{folder}/npy", mask=tmp_path)
        with pytest.raises(errors.FieldError, match=r"x0\.npy of field 'mask' has no partner"):
            npdata.stack(image=tmp_path, mask=f"{folder}/npy")

    def test_two_files_of_one_stem_are_named(self, tmp_path: Path) -> None:
        for name in ("a/x.npy", "b/x.npy", "c/x.npy"):
            (tmp_path / name).parent.mkdir()
            np.save(tmp_path / name, np.zeros(3))

        with pytest.raises(errors.FieldError, match="comes twice"):
            npdata.stack([tmp_path / "a/x.npy", tmp_path / "a/../a/x.npy"])
        with pytest.raises(errors.FieldError, match="no partner"):
            npdata.stack(image=f"{tmp_path}/[ab]/x.npy", mask=f"{tmp_path}/c/x.npy")

    def test_a_dataset_of_one_field_is_a_field(self, folder: Path) -> None:
        image = npdata.stack(f"{folder}/npy", dtype="float64")
        ds = NumpyDataset(image=image, y=np.arange(COUNT))
        assert ds[4]["image"].dtype == torch.float64
        assert ds[4]["y"] == 4
        with pytest.raises(errors.FieldError, match="one field, no functions"):
            NumpyDataset(image=npdata.stack(f"{folder}/npy", transform=len), y=np.arange(COUNT))


class TestShapesThatDiffer:
    @pytest.fixture
    def ragged(self, tmp_path: Path) -> Path:
        for k, length in enumerate([3, 0, 5, 1]):
            np.save(tmp_path / f"x{k}.npy", np.full((length, 2), k + 1, np.float32))
        return tmp_path

    def test_in_axis_0_alone_are_padded_jagged_or_a_list(self, ragged: Path) -> None:
        ds = npdata.stack(ragged)
        values, lengths = npdata.collate(ds.__getitems__([2, 0, 1]))
        assert lengths.tolist() == [5, 3, 0]
        assert values[:, :, 0].tolist() == [[3] * 5, [1, 1, 1, 0, 0], [0] * 5]
        assert ds[0].tolist() == [[1, 1]] * 3
        padded = npdata.stack(ragged, padding=-1)[[2, 0]]
        assert padded.values[1, :, 1].tolist() == [1, 1, 1, -1, -1]
        alone = npdata.stack(ragged, ragged="list")[[3, 0]]
        assert [len(each) for each in alone] == [1, 3]

    def test_in_axis_0_alone_in_workers_and_loader(self, ragged: Path) -> None:
        ds = pickle.loads(pickle.dumps(npdata.stack(x=ragged, label_from=r"x(\d)\.npy$")))
        order = [[0, 3], [2, 1]]
        for loader in (
            DataLoader(ds, batch_sampler=order, collate_fn=npdata.collate, num_workers=2),
            npdata.Loader(ds, sampler=[np.array(rows) for rows in order], num_threads=2),
        ):
            batches = list(loader)
            assert [b["x"].lengths.tolist() for b in batches] == [[3, 1], [5, 0]]
            assert [b["label"].tolist() for b in batches] == order

    def test_as_a_field_of_another_dataset_keep_their_form(self, ragged: Path) -> None:
        ds = NumpyDataset(x=npdata.stack(ragged, padding=-1), y=np.arange(4))
        assert ds[[1, 3]]["x"].values[0].tolist() == [[-1, -1]]

    def test_in_axis_0_alone_are_stacked_where_a_transform_crops_them(self, ragged: Path) -> None:
        def tiled(x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, torch.zeros(2, 2)])[:2]

        wanted = [[[1, 1], [1, 1]], [[0, 0], [0, 0]], [[3, 3], [3, 3]], [[4, 4], [0, 0]]]
        cropped = npdata.stack(ragged, ragged="stacked", transform=tiled)
        sent = pickle.loads(pickle.dumps(npdata.stack(ragged, ragged="stacked")))
        taken = NumpyDataset(sent, transform=tiled)
        for ds in (cropped, taken, Subset(taken, range(4))):
            for batch in (
                next(iter(DataLoader(ds, 4))),
                next(iter(DataLoader(ds, 4, collate_fn=npdata.collate))),
                next(iter(npdata.Loader(ds, 4, num_threads=1))),
            ):
                assert batch.tolist() == wanted
        assert str(cropped.statistics()) == str(npdata.stack(ragged).statistics())
        with pytest.raises(errors.UnequalShapesError, match="pad or crop them in transform"):
            npdata.collate(npdata.stack(ragged, ragged="stacked").__getitems__([0, 2]))
        with pytest.raises(errors.FieldError, match="with ragged='stacked', which pads nothing"):
            npdata.stack(ragged, ragged="stacked", padding=1)

    @pytest.mark.parametrize("transform", [None, torch.neg])
    def test_otherwise_are_a_list_where_that_is_asked_for(
        self, transform: Any, tmp_path: Path
    ) -> None:
        arrays = [np.full((3, 2 + k % 3, 5 - k), k, np.int16) for k in range(5)]
        for k, array in enumerate(arrays):
            np.save(tmp_path / f"{k}.npy", array)
        wanted = [-torch.from_numpy(a) if transform else torch.from_numpy(a) for a in arrays]
        alone = npdata.stack(tmp_path, ragged="list", transform=transform)
        fields = {"x": npdata.stack(tmp_path), "y": np.arange(5)}
        named = NumpyDataset(fields, ragged={"x": "list"}, transform=transform and negated)
        chosen = NumpyDataset(x=Subset(npdata.stack(tmp_path, ragged="list"), [4, 4, 0]))
        assert same_list(chosen[:]["x"], [torch.from_numpy(arrays[k]) for k in (4, 4, 0)])
        for ds in (alone, pickle.loads(pickle.dumps(alone)), NumpyDataset(alone.fields[0])):
            assert same_list(npdata.collate(ds.__getitems__([3, 0]))[:1], [ds[3]])
        for options in ({}, {"num_workers": 1, "multiprocessing_context": "fork"}):
            for collate in (None, npdata.collate):
                batches = [*DataLoader(named, 2, collate_fn=collate, **options)]
                assert [batch["y"].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
                assert same_list([x for batch in batches for x in batch["x"]], wanted)
        for options in ({"num_threads": 0}, {"num_threads": 1}, {"device": "cpu"}):
            for batch in npdata.Loader(named, 2, shuffle=True, **options):
                assert same_list(batch["x"], [wanted[k] for k in batch["y"]])
        assert named.windows({"y": 2})[0]["x"].tolist() == wanted[0].tolist()
        with pytest.raises(errors.FieldError, match=r"with ragged=\{'x': 'list'\} a batch is"):
            NumpyDataset(fields, ragged={"x": "padded"})

    def test_without_a_form_the_error_says_how_a_batch_is_a_list(self, tmp_path: Path) -> None:
        for k in (2, 3):
            np.save(tmp_path / f"{k}.npy", np.zeros((4 - k, k)))
        with pytest.raises(errors.UnequalShapesError) as caught:
            next(iter(npdata.Loader(npdata.stack(tmp_path), 2)))
        assert "ragged='list' of the dataset gives a list" in caught.value.__notes__[0]

    def test_otherwise_a_transform_brings_to_one(self, tmp_path: Path) -> None:
        shapes = [(2, 3), (3, 2), (4, 4)]
        for k, shape in enumerate(shapes):
            np.save(tmp_path / f"x{k}.npy", np.full(shape, k, np.int16))
        ds = npdata.stack(tmp_path)
        assert [tuple(ds[k].shape) for k in range(3)] == shapes
        assert [tuple(x.shape) for x in ds.__getitems__([2, 0])] == [(4, 4), (2, 3)]
        message = r"sample 1 .*shape \(2, 3\) and there \(4, 4\); pad or crop them in transform"
        with pytest.raises(errors.UnequalShapesError, match=message):
            npdata.collate(ds.__getitems__([2, 0]))
        with pytest.raises(
            errors.UnequalShapesError, match="or keep the samples apart: DataLoader"
        ):
            next(iter(npdata.Loader(ds, 3)))
        for workers in (0, 1):
            (batch,) = DataLoader(ds, 3, collate_fn=list, num_workers=workers)
            assert [tuple(sample.shape) for sample in batch] == shapes
        cropped = npdata.stack(tmp_path, transform=lambda x: x[:2, :2], dtype="float32")
        assert npdata.collate(cropped.__getitems__([2, 0]))[:, 0, 0].tolist() == [2, 0]
        assert cropped[[]] == ds[[]] == []
        forked = {"num_workers": 1, "multiprocessing_context": "fork"}
        for loader in (
            DataLoader(cropped, 3, collate_fn=npdata.collate, **forked),
            npdata.Loader(pickle.loads(pickle.dumps(npdata.stack(tmp_path))), 1, num_threads=1),
        ):
            assert sum(len(batch) for batch in loader) == 3
        pairs = npdata.stack(x=tmp_path, label_from=len)
        with pytest.raises(errors.UnequalShapesError, match=r"field \['x'\]"):
            npdata.collate(pairs.__getitems__([2, 0]))


class TestRawFilesOfSeveralFields:
    @pytest.fixture
    def scans(self, tmp_path: Path) -> Path:
        for k, points in enumerate([3, 5, 2]):
            np.full((points, 4), k, "f4").tofile(tmp_path / f"{k}.bin")
            (tmp_path / f"{k}.label").write_bytes(b"head" + np.full(points, k, ">u4").tobytes())
            np.save(tmp_path / f"{k}.npy", np.full(2, k, np.int16))
        return tmp_path

    @pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
    def test_are_described_for_each_field(self, scans: Path, function: Any) -> None:
        ds = function(
            x=f"{scans}/*.bin",
            y=f"{scans}/*.label",
            dtype={"x": "f4", "y": ">u4"},
            shape={"x": (-1, 4), "y": -1},
            offset={"y": 4},
        )
        assert ds.dtypes == {"x": torch.float32, "y": torch.uint32}
        points = [3, 5, 2] if function is npdata.stack else [1] * 10
        numbers = np.repeat(range(3), [1] * 3 if function is npdata.stack else [3, 5, 2])
        for sample, count, k in zip(ds, points, numbers, strict=True):
            assert sample["x"].reshape(-1, 4).tolist() == [[k] * 4] * count
            assert sample["y"].reshape(-1).tolist() == [k] * count

    def test_may_lie_beside_files_that_are_not_raw(self, scans: Path) -> None:
        ds = npdata.stack(
            x=f"{scans}/*.bin",
            n=f"{scans}/*.npy",
            dtype={"x": "f4", "n": torch.float64},
            shape={"x": (-1, 4)},
        )
        assert [(len(s["x"]), s["n"].dtype, int(s["n"][1])) for s in ds] == [
            (3, torch.float64, 0),
            (5, torch.float64, 1),
            (2, torch.float64, 2),
        ]

    def test_of_fields_that_are_not_there_are_refused(self, scans: Path) -> None:
        x = f"{scans}/*.bin"
        for options in ({"shape": {"x": (-1, 4), "z": 3}}, {"offset": {"x": 4, "z": 4}}):
            with pytest.raises(
                errors.FieldError, match=r"names 'z', which is no field; fields are \['x'"
            ):
                npdata.stack(x=x, dtype={"x": "f4"}, **options)
        with pytest.raises(errors.FieldError, match="describe raw files; give dtype= as well"):
            npdata.stack(x=x, y=f"{scans}/*.label", dtype={"x": "f4"}, shape=-1)
        records = npdata.concatenate(x, dtype={"names": ["a"], "formats": ["4f4"]}, shape=-1)
        assert records[4]["a"].tolist() == [1, 1, 1, 1]


class TestLabels:
    @pytest.fixture
    def classes(self, tmp_path: Path) -> Path:
        for name in ("c10/a", "c2/a", "c2/b", "c1/a"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            np.save(tmp_path / f"{name}.npy", np.zeros(2))
        return tmp_path

    @pytest.mark.parametrize(
        "label_from",
        [r"([^/]+)/[^/]*$", lambda path: Path(path).parent.name],
        ids=["re", "function"],
    )
    def test_names_become_numbers_in_natural_order(self, classes: Path, label_from) -> None:
        ds = npdata.stack(f"{classes}/*/*.npy", label_from=label_from)
        assert [int(label) for _, label in ds] == [0, 1, 1, 2]
        assert ds.fields[1].categories == ("c1", "c2", "c10")
        named = npdata.stack(x=f"{classes}/*/*.npy", label_from=label_from)
        assert named[3]["label"] == 2
        assert pickle.loads(pickle.dumps(named)).fields["label"].categories == ("c1", "c2", "c10")

    def test_categories_are_plain_text_where_labels_are_of_numpy(self, classes: Path) -> None:
        for function in (npdata.stack, npdata.concatenate):
            ds = function(classes, label_from=lambda path: np.str_(Path(path).parent.name))
            assert [type(name) for name in ds.fields[1].categories] == [str, str, str]

    @pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
    @pytest.mark.parametrize("raw", [{}, {"shape": {"x": -1}}], ids=["npy", "raw"])
    def test_are_cast_beside_files(self, tmp_path: Path, function: Any, raw: Any) -> None:
        np.save(tmp_path / "7.npy", np.zeros(2, "f4"))
        np.zeros(2, "f4").tofile(tmp_path / "7.bin")
        files = f"{tmp_path}/*.bin" if raw else f"{tmp_path}/*.npy"
        dtype = {"x": "f4", "label": torch.int32}
        ds = function(x=files, label_from=r"(\d)\.", dtype=dtype, **raw)
        assert ds.dtypes == {"x": torch.float32, "label": torch.int32}
        with pytest.raises(errors.FieldError, match=r"names 'z', which is no field"):
            function(x=files, label_from=r"(\d)\.", dtype={**dtype, "z": "f4"}, **raw)

    def test_numbers_stay(self, classes: Path) -> None:
        for kind, dtype in ((int, torch.int64), (float, torch.float64)):
            ds = npdata.stack(
                classes, label_from=lambda p, kind=kind: kind(Path(p).parent.name[1:])
            )
            assert ds[:][1].tolist() == [1, 2, 2, 10]
            assert ds[:][1].dtype == dtype
            assert ds.fields[1].categories == ()

    def test_ints_stay_ints_where_numpy_would_make_floats(self, classes: Path) -> None:
        numbers = {"c1": 1, "c2": 2**63 + 1, "c10": 2**64 - 1}
        ds = npdata.stack(classes, label_from=lambda path: numbers[Path(path).parent.name])
        expected = [numbers[name] for name in ("c1", "c2", "c2", "c10")]
        assert ds[:][1].numpy().tolist() == expected
        for numbers["c1"], numbers["c10"] in ((-1, 2**63), (0, 2**64)):
            with pytest.raises(errors.FieldError, match=r"labels from .* int64 and uint64 has to"):
                npdata.stack(classes, label_from=lambda path: numbers[Path(path).parent.name])

    def test_a_file_without_a_label_is_named(self, classes: Path) -> None:
        with pytest.raises(errors.FieldError, match=r"finds no label in .*c1/a\.npy"):
            npdata.stack(classes, label_from=r"(c10?\d)/")
        with pytest.raises(errors.FieldError, match=r"gives None for .*c1/a\.npy"):
            npdata.stack(classes, label_from=lambda path: None)
        with pytest.raises(errors.FieldError, match=r"folder is found by r'\(\[\^/\]\+\)/"):
            npdata.stack(classes, label_from="folder")
        with pytest.raises(AttributeError) as caught:
            npdata.stack(classes, label_from=lambda path: path.parent.name)
        assert re.search(r"called with the path .*, a str", caught.value.__notes__[0])
        with pytest.raises(errors.FieldError, match=r"takes a function.* labels\[Path\(path\)"):
            npdata.stack(classes, label_from={"a": 3})
        with pytest.raises(errors.FieldError, match="already; give these another"):
            npdata.stack(x=classes, label=classes, label_from=len)


class TestBadInput:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        for k in range(30):
            np.save(tmp_path / f"x{k}.npy", np.full((4, 5), k, np.float32))
        return tmp_path

    def test_nothing_found(self, tmp_path: Path) -> None:
        with pytest.raises(errors.FieldError, match="no file matches"):
            npdata.stack(f"{tmp_path}/*.npy")
        with pytest.raises(errors.FieldError, match="holds no array"):
            npdata.stack(tmp_path)
        with pytest.raises(errors.FieldError, match="an empty list"):
            npdata.stack([])
        with pytest.raises(FileNotFoundError, match="No such file"):
            npdata.stack(f"{tmp_path}/x.npy")
        (tmp_path / "folder").mkdir()
        with pytest.raises(errors.FieldError, match=r"only folders: their files are '.*/\*/\*'"):
            npdata.stack(f"{tmp_path}/*")
        (tmp_path / "empty.txt").write_text("\n")
        with pytest.raises(errors.FieldError, match="names no file"):
            npdata.stack(tmp_path / "empty.txt")

    def test_what_names_no_files(self, files: Path) -> None:
        for wrong in (3, np.zeros(3), [np.zeros(3)], {"a": 1}):
            with pytest.raises(errors.UnsupportedSourceError, match="names no files"):
                npdata.stack(wrong)
        with pytest.raises(errors.UnsupportedSourceError, match="a NumpyDataset names no files"):
            npdata.stack(NumpyDataset(np.zeros(3)))
        with pytest.raises(errors.FieldError, match="stack needs files: write stack"):
            npdata.stack()
        for option, cure in (
            ({"shuffle": True}, r"write npdata\.Loader\(dataset, shuffle=True"),
            ({"num_workers": 2}, r"write DataLoader\(dataset, num_workers=2"),
            ({"target_transform": len}, "no option of stack; transform= gets the whole sample"),
            ({"recursive": True}, "recursive= is no option of stack"),
        ):
            with pytest.raises(errors.FieldError, match=cure):
                npdata.stack(files, **option)
            with pytest.raises(errors.FieldError, match=cure):
                npdata.stack(x=files, **option)
        with pytest.raises(errors.FieldError, match="cache= is no option of stack: leave it out"):
            npdata.stack(files, cache="kept")
        with pytest.raises(errors.FieldError, match="expected 'raise'"):
            npdata.stack(files, on_missing="skip")
        with pytest.raises(errors.FieldError, match="expected 'open' or 'first use'"):
            npdata.stack(files, check="never")

    def test_several_formats_in_a_folder(self, files: Path) -> None:
        np.savez(files / "y.npz", x=np.zeros(3))
        with pytest.raises(errors.FormatError, match=r"several formats, .*\.npy .* and .*y\.npz"):
            npdata.stack(files)
        with pytest.raises(errors.MemberNotFoundError, match=r"y\.npz is a \.npz; name one"):
            npdata.stack(f"{files}/*")

    def test_no_array_at_all(self, files: Path) -> None:
        (files / "notes.dat").write_text("some text")
        with pytest.raises(errors.FormatError, match=r"notes\.dat begins with b'some t'"):
            npdata.stack(f"{files}/*")

    def damage(self, files: Path, how: str) -> str:
        path = files / "x17.npy"
        if how == "truncated":
            os.truncate(path, 200)
            return r"x17\.npy declares \(4, 5\) of float32.*200 bytes; it was cut short"
        if how == "cut in its header":
            os.truncate(path, 50)
            return r"x17\.npy ends inside its \.npy header"
        if how == "empty":
            os.truncate(path, 0)
            return r"x17\.npy is empty"
        if how == "another dtype":
            np.save(path, np.zeros((4, 5), np.float64))
            return r"x17\.npy holds .*float64.*x0\.npy .*float32"
        if how == "another shape":
            np.save(path, np.zeros((4, 6), np.float32))
            return r"x17\.npy .*\(4, 6\).*x0\.npy .*\(4, 5\)"
        if how == "pickled objects":
            np.save(path, np.array([{}]), allow_pickle=True)
            return r"x17\.npy holds pickled Python objects"
        path.unlink()
        if how == "a folder":
            path.mkdir()
            return r"is a folder, and a file is needed.*x17\.npy"
        if how == "a socket":
            listens_at(path)
        else:
            os.mkfifo(path)
        return r"x17\.npy is a pipe"

    @pytest.mark.parametrize(
        "how",
        [
            "truncated",
            "cut in its header",
            "empty",
            "another dtype",
            "pickled objects",
            "a folder",
            "a pipe",
            "a socket",
        ],
    )
    def test_one_bad_file_is_named_at_opening_or_at_its_sample(self, files: Path, how: str) -> None:
        message = self.damage(files, how)
        with pytest.raises((ValueError, OSError), match=message):
            npdata.stack(f"{files}/*.npy")
        lazy = npdata.stack(f"{files}/*.npy", check="first use")
        assert lazy[16].unique().tolist() == [16]
        for read in (lambda: lazy[17], lambda: lazy[[3, 17]]):
            with pytest.raises((ValueError, OSError), match=message):
                read()

    @pytest.mark.parametrize("how", ["a folder", "a pipe", "empty", "text"])
    @pytest.mark.parametrize("suffix", ["npz", "h5"])
    def test_what_holds_no_member_is_named(self, tmp_path: Path, how: str, suffix: str) -> None:
        path = tmp_path / f"x1.{suffix}"
        if suffix == "npz":
            np.savez(tmp_path / "x0.npz", x=np.zeros(3))
        else:
            with h5py.File(tmp_path / "x0.h5", "w") as file:
                file["x"] = np.zeros(3)
        make, message = {
            "a folder": (path.mkdir, "a folder, and a file is needed"),
            "a pipe": (lambda: os.mkfifo(path), rf"x1\.{suffix} is a pipe"),
            "empty": (path.touch, rf"x1\.{suffix} is empty \(0 bytes\)"),
            "text": (
                lambda: path.write_text("some text"),
                rf"x1\.{suffix} is no HDF5: .*b'some t'",
            ),
        }[how]
        make()
        with pytest.raises((ValueError, OSError), match=message):
            npdata.stack(f"{tmp_path}/*.{suffix}::x")
        lazy = npdata.stack(f"{tmp_path}/*.{suffix}::x", check="first use")
        assert lazy[0].tolist() == [0] * 3
        with pytest.raises((ValueError, OSError), match=message):
            lazy[1]

    def test_another_shape_is_named_at_its_sample(self, files: Path) -> None:
        message = self.damage(files, "another shape")
        lazy = npdata.stack(files, check="first use")
        with pytest.raises(errors.FormatError, match=f"{message}.* with check='open'"):
            lazy[17]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
    def test_an_unreadable_file(self, files: Path) -> None:
        (files / "x17.npy").chmod(0)
        with pytest.raises(PermissionError, match=r"x17\.npy"):
            npdata.stack(files)
        with pytest.raises(PermissionError, match=r"x17\.npy"):
            npdata.stack(files, check="first use")[17]


class TestChangedFiles:
    @pytest.mark.parametrize("check", ["open", "first use"])
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda p: os.truncate(p, 150), "had 208 bytes and now has 150"),
            (lambda p: os.utime(p, (1, 1)), "was written to"),
            (lambda p: p.unlink(), "is gone since it was opened"),
            (lambda p: (np.save(p.with_suffix(".new.npy"), np.zeros((4, 5), "f4")),
                        p.with_suffix(".new.npy").replace(p)), "another file has taken its place"),
            (lambda p: (p.unlink(), p.mkdir()), "changed since it was opened"),
            (lambda p: (p.unlink(), os.mkfifo(p)), "changed since it was opened"),
            (lambda p: (p.unlink(), listens_at(p)), "changed since it was opened"),
        ],
    )  # fmt: skip
    def test_are_named(self, tmp_path: Path, check, change, message: str) -> None:
        for k in range(3):
            np.save(tmp_path / f"x{k}.npy", np.full((4, 5), k, np.float32))
        ds = npdata.stack(tmp_path, check=check)
        ds[:]
        change(tmp_path / "x1.npy")
        assert ds[[0, 2]][:, 0, 0].tolist() == [0, 2]
        with pytest.raises(errors.ChangedFileError, match=rf"x1\.npy.*{message}"):
            ds[[2, 1, 0]]


LIMITED = """
import resource, sys
import numpy as np, npdata
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from torch.utils.data import DataLoader, Subset
ds = npdata.stack(sys.argv[1])
order = np.random.default_rng(0).permutation(len(ds)).reshape(-1, 50)
for workers in (0, 2):
    loader = DataLoader(ds, batch_sampler=order.tolist(), collate_fn=npdata.collate,
                        num_workers=workers)
    for rows, batch in zip(order, loader):
        assert (batch[:, 0].numpy() == rows).all()
for rows, batch in zip(order, npdata.Loader(ds, sampler=order, num_threads=2)):
    assert (batch[:, 0].numpy() == rows).all()
"""


def test_a_limit_of_128_descriptors(tmp_path: Path) -> None:
    for k in range(500):
        np.save(tmp_path / f"{k}.npy", np.full(3000, k))
    done = run(LIMITED, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_text_of_hdf5_stacks_too(tmp_path: Path) -> None:
    for k in range(3):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file.create_dataset("words", data=[f"a{k}"], dtype=h5py.string_dtype())
    with pytest.raises(errors.ConversionError, match="text"):
        npdata.stack(f"{tmp_path}::words")


def test_compressed_members_of_either_order_are_samples(tmp_path: Path) -> None:
    arrays = [np.arange(6.0).reshape(2, 3) + k for k in range(4)]
    for k, array in enumerate(arrays):
        np.savez_compressed(tmp_path / f"{k}.npz", x=np.asfortranarray(array) if k % 2 else array)
    for check in ("open", "first use"):
        ds = npdata.stack(f"{tmp_path}/*.npz::x", check=check)
        assert (ds[[2, 0, -1, 2]].numpy() == np.stack(arrays)[[2, 0, -1, 2]]).all()
    path = tmp_path / "2.npz"
    np.savez_compressed(path, x=arrays[0][:1])
    with pytest.raises(errors.ChangedFileError, match=r"2\.npz changed"):
        ds[2]
    path = tmp_path / "3.npz"
    again, whole = npdata.stack(f"{path}::x"), path.stat().st_mtime_ns
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"x.npy") + 40] ^= 255
    path.write_bytes(damaged)
    os.utime(path, ns=(whole, whole))
    with pytest.raises(errors.FormatError, match=r"3\.npz::x cannot be decompressed"):
        again[0]
