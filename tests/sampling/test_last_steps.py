"""What fills up a last step, and in which order a rank reads its canonical shards."""

import numpy as np

from npdata import BlockBatchSampler, NumpyDataset
from npdata.sampling.order.ranks import Ranks


def ranks(rank: int, **more: object) -> Ranks:
    arguments = {"n": 10, "batch_size": 4, "world_size": 4, "uneven": "pad", "lanes": 1, **more}
    return Ranks(rank=rank, **arguments)


def test_ranks_that_repeat_a_row_repeat_different_ones() -> None:
    assert [ranks(rank).last_step(0).fill.tolist() for rank in range(4)] == [[], [], [], [0, 1]]


def test_positions_ascend_also_from_the_middle_of_a_turn() -> None:
    own = ranks(0, n=100, world_size=1, lanes=4)
    assert own.positions(2, 2).tolist() == [[2, 3, 4, 5], [6, 7, 8, 9]]


def test_padding_comes_after_the_rows_that_count_with_its_own_positions() -> None:
    ds = NumpyDataset(np.arange(10), transform=lambda row, rng: row)
    sampler = BlockBatchSampler(ds, 4, shuffle=False, rank=3, world_size=4)
    (batch,) = list(sampler)
    assert batch.positions.tolist() == batch.rows.tolist()
    assert list(batch)[-1] == 1
