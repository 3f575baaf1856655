"""How many threads, how far ahead and in which memory: decided from values alone."""

from math import inf
from typing import Any

import pytest
import torch

from npdata.arrays.cores import FEW_BYTES
from npdata.errors import LoaderError
from npdata.loading.schedule import SHORT_STEP, Data, Options, decide_schedule
from npdata.loading.turns import LEAST_TO_COMPARE, Alone


def decide(**options):
    machine = {"cores": 4, "pins": False, **options.pop("machine", {})}
    if machine.pop("to_device", False):
        options["device"] = torch.device("meta")
    known = {"batch_bytes": 1 << 20, "library": False, **options.pop("data", {})}
    return decide_schedule(Options(**options), Data(**known), **machine)


def test_threads() -> None:
    assert decide().threads == 3
    assert decide(machine={"cores": 1}).threads == 1
    assert "1 thread and" in str(decide(machine={"cores": 1}))
    assert decide(machine={"cores": 64}).threads == 8
    assert "4 cores, of which one is left to the loop" in str(decide())
    assert decide(data={"batch_bytes": 100, "gathers": True}).threads == 0
    assert decide(data={"batch_bytes": 100}).threads == 3  # functions may take long
    assert decide(data={"batch_bytes": None}).threads == 3
    assert decide(data={"library": True}).threads == 0
    assert decide(data={"library": True}, num_threads=3).threads == 3
    small = {"data": {"batch_bytes": 100, "gathers": True}, "machine": {"to_device": True}}
    assert decide(**small).threads == 2


def test_copies_get_two_threads_that_share_the_cores() -> None:
    copies = {"gathers": True, "copies": True, "batch_bytes": 1 << 20}
    many = {"cores": 16, "torch_threads": 16}
    schedule = decide(data=copies, machine=many)
    assert (schedule.threads, schedule.cores, schedule.helps) == (2, 7, False)
    in_turn = "the loop on all cores while batches are short, else 2 threads of 7 cores, 4 batches"
    assert str(schedule).startswith(in_turn)
    assert decide(data=copies, machine={"cores": 4, "torch_threads": 4}).cores == 2
    assert decide(data={**copies, "batch_bytes": None}, machine=many).cores == 7
    assert decide(data=copies, machine={"cores": 2, "torch_threads": 2}).threads == 1
    for data, machine in (
        (copies, {"cores": 2, "torch_threads": 2}),
        (copies, {"cores": 2, "torch_threads": 16}),
        (copies, {**many, "torch_threads": 1}),  # as torchrun sets it
        ({**copies, "copies": False}, many),
        ({**copies, "gathered_bytes": 1 << 10}, many),
    ):
        assert decide(data=data, machine=machine).cores == 1
    assert decide(data=copies, machine=many, num_threads=2).cores == 1


def test_many_cores_copy_for_the_loop_itself_until_batches_take_long() -> None:
    copies = {"gathers": True, "copies": True, "batch_bytes": 1 << 22}
    many = {"cores": 16, "torch_threads": 16}
    assert decide(data=copies, machine=many).alone == Alone(away=inf, job=1e-3 + (1 << 22) / 4e9)
    for to_a_device in ({"pins": True}, {"pins": True, "to_device": True}):
        machine = {**many, **to_a_device}
        assert decide(data=copies, machine=machine).alone.away == SHORT_STEP
        assert decide(data={**copies, "batch_bytes": 1 << 24}, machine=machine).alone is None
    large = decide(data={**copies, "batch_bytes": 1 << 24}, machine=many)
    assert large.alone is not None
    beside = decide(data={**copies, "batch_bytes": 1 << 24}, machine={**many, "pins": True})
    assert str(beside).startswith("2 threads of 7 cores, 4 batches ahead, pinned")
    assert decide(data=copies, machine=many, num_threads=2).alone is None
    assert decide(data={**copies, "copies": False}, machine=many).alone.compares


def test_the_loop_helps_where_it_waits_for_whole_batches() -> None:
    assert decide().helps
    assert "3 threads and the loop while it waits" in str(decide())
    assert not decide(num_threads=3).helps
    assert not decide(machine={"pins": True}).helps
    assert not decide(machine={"to_device": True}).helps


def test_time_shows_whether_the_loop_makes_batches_by_itself() -> None:
    compares = Alone(away=LEAST_TO_COMPARE, compares=True)
    gathers, large = {"gathers": True, "batch_bytes": 1 << 19}, {"batch_bytes": 1 << 24}
    shown = "the loop while it comes back soon or is faster, else 2 threads and the loop while it"
    assert str(decide(data=gathers)).startswith(shown)
    two, one = {"cores": 2, "torch_threads": 2}, {"cores": 2, "torch_threads": 1}
    for data, machine in (
        (gathers, one),
        ({**gathers, **large}, two),
        ({**gathers, **large, "copies": True}, two),
        ({"gathers": True, "copies": True, "batch_bytes": None}, two),
        ({**large, "gathers": True, "spans": True}, one),
        (large, one),  # a function of the user may be short
        ({"batch_bytes": None}, one),
        ({"gathers": True, "batch_bytes": None}, two),
    ):
        assert decide(data=data, machine=machine).alone == compares
        assert decide(data=data, machine=machine, num_threads=1).alone is None
    for data, machine in (
        ({**gathers, **large}, one),
        ({**gathers, **large, "copies": True}, one),
        ({"gathers": True, "batch_bytes": None}, one),
        ({**gathers, "batch_bytes": 1 << 10, "gathered_bytes": 1 << 10}, two),
    ):
        assert decide(data=data, machine=machine).alone is None


def test_long_epochs_of_runs_are_gathered_ahead() -> None:
    epoch = {"gathers": True, "epoch_bytes": 1 << 24}
    few = {**epoch, "batch_bytes": 1 << 15, "gathered_bytes": 1 << 15}
    many = {**epoch, "batch_bytes": 1 << 10, "gathered_bytes": 1 << 10}
    for data in (few, many):
        schedule = decide(data=data, prefetch=3)
        assert schedule.run > 1
        assert (schedule.threads, schedule.helps, schedule.depth) == (2, True, 6)
        assert decide(data=data, machine={"cores": 2}).threads == 1
        assert "than a thread hands it over" in str(decide(data=data, machine={"cores": 1}))
        assert decide(data={**data, "epoch_bytes": 1 << 20}).threads == 0


def test_runs_are_sent_to_a_device_from_pinned_memory_and_else_lie_in_plain_memory() -> None:
    data = {"batch_bytes": 1 << 10, "gathered_bytes": 1 << 10}
    there, here = {"pins": True, "to_device": True}, {"pins": True}
    assert (decide(data=data, machine=there).run, decide(data=data, machine=there).pinned) == (
        1 << 10,
        True,
    )
    assert (decide(data=data, machine=here).run, decide(data=data, machine=here).pinned) == (
        1 << 10,
        False,
    )
    asked = decide(data=data, machine=here, pin_memory=True)
    assert (asked.run, asked.pinned) == (1, True)
    assert decide(data=data, machine=there, num_threads=0).run == 1


def test_runs_stay_in_the_window_that_memory_limits() -> None:
    small = {"batch_bytes": 1 << 10, "gathered_bytes": 1 << 10}
    assert decide(data=small).run == 1 << 10
    assert decide(data={**small, "most_batches": 5}).run == 5
    assert decide(data={**small, "most_batches": 3}).run == 1
    assert decide(data=small, memory_budget=1 << 20).run == 32  # 8 such runs are a quarter of it


def test_batches_that_two_cores_copy_are_made_one_by_one() -> None:
    for size, run in [(FEW_BYTES, 4), (FEW_BYTES + 1, 1)]:
        assert decide(data={"batch_bytes": size, "gathered_bytes": size}).run == run


def test_casts_wait_where_that_halves_a_run() -> None:
    few, many = {"cores": 2, "torch_threads": 2}, {"cores": 8, "torch_threads": 8}

    def run(
        gathered: int, stored: int, machine: dict[str, Any], **options: Any
    ) -> tuple[int, bool]:
        data = {"batch_bytes": stored, "gathered_bytes": gathered, "stored_bytes": stored}
        schedule = decide(data=data, machine=machine, **options)
        return schedule.run, schedule.casts_late

    assert run(1 << 12, 1 << 11, few) == run(1 << 12, 1 << 11, many) == (1 << 9, True)
    assert run(1 << 12, (1 << 11) + 1, few) == (1 << 8, False)
    assert run(1 << 22, FEW_BYTES, few) == (4, True)
    assert run(1 << 22, FEW_BYTES + 1, few) == (1, False)
    assert run(1 << 22, 1 << 17, many) == (1, False)  # they share the cast
    for accelerator in ({"pins": True}, {"pins": True, "to_device": True}):
        assert run(1 << 12, 1 << 11, {**few, **accelerator}) == (1 << 8, False)
    assert run(1 << 12, 1 << 11, {**few, "pins": True}, pin_memory=False) == (1 << 9, True)
    assert run(1 << 12, 1 << 11, few, num_threads=0) == (1, False)


def test_pinning() -> None:
    assert not decide().pinned
    assert decide(machine={"pins": True}).pinned
    assert not decide(machine={"pins": True}, pin_memory=False).pinned
    with pytest.raises(LoaderError, match="no accelerator"):
        decide(pin_memory=True)


def test_a_budget_bounds_the_batches_ahead() -> None:
    assert decide(memory_budget=8 << 20, prefetch=9).depth == 2
    assert decide(memory_budget=1 << 30, prefetch=9).depth == 9
    assert decide(data={"batch_bytes": None}, memory_budget=8, prefetch=9).depth == 2
    with pytest.raises(LoaderError, match="give at least 4194304"):
        decide(memory_budget=(4 << 20) - 1)
    assert decide(memory_budget=4 << 20).depth == 1


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("num_threads", (-1, 1025, True, 1.5, "2"), "'auto' or an int from 0 to 1024"),
        ("prefetch", (0, True, 1.5), "a whole number of batches that are ready ahead, at least 1"),
        ("memory_budget", (0, True, 1e9), "a whole number of bytes, as 4 "),
        ("pin_memory", (None, 2), "True, False or 'auto'"),
    ],
)
def test_what_is_no_such_number_is_refused(name: str, values: tuple, expected: str) -> None:
    for value in values:
        with pytest.raises(LoaderError, match=f"{name}={value!r}: expected {expected}"):
            decide(**{name: value})
