"""The copy kernel: rows of any array, as NumPy selects them."""

import numpy as np
import pytest
import torch
from few import few
from hypothesis import given
from hypothesis import strategies as st
from kinds import misaligned

from npdata.arrays import gather
from npdata.arrays.cores import without_threads
from npdata.arrays.dtypes import NATIVE
from npdata.arrays.gather import ByteRows, RowTable, copy_spans
from npdata.arrays.values import copy_values, extremes, numpy_casts
from npdata.runtime.per_process import this_process

BASE = np.arange(7 * 4 * 3).reshape(7, 4, 3)
ARRAYS = {
    "contiguous": BASE,
    "words": np.arange(7),
    "one byte": np.arange(7, dtype=np.uint8),
    "Fortran order": np.asfortranarray(BASE),
    "every second row": np.repeat(BASE, 2, axis=0)[::2],
    "reversed": BASE[::-1],
    "columns": BASE[:, 1:3, ::2],
    "columns, byte-swapped": BASE.astype(">i8")[:, 1:3, ::2],
    "misaligned": misaligned(BASE),
    "complex beside a float": np.array(
        [(k * 1j, k) for k in range(7)], [("c", "c16"), ("f", "f8")]
    )["c"],
    "byte-swapped": BASE.astype(">i8"),
    "overlapping windows": np.lib.stride_tricks.sliding_window_view(np.arange(10), 4),
    "overlapping windows, swapped": np.lib.stride_tricks.sliding_window_view(
        np.arange(10, dtype=">i4"), 4
    ),
    "broadcast": np.broadcast_to(np.arange(3), (7, 3)),
    "records": np.zeros(7, [("a", "i4"), ("b", "S3")]),
    "a field of records": np.zeros(7, [("a", "i1"), ("b", "<f4")])["b"],
    "text": np.array(["a", "bc", "", "d", "e", "f", "g"]),
    "bytes": np.array([b"a", b"bc", b"", b"d", b"e", b"f", b"g"]),
    "objects": np.array([None, 1, "a", 2, 3, 4, 5]),
    "datetimes": np.arange(7).astype("M8[s]"),
    "no columns": np.zeros((7, 0)),
    "complex": np.arange(7) * 1j,
}


@pytest.mark.parametrize("forked", [False, True])
@pytest.mark.parametrize("name", ARRAYS)
def test_gathered_rows_are_what_numpy_selects(
    name: str, forked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = ARRAYS[name]
    if forked:
        leave_threads_behind(monkeypatch)

    @few((name, forked))
    @given(st.lists(st.integers(0, 6), max_size=12))
    def check(rows: list[int]) -> None:
        indices = np.array(rows, np.int64)
        out = np.zeros((len(rows), *array.shape[1:]), array.dtype)
        RowTable.of(array).gather(indices, out)
        assert out.tolist() == array[indices].tolist()

    check()


def leave_threads_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process seem forked, with more than one thread for torch."""
    monkeypatch.setattr(this_process, "forked", True)
    monkeypatch.setattr("npdata.arrays.gather.torch.get_num_threads", lambda: 2)


@pytest.mark.parametrize("case", ["contiguous", "Fortran order", "overlapping windows", "columns"])
def test_ordinary_arrays_go_through_the_kernel(case: str) -> None:
    assert RowTable.of(ARRAYS[case]).typed


@pytest.mark.parametrize("case", ["misaligned", "complex beside a float", "a field of records"])
def test_torch_is_given_no_words_that_are_misaligned(case: str) -> None:
    assert not RowTable.of(ARRAYS[case]).typed


def test_preparing_copies_nothing() -> None:
    table = RowTable.of(BASE)
    assert table.view is not None
    assert table.view.data_ptr() == BASE.ctypes.data


def test_memory_that_may_not_be_written_is_only_read() -> None:
    rows = np.frombuffer(bytes(range(12)), np.uint8).reshape(4, 3)
    out = np.empty((2, 3), np.uint8)
    RowTable.of(rows).gather(np.array([3, 0]), out)
    assert out.tolist() == [[9, 10, 11], [0, 1, 2]]


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("forked", [False, True])
@pytest.mark.parametrize("row", [7, -1, 1 << 40, -(1 << 63)])
def test_the_kernel_itself_refuses_rows_outside(
    array: np.ndarray, row: int, forked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if forked:
        leave_threads_behind(monkeypatch)
    table = RowTable.of(array)
    if table.view is None:
        return
    indices = np.array([0, row, 6] * 100)
    out = np.zeros((300, *array.shape[1:]), array.dtype)
    with pytest.raises(IndexError):
        table.gather(indices, out)


@pytest.mark.parametrize("row", [1000, 40_000])
@pytest.mark.parametrize("on_one_core", [False, True])
def test_rows_of_bytes_are_the_same_on_one_core_and_on_all(row: int, on_one_core: bool) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        data = np.random.default_rng(0).integers(0, 256, 90_000, np.uint8)
        starts = np.random.default_rng(1).integers(0, len(data) - row + 1, 99)
        out = np.zeros((99, row), np.uint8)
        gather = ByteRows.of(data, row).gather
        without_threads(gather, starts, out) if on_one_core else gather(starts, out)
    finally:
        torch.set_num_threads(threads)
    assert (out == data[starts[:, None] + np.arange(row)]).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_rows_are_the_same_without_other_threads(order: str, dtype: type) -> None:
    data = np.arange(200 * 1000).astype(dtype).reshape(200, 1000, order=order)
    rows = np.random.default_rng(0).integers(0, 200, 99)
    table, out = RowTable.of(data), np.zeros((99, 1000), dtype)
    without_threads(table.gather, rows, out)
    assert (out == data[rows]).all()
    made = torch.zeros(99, 1000, dtype=table.view.dtype)
    without_threads(table.select, rows, made)
    assert (made.numpy().view(dtype) == data[rows]).all()


@pytest.mark.parametrize("count", [0, 1, 500, 501, 1000, 1001])
@pytest.mark.parametrize("row", [1023, 1024, 1 << 15])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "<u2, misaligned"])
def test_any_number_of_long_rows_is_gathered_on_one_core(count: int, row: int, dtype: str) -> None:
    dtype, _, place = dtype.partition(", ")
    data = np.random.default_rng(0).integers(0, 256, (50, row)).astype(dtype)
    data = misaligned(data) if place else data
    rows = np.random.default_rng(1).integers(0, 50, count)
    table, out = RowTable.of(data), np.zeros((count, row), dtype)
    assert table.typed == (dtype == "u1")
    without_threads(table.gather, rows, out)
    assert (out == data[rows]).all()
    few = table.few(rows)
    assert few is None or (few == data[rows]).all()


@pytest.mark.parametrize(
    "name", ["contiguous", "words", "misaligned", "Fortran order", "no columns"]
)
def test_runs_are_touched_wherever_they_lie(name: str) -> None:
    starts, stops = np.array([0, 0, 7, 3, 6]), np.array([0, 7, 7, 4, 7])
    RowTable.of(ARRAYS[name]).touch_runs(starts, stops)


def test_spans_of_which_some_are_empty_are_copied_end_to_end() -> None:
    memory = np.arange(9, dtype=np.uint8)
    begins, ends = np.array([0, 7, 9, -5]), np.array([0, 9, 9, -5])
    out = np.empty(2, np.uint8)
    copy_spans(memory, begins, ends, out)
    assert out.tolist() == [7, 8]


@pytest.mark.parametrize("forked", [False, True])
def test_values_are_cast_with_and_without_threads(
    forked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if forked:
        leave_threads_behind(monkeypatch)
    source = torch.arange(100_000, dtype=torch.int64).view(50, 2000)
    assert torch.equal(copy_values(source, torch.empty(50, 2000)), source.float())
    alone = without_threads(copy_values, source, torch.empty(50, 2000))
    assert torch.equal(alone, source.float())


@pytest.mark.parametrize("stored", [name for name in NATIVE if np.dtype(name).kind in "biu"])
def test_numpy_casts_where_torch_gives_the_same_numbers(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather.torch, "get_num_threads", lambda: 2)  # so that NumPy casts
    bounds = np.iinfo(stored) if stored != "bool" else None
    ends = [0, 1] if bounds is None else [bounds.min, bounds.max, bounds.max // 2 + 1, 77]
    source = torch.from_numpy(np.resize(np.array(ends, stored), 33_000))
    for wanted in NATIVE:
        dtype = getattr(torch, wanted)
        holds = wanted in ("float32", "float64") and np.can_cast(stored, wanted)
        assert numpy_casts(source.dtype, dtype) == (np.dtype(wanted).kind in "biu" or holds)
        assert torch.equal(copy_values(source, torch.empty(33_000, dtype=dtype)), source.to(dtype))


def test_rows_that_numpy_gathers_lie_in_their_own_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather.torch, "get_num_threads", lambda: 2)  # so that NumPy gathers
    array = np.asfortranarray(np.arange(300 * 30 * 20, dtype=np.int16).reshape(300, 30, 20))
    rows = np.arange(0, 300, 3)
    few = RowTable.of(array).few(rows)
    assert few is not None
    assert few.flags.c_contiguous
    assert (few == array[rows]).all()


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("size", [5, 40_000, 200_000])
@pytest.mark.parametrize("dtype", ["float8_e5m2", "float16", "bfloat16", "float32", "float64"])
def test_the_extremes_of_floats_are_found_on_any_number_of_cores(
    dtype: str, size: int, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather.torch, "get_num_threads", lambda: 2)
    values = torch.zeros(size, dtype=getattr(torch, dtype))
    values[-1], values[0] = 64, -8
    columns = values.view(5, -1).T
    for each in (values, columns):
        found = without_threads(extremes, each) if alone else extremes(each)
        assert (min(found), max(found)) == (-8, 64)
    values[-2] = torch.nan
    assert np.isnan(without_threads(extremes, values) if alone else extremes(values)).any()
