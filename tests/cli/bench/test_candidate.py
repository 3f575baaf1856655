"""What is compared gives the same rows, and its passes are counted right."""

import itertools

import pytest
import torch

from npdata.cli.bench.candidate import (
    Candidate,
    Pass,
    RowsDifferError,
    fingerprint,
    require_same,
    time_pass,
)

X = torch.arange(24).reshape(4, 6)


def candidate(*batches, name="it"):
    return Candidate(name=name, batches=lambda: iter(batches))


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
    right, wrong = candidate(X, X, name="right"), candidate(X, X + 1, name="wrong")
    with pytest.raises(RowsDifferError, match="wrong gives other rows than right in batch 1"):
        require_same([right, wrong])
    require_same([right, wrong], batches=1)


def test_a_missing_batch_is_reported():
    with pytest.raises(RowsDifferError, match="short gives 1 batches, long gives 2"):
        require_same([candidate(X, X, name="long"), candidate(X, name="short")])


def test_a_pass_counts_rows_apart_from_those_of_the_first_batch():
    one = time_pass(candidate((X, X), (X[:3], X[:3])))
    assert (one.samples, one.first_samples) == (7, 4)
    assert 0 < one.first <= one.seconds


def test_a_pass_without_batches_has_no_rate():
    one = time_pass(candidate())
    assert (one.samples, one.rate, one.steady_rate) == (0, 0.0, 0.0)


def test_an_endless_pass_ends_after_its_time_and_its_batches():
    endless = Candidate(name="endless", batches=lambda: itertools.repeat(X))
    assert time_pass(endless, seconds=0.001).seconds >= 0.001
    assert time_pass(endless, seconds=0, batches=8).samples == 9 * 4
    assert time_pass(endless, seconds=9, batches=8, most_seconds=0).samples == 2 * 4


def test_reading_to_compare_gives_the_seconds_after_the_first_batch():
    spent = require_same([candidate(X, name="one"), candidate(X, name="other")])
    assert spent == [0, 0]
    (spent,) = require_same([candidate(X, X)])
    assert spent > 0


def test_a_start_is_not_counted_in_the_steady_rate():
    slow_start = Pass(samples=110, seconds=11.0, first=10.0, first_samples=10)
    assert (slow_start.rate, slow_start.steady_rate) == (10.0, 100.0)
