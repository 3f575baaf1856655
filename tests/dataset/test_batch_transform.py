"""A `batch_transform` is applied wherever rows leave the dataset, whoever takes the batch apart."""

import copy
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    StackDataset,
    Subset,
    default_collate,
)

import npdata
from npdata import Loader, MaskedRows, NumpyDataset, SeededRows
from npdata.dataset.stacking import stack_samples, take_apart
from npdata.errors import BatchTransformError, MaskLostError

ROWS = 20
X = np.arange(ROWS * 3, dtype=np.float32).reshape(ROWS, 3)
Y = np.arange(ROWS)
WANTED = -torch.from_numpy(X)


class Wrapper(Dataset):
    """What a user writes who looks at samples one by one."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        return self.inner[index]


class BatchedWrapper(Wrapper):
    def __getitems__(self, indices: list[int]) -> list[Any]:
        return list(self.inner.__getitems__(indices))


def second(ds: Any) -> Any:
    return ConcatDataset([ds, NumpyDataset(np.zeros((1, 3), np.float32))])


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda ds: ds,
    "Subset": lambda ds: Subset(ds, range(ROWS)),
    "Subset of a Subset": lambda ds: Subset(Subset(ds, range(ROWS)), range(ROWS)),
    "StackDataset": lambda ds: StackDataset(ds, NumpyDataset(Y)),
    "StackDataset of dicts": lambda ds: StackDataset(x=ds, y=NumpyDataset(Y)),
    "ConcatDataset": second,
    "a sum of different ones": lambda ds: ds + NumpyDataset(np.zeros((1, 3), np.float32)),
    "a sum of equal ones": lambda ds: Subset(ds + ds, range(ROWS)),
    "a wrapper": Wrapper,
    "a wrapper of batches": BatchedWrapper,
}


def rows_of(batch: Any) -> torch.Tensor:
    if isinstance(batch, dict):
        return batch["x"]
    return batch[0] if isinstance(batch, list | tuple) else batch


@pytest.mark.parametrize("collate_fn", [None, npdata.collate], ids=["default", "npdata"])
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_in_a_data_loader(wrap: str, num_workers: int, collate_fn: Any) -> None:
    ds = WRAPPERS[wrap](NumpyDataset(X, batch_transform=torch.neg))
    loader = DataLoader(ds, 4, num_workers=num_workers, collate_fn=collate_fn)
    assert torch.equal(torch.cat([rows_of(batch) for batch in loader])[:ROWS], WANTED)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("wrap", [name for name in WRAPPERS if "Concat" not in name][:5])
def test_in_a_loader(wrap: str, threads: int) -> None:
    ds = WRAPPERS[wrap](NumpyDataset(X, batch_transform=torch.neg))
    batches = list(Loader(ds, 4, num_threads=threads))
    assert torch.equal(torch.cat([rows_of(batch) for batch in batches]), WANTED)


def test_of_one_sample() -> None:
    ds = NumpyDataset(x=X, y=Y, batch_transform=lambda b: {**b, "x": -b["x"]})
    sample = ds[3]
    assert torch.equal(sample["x"], WANTED[3])
    assert sample["y"].item() == 3
    assert sample["x"].shape == (3,)


def test_of_the_samples_of_a_transform() -> None:
    """Samples are transformed, stacked, transformed as a batch, and taken apart."""
    seen = []

    def both(batch: list[torch.Tensor]) -> list[torch.Tensor]:
        seen.append([tuple(part.shape) for part in batch])
        return [batch[0] * 2, batch[1]]

    ds = NumpyDataset(X, Y, transform=lambda s: (s[0] + 1, s[1]), batch_transform=both)
    wanted = (torch.from_numpy(X) + 1) * 2
    assert torch.equal(ds[5][0], wanted[5])
    assert seen == [[(1, 3), (1,)]]
    xs, _ = next(iter(DataLoader(ds, 8)))
    assert torch.equal(xs, wanted[:8])
    assert seen[1:] == [[(8, 3), (8,)]]


def test_it_is_applied_once_however_often_one_looks() -> None:
    calls = []

    def counted(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        return -batch

    batch = NumpyDataset(X, batch_transform=counted).__getitems__([1, 2])
    assert torch.equal(batch[0], WANTED[1])
    assert torch.equal(batch[1], WANTED[2])
    assert torch.equal(npdata.collate(batch), WANTED[1:3])
    assert torch.equal(default_collate(batch), WANTED[1:3])
    assert calls == [2]


def test_a_copy_and_a_pickle_have_it_too() -> None:
    ds = NumpyDataset(X, batch_transform=torch.neg)
    for same in (copy.copy, lambda b: pickle.loads(pickle.dumps(b)), list, tuple):
        assert torch.equal(torch.stack(list(same(ds.__getitems__([4, 1])))), WANTED[[4, 1]])
    assert torch.equal(torch.stack(ds.__getitems__([4, 1])), WANTED[[4, 1]])


def test_a_batch_with_a_mask_has_it_in_another_process_too() -> None:
    ds = NumpyDataset(X, batch_transform=torch.neg)
    batch = ds.__getitems__(MaskedRows(rows=np.array([4, 1, 1]), filler=1))
    rows, mask = npdata.collate(pickle.loads(pickle.dumps(batch)))
    assert torch.equal(rows, WANTED[[4, 1, 1]])
    assert mask.tolist() == [True, True, False]
    with pytest.raises(MaskLostError):
        list(batch)


def test_a_random_one_draws_the_same_for_whoever_looks() -> None:
    def noisy(batch: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        return batch + float(rng.random())

    ds = NumpyDataset(X, batch_transform=noisy)
    rows = SeededRows(rows=np.array([3, 1]), seed=5, epoch=2, positions=np.array([8, 9]))
    taken = torch.stack(list(ds.__getitems__(rows)))
    assert torch.equal(taken, npdata.collate(ds.__getitems__(rows)))
    assert torch.equal(ds[3], ds[3])
    assert not torch.equal(ds[3] - ds[1], WANTED[3] - WANTED[1])


def test_an_empty_batch_has_no_samples() -> None:
    assert list(NumpyDataset(X, batch_transform=torch.neg).__getitems__([])) == []


@pytest.mark.parametrize(
    "change",
    [
        torch.Tensor.mean,
        lambda rows: rows[1:],
        lambda rows: {"x": rows, "loss": rows.sum()},
        lambda rows: [rows, rows.sum()],
        lambda rows: float(rows.sum()),
        lambda rows: "text",
        lambda rows: ["a"] * (len(rows) + 1),
    ],
    ids=["mean", "shorter", "dict", "list", "float", "text", "texts"],
)
@pytest.mark.parametrize("batch_size", [2, 4])
def test_a_result_without_samples_says_what_to_type(change: Any, batch_size: int) -> None:
    ds = NumpyDataset(X, batch_transform=change)
    with pytest.raises(BatchTransformError, match="use collate_fn=npdata"):
        next(iter(DataLoader(ds, batch_size)))
    with pytest.raises(ValueError, match="cannot be taken apart"):
        Subset(ds, range(batch_size)).__getitems__(list(range(batch_size)))[0]
    next(iter(DataLoader(ds, batch_size, collate_fn=npdata.collate)))
    next(iter(Loader(ds, batch_size)))


class Pair(NamedTuple):
    a: Any
    b: Any


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b,
        tuple,
        lambda b: {"x": b[0], "deep": {"y": b[1]}},
        lambda b: [b[0].numpy(), b[1].tolist() and b[1]],
        lambda b: Pair(b[0], [b[1], b[0]]),
        lambda b: {"x": b[0], "name": [str(n) for n in b[1].tolist()]},
        lambda b: [],
    ],
    ids=["list", "tuple", "dict", "arrays", "named", "texts", "nothing"],
)
def test_any_form_comes_through_torchs_collate(change: Any) -> None:
    """As if the stacked form had been collated by torch from samples."""
    ds = NumpyDataset(X, Y, batch_transform=change)
    whole = npdata.collate(ds.__getitems__(range(4)))
    samples = list(ds.__getitems__(range(4)))
    assert len(samples) == 4
    same(stack_samples(samples), whole)


@pytest.mark.parametrize("options", [{"padding": -1}, {"ragged": "jagged"}, {"ragged": "list"}])
@pytest.mark.parametrize("form", ["bare", "tuple", "dict"])
def test_samples_of_different_lengths_keep_their_form(options: dict, form: str) -> None:
    spans = npdata.ragged(np.arange(1, 8), lengths=[2, 3, 2])
    fields = {"bare": (spans,), "tuple": (spans, Y[:3]), "dict": ({"x": spans, "y": Y[:3]},)}
    ds = NumpyDataset(*fields[form], **options, batch_transform=lambda batch: batch)
    plain = NumpyDataset(*fields[form], **options)
    for rows in ([0, 1], [2, 0]):
        same(default_collate(ds.__getitems__(rows)), npdata.collate(plain.__getitems__(rows)))
        same([ds[row] for row in rows], [plain[row] for row in rows])


def test_samples_of_sparse_rows_are_dense_and_their_batch_is_sparse() -> None:
    cells = npdata.csr([5.0, 7.0], [2, 0], [0, 1, 2], (2, 3))
    ds = NumpyDataset(cells, layout="csr", batch_transform=lambda batch: batch)
    assert ds[1].tolist() == [7, 0, 0]
    batch = next(iter(DataLoader(ds, 2)))
    assert batch.layout == torch.sparse_csr
    assert batch.to_dense().tolist() == [[0, 0, 5], [7, 0, 0]]


def same(one: Any, other: Any) -> None:
    if isinstance(other, np.ndarray):
        other = torch.from_numpy(other)
    if getattr(other, "is_nested", False):
        assert one.is_nested
        one, other = one.unbind(), other.unbind()
    if isinstance(other, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(other, dict):
        assert list(one) == list(other)
        for name in other:
            same(one[name], other[name])
    elif isinstance(other, list | tuple):
        assert len(one) == len(other)
        for mine, its in zip(one, other, strict=True):
            same(mine, its)
    else:
        assert one == other


TREES = st.recursive(
    st.sampled_from(["tensor", "array", "texts"]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.text("ab.é", max_size=3), inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


def build(tree: Any, length: int) -> Any:
    if tree == "tensor":
        return torch.arange(length * 2).reshape(length, 2)
    if tree == "array":
        return np.arange(length, dtype=np.float32)
    if tree == "texts":
        return [f"t{n}" for n in range(length)]
    if isinstance(tree, dict):
        return {name: build(part, length) for name, part in tree.items()}
    return [build(part, length) for part in tree]


@given(tree=TREES, length=st.integers(1, 5))
def test_taking_apart_undoes_stacking(tree: Any, length: int) -> None:
    value = build(tree, length)
    samples = take_apart(value, length)
    assert len(samples) == length
    same(stack_samples(samples), value)
