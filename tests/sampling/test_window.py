"""The default window fits the memory for decoded chunks; `describe()` counts what is decoded."""

import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from processes import run

from npdata import BlockBatchSampler, NumpyDataset
from npdata.errors import WindowWarning

BUDGET = 1 << 20
ROWS = 6400
LAYOUTS = [
    (row, chunk)
    for row in ((64,), (16, 16), (8, 8, 4))
    for chunk in (
        (1, *row),
        (20, *row),
        (33, *row),
        (20, -(-row[0] // 2), *row[1:]),
    )
]
"""Twelve: rows of one to three axes, in chunks of one row or many, of whole rows or of parts."""


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPDATA_CACHE_BYTES", str(BUDGET))


def write(path: Path, row: tuple[int, ...], chunk: tuple[int, ...]) -> str:
    with h5py.File(path, "w") as file:
        data = np.arange(ROWS * int(np.prod(row)), dtype=np.float32).reshape(ROWS, *row)
        file.create_dataset("x", data=data, chunks=chunk, compression="gzip", compression_opts=1)
    return f"{path}::x"


@pytest.mark.parametrize("row, chunk", LAYOUTS)
def test_each_chunk_is_decoded_as_often_as_described(
    row: tuple[int, ...], chunk: tuple[int, ...], tmp_path: Path
) -> None:
    """In a process of its own, whose memory for decoded chunks is small."""
    place = write(tmp_path / "d.h5", row, chunk)
    code = f"""
import numpy as np
from npdata import Loader, NumpyDataset
ds = NumpyDataset({place!r})
loader = Loader(ds, 16, shuffle="block", num_threads=0)
rows = np.sort(np.concatenate([b.reshape(len(b), -1)[:, 0].numpy() for b in loader]))
assert (rows == np.arange(len(ds)) * {int(np.prod(row))}).all()
print(ds.describe())
print("decoded", ds.sources[0].decoded_chunks)
"""
    os.environ["NPDATA_CACHE_BYTES"] = str(BUDGET)
    try:
        done = run(code)
    finally:
        del os.environ["NPDATA_CACHE_BYTES"]
    assert done.returncode == 0, done.stderr
    decoded = int(done.stdout.split("decoded ")[-1])
    cost = re.search(r"([\d.e+]+) by blocks", done.stdout)
    assert cost is not None
    used = ROWS * int(np.prod(row)) * 4
    assert decoded * int(np.prod(chunk)) * 4 / used == pytest.approx(float(cost[1]), rel=0.02)


@pytest.mark.usefixtures("small_budget")
def test_the_default_is_a_quarter_of_the_memory(tmp_path: Path) -> None:
    ds = NumpyDataset(write(tmp_path / "d.h5", (64,), (20, 64)))
    block = 20 * 64 * 4
    assert BUDGET // block == 204
    assert ds.rows_in_memory == 204 * 20
    assert BlockBatchSampler(ds, 8).state_dict()["window_blocks"] == 51
    parts = NumpyDataset(write(tmp_path / "parts.h5", (64,), (20, 32)))
    assert BlockBatchSampler(parts, 8).state_dict()["window_blocks"] == 51


@pytest.mark.usefixtures("small_budget")
def test_fields_share_it(tmp_path: Path) -> None:
    x = write(tmp_path / "x.h5", (64,), (20, 64))
    both = NumpyDataset(x, write(tmp_path / "y.h5", (64,), (20, 64)))
    alone = NumpyDataset(x)
    assert both.rows_in_memory == alone.rows_in_memory // 2


@pytest.mark.usefixtures("small_budget")
def test_a_window_that_does_not_fit_gives_one_warning_with_the_figure(tmp_path: Path) -> None:
    ds = NumpyDataset(write(tmp_path / "d.h5", (16, 16), (20, 16, 16)))
    with pytest.warns(WindowWarning, match="window_blocks=60, but .* holds 51 blocks") as caught:
        sampler = BlockBatchSampler(ds, 8, window_blocks=60)
    assert len(caught) == 1
    assert sampler.state_dict()["window_blocks"] == 60
    BlockBatchSampler(ds, 8, window_blocks=51)


def test_memory_that_holds_all_or_needs_no_decoding_changes_nothing(tmp_path: Path) -> None:
    for data in (np.zeros((ROWS, 4)), write(tmp_path / "d.h5", (64,), (1, 64))):
        sampler = BlockBatchSampler(NumpyDataset(data), 8)
        assert sampler.state_dict()["window_blocks"] == 64
