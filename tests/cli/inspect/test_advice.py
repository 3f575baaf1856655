"""Advice is a pure function of what is known of an array."""

from dataclasses import replace

import pytest
from inspected import stored

from npdata.cli.arguments import convert_command
from npdata.cli.inspect.advice import advise
from npdata.cli.inspect.report import Chunks, Cost, Sample, Stored
from npdata.sources.base import Access
from npdata.sources.hdf5.examine.creation_properties import Filter

SLAB = 256 << 20
GZIP = (Filter(id=1, values=(4,), name="deflate"),)


def compressed(rows: int, **changes: object) -> Stored:
    """The same, in chunks of so many rows with gzip."""
    chunks = Chunks(
        shape=(rows, 28, 28), bytes=rows * 784, grid=(-(-1_000_000 // rows), 1, 1), stored=1
    )
    made = stored(
        layout="chunked",
        access="decoded",
        chunks=chunks,
        filters=GZIP,
        decoded_per_used=Cost(full=rows * (1 - SLAB / 784_000_000), block=1.0),
    )
    if "access" in changes:
        changes["access"] = Access(kind=changes["access"], reason="")
    return replace(made, **changes)


def member() -> Stored:
    """The same, compressed in a zip."""
    return stored(access="decoded", layout="C order", filters=GZIP)


def advice(known: Stored) -> str:
    return "\n".join(advise(known, where="d.h5::x", budget=SLAB))


def test_rows_that_lie_in_place_need_no_advice() -> None:
    assert advice(stored()) == ""
    assert advice(stored(layout="C order")) == ""


def test_random_rows_of_compressed_chunks_cost_whole_chunks() -> None:
    text = advice(compressed(4096))
    assert "chunks of 4,096 rows: a batch of 256 random rows decodes up to" in text
    assert "for 201 kB used" in text
    assert 'shuffle="block"' in text
    assert "npdata convert d.h5::x d-x.npy" in text


def test_a_batch_decodes_no_more_than_what_the_chunk_cache_does_not_hold() -> None:
    known = compressed(4096)
    assert "decodes up to 518 MB for 201 kB used" in advice(known)
    costly = replace(known, decoded_per_used=Cost(full=400.0, block=1.0))
    assert "decodes up to 80.3 MB for 201 kB used" in advice(costly)


def test_a_dataset_that_fits_the_chunk_cache_is_decoded_once_in_any_order() -> None:
    assert advice(compressed(4096, decoded_per_used=Cost(full=1.02, block=1.02))) == ""


def test_a_cache_that_does_not_hold_two_blocks_is_to_be_larger() -> None:
    tight = "\n".join(advise(compressed(4096), where="d.h5::x", budget=100_000))
    assert "do not hold two: set it to 12845056, or convert it to a .npy" in tight


def test_rows_that_large_chunks_cut_are_left_as_they_are() -> None:
    cut = Chunks(shape=(1, 1 << 20), bytes=1 << 20, grid=(99, 40), stored=99 * 40)
    assert advice(stored(shape=(99, 40 << 20), layout="chunked", chunks=cut)) == ""
    finer = replace(cut, shape=(1, 1 << 19), bytes=1 << 19, grid=(99, 80))
    text = advice(stored(shape=(99, 40 << 20), layout="chunked", chunks=finer))
    assert "each row lies in 80 chunks, a batch of 256 rows in up to 7,920; larger chunks" in text


def test_commands_for_several_arrays_do_not_collide() -> None:
    places = ("d.h5::train/x", "d.h5::test/x", "e.h5::test/x", "d.npy")
    assert len({convert_command(where, ".npy").split()[-1] for where in places}) == 4


def test_what_h5py_reads_is_advised_to_be_converted() -> None:
    assert "h5py reads it" in advice(stored(access="library", layout="compact"))
    chunked = compressed(100, access="library", decoded_per_used=Cost(full=1.0, block=1.0))
    assert "h5py reads it" in advice(chunked)
    # A window of many chunks is decoded anew for every batch by h5py, which keeps hardly any.
    shuffled = advice(compressed(4096, access="library"))
    assert "random rows decodes" in shuffled
    assert "by h5py, one thread at a time" in shuffled
    assert "shuffle=" not in shuffled


def test_rows_cut_by_chunks_and_tiny_chunks_are_named() -> None:
    cut = Chunks(shape=(1000, 7, 7), bytes=49_000, grid=(1000, 4, 4), stored=16_000)
    text = advice(stored(layout="chunked", chunks=cut))
    assert "each row lies in 16 chunks, a batch of 256 rows in up to 4,096" in text
    tiny = Chunks(shape=(1, 28, 28), bytes=784, grid=(1_000_000, 1, 1), stored=1_000_000)
    text = advice(compressed(1, chunks=tiny, decoded_per_used=Cost()))
    assert "1,000,000 chunks hold 784 B each" in text


def test_fortran_order_scatters_a_row() -> None:
    text = "".join(advise(stored(layout="Fortran order"), where="a b/x.npy", budget=SLAB))
    assert "784 pages" in text
    assert "npdata convert 'a b/x.npy' 'a b/x-rows.npy'" in text
    assert advice(stored(layout="Fortran order", shape=(2_000_000, 1))) == ""


def test_a_compressed_member_is_decoded_whole_in_every_process() -> None:
    assert "every process that reads it decodes all 784 MB" in advice(member())


@pytest.mark.parametrize("known", [compressed(4096), stored(access="library")])
def test_small_arrays_and_those_that_make_no_tensor_get_no_advice(known: Stored) -> None:
    assert advice(replace(known, shape=(1000, 28, 28))) == ""
    refused = Sample(kind="refused", reason="", dtype=None)
    assert advice(replace(known, sample=refused)) == ""
