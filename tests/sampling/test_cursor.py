"""The batches of a sampler that a trainer divides among processes, and the state that follows."""

from typing import Any

import numpy as np
import pytest

from npdata import BlockBatchSampler, NumpyDataset, ragged
from npdata.errors import SamplerError
from npdata.sampling.epochs import Run, Start
from npdata.sampling.order.ranks import Ranks
from npdata.sampling.who_asks import Asking


def in_order(n: Any, position: int = 0, **options: Any) -> BlockBatchSampler:
    sampler = BlockBatchSampler(n, 4, shuffle=False, **options)
    sampler.load_state_dict({**sampler.state_dict(), "position": position})
    return sampler


def given(sampler: BlockBatchSampler, **asking: Any) -> tuple[Run, list[Any]]:
    """The run that is asked for, for two processes, and its batches."""
    cursor = sampler.cursor
    run = cursor.next_run(Asking(processes=2, **asking))
    together = list(cursor.epochs.batches(run))
    assert all(together), "an iteration ends with the first that are none"
    return run, [batch for batches in together for batch in batches]


@pytest.mark.parametrize(
    ("options", "asking", "last", "remainder"),
    [
        ({}, {"even": True}, [[8, 9, 0, 1], [2, 3, 4, 5]], 2),
        ({}, {"even": True, "split": True}, [[8, 9, 0, 1]], 2),
        ({}, {"split": True}, [[8, 9]], 2),
        ({}, {"even": True, "dispatcher": object()}, [[8, 9]], 2),
        ({"drop_last": True}, {"even": True}, [], 0),
        ({"drop_last": True}, {"even": True, "split": True}, [], 0),
    ],
)
def test_divided_batches_are_lists_filled_up_where_all_processes_get_as_many(
    options: dict[str, Any], asking: dict[str, Any], last: list[list[int]], remainder: int
) -> None:
    run, batches = given(in_order(10, **options), **asking)
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], *last]
    assert all(type(batch) is list for batch in batches)
    assert run.remainder == remainder


def test_rows_that_divide_are_not_filled_up() -> None:
    _, batches = given(in_order(8), even=True)
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_what_is_filled_up_after_a_resume_is_what_an_undisturbed_epoch_has() -> None:
    _, batches = given(in_order(10, position=4), even=True)
    assert batches == [[4, 5, 6, 7], [8, 9, 0, 1]]


@pytest.mark.parametrize(
    ("split", "again"), [(True, [[0, 1, 2, 3]]), (False, [[0, 1, 2, 3], [4, 5, 6, 7]])]
)
def test_a_dispatcher_gets_the_first_step_again_which_counts_as_no_step(
    split: bool, again: list[list[int]]
) -> None:
    sampler = in_order(11, position=4)
    run, batches = given(sampler, split=split, dispatcher=object())
    assert batches == [*again, [4, 5, 6, 7], [8, 9, 10]]
    states = []
    for run.given in range(len(batches) + 1):
        run.ended = run.given == len(batches)
        state = sampler.cursor.state(run, None)
        states.append((state["epoch"], state["position"]))
    at_start = [(0, 4)] * (1 + len(again))
    assert states == [*at_start, (0, 8) if split else (1, 0), (1, 0)]


@pytest.mark.parametrize(
    ("uneven", "steps"), [("ragged", [0, 1, 1, 2, 2]), ("drop", [0, 0, 1, 1, 2])]
)
def test_a_step_is_begun_by_the_first_of_its_batches_unless_it_is_dropped(
    uneven: Any, steps: list[int]
) -> None:
    one, two = (
        Ranks(n=99, batch_size=4, rank=0, world_size=world, uneven=uneven, lanes=1)
        for world in (1, 2)
    )
    runs = [Run(start=Start(0, 0), ranks=one, counted=two, given=given) for given in range(5)]
    assert [run.steps for run in runs] == steps


def test_divided_batches_bring_what_random_numbers_are_made_of() -> None:
    ds = NumpyDataset(np.arange(6), transform=lambda row, rng: rng.integers(1 << 60))
    sampler = in_order(ds)
    _, batches = given(sampler)
    assert [type(batch) for batch in batches] == [list, list]
    alone = [ds.__getitems__(batch) for batch in BlockBatchSampler(ds, 4, shuffle=False)]
    assert [ds.__getitems__(batch) for batch in batches] == alone


def test_batches_that_are_divided_already_are_not_divided_again() -> None:
    with pytest.raises(SamplerError, match="rank= and world_size= divide the rows"):
        given(in_order(10, rank=0, world_size=2))


def test_all_samples_of_the_last_batch_by_size_count() -> None:
    ds = NumpyDataset(ragged(np.arange(7), lengths=[3, 3, 1]))
    run = BlockBatchSampler(ds, max_rows=6).cursor.next_run(Asking())
    assert run.remainder == 0
