"""Each rule by which a dataset is left to h5py, at its border, on layouts of real files."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from npdata import open_source
from npdata.sources.hdf5.examine import layout as layouts
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.examine.decide import LARGEST_CHUNK, USER_BLOCK_SINCE, decide
from npdata.sources.hdf5.examine.layout import Layout, read_layout_named

X = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("raw", data=X, chunks=(8, 3))
        file.create_dataset("packed", data=X, chunks=(8, 3), compression=1)
    return tmp_path / "d.h5"


def layout_of(path: Path, name: str) -> Layout:
    with h5py.File(path) as file:
        return read_layout_named(file, name)


def test_a_user_block_is_read_past_h5py_from_the_release_that_is_right_about_it(path: Path) -> None:
    layout = layout_of(path, "raw")
    for version, kind in ((USER_BLOCK_SINCE, "mapped"), ((1, 14, 3), "library")):
        facts = replace(layout.file, user_block=512, hdf5_version=version)
        assert decide(replace(layout, file=facts)).kind == kind


@pytest.mark.parametrize("place", [-1, 1 << 40])
@pytest.mark.parametrize("name", ["raw", "packed"])
def test_a_chunk_outside_the_file(path: Path, name: str, place: int) -> None:
    layout = layout_of(path, name)
    assert layout.chunks is not None
    assert layout.chunk_shape is not None
    table = ChunkTable.of(
        shape=layout.shape,
        chunk_shape=layout.chunk_shape,
        coordinates=np.array([[0, 0], [8, 0], [16, 0]]),
        offsets=[4096, place, 8192],
        sizes=layout.chunks.sizes.tolist(),
        masks=[0] * 3,
    )
    damaged = replace(layout, chunks=table)
    assert decide(damaged).reason == "a chunk lies outside the file"


@pytest.mark.parametrize(("mask", "kind"), [(0, "library"), (1, "decoded")])
def test_a_partial_chunk_of_raw_size_is_decoded_where_its_mask_says_that_it_is_raw(
    path: Path, mask: int, kind: str
) -> None:
    with h5py.File(path, "r+") as file:
        edge = np.zeros((8, 3), "f4")
        edge[:4] = X[16:]
        file["packed"].id.write_direct_chunk((16, 0), edge.tobytes(), filter_mask=mask)
    assert decide(layout_of(path, "packed")).kind == kind
    if kind == "decoded":
        out = np.empty_like(X)
        open_source(f"{path}::packed").read(np.arange(20), out)
        assert (out == X).all()


@pytest.mark.parametrize("name", ["raw", "packed"])
def test_a_fill_value_matters_only_where_a_chunk_is_missing(path: Path, name: str) -> None:
    layout = layout_of(path, name)
    assert layout.chunks is not None
    assert layout.chunks.complete
    assert decide(replace(layout, fill=None)).kind != "library"
    fewer = replace(layout.chunks, complete=False)
    assert "their fill value" in decide(replace(layout, fill=None, chunks=fewer)).reason


def test_a_chunk_that_is_too_large_to_keep(path: Path) -> None:
    layout = layout_of(path, "packed")
    rows = LARGEST_CHUNK // layout.row_bytes
    for more, kind in ((0, "decoded"), (1, "library")):
        large = replace(layout, chunk_shape=(rows + more, 3))
        assert decide(large).kind == kind, decide(large).reason


@pytest.mark.parametrize("name", ["raw", "packed"])
def test_an_h5py_that_cannot_list_chunks_reads_them_itself(
    path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "LISTS_CHUNKS", False)
    source = open_source(f"{path}::{name}")
    assert "cannot list its chunks" in source.access.reason
    out = np.empty((3, 3), np.float32)
    source.read(np.array([19, 0, 7]), out)
    assert (out == X[[19, 0, 7]]).all()
