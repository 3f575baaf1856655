"""What happens with memory and devices on a machine without an accelerator, and what is decided."""

import pickle
import warnings
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from kinds import Data
from torch.utils.data import DataLoader, Subset

import npdata
from npdata import NumpyDataset
from npdata.dataset.batch_memory import accelerator_of, allocating_from, batch_memory, plain_memory
from npdata.errors import DeviceError, LoaderError
from npdata.loading.batch_task import BatchTask, Made
from npdata.loading.finish_on_device import sent_plain
from npdata.loading.readahead import Job
from npdata.loading.schedule import Data as Known
from npdata.loading.schedule import Machine, Options, decide_schedule
from npdata.loading.to_device import Sender, cast, map_tensors
from npdata.loading.wrapped_datasets import is_direct
from npdata.sampling.row_numbers import MaskedRows

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
    def test_a_batch_buffer_comes_from_where_it_is_asked_for(self) -> None:
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
        machine = {"cores": 4, "pins": False, **options.pop("machine", {})}
        if machine.pop("to_device", False):
            options["device"] = torch.device("meta")
        known = {"batch_bytes": 1 << 20, "library": False, **options.pop("data", {})}
        return decide_schedule(Options(**options), Known(**known), Machine(**machine))

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

    def test_the_loop_helps_where_it_waits_for_whole_batches(self) -> None:
        assert self.decide().helps
        assert "3 threads and the loop while it waits" in str(self.decide())
        assert not self.decide(num_threads=3).helps
        assert not self.decide(machine={"pins": True}).helps
        assert not self.decide(machine={"to_device": True}).helps

    def test_long_epochs_of_runs_are_gathered_ahead(self) -> None:
        few = {"batch_bytes": 1 << 15, "gathered_bytes": 1 << 15, "epoch_bytes": 1 << 24}
        many = {**few, "batch_bytes": 1 << 10, "gathered_bytes": 1 << 10}
        for data in (few, many):
            schedule = self.decide(data=data, prefetch=3)
            assert schedule.run > 1
            assert (schedule.threads, schedule.helps, schedule.depth) == (2, True, 6)
            assert self.decide(data=data, machine={"cores": 1}).threads == 0
            assert self.decide(data={**data, "epoch_bytes": 1 << 20}).threads == 0

    def test_runs_stay_in_the_window_that_memory_limits(self) -> None:
        small = {"batch_bytes": 1 << 10, "gathered_bytes": 1 << 10}
        assert self.decide(data=small).run == 1 << 10
        assert self.decide(data={**small, "most_batches": 5}).run == 5
        assert self.decide(data={**small, "most_batches": 3}).run == 1

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


def sent_to_cpu(ds: Any, rows: Any, dtype: Any = None) -> tuple[Any, Made]:
    """The batch that a loader sends to a device, which here is the CPU."""
    sent, finish = sent_plain(ds, torch.device("cpu"))
    sender = Sender(torch.device("cpu"), dtype, finish=finish, aside=False)
    task = BatchTask(
        dataset=sent,
        direct=is_direct(sent),
        allocate=plain_memory,
        pinned=False,
        sender=sender,
        dtype=dtype,
        threaded=False,
    )
    made = task(Job(number=0, rows=rows))
    return next(made.batches), made


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
        assert sent_plain(ds, torch.device("cpu")) == (ds, None)
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
