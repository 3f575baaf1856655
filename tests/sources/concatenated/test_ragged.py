"""Samples of different lengths out of several files are those of each, one file after the other."""

import pickle
import resource
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

import npdata
from npdata import NumpyDataset
from npdata.errors import FieldError

LENGTHS = ([2, 0, 3], [], [4, 1], [1])


@pytest.fixture
def parts() -> list[list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return [[rng.random(n, np.float32) for n in lengths] for lengths in LENGTHS]


def in_memory(part: list[np.ndarray]) -> Any:
    values = np.concatenate([np.zeros(0, np.float32), *part])
    return npdata.ragged(values, lengths=np.array([len(each) for each in part], np.int64))


def stored(part: list[np.ndarray], path: Path) -> str:
    with h5py.File(path, "w") as file:
        written = file.create_dataset("v", (len(part),), h5py.vlen_dtype(np.dtype("f4")))
        for k, each in enumerate(part):
            written[k] = each
        file["y"] = np.arange(len(part))
    return f"{path}::v"


@pytest.fixture(params=["memory", "stored", "both"])
def joined(request: pytest.FixtureRequest, parts: Any, tmp_path: Path) -> NumpyDataset:
    given = [
        in_memory(part)
        if request.param == "memory" or (request.param == "both" and k % 2)
        else stored(part, tmp_path / f"{k}.h5")
        for k, part in enumerate(parts)
    ]
    return npdata.concatenate(given)


def test_batches_are_those_of_all_parts(joined: NumpyDataset, parts: Any) -> None:
    samples = [torch.from_numpy(each.copy()) for part in parts for each in part]
    again = pickle.loads(pickle.dumps(joined))
    assert len(joined) == len(samples)

    @given(st.lists(st.integers(-len(samples), len(samples) - 1), min_size=1, max_size=8))
    def check(rows: list[int]) -> None:
        expected = pad_sequence([samples[k] for k in rows], batch_first=True)
        for ds in (joined, again):
            batch = ds[rows]
            assert torch.equal(batch.values, expected)
            assert batch.lengths.tolist() == [len(samples[k]) for k in rows]
        assert torch.equal(joined[rows[0]], samples[rows[0]])

    check()


def test_a_transform_in_place_leaves_the_parts_alone(joined: NumpyDataset) -> None:
    before = joined[:].values.clone()
    (field,) = joined.fields.values()
    made = NumpyDataset(field.source, transform=torch.Tensor.zero_)
    assert made[4].sum() == 0
    assert made[:].values.sum() == 0
    assert torch.equal(joined[:].values, before)


def test_samples_are_views_where_those_of_all_parts_with_samples_are(
    parts: Any, tmp_path: Path
) -> None:
    values = [np.concatenate(part) for part in parts if part]
    views = [npdata.ragged(each, lengths=[len(each)]) for each in values]
    ds = npdata.concatenate([stored([], tmp_path / "empty.h5"), *views])
    ds[1][0] = 7
    assert values[1][0] == 7


def test_the_bytes_of_a_row_are_those_of_a_sample_of_mean_length(parts: Any) -> None:
    joined, one, empty = (
        npdata.concatenate([in_memory(part) for part in k])
        for k in (parts, [parts[3], []], [[], []])
    )
    assert joined.fields[0].source.row_bytes == 8  # of (3 * 7 + 2 * 10 + 4) / 6
    assert one.fields[0].source.row_bytes == 4
    assert empty.fields[0].source.row_bytes == 0


def test_samples_are_said_to_be_read_as_those_of_the_part_that_costs_most(
    parts: Any, tmp_path: Path
) -> None:
    given = [in_memory(parts[0]), stored(parts[2], tmp_path / "a.h5")]
    for each in (given, given[::-1]):
        assert npdata.concatenate(each).describe().fields[0].access == "library"


def test_every_sample_comes_once_in_batches_by_size(joined: NumpyDataset) -> None:
    seen = []
    for rank in range(2):
        sampler = npdata.BlockBatchSampler(joined, max_rows=4, seed=1, rank=rank, world_size=2)
        rows = [np.asarray(batch).tolist() for batch in sampler]
        for batch, some in zip(npdata.Loader(joined, sampler=rows), rows, strict=True):
            assert torch.equal(batch.values, joined[some].values)
        seen.extend(row for some in rows for row in some)
    assert set(seen) == set(range(len(joined)))


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_read_all_parts(parts: Any, tmp_path: Path, method: str) -> None:
    for k, part in enumerate(parts):
        stored(part, tmp_path / f"{k}.h5")
    ds = npdata.concatenate(v=f"{tmp_path}/*.h5::v", y=f"{tmp_path}/*.h5::y", ragged="list")
    ds[0]
    loader: Any = DataLoader(
        ds, 4, num_workers=1, multiprocessing_context=method, collate_fn=npdata.collate
    )
    read = [sample for batch in loader for sample in batch["v"]]
    assert all(
        torch.equal(a, torch.from_numpy(b))
        for a, b in zip(read, [each for part in parts for each in part], strict=True)
    )


def test_parts_of_other_values_are_refused(parts: Any, tmp_path: Path) -> None:
    other = npdata.ragged(np.zeros(3), lengths=[3])
    with pytest.raises(
        FieldError, match=r"spans .* of float64, and spans .* of float32; they make no one"
    ):
        npdata.concatenate([in_memory(parts[0]), other])
    with pytest.raises(FieldError, match=r"they make no one field"):
        npdata.concatenate([in_memory(parts[0]), np.zeros(3)])
    stored(parts[0], tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["z"] = np.arange(9)
    with pytest.raises(FieldError, match=r"field 'v' has 3 rows, and .* field 'z' has 9"):
        npdata.concatenate(v=f"{tmp_path}/a.h5::v", z=f"{tmp_path}/a.h5::z")


def test_from_hdf5_takes_variable_length_out_of_several_files(tmp_path: Path) -> None:
    samples = [np.arange(k, dtype=np.int32) for k in (2, 0, 3, 1)]
    for name, some in (("a", samples[:3]), ("b", samples[3:])):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            values = file.create_dataset("v", (len(some),), h5py.vlen_dtype(np.int32))
            for k, sample in enumerate(some):
                values[k] = sample
            file["y"] = np.arange(len(some))
    ds = npdata.NumpyDataset.from_hdf5(f"{tmp_path}/*.h5", v="v", y="y", ragged="list")
    assert [sample.tolist() for sample in ds[:]["v"]] == [sample.tolist() for sample in samples]
    assert list(ds.fields["v"].paths) == [f"{tmp_path}/a.h5::v", f"{tmp_path}/b.h5::v"]


def test_values_of_several_arrays_are_a_field() -> None:
    values = npdata.concatenate([np.arange(3), np.arange(4)])
    for rows in (values, values.fields[0].source):
        spans = npdata.ragged(rows, lengths=[5, 2])
        assert NumpyDataset(spans)[0].tolist() == [0, 1, 2, 0, 1]


def test_many_files_keep_a_third_of_the_descriptors(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (192, 192))
    for k in range(80):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            values = np.full((2, 3), k, np.float32)
            file.create_dataset("values", data=values, chunks=(1, 3), compression=1)
            file["lengths"] = np.array([2])
    parts = [
        npdata.ragged(f"{tmp_path}/{k}.h5::values", lengths=f"{tmp_path}/{k}.h5::lengths")
        for k in range(80)
    ]
    ds = npdata.concatenate(parts)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        assert ds[list(range(80))].values[:, 0, 0].tolist() == list(range(80))
        ds.sources[0].check()
        assert len(list(Path("/proc/self/fd").iterdir())) - before <= 64
