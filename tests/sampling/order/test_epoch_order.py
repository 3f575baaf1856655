"""The order of an epoch: every row once, any slice alone, the same in every release."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from npdata.arrays.blocks import Blocks
from npdata.sampling.order.block_layout import BlockLayout
from npdata.sampling.order.epoch_order import ORDER_VERSION, draw_order, plan_order
from npdata.sampling.order.splits import split

SETTINGS = settings(max_examples=120, derandomize=True, deadline=None)


@st.composite
def segments(draw):
    rows = draw(st.lists(st.integers(0, 300), min_size=1, max_size=4))
    alike = draw(st.booleans())
    sizes = draw(st.lists(st.integers(1, 40), min_size=len(rows), max_size=len(rows)))
    return Blocks(rows=tuple(rows), block_rows=(sizes[0],) * len(rows) if alike else tuple(sizes))


def plan(blocks, shuffle="block", seed=0, epoch=0, window_blocks=3, lanes=1):
    return plan_order(
        blocks.total_rows,
        shuffle=shuffle,
        seed=seed,
        epoch=epoch,
        layout=BlockLayout.of(blocks),
        window_blocks=window_blocks,
        lanes=lanes,
    )


class TestLayout:
    @SETTINGS
    @given(blocks=segments())
    def test_it_has_the_blocks_of_the_source(self, blocks):
        layout = BlockLayout.of(blocks)
        edges = np.unique(blocks.edges())
        assert layout.count == blocks.count
        assert layout.first_rows(np.arange(layout.count)).tolist() == edges[:-1].tolist()
        sizes = np.diff(edges)
        assert layout.size == sizes.max(initial=1)
        short, missing = layout.short
        assert short.tolist() == np.flatnonzero(sizes < layout.size).tolist()
        assert missing.tolist() == (layout.size - sizes[short]).tolist()

    @SETTINGS
    @given(blocks=segments(), data=st.data())
    def test_a_subset_is_cut_at_the_edges_of_the_blocks(self, blocks, data):
        rows = data.draw(st.lists(st.integers(0, max(0, blocks.total_rows - 1)), max_size=50))
        subset = np.sort(np.array(rows if blocks.total_rows else [], np.int64))
        layout = BlockLayout.of_subset(blocks, subset)
        block_of = np.searchsorted(np.unique(blocks.edges()), subset, side="right")
        starts = np.flatnonzero(np.diff(np.append(-1, block_of)))
        assert layout.first_rows(np.arange(layout.count)).tolist() == starts.tolist()


class TestOrder:
    @SETTINGS
    @given(
        blocks=segments(),
        shuffle=st.sampled_from(["block", "full", False]),
        seed=st.integers(0, 2**64 - 1),
        window_blocks=st.integers(1, 12),
        lanes=st.integers(1, 5),
        data=st.data(),
    )
    def test_every_row_once_and_any_slice_alone(
        self, blocks, shuffle, seed, window_blocks, lanes, data
    ):
        n = blocks.total_rows
        order = plan(blocks, shuffle, seed, 7, window_blocks, lanes)
        rows = order(np.arange(n))
        assert rows.dtype == np.int64
        assert np.array_equal(np.sort(rows), np.arange(n))
        first, last = sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))
        assert np.array_equal(order(np.arange(first, last)), rows[first:last])
        some = np.arange(first, last, 3)
        assert np.array_equal(order(some), rows[some])

    @pytest.mark.parametrize("shuffle", ["block", "full", False])
    @pytest.mark.parametrize("lanes", [1, 2])
    def test_rows_that_were_given_stay_when_more_are_asked_for(self, shuffle, lanes):
        """Also of long windows, several of which a slice may touch."""
        lanes = 1 if shuffle == "full" else lanes
        order = plan(Blocks.uniform(40_000, 3000), shuffle, lanes=lanes)
        given, more = order(np.arange(30_000)), np.arange(30_000, 40_000)
        before, positions = given.copy(), more.copy()
        order(positions)
        assert np.array_equal(given, before)
        assert np.array_equal(positions, more)
        assert len(np.unique(given)) == len(given)

    @SETTINGS
    @given(blocks=segments(), window_blocks=st.integers(1, 12))
    def test_a_window_holds_whole_blocks_and_each_block_is_in_one_window(
        self, blocks, window_blocks
    ):
        rows = plan(blocks, window_blocks=window_blocks)(np.arange(blocks.total_rows))
        edges = np.unique(blocks.edges())
        sizes = np.diff(edges)
        block_of = np.searchsorted(edges, rows, side="right") - 1
        count = -(-blocks.count // window_blocks)
        widths = []
        while len(block_of):
            left = count - len(widths)
            width = -(-len(set(block_of.tolist())) // left)
            window = sizes[list(dict.fromkeys(block_of.tolist()))[:width]].sum()
            members = set(block_of[:window].tolist())
            window = sizes[list(members)].sum()
            assert not members & set(block_of[window:].tolist())
            assert set(block_of[:window].tolist()) == members
            widths.append(len(members))
            block_of = block_of[window:]
        assert len(widths) == count
        assert max(widths, default=0) <= window_blocks
        assert max(widths, default=0) - min(widths, default=0) <= 1

    @pytest.mark.parametrize("count, widths", [(65, [33, 32]), (64 * 9 + 1, [58] * 7 + [57] * 3)])
    def test_the_end_of_an_epoch_is_mixed_like_its_start(self, count, widths):
        """One block more than whole windows leaves no window of one block."""
        n = count * 10
        block_of = plan(Blocks.uniform(n, 10), window_blocks=64)(np.arange(n)) // 10
        ends = np.cumsum(widths) * 10
        found = [len(np.unique(part)) for part in np.split(block_of, ends[:-1])]
        assert found == widths
        assert len(np.unique(block_of[-50:])) > 20

    @pytest.mark.parametrize("shuffle", ["block", "full"])
    def test_seeds_and_epochs_give_other_orders(self, shuffle):
        blocks = Blocks.uniform(500, 10)
        orders = {
            tuple(plan(blocks, shuffle, seed, epoch)(np.arange(500)).tolist())
            for seed in range(4)
            for epoch in range(4)
        }
        assert len(orders) == 16

    def test_without_shuffle_the_file_order(self):
        assert plan(Blocks.uniform(9, 2), False)(np.arange(9)).tolist() == list(range(9))

    def test_lanes_take_turns_and_have_their_own_blocks(self):
        blocks = Blocks.uniform(400, 10)
        rows = plan(blocks, lanes=4)(np.arange(400))
        lanes = [set((rows[lane::4] // 10).tolist()) for lane in range(4)]
        assert sorted(block for lane in lanes for block in lane) == list(range(40))
        assert [len(lane) for lane in lanes] == [10] * 4

    def test_a_billion_rows_of_uneven_files(self):
        blocks = Blocks(rows=(10**9 - 7, 12345), block_rows=(341, 341))
        order = plan(blocks, window_blocks=64)
        last = blocks.total_rows - 1000
        rows = order(np.arange(last, blocks.total_rows))
        assert len(np.unique(rows)) == 1000
        assert rows.max() < blocks.total_rows

    def test_a_window_of_all_blocks_asks_for_no_table_of_them(self):
        order = plan(Blocks.uniform(10**12, 100), window_blocks=10**10)
        rows = order(np.arange(1000))
        assert len(np.unique(rows // 100)) > 990

    def test_windows_between_two_positions_cost_no_memory(self):
        order = plan(Blocks.uniform(10**13, 1), window_blocks=1)
        first, last = order(np.array([0, 10**13 - 1])).tolist()
        assert first != last
        assert (order(np.array([0])), order(np.array([10**13 - 1]))) == (first, last)

    def test_positions_beyond_32_bits(self):
        n, size = 1 << 34, 1 << 20
        order = plan(Blocks.uniform(n, size), False, lanes=2)
        positions = np.array([0, 1, 2 * size, (1 << 33) + 1, n - 2, n - 1])
        rows = order(positions).tolist()
        assert rows == [0, size, 2 * size, (1 << 33) + size, n - size - 1, n - 1]


class TestPinned:
    """These numbers change only with ORDER_VERSION: saved positions depend on them."""

    def test_version(self):
        assert ORDER_VERSION == 1

    @pytest.mark.parametrize(
        "n, shuffle, seed, epoch, lanes, expected",
        [
            (10, "full", 0, 0, 1, [2, 0, 8, 6, 7, 9]),
            (1000, "full", 0, 0, 1, [562, 977, 292, 301, 337, 544]),
            (
                10**9,
                "full",
                1,
                2,
                1,
                [925062138, 997743833, 556829135, 498169014, 368362704, 217269504],
            ),
            (
                10**12,
                "full",
                2**63,
                5,
                1,
                [
                    791002670012,
                    128272530279,
                    434396399080,
                    385757647849,
                    343324670962,
                    451971227834,
                ],
            ),
            (1003, "block", 0, 0, 1, [828, 694, 710, 628, 660, 780]),
            (1003, "block", 0, 1, 4, [249, 720, 694, 12, 402, 812]),
            (
                10**9,
                "block",
                7,
                0,
                1,
                [605794838, 12706605, 22397408, 605794850, 111664534, 12706629],
            ),
            (1603, "block", 3, 0, 1, [900, 764, 1221, 1286, 905, 1278]),
            (1003, False, 0, 0, 2, [0, 100, 1, 101, 2, 102]),
        ],
    )
    def test_first_rows(self, n, shuffle, seed, epoch, lanes, expected):
        blocks = Blocks.uniform(n, 100)
        rows = plan(blocks, shuffle, seed, epoch, 4, lanes)(np.arange(6))
        assert rows.tolist() == expected

    def test_the_third_windows_of_two_lanes(self):
        order = plan(Blocks.uniform(400, 10), window_blocks=2, lanes=2)
        expected = [142, 220, 350, 244, 357, 223, 146, 249]
        assert order(np.arange(100, 108)).tolist() == expected

    def test_a_window_of_more_rows_than_32_bits_number(self):
        order = plan(Blocks.uniform(10**12, 100), window_blocks=10**10)
        assert order(np.arange(3)).tolist() == [216128983222, 453328570066, 160649310385]

    def test_uneven_segments_split_and_draws(self):
        blocks = Blocks(rows=(25, 7, 40), block_rows=(10, 10, 4))
        assert plan(blocks)(np.arange(60, 66)).tolist() == [4, 59, 56, 7, 55, 63]
        assert split(10, 0.7, seed=3)[1].tolist() == [2, 5, 8]
        order = draw_order(np.cumsum(np.arange(10.0)), seed=0, epoch=0)
        assert order(np.arange(8)).tolist() == [5, 3, 9, 6, 4, 8, 6, 5]


class TestDraws:
    def test_rows_come_as_often_as_their_weights_say(self):
        weights = np.array([0.0, 1, 2, 0, 3, 4, 0])
        drawn = draw_order(np.cumsum(weights), seed=0, epoch=0)(np.arange(100_000))
        counts = np.bincount(drawn, minlength=7)
        expected = weights * 10_000
        assert counts[weights == 0].sum() == 0
        present = expected > 0
        chi_square = ((counts - expected)[present] ** 2 / expected[present]).sum()
        assert chi_square < 20

    def test_a_draw_depends_on_its_position_alone(self):
        order = draw_order(np.cumsum(np.ones(50)), seed=1, epoch=3)
        assert np.array_equal(order(np.arange(100))[40:60], order(np.arange(40, 60)))

    def test_the_smallest_weights(self):
        order = draw_order(np.cumsum([0, 5e-324, 0]), seed=0, epoch=0)
        assert set(order(np.arange(1000)).tolist()) == {1}


class TestSplit:
    @SETTINGS
    @given(n=st.integers(0, 2000), fraction=st.floats(0, 1), seed=st.integers(0, 2**64 - 1))
    def test_disjoint_complete_ascending(self, n, fraction, seed):
        whole = fraction in (0, 1) or n == 0
        assume(whole or n > 1)  # one row in two parts is refused
        first, second = split(n, fraction, seed)
        nearest = round(fraction * n)
        assert len(first) == (nearest if whole else min(max(nearest, 1), n - 1))
        assert first.dtype == second.dtype == np.int64
        assert (np.diff(first) > 0).all()
        assert (np.diff(second) > 0).all()
        assert np.array_equal(np.sort(np.append(first, second)), np.arange(n))
        assert np.array_equal(split(n, fraction, seed)[0], first)

    @pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan"), "a"])
    def test_a_fraction_outside_is_refused(self, fraction):
        with pytest.raises(ValueError, match=r"expected .* from 0 to 1"):
            split(10, fraction, seed=0)
