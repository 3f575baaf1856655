"""`npdata.concatenate` of rows of different shapes: samples of their own, where that is asked."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader

import npdata
from npdata import errors


def first_four(sample: torch.Tensor) -> torch.Tensor:
    """Bring slices to one width."""
    return sample[:, :4]


SLICES = [np.arange(60).reshape(3, 4, 5), np.arange(56).reshape(2, 4, 7), np.zeros((1, 4, 5), int)]
POINTS = [np.arange(18).reshape(3, 2, 3), np.arange(24).reshape(2, 4, 3), np.zeros((2, 0, 3), int)]


def parts_of(arrays: list[np.ndarray], kind: str, folder: Path) -> Any:
    """The arrays as files, or in memory."""
    if kind == "memory":
        return arrays
    for k, array in enumerate(arrays):
        np.save(folder / f"{k}.npy", array)
        with h5py.File(folder / f"{k}.h5", "w") as file:
            file.create_dataset("x", data=array, chunks=True, compression=1)
        with h5py.File(folder / "groups.hdf5", "a") as file:
            file[f"g{k}/x"] = array
    return f"{folder}/{kind}"


KINDS = ["memory", "*.npy", "*.h5::x", "groups.hdf5::*/x"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_other_shapes_are_taken_where_that_is_asked_for(kind: str, tmp_path: Path) -> None:
    files = parts_of(SLICES, kind, tmp_path)
    for options in ({}, {"transform": first_four}):
        with pytest.raises(errors.FieldError, match=r"no one field; ragged='stacked' takes"):
            npdata.concatenate(files, **options)
    listed = npdata.concatenate(files, ragged="list")
    assert [each.tolist() for each in listed[[3, 0]]] == [listed[3].tolist(), listed[0].tolist()]
    ds = npdata.concatenate(files, ragged="stacked", transform=first_four)
    wanted = np.concatenate([array[:, :, :4] for array in SLICES])
    assert ds[[5, 0, 3, 0]].tolist() == wanted[[5, 0, 3, 0]].tolist()
    for loader in (
        npdata.Loader(ds, 2),
        DataLoader(
            ds, 2, num_workers=2, multiprocessing_context="spawn", collate_fn=npdata.collate
        ),
    ):
        assert torch.cat(list(loader)).tolist() == wanted.tolist()
    assert ds.borders.tolist() == [0, 3, 5, 6]
    assert first_four(npdata.concatenate(files, ragged="stacked")[3]).tolist() == wanted[3].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_differ_in_their_first_axis_have_the_form_that_is_asked_for(
    kind: str, tmp_path: Path
) -> None:
    files, samples = parts_of(POINTS, kind, tmp_path), [row for array in POINTS for row in array]
    rows = [6, 4, 0]
    padded = npdata.concatenate(files, padding=-1)[rows]
    assert padded.lengths.tolist() == [0, 4, 2]
    assert padded.values[2].tolist() == [*samples[0].tolist(), [-1] * 3, [-1] * 3]
    listed = npdata.concatenate(files, ragged="list")
    assert [each.tolist() for each in listed[rows]] == [samples[k].tolist() for k in rows]
    jagged = npdata.concatenate(files, ragged="jagged")[rows]
    assert [each.tolist() for each in jagged.unbind()] == [samples[k].tolist() for k in rows]
    sampler = npdata.BlockBatchSampler(listed, max_rows=6)
    assert sorted(row for batch in sampler for row in batch) == list(range(7))
    assert listed.sources[0].lengths().tolist() == [len(sample) for sample in samples]


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_happen_not_to_differ_have_the_form_that_is_asked_for(
    kind: str, tmp_path: Path
) -> None:
    alike = [POINTS[0], POINTS[0][:2] + 100]
    files, samples = parts_of(alike, kind, tmp_path), np.concatenate(alike)
    padded = npdata.concatenate(files, padding=-1)
    assert padded[[4, 0]].lengths.tolist() == [2, 2]
    assert padded[[4, 0]].values.tolist() == samples[[4, 0]].tolist()
    assert padded.borders.tolist() == [0, 3, 5]
    listed = npdata.concatenate(files, ragged="list")
    for resident in (False, True):
        loaded = [row for batch in npdata.Loader(listed, 2, resident=resident) for row in batch]
        assert torch.stack(loaded).tolist() == samples.tolist()
    for form in ("jagged", "stacked"):
        batch = npdata.concatenate(files, ragged=form)[[4, 0]]
        assert torch.stack([*batch.unbind()]).tolist() == samples[[4, 0]].tolist()


def test_one_of_several_files_that_do_not_differ_is_named(tmp_path: Path) -> None:
    for name in "xy":
        np.save(tmp_path / f"{name}-0.npy", POINTS[0])
    fields: Any = {name: f"{tmp_path}/{name}-*.npy" for name in "xy"}
    with pytest.raises(errors.FieldError, match=r"take it by name: ragged=\{'x': 'padded'\}"):
        npdata.concatenate(**fields, ragged="padded")
    batch = npdata.concatenate(**fields, ragged={"x": "padded"})[[0]]
    assert batch["x"].lengths.tolist() == [2]
    assert batch["y"].tolist() == POINTS[0][[0]].tolist()
    assert npdata.concatenate(**fields, ragged="stacked")[[0]]["x"].shape == (1, 2, 3)


def test_files_of_one_length_are_taken_before_rows_of_one_length(tmp_path: Path) -> None:
    parts_of(POINTS[:1], "*.npy", tmp_path)
    both = {"file": npdata.stack(f"{tmp_path}/*.npy"), "row": npdata.concatenate([np.ones((1, 2))])}
    batch = npdata.NumpyDataset(both, ragged="padded")[[0]]
    assert batch["file"].lengths.tolist() == [3]
    assert batch["row"].tolist() == [[1, 1]]


@pytest.mark.parametrize("options", [{"ragged": "padded"}, {"ragged": "jagged"}, {"padding": 0}])
def test_each_field_of_different_shapes_is_asked_for(options: Any, tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"slice-{k}.npy", SLICES[k][:1])
        np.save(tmp_path / f"point-{k}.npy", POINTS[k][:1])
    slices, points = (f"{tmp_path}/{name}-*.npy" for name in ("slice", "point"))
    with pytest.raises(errors.FieldError, match=r"=.* is for .*ragged='stacked' stacks them"):
        npdata.concatenate(slices, **options)
    with pytest.raises(errors.FieldError, match=r"=.* is for .*ragged=\{'y': 'stacked'\} stacks"):
        npdata.concatenate(x=points, y=slices, **options)
    ds = npdata.concatenate(x=points, y=slices, ragged={"x": "padded", "y": "stacked"})
    assert [ds[1]["x"].shape, ds[1]["y"].shape] == [(4, 3), (4, 7)]


def test_sums_of_rows_of_different_shapes_are_batched(tmp_path: Path) -> None:
    ends = [SLICES[:2], [SLICES[1] + 100, SLICES[0][:1]]]
    first, second = (
        npdata.concatenate(each, ragged="stacked", transform=first_four) for each in ends
    )
    wanted = np.concatenate([array[:, :, :4] for k in (0, 1, 0) for array in ends[k]])
    for total in (first + second + first, sum([first, second, first])):
        assert torch.cat(list(npdata.Loader(total, 4))).tolist() == wanted.tolist()
        assert total.borders.tolist() == [0, 3, 5, 7, 8, 11, 13]
    points = npdata.concatenate(POINTS, ragged="stacked", transform=first_four)
    assert len(second + points) == 10


def test_rows_of_more_axes_are_joined_by_torch() -> None:
    flat = npdata.concatenate(POINTS, ragged="stacked", transform=first_four)
    more = [array[..., None] for array in POINTS]
    deep = npdata.concatenate(more, ragged="stacked", transform=first_four)
    assert isinstance(flat + deep, ConcatDataset)


def test_what_was_laid_end_to_end_lies_among_others(tmp_path: Path) -> None:
    inner = npdata.concatenate(POINTS, ragged="list").fields[0].source
    joined = npdata.concatenate([inner, POINTS[1]], ragged="list")
    assert joined[[7, 0]][0].tolist() == POINTS[1][0].tolist()
    for other, held in (
        (POINTS[0].astype(np.float32), "rows of 2 axes of float32"),
        (np.zeros((2, 3, 2, 3), int), "rows of 3 axes of int64"),
    ):
        told = rf"^array in memory holds {held}, and array in memory rows of 2 axes of int64; they"
        with pytest.raises(errors.FieldError, match=told):
            npdata.concatenate([inner, other], ragged="list")


def test_from_hdf5_takes_files_of_other_shapes(tmp_path: Path) -> None:
    parts_of(POINTS, "*.h5", tmp_path)
    ds = npdata.NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", "x", ragged="padded", cache="ram")
    for _ in range(2):
        assert ds[[3, 0]].values[0].tolist() == POINTS[1][0].tolist()
    with pytest.raises(errors.FieldError, match=r"no one field; .*ragged='padded' pads"):
        npdata.NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", "x")
    with pytest.raises(errors.FieldError, match=r"npdata\.concatenate\(files, ragged='padded'\)"):
        npdata.NumpyDataset.from_hdf5(f"{tmp_path}/1.h5", "x", ragged="padded")
    assert len(npdata.concatenate(f"{tmp_path}/1.h5::x", ragged="padded")[[0]].lengths) == 1


@pytest.mark.parametrize("kind", ["*.npy", "*.h5::x"])
@pytest.mark.parametrize("form", ["list", "stacked"])
def test_a_read_looks_at_the_files_of_its_own_rows_alone(
    kind: str, form: Any, tmp_path: Path
) -> None:
    ds = npdata.concatenate(parts_of(POINTS, kind, tmp_path), ragged=form)
    for name in ("1.npy", "1.h5"):
        with (tmp_path / name).open("ab") as file:
            file.write(b"more")
    assert ds[2].tolist() == POINTS[0][2].tolist()
    assert [each.tolist() for each in ds[[0, 2]]] == POINTS[0][[0, 2]].tolist()
    for rows in (3, [0, 4]):
        with pytest.raises(errors.ChangedFileError, match=r"1\.(npy|h5) changed"):
            ds[rows]


@pytest.mark.parametrize(
    "other", [np.zeros((2, 4, 5), "f8"), np.zeros((2, 20), int), np.zeros(2, int)]
)
def test_rows_of_another_dtype_or_of_more_axes_are_refused_in_any_form(other: Any) -> None:
    with pytest.raises(errors.FieldError, match="no one field"):
        npdata.concatenate([SLICES[0], SLICES[1].astype(other.dtype), other], ragged="stacked")


def test_a_column_of_records_of_other_shapes_has_a_name(tmp_path: Path) -> None:
    records = [np.ones((2, n), [("a", "f4"), ("b", "i4")]) for n in (2, 3)]
    files = [f"{tmp_path}/{k}.h5" for k in range(2)]
    for path, data in zip(files, records, strict=True):
        with h5py.File(path, "w") as file:
            file["x"] = data
    with pytest.raises(errors.ConversionError, match=r"give the name: 'FILE::NAME\.a'"):
        npdata.concatenate([f"{path}::x" for path in files], ragged="padded")
    batch = npdata.concatenate([f"{path}::x.a" for path in files], ragged="padded")[[0, 2]]
    assert batch.values.tolist() == [[1, 1, 0], [1, 1, 1]]


def test_packed_rows_of_other_shapes_are_decoded_in_no_form(tmp_path: Path) -> None:
    parts_of(POINTS, "*.h5", tmp_path)
    for k in range(3):
        with h5py.File(tmp_path / f"{k}.h5", "r+") as file:
            file["x"].attrs["scale_factor"] = 0.5
    with pytest.raises(errors.FieldError, match=r"is packed .*decode= is for rows of one shape"):
        npdata.concatenate(f"{tmp_path}/*.h5::x", ragged="padded", decode="cf")
    with h5py.File(tmp_path / "1.h5", "r+") as file:
        file["x"].attrs["scale_factor"] = 2.0
    with pytest.raises(errors.FieldError, match=r"1\.h5::/x holds .*packed: scale_factor 2.0"):
        npdata.concatenate(f"{tmp_path}/*.h5::x", ragged="padded")
