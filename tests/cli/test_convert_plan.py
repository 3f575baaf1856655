"""What a conversion decides before it writes: chunks, blocks, memory, and refusals."""

import math
import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npdata.cli.console import UsageError, byte_size
from npdata.cli.convert.hdf5_writer import Hdf5Writer
from npdata.cli.convert.plan import (
    BETWEEN_FILTERS,
    COPIES,
    ENCODING,
    LARGEST_ROW,
    RUNTIME_BYTES,
    WAITING,
    ConvertError,
    chunk_shape,
    make_plan,
)
from npdata.cli.convert.writer import Array, NpyWriter, NpzWriter, RawWriter, npy_header

PLENTY = 1 << 80


def spec(shape: tuple[int, ...] = (100, 3), dtype: object = "f4", **more: object) -> Array:
    about = {"name": "x", "where": "x.npy", "shape": shape, "dtype": np.dtype(dtype)}
    return Array(**(about | more))


def plan(*arrays: Array, target: type = Hdf5Writer, cores: int = 4, **options: object):
    asked = {"chunks": None, "compression": None, "memory": 512_000_000} | options
    free = asked.pop("free", PLENTY)
    return make_plan(arrays, target, **asked, cores=cores, free_bytes=free)


@given(
    shape=st.lists(st.integers(1, 3000), min_size=1, max_size=4).map(tuple),
    itemsize=st.sampled_from([1, 2, 4, 8, 16]),
)
def test_chunks_are_whole_rows_of_about_a_mebibyte(shape: tuple[int, ...], itemsize: int) -> None:
    chunk = chunk_shape("auto", "x", shape, itemsize)
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
    source_rows=st.integers(1, 1 << 20),
    chunk=st.integers(0, 1 << 29),
    stored=st.integers(0, 1 << 29),
    target=st.sampled_from([Hdf5Writer, NpyWriter]),
    compression=st.sampled_from([None, 0]),
    verify=st.booleans(),
)
def test_all_that_is_in_memory_at_one_time_fits_or_the_error_names_what_would_do(
    rows: int,
    row: int,
    cores: int,
    memory: int,
    source_rows: int,
    chunk: int,
    stored: int,
    target: type,
    compression: int | None,
    verify: bool,
) -> None:
    one = spec((rows, row), "u1", source_rows=source_rows, chunk_bytes=chunk, decoding_bytes=stored)
    asked = {"target": target, "cores": cores, "verify": verify}
    asked["compression"] = compression if target.compresses else None
    try:
        made = plan(one, memory=memory, **asked)
    except UsageError as error:
        enough = byte_size(re.search(r"--memory (\d+MB) would do", str(error))[1])
        assert memory < enough
        memory, made = enough, plan(one, memory=enough, **asked)
    (array,) = made.arrays
    readers = max(1, made.threads)
    blocks = made.threads + WAITING if made.threads else 1
    written = 0
    if array.chunk_shape and array.compression is not None:
        written = math.prod(array.chunk_shape)
    used = RUNTIME_BYTES + made.cache_bytes
    used += COPIES * blocks * array.block_rows * row + readers * ENCODING * written
    slot, decoding = chunk, stored
    if verify:
        slot, decoding = max(chunk, written), max(stored, (1 + BETWEEN_FILTERS) * written)
    if slot:
        # The cache decodes on all cores but one, beside those that read.
        assert made.cache_bytes >= slot
        decoders = min(readers + max(1, cores - 1), made.cache_bytes // slot)
        used += decoders * decoding
    assert used <= memory
    if array.chunk_shape is not None:
        assert array.block_rows % array.chunk_shape[0] == 0


def test_where_memory_is_short_one_block_is_read_and_written_before_the_next() -> None:
    made = plan(spec((10, 100 << 20), "u1"), target=NpyWriter)
    assert (made.threads, made.arrays[0].block_rows) == (0, 1)


@pytest.mark.parametrize(
    "more, least",
    [
        ({"chunk_bytes": 315_000_000, "decoding_bytes": 700_000_000}, 1296),
        ({"held_bytes": 10**9}, 1281),
        ({"shape": (5, 10**9)}, 2281),
    ],
)
def test_too_little_memory_is_refused_and_taken_where_none_was_named(
    more: dict[str, object], least: int
) -> None:
    one = spec(**({"shape": (5, 10), "dtype": "u1", "where": "d.h5::/x"} | more))
    with pytest.raises(UsageError) as refused:
        plan(one, target=NpyWriter)
    assert "--memory 512 MB is too little: d.h5::/x takes" in str(refused.value)
    assert abs(int(re.search(r"--memory (\d+)MB would do", str(refused.value))[1]) - least) <= 1
    assert plan(one, target=NpyWriter, memory=None)


def test_a_member_that_is_read_back_whole_counts_as_memory() -> None:
    one = spec((5, 10**8), "u1")
    assert plan(one, target=NpzWriter, compression=0)
    with pytest.raises(UsageError, match=r"takes 980 MB in all"):
        plan(one, target=NpzWriter, compression=0, verify=True)


def test_the_disk_must_have_room_for_what_is_not_compressed() -> None:
    with pytest.raises(ConvertError, match=r"take 1\.2 kB, and the disk has 1 kB free"):
        plan(spec((100, 3)), free=1000)
    assert plan(spec((100, 3)), free=1000, compression=0).nbytes == 1200


@pytest.mark.parametrize(
    "target, dtype",
    [
        (NpyWriter, ml_dtypes.bfloat16),
        (NpzWriter, ml_dtypes.float8_e5m2),
        (NpyWriter, "O"),
        (Hdf5Writer, ml_dtypes.bfloat16),
        (Hdf5Writer, "U5"),
        (Hdf5Writer, "M8[s]"),
        (Hdf5Writer, "S0"),
        (RawWriter, "O"),
    ],
)
def test_a_dtype_that_the_target_cannot_hold_is_refused(target: type, dtype: object) -> None:
    with pytest.raises(ConvertError, match=r"x\.npy \(.*\) does not fit"):
        plan(spec(dtype=dtype), target=target)


@pytest.mark.parametrize("dtype", ["U5", "M8[s]", "m8[ns]", "V3", "g", ">c16"])
def test_a_npy_holds_what_numpy_holds(dtype: str) -> None:
    assert plan(spec(dtype=dtype), target=NpyWriter).nbytes


@pytest.mark.parametrize(
    "target, options, message",
    [
        (NpyWriter, {"chunks": (3,)}, "--chunks is for HDF5"),
        (RawWriter, {"compression": 4}, "--compression is for HDF5 and .npz"),
        (Hdf5Writer, {"compression": 4, "chunks": "none"}, "needs chunks"),
        (Hdf5Writer, {"chunks": (3, 2, 1)}, "has 3 sizes, and x has the shape"),
    ],
)
def test_options_that_mean_nothing_are_refused(target: type, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(spec(), target=target, **options)


@pytest.mark.parametrize(
    "names, target, message",
    [
        (("x", "x"), NpzWriter, "two arrays would be named 'x'"),
        (("x", "x.npy"), NpzWriter, "two arrays would be named 'x'"),
        (("x", "y"), NpyWriter, "holds one array, and 2 were given; .* of 'x', 'y'"),
    ],
)
def test_names_that_cannot_be_are_refused(
    names: tuple[str, ...], target: type, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan(*(spec(name=name) for name in names), target=target)


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
