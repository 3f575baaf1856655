"""Batches on an accelerator: the same bits, under load, kept, left early, on other streams."""

import gc

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import npdata
from npdata import Loader, NumpyDataset
from npdata.errors import DeviceError
from npdata.loading.schedule import RUN_BYTES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator"),
]
ROWS, WIDTH, BATCH = 20_000, 1024, 256


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (ROWS, WIDTH), np.uint8), np.arange(ROWS)


@pytest.fixture(scope="module")
def ds(arrays: tuple[np.ndarray, np.ndarray]) -> NumpyDataset:
    return NumpyDataset(*arrays)


@pytest.fixture
def device() -> torch.device:
    found = torch.accelerator.current_accelerator()
    assert found is not None
    return found


def busy(device: torch.device) -> torch.Tensor:
    """Put work of some milliseconds on the current stream."""
    matrix = torch.ones(2048, 2048, device=device)
    for _ in range(20):
        matrix = matrix @ matrix / 2048
    return matrix


def assert_rows(image: torch.Tensor, label: torch.Tensor, arrays) -> None:
    rows = label.cpu().numpy()
    assert (image.cpu().numpy() == arrays[0][rows]).all()


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("pin_memory", ["auto", False])
def test_bits_are_the_same_while_the_device_is_busy(
    ds: NumpyDataset, arrays, device: torch.device, threads: int, pin_memory
) -> None:
    loader = Loader(
        ds, BATCH, num_threads=threads, device=device, pin_memory=pin_memory, shuffle="block"
    )
    seen = []
    for image, label in loader:
        assert image.device.type == device.type
        # Used on the device first: the copy must be over for the stream, not only for the host.
        doubled = image.int() * 2
        busy(device)
        assert_rows(image, label, arrays)
        assert (doubled.cpu() == image.cpu().int() * 2).all()
        seen += label.tolist()
    assert sorted(seen) == list(range(ROWS))


def test_batches_that_are_kept_stay_as_they_were(ds: NumpyDataset, arrays, device) -> None:
    kept = []
    for batch in Loader(ds, BATCH, num_threads=4, prefetch=8, device=device, shuffle="block"):
        busy(device)
        kept.append(batch)
    for image, label in kept:
        assert_rows(image, label, arrays)


def test_memory_released_while_in_use_is_not_overwritten(ds: NumpyDataset, device) -> None:
    sums, expected = [], []
    for image, label in Loader(ds, BATCH, num_threads=4, device=device, shuffle="block"):
        busy(device)
        sums.append(image.sum(dtype=torch.int64))
        expected.append(label)
        del image, label
    array = ds[:][0].numpy()
    for total, rows in zip(sums, expected, strict=True):
        assert int(total) == array[rows.cpu().numpy()].sum(dtype=np.int64)


def test_early_breaks_leave_no_memory_on_the_device(ds: NumpyDataset, device) -> None:
    loader = Loader(ds, BATCH, num_threads=2, device=device, shuffle="block")
    for _ in loader:
        break
    gc.collect()
    torch.accelerator.synchronize()
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    for _ in range(200):
        for _batch in loader:
            break
    del _batch
    gc.collect()
    torch.accelerator.synchronize()
    assert device.type != "cuda" or torch.cuda.memory_allocated() <= before


def test_batches_on_a_stream_of_the_user(ds: NumpyDataset, arrays, device) -> None:
    stream = torch.Stream(device)
    before = torch.accelerator.current_stream(device)
    torch.accelerator.set_stream(stream)
    try:
        for image, label in Loader(ds, BATCH, num_threads=2, device=device, shuffle="block"):
            assert torch.accelerator.current_stream(device) == stream
            assert_rows(image, label, arrays)
    finally:
        torch.accelerator.set_stream(before)


def test_casts_that_grow_are_done_on_the_device(ds: NumpyDataset, arrays, device) -> None:
    loader = Loader(ds, BATCH, device=device, dtype={0: torch.float32}, shuffle="block")
    for image, label in loader:
        assert (image.dtype, label.dtype) == (torch.float32, torch.int64)
        assert_rows(image.to(torch.uint8), label, arrays)


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("uneven", ["pad", "mask"])
def test_small_batches_in_runs_are_those_of_the_file(device, resident: bool, uneven: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (50_001, 20), np.uint8)
    small = NumpyDataset({"x": x, "y": np.arange(len(x))})
    options = {"shuffle": True, "uneven": uneven, "dtype": {"x": torch.float32}}
    ours = Loader(small, 64, device=device, resident=resident, **options)
    assert "runs of" in str(ours.describe()) or resident
    kept = list(ours)
    busy(device)
    for got, expected in zip(kept, Loader(small, 64, num_threads=0, **options), strict=True):
        batch, *mask = got if uneven == "mask" else (got,)
        there, *marks = expected if uneven == "mask" else (expected,)
        assert batch["x"].device.type == batch["y"].device.type == device.type
        assert all(torch.equal(batch[name].cpu(), there[name]) for name in ("x", "y"))
        assert all(torch.equal(m.cpu(), n) for m, n in zip(mask, marks, strict=True))
        batch["x"].zero_()  # is no view for autograd, nor of another batch's rows


@pytest.mark.parametrize("resident", [False, True])
def test_runs_are_as_large_whatever_size_was_set_since(device, resident: bool) -> None:
    x = np.random.default_rng(0).random((50_000, 64), np.float32)
    sampler = npdata.BlockBatchSampler(len(x), 4, shuffle=False)
    loader = Loader(NumpyDataset(x), sampler=sampler, device=device, resident=resident)
    for size, run in ((4, 1024), (2000, 1), (4, 1024)):
        sampler.batch_size = size
        batches = list(loader)
        assert torch.equal(torch.cat(batches).cpu(), torch.from_numpy(x))
        assert loader.describe().run == run
        assert max(each.untyped_storage().nbytes() for each in batches) <= RUN_BYTES


def test_page_locked_batches_in_memory(ds: NumpyDataset, arrays) -> None:
    for image, label in Loader(ds, BATCH, num_threads=2, pin_memory=True, shuffle="block"):
        assert image.is_pinned()
        assert_rows(image, label, arrays)
    for image, _ in Loader(ds, BATCH, num_threads=2, pin_memory=False, shuffle="block"):
        assert not image.is_pinned()


def test_transformed_samples_and_masks_arrive(arrays, device) -> None:
    ds = NumpyDataset(*arrays, transform=lambda sample: (sample[0] + 1, sample[1]))
    sampler = npdata.BlockBatchSampler(ds, 300, uneven="mask", rank=0, world_size=3)
    for (image, label), mask in Loader(ds, sampler=sampler, num_threads=2, device=device):
        assert mask.device.type == device.type
        assert (image.cpu().numpy() == arrays[0][label.cpu().numpy()] + 1).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_to_device_with_a_data_loader(ds: NumpyDataset, arrays, device, workers: int) -> None:
    loader = DataLoader(
        ds, BATCH, collate_fn=npdata.collate, num_workers=workers, pin_memory=workers > 0
    )
    moved = npdata.to_device(loader, device)
    assert len(moved) == len(loader)
    count = 0
    for image, label in moved:
        busy(device)
        assert_rows(image, label, arrays)
        count += 1
    assert count == len(loader)


def test_a_device_number_that_is_not_there(ds: NumpyDataset, device) -> None:
    with pytest.raises(DeviceError, match="numbered from 0"):
        Loader(ds, BATCH, device=f"{device.type}:{torch.accelerator.device_count()}")


@pytest.mark.parametrize("resident", [True, "auto"])
@pytest.mark.parametrize("options", [{}, {"indices": np.arange(5, 9000, 3)}, {"uneven": "mask"}])
def test_resident_rows_are_those_of_the_file(tmp_path, arrays, device, resident, options) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", data=arrays[0], chunks=(256, WIDTH), compression=1)
        file.create_dataset("big", data=arrays[1].astype(">u8"))
    ds = NumpyDataset(f"{tmp_path}/d.h5::x", f"{tmp_path}/d.h5::big")
    ours = Loader(ds, BATCH, shuffle=True, device=device, resident=resident, **options)
    other = Loader(ds, BATCH, shuffle=True, **options)
    for _ in range(2):
        for batch, expected in zip(ours, other, strict=True):
            there = busy(device)
            (x, y), *mask = batch if "uneven" in options else (batch,)
            (a, b), *marks = expected if "uneven" in options else (expected,)
            assert x.device.type == y.device.type == device.type
            assert torch.equal(x.cpu(), a)
            assert torch.equal(y.cpu(), b)
            assert all(torch.equal(m.cpu(), n) for m, n in zip(mask, marks, strict=True))
            del there
    assert f"held on {device.type}" in str(ours.describe())


def test_resident_rows_fit_or_the_error_has_the_figures(device) -> None:
    rows = np.broadcast_to(np.zeros(1 << 20, np.float32), (1 << 24, 1 << 20))
    with pytest.raises(MemoryError, match=f"needs {1 << 46} bytes on {device.type}"):
        next(iter(Loader(NumpyDataset(rows), 2, device=device, resident=True)))
    batch = next(iter(Loader(NumpyDataset(rows), 2, device=device, resident="auto")))
    assert batch.device.type == device.type


@pytest.mark.parametrize("edge", ["drop", "repeat", "zero"])
def test_resident_windows_are_those_of_the_rows(ds, device, edge) -> None:
    windows = ds.windows({0: (-2, 0, 1)}, borders=[1000, 1003], edge=edge, mask=edge != "drop")
    ours = Loader(windows, BATCH, shuffle=True, device=device, resident=True)
    for batch, expected in zip(ours, Loader(windows, BATCH, shuffle=True), strict=True):
        assert all(torch.equal(a.cpu(), b) for a, b in zip(batch, expected, strict=True))


@pytest.mark.parametrize("resident", [True, False])
def test_normalize_runs_there(ds, device, resident) -> None:
    function = npdata.normalize(ds.statistics(), [0])
    normal = NumpyDataset(ds.fields[0].source, ds.fields[1].source, batch_transform=function)
    ours = Loader(normal, BATCH, shuffle=True, device=device, resident=resident)
    for (x, y), (a, b) in zip(ours, Loader(normal, BATCH, shuffle=True), strict=True):
        assert x.device.type == device.type
        torch.testing.assert_close(x.cpu(), a, rtol=1e-6, atol=1e-6)
        assert torch.equal(y.cpu(), b)
