"""What each kind of source gives, in full and in block shuffle."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import npdata
from benchmarks.harness import Bench, Candidate, rates
from benchmarks.page_cache import warm
from benchmarks.report import Chart, Column, Section, Table
from benchmarks.timing import in_turns
from npdata.cli.bench.candidate import require_same

WIDTH, BATCH, BLOCK, SECONDS, CHECKED = 784, 256, 256, 0.7, 20
FULL, BLOCKS = "full shuffle", "block shuffle"


def write(folder: Path, rows: int) -> dict[str, npdata.NumpyDataset]:
    """Write the same rows in every form, and open each."""
    x = np.random.default_rng(0).integers(0, 256, (rows, WIDTH)).astype(np.float32) / 256
    np.save(folder / "x.npy", x)
    np.savez(folder / "stored.npz", x=x)
    x.tofile(folder / "x.bin")
    chunks = (BLOCK, WIDTH)
    with h5py.File(folder / "x.h5", "w") as file:
        file["contiguous"] = x
        file.create_dataset("chunked", data=x, chunks=chunks)
        file.create_dataset("gzip", data=x, chunks=chunks, compression=4, shuffle=True)
        file.create_dataset("lzf", data=x, chunks=chunks, compression="lzf")
    for path in folder.iterdir():
        warm(path)
    hdf5 = {
        f"HDF5, {name}": npdata.NumpyDataset(f"{folder}/x.h5::{name}")
        for name in ("contiguous", "chunked", "gzip", "lzf")
    }
    return {
        "array in memory": npdata.NumpyDataset(x),
        ".npy": npdata.NumpyDataset(folder / "x.npy"),
        ".npz, stored": npdata.NumpyDataset(f"{folder}/stored.npz::x"),
        "raw": npdata.NumpyDataset.from_raw(folder / "x.bin", dtype="float32", shape=(-1, WIDTH)),
        **hdf5,
    }


def passes(dataset: npdata.NumpyDataset, sampler: list[np.ndarray]) -> Callable[[], Iterable[Any]]:
    return lambda: npdata.Loader(dataset, sampler=sampler)


def run(bench: Bench, rows: int = 100_000) -> list[Section]:
    """Measure, and give the section of the report."""
    datasets = write(bench.folder, rows)
    found = {}
    for shuffle, title in (("full", FULL), ("block", BLOCKS)):
        sampler = list(
            npdata.BlockBatchSampler(rows, BATCH, shuffle=shuffle, block_rows=BLOCK)  # type: ignore[arg-type]
        )
        candidates = [
            Candidate(name=name, batches=passes(dataset, sampler))
            for name, dataset in datasets.items()
        ]
        require_same(candidates, batches=CHECKED)
        found[title] = in_turns(candidates, rounds=bench.rounds, seconds=SECONDS)
    columns = (Column(name=""), Column(name=FULL), Column(name=BLOCKS))
    table = tuple(
        (name, *(rates(found[title][name]).scaled(WIDTH * 4 / 1e9) for title in (FULL, BLOCKS)))
        for name in datasets
    )
    chart = Chart(kind="bars", file="bench-sources.svg", x="", y="GB/s", series=(FULL, BLOCKS))
    return [
        Section(
            name="sources",
            title="Speed by source",
            note=f"GB/s of `npdata.Loader` as it is by default; {rows:,} rows of 3 KiB, "
            f"batches of {BATCH}, blocks and chunks of {BLOCK} rows. Decoded, they are more than "
            "the chunk cache holds, so a full shuffle decodes a chunk for about every row.",
            table=Table(columns=columns, rows=table),
            charts=(chart,),
        )
    ]
