"""Resume: exactly the samples not yet seen, by position, in real processes and with other ranks."""

import contextlib
import itertools
import json
import os
import re
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import running
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data import ConcatDataset, DataLoader, StackDataset, Subset, TensorDataset

from npdata import Loader, NumpyDataset, collate, ragged
from npdata.errors import NpdataError, StateError, StateWarning
from npdata.sampling.sampler import BlockBatchSampler

SETTINGS = settings(max_examples=80, derandomize=True, deadline=None)
WORKER = Path(__file__).parents[1] / "helpers" / "train_worker.py"
TRAIN = f"""
import os, runpy, warnings
warnings.simplefilter("default")  # torchdata calls what is deprecated
os.setsid()
runpy.run_path({str(WORKER)!r}, run_name="__main__")
"""
N = 403


def make(batch_size=8, world_size=1, rank=0, *, n=N, state=None, **more):
    more = {"block_rows": 20, "window_blocks": 3, **more}
    sampler = BlockBatchSampler(n, batch_size, rank=rank, world_size=world_size, **more)
    if state is not None:
        sampler.load_state_dict(state)
    return sampler


def go_on(state, batch_size, world_size, steps=None, **more):
    """All ranks from a state: the rows that count, and the state after so many steps."""
    rows, states = [], []
    for rank in range(world_size):
        sampler = make(batch_size, world_size, rank, state=state, **more)
        for step, batch in enumerate(sampler, 1):
            kept = batch.rows[batch.mask] if hasattr(batch, "mask") else batch
            rows += kept.tolist()
            if step == steps:
                break
        states.append(sampler.state_dict())
    assert all(state == states[0] for state in states)
    return rows, states[0]


class TestWithoutConsumed:
    """A DataLoader with workers takes batches before the loop gets them."""

    def after(self, batches, num_workers):
        sampler = make()
        begun = iter(DataLoader(range(N), batch_sampler=sampler, num_workers=num_workers))
        for _ in range(batches):
            next(begun)
        return sampler, begun

    def test_what_was_taken_ahead_is_warned_of(self):
        sampler, _ = self.after(3, num_workers=2)
        with pytest.warns(
            StateWarning, match=r"counts all \d+ batches .*state_dict\(consumed=step"
        ):
            sampler.state_dict()
        assert sampler.state_dict(consumed=3)["position"] == 3 * 8

    def test_without_workers_and_at_the_end_it_is_right(self):
        sampler, _ = self.after(3, num_workers=0)
        assert sampler.state_dict()["position"] == 3 * 8
        sampler, begun = self.after(3, num_workers=2)
        for _ in begun:
            pass
        assert sampler.state_dict() == {**make().state_dict(), "epoch": 1}

    def test_a_look_at_a_batch_in_the_middle_leaves_the_state_alone(self):
        sampler = make()
        loader = DataLoader(range(N), batch_sampler=sampler)
        for step, _ in enumerate(loader, 1):
            if step == 2:
                next(iter(loader))
            if step == 4:
                break
        assert sampler.state_dict() == make().state_dict() | {"position": 4 * 8}
        assert sampler.epoch == 0

    def test_an_iterator_that_never_begins_leaves_the_state_of_one_that_goes_on_alone(self):
        sampler = make()
        batches = iter(sampler)
        next(batches)
        waiting = iter(sampler)
        assert (sampler.state_dict()["epoch"], sampler.epoch) == (1, 1)
        next(batches)
        assert sampler.state_dict() == make().state_dict() | {"position": 2 * 8}
        assert sampler.epoch == 0
        sampler.set_epoch(5)
        next(batches)
        assert sampler.state_dict()["epoch"] == 5
        next(waiting)
        assert sampler.state_dict() == make().state_dict() | {"epoch": 5, "position": 8}


class TestPosition:
    def test_three_resumes_in_one_epoch_one_of_them_at_its_very_end(self):
        whole = [row for batch in make() for row in batch.tolist()]
        sampler, seen = make(), []
        for steps in (7, 20, 24):
            for _, batch in zip(range(steps), sampler, strict=False):
                seen += batch.tolist()
            sampler = make(state=sampler.state_dict())
        assert seen == whole
        assert sampler.epoch == 1
        second = make()
        second.set_epoch(1)
        assert [b.tolist() for b in sampler] == [b.tolist() for b in second]

    @pytest.mark.parametrize("lanes", [None, 12])
    @pytest.mark.parametrize("uneven", ["mask", "ragged"])
    def test_world_sizes_four_two_three(self, uneven, lanes):
        more = {"uneven": uneven, "lanes": lanes}
        first, state = go_on(None, 12, 4, steps=2, **more)
        second, state = go_on(state, 18, 2, steps=3, **more)
        third, state = go_on(state, 4, 3, **more)
        assert (state["epoch"], state["position"]) == (1, 0)
        assert sorted(first + second + third) == list(range(N))

    @SETTINGS
    @given(
        n=st.integers(1, 300),
        shuffle=st.sampled_from(["block", "full", False]),
        legs=st.lists(
            st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 9)), max_size=4
        ),
    )
    def test_any_batch_sizes_and_ranks_see_each_row_once(self, n, shuffle, legs):
        state, seen = None, []
        for batch_size, world_size, steps in [*legs, (5, 2, None)]:
            if state is not None and state["epoch"] == 1:
                break
            more = {"uneven": "mask", "n": n, "shuffle": shuffle}
            rows, state = go_on(state, batch_size, world_size, steps, **more)
            seen += rows
        assert sorted(seen) == list(range(n))
        assert (state["epoch"], state["position"]) == (1, 0)

    @pytest.mark.parametrize("n", [1, 3])
    def test_an_epoch_in_batches_of_one_is_at_its_end_with_the_last_row(self, n):
        sampler = BlockBatchSampler(n, 1)
        batches = iter(sampler)
        taken = [next(batches) for _ in range(n)]
        assert sorted(np.concatenate(taken).tolist()) == list(range(n))
        state = sampler.state_dict()
        assert (state["epoch"], state["position"]) == (1, 0)

    def test_an_epoch_whose_rest_is_dropped_is_at_its_end(self):
        _, state = go_on(None, 50, 2, uneven="drop")
        assert (state["epoch"], state["position"]) == (1, 0)

    def test_a_state_of_which_larger_batches_would_drop_the_rest(self):
        _, state = go_on(None, 8, 1, steps=50)
        assert (state["epoch"], state["position"]) == (0, 400)
        rows, _ = go_on(state, 50, 2, uneven="drop")
        assert len(rows) == 400

    def test_consumed_counts_what_was_received(self):
        sampler = make()
        batches = [batch.tolist() for batch in sampler]
        state = sampler.state_dict(consumed=3)
        assert state["position"] == 24
        resumed = make(state=state)
        assert [batch.tolist() for batch in resumed] == batches[3:]
        assert resumed.state_dict(consumed=2)["position"] == 40
        assert resumed.state_dict()["epoch"] == 1

    def test_subset_and_weights(self):
        for more in ({"indices": np.arange(0, N, 3)}, {"weights": np.arange(N)}):
            batches = [batch.tolist() for batch in make(**more)]
            sampler = make(**more)
            iterator = iter(sampler)
            next(iterator)
            resumed = make(state=sampler.state_dict(), **more)
            assert [batch.tolist() for batch in resumed] == batches[1:]


class TestEpochs:
    @pytest.mark.parametrize("shorter", [{"num_samples": 200}, {"steps_per_epoch": 10}])
    def test_draws_beyond_the_end_of_a_shorter_epoch_are_its_end(self, shorter):
        """As of a run on more ranks, whose epochs of as many steps are longer."""
        drawn = {"n": 100, "weights": np.ones(100)}
        _, state = go_on(None, 8, 4, steps=8, steps_per_epoch=10, **drawn)
        assert state["position"] == 256
        resumed = make(8, 2, state=state, **drawn, **shorter)
        assert (resumed.epoch, len(list(resumed))) == (
            1,
            10 if "steps_per_epoch" in shorter else 13,
        )
        list(resumed)
        assert resumed.state_dict()["epoch"] == 3

    def test_a_state_from_before_the_first_batch(self):
        sampler = make()
        sampler.set_epoch(4)
        resumed = make(state=sampler.state_dict())
        assert resumed.epoch == 4
        assert [b.tolist() for b in resumed] == [b.tolist() for b in sampler]

    def test_set_epoch_keeps_the_position_of_a_loaded_state_of_that_epoch(self):
        sampler = make()
        list(sampler)
        state = sampler.state_dict(consumed=50)
        resumed = make(state=state)
        resumed.set_epoch(0)
        assert sum(map(len, resumed)) == 3

    @pytest.mark.parametrize("set_epoch", [False, True])
    @pytest.mark.parametrize("num_workers", [0, 2])
    @pytest.mark.parametrize("given", [0, 3, 51])
    def test_what_is_left_of_the_epoch_then_the_next(self, given, num_workers, set_epoch):
        """At the end of an epoch nothing is left of it, and there is no empty iteration."""
        plain = make()
        epochs = [[row for batch in plain for row in batch.tolist()] for _ in range(3)]
        state = {**plain.state_dict(), "epoch": 1, "position": min(given * 8, N)}
        data = TensorDataset(torch.arange(N))
        sampler = make(state=state)
        loader = DataLoader(data, batch_sampler=sampler, num_workers=num_workers)
        left = [] if given == 51 else [(1, epochs[1][given * 8 :])]
        for epoch, expected in (*left, (2, epochs[2])):
            if set_epoch:
                sampler.set_epoch(epoch)
            assert [row for (rows,) in loader for row in rows.tolist()] == expected
            assert sampler.epoch == epoch

    def test_an_iterator_that_gave_nothing_leaves_a_state_of_its_epoch(self):
        sampler = make()
        list(sampler)
        iter(sampler)
        state = sampler.state_dict()
        assert (state["epoch"], state["position"]) == (1, 0)

    def test_an_iterator_that_ends_after_a_later_epoch_was_read_leads_behind_that_one(self):
        sampler = make(n=24)
        first = iter(sampler)
        next(first)
        assert len(list(sampler)) == 3
        assert len(list(first)) == 2
        assert sampler.state_dict()["epoch"] == 2

    def test_set_epoch_while_an_iterator_waits(self):
        sampler = make()
        waiting = iter(sampler)
        sampler.set_epoch(5)
        assert sampler.state_dict()["epoch"] == 5
        assert len(next(waiting)) + sum(map(len, waiting)) == N
        assert sampler.epoch == 5

    def test_an_iterator_that_goes_on_after_its_own_epoch_was_set(self):
        """Lightning sets the first epoch when the workers of a DataLoader have begun to read."""
        sampler = make()
        batches = iter(sampler)
        rows = [*next(batches)]
        sampler.set_epoch(0)
        assert sampler.state_dict()["position"] == 0
        rows += [*next(batches)]
        state = sampler.state_dict()
        assert (state["epoch"], state["position"]) == (0, len(rows))
        sampler.load_state_dict({**state, "position": 0})
        next(batches)
        assert sampler.state_dict()["position"] == 0

    def test_every_rank_of_ragged_goes_on_to_the_next_epoch_together(self):
        """With one row left only one rank has a step; the others must not run ahead."""
        state = {**make().state_dict(), "position": N - 1}
        counts = [
            [sum(map(len, sampler)), sampler.epoch]
            for sampler in (make(8, 3, rank, state=state, uneven="ragged") for rank in range(3))
        ]
        assert counts == [[1, 0], [0, 0], [0, 0]]

    @pytest.mark.parametrize("rank", range(3))
    @pytest.mark.parametrize("left", range(1, 24))
    def test_the_end_of_a_rank_is_the_end_of_the_epoch(self, left, rank):
        sampler = make(8, 3, rank, n=left, uneven="ragged")
        list(sampler)
        state = sampler.state_dict()
        assert (state["epoch"], state["position"]) == (1, 0)

    @pytest.mark.parametrize("uneven", ["pad", "mask", "ragged", "drop"])
    def test_the_idiom_of_a_resume_at_the_end_of_an_epoch(self, uneven):
        """Each epoch once, and none of them empty, whether the end was seen or not."""
        for steps in (49, 50, 51, 52):
            sampler = make(uneven=uneven)
            read = [sum(map(len, itertools.islice(sampler, steps)))]
            saved = sampler.state_dict()
            resumed = make(state=saved, uneven=uneven)
            for epoch in range(saved["epoch"], 3):
                resumed.set_epoch(epoch)
                read.append(sum(map(len, resumed)))
            assert all(read)
            assert sum(read) == 3 * (N - N % 8 if uneven == "drop" else N)

    @pytest.mark.parametrize("num_threads", [0, 2])
    def test_the_same_with_a_loader(self, num_threads):
        data = NumpyDataset(np.arange(N))
        loader = Loader(data, 8, num_threads=num_threads)
        rows = [len(batch) for batch in loader]
        state = loader.state_dict()
        assert (state["epoch"], state["position"]) == (1, 0)
        resumed = Loader(data, 8, num_threads=num_threads)
        resumed.load_state_dict(state)
        assert [[len(batch) for batch in resumed] for _ in range(state["epoch"], 3)] == [rows] * 2

    @pytest.mark.parametrize("n", [0, 5])
    def test_where_every_epoch_is_empty_epochs_are_counted_as_well(self, n):
        sampler = make(n=n, uneven="drop")
        assert list(sampler) == list(sampler) == []
        state = sampler.state_dict()
        assert (state["epoch"], state["position"]) == (2, 0)
        assert list(make(n=n, uneven="drop", state=state)) == []

    def test_an_iterator_that_waits_begins_where_a_state_was_loaded_meanwhile(self):
        sampler = make()
        waiting = iter(sampler)
        sampler.load_state_dict({**make().state_dict(), "epoch": 2, "position": 16})
        whole = make()
        whole.set_epoch(2)
        assert [b.tolist() for b in waiting] == [b.tolist() for b in whole][2:]


class TestSetEpochAfterALoad:
    """A loaded state is not thrown away in silence."""

    def state(self, epoch=3, batches=10):
        sampler = make()
        sampler.set_epoch(epoch)
        next(itertools.islice(sampler, batches - 1, None))
        return sampler.state_dict()

    def test_of_the_same_epoch_goes_on(self):
        resumed = make(state=self.state())
        resumed.set_epoch(3)
        assert sum(map(len, resumed)) == N - 80

    def test_zero_from_a_trainer_that_counts_its_own_epochs_keeps_the_state(self):
        resumed = make(state=self.state())
        message = (
            "set_epoch(0) after a state of epoch 3 at position 80 was loaded: the state is kept"
        )
        with pytest.warns(StateWarning, match=re.escape(message)):
            resumed.set_epoch(0)
        assert sum(map(len, resumed)) == N - 80
        assert resumed.epoch == 3

    def test_through_a_loader(self):
        sampler = make()
        next(iter(sampler))
        loader = Loader(NumpyDataset(np.arange(N)), sampler=make(), num_threads=0)
        loader.load_state_dict({**sampler.state_dict(), "epoch": 2})
        with pytest.warns(StateWarning):
            loader.set_epoch(0)
        assert sum(map(len, loader)) == N - 8

    def test_of_another_epoch_drops_the_state_and_says_so(self):
        resumed = make(state=self.state())
        with pytest.warns(
            StateWarning, match=r"set_epoch\(5\) .* epoch 3 .*: the state is dropped"
        ):
            resumed.set_epoch(5)
        assert sum(map(len, resumed)) == N
        assert resumed.epoch == 5

    def test_zero_after_an_epoch_was_read_here_is_meant(self):
        sampler = make()
        list(sampler)
        sampler.load_state_dict(self.state())
        with pytest.warns(StateWarning, match="dropped"):
            sampler.set_epoch(0)
        assert sum(map(len, sampler)) == N

    def test_once_it_was_gone_on_with_any_epoch_may_follow(self):
        resumed = make(state=self.state())
        next(iter(resumed))
        resumed.set_epoch(0)
        assert sum(map(len, resumed)) == N


class TestWorld:
    def test_the_state_is_of_the_ranks_that_the_iteration_had(self):
        """The process group may be gone when the state is asked for."""
        dist.init_process_group("fake", rank=0, world_size=4, store=FakeStore())
        try:
            sampler = BlockBatchSampler(1000, 10, block_rows=10, lanes=4)
            next(iter(sampler))
        finally:
            dist.destroy_process_group()
        state = sampler.state_dict()
        assert (state["batch_size"], state["world_size"], state["position"]) == (10, 4, 40)


class TestStatefulDataLoader:
    """torchdata keeps the sampler's state itself, also that of an epoch that it has finished."""

    @pytest.mark.parametrize("set_epoch", [False, True])
    @pytest.mark.parametrize("num_workers", [0, 2])
    @pytest.mark.parametrize("received, ended", [(0, False), (5, False), (51, False), (51, True)])
    def test_no_epoch_is_skipped_or_read_twice(self, received, ended, num_workers, set_epoch):
        stateful = pytest.importorskip("torchdata.stateful_dataloader")
        plain = make()
        epochs = [[row for batch in plain for row in batch.tolist()] for _ in range(5)]

        def new():
            sampler, data = make(), TensorDataset(torch.arange(N))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*set_vital.*")
                loader = stateful.StatefulDataLoader(
                    data, batch_sampler=sampler, num_workers=num_workers
                )
            return sampler, loader

        def read(batches):
            return [row for (rows,) in batches for row in rows.tolist()]

        _, loader = new()
        assert read(loader) == epochs[0]
        begun = iter(loader)
        seen = read(itertools.islice(begun, received))
        if ended:
            assert next(begun, None) is None
        state = loader.state_dict()
        del begun
        sampler, loader = new()
        loader.load_state_dict(state)
        expected = [epochs[1][len(seen) :]] * (not ended) + epochs[2:4]
        for epoch, rows in enumerate(expected, 2 if ended else 1):
            if set_epoch:
                sampler.set_epoch(epoch)
            assert read(loader) == rows

    def test_an_epoch_that_is_set_when_workers_have_begun(self):
        stateful = pytest.importorskip("torchdata.stateful_dataloader")

        def new():
            sampler, data = make(), TensorDataset(torch.arange(N))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*set_vital.*")
                return sampler, stateful.StatefulDataLoader(
                    data, batch_sampler=sampler, num_workers=2
                )

        sampler, loader = new()
        begun = iter(loader)
        sampler.set_epoch(0)
        for _ in range(9):
            next(begun)
        state = loader.state_dict()
        rest = [rows.tolist() for (rows,) in begun]
        _, resumed = new()
        resumed.load_state_dict(state)
        assert [rows.tolist() for (rows,) in resumed] == rest

    @pytest.mark.parametrize("num_workers", [0, 2])
    @pytest.mark.parametrize("ended", [False, True])
    def test_it_iterates_as_over_a_dataset_of_torch(self, ended, num_workers):
        """After the last batch, of which the loop saw no end, torchdata's own next one is empty."""
        stateful = pytest.importorskip("torchdata.stateful_dataloader")
        ours = NumpyDataset(np.arange(N))

        def new(kind):
            options = {"num_workers": num_workers}
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*set_vital.*")
                if kind == "torch":
                    data = TensorDataset(torch.arange(N))
                    return None, stateful.StatefulDataLoader(data, batch_size=8, **options)
                sampler = BlockBatchSampler(ours, 8)
                options["collate_fn"] = collate
                return sampler, stateful.StatefulDataLoader(ours, batch_sampler=sampler, **options)

        lengths = {}
        for kind in ("torch", "npdata"):
            _, loader = new(kind)
            iterator, batches = iter(loader), -(-N // 8)
            assert len(list(itertools.islice(iterator, batches))) == batches
            if ended:
                assert next(iterator, None) is None
            state = loader.state_dict()
            del iterator
            sampler, loader = new(kind)
            loader.load_state_dict(state)
            lengths[kind] = [len(list(loader)) for _ in range(3)]
        assert lengths["npdata"] == lengths["torch"] == [batches * ended, batches, batches]

        sampler, loader = new("npdata")
        sampler.load_state_dict(state)  # in place of the loader: never an empty iteration
        assert [len(list(loader)) for _ in range(2)] == [batches, batches]
        assert sampler.epoch == 2

    @pytest.mark.parametrize("rank", range(2))
    @pytest.mark.parametrize("rows, size", [(17, {"batch_size": 8}), (18, {"max_rows": 8})])
    def test_a_rank_that_ends_before_another_goes_on_with_the_next_epoch(self, rows, size, rank):
        stateful = pytest.importorskip("torchdata.stateful_dataloader")
        number = np.arange(rows)
        data = NumpyDataset(x=ragged(number, lengths=[1] * rows), number=number)

        def new():
            sampler = BlockBatchSampler(data, **size, rank=rank, world_size=2, uneven="ragged")
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*set_vital.*")
                return stateful.StatefulDataLoader(data, batch_sampler=sampler, collate_fn=collate)

        def read(loader):
            return [row for batch in loader for row in batch["number"].tolist()]

        loader = new()
        epochs = [read(loader) for _ in range(3)]
        loader = new()
        iterator = iter(loader)
        assert len(list(itertools.islice(iterator, 2 - rank))) == 2 - rank
        state = loader.state_dict()
        again = new()
        again.load_state_dict(state)
        assert [read(again) for _ in range(3)] == [[], *epochs[1:]]


class TestState:
    def test_it_is_a_few_integers(self):
        state = make(indices=np.arange(50), lanes=2).state_dict()
        assert json.loads(json.dumps(state)) == state
        assert all(type(value) is int for value in state.values())
        assert len(state) < 20

    @pytest.mark.parametrize(
        "order, expected",
        [
            ({}, (20, 3)),
            ({"shuffle": False, "lanes": 2}, (20, 0)),
            ({"shuffle": False}, (0, 0)),
            ({"shuffle": "full"}, (0, 0)),
            ({"weights": np.ones(N)}, (0, 0)),
        ],
    )
    def test_blocks_and_windows_are_in_it_where_the_order_has_some(self, order, expected):
        state = make(**order).state_dict()
        assert (state["block_rows"], state["window_blocks"]) == expected
        assert (state["blocks_checksum"] == 0) == (state["block_rows"] == 0)

    @pytest.mark.parametrize(
        "more, message",
        [
            ({"n": N + 1}, f"the state is of rows={N}, this sampler of rows={N + 1}"),
            ({"seed": 1}, "the state is of seed=0, this sampler of seed=1"),
            (
                {"shuffle": "full"},
                "the state is of shuffle='block', this sampler of shuffle='full'",
            ),
            ({"block_rows": 21}, "the state is of block_rows=20, this sampler of block_rows=21"),
            ({"window_blocks": 4}, "of window_blocks=3, this sampler of window_blocks=4"),
            ({"lanes": 2}, "the state is of lanes=1, this sampler of lanes=2"),
            (
                {"indices": np.arange(N)},
                "the state is of indices_checksum=0, this sampler of indices_checksum=",
            ),
            ({"weights": np.ones(N)}, "of weights_checksum=0, this sampler of weights_checksum="),
        ],
    )
    def test_another_order_is_refused_naming_both(self, more, message):
        with pytest.raises(StateError, match=re.escape(message)) as caught:
            make(state=make().state_dict(), **more)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, NpdataError)

    @pytest.mark.parametrize(
        "within",
        [
            lambda part: part,
            lambda part: Subset(part, range(9)),
            lambda part: StackDataset(x=part),
            lambda part: ConcatDataset([range(3), part]),
        ],
    )
    def test_other_rows_of_a_subset_are_refused(self, within):
        first, second = (within(Subset(range(N), rows)) for rows in ([*range(9)], np.arange(1, 10)))
        state = BlockBatchSampler(first, 2).state_dict()
        with pytest.raises(StateError, match="of the same indices= or Subset; random_split gives"):
            BlockBatchSampler(second, 2).load_state_dict(state)
        same = within(Subset(range(N), torch.arange(9)))
        BlockBatchSampler(same, 2).load_state_dict(state)

    def test_a_shuffle_that_this_release_does_not_know_is_refused_by_its_number(self):
        state = {**make().state_dict(), "shuffle": 3}
        with pytest.raises(StateError, match="of shuffle=3, this sampler of shuffle='block'"):
            make(state=state)

    def test_another_version_is_refused_naming_both(self):
        state = {**make().state_dict(), "version": 0}
        with pytest.raises(StateError, match=r"of version=0, .* of version=1: .* was, or begin"):
            make(state=state)

    def test_what_plays_no_part_in_the_order_may_change(self):
        state = make(shuffle="full", block_rows=3).state_dict()
        make(4, shuffle="full", block_rows=5, window_blocks=9, uneven="drop", state=state)

    @pytest.mark.parametrize(
        "change, message",
        [
            ({"position": -1}, "position=-1: expected a whole number of at least 0"),
            ({"position": 2.0}, "position=2.0: expected a whole number"),
            ({"position": N + 1}, f"position={N + 1} of {N} samples"),
            ({"epoch": 1 << 64}, f"epoch={1 << 64}: expected less than 2**64"),
            ({"more": 1}, "expected ['batch_size', "),
        ],
    )
    def test_the_wrong_shape_is_refused(self, change, message):
        with pytest.raises(StateError, match=re.escape(message)):
            make(state={**make().state_dict(), **change})

    @pytest.mark.parametrize(
        "state, told", [({}, r"\[\]"), ({"epoch": 1}, r"\['epoch'\]"), ([1, 2], "list"), (7, "int")]
    )
    def test_what_is_no_state_is_refused(self, state, told):
        message = rf"the state has {told}: expected .*'window_blocks', .*, as of state_dict\(\)$"
        with pytest.raises(StateError, match=message):
            make().load_state_dict(state)

    def test_of_a_checkpoint_with_a_state_in_it_the_part_is_named(self):
        with pytest.raises(StateError, match=r"as of state_dict\(\); load its part 'loader'"):
            make().load_state_dict({"model": {}, "loader": make().state_dict()})

    @pytest.mark.parametrize("number", [np.int64, np.array, torch.tensor])
    def test_numbers_as_torch_and_numpy_save_them_do(self, number):
        sampler = make(4)
        next(iter(sampler))
        state = sampler.state_dict()
        saved = {name: number(value) for name, value in state.items()}
        assert make(4, state=saved).state_dict() == state

    def test_more_consumed_than_given_is_refused(self):
        with pytest.raises(StateError, match="consumed=1, but this iteration has given 0"):
            make().state_dict(consumed=1)

    def test_a_refused_state_changes_nothing(self):
        sampler = make()
        with pytest.raises(StateError):
            sampler.load_state_dict({})
        assert sampler.state_dict()["position"] == 0


class TestProcesses:
    """A training run is killed in mid-epoch and started again from its last checkpoint."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "loader, num_workers",
        [
            ("DataLoader", 0),
            ("DataLoader", 2),
            ("StatefulDataLoader", 0),
            ("StatefulDataLoader", 2),
        ],
    )
    def test_each_sample_once_over_a_kill(self, tmp_path, loader, num_workers):
        if loader == "StatefulDataLoader":
            pytest.importorskip("torchdata.stateful_dataloader")

        def train(kill_at):
            words = [str(tmp_path), loader, str(num_workers), str(kill_at)]
            with running(TRAIN, *words) as (process, out):
                try:
                    return process.wait()
                finally:
                    # A fork server and its workers outlive the process that is killed.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.number, signal.SIGKILL)
                    print(out.read())

        assert train(kill_at=13) == -signal.SIGKILL
        assert train(kill_at=0) == 0
        first, second = (
            [json.loads(line) for line in (tmp_path / f"{run}.log").read_text().splitlines()]
            for run in range(2)
        )
        assert len(first) == 13
        kept = first[:10]
        one = [row for epoch, rows in kept + second for row in rows if epoch == 0]
        assert sorted(one) == list(range(N))
        two = [row for epoch, rows in second for row in rows if epoch == 1]
        assert sorted(two) == list(range(N))
        assert one != two
