"""Batches on their way to a device, on a machine that has none: found, cast, or refused."""

import warnings
from collections import namedtuple

import pytest
import torch
from kinds import Data
from torch.utils.data import DataLoader

import npdata
from npdata.dataset.batch_memory import accelerator_of
from npdata.errors import DeviceError, LoaderError
from npdata.loading.to_device import cast, map_tensors

without = pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator is there")


class TestToDevice:
    def test_the_cpu_costs_nothing(self, data: Data) -> None:
        loader = DataLoader(npdata.NumpyDataset(data.x), 8, collate_fn=npdata.collate)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert npdata.to_device(loader, "cpu") is loader
            assert npdata.to_device(loader, torch.device("cpu")) is loader

    @without
    @pytest.mark.parametrize("device", ["cuda", "cuda:1", "xpu", "mps", "meta"])
    def test_a_device_that_is_not_there(self, device: str) -> None:
        with pytest.raises(DeviceError, match=f"'{device}' is not on this machine.*no accel"):
            npdata.to_device([], device)

    def test_no_device_at_all(self) -> None:
        with pytest.raises(DeviceError, match="'gpu' is no device of torch"):
            accelerator_of("gpu")
        assert accelerator_of(None) is None


Pair = namedtuple("Pair", "x y")


class TestBatches:
    def test_tensors_are_found_in_any_container(self) -> None:
        batch = {"a": [torch.ones(2)], "b": Pair(torch.ones(1), "text"), "c": (3, None)}
        moved = map_tensors(lambda tensor: tensor + 1, batch)
        assert moved["a"][0].tolist() == [2, 2]
        assert moved["b"] == Pair(torch.tensor([2.0]), "text")
        assert moved["c"] == (3, None)

    @pytest.mark.parametrize(
        "after, expected",
        [
            (False, [torch.float32, torch.uint8, torch.float32]),
            (True, [torch.float64, torch.float32, torch.float32]),
            (None, [torch.float32] * 3),
        ],
    )
    def test_casts_that_grow_wait_for_the_copy(self, after: bool | None, expected: list) -> None:
        batch = [torch.zeros(2, dtype=d) for d in (torch.float64, torch.uint8, torch.float32)]
        assert [part.dtype for part in cast(batch, torch.float32, after=after)] == expected

    def test_a_bare_tensor_is_field_0(self) -> None:
        assert cast(torch.zeros(2), {0: torch.int8}).dtype == torch.int8
        with pytest.raises(LoaderError, match="names 1, which is no field"):
            cast(torch.zeros(2), {1: torch.int8})
