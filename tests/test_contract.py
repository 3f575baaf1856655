"""What every source promises: the rows of NumPy's `array[indices]`, bit for bit."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from few import few
from hypothesis import given
from hypothesis import strategies as st
from kinds import FILE_KINDS, KINDS, ROWS, Data, dataset
from torch.utils.data import default_collate

import npdata

any_indices = st.lists(st.integers(-ROWS, ROWS - 1), max_size=40)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_batch_is_what_numpy_selects(kind: str, data: Data) -> None:
    ds = dataset(kind, data)

    @few(kind)
    @given(any_indices)
    def check(indices: list[int]) -> None:
        stacked = npdata.collate(ds.__getitems__(indices))
        assert stacked.dtype == torch.float32
        assert stacked.numpy().tobytes() == data.x[np.array(indices, np.int64)].tobytes()

    check()


def test_the_samples_of_a_batch_are_what_numpy_selects(kind: str, data: Data) -> None:
    ds = dataset(kind, data)

    @few(kind)
    @given(any_indices.filter(len))
    def check(indices: list[int]) -> None:
        batch = ds.__getitems__(indices)
        assert len(batch) == len(indices)
        assert all((row.numpy() == data.x[i]).all() for row, i in zip(batch, indices, strict=True))
        assert (default_collate(ds.__getitems__(indices)).numpy() == data.x[indices]).all()

    check()


def test_a_sample_is_one_row(kind: str, data: Data) -> None:
    ds = dataset(kind, data)
    for index in (0, 5, ROWS - 1, -1, -ROWS, np.int8(3), np.uint64(4), torch.tensor(-2)):
        assert (ds[index].numpy() == data.x[int(index)]).all()


@pytest.mark.parametrize(
    "rows",
    [
        slice(2, 5),
        slice(None),
        slice(-3, None),
        slice(50, 10, -3),
        slice(5, 5),
        slice(None, None, 7),
    ],
    ids=str,
)
def test_a_slice_is_what_numpy_slices(kind: str, data: Data, rows: slice) -> None:
    assert (dataset(kind, data)[rows].numpy() == data.x[rows]).all()


def test_masks_arrays_and_tensors_select_like_numpy(kind: str, data: Data) -> None:
    ds = dataset(kind, data)
    mask = data.y > 0
    for index in (mask, torch.from_numpy(mask), mask.tolist()):
        assert (ds[index].numpy() == data.x[mask]).all()
    rows = np.array([90, 3, 3, -1])
    frozen = rows.copy()
    frozen.flags.writeable = False
    kinds = (rows, frozen, torch.from_numpy(rows), rows.astype(np.int8), rows.tolist(), rows[::-1])
    for index in kinds:
        assert (npdata.collate(ds.__getitems__(index)).numpy() == data.x[np.asarray(index)]).all()
        assert (ds[index].numpy() == data.x[np.asarray(index)]).all()
    assert (
        ds[rows.astype(np.uint16) % ROWS].numpy() == data.x[rows.astype(np.uint16) % ROWS]
    ).all()


@pytest.mark.parametrize(("first", "stop"), [(0, ROWS), (9, 31), (96, 97), (40, 40)])
def test_a_run_of_rows_is_what_numpy_slices(kind: str, data: Data, first: int, stop: int) -> None:
    (source,) = dataset(kind, data).sources
    out = np.empty((stop - first, *source.shape[1:]), source.dtype)
    source.read_run(first, out)
    assert (out == data.x[first:stop]).all()


def test_rows_that_are_not_there_raise_index_error(kind: str, data: Data) -> None:
    ds = dataset(kind, data)
    for index in (ROWS, -ROWS - 1, [0, ROWS], np.array([-ROWS - 1]), 1 << 40):
        with pytest.raises(IndexError, match=r"out of range; rows are -97 to 96"):
            ds[index]
    with pytest.raises(IndexError, match="mask of 3 bools was given for 97 rows"):
        ds[[True, False, True]]


def test_iterating_a_dataset_gives_each_row_once(kind: str, data: Data) -> None:
    assert (np.stack([row.numpy() for row in dataset(kind, data)]) == data.x).all()


def test_a_pickled_dataset_reads_the_same_rows(kind: str, data: Data) -> None:
    ds = dataset(kind, data)
    ds[[0, 1]]
    again = pickle.loads(pickle.dumps(ds))
    assert (again[[5, -1, 5]].numpy() == data.x[[5, -1, 5]]).all()


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_files_are_pickled_by_path(kind: str, data: Data) -> None:
    ds = dataset(kind, data)
    before = len(pickle.dumps(ds))
    ds[[0, 1]], ds[3]
    assert max(before, len(pickle.dumps(ds))) <= 4096


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_writing_to_a_sample_never_reaches_the_file(kind: str, data: Data) -> None:
    if kind == "memmap, writable":
        pytest.skip("the user opened this map to write to the file")
    ds = dataset(kind, data)
    before = contents(data.folder)
    for rows in (ds[3], ds[2:5], ds[[7, 8]], ds.__getitems__([9])[0]):
        rows.fill_(-1)
    assert contents(data.folder) == before


def test_describe_gives_access_and_conversion_with_reasons(kind: str, data: Data) -> None:
    ds = dataset(kind, data)
    (field,) = ds.describe().fields
    assert field.access in ("memory", "mapped", "files", "decoded", "library")
    assert field.conversion in ("view", "copy")
    assert field.access_reason
    assert field.conversion_reason in str(ds.describe())
    assert field.shape == data.x.shape


def test_a_view_in_describe_is_a_view_in_truth(kind: str, data: Data) -> None:
    ds = dataset(kind, data)
    first, second = ds[4], ds[4]
    shares = first.data_ptr() == second.data_ptr()
    assert shares == (ds.describe().fields[0].conversion == "view")


def test_a_closed_dataset_says_so(kind: str, data: Data) -> None:
    with dataset(kind, data) as ds:
        kept = ds[0]
    assert (kept.numpy() == data.x[0]).all()
    for read in (lambda: ds[0], lambda: ds[[0]], lambda: ds.__getitems__([0])):
        with pytest.raises(ValueError, match="closed"):
            read()
