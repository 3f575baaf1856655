"""Advice is a pure function of what is known of an array."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from npdata.cli.inspect.advice import advise, batch_decodes
from npdata.cli.inspect.report import Chunks, Cost, Facts, FilterUse

SLAB = 256 << 20
GZIP = (FilterUse(id=1, name="deflate", values=(4,), decoder="isal"),)


def facts(**changes: object) -> Facts:
    """A million images of 784 bytes, in one piece."""
    plain = Facts(
        shape=(1_000_000, 28, 28),
        dtype=np.dtype("u1"),
        stored_bytes=784_000_000,
        layout="contiguous",
        access="mapped",
        access_reason="",
        sample="view",
        sample_reason="",
        tensor_dtype=torch.uint8,
    )
    return replace(plain, **changes)


def compressed(rows: int, **changes: object) -> Facts:
    """The same, in chunks of so many rows with gzip."""
    chunks = Chunks(
        shape=(rows, 28, 28), nbytes=rows * 784, grid=(-(-1_000_000 // rows), 1, 1), stored=1
    )
    made = facts(
        layout="chunked",
        access="decoded",
        chunks=chunks,
        filters=GZIP,
        cost=Cost(full=rows * (1 - SLAB / 784_000_000), block=1.0),
    )
    return replace(made, **changes)


def advice(known: Facts) -> str:
    return "\n".join(advise(known, where="d.h5::x", budget=SLAB))


def test_rows_that_lie_in_place_need_no_advice() -> None:
    assert advice(facts()) == ""
    assert advice(facts(layout="C order")) == ""


def test_random_rows_of_compressed_chunks_cost_whole_chunks() -> None:
    text = advice(compressed(4096))
    assert "chunks of 4,096 rows: a batch of 256 random rows decodes" in text
    assert "for 201 kB used" in text
    assert 'shuffle="block"' in text
    assert "npdata convert d.h5::x x.npy" in text


def test_a_batch_decodes_each_chunk_once_and_what_the_slab_holds_not_at_all() -> None:
    one = replace(compressed(4096), chunks=replace(compressed(4096).chunks, grid=(1, 1, 1)))
    assert batch_decodes(one, budget=0) == 4096 * 784
    many = compressed(1)
    assert batch_decodes(many, budget=0) == pytest.approx(256 * 784, rel=1e-3)
    assert batch_decodes(many, budget=784_000_000) == 0
    assert batch_decodes(many, budget=392_000_000) == pytest.approx(128 * 784, rel=1e-3)
    assert batch_decodes(facts(), budget=0) == 0


def test_a_dataset_that_fits_the_slab_is_decoded_once_in_any_order() -> None:
    assert advice(compressed(4096, cost=Cost(full=1.02, block=1.02))) == ""


def test_a_window_that_the_slab_cannot_hold_is_made_smaller() -> None:
    assert "window_blocks" not in advice(compressed(4096))
    assert "window_blocks=34, so that a window fits the 268 MB" in advice(compressed(10_000))
    few = advice(compressed(100_000))
    assert "window_blocks=3," in few
    assert "mix badly" in few
    assert "npdata convert d.h5::x x.h5 --compression gzip" in few


def test_what_h5py_reads_is_told_to_be_converted() -> None:
    assert "h5py reads it" in advice(facts(access="library", layout="compact"))
    chunked = compressed(100, access="library", cost=Cost(full=1.0, block=1.0))
    assert "h5py reads it" in advice(chunked)
    # A window of many chunks is decoded anew for every batch by h5py, which keeps hardly any.
    shuffled = advice(compressed(4096, access="library"))
    assert "random rows decodes" in shuffled
    assert "by h5py, one thread at a time" in shuffled
    assert "shuffle=" not in shuffled


def test_rows_cut_by_chunks_and_tiny_chunks_are_named() -> None:
    cut = Chunks(shape=(1000, 7, 7), nbytes=49_000, grid=(1000, 4, 4), stored=16_000)
    text = advice(facts(layout="chunked", chunks=cut))
    assert "each row lies in 16 chunks, a batch of 256 rows in up to 4,096" in text
    tiny = Chunks(shape=(1, 28, 28), nbytes=784, grid=(1_000_000, 1, 1), stored=1_000_000)
    text = advice(compressed(1, chunks=tiny, cost=Cost()))
    assert "1,000,000 chunks hold 784 B each" in text


def test_fortran_order_scatters_a_row() -> None:
    text = "".join(advise(facts(layout="Fortran order"), where="a b/x.npy", budget=SLAB))
    assert "784 pages" in text
    assert "npdata convert 'a b/x.npy' 'a b/x-rows.npy'" in text
    assert advice(facts(layout="Fortran order", shape=(2_000_000, 1))) == ""


def test_a_compressed_member_is_decoded_whole_in_every_process() -> None:
    member = facts(
        access="decoded", layout="C order", filters=(FilterUse(id=None, name="deflate"),)
    )
    assert "every process that reads it decodes all 784 MB" in advice(member)


@pytest.mark.parametrize("known", [compressed(4096), facts(access="library")])
def test_small_arrays_and_those_that_make_no_tensor_get_no_advice(known: Facts) -> None:
    assert advice(replace(known, shape=(1000, 28, 28))) == ""
    assert advice(replace(known, sample="refused")) == ""
