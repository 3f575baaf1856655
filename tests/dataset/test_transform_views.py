"""`copy=False`: a transform that only reads gets views, and an error where it writes."""

import warnings
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from few import few
from hypothesis import given
from kinds import KINDS, ROWS, Data
from torch.utils.data import DataLoader

import npdata
from npdata import Loader, NumpyDataset
from npdata.errors import FieldError, SampleWrittenError


def crop(sample: torch.Tensor) -> torch.Tensor:
    return sample[1:, 2:4]


def noisy_crop(sample: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    return sample[1:, 2:4] + rng.random(dtype=np.float32)


class TestValues:
    @pytest.mark.parametrize("kind", KINDS)
    def test_are_those_of_copies(self, data: Data, kind: str) -> None:
        views = NumpyDataset(KINDS[kind](data), transform=crop, copy=False)

        @few(kind)
        @given(st.lists(st.integers(-ROWS, ROWS - 1), max_size=9))
        def check(rows: list[int]) -> None:
            expected = torch.from_numpy(data.x[rows][:, 1:, 2:4])
            if rows:
                assert torch.equal(views[rows], expected)
                assert torch.equal(npdata.collate(views.__getitems__(rows)), expected)
            assert all(map(torch.equal, map(views.__getitem__, rows), expected))

        check()

    @pytest.mark.parametrize("threads", [0, 2])
    def test_in_a_loader(self, data: Data, threads: int) -> None:
        both = [
            NumpyDataset(x=data.folder / "x.npy", y=data.y, transform=draw, copy=copy)
            for copy in (True, False)
        ]
        batches = [list(Loader(ds, 8, shuffle=True, num_threads=threads)) for ds in both]
        for copied, viewed in zip(*batches, strict=True):
            assert all(torch.equal(copied[name], viewed[name]) for name in ("x", "y"))

    @pytest.mark.parametrize("workers", [0, 2])
    def test_in_a_data_loader(self, data: Data, workers: int) -> None:
        ds = NumpyDataset(data.folder / "x.npy", transform=crop, copy=False)
        for collate in (npdata.collate, None):
            batches = list(DataLoader(ds, 8, num_workers=workers, collate_fn=collate))
            assert torch.equal(torch.cat(batches), torch.from_numpy(data.x[:, 1:, 2:4]))

    def test_windows_sums_and_a_batch_transform(self, data: Data) -> None:
        ds = NumpyDataset(data.x, transform=crop, copy=False)
        assert torch.equal(ds.windows(2)[0], torch.from_numpy(data.x[1:2, 2:4]))
        assert torch.equal((ds + ds)[[0, ROWS]], ds[[0, 0]])
        twice = NumpyDataset(data.x, transform=crop, batch_transform=lambda b: 2 * b, copy=False)
        assert torch.equal(twice[3], 2 * ds[3])


def draw(sample: dict[str, torch.Tensor], rng: np.random.Generator) -> dict[str, torch.Tensor]:
    return {**sample, "x": noisy_crop(sample["x"], rng)}


class TestMemory:
    @pytest.mark.parametrize("read", [lambda ds: ds[3], lambda ds: ds[[5, 3]]])
    def test_a_sample_is_where_the_rows_lie(self, data: Data, read: object) -> None:
        array, places = data.x.copy(), []

        def look(sample: torch.Tensor) -> torch.Tensor:
            places.append(sample.data_ptr())
            return sample

        read(NumpyDataset(array, transform=look, copy=False))
        assert places[-1] == array[3].__array_interface__["data"][0]
        read(NumpyDataset(array, transform=look))
        assert places[-1] != places[0]

    def test_what_cannot_be_written_is_copied(self, data: Data) -> None:
        """So that a transform that breaks its word writes into no read-only memory."""
        array = KINDS["read-only array"](data)
        ds = NumpyDataset(array, transform=lambda sample: sample.numpy().fill(0), copy=False)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ds[0]
        assert np.array_equal(array, data.x)
        assert "copy: the array is read-only" in str(ds.describe())

    def test_describe_says_so(self, data: Data) -> None:
        views = NumpyDataset(data.x, transform=crop, copy=False)
        assert "view: the memory" in str(views.describe())
        assert "copy: the transform" in str(NumpyDataset(data.x, transform=crop).describe())


class TestABrokenPromise:
    @pytest.mark.parametrize(
        "write",
        [
            lambda sample: sample["x"].zero_(),
            lambda sample: sample["x"][0].add_(1),
            lambda sample: sample["x"].__setitem__(0, 0.0),
            lambda sample: sample.update(x=None) or sample,
        ],
    )
    @pytest.mark.parametrize("kind", ["npy", "hdf5, compressed"])
    def test_is_an_error(self, data: Data, kind: str, write: object) -> None:
        ds = NumpyDataset(x=KINDS[kind](data), transform=write, copy=False)
        if write({"x": torch.ones(3, 5)}) == {"x": None}:
            assert ds[0] == {"x": None}
            return
        for read in (lambda: ds[0], lambda: ds[[0, 1]], lambda: next(iter(Loader(ds, 2)))):
            with pytest.raises(SampleWrittenError, match="Leave copy=False"):
                read()

    def test_reaches_no_file(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.ones((3, 2)))
        ds = NumpyDataset(tmp_path / "x.npy", transform=torch.Tensor.zero_, copy=False)
        with pytest.raises(SampleWrittenError):
            ds[0]
        ds = NumpyDataset(tmp_path / "x.npy", transform=lambda s: s.numpy().fill(0), copy=False)
        ds[0]
        assert np.array_equal(np.load(tmp_path / "x.npy"), np.ones((3, 2)))

    def test_under_inference_mode_samples_are_read(self, data: Data) -> None:
        with torch.inference_mode():
            sample = NumpyDataset(data.x, transform=crop, copy=False)[0]
        assert np.array_equal(sample, data.x[0][1:, 2:4])

    @pytest.mark.parametrize("write", [torch.Tensor.zero_, lambda sample: sample.T[1:].add_(1)])
    @pytest.mark.parametrize("kind", ["npy", "hdf5, compressed"])
    def test_is_an_error_under_inference_mode(self, data: Data, kind: str, write: object) -> None:
        ds = NumpyDataset(KINDS[kind](data), transform=write, copy=False)
        with torch.inference_mode():
            for read in (lambda: ds[0], lambda: ds[[0, 1]], lambda: next(iter(Loader(ds, 2)))):
                with pytest.raises(SampleWrittenError, match="Leave copy=False"):
                    read()


def test_no_rows_are_a_batch_as_with_copies(data: Data) -> None:
    ds = NumpyDataset(x=data.x, y=data.y, transform=crop, copy=False)
    for batch in (ds[:0], ds[[]], npdata.collate(ds.__getitems__([]))):
        assert batch["x"].shape == (0, 3, 5)


def test_copy_is_true_or_false() -> None:
    with pytest.raises(FieldError, match="a field of that name goes into a mapping"):
        NumpyDataset(x=np.arange(3), copy=np.arange(3))
    assert NumpyDataset({"copy": np.arange(3)})[1] == {"copy": torch.tensor(1)}
