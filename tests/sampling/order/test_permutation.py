"""Permutations: one to one, undone, the same in any call, and evenly random."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npdata.sampling.order.permutation import ROUNDS, SMALL, Permutations, key_words

SETTINGS = settings(max_examples=60, derandomize=True, deadline=None)
SIZES = st.one_of(st.integers(1, 300), st.integers(1, 5000))


def many(family, values, **runs):
    """What it gives for runs of values, in numbers of their own."""
    return family.many(values, **runs).astype(np.int64)


def tables(size, members, *, seed=0):
    """Every value of many members: (members, size)."""
    values = np.tile(np.arange(size), members)
    result = many(
        Permutations.of(seed, 0, 0),
        values,
        sizes=np.full(members, size),
        members=np.arange(members),
        counts=np.full(members, size),
    )
    return result.reshape(members, size)


def deviation(counts):
    """How many standard deviations chi-square is from its mean, all counts as likely."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom)


class TestOneToOne:
    @SETTINGS
    @given(size=SIZES, seed=st.integers(0, 2**64 - 1))
    def test_every_value_once_and_undone(self, size, seed):
        family = Permutations.of(seed, 0, 1)
        values = np.arange(size)
        result = family.one(values, size)
        assert result.dtype == np.int64
        assert np.array_equal(np.sort(result), values)
        assert np.array_equal(family.undo_one(result, size), values)

    @pytest.mark.parametrize("size", [10**9, 2**32, 2**32 + 1, 10**12, 2**53])
    def test_large_sizes_stay_inside_and_are_undone(self, size):
        family = Permutations.of(3, 1, 1)
        values = np.unique(np.linspace(0, size - 1, 5000).astype(np.int64))
        result = family.one(values, size)
        assert result.min() >= 0
        assert result.max() < size
        assert len(np.unique(result)) == len(values)
        assert np.array_equal(family.undo_one(result, size), values)

    @SETTINGS
    @given(sizes=st.lists(SIZES, min_size=1, max_size=6))
    def test_a_run_gives_the_same_alone_as_among_others(self, sizes):
        family = Permutations.of(1, 2, 3)
        values = [np.arange(size) for size in sizes]
        numbers = np.arange(len(sizes)) + 5
        together = many(
            family,
            np.concatenate(values),
            sizes=np.array(sizes),
            members=numbers,
            counts=np.array(sizes),
        )
        alone = [
            many(
                family,
                value,
                sizes=np.array([len(value)]),
                members=numbers[k : k + 1],
                counts=np.array([len(value)]),
            )
            for k, value in enumerate(values)
        ]
        assert np.array_equal(together, np.concatenate(alone))

    def test_a_size_of_64_bits_among_small_ones(self):
        family = Permutations.of(1, 2, 3)
        values = np.array([5, 7, 2**33])
        result = many(
            family,
            values,
            sizes=np.array([10, 1000, 2**40]),
            members=np.array([0, 0, 0]),
            counts=np.array([1, 1, 1]),
        )
        expected = [family.one(values[k : k + 1], size)[0] for k, size in enumerate([10, 1000])]
        assert result[:2].tolist() == expected
        assert result[2] == family.one(values[2:], 2**40)[0]

    def test_a_long_run_of_a_huge_size_beside_a_long_run_of_a_tiny_one(self):
        family = Permutations.of(1, 2, 3)
        runs = [(np.arange(4096), 2**60), (np.tile(np.arange(8), 512), 8)]
        result = many(
            family,
            np.concatenate([values for values, _ in runs]),
            sizes=np.array([size for _, size in runs]),
            members=np.array([0, 0]),
            counts=np.array([len(values) for values, _ in runs]),
        )
        alone = [family.one(values, size) for values, size in runs]
        assert np.array_equal(result, np.concatenate(alone))

    def test_no_values(self):
        assert len(Permutations.of(0).one(np.zeros(0, np.int64), 5)) == 0
        assert len(Permutations.of(0).undo_one(np.zeros(0, np.int64), 5)) == 0


class TestEvenness:
    @pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
    def test_all_permutations_of_a_tiny_size_are_as_likely(self, size):
        found = tables(size, 100_000)
        codes = found @ size ** np.arange(size)
        kinds, counts = np.unique(codes, return_counts=True)
        assert len(kinds) == math.factorial(size)
        assert abs(deviation(counts)) < 5

    @pytest.mark.parametrize("size", [2, 3, 7, 16, SMALL, SMALL + 1, 150, 256, 257])
    def test_every_value_is_as_likely_at_every_position(self, size):
        """Over members of one family: all positions by all values."""
        members = 400_000 // size
        found = tables(size, members, seed=size)
        cells = np.bincount((np.arange(size) * size + found).ravel(), minlength=size * size)
        # The counts of a position sum to the members, of a value too: (size - 1)**2 are free.
        expected = members / size
        freedom = (size - 1) ** 2
        chi_square = ((cells - expected) ** 2 / expected).sum()
        assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)

    @pytest.mark.parametrize("size", [5, 130, 200])
    def test_every_value_is_as_likely_over_seeds_and_epochs(self, size):
        cells = np.zeros((size, size))
        for seed in range(60):
            for epoch in range(60):
                family = Permutations.of(seed, epoch, 1)
                cells[np.arange(size), family.one(np.arange(size), size)] += 1
        expected = 3600 / size
        freedom = (size - 1) ** 2
        assert abs(((cells - expected) ** 2 / expected).sum() - freedom) < 5 * math.sqrt(
            2 * freedom
        )

    @pytest.mark.parametrize("size", [SMALL, SMALL + 1, 144, 256, 1000, 1024])
    def test_the_difference_of_two_positions_is_as_likely_to_be_any(self, size):
        found = tables(size, 400_000 // size, seed=1)
        root = math.ceil(math.sqrt(size))
        for lag in (1, 2, 3, 4, 8, 16, root - 1, root, root + 1, 2 * root, size // 2):
            differences = (found[:, lag:] - found[:, :-lag]) % size
            counts = np.bincount(differences.ravel(), minlength=size)[1:]
            assert abs(deviation(counts)) < 6, lag

    def test_fewer_rounds_would_be_found_out(self):
        """The test above has the power to see a network that is too short."""
        whole = Permutations.of(1, 0, 0)
        short = Permutations(multipliers=whole.multipliers[:4], salts=whole.salts[:4])
        assert len(whole.multipliers) == ROUNDS
        size, members = 144, 2000
        found = many(
            short,
            np.tile(np.arange(size), members),
            sizes=np.full(members, size),
            members=np.arange(members),
            counts=np.full(members, size),
        ).reshape(members, size)
        differences = (found[:, 1:] - found[:, :-1]) % size
        assert deviation(np.bincount(differences.ravel(), minlength=size)[1:]) > 20

    @pytest.mark.parametrize("size", [10**6, 10**9, 10**12])
    def test_a_slice_of_a_large_size_spreads_over_all_of_it(self, size):
        found = Permutations.of(5, 0, 0).one(np.arange(200_000) + 12345, size)
        assert abs(deviation(np.bincount(found // -(-size // 100), minlength=100))) < 5
        assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.01


class TestKeys:
    def test_numbers_in_other_places_give_other_words(self):
        tuples = [
            (0, 1),
            (1, 0),
            (0, 0),
            (1, 1),
            (2**32, 0),
            (0, 2**32),
            (1, 2**32),
            (2**32 + 1, 0),
        ]
        words = {tuple(key_words(*numbers, count=2).tolist()) for numbers in tuples}
        assert len(words) == len(tuples)

    def test_words_are_even(self):
        words = Permutations.of(0, 0, 2).words(np.arange(100_000))
        for shift in (0, 29, 56):
            counts = np.bincount((words >> np.uint64(shift) & np.uint64(255)).astype(int))
            assert abs(deviation(counts)) < 5


@pytest.mark.parametrize(
    "size, expected",
    [
        (128, [45, 15, 68, 127]),
        (129, [26, 74, 35, 40]),
        (4096, [2518, 3965, 2787, 1941]),
        (4097, [800, 2197, 2282, 331]),
        (2**32, [742455405, 3690383224, 3892485818, 2447618443]),
        (2**32 + 1, [3366630584, 2144535816, 2619650286, 1798180796]),
    ],
)
def test_the_largest_size_of_each_kind_and_the_next_keep_their_order(
    size: int, expected: list[int]
) -> None:
    """Pinned: saved positions depend on it."""
    family = Permutations.of(3)
    found = family.one(np.arange(4), size)
    assert found.tolist() == expected
    assert family.undo_one(found, size).tolist() == [0, 1, 2, 3]
