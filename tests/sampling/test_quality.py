"""The figures of a shuffle: known ends of the scale, and windows in between."""

import numpy as np
import pytest

from npdata.arrays.blocks import Blocks
from npdata.sampling.order.block_layout import BlockLayout
from npdata.sampling.order.epoch_order import plan_order
from npdata.sampling.quality import shuffle_quality

N = 20_000
LABELS = np.repeat(np.arange(10), N // 10)


def quality(shuffle, window_blocks=1):
    order = plan_order(
        N,
        shuffle=shuffle,
        seed=0,
        epoch=0,
        layout=BlockLayout.of(Blocks.uniform(N, 100)),
        window_blocks=window_blocks,
    )
    return shuffle_quality(order(np.arange(N)), LABELS, batch_size=100)


def test_file_order_is_at_the_bottom():
    found = quality(False)
    assert found.displacement == 0
    assert found.neighbours == pytest.approx(1)
    assert found.label_entropy == 0


def test_a_full_shuffle_is_at_the_top():
    found = quality("full")
    assert found.displacement == pytest.approx(1, abs=0.02)
    assert found.neighbours == pytest.approx(0, abs=0.03)
    assert found.label_entropy == pytest.approx(1, abs=0.005)


def test_wider_windows_are_better():
    found = [quality("block", width) for width in (1, 4, 16, 64, 200)]
    entropies = [one.label_entropy for one in found]
    assert entropies == sorted(entropies)
    assert entropies[0] < 0.05
    assert entropies[-1] == pytest.approx(1, abs=0.01)
    assert found[0].neighbours > found[2].neighbours > found[4].neighbours


def test_without_labels_there_is_no_entropy():
    assert shuffle_quality([1, 0]).label_entropy is None


def test_one_label_is_as_mixed_as_it_can_be():
    assert shuffle_quality([1, 0, 2], labels=["a", "a", "a"]).label_entropy == 1


def test_strings_and_a_subset_of_the_rows():
    found = shuffle_quality([4, 0, 2], labels=np.array(list("abcab")), batch_size=2)
    assert found.label_entropy > 0


def test_a_subset_is_measured_like_a_file_of_its_rows():
    rows = np.arange(5000, 9000, 2)
    assert shuffle_quality(rows) == shuffle_quality(np.arange(2000))
    mixed = np.random.default_rng(0).permutation(2000)
    assert shuffle_quality(rows[mixed]) == shuffle_quality(mixed)


def test_one_row_over_and_over_is_in_file_order():
    found = shuffle_quality([3, 3, 3, 3], labels=np.arange(4))
    assert (found.displacement, round(found.neighbours, 6)) == (0, 1)


@pytest.mark.parametrize("order", [[], [1], [[0, 1]], [0.0, 1.0]])
def test_what_is_no_order_is_refused(order):
    with pytest.raises(ValueError, match="expected one dimension of at least 2 integers"):
        shuffle_quality(order)


def test_too_few_labels_are_refused():
    with pytest.raises(ValueError, match="expected one for each row up to 3"):
        shuffle_quality([0, 3], labels=[1, 2])
