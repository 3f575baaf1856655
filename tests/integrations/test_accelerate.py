"""Accelerate: each row once over all ranks in every mode, or a refusal before the first step."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matrix import shows
from torch.utils.data import DataLoader
from trained_ranks import on_ranks

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset

pytest.importorskip("accelerate", reason="pip install 'npdata[integrations]'")

N = 1003
MODES = [
    {"split_batches": split, "dispatch_batches": dispatch, "even_batches": even}
    for split, dispatch, even in itertools.product([False, True], repeat=3)
]


def accelerator(**more: Any) -> Any:
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration

    steps = more.pop("gradient_accumulation_steps", 1)
    return Accelerator(
        cpu=True,
        gradient_accumulation_steps=steps,
        dataloader_config=DataLoaderConfiguration(**more),
    )


def noisy(sample: torch.Tensor, rng: np.random.Generator) -> Any:
    return {"row": sample, "noise": rng.random()}


def reset(mode: dict[str, Any]) -> Any:
    """Give an accelerator of another mode than the one before."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state()
    GradientState._reset_state()
    return accelerator(**mode)


def epochs_of(loader: Any, count: int = 2) -> list[list[list[int]]]:
    return [[batch.tolist() for batch in loader] for _ in range(count)]


def all_modes(rank: int, batch_sizes: list[int], modes: list[dict[str, bool]]) -> Any:
    """For each mode the rows of two epochs, batch by batch, of a DataLoader and of a Loader."""
    data, found = NumpyDataset(np.arange(N)), {}
    for batch_size, mode, drop_last in itertools.product(batch_sizes, modes, [False, True]):
        prepare = reset(mode).prepare
        key = (batch_size, *mode.values(), drop_last)
        sampler = BlockBatchSampler(data, batch_size, block_rows=10, drop_last=drop_last)
        loader = prepare(DataLoader(data, batch_sampler=sampler, collate_fn=npdata.collate))
        length = len(loader)
        found["DataLoader", key] = (length, epochs_of(loader))
        own = prepare(Loader(data, batch_size, shuffle="block", drop_last=drop_last, num_threads=1))
        assert isinstance(own, Loader)
        found["Loader", key] = (len(own), epochs_of(own))
    return found


def joined(steps: Any) -> list[int]:
    """The rows of all ranks, step by step."""
    return [row for step in itertools.zip_longest(*steps, fillvalue=[]) for b in step for row in b]


class TestRows:
    @shows(
        "Accelerate",
        "accelerate",
        "each row once, in each mode of `split_batches`, `dispatch_batches`, `even_batches` "
        "and `drop_last`; 1 and 2 processes",
        "`prepare(loader)`, of a `Loader` or a DataLoader",
    )
    @pytest.mark.parametrize("world", [1, 2])
    def test_each_comes_once_in_every_mode(self, tmp_path: Path, world: int) -> None:
        sizes = [1, 16] if world == 1 else [2, 16]
        modes = MODES if world == 2 else [m for m in MODES if not m["split_batches"]]
        ranks = on_ranks(tmp_path, all_modes, sizes, modes, world=world)
        assert len(ranks[0]) == 2 * len(sizes) * len(modes) * 2
        check(ranks, world)

    @shows(
        "Accelerate",
        "accelerate",
        "each row once in batches of one row",
        "the same; `split_batches=True`, which cuts them, is refused",
    )
    def test_batches_of_one_row(self, tmp_path: Path) -> None:
        modes = [m for m in MODES if not m["split_batches"]]
        check(on_ranks(tmp_path, all_modes, [1], modes), 2)


def check(ranks: Any, world: int) -> None:
    for (kind, key), (length, _) in ranks[0].items():
        batch_size, split, dispatch, even, drop_last = key
        step = batch_size if split and kind == "DataLoader" else batch_size * world
        for epoch in range(2):
            steps = [rank[kind, key][1][epoch] for rank in ranks]
            rows = joined(steps)
            counts = Counter(rows)
            what = f"{kind} {key} epoch {epoch}"
            assert set(counts) <= set(range(N)), what
            extra = len(rows) - len(counts)
            if drop_last:
                assert N - len(counts) == N % step, what
                assert extra == 0, what
            else:
                fill = world if dispatch or kind == "Loader" else step
                assert len(counts) == N, what
                assert extra < fill, what
                assert set(rows[:N]) == set(range(N)), f"{what}: filler is not last"
                assert extra == 0 or even or dispatch or kind == "Loader", what
            if even or kind == "Loader" or dispatch:
                assert len(set(map(len, steps))) == 1, f"{what}: ranks wait for each other"
                assert len(steps[0]) == length, what
        first, second = (joined([rank[kind, key][1][e] for rank in ranks]) for e in range(2))
        assert first != second, f"{kind} {key}: the second epoch has the order of the first"


def resumed(rank: int, batch_sizes: list[int], modes: list[dict[str, bool]]) -> Any:
    """For each mode what is left of an epoch after three steps, and the next epoch: both runs."""
    data, found = NumpyDataset(np.arange(203)), {}
    for batch_size, mode, drop_last in itertools.product(batch_sizes, modes, [False, True]):

        def begin(state: Any, options: Any = (batch_size, mode, drop_last)) -> tuple[Any, Any]:
            size, mode, drop_last = options
            sampler = BlockBatchSampler(data, size, shuffle="full", drop_last=drop_last)
            if state is not None:
                sampler.load_state_dict(state)
            loader = DataLoader(data, batch_sampler=sampler, collate_fn=npdata.collate)
            return sampler, reset(mode).prepare(loader)

        sampler, loader = begin(None)
        iterator, box = iter(loader), [None]
        for _ in range(3):
            next(iterator)
        if rank == 0:
            box = [sampler.state_dict(consumed=3)]
        torch.distributed.broadcast_object_list(box)
        left, following = [batch.tolist() for batch in iterator], epochs_of(loader, 1)
        _, loader = begin(box[0])
        length = len(loader)
        rest = [batch.tolist() for batch in loader]
        same = (rest == left, epochs_of(loader, 1) == following, length == len(left))
        found[batch_size, *mode.values(), drop_last] = same
    return found


@shows(
    "Accelerate",
    "accelerate",
    "a resumed epoch has the rows, and the repeated ones, that were left; in each mode",
    "`sampler.state_dict(consumed=steps)`, on the main process",
)
def test_a_resumed_epoch_is_what_was_left_in_every_mode(tmp_path: Path) -> None:
    modes = [m for m in MODES if not m["split_batches"]]
    ranks = on_ranks(tmp_path, resumed, [1], modes)
    ranks += on_ranks(tmp_path, resumed, [8], MODES)
    for number, rank in enumerate(ranks):
        for key, (rows, following, length) in rank.items():
            assert rows, (number, key)
            assert following, (number, key)
            _, split, dispatch, even, _ = key
            own_length = split and not even and not dispatch  # Accelerate's own is one more
            assert length or own_length, (number, key)
