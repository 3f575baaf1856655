"""What is sent to a device as it is stored becomes there the batch that the dataset gives."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import Subset

import npdata
from npdata import NumpyDataset
from npdata.dataset.batch_memory import plain_memory
from npdata.errors import DeviceError
from npdata.loading.batch_task import BatchTask, Made
from npdata.loading.finish_on_device import sent_as_stored
from npdata.loading.readahead import Job
from npdata.loading.to_device import Sender
from npdata.loading.wrapped_datasets import is_direct
from npdata.sampling.row_numbers import MaskedRows


def sent_to_cpu(ds: Any, rows: Any, dtype: Any = None) -> tuple[Any, Made]:
    """The batch that a loader sends to a device, which here is the CPU."""
    sent, finish = sent_as_stored(ds, torch.device("cpu"))
    sender = Sender(torch.device("cpu"), dtype, finish=finish, aside=False)
    task = BatchTask(
        dataset=sent,
        chosen=None,
        stack=None,
        direct=is_direct(sent),
        allocate=plain_memory,
        pinned=False,
        sender=sender,
        dtype=dtype,
        threaded=False,
    )
    made = task(Job(number=0, rows=rows))
    return next(made.batches), made


class TestMetal:
    """MPS has no floats of 64 bits and no sparse tensors, so what needs them stays in memory."""

    MPS = torch.device("mps")

    def test_gets_what_is_decoded_or_sparse_made_in_memory(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file["x"] = np.arange(6, dtype=np.int16)
            file["x"].attrs["scale_factor"] = 0.5
        cells = npdata.csr(np.ones(1), np.array([2]), np.array([0, 1]), (1, 3))
        for ds in (NumpyDataset(f"{tmp_path}/d.h5::x", decode="cf"), NumpyDataset(cells)):
            assert sent_as_stored(ds, torch.device("cpu"))[1] is not None
            assert sent_as_stored(ds, self.MPS) == (ds, None)

    @pytest.mark.parametrize(
        "stored, asked, there",
        [
            ("f8", None, False),
            ("c16", None, False),
            ("f8", torch.float32, True),
            ("f4", None, True),
        ],
    )
    def test_normalizes_what_can_be_sent(self, stored, asked, there) -> None:
        plain = NumpyDataset(np.arange(6).astype(stored), dtype=asked)
        function = npdata.normalize(plain.statistics())
        ds = NumpyDataset(np.arange(6).astype(stored), dtype=asked, batch_transform=function)
        assert (sent_as_stored(ds, self.MPS)[1] is not None) == there

    @pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
    def test_is_sent_no_float_of_64_bits(self, dtype: torch.dtype) -> None:
        with pytest.raises(DeviceError, match=rf"{dtype}.*\(2,\).*mps has none.*dtype=\{{FIELD"):
            Sender(self.MPS).send([torch.zeros(2, dtype=dtype)])


class TestNormalize:
    X = np.random.default_rng(0).integers(0, 256, (50, 3, 4)).astype(np.uint8)
    Y = np.random.default_rng(1).random(50)

    @pytest.mark.parametrize("form", ["bare", "tuple", "dict"])
    @pytest.mark.parametrize("dtype", [None, torch.float16])
    @pytest.mark.parametrize("way", ["whole", "subset", "transform", "mask"])
    def test_runs_on_the_device_with_the_same_result(self, form, dtype, way) -> None:
        given, named = {
            "bare": ((self.X,), {}),
            "tuple": ((self.X, self.Y), {}),
            "dict": ((), {"x": self.X, "y": self.Y}),
        }[form]
        plain = NumpyDataset(*given, **named)
        image = "x" if form == "dict" else 0
        function = npdata.normalize(plain.statistics(keep_axes={image: 0}), [image])
        transform = (lambda sample: sample) if way == "transform" else None
        ds = NumpyDataset(*given, **named, batch_transform=function, transform=transform)
        ds = Subset(ds, range(49, -1, -1)) if way == "subset" else ds
        rows: Any = np.array([7, 3, 3, 49])
        rows = MaskedRows(rows=rows, filler=1) if way == "mask" else rows
        ours, made = sent_to_cpu(ds, rows, dtype)
        (expected,) = npdata.Loader(ds, sampler=[rows], dtype=dtype)
        assert_same(ours, expected)
        if way != "mask":
            size = self.X[rows].nbytes + (0 if form == "bare" else self.Y[rows].nbytes)
            assert made.nbytes == size  # the bytes of the images were sent, and not floats

    @pytest.mark.parametrize("copy", [True, False])
    def test_a_transform_that_draws_still_gets_its_generator(self, copy: bool) -> None:
        ds = NumpyDataset(
            self.Y,
            transform=lambda sample, rng: sample + rng.random(),
            batch_transform=npdata.normalize(NumpyDataset(self.Y).statistics()),
            copy=copy,
        )
        rows = np.array([7, 3, 49])
        seeded = npdata.SeededRows(rows=rows, seed=0, epoch=0, positions=rows)
        assert_same(sent_to_cpu(ds, seeded)[0], ds[rows])

    def test_functions_of_others_run_where_numpy_can_read(self) -> None:
        ds = NumpyDataset(self.X, batch_transform=lambda batch: torch.from_numpy(batch.numpy() + 1))
        assert sent_as_stored(ds, torch.device("cpu")) == (ds, None)
        assert_same(sent_to_cpu(ds, np.array([4]))[0], torch.from_numpy(self.X[[4]] + 1))

    def test_its_figures_are_pickled_and_not_what_was_sent(self) -> None:
        function = npdata.normalize(NumpyDataset(self.Y).statistics())
        size = len(pickle.dumps(function))
        batch = function(torch.from_numpy(self.Y))
        assert len(pickle.dumps(function)) == size
        assert_same(pickle.loads(pickle.dumps(function))(torch.from_numpy(self.Y)), batch)


def assert_same(ours: Any, other: Any) -> None:
    assert type(ours) is type(other)
    if isinstance(ours, torch.Tensor):
        assert ours.dtype == other.dtype
        assert torch.equal(ours, other)
        return
    pairs = (ours.items(), other.items()) if isinstance(ours, dict) else (ours, other)
    for a, b in zip(*pairs, strict=True):
        assert a == b if isinstance(a, str) else assert_same(a, b) is None
