"""What is compared gives the same rows, and its passes are counted right."""

import itertools

import numpy as np
import pytest
import torch

from npdata.cli.bench.contender import Contender, RowsDifferError, fingerprint, require_same
from npdata.cli.bench.timing import Pass, Timing, compare, in_turns, time_pass

X = torch.arange(24).reshape(4, 6)


def contender(*batches, name="it", lazy=False):
    return Contender(name=name, batches=lambda: iter(batches), lazy=lazy)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.bfloat16, torch.float64, torch.complex64]
)
def test_every_byte_counts(dtype):
    whole = torch.zeros(3, 5, dtype=dtype)
    seen = {fingerprint(whole)}
    for row, column in itertools.product(range(3), range(5)):
        other = whole.clone()
        other[row, column] = 1
        seen.add(fingerprint(other))
    assert len(seen) == 16


@pytest.mark.parametrize(
    "other", [X.to(torch.int32), X.reshape(6, 4), X.flip(0), X.flip(1), X[:3], X.T]
)
def test_other_dtypes_shapes_and_orders_differ(other):
    assert fingerprint(X) != fingerprint(other)


def test_the_wrapping_does_not_count_and_strides_do_not():
    assert fingerprint((X, X)) == fingerprint({"x": X, "y": [X]})
    assert fingerprint(X.T) == fingerprint(X.T.contiguous())
    assert fingerprint(X.reshape(-1)[::4][:1]) == fingerprint(X[0, :1])
    assert fingerprint([["a", "b"]]) != fingerprint([["a", "c"]])


def test_one_wrong_batch_is_named():
    right, wrong = contender(X, X, name="right"), contender(X, X + 1, name="wrong")
    with pytest.raises(RowsDifferError, match="wrong gives other rows than right in batch 1"):
        require_same([right, wrong])
    require_same([right, wrong], batches=1)


def test_a_missing_batch_is_told():
    with pytest.raises(RowsDifferError, match="short gives 1 batches, long gives 2"):
        require_same([contender(X, X, name="long"), contender(X, name="short")])


def test_nothing_is_timed_before_the_rows_agree():
    with pytest.raises(RowsDifferError):
        compare([contender(X, name="one"), contender(X + 1, name="two")])


def test_contenders_take_turns():
    names = [name for name, _ in in_turns([contender(X, name=n) for n in "abc"], rounds=2)]
    assert names == list("abcabc")


@pytest.mark.parametrize("lazy", [False, True])
def test_a_pass_counts_rows_apart_from_those_of_the_first_batch(lazy):
    one = time_pass(contender((X, X), (X[:3], X[:3]), lazy=lazy))
    assert (one.samples, one.first_samples) == (7, 4)
    assert 0 < one.first <= one.seconds


def test_a_pass_without_batches_has_no_rate():
    one = time_pass(contender())
    assert (one.samples, one.rate, one.steady_rate) == (0, 0.0, 0.0)


def test_an_endless_pass_ends_after_its_time():
    endless = Contender(name="endless", batches=lambda: itertools.repeat(X))
    assert time_pass(endless, seconds=0.001).samples % 4 == 0


def test_a_start_is_not_counted_in_the_steady_rate():
    slow_start = Pass(samples=110, seconds=11.0, first=10.0, first_samples=10)
    assert (slow_start.rate, slow_start.steady_rate) == (10.0, 100.0)


def test_the_figures_are_those_of_the_median_pass():
    seconds = [1.0, 4.0, 2.0]
    passes = [Pass(samples=8, seconds=s, first=s / 4, first_samples=8) for s in seconds]
    timing = Timing(name="it", passes=tuple(passes))
    assert (timing.median, timing.rate, timing.first) == (2.0, 4.0, 0.5)
    assert timing.spread == pytest.approx((8 - 2) / 2 / 4)


def test_comparing_gives_every_name_its_passes():
    found = compare([contender(X, name="a"), contender(X.clone(), name="b")], rounds=3)
    assert {name: len(timing.passes) for name, timing in found.items()} == {"a": 3, "b": 3}
    assert np.isfinite(found["a"].median)
