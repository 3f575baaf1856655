"""The default window fits the memory for decoded chunks; `describe()` counts what is decoded."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from processes import run
from torch.utils.data import DataLoader

from npdata import BlockBatchSampler, NumpyDataset
from npdata.errors import WindowWarning
from npdata.sampling.order.recipe import Recipe

BUDGET = 1 << 20
ROWS = 6400
LAYOUTS = [
    *(((64,), chunk) for chunk in ((1, 64), (20, 64), (33, 64), (20, 32))),
    *(((16, 16), chunk) for chunk in ((33, 16, 16), (20, 8, 16))),
    *(((8, 8, 4), chunk) for chunk in ((1, 8, 8, 4), (20, 4, 8, 4))),
]
"""Rows of one to three axes, in chunks of one row or many, of whole rows or of parts."""


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPDATA_CACHE_BYTES", str(BUDGET))


def write(path: Path, row: tuple[int, ...], chunk: tuple[int, ...], rows: int = ROWS) -> str:
    with h5py.File(path, "w") as file:
        data = np.arange(rows * int(np.prod(row)), dtype=np.float32).reshape(rows, *row)
        file.create_dataset("x", data=data, chunks=chunk, compression="gzip", compression_opts=1)
    return f"{path}::x"


SMALL, FOR_TWO = 1 << 16, 1 << 18
"""Memory for chunks. Four batches fit into the smaller: two threads read blocks of more at once."""
SMALL_ROWS = 1600
READ = """
import json
import sys
import numpy as np
from torch.utils.data import DataLoader, get_worker_info
from npdata import BlockBatchSampler, Loader, NumpyDataset, collate
from npdata.cli.inspect.examine import examine

def counted(samples):
    (source,) = get_worker_info().dataset.sources
    return collate(samples), get_worker_info().id, source.decoded_chunks

def loaded(place, threads):
    with NumpyDataset(place) as ds:
        rows = [batch.reshape(len(batch), -1)[:, 0] for batch in
                Loader(ds, 16, shuffle="block", num_threads=threads)]
        count = ds.sources[0].decoded_chunks
        assert (np.sort(np.concatenate(rows)) == ds[:].reshape(len(ds), -1)[:, 0].numpy()).all()
        return count

def read(place):
    decoded = {"Loader 0": loaded(place, 0)}
    with NumpyDataset(place) as ds:
        for _ in DataLoader(ds, batch_sampler=BlockBatchSampler(ds, 16), collate_fn=collate):
            pass
        decoded["DataLoader"] = ds.sources[0].decoded_chunks
    with NumpyDataset(place) as ds:
        for _, worker, count in DataLoader(ds, batch_sampler=BlockBatchSampler(ds, 16),
                                           collate_fn=counted, num_workers=2):
            decoded[f"worker {worker}"] = count
        (dataset,) = examine(place.partition("::")[0], None).datasets
        cost = dataset.stored.decoded_per_used.block
        return {"decoded": decoded, "described": str(ds.describe()), "inspected": cost}

if __name__ == "__main__":
    threads, *places = sys.argv[1:]
    way = read if threads == "0" else lambda place: loaded(place, int(threads))
    print(json.dumps([way(place) for place in places]))
"""


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Read all layouts in two processes; the memory of the first holds 2 to 256 blocks."""
    folder = tmp_path_factory.mktemp("layouts")
    places = [write(folder / f"{k}.h5", *each, SMALL_ROWS) for k, each in enumerate(LAYOUTS)]
    one, two = (
        _read(threads, places, NPDATA_CACHE_BYTES=str(memory))
        for threads, memory in (("0", SMALL), ("2", FOR_TWO))
    )
    return [
        {**each, "decoded": {**each["decoded"], "Loader 2": count}}
        for each, count in zip(one, two, strict=True)
    ]


def _read(threads: str, places: list[str], **variables: str) -> list[Any]:
    done = run(READ, threads, *places, **variables)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("layout", range(len(LAYOUTS)), ids=map(str, LAYOUTS))
def test_each_chunk_is_decoded_as_often_as_described(
    layout: int, readings: list[dict[str, Any]]
) -> None:
    (row, chunk), reading = LAYOUTS[layout], readings[layout]
    inspected = reading["inspected"]
    chunk_bytes, row_bytes = int(np.prod(chunk)) * 4, int(np.prod(row)) * 4
    used = SMALL_ROWS * row_bytes
    cost = {way: count * chunk_bytes / used for way, count in reading["decoded"].items()}
    described = re.search(r"(up to )?([\d.e+]+) by blocks", reading["described"])
    assert described is not None
    assert float(described[2]) == pytest.approx(inspected, rel=0.01)
    block_bytes = -(-row[0] // chunk[1]) * chunk_bytes
    fits = 2 * block_bytes <= SMALL
    assert bool(described[1]) is not fits
    once = -(-SMALL_ROWS // chunk[0]) * block_bytes / used
    assert inspected == (pytest.approx(once) if fits else pytest.approx(chunk[0], rel=0.1))
    for way in ("Loader 0", "DataLoader"):
        assert cost[way] == pytest.approx(once, rel=0.1) or (cost[way] < inspected and not fits)
    # Where the machine is busy, a thread that falls behind decodes some chunks again.
    assert 0.9 * once <= cost["Loader 2"] <= 1.5 * once
    # Each worker reads every second batch, and decodes a chunk once for as many as it has of it.
    assert max(cost["worker 0"], cost["worker 1"]) <= 1.1 * once
    assert cost["DataLoader"] == pytest.approx(once)


@pytest.mark.usefixtures("small_budget")
def test_the_default_is_a_quarter_of_the_memory(tmp_path: Path) -> None:
    ds = NumpyDataset(write(tmp_path / "d.h5", (64,), (20, 64)))
    block = 20 * 64 * 4
    assert BUDGET // block == 204
    assert ds.rows_in_memory == 204 * 20
    assert BlockBatchSampler(ds, 8).state_dict()["window_blocks"] == 51
    parts = NumpyDataset(write(tmp_path / "parts.h5", (64,), (20, 32)))
    assert BlockBatchSampler(parts, 8).state_dict()["window_blocks"] == 51
    assert BlockBatchSampler(ds, 8, block_rows=20).state_dict()["window_blocks"] == 64
    for rows_of_a_block, window in ((2, 64), (2000, 1)):
        some = NumpyDataset(write(tmp_path / "some.h5", (64,), (rows_of_a_block, 64)))
        assert BlockBatchSampler(some, 8).state_dict()["window_blocks"] == window


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
    BlockBatchSampler(ds, 8, shuffle="full", window_blocks=60)
    BlockBatchSampler(ds, 8, weights=np.ones(ROWS), window_blocks=60)


def test_memory_that_holds_all_or_needs_no_decoding_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [write(tmp_path / f"{rows}.h5", (64,), (rows, 64)) for rows in (1, 100)]
    for memory in (2 * BUDGET, ROWS * 64 * 4):
        monkeypatch.setenv("NPDATA_CACHE_BYTES", str(memory))
        for data in (np.zeros((ROWS, 4)), *places):
            sampler = BlockBatchSampler(NumpyDataset(data), 8)
            assert sampler.state_dict()["window_blocks"] == 64


@pytest.mark.usefixtures("small_budget")
@pytest.mark.parametrize(("window", "workers", "fewer"), [(51, 2, 25), (2, 60, 1), (1, 60, None)])
def test_workers_share_the_memory(
    tmp_path: Path, window: int, workers: int, fewer: int | None
) -> None:
    ds = NumpyDataset(write(tmp_path / "d.h5", (16, 16), (20, 16, 16)))
    recipe = Recipe.of(ds, shuffle="block", seed=0, window_blocks=window)
    assert recipe.window.held == 51
    if fewer is None:
        recipe.window.warn_of_workers(workers)
    else:
        with pytest.warns(WindowWarning, match=rf"of {workers} .* use window_blocks={fewer}, "):
            recipe.window.warn_of_workers(workers)


@pytest.mark.parametrize(("workers", "warned"), [(0, False), (1, False), (4, False), (5, True)])
def test_workers_whose_windows_do_not_fit_give_one_warning_and_the_same_order(
    tmp_path: Path, small_budget: None, workers: int, warned: bool
) -> None:
    ds = NumpyDataset(write(tmp_path / "x.h5", (64,), (20, 64)))
    sampler = BlockBatchSampler(ds, 640, seed=3)
    window = sampler.state_dict()["window_blocks"]
    loader = DataLoader(ds, batch_sampler=sampler, collate_fn=len, num_workers=workers)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [sum(loader) for _ in range(2)] == [ROWS] * 2
    messages = [str(each.message) for each in caught if each.category is WindowWarning]
    assert len(messages) == warned
    if warned:
        assert re.search(
            rf"each of 5 DataLoader workers decodes windows of {window} blocks", messages[0]
        )
        fewer = int(re.search(r"use window_blocks=(\d+), ", messages[0])[1])  # type: ignore[index]
        assert fewer == 204 // workers
        again = BlockBatchSampler(ds, 640, window_blocks=fewer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", WindowWarning)
            next(iter(DataLoader(ds, batch_sampler=again, collate_fn=len, num_workers=workers)))
    assert sampler.state_dict()["window_blocks"] == window
