"""Batches by size: as many samples as fit into a number of rows, under the sampler's contract."""

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Subset

import npdata
from npdata import BlockBatchSampler, NumpyDataset
from npdata.errors import SamplerError, StateError
from npdata.sampling.order.by_size import batches_of

lengths = st.lists(st.integers(0, 30), min_size=1, max_size=200)


def ragged(sizes: Any, **options: Any) -> NumpyDataset:
    """Samples whose values tell their number, and that number."""
    sizes = np.asarray(sizes, np.int64)
    values = np.repeat(np.arange(len(sizes)), sizes)
    spans = npdata.ragged(values, lengths=sizes)
    return NumpyDataset(spans=spans, number=np.arange(len(sizes)), **options)


def rows_of(batch: Any, sizes: np.ndarray, padded: bool) -> int:
    held = np.maximum(1, sizes[np.asarray(batch)])
    return int(held.max() * len(held) if padded else held.sum())


@given(lengths, st.integers(30, 90), st.booleans(), st.sampled_from(["block", "full", False]))
def test_every_sample_comes_once_in_batches_that_fit(
    sizes: list[int], most: int, padded: bool, shuffle: Any
) -> None:
    ds = ragged(sizes)
    sampler = BlockBatchSampler(ds, max_rows=most, padded=padded, shuffle=shuffle, seed=3)
    for _ in range(2):
        expected = len(sampler)
        batches = list(sampler)
        assert len(batches) == expected
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(sizes)))
        assert all(rows_of(b, np.array(sizes), padded) <= most for b in batches)
    if shuffle is False:
        assert np.concatenate(batches).tolist() == list(range(len(sizes)))


@given(lengths, st.data(), st.sampled_from(["block", "full", False]))
def test_a_subset_comes_in_batches_that_fit(sizes: list[int], data: Any, shuffle: Any) -> None:
    places = st.lists(st.integers(-len(sizes), len(sizes) - 1), max_size=60)
    inner, outer = data.draw(places), slice(None, None, data.draw(st.sampled_from([1, 2, -1])))
    subset = Subset(Subset(ragged(sizes), inner), range(len(inner))[outer])
    chosen = (np.arange(len(sizes))[inner] if inner else np.zeros(0, np.int64))[outer]
    sampler = BlockBatchSampler(subset, max_rows=40, shuffle=shuffle)
    batches = list(sampler)
    assert sorted(np.concatenate([[], *batches]).tolist()) == list(range(len(chosen)))
    assert all(rows_of(batch, np.array(sizes)[chosen], True) <= 40 for batch in batches)
    sampler.set_epoch(0)
    loaded = npdata.Loader(subset, sampler=sampler, num_threads=0)
    for batch, rows in zip(loaded, batches, strict=True):
        assert batch["number"].tolist() == chosen[rows].tolist()
        assert batch["spans"].lengths.tolist() == np.array(sizes)[chosen[rows]].tolist()


@given(lengths, st.integers(30, 90), st.booleans())
@example([1] * 90, 40, False)
def test_batches_are_as_full_as_can_be(sizes: list[int], most: int, padded: bool) -> None:
    held = np.maximum(1, np.array(sizes))
    batches = batches_of(np.arange(len(held)), held, most, padded)
    assert np.concatenate(batches).tolist() == list(range(len(held)))
    for batch, after in itertools.pairwise(batches):
        more = np.append(batch, after[0])
        assert rows_of(batch, held, padded) <= most < rows_of(more, held, padded)


def test_similar_lengths_come_together() -> None:
    sizes = np.random.default_rng(0).integers(1, 100, 20_000)
    ds = ragged(sizes)
    held = padding = 0
    for batch in BlockBatchSampler(ds, max_rows=2048, shuffle="full"):
        held += int(sizes[batch].sum())
        padding += rows_of(batch, sizes, True) - int(sizes[batch].sum())
    assert padding < 0.05 * held


def test_epochs_differ_and_come_again() -> None:
    ds = ragged(np.random.default_rng(0).integers(1, 20, 300))
    made = [list(BlockBatchSampler(ds, max_rows=64, seed=seed)) for seed in (0, 0, 1)]
    assert [b.tolist() for b in made[0]] == [b.tolist() for b in made[1]]
    assert [b.tolist() for b in made[0]] != [b.tolist() for b in made[2]]
    sampler = BlockBatchSampler(ds, max_rows=64, seed=0)
    first, second = list(sampler), list(sampler)
    assert [b.tolist() for b in first] != [b.tolist() for b in second]
    sampler.set_epoch(1)
    assert [b.tolist() for b in sampler] == [b.tolist() for b in second]


@given(
    lengths,
    st.integers(1, 4),
    st.sampled_from(["pad", "mask", "ragged", "drop"]),
)
def test_ranks_share_the_batches(sizes: list[int], world: int, uneven: Any) -> None:
    ds = ragged(sizes)
    options: Any = {"max_rows": 40, "seed": 5}
    whole = [batch.tolist() for batch in BlockBatchSampler(ds, **options, rank=0, world_size=1)]
    samplers = [
        BlockBatchSampler(ds, **options, rank=rank, world_size=world, uneven=uneven)
        for rank in range(world)
    ]
    given_out = [list(sampler) for sampler in samplers]
    assert [len(batches) for batches in given_out] == [len(sampler) for sampler in samplers]
    turns = len(whole) // world if uneven == "drop" else -(-len(whole) // world)
    for rank, batches in enumerate(given_out):
        own = whole[rank::world][:turns]
        assert [np.asarray(batch).tolist() for batch in batches[: len(own)]] == own
        if uneven in ("pad", "mask"):
            assert len(batches) == turns
        else:
            assert len(batches) == len(own)
        for batch in batches[len(own) :]:
            assert uneven == "pad" or not batch.mask.any()


@pytest.mark.parametrize(
    ("uneven", "last"), [("drop", []), ("ragged", []), ("pad", [[0, 1]]), ("mask", [[4]])]
)
def test_a_rank_without_a_batch_in_the_last_turn_has_what_uneven_says(
    uneven: Any, last: list[list[int]]
) -> None:
    sampler = BlockBatchSampler(
        ragged([3] * 5), max_rows=6, shuffle=False, rank=1, world_size=2, uneven=uneven
    )
    batches = list(sampler)
    assert [np.asarray(batch).tolist() for batch in batches] == [[2, 3], *last]
    if uneven == "mask":
        assert [batch.mask.tolist() for batch in batches] == [[True, True], [False]]


@pytest.mark.parametrize(
    ("uneven", "last"), [("drop", [[], [], []]), ("pad", [[6, 7], [0, 1], [2, 3]])]
)
def test_the_last_turn_is_dropped_on_all_ranks_or_filled_up_by_the_first_batches(
    uneven: Any, last: list[list[int]]
) -> None:
    for rank in range(3):
        sampler = BlockBatchSampler(
            ragged([3] * 8), max_rows=6, shuffle=False, rank=rank, world_size=3, uneven=uneven
        )
        own = [[2 * rank, 2 * rank + 1], last[rank]]
        assert [batch.tolist() for batch in sampler] == [batch for batch in own if batch]


def test_of_fewer_batches_than_ranks_each_rank_has_one() -> None:
    for rank in range(4):
        sampler = BlockBatchSampler(
            ragged([3] * 2), max_rows=6, shuffle=False, rank=rank, world_size=4
        )
        assert [batch.tolist() for batch in sampler] == [[0, 1]]


@given(lengths, st.integers(1, 3), st.integers(1, 3), st.integers(0, 30))
@example([9] * 300, 1, 2, 90)
def test_a_state_goes_on_with_any_number_of_ranks(
    sizes: list[int], before: int, after: int, steps: int
) -> None:
    ds = ragged(sizes)
    options: Any = {"max_rows": 35, "seed": 2, "uneven": "ragged"}
    whole = [batch.tolist() for batch in BlockBatchSampler(ds, **options)]
    steps = min(steps, len(whole) // before)
    first = BlockBatchSampler(ds, **options, rank=0, world_size=before)
    batches = iter(first)
    for _ in range(steps):
        next(batches)
    state = pickle.loads(pickle.dumps(first.state_dict(consumed=steps)))
    left = []
    for rank in range(after):
        again = BlockBatchSampler(ds, **options, rank=rank, world_size=after)
        again.load_state_dict(state)
        left += [batch.tolist() for batch in again]
    done = steps * before
    if done < len(whole):
        assert sorted(left) == sorted(whole[done:])
    else:
        assert state["epoch"] == 1


def test_the_batches_change_only_with_the_version_of_the_order() -> None:
    """Saved positions depend on them."""
    sizes = np.arange(2000) % 9
    batches = list(BlockBatchSampler(ragged(sizes), max_rows=20, seed=0, shuffle="full"))
    assert len(batches) == 485
    assert [batch.tolist() for batch in batches[:3]] == [[1970, 800], [115, 295], [79, 1826]]
    assert [batch.tolist() for batch in batches[-2:]] == [[1141, 1924], [527, 1590, 1059]]


def test_a_loader_goes_on_where_it_was() -> None:
    ds = ragged(np.random.default_rng(0).integers(0, 20, 200))

    def loader() -> npdata.Loader:
        return npdata.Loader(ds, sampler=BlockBatchSampler(ds, max_rows=50, seed=1), num_threads=2)

    whole = [batch["number"].tolist() for batch in loader()]
    first = loader()
    batches = iter(first)
    for _ in range(7):
        batch = next(batches)
        assert batch["spans"].values.numel() <= 50
    again = loader()
    again.load_state_dict(first.state_dict())
    assert len(again) == len(whole) - 7
    assert [batch["number"].tolist() for batch in again] == whole[7:]


def test_after_what_was_left_of_an_epoch_the_next_has_its_own_length() -> None:
    sampler = BlockBatchSampler(ragged([3] * 8), max_rows=6)
    sampler.load_state_dict(sampler.state_dict() | {"position": 6})
    assert (len(list(sampler)), len(sampler)) == (1, 4)


def test_a_data_loader_takes_the_batches() -> None:
    ds = ragged(np.random.default_rng(0).integers(0, 20, 100))
    sampler = BlockBatchSampler(ds, max_rows=50)
    loader = DataLoader(ds, batch_sampler=sampler, collate_fn=npdata.collate, num_workers=2)
    seen = torch.cat([batch["number"] for batch in loader])
    assert sorted(seen.tolist()) == list(range(100))


def test_subsets_and_random_transforms_keep_their_meaning() -> None:
    sizes = np.random.default_rng(0).integers(0, 20, 100)

    def noisy(sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return sample | {"noise": rng.random()}

    ds = ragged(sizes, transform=noisy)
    chosen = np.arange(10, 60)
    noise = []
    for world in (1, 2):
        found: dict[int, float] = {}
        for rank in range(world):
            sampler = BlockBatchSampler(
                ds, max_rows=50, indices=chosen, rank=rank, world_size=world, uneven="ragged"
            )
            for batch in npdata.Loader(ds, sampler=sampler):
                found |= dict(zip(batch["number"].tolist(), batch["noise"].tolist(), strict=True))
        assert sorted(found) == chosen.tolist()
        noise.append(found)
    assert noise[0] == noise[1]
    assert len(set(noise[0].values())) == 50


def test_what_cannot_be_is_named() -> None:
    ds = ragged([3, 9, 1])
    for arguments, message in (
        ({}, "give batch_size or max_rows: one is needed"),
        ({"batch_size": 2, "max_rows": 9}, "give batch_size or max_rows: not both"),
        ({"max_rows": 0}, "max_rows=0: expected a whole number of at least 1"),
        ({"max_rows": 9.5}, "max_rows=9.5: expected a whole number"),
        ({"max_rows": 8}, "sample 1 has 9 rows, more than max_rows=8: give at least 9"),
        ({"max_rows": 9, "lanes": 2}, "lanes=2 with max_rows"),
    ):
        with pytest.raises(SamplerError, match=message):
            BlockBatchSampler(ds, **arguments)
    assert len(list(BlockBatchSampler(ds, max_rows=8, indices=[0, 2]))) == 1
    assert list(BlockBatchSampler(ds, max_rows=8, indices=[])) == []
    assert list(BlockBatchSampler(ragged([]), max_rows=8)) == []
    with pytest.raises(SamplerError, match="sample 3 has 9 rows"):
        BlockBatchSampler(ragged([8, 9, 1, 9]), max_rows=8, indices=[0, 3])
    with pytest.raises(SamplerError, match="has no lengths"):
        BlockBatchSampler(10, max_rows=8)
    with pytest.raises(SamplerError, match="has no lengths"):
        BlockBatchSampler(NumpyDataset(np.arange(3)), max_rows=8)
    with pytest.raises(SamplerError, match="max_rows=8 of Subset, which has no lengths"):
        BlockBatchSampler(Subset(ragged([3, 1]), [2]), max_rows=8)  # which reading refuses
    with pytest.raises(SamplerError, match="sample 1 has 9 rows, more than max_rows=8"):
        BlockBatchSampler(Subset(ragged([9, 1, 9, 2]), [1, 2]), max_rows=8)
    state = BlockBatchSampler(ds, max_rows=9).state_dict()
    for other in (
        BlockBatchSampler(ds, max_rows=10),
        BlockBatchSampler(ds, max_rows=9, padded=False),
        BlockBatchSampler(ragged([3, 8, 2]), max_rows=9),
        BlockBatchSampler(ds, 2),
    ):
        with pytest.raises(StateError):
            other.load_state_dict(state)
    sampler = BlockBatchSampler(ragged([3] * 9), max_rows=9)
    with pytest.raises(StateError, match="position=1 is inside a batch"):
        sampler.load_state_dict(sampler.state_dict() | {"position": 1})
    drawn = BlockBatchSampler(ragged([3] * 9), max_rows=9, weights=np.ones(9))
    with pytest.raises(StateError, match="position=10 is inside a batch"):
        drawn.load_state_dict(drawn.state_dict() | {"position": 10})
