"""Shares of ranks: each row once, counts as promised, the same steps for every world size."""

import itertools
import os
import shutil
import subprocess
import sys
import tracemalloc
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from processes import HANG, environment

from npdata import NumpyDataset
from npdata.errors import SamplerError
from npdata.sampling.order.ranks import Ranks
from npdata.sampling.sampler import BlockBatchSampler

SETTINGS = settings(max_examples=80, derandomize=True, deadline=None)
WORKER = Path(__file__).parents[2] / "helpers" / "rank_worker.py"


@st.composite
def setups(draw):
    world = draw(st.integers(1, 5))
    own_lanes = draw(st.sampled_from([None, 1, 2, 3]))
    lanes = None if own_lanes is None else own_lanes * world
    return {
        "data": draw(st.integers(0, 400)),
        "batch_size": draw(st.integers(1, 12)) * (own_lanes or 1),
        "shuffle": draw(st.sampled_from(["block", False] + ["full"] * (lanes in (None, 1)))),
        "seed": draw(st.integers(0, 99)),
        "block_rows": draw(st.integers(1, 50)),
        "window_blocks": draw(st.integers(1, 6)),
        "lanes": lanes,
        "world_size": world,
    }


def batches(setup, uneven, epoch=0, **more):
    """The batches of every rank: a list per rank."""
    result = []
    for rank in range(setup["world_size"]):
        sampler = BlockBatchSampler(**setup, rank=rank, uneven=uneven, **more)
        sampler.set_epoch(epoch)
        result.append(list(sampler))
        assert len(result[-1]) == len(sampler)
    return result


def flat(ranks):
    return [row for rank in ranks for batch in rank for row in batch]


class TestShares:
    @SETTINGS
    @given(setup=setups())
    def test_mask_each_row_once_and_as_many_steps(self, setup):
        ranks = batches(setup, "mask")
        real = [np.asarray(batch)[batch.mask] for rank in ranks for batch in rank]
        assert sorted(np.concatenate([*real, []]).tolist()) == list(range(setup["data"]))
        assert len({tuple(len(batch) for batch in rank) for rank in ranks}) == 1
        assert all(batch.filler <= 1 for rank in ranks for batch in rank)
        assert all(0 <= row < setup["data"] for row in flat(ranks))

    @SETTINGS
    @given(setup=setups())
    def test_ragged_each_row_once(self, setup):
        ranks = batches(setup, "ragged")
        assert sorted(flat(ranks)) == list(range(setup["data"]))
        assert all(len(batch) > 0 for rank in ranks for batch in rank)
        totals = [sum(map(len, rank)) for rank in ranks]
        assert max(totals) - min(totals) <= 1

    @SETTINGS
    @given(setup=setups())
    def test_drop_whole_steps_of_rows_that_are_not_repeated(self, setup):
        ranks = batches(setup, "drop")
        step = setup["batch_size"] * setup["world_size"]
        assert {len(batch) for rank in ranks for batch in rank} <= {setup["batch_size"]}
        assert [len(rank) for rank in ranks] == [setup["data"] // step] * setup["world_size"]
        assert len(set(flat(ranks))) == len(flat(ranks))

    @SETTINGS
    @given(setup=setups(), uneven=st.sampled_from(["pad", "mask", "ragged", "drop"]))
    def test_drop_last_is_drop(self, setup, uneven):
        ranks = batches(setup, uneven, drop_last=True)
        expected = batches(setup, "drop")
        assert flat(ranks) == flat(expected)

    @SETTINGS
    @given(setup=setups())
    def test_pad_repeats_fewer_rows_than_there_are_ranks(self, setup):
        ranks = batches(setup, "pad")
        found = flat(ranks)
        assert set(found) == set(range(setup["data"]))
        assert len({tuple(len(batch) for batch in rank) for rank in ranks}) == 1
        assert len(found) - setup["data"] < setup["world_size"]
        assert len(found) == -(-setup["data"] // setup["world_size"]) * setup["world_size"]

    @pytest.mark.parametrize("world", [1, 2, 3, 4, 5])
    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_pad_repeats_the_first_rows_of_the_order(self, world, size):
        for n in range(1, 2 * world * size + 2):
            setup = {"data": n, "batch_size": size, "shuffle": "full", "world_size": world}
            found = flat(batches(setup, "pad"))
            order = flat(batches(setup | {"world_size": 1}, "pad"))
            first = np.resize(order, len(found) - n).tolist()
            assert sorted(found) == sorted(order + first)

    def test_what_fills_up_a_batch_comes_last_in_it(self):
        setup = {"data": 10, "batch_size": 4, "shuffle": False, "world_size": 3}
        padded = [[[0, 1, 2, 3]], [[4, 5, 6, 7]], [[8, 9, 0, 1]]]
        assert [[list(b) for b in rank] for rank in batches(setup, "pad")] == padded
        (first,), (second,), (third,) = batches(setup, "mask")
        assert [list(each) for each in (first, second, third)] == [
            [0, 1, 2, 3],
            [4, 5, 6, 6],
            [7, 8, 9, 9],
        ]
        assert third.mask.tolist() == second.mask.tolist() == [True, True, True, False]

    @SETTINGS
    @given(setup=setups())
    def test_the_same_again_and_otherwise_in_another_epoch(self, setup):
        order = flat(batches(setup, "ragged"))
        assert flat(batches(setup, "ragged")) == order
        if setup["shuffle"] and setup["data"] > 30:
            assert flat(batches(setup, "ragged", epoch=1)) != order

    @SETTINGS
    @given(
        n=st.integers(0, 500),
        shuffle=st.sampled_from(["block", "full", False]),
        lanes=st.sampled_from([None, 12]),
    )
    def test_a_step_has_the_same_rows_for_every_world_size(self, n, shuffle, lanes):
        assume(not (lanes and shuffle == "full"))
        steps = set()
        for world in (1, 2, 3, 4, 6):
            setup = {
                "data": n,
                "batch_size": 24 // world,
                "shuffle": shuffle,
                "block_rows": 7,
                "lanes": lanes,
                "world_size": world,
            }
            ranks = batches(setup, "ragged")
            longest = max(map(len, ranks))
            steps.add(
                tuple(
                    tuple(
                        sorted(row for rank in ranks for batch in rank[k : k + 1] for row in batch)
                    )
                    for k in range(longest)
                )
            )
        assert len(steps) == 1

    @SETTINGS
    @given(
        n=st.integers(0, 400),
        uneven=st.sampled_from(["drop", "pad", "mask", "ragged"]),
        lanes=st.sampled_from([None, 12]),
        seen=st.integers(0, 400),
    )
    def test_a_step_has_the_same_rows_for_every_world_size_also_resumed(
        self, n, uneven, lanes, seen
    ):
        """But for the filler, which is from the start of the order with pad."""
        found = set()
        for world in (1, 2, 3, 4, 6):
            steps = []
            for rank in range(world):
                sampler = BlockBatchSampler(
                    *(n, 24 // world),
                    rank=rank,
                    world_size=world,
                    uneven=uneven,
                    lanes=lanes,
                    block_rows=7,
                )
                sampler.load_state_dict(
                    {**sampler.state_dict(), "position": min(seen, max(0, n - 1))}
                )
                for k, batch in enumerate(sampler):
                    steps += [set()] * (k == len(steps))
                    real = batch.rows[batch.mask] if uneven == "mask" else batch
                    steps[k] = steps[k] | set(real.tolist())
            if uneven == "pad":
                start = BlockBatchSampler(n, 12, lanes=lanes, block_rows=7)
                start.set_epoch(sampler.epoch)
                filler = set(next(iter(start), ()))
                steps[-1:] = [step - filler for step in steps[-1:]]
            found.add(tuple(map(frozenset, steps)))
        assert len(found) == 1

    @pytest.mark.parametrize("start", range(5))
    def test_from_any_position_on_a_rank_has_the_positions_of_its_lanes(self, start):
        ranks = [
            Ranks(n=99, batch_size=4, rank=rank, world_size=2, uneven="drop", lanes=4)
            for rank in range(2)
        ]
        first, second = (each.positions(start, 3) for each in ranks)
        assert sorted({*(first % 4).flat}) == [0, 1]
        assert sorted({*(second % 4).flat}) == [2, 3]
        assert sorted([*first[:2].flat, *second[:2].flat]) == [*range(start, start + 16)]

    def test_ranks_read_only_the_blocks_of_their_lanes(self):
        setup = {
            "data": 10_000,
            "batch_size": 20,
            "block_rows": 50,
            "window_blocks": 4,
            "lanes": 4,
            "world_size": 4,
        }
        ranks = batches(setup, "drop")
        blocks = [{int(row) // 50 for batch in rank for row in batch} for rank in ranks]
        assert [len(one) for one in blocks] == [50] * 4
        assert len(set.union(*blocks)) == 200

    def test_until_the_shortest_lane_ends_ranks_read_only_their_own_blocks(self):
        """17 blocks in 4 lanes: 200 rows of each rank are its own, the last 50 are shared out."""
        setup = {"data": 850, "batch_size": 10, "block_rows": 50, "lanes": 4, "world_size": 4}
        ranks = [np.concatenate(rank) for rank in batches(setup, "ragged")]
        own = [set((rows[:200] // 50).tolist()) for rows in ranks]
        assert sorted(block for blocks in own for block in blocks) == list(range(17))
        assert sorted(map(len, own)) == [4, 4, 4, 5]
        assert sorted(len(rows) - 200 for rows in ranks) == [12, 12, 13, 13]

    def test_the_rows_that_lanes_have_left_over_are_shared(self):
        """A last block of 1 row makes one lane shorter; the others end together."""
        setup = {"data": 351, "batch_size": 10, "block_rows": 50, "lanes": 2, "world_size": 2}
        assert sorted(flat(batches(setup, "ragged"))) == list(range(351))


class TestMemory:
    @pytest.mark.parametrize(
        "more",
        [
            {"shuffle": "full"},
            {"shuffle": False},
            {"block_rows": 341},
            {"block_rows": 4, "window_blocks": 4},
            {"block_rows": 1, "window_blocks": 1},
            {"block_rows": 128, "window_blocks": 1},
            {"block_rows": 128, "window_blocks": 1, "batch_size": 1},
            {"block_rows": 341, "lanes": 64},
        ],
    )
    def test_one_rank_of_64_takes_what_its_own_rows_take(self, more):
        sampler = BlockBatchSampler(
            10**9, **{"batch_size": 256, "rank": 63, "world_size": 64, **more}
        )
        tracemalloc.start()
        try:
            for _ in itertools.islice(sampler, 1000):
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 50e6


def check(outputs, n, uneven):
    """The union of the rows that the ranks wrote, as `uneven` promises it."""
    rows = [np.fromstring(line, np.int64, sep=" ") for line in outputs]
    assert len(rows) == 2
    if uneven == "mask":
        assert sorted(np.concatenate(rows).tolist()) == list(range(n))
    else:
        assert len(rows[0]) == len(rows[1]) == -(-n // 2)
        assert set(np.concatenate(rows).tolist()) == set(range(n))


class TestProcesses:
    @pytest.mark.slow
    def test_torchrun(self, tmp_path):
        """Two ranks that learn who they are from torch.distributed and meet at every step."""
        n = 1009
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
            *("--master-addr=127.0.0.1", "--master-port=0", "--rdzv-backend=c10d"),
            *("--rdzv-endpoint=127.0.0.1:0", str(WORKER), str(n), str(tmp_path)),
        ]
        subprocess.run(
            command,
            check=True,
            timeout=HANG,
            capture_output=True,
            env=environment(GLOO_SOCKET_IFNAME="lo"),
        )
        for uneven in ("mask", "pad"):
            check([path.read_text() for path in sorted(tmp_path.glob(f"{uneven}-*"))], n, uneven)

    def test_two_hosts(self, tmp_path, two_hosts):
        """A rank in each of two network namespaces that are joined by a cable."""
        n = 1009
        ranks = [
            subprocess.Popen(
                ["ip", "netns", "exec", host, sys.executable, str(WORKER), str(n), str(tmp_path)],
                env=environment(
                    RANK=str(rank),
                    WORLD_SIZE="2",
                    MASTER_ADDR="10.77.0.1",
                    MASTER_PORT="29541",
                    GLOO_SOCKET_IFNAME=f"cable{rank}",
                ),
            )
            for rank, host in enumerate(two_hosts)
        ]
        try:
            assert [rank.wait(timeout=HANG) for rank in ranks] == [0, 0]
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        for uneven in ("mask", "pad"):
            check([path.read_text() for path in sorted(tmp_path.glob(f"{uneven}-*"))], n, uneven)


@pytest.fixture
def two_hosts():
    """Two network namespaces, 10.77.0.1 and 10.77.0.2; skipped where none can be made."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need iproute2 and root")
    tag = uuid.uuid4().hex[:6]
    hosts = [f"npdata-{tag}-{k}" for k in range(2)]

    def ip(*words):
        return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)

    try:
        made = ip("netns", "add", hosts[0])
        if made.returncode:
            pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
        ip("netns", "add", hosts[1])
        cable = ip(
            *("link", "add", "cable0", "netns", hosts[0], "type", "veth"),
            *("peer", "name", "cable1", "netns", hosts[1]),
        )
        if cable.returncode:
            pytest.skip(f"virtual cables cannot be made here: {cable.stderr.strip()}")
        for k, host in enumerate(hosts):
            ip("-n", host, "addr", "add", f"10.77.0.{k + 1}/24", "dev", f"cable{k}")
            ip("-n", host, "link", "set", f"cable{k}", "up")
            ip("-n", host, "link", "set", "lo", "up")
        yield hosts
    finally:
        for host in hosts:
            ip("netns", "del", host)


def of_rank(rank: int, **more: object) -> Ranks:
    arguments = {"n": 10, "batch_size": 4, "world_size": 4, "uneven": "pad", "lanes": 1, **more}
    return Ranks(rank=rank, **arguments)


def test_ranks_that_repeat_a_row_repeat_different_ones() -> None:
    assert [of_rank(rank).last_step(0).fill.tolist() for rank in range(4)] == [[], [], [], [0, 1]]


def test_what_masks_fill_up_is_the_position_before() -> None:
    steps = [of_rank(rank, n=42, world_size=2, uneven="mask").last_step(37) for rank in range(2)]
    assert [step.positions.tolist() for step in steps] == [[37, 38, 39], [40, 41]]
    assert [step.fill.tolist() for step in steps] == [[], [41]]


@pytest.mark.parametrize("uneven", ["pad", "mask", "ragged", "drop"])
def test_nothing_is_left_behind_the_end(uneven: str) -> None:
    ranks = of_rank(0, uneven=uneven)
    assert [(ranks.steps(start), ranks.samples(start)) for start in (10, 12, 99)] == [(0, 0)] * 3


@pytest.mark.parametrize("rank", [-1, 4])
def test_a_rank_outside_the_world_is_refused(rank: int) -> None:
    with pytest.raises(SamplerError, match=f"rank {rank} of a world of 4"):
        of_rank(rank)


@pytest.mark.parametrize(
    ("n", "position", "start", "step", "expected"),
    [
        (10, 8, 4, 4, ([8, 9], [0, 1])),
        (10, 10, 2, 4, ([], [])),
        (3, 0, 0, 8, ([0, 1, 2], [0, 1, 2, 0, 1])),
        (0, 0, 0, 4, ([], [])),
        (10, 12, 12, 4, ([], [])),
    ],
)
def test_whole_steps_are_filled_up_from_the_start_of_the_order(
    n: int, position: int, start: int, step: int, expected: tuple[list[int], list[int]]
) -> None:
    filled = of_rank(0, n=n, world_size=1).filled(position, start, step)
    assert (filled.positions.tolist(), filled.fill.tolist()) == expected


@pytest.mark.parametrize(("uneven", "left"), [("pad", 2), ("mask", 2), ("ragged", 2), ("drop", 0)])
def test_what_is_left_after_the_last_whole_step_is_counted_without_padding(
    uneven: str, left: int
) -> None:
    ranks = of_rank(1, world_size=2, uneven=uneven)
    assert [ranks.remainder(start) for start in (0, 8, 2, 10, 12)] == [left, left, 0, 0, 0]


def test_positions_ascend_also_from_the_middle_of_a_turn() -> None:
    own = of_rank(0, n=100, world_size=1, lanes=4)
    assert own.positions(2, 2).tolist() == [[2, 3, 4, 5], [6, 7, 8, 9]]


def test_padding_comes_after_the_rows_that_count_with_its_own_positions() -> None:
    ds = NumpyDataset(np.arange(10), transform=lambda row, rng: row)
    sampler = BlockBatchSampler(ds, 4, shuffle=False, rank=3, world_size=4)
    (batch,) = list(sampler)
    assert batch.positions.tolist() == batch.rows.tolist()
    assert list(batch)[-1] == 1
