"""What a conversion decides before it writes: chunks, blocks, memory, and refusals."""

import math
import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npdata.cli.arguments import byte_size
from npdata.cli.console import UsageError
from npdata.cli.convert.command import planned
from npdata.cli.convert.formats import NPY, NPZ, RAW, Array, ConvertError, Format, npy_header
from npdata.cli.convert.hdf5 import HDF5, LARGEST_ROW, chunk_shape
from npdata.cli.convert.transfer import CODING, COPIES, SPARE, WAITING, Pace, pace
from npdata.sources.base import Access, Source

RUNTIME = 248_000_000


class Rows(Source):
    """Rows of any number that nobody reads."""

    where = "x.npy"
    access = Access(kind="mapped", reason="")

    def __init__(self, shape: tuple[int, ...], dtype: object) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        raise NotImplementedError


def array(shape: tuple[int, ...] = (100, 3), dtype: object = "f4", **more: object) -> Array:
    return Array(**({"name": "x", "source": Rows(shape, dtype)} | more))


def paced(
    *arrays: Array,
    kind: Format = HDF5,
    level: int | None = None,
    memory: int | None = 512_000_000,
    verify: bool = False,
    cores: int = 4,
) -> tuple[list[Array], Pace]:
    stored = planned(arrays, kind, level=level)
    how = {"memory": memory, "runtime": RUNTIME, "verify": verify, "cores": cores}
    return stored, pace(stored, kind, **how)


@given(
    shape=st.lists(st.integers(1, 3000), min_size=1, max_size=4).map(tuple),
    itemsize=st.sampled_from([1, 2, 4, 8, 16]),
)
def test_chunks_are_whole_rows_of_about_a_mebibyte(shape: tuple[int, ...], itemsize: int) -> None:
    chunk = chunk_shape(None, "x", shape, itemsize)
    assert chunk is not None
    assert all(1 <= size <= length for size, length in zip(chunk, shape, strict=True))
    row = math.prod(shape[1:]) * itemsize
    if row > LARGEST_ROW:
        assert chunk[0] == 1
        assert math.prod(chunk) * itemsize <= LARGEST_ROW
    else:
        assert chunk[1:] == shape[1:]
        assert chunk[0] == min(shape[0], max(1, (1 << 20) // row))


@given(
    rows=st.integers(0, 1 << 40),
    row=st.integers(0, 1 << 26),
    cores=st.integers(1, 64),
    memory=st.integers(0, 4 << 30),
    chunk=st.integers(0, 1 << 29),
    kind=st.sampled_from([HDF5, NPY]),
    level=st.sampled_from([None, 0]),
    verify=st.booleans(),
)
def test_all_that_is_in_memory_at_one_time_fits_or_the_error_names_what_would_do(
    rows: int,
    row: int,
    cores: int,
    memory: int,
    chunk: int,
    kind: Format,
    level: int | None,
    verify: bool,
) -> None:
    one = array((rows, row), "u1", chunk_bytes=chunk)
    level = level if kind.compresses else None
    how = {"kind": kind, "level": level, "cores": cores, "verify": verify}
    try:
        (stored,), made = paced(one, memory=memory, **how)
    except UsageError as error:
        enough = byte_size(re.search(r"--memory (\d+MB) would do", str(error))[1])
        assert memory < enough
        memory, ((stored,), made) = enough, paced(one, memory=enough, **how)
    readers = max(1, made.threads)
    blocks = made.threads + WAITING if made.threads else 1
    block_rows = made.rows(stored)
    written = math.prod(stored.chunk_shape) if stored.chunk_shape and level is not None else 0
    used = RUNTIME + SPARE + made.cache_bytes + COPIES * blocks * block_rows * row
    used += readers * CODING * written
    decoded = max(chunk, written) if verify else chunk
    if decoded:
        # The cache decodes on all cores but one, beside those that read.
        assert made.cache_bytes >= decoded
        decoders = min(readers + max(1, cores - 1), made.cache_bytes // decoded, blocks)
        used += decoders * CODING * decoded
    assert used <= memory
    if stored.chunk_shape is not None:
        assert block_rows % stored.chunk_shape[0] == 0


def test_where_memory_is_short_one_block_is_read_and_written_before_the_next() -> None:
    one = array((10, 100 << 20), "u1")
    (stored,), made = paced(one, kind=NPY)
    assert (made.threads, made.rows(stored)) == (0, 1)


@pytest.mark.parametrize(
    "more, least",
    [({"chunk_bytes": 315_000_000}, 1604), ({"shape": (5, 10**9)}, 2344)],
)
def test_too_little_memory_is_refused_and_taken_where_none_was_named(
    more: dict[str, object], least: int
) -> None:
    one = array(**({"shape": (5, 10), "dtype": "u1"} | more))
    with pytest.raises(UsageError) as refused:
        paced(one, kind=NPY)
    assert "--memory 512 MB is too little: x.npy takes" in str(refused.value)
    assert abs(int(re.search(r"--memory (\d+)MB would do", str(refused.value))[1]) - least) <= 1
    assert paced(one, kind=NPY, memory=None)


def test_a_member_that_is_read_back_whole_counts_as_memory() -> None:
    one = array((5, 10**8), "u1")
    assert paced(one, kind=NPZ, level=0)
    with pytest.raises(UsageError, match=r"takes 996 MB in all"):
        paced(one, kind=NPZ, level=0, verify=True)


@pytest.mark.parametrize(
    "kind, dtype",
    [
        (NPY, ml_dtypes.bfloat16),
        (NPZ, ml_dtypes.float8_e5m2),
        (NPY, "O"),
        (HDF5, ml_dtypes.bfloat16),
        (HDF5, "U5"),
        (HDF5, "M8[s]"),
        (HDF5, "S0"),
        (RAW, "O"),
    ],
)
def test_a_dtype_that_the_target_cannot_hold_is_refused(kind: Format, dtype: object) -> None:
    with pytest.raises(ConvertError, match=r"x\.npy \(.*\) does not fit"):
        planned([array(dtype=dtype)], kind)


@pytest.mark.parametrize("dtype", ["U5", "M8[s]", "m8[ns]", "V3", "g", ">c16"])
def test_a_npy_holds_what_numpy_holds(dtype: str) -> None:
    assert planned([array(dtype=dtype)], NPY)


@pytest.mark.parametrize(
    "kind, options, message",
    [
        (NPY, {"chunks": (3,)}, "--chunks is for HDF5"),
        (RAW, {"level": 4}, "--compression is for HDF5 and .npz"),
        (HDF5, {"level": 4, "chunks": ()}, "needs chunks"),
        (HDF5, {"chunks": (3, 2, 1)}, "has 3 sizes, and x has the shape"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    kind: Format, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        planned([array()], kind, **options)


@pytest.mark.parametrize(
    "names, kind, message",
    [
        (("x", "x"), NPZ, "two arrays would be named 'x'.*; convert each to a file of its own"),
        (("x", "x.npy"), NPZ, "two arrays would be named 'x'"),
        (("x", "y"), NPY, "holds one array, and 2 were given; .* of 'x', 'y'"),
    ],
)
def test_names_that_cannot_be_are_refused(
    names: tuple[str, ...], kind: Format, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        planned([array(name=name) for name in names], kind)


@given(start=st.integers(0, 200), rows=st.integers(0, 1 << 40))
def test_a_header_ends_where_rows_are_aligned(start: int, rows: int) -> None:
    header = npy_header(np.dtype([("µ", "f4"), ("b", ">i2")]), (rows, 2), start)
    assert (start + len(header)) % 64 == 0


@pytest.mark.parametrize("names", [["a"], ["µ"], ["数", "据"], [f"f{k}" for k in range(9000)]])
def test_numpy_reads_the_header_of_any_version(tmp_path, names: list[str]) -> None:
    dtype = np.dtype([(name, "u1") for name in names])
    path = tmp_path / "x.npy"
    path.write_bytes(npy_header(dtype, (2,)) + bytes(2 * dtype.itemsize))
    read = np.load(path, max_header_size=1 << 20)
    assert (read.dtype, read.shape) == (dtype, (2,))
