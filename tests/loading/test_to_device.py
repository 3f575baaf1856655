"""What happens with memory and devices on a machine without an accelerator, and what is decided."""

import warnings
from collections import namedtuple

import numpy as np
import pytest
import torch
from kinds import Data
from torch.utils.data import DataLoader

import npdata
from npdata.dataset.batch_memory import accelerator_of, allocating_from, batch_memory, plain_memory
from npdata.errors import DeviceError, LoaderError
from npdata.loading.schedule import Data as Known
from npdata.loading.schedule import Machine, decide_schedule
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


class TestMemory:
    def test_a_batch_buffer_comes_from_where_it_is_told(self) -> None:
        given = []

        def allocate(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
            given.append((shape, dtype))
            return plain_memory(shape, dtype)

        ds = npdata.NumpyDataset(np.zeros((4, 2)), np.zeros(4, np.int8))
        allocating_from(allocate, ds.__getitems__, [1, 2])
        batch_memory()((3,), torch.int32)
        assert given == [((2, 2), torch.float64), ((2,), torch.int8)]


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


class TestSchedule:
    def decide(self, **options):
        machine = {"cores": 4, "to_device": False, "pins": False, **options.pop("machine", {})}
        known = {"batch_bytes": 1 << 20, "library": False, **options.pop("data", {})}
        asked = {"num_threads": "auto", "prefetch": 4, "pin_memory": "auto", "memory_budget": None}
        return decide_schedule(
            **{**asked, **options}, data=Known(**known), machine=Machine(**machine)
        )

    def test_threads(self) -> None:
        assert self.decide().threads == 3
        assert self.decide(machine={"cores": 1}).threads == 1
        assert self.decide(machine={"cores": 64}).threads == 8
        assert "4 cores, of which one is left to the loop" in str(self.decide())
        assert self.decide(data={"batch_bytes": 100}).threads == 0
        assert self.decide(data={"batch_bytes": None}).threads == 3
        assert self.decide(data={"library": True}).threads == 0
        assert self.decide(data={"library": True}, num_threads=3).threads == 3
        small = {"data": {"batch_bytes": 100}, "machine": {"to_device": True}}
        assert self.decide(**small).threads == 3

    def test_pinning(self) -> None:
        assert not self.decide().pinned
        assert self.decide(machine={"pins": True}).pinned
        assert not self.decide(machine={"pins": True}, pin_memory=False).pinned
        with pytest.raises(LoaderError, match="no accelerator"):
            self.decide(pin_memory=True)

    def test_a_budget_bounds_the_batches_ahead(self) -> None:
        assert self.decide(memory_budget=8 << 20, prefetch=9).depth == 2
        assert self.decide(memory_budget=1 << 30, prefetch=9).depth == 9
        with pytest.raises(LoaderError, match="give at least 4194304"):
            self.decide(memory_budget=(4 << 20) - 1)
