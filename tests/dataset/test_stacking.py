"""Samples are stacked as `default_collate` does it, many bytes of them in the memory of a batch."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from npdata import Loader, NumpyDataset, collate, normalize
from npdata.dataset.batch_memory import LARGE_BYTES, allocating_from

SIDE = 1 << 10
assert 2 * SIDE * SIDE * 4 > LARGE_BYTES
IMAGE = torch.arange(SIDE * SIDE, dtype=torch.float32).view(SIDE, SIDE)
CHANNELS_LAST = torch.ones(1, 4, 512, 512).to(memory_format=torch.channels_last)
Pair = namedtuple("Pair", ["x", "y"])


class Own(Tensor):
    """A tensor of the user."""


SAMPLES: dict[str, Callable[[], list[Any]]] = {
    "tensors": lambda: [IMAGE, IMAGE + 1],
    "arrays": lambda: [IMAGE.numpy(), IMAGE.numpy() + 1],
    "one that is turned": lambda: [IMAGE, IMAGE.T],
    "all turned": lambda: [IMAGE.T, IMAGE.T],
    "channels last": lambda: [CHANNELS_LAST, CHANNELS_LAST],
    "two dtypes": lambda: [IMAGE, IMAGE.double()],
    "bfloat16": lambda: [IMAGE.bfloat16()] * 3,
    "complex": lambda: [IMAGE.to(torch.complex64)] * 2,
    "conjugates": lambda: [IMAGE.to(torch.complex64).conj()] * 2,
    "dicts of tuples": lambda: [{"a": (IMAGE, 1), "b": "text"}, {"a": (IMAGE + 1, 2), "b": "t"}],
    "named tuples": lambda: [Pair(IMAGE, 1), Pair(IMAGE + 1, 2)],
    "a subclass": lambda: [IMAGE.as_subclass(Own), IMAGE.as_subclass(Own)],
    "a parameter": lambda: [torch.nn.Parameter(IMAGE), torch.nn.Parameter(IMAGE)],
    "with a graph": lambda: [IMAGE.clone().requires_grad_() * 2, IMAGE],
    "expanded": lambda: [torch.ones(1).expand(SIDE, SIDE)] * 2,
    "small": lambda: [torch.ones(2), torch.zeros(2)],
    "numbers": lambda: [torch.tensor(1.5), torch.tensor(2.5)],
}


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


@pytest.mark.parametrize("kind", SAMPLES)
def test_it_is_what_torch_makes_of_the_samples(kind: str) -> None:
    samples = SAMPLES[kind]()
    ours, theirs = collate(samples), default_collate(samples)
    assert type(ours) is type(theirs)
    for got, expected in zip(leaves(ours), leaves(theirs), strict=True):
        assert type(got) is type(expected)
        if not isinstance(got, Tensor):
            assert got == expected
            continue
        about = (got.dtype, got.shape, got.stride(), got.requires_grad, got.is_conj())
        assert about == (
            expected.dtype,
            expected.shape,
            expected.stride(),
            expected.requires_grad,
            expected.is_conj(),
        )
        assert torch.equal(got, expected)


def test_a_way_to_stack_that_torch_was_taught_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(samples: list[Tensor], *, collate_fn_map: object = None) -> Tensor:
        return 2 * torch.stack(samples)

    monkeypatch.setitem(default_collate_fn_map, Tensor, twice)
    assert torch.equal(collate([IMAGE, IMAGE])[1], 2 * IMAGE)


def plus(sample: Any) -> Any:
    return sample + 1


class Memory:
    """Gives memory for batches, and knows which."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def __call__(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        made = torch.empty(shape, dtype=dtype)
        self.given.append(made.data_ptr())
        return made


X = np.arange(4 * LARGE_BYTES // 4, dtype=np.float32).reshape(4, -1)


def test_samples_are_read_and_stacked_in_the_memory_of_a_batch() -> None:
    memory, ds = Memory(), NumpyDataset(X, transform=plus)
    batch = allocating_from(memory, lambda: collate(ds.__getitems__([1, 0])))
    assert torch.equal(batch, torch.from_numpy(X[[1, 0]] + 1))
    assert (len(memory.given), batch.data_ptr()) == (2, memory.given[1])


@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64", "complex64"])
def test_a_batch_is_normalized_in_such_memory(dtype: str) -> None:
    x = (X % 7).astype(dtype)
    statistics = NumpyDataset(x=x).statistics()
    memory, norm = Memory(), normalize(statistics, "x")
    batch = {"x": torch.from_numpy(x.copy())}
    scaled = allocating_from(memory, norm, batch)["x"]
    assert scaled.data_ptr() == memory.given[0]
    assert torch.equal(batch["x"], torch.from_numpy(x))
    mean, std = statistics["x"].mean, statistics["x"].std
    wide = x.astype(scaled.numpy().dtype)
    assert np.allclose(scaled.numpy(), (wide - mean) / std, rtol=1e-4, atol=1e-4)


def test_a_batch_with_a_graph_is_normalized_in_it() -> None:
    norm = normalize(NumpyDataset(x=X).statistics())
    value = torch.from_numpy(X.copy()).requires_grad_()
    norm({"x": value})["x"].sum().backward()
    assert value.grad is not None


def test_sparse_samples_raise_what_torch_says_of_them() -> None:
    with pytest.raises(RuntimeError, match="Batches of sparse tensors are not"):
        collate([torch.eye(3).to_sparse()] * 2)


class Graph:
    """What a transform may give, and no collate stacks."""

    def __init__(self, nodes: Tensor) -> None:
        self.nodes = nodes


def test_samples_of_other_kinds_stay_apart_as_the_error_says() -> None:
    dataset = NumpyDataset(np.arange(4), transform=Graph)
    for read in (Loader(dataset, 2), DataLoader(dataset, 2, collate_fn=collate)):
        with pytest.raises(TypeError, match="Graph") as error:
            next(iter(read))
        assert "DataLoader(dataset, 64, collate_fn=list)" in error.value.__notes__[0]
    batches = list(DataLoader(dataset, 2, collate_fn=list))
    assert [[int(graph.nodes) for graph in batch] for batch in batches] == [[0, 1], [2, 3]]


def test_batches_of_stacked_samples_that_are_kept_stay_as_they_are() -> None:
    x = np.arange(60 * (1 << 18), dtype=np.float32).reshape(60, -1)
    kept = []
    for k, batch in enumerate(Loader(NumpyDataset(x, transform=plus), 2)):
        assert (batch.numpy() == x[2 * k : 2 * k + 2] + 1).all()
        if k % 10 == 0:
            kept.append((k, batch))
    for k, batch in kept:
        assert (batch.numpy() == x[2 * k : 2 * k + 2] + 1).all()


class Keeping:
    """A transform that keeps the samples that it got, as a cache does."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def __call__(self, sample: Any) -> Any:
        self.kept.append(sample)
        return sample + 1


def test_samples_that_a_transform_keeps_stay_as_they_are() -> None:
    x = np.arange(60 * (1 << 18), dtype=np.float32).reshape(60, -1)
    transform = Keeping()
    for _ in Loader(NumpyDataset(x, transform=transform), 2, num_threads=1):
        pass
    assert all((kept.numpy() == row).all() for kept, row in zip(transform.kept, x, strict=True))
