"""What numbers stand for is known of all that is made of them; no part speaks for the others."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import npdata
from npdata import NumpyDataset
from npdata.errors import ConversionError, FieldError, LoaderError
from npdata.sources.labels import LabelSource

DAY = 86_400 * 10**9
MISSING = np.iinfo(np.int64).min


def write(name: str, data: Any, **attributes: Any) -> str:
    with h5py.File(name, "w") as file:
        file["x"] = data
        for key, value in attributes.items():
            file["x"].attrs[key] = value
    return f"{name}::x"


def times(name: str = "t.h5") -> NumpyDataset:
    """Four days, the second of which is missing."""
    stored = np.array([0, -1, 2, 4], np.int32)
    units = "days since 1970-01-01"
    return NumpyDataset(write(name, stored, units=units, _FillValue=np.int32(-1)), decode="cf")


def plain() -> NumpyDataset:
    return NumpyDataset(np.array([2 * DAY]))


def spans(dataset: NumpyDataset) -> NumpyDataset:
    return NumpyDataset(npdata.ragged(dataset, lengths=[1, len(dataset) - 1]))


def anchors(dataset: NumpyDataset) -> NumpyDataset:
    both = NumpyDataset(x=np.arange(len(dataset)), t=dataset.fields[0])
    return NumpyDataset(both.windows({"x": 1}).fields["t"])


OF_TIMES: dict[str, Callable[[], NumpyDataset]] = {
    "themselves": times,
    "behind numbers": lambda: plain() + times(),
    "before numbers": lambda: times() + plain(),
    "in a sum of sums": lambda: plain() + (plain() + times()),
    "in spans": lambda: spans(times()),
    "in spans of a sum": lambda: spans(plain() + times()),
    "behind spans of numbers": lambda: (
        NumpyDataset(npdata.ragged(plain(), lengths=[1])) + spans(times())
    ),
    "in anchors": lambda: anchors(times()),
    "in spans that are anchors": lambda: anchors(spans(times())),
    "in spans that vary": lambda: NumpyDataset(
        npdata.ragged(times(), lengths=[1, 3]), ragged="stacked"
    ),
    "in windows of a sum": lambda: (plain() + times()).windows(1),
    "in spans of datetime64": lambda: NumpyDataset(
        npdata.ragged(times()[:].numpy().view("M8[ns]"), lengths=[1, 3]), dtype=torch.int64
    ),
}


@pytest.mark.parametrize("kind", OF_TIMES)
def test_missing_times_stay_missing(kind: str, in_folder: Path) -> None:
    ds = OF_TIMES[kind]()
    for each in (ds, pickle.loads(pickle.dumps(ds)), NumpyDataset(*ds.fields.values())):
        assert each.fields[0].missing == MISSING
        found = each.statistics()[0]
        assert (int(found.missing), float(found.mean)) == (1, 2 * DAY)
        with pytest.raises(LoaderError, match="numbers of missing times in field 0"):
            npdata.Loader(each, 2, dtype=torch.float64)


@pytest.mark.parametrize("kind", OF_TIMES)
def test_missing_times_become_no_floats_where_they_were_decoded_before(
    kind: str, in_folder: Path
) -> None:
    ds = OF_TIMES[kind]()
    with pytest.raises(ConversionError, match=r"missing times|torch has no datetime64"):
        NumpyDataset(ds.fields[0], dtype=torch.float64)
    assert NumpyDataset(ds.fields[0], dtype=torch.int64).fields[0].missing == MISSING


def labels(*names: str) -> LabelSource:
    known = sorted(set(names))
    return LabelSource(np.array([known.index(name) for name in names]), known)


def test_labels_in_samples_of_different_lengths_keep_their_names(in_folder: Path) -> None:
    first = NumpyDataset(npdata.ragged(labels("cat", "ant", "cat"), lengths=[2, 1]))
    same, other = (npdata.ragged(labels(*names), lengths=[2]) for names in ("ac", "ab"))
    for ds in (first, first + first, anchors(first), pickle.loads(pickle.dumps(first + first))):
        assert ds.fields[0].categories == ("ant", "cat")
    assert npdata.concatenate([same, same]).fields[0].categories == ("a", "c")
    for join in (lambda: npdata.concatenate([same, other]), lambda: first + NumpyDataset(other)):
        with pytest.raises(FieldError, match=r"stand for different names; .*concatenate\(\[values"):
            join()
    joined = npdata.concatenate([labels("a", "c"), labels("a", "b")])
    spans_of_all = NumpyDataset(npdata.ragged(joined, lengths=[2, 2])).fields[0]
    assert [spans_of_all.categories[code] for code in spans_of_all[1]] == ["a", "b"]


def test_packed_values_of_sparse_rows_are_not_mixed(in_folder: Path) -> None:
    halves, quarters = (
        write(f"{scale}.h5", np.arange(1, 5, dtype=np.int16), scale_factor=scale)
        for scale in (0.5, 0.25)
    )
    rows = [npdata.csr(v, [0, 1, 0, 2], [0, 2, 4], (2, 3)) for v in (halves, quarters)]
    with pytest.raises(FieldError, match=r"factor 0\.25, and .* 0\.5; .*, so write them decoded"):
        npdata.concatenate(rows)
    with pytest.raises(FieldError, match=r"packed: scale_factor 0\.25, and .*packed: .* 0\.5"):
        NumpyDataset(rows[0]) + NumpyDataset(rows[1])
    twice = npdata.concatenate([rows[0], rows[0]])
    assert twice[:].shape == (4, 3)
    for ds in (twice, anchors(NumpyDataset(rows[0]))):
        with pytest.raises(FieldError, match="decode its batches in batch_transform="):
            NumpyDataset(ds.fields[0], decode="cf")


OF_GROUPS: dict[str, Callable[[], Any]] = {
    "spans": lambda: npdata.ragged(npdata.open_source("0.h5::*/x"), lengths=[1, 3]),
    "anchors of spans": lambda: anchors(
        NumpyDataset(npdata.ragged(npdata.open_source("0.h5::*/x"), lengths=[1, 3]))
    ).fields[0],
    "spans of a sum": lambda: npdata.ragged(
        NumpyDataset("0.h5::*/x") + NumpyDataset("2.h5::*/x"), lengths=[8]
    ),
    "anchors of a sum": lambda: anchors(
        NumpyDataset(OF_GROUPS["spans"]()) + NumpyDataset(OF_GROUPS["spans"]())
    ).fields[0],
    "rows of different shapes": lambda: NumpyDataset.from_hdf5(
        ["0.h5", "1.h5"], "*/x", ragged="list"
    ).fields[0],
}


def groups(attribute: str, values: list[Any]) -> None:
    """Files with two groups each, whose rows have 3 columns in all but the second file."""
    for k in range(3):
        with h5py.File(f"{k}.h5", "w") as file:
            for g in range(2):
                data = np.arange(10).reshape(2, 5)[:, : 5 if k == 1 else 3].astype(np.uint8)
                file[f"{g}/x"] = data
                file[f"{g}/x"].attrs[attribute] = values[g]


@pytest.mark.parametrize("kind", OF_GROUPS)
def test_samples_out_of_packed_groups_are_not_taken_for_decoded(kind: str, in_folder: Path) -> None:
    groups("scale_factor", [0.5, 0.5])
    with pytest.raises(FieldError, match=r"is packed \(scale_factor 0.5\), .* batch_transform="):
        NumpyDataset(OF_GROUPS[kind](), decode="cf")


@pytest.mark.parametrize("kind", OF_GROUPS)
def test_samples_out_of_groups_that_are_packed_in_different_ways_are_refused(
    kind: str, in_folder: Path
) -> None:
    groups("scale_factor", [0.5, 0.25])
    with pytest.raises(FieldError, match=r"packed in different ways"):
        NumpyDataset(OF_GROUPS[kind]())


@pytest.mark.parametrize("kind", [kind for kind in OF_GROUPS if "anchors" not in kind])
def test_samples_out_of_logical_groups_of_matlab_are_not_taken_for_decoded(
    kind: str, in_folder: Path
) -> None:
    groups("MATLAB_class", [np.bytes_("logical")] * 2)
    with pytest.raises(FieldError, match=r"is logical of MATLAB, .* in batch_transform="):
        NumpyDataset(OF_GROUPS[kind](), decode="matlab")


def test_sparse_rows_of_two_layouts_have_that_which_is_asked_for() -> None:
    of: Any = ([1.0, 2.0], [0, 1], [0, 1, 2], (2, 3))
    parts = [npdata.csr(*of, layout=layout) for layout in ("csr", "dense")]
    for mixed in (parts, parts[::-1]):
        with pytest.raises(FieldError, match=r"some parts have layout='dense', some layout='csr'"):
            npdata.concatenate(mixed)
        assert npdata.concatenate(mixed, layout="csr")[:].layout == torch.sparse_csr
        assert npdata.concatenate(mixed, layout="dense")[:].layout == torch.strided


def logical(name: str) -> str:
    return write(name, np.array([[0, 1], [1, 1]], np.uint8), MATLAB_class=np.bytes_("logical"))


OF_LOGICAL: dict[str, Callable[[], Any]] = {
    "concatenate": lambda: npdata.concatenate(["a.h5::x", "b.h5::x"], decode="matlab"),
    "from_hdf5": lambda: NumpyDataset.from_hdf5(["a.h5", "b.h5"], "x", decode="matlab"),
    "stack": lambda: npdata.stack(["a.h5::x", "b.h5::x"], decode="matlab"),
    "groups": lambda: NumpyDataset("c.h5::*/x", decode="matlab"),
    "sum": lambda: NumpyDataset(
        (NumpyDataset("a.h5::x") + NumpyDataset("b.h5::x")).fields[0], decode="matlab"
    ),
    "windows": lambda: NumpyDataset(
        NumpyDataset("a.h5::x").windows(range(2), edge="zero").fields[0], decode="matlab"
    ),
    "anchors": lambda: NumpyDataset(anchors(NumpyDataset("a.h5::x")).fields[0], decode="matlab"),
    "sum of windows": lambda: NumpyDataset(
        (NumpyDataset("a.h5::x").windows(1) + NumpyDataset("b.h5::x").windows(1)).fields[0],
        decode="matlab",
    ),
}


@pytest.mark.parametrize("kind", OF_LOGICAL)
def test_logical_arrays_of_matlab_are_decoded_in_all_that_is_made_of_them(
    kind: str, in_folder: Path
) -> None:
    logical("a.h5"), logical("b.h5")
    with h5py.File("c.h5", "w") as file:
        for k, name in enumerate("ab"):
            with h5py.File(f"{name}.h5") as other:
                other.copy("x", file, f"{k}/x")
    ds = OF_LOGICAL[kind]()
    for each in (ds, pickle.loads(pickle.dumps(ds))):
        assert each.dtypes[0] == torch.bool
        assert each[0].flatten()[:2].tolist() == [False, True]


def test_arrays_of_matlab_that_cannot_be_decoded_are_refused(in_folder: Path) -> None:
    name, number = logical("a.h5"), write("b.h5", np.ones((2, 2), np.uint8))
    for files in ([name, number], [number, name]):
        assert npdata.concatenate(files)[:].dtype == torch.uint8
        for join in (npdata.concatenate, npdata.stack):
            with pytest.raises(FieldError, match=r"some parts of .* are logical or char arrays"):
                join(files, decode="matlab")
    with h5py.File("g.h5", "w") as file:
        for k, kind in enumerate(("logical", "double")):
            file[f"{k}/x"] = np.ones((2, 2), np.uint8)
            file[f"{k}/x"].attrs["MATLAB_class"] = np.bytes_(kind)
    with pytest.raises(FieldError, match=r"some parts of .* are logical or char arrays"):
        NumpyDataset("g.h5::*/x", decode="matlab")
    of_one = write("c.h5", np.ones(2, np.uint8), MATLAB_class=np.bytes_("logical"))
    for source in (
        npdata.ragged(name, lengths=[2]),
        npdata.csr(of_one, [0, 1], [0, 1, 2], (2, 3)),
    ):
        with pytest.raises(FieldError, match=r"logical of MATLAB, .* in batch_transform="):
            NumpyDataset(source, decode="matlab")


def test_text_of_matlab_is_decoded_out_of_several_files(in_folder: Path) -> None:
    for k, texts in enumerate((["ab", "cd"], ["ef"])):
        codes = np.array([[ord(char) for char in text] for text in texts], np.uint16)
        write(f"{k}.h5", codes, MATLAB_class=np.bytes_("char"))
    ds = npdata.concatenate(["0.h5::x", "1.h5::x"], decode="matlab", dtype=str)
    assert ds[:] == ["ab", "cd", "ef"]


def test_zeros_around_windows_are_not_decoded_as_stored_numbers(in_folder: Path) -> None:
    name = write("x.h5", np.arange(4, dtype=np.int16), scale_factor=0.5, add_offset=100.0)
    stored, asked = NumpyDataset(name), {"length": (-1, 0), "edge": "zero"}
    zeros: Any = stored.windows(**asked)
    for windows in (zeros, zeros + zeros, zeros.windows(1)):
        with pytest.raises(FieldError, match=r"decode before, .*decode='cf'\)\.windows"):
            NumpyDataset(windows.fields[0], decode="cf")
    decoded: Any = NumpyDataset(name, decode="cf").windows(**asked)
    assert decoded[0].tolist() == [0, 100]
    whole = NumpyDataset(stored.windows((-1, 0)).fields[0], decode="cf")
    assert whole[0].tolist() == [100, 100.5]
