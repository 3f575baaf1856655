"""From figures to advice, without a measurement."""

import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npdata.cli.bench.advice import advise, alike
from npdata.cli.bench.command import notes
from npdata.cli.bench.methods import methods_of
from npdata.cli.bench.report import Conditions, Figure, Method, Report
from npdata.cli.main import main
from npdata.dataset.describe import FieldDescription
from npdata.dataset.numpy_dataset import NumpyDataset

GB = 10**9


def field(access="mapped", row_bytes=3136, rows=200_000):
    return FieldDescription(
        name=0,
        where="x",
        shape=(rows, row_bytes // 4),
        dtype=np.dtype("f4"),
        tensor_dtype=None,
        access=access,
        access_reason="so",
        conversion="view",
        conversion_reason="so",
        row_bytes=row_bytes,
    )


def conditions(access="mapped", *, row_bytes=3136, rows=200_000, file_bytes=GB, batch=256, shm=GB):
    return Conditions(
        paths=("d.h5::x",),
        rows=rows,
        row_bytes=row_bytes,
        fields=(field(access, row_bytes, rows),),
        block_rows=4096,
        batch_size=batch,
        hdf5=True,
        raw=None,
        file_bytes=file_bytes,
        memory_bytes=16 * GB,
        cores=2,
        shared_bytes=shm,
    )


def report(about, *, block, full, threads=None, spread=0.01, rounds=3):
    """Give a report where `Loader, 0 threads` has these rates, and another 1,000,000.

    `threads` is how many times as fast it is with two; every figure has this spread.
    """
    passes = (1.0, 1 - spread, 1 + spread)[:rounds]
    rates = {"sequential": block, "block": block, "full": full}
    figures = []
    for order, rate in rates.items():
        methods = {
            Method(kind="plain", name="h5py, row by row"): 100,
            Method(kind="dataloader", name="DataLoader, 0 workers"): rate * 0.9,
            Method(kind="loader", name="Loader, 0 threads"): rate,
            Method(kind="h5py", name="h5py, sorted batches"): 1_000_000,
        }
        if threads is not None:
            methods[Method(kind="loader", name="Loader, 2 threads", helpers=2)] = rate * threads
        figures += [
            Figure(order=order, method=method, passes=tuple(each * p for p in passes))
            for method, each in methods.items()
        ]
    return Report(
        conditions=about,
        rows_measured=about.rows,
        rounds=rounds,
        pass_seconds=1.0,
        seconds=1.0,
        figures=tuple(figures),
    )


def text(advice):
    return "\n".join([advice.code, *advice.sentences])


@pytest.mark.parametrize(("rounds", "told"), [(1, True), (2, False)])
def test_a_single_pass_is_said_to_have_no_spread(rounds, told):
    found = report(conditions(), block=10, full=10, rounds=rounds)
    assert ("a single pass gives no ±" in next(notes(found))) is told


def test_every_rate_is_a_part_of_the_fastest_of_all_orders():
    found = report(conditions(), block=2_000_000, full=900_000)
    assert max(map(found.of_fastest, found.figures)) == 1
    assert found.of_fastest(found.best("full")) == 0.45


def test_a_full_shuffle_that_costs_little_is_taken():
    assert 'shuffle="full"' in advise(report(conditions(), block=100_000, full=90_000)).code


def test_a_slow_full_shuffle_gives_way_to_blocks():
    advice = advise(report(conditions(), block=100_000, full=50_000))
    assert 'shuffle="block"' in advice.code
    assert "2.0 times as fast" in advice.sentences[0]


@pytest.mark.parametrize(("spread", "rounds"), [(0.15, 3), (0.01, 1)])
def test_of_two_shuffles_that_cannot_be_told_apart_the_simpler_is_taken(spread, rounds):
    found = report(conditions(), block=100_000, full=77_000, spread=spread, rounds=rounds)
    advice = advise(found)
    assert 'shuffle="full"' in advice.code
    assert "within 30%, less than can be told apart: either will do" in advice.sentences[0]


def test_a_large_difference_counts_even_in_a_single_pass():
    assert (
        'shuffle="block"' in advise(report(conditions(), block=100_000, full=30_000, rounds=1)).code
    )


@pytest.mark.parametrize("threads", [1.05, 0.97])
def test_threads_that_make_no_sure_difference_are_left_to_the_loader(threads):
    about = conditions(row_bytes=8)
    found = report(about, block=10_000, full=10_000, threads=threads, spread=0.1)
    assert "num_threads" not in advise(found).code
    assert "with threads or without is within" in text(advise(found))
    assert "either will do (" in text(advise(found))


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=5), st.floats(0.01, 100))
def test_what_differs_does_so_from_both_sides_and_nothing_from_itself(rates, factor):
    one, other = (figure([rate * f for rate in rates]) for f in (1, factor))
    assert alike(one, one).startswith("within 1%")
    assert alike(one, other) == alike(other, one)
    apart = max(one.rate / other.rate, other.rate / one.rate) - 1
    if len(rates) > 1 and abs(apart - 2 * one.spread) > 1e-6:
        assert (alike(one, other) is None) == (apart > 2 * one.spread)


def figure(rates):
    method = Method(kind="loader", name="Loader")
    return Figure(order="full", method=method, passes=tuple(rates))


def test_threads_that_were_not_tried_are_not_judged():
    advice = advise(report(conditions(), block=100_000, full=100_000))
    assert "num_threads" not in advice.code
    assert "threads were not measured" in text(advice)


def test_hopeless_chunks_are_to_be_converted():
    advice = advise(report(conditions("decoded"), block=100_000, full=1_000))
    assert "npdata convert d.h5::x d-x.npy" in advice.sentences[-1]
    assert "4,096 rows" in advice.sentences[-1]
    assert "627 MB" in advice.sentences[-1]


def test_the_advised_conversion_runs_as_printed_and_is_not_advised_again(in_folder, capsys):
    with h5py.File("d.h5", "w") as file:
        file.create_dataset("x", data=np.ones((5000, 9)), chunks=(50, 9), compression=1)
    (sentence,) = (
        each
        for each in advise(report(conditions("decoded"), block=100_000, full=1_000)).sentences
        if "npdata convert" in each
    )
    assert main(shlex.split(sentence[sentence.index("npdata convert") :])[1:]) == 0
    (target,) = Path().glob("*.npy")
    access = NumpyDataset(target).describe().fields[0].access
    assert "convert" not in text(advise(report(conditions(access), block=100_000, full=1_000)))


@pytest.mark.parametrize(("access", "full"), [("mapped", 1_000), ("decoded", 50_000)])
def test_nothing_is_converted_where_that_would_not_help(access, full):
    assert "convert" not in text(advise(report(conditions(access), block=100_000, full=full)))


def test_files_larger_than_memory_are_read_in_blocks_from_the_disk():
    advice = advise(report(conditions(file_bytes=100 * GB), block=100_000, full=100_000))
    assert 'shuffle="block"' in advice.code
    assert "the files have 100 GB and the free memory 16 GB" in text(advice)


def test_threads_that_help_are_named():
    code = advise(report(conditions(), block=100_000, full=100_000, threads=1.5)).code
    assert "num_threads=2" in code


def test_small_batches_are_read_in_the_caller():
    about = conditions(row_bytes=8)
    advice = advise(report(about, block=100_000, full=100_000, threads=0.3))
    assert "num_threads=0" in advice.code


def test_threads_that_only_hide_the_reading_are_kept_and_the_reason_given():
    advice = advise(report(conditions(), block=100_000, full=100_000, threads=0.5))
    assert "num_threads" not in advice.code
    assert "in a loop that does nothing but load, num_threads=0 is faster" in text(advice)


def test_one_batch_leaves_nothing_to_choose():
    about = conditions(rows=100, batch=100)
    assert advise(report(about, block=1, full=1)).sentences[0].startswith("all rows are one batch")


def test_workers_are_left_out_where_shared_memory_is_too_small():
    methods, left_out = methods_of(conditions(shm=1_000_000), helpers=2)
    assert not any(method.name == "DataLoader, 2 workers" for method in methods)
    assert "4.01 MB of shared memory, of which 1 MB are free" in left_out[0]


def test_without_helpers_nothing_is_left_out():
    methods, left_out = methods_of(conditions("library"), helpers=0)
    assert left_out == []
    assert all(method.helpers == 0 for method in methods)
