"""Samples of `npdata.stack` that are one value each, or have no value at all."""

import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import npdata
from npdata import NumpyDataset
from npdata.errors import FieldError, FormatError, SourceError, TruncatedError
from npdata.sources.many_files.file_list import FileList
from npdata.sources.many_files.known_file import look

LABELS = [3, 1, 2, 9]


@pytest.fixture(params=["npz", "compressed npz", "HDF5"])
def samples(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Write an image and its label into each file; give the files, up to the member."""
    for k, label in enumerate(LABELS):
        arrays = {"image": np.full((2, 3), k, np.float32), "label": np.int16(label)}
        if request.param == "HDF5":
            with h5py.File(tmp_path / f"x{k}.h5", "w") as file:
                for name, array in arrays.items():
                    file[name] = array
        else:
            save = np.savez if request.param == "npz" else np.savez_compressed
            save(tmp_path / f"x{k}.npz", **arrays)
    return f"{tmp_path}/*.{'h5' if request.param == 'HDF5' else 'npz'}"


@pytest.mark.parametrize("check", ["open", "first use"])
def test_a_label_beside_its_image_is_a_sample(samples: str, check: str) -> None:
    ds = npdata.stack(image=f"{samples}::image", label=f"{samples}::label", check=check)
    ds = pickle.loads(pickle.dumps(ds))
    assert ds[3]["label"].shape == ()
    batch = ds[[3, 0, 3]]
    assert batch["label"].tolist() == [9, 3, 9]
    assert batch["label"].numpy().dtype == np.int16
    assert batch["image"][:, 0, 0].tolist() == [3, 0, 3]


def test_what_changed_meanwhile_is_named(samples: str) -> None:
    ds = npdata.stack(f"{samples}::label")
    path = Path(ds.fields[0].paths[1].partition("::")[0])
    path.unlink()
    with pytest.raises(RuntimeError, match=rf"{path.name} is gone"):
        ds[1]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_value_that_is_cut_short_or_damaged_is_named(tmp_path: Path, method: int) -> None:
    header = io.BytesIO()
    np.save(header, np.float64(3.5))
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("label.npy", header.getvalue()[:-3])
    with pytest.raises(TruncatedError, match=r"label declares \(\) of float64, 8 bytes, but"):
        npdata.stack(f"{path}::label")
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("label.npy", header.getvalue())
    data = path.read_bytes()
    crc = zlib.crc32(header.getvalue()).to_bytes(4, "little")
    path.write_bytes(data.replace(crc, b"\0\0\0\0"))
    with pytest.raises(FormatError, match=r"x\.npz::label cannot be decompressed: Bad CRC"):
        npdata.stack(f"{path}::label")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_value_of_a_npz_may_be_what_one_of_a_npy_may_be(tmp_path: Path, save: Any) -> None:
    record = np.array((7, 0.5), [("a", ">i4"), ("b", "f8")])
    for k in range(2):
        time = np.datetime64(k, "s")
        save(tmp_path / f"{k}.npz", name=np.array(["cat", "dog"][k]), time=time, record=record)
    assert npdata.stack(f"{tmp_path}/*.npz::name", dtype=str)[[1, 0]] == ["dog", "cat"]
    assert npdata.stack(f"{tmp_path}/*.npz::time", dtype=torch.int64)[:].tolist() == [0, 1]
    records = npdata.stack(f"{tmp_path}/*.npz::record")[:]
    assert records["a"].tolist() == [7, 7]
    assert records["b"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_value_is_read_where_it_lies_unless_it_is_compressed(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "x.npz"
    save(path, image=np.zeros((2, 3)), label=np.array(-5, ">i2"))
    known = look(FileList.of([str(path)], ["label"]), 0, None, {})
    stored = save is np.savez
    assert (known.offset > 0) is stored
    if stored:
        assert np.fromfile(path, ">i2", 1, offset=known.offset).tolist() == [-5]


@pytest.mark.parametrize(
    "save, reason",
    [
        (np.savez, "each sample is an array of its own, read straight into its batch"),
        (
            np.savez_compressed,
            "each sample is an array of its own, and 2 of them are decoded at each read",
        ),
    ],
)
def test_a_zip_needs_no_h5py(tmp_path: Path, save: Any, reason: str) -> None:
    for k in range(2):
        save(tmp_path / f"{k}.npz", label=np.int16(k), image=np.zeros((3, 4)))
    for member in ("label", "image"):
        access = npdata.stack(f"{tmp_path}/*.npz::{member}").sources[0].access
        assert (access.kind, access.reason) == ("files", reason)


def test_text_and_nothing_in_hdf5_stay_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["name"], file["null"] = "dog", h5py.Empty("f4")
    for member, why in (("name", r"reads single numbers; .*label_from="), ("null", "no rows")):
        with pytest.raises(SourceError, match=rf"x\.h5::/?{member}.*{why}"):
            npdata.stack([f"{tmp_path}/x.h5::{member}"])


def test_a_first_sample_without_values_does_not_speak_for_all(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"x{k}.npy", np.zeros((k, 3), np.float32))
    ds = npdata.stack(tmp_path, check="first use")
    assert ds[0].shape == (0, 3)
    for asked in (2, [0, 2]):
        with pytest.raises(FormatError, match=r"x2\.npy holds \(2, 3\) .*x0\.npy \(0, 3\)"):
            ds[asked]


def test_another_dtype_is_no_matter_of_shapes(tmp_path: Path) -> None:
    np.save(tmp_path / "x0.npy", np.zeros(3, np.float32))
    np.save(tmp_path / "x1.npy", np.zeros(3))
    with pytest.raises(FormatError, match=r"x1\.npy .*all files of a field hold one dtype"):
        npdata.stack(tmp_path, check="first use")[1]


def test_files_of_one_length_by_chance_have_the_form_that_is_asked_for(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.full((4, 2), k, np.float32))
    files = f"{tmp_path}/*.npy"
    assert npdata.stack(files)[:].shape == (3, 4, 2)
    for asked in ({"ragged": "padded"}, {"padding": -1}):
        values, lengths = npdata.stack(files, **asked)[[2, 0]]
        assert values[:, 3, 1].tolist() == [2, 0]
        assert lengths.tolist() == [4, 4]
    assert npdata.stack(files, ragged="jagged")[:].is_nested
    labelled = npdata.stack(files, label_from=r"(\d)\.npy", ragged="list")[[1]][0]
    assert [sample.shape for sample in labelled] == [(4, 2)]
    crops = npdata.stack(files, ragged="stacked", transform=lambda sample: sample[:3])
    assert crops[:].shape == (3, 3, 2)

    pair = {"wave": files, "image": [f"{tmp_path}/{k}.npy" for k in range(3)]}
    batch = npdata.stack(**pair, ragged={"wave": "padded"})[:]
    assert batch["wave"].lengths.tolist() == [4, 4, 4]
    assert batch["image"].shape == (3, 4, 2)
    with pytest.raises(FieldError, match=r"by name: ragged=\{'wave': 'padded'\}"):
        npdata.stack(**pair, ragged="padded")
    spans = npdata.ragged(np.arange(6), lengths=[1, 3, 2])
    known = NumpyDataset(wave=spans, image=npdata.stack(files), ragged="padded")
    assert known[:]["image"].shape == (3, 4, 2)


def test_numbers_have_no_lengths(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.float32(k))
    for asked in ("padded", ["padded"], {0: "padded"}):
        with pytest.raises(FieldError, match="rows of one shape; a field of that name goes"):
            npdata.stack(tmp_path, ragged=asked)


def test_volumes_of_any_shapes_are_stacked_where_that_is_asked_for(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.full((4 + k, 5 - k), k, np.float32))
    crops = npdata.stack(tmp_path, ragged="stacked", transform=lambda sample: sample[:3, :3])
    assert crops[[2, 0]][:, 2, 2].tolist() == [2, 0]
    for asked in ({0: "stacked"}, ["stacked"]):
        named = npdata.stack(tmp_path, ragged=asked, transform=lambda sample: sample[:3, :3])
        assert torch.equal(named[:], crops[:])
    for asked in ({"ragged": "padded"}, {"padding": -1}, {"ragged": {0: "jagged"}}):
        with pytest.raises(FieldError, match="field 0 has samples that differ in more than their"):
            npdata.stack(tmp_path, **asked)


def test_what_is_said_of_recordings_of_unequal_length_is_what_to_write(tmp_path: Path) -> None:
    for k, length in enumerate((3, 5)):
        np.save(tmp_path / f"{k}.npy", np.full((length, 2), k, np.float32))
        np.save(tmp_path / f"channels-{k}.npy", np.full((2, length), k, np.float32))
    with pytest.raises(FieldError, match=r"npdata\.concatenate\(files\)\.windows\(length\)"):
        npdata.stack(f"{tmp_path}/?.npy").windows(3)
    windows = npdata.concatenate(f"{tmp_path}/?.npy").windows(3)
    with pytest.raises(FieldError, match=r"sum\(npdata\.NumpyDataset\(path, axis=1\) for path in"):
        npdata.concatenate(f"{tmp_path}/channels-*.npy")
    turned = sum(NumpyDataset(f"{tmp_path}/channels-{k}.npy", axis=1) for k in range(2)).windows(3)
    assert torch.equal(turned[:], windows[:])
    assert windows[:][:, 0, 0].tolist() == [0, 1, 1, 1]
