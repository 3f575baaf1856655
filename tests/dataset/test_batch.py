"""A `Batch` is a list of samples for whoever looks, and stacked fields for `collate`."""

import copy
import operator
import os
import pickle

import numpy as np
import pytest
import torch
from processes import HANG, raises_in_a_worker
from torch.utils._pytree import tree_map
from torch.utils.data import ConcatDataset, DataLoader, StackDataset, Subset, default_collate
from torch.utils.data._utils.pin_memory import pin_memory

import npdata
from npdata import Batch, NumpyDataset, collate
from npdata.dataset.nested import map_tensors
from npdata.dataset.workers.sent_tensors import ready_to_send
from npdata.sampling.row_numbers import MaskedRows

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.arange(4)
ROWS = [2, 0, 2]


def batch(*, bare: bool = False) -> Batch:
    ds = NumpyDataset(X) if bare else NumpyDataset(X, Y)
    return ds.__getitems__(ROWS)


def test_its_length_needs_no_samples() -> None:
    made = batch()
    assert len(made) == 3
    assert made
    assert made.stacked is not None


@pytest.mark.parametrize("bare", [True, False])
def test_every_way_to_look_gives_the_samples(bare: bool) -> None:
    looks = {
        "list": list,
        "tuple": tuple,
        "loop": lambda b: [sample for sample in b],  # noqa: C416
        "unpacked": lambda b: [*b],
        "index": lambda b: [b[0], b[1], b[-1]],
        "slice": lambda b: b[:],
        "copy": lambda b: b.copy(),
        "shallow copy": lambda b: list(copy.copy(b)),
        "added": lambda b: operator.iadd([], b),
        "reversed": lambda b: list(reversed(b))[::-1],
        "popped": lambda b: [b.pop(0), b.pop(0), b.pop(0)],
        "extended": lambda b: (b.extend([1]), b[:-1])[1],
        "zipped": lambda b: [sample for sample, _ in zip(b, range(3), strict=True)],
        "plus": lambda b: b.__add__([]),
    }
    for name, look in looks.items():
        samples = look(batch(bare=bare))
        assert len(samples) == 3, name
        for sample, row in zip(samples, ROWS, strict=True):
            assert torch.equal(sample if bare else sample[0], torch.from_numpy(X[row])), name


def test_it_is_a_list() -> None:
    assert isinstance(batch(), list)


@pytest.mark.parametrize(
    "stack",
    [torch.stack, torch.vstack, lambda b: torch.stack(tensors=b), lambda b: torch.stack(b, 0)],
)
def test_torch_stacks_it_though_nobody_looked(stack: object) -> None:
    assert torch.equal(stack(batch(bare=True)), torch.from_numpy(X[ROWS]))


def test_default_collate_gives_the_same_as_collate() -> None:
    for bare in (True, False):
        ours, theirs = collate(batch(bare=bare)), default_collate(batch(bare=bare))
        assert type(ours) is type(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b)


def test_a_batch_that_was_changed_is_collated_as_it_is_now() -> None:
    changed = batch(bare=True)
    changed.append(torch.full((3,), 9.0))
    assert collate(changed)[-1].tolist() == [9, 9, 9]
    assert len(collate(changed)) == 4
    samples = NumpyDataset(x=X).__getitems__(ROWS)
    for sample in samples:
        sample["x"] = sample["x"] * 2
    assert torch.equal(collate(samples)["x"], torch.from_numpy(X[ROWS] * 2))


def test_an_empty_batch_has_stacked_fields_without_rows() -> None:
    assert collate(NumpyDataset(X).__getitems__([])).shape == (0, 3)
    assert list(NumpyDataset(X).__getitems__([])) == []


@pytest.mark.parametrize("looked", [True, False])
def test_it_can_be_sent_to_another_process(looked: bool) -> None:
    sent = batch()
    if looked:
        sent[0]
    got = pickle.loads(pickle.dumps(sent))
    assert [int(label) for _, label in got] == ROWS


def test_pinning_without_an_accelerator_is_torchs_own_answer() -> None:
    if torch.accelerator.is_available():
        assert batch().pin_memory().stacked[0].is_pinned()
        return
    assert not npdata.dataset.batch_memory.pins_memory()
    with pytest.raises(RuntimeError):
        pin_memory(batch())


class Own(dict):
    """A dict that fills itself, as outputs of models do."""

    def update(self, *_: object) -> None:
        raise TypeError("it is filled where it is made")


def test_containers_of_the_user_travel_as_they_are() -> None:
    given = Own(a=torch.zeros(2))
    assert ready_to_send(given) is given
    moved = map_tensors(torch.exp, given)
    assert (type(moved), moved["a"].tolist(), given["a"].tolist()) == (Own, [1, 1], [0, 0])


def test_inlined_small_tensors_arrive_as_plain_containers_of_equal_tensors() -> None:
    tensors = [
        torch.arange(3),
        torch.zeros(0, 3),
        torch.tensor(2.5),
        torch.ones(2, 2, dtype=torch.bfloat16),
        torch.tensor([True, False]),
        torch.arange(6).reshape(2, 3).T,
        torch.zeros(1 << 16),
    ]
    got = pickle.loads(pickle.dumps(ready_to_send(list(tensors))))
    assert type(got) is list
    for sent, arrived in zip(tensors, got, strict=True):
        assert arrived.dtype == sent.dtype
        assert torch.equal(arrived, sent)
    named = pickle.loads(pickle.dumps(ready_to_send({"a": tensors[0], "b": "text"})))
    assert type(named) is dict
    assert torch.equal(named["a"], tensors[0])
    assert named["b"] == "text"


class TestMask:
    """Samples cannot tell what is padding, so a batch with a mask gives none."""

    def masked(self, **options: object) -> Batch:
        rows = MaskedRows(rows=np.array(ROWS), filler=1)
        return NumpyDataset(X, **options).__getitems__(rows)

    @pytest.mark.parametrize("look", [default_collate, list, torch.stack, lambda b: b[0]])
    def test_to_make_its_samples_is_an_error_that_says_what_to_do(self, look: object) -> None:
        with pytest.raises(ValueError, match=r"use collate_fn=npdata\.collate") as caught:
            look(self.masked())
        assert isinstance(caught.value, npdata.errors.MaskLostError)

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_a_loader_without_our_collate_raises(self, num_workers: int) -> None:
        ds = NumpyDataset(X)
        sampler = npdata.BlockBatchSampler(ds, 2, uneven="mask")
        with raises_in_a_worker(ValueError, match="with a mask"):
            next(iter(DataLoader(ds, batch_sampler=sampler, num_workers=num_workers)))

    @pytest.mark.parametrize("transform", [None, lambda row, rng: row])
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda ds: Subset(ds, range(3)),
            lambda ds: Subset(Subset(ds, range(3)), range(3)),
            lambda ds: ConcatDataset([ds]),
            lambda ds: StackDataset(ds),
        ],
    )
    def test_a_wrapper_of_torch_would_lose_it_in_a_data_loader(
        self, wrap: object, transform: object
    ) -> None:
        ds = NumpyDataset(X[:3], transform=transform)
        sampler = npdata.BlockBatchSampler(ds, 2, uneven="mask", rank=1, world_size=2)
        with pytest.raises(npdata.errors.MaskLostError, match=r"npdata\.Loader"):
            list(DataLoader(wrap(ds), batch_sampler=sampler, collate_fn=collate))
        sampler.set_epoch(0)
        for batch in sampler:
            assert len(list(batch)) == 2

    def test_pickling_keeps_it(self) -> None:
        got = pickle.loads(pickle.dumps(self.masked()))
        assert got.mask.tolist() == [True, True, False]
        assert torch.equal(got.stacked, torch.from_numpy(X[ROWS]))

    def test_our_collate_transforms_the_samples_and_keeps_it(self) -> None:
        rows, mask = collate(self.masked(transform=lambda sample: sample + 1))
        assert torch.equal(rows, torch.from_numpy(X[ROWS] + 1))
        assert mask.tolist() == [True, True, False]

    def test_it_can_be_printed(self) -> None:
        assert repr(self.masked()) == "<Batch of 3 rows with a mask>"


class TestUnequalSamples:
    def test_the_sample_the_field_and_both_shapes_are_named(self) -> None:
        samples = [{"x": torch.zeros(3)}, {"x": torch.zeros(3)}, {"x": torch.zeros(2)}]
        with pytest.raises(
            ValueError, match=r"sample 2 .* field \['x'\] has shape \(2,\) and there \(3,\)"
        ):
            collate(samples)

    def test_after_a_transform_too(self) -> None:
        ds = NumpyDataset(X, Y, transform=lambda sample: (sample[0][: int(sample[1])], sample[1]))
        named = r"sample 1 \(row 1\) .* sample 0 \(row 2\): field \[0\] has shape \(1,\)"
        with pytest.raises(RuntimeError, match=named):
            collate(ds.__getitems__([2, 1]))

    def test_samples_that_were_taken_out_leave_no_row_to_name(self) -> None:
        batch = NumpyDataset(X, Y, transform=lambda s: s[0][: int(s[1])]).__getitems__([2, 3, 1])
        del batch[0]
        with pytest.raises(RuntimeError, match=r"sample 1 cannot be stacked with sample 0: "):
            collate(batch)

    def test_bare_tensors(self) -> None:
        with pytest.raises(ValueError, match=r"sample 1 .*it has shape \(2,\)"):
            collate([torch.zeros(3), torch.zeros(2)])

    def test_tuples_of_different_length(self) -> None:
        with pytest.raises(ValueError, match="sample 1 has fields"):
            collate([(torch.zeros(3),), (torch.zeros(3), torch.zeros(3))])

    def test_other_errors_are_torchs_own(self) -> None:
        with pytest.raises(TypeError, match="default_collate"):
            collate([object(), object()])


class TestAsAnOrdinaryList:
    def test_it_can_be_added_to_a_list_and_rebuilt_by_its_type(self) -> None:
        assert len([1, *batch()]) == len([1] + batch()) == 4  # noqa: RUF005
        assert len(sum([batch(), batch()], [])) == 6  # noqa: RUF017
        rebuilt = type(batch())(sample for sample in batch())
        assert [int(label) for _, label in rebuilt] == ROWS

    def test_a_transform_that_fails_leaves_no_half_made_batch(self) -> None:
        def fail(sample: object) -> object:
            raise ValueError("bad sample")

        ds = NumpyDataset(X, transform=fail)
        with pytest.raises(ValueError, match="bad sample"):
            ds.__getitems__([0, 1])

    def test_text_columns_of_tuples_are_what_torch_makes_of_them(self) -> None:
        ds = NumpyDataset(np.array(["a", "b"]), np.arange(2), dtype=(str, None))
        ours, theirs = collate(ds.__getitems__([1, 0])), default_collate([ds[1], ds[0]])
        assert ours[0] == theirs[0]
        assert type(ours[0]) is type(theirs[0])


class TestInAWorker:
    def loaded(self, ds: NumpyDataset, collate_fn: object) -> list:
        workers = {"num_workers": 1, "multiprocessing_context": "fork", "timeout": HANG}
        return list(DataLoader(ds, batch_size=4, collate_fn=collate_fn, **workers))

    def test_small_tensors_are_tensors_to_whoever_wraps_collate(self) -> None:
        def halved(samples: list) -> object:
            return tree_map(lambda tensor: tensor.half(), collate(samples))

        ((x, y),) = self.loaded(NumpyDataset(X, Y), halved)
        assert x.dtype == y.dtype == torch.float16
        assert type(x) is torch.Tensor

    @pytest.mark.filterwarnings("ignore:Sparse invariant checks")
    @pytest.mark.parametrize(
        "change",
        [
            torch.Tensor.to_sparse,
            lambda rows: (rows * 1j).conj(),
            lambda rows: (rows * 1j).conj().imag,
            torch.Tensor.t,
        ],
        ids=["sparse", "conjugate", "negative", "transposed"],
    )
    def test_any_tensor_of_a_batch_transform_arrives(self, change: object) -> None:
        (rows,) = self.loaded(NumpyDataset(X, batch_transform=change), collate)
        expected = change(torch.from_numpy(X))
        assert torch.equal(rows.to_dense(), expected.to_dense())

    def test_transforms_run_there_also_without_collate(self) -> None:
        ds = NumpyDataset(Y, transform=lambda _: os.getpid())
        ((*pids,),) = self.loaded(ds, lambda samples: samples)
        assert len(set(pids)) == 1
        assert pids[0] != os.getpid()


def test_keys_that_differ_between_samples_are_named() -> None:
    with pytest.raises(ValueError, match=r"sample 1 has fields \['y'\], sample 0 has \['x'\]; "):
        collate([{"x": torch.zeros(1)}, {"y": torch.zeros(1)}])


@pytest.mark.parametrize("mask", [Y > 2, list(Y > 2), torch.from_numpy(Y > 2)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_mask_is_no_list_of_row_numbers(mask: object, shuffle: bool) -> None:
    """A shuffled batch of all its bools would select other rows."""
    chosen = Subset(NumpyDataset(X, Y), mask)
    with pytest.raises(TypeError, match=r"takes np.flatnonzero\(mask\)"):
        next(iter(DataLoader(chosen, 4, shuffle=shuffle, collate_fn=collate)))
    with pytest.raises(TypeError, match="a batch of 4 bools"):
        next(iter(npdata.Loader(chosen, 4, shuffle=shuffle)))


def test_a_mask_that_a_sampler_gives_is_no_batch_of_row_numbers() -> None:
    masks = [np.arange(len(Y)) % 2 == 0]
    loaders = (
        DataLoader(NumpyDataset(X, Y), batch_sampler=masks, collate_fn=collate),
        npdata.Loader(NumpyDataset(X, Y), sampler=masks),
    )
    for loader in loaders:
        with pytest.raises(TypeError, match=f"a batch of {len(Y)} bools"):
            next(iter(loader))
