"""Batches on their way to a device, on a machine that has none: found or refused."""

import warnings

import pytest
import torch
from kinds import Data
from torch.utils.data import DataLoader

import npdata
from npdata.errors import DeviceError
from npdata.loading.to_device import accelerator_of

without = pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator is there")


def test_the_cpu_costs_nothing(data: Data) -> None:
    loader = DataLoader(npdata.NumpyDataset(data.x), 8, collate_fn=npdata.collate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert npdata.to_device(loader, "cpu") is loader
        assert npdata.to_device(loader, torch.device("cpu")) is loader


@without
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "xpu", "mps", "meta"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(DeviceError, match=f"'{device}' is not on this machine.*no accel"):
        npdata.to_device([], device)


def test_no_device_at_all() -> None:
    with pytest.raises(DeviceError, match="'gpu' is no device of torch"):
        accelerator_of("gpu")
    assert accelerator_of(None) is None
