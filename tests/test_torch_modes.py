"""Modes of torch change nothing: npdata makes its tensors on the CPU by name, and any can train."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from kinds import KINDS, Data, dataset
from torch.utils.data import DataLoader

import npdata
from npdata import Loader, NumpyDataset

USES: dict[str, Callable[[Any], Any]] = {
    "sample": lambda ds: ds[3],
    "slice": lambda ds: ds[2:5],
    "rows": lambda ds: ds[[1, 2]],
    "empty": lambda ds: ds[[]],
    "collate": lambda ds: npdata.collate(ds.__getitems__([1, 2])),
    "loader": lambda ds: next(iter(Loader(ds, 4, num_threads=0))),
    "loader with threads": lambda ds: next(iter(Loader(ds, 4, num_threads=2))),
    "cast": lambda ds: next(iter(Loader(ds, 4, num_threads=0, dtype=torch.float64))),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source(kind: str, use: str, data: Data) -> None:
    with torch.device("meta"):
        found = USES[use](dataset(kind, data))
    assert torch.equal(found, USES[use](dataset(kind, data)))


def test_rows_read_in_inference_mode_first_train_afterwards() -> None:
    """As in a validation before the first epoch: a tensor made there cannot be written to later."""
    ds = NumpyDataset(np.arange(96_000.0), dtype=torch.float32).windows(32)
    weight = torch.ones((), requires_grad=True)

    def validate_and_train() -> list[Any]:
        with torch.inference_mode():
            batches = [next(iter(Loader(ds, 3000, num_threads=0)))]
        batches.append(next(iter(Loader(ds, 3000, num_threads=0))))
        batches[1].mul_(1).mul(weight).sum().backward()
        return batches

    with ThreadPoolExecutor(1) as fresh:  # memory that is used again belongs to a thread
        first, second = fresh.submit(validate_and_train).result()
    assert torch.equal(first, second)


@pytest.mark.parametrize("use", USES)
def test_a_default_of_the_process(use: str, data: Data) -> None:
    expected = USES[use](NumpyDataset(data.x))
    torch.set_default_device("meta")
    try:
        found = USES[use](NumpyDataset(data.x))
    finally:
        torch.set_default_device(None)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"transform": torch.neg},
        {"transform": lambda row: row.numpy()},
        {"dtype": torch.uint16},
    ],
    ids=["stored", "transform", "transform to NumPy", "dtype without arithmetic"],
)
def test_sparse_rows(options: dict[str, Any], use: str) -> None:
    rows = npdata.csr(np.ones(5, "f4"), np.arange(5) % 3, range(6), (5, 3), layout="csr")
    expected = USES[use](NumpyDataset(rows, **options))
    with torch.device("meta"):
        found = USES[use](NumpyDataset(rows, **options))
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    assert found.layout == expected.layout
    assert found.device == expected.device
    if found.layout == torch.sparse_csr:
        found, expected = found.values(), expected.values()
    assert torch.equal(found, expected)


def test_sparse_rows_that_are_sent_to_a_device() -> None:
    rows = npdata.csr(np.ones(2), [0, 1], [0, 1, 2], (2, 3))
    for layout in ("dense", "csr"):
        with torch.device("meta"):
            (batch,) = Loader(NumpyDataset(rows, layout=layout), 2, device="cpu")
        assert batch.to_dense().tolist() == [[1, 0, 0], [0, 1, 0]]


def test_arrays_that_a_transform_gives_for_samples_of_different_lengths() -> None:
    spans = npdata.ragged(np.arange(5), lengths=[3, 2])
    with torch.device("meta"):
        batch = NumpyDataset(spans, transform=lambda sample: sample.numpy())[:]
    assert batch.values.tolist() == [[0, 1, 2], [3, 4, 0]]


def test_as_tensor_of_any_array() -> None:
    with torch.device("meta"):
        for array in (np.array(3.0), np.arange(3)[::-1], np.arange(3, dtype=">i4"), np.zeros(0)):
            assert npdata.as_tensor(array).tolist() == array.tolist()


def _meta_by_default(_: int) -> None:
    torch.set_default_device("meta")


@pytest.mark.parametrize("kind", ["hdf5, compressed", "npy"])
def test_in_a_worker_of_a_data_loader(kind: str, data: Data) -> None:
    """Where torch's own DataLoader works: it draws its seed on the default device."""
    ds = dataset(kind, data)
    options: dict[str, Any] = {"collate_fn": npdata.collate, "num_workers": 1}
    expected = list(DataLoader(ds, 4, **options))
    found = list(DataLoader(ds, 4, worker_init_fn=_meta_by_default, **options))
    torch.set_default_device("cpu")
    try:
        found += list(DataLoader(ds, 4, **options))
        workers = iter(DataLoader(ds, 4, **options))
        torch.set_default_device("meta")
        found += list(workers)
    finally:
        torch.set_default_device(None)
    assert len(found) == 3 * len(expected)
    assert all(map(torch.equal, found, 3 * expected))
