"""What the chunks of an HDF5 file cost, from 4 rows to 4096: uncompressed and gzip, beside h5py."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

import npdata
from benchmarks.harness import Bench, Candidate, rates
from benchmarks.page_cache import warm
from benchmarks.report import Cell, Chart, Column, Section, Table
from benchmarks.timing import in_turns
from npdata.cli.bench.candidate import require_same
from npdata.cli.bench.methods import sorted_read

WIDTH, BATCH, SECONDS, CHECKED = 784, 256, 0.5, 4
SIZES = (4, 16, 64, 256, 1024, 4096)
KINDS = {"plain": "full", "gzip": "block"}
NAMES = tuple(
    f"{who}, {kind}, {shuffle} shuffle"
    for kind, shuffle in KINDS.items()
    for who in ("npdata Loader", "h5py")
)


def write(path: Path, x: np.ndarray, chunk: int) -> None:
    """Write the rows in chunks of so many, plain and compressed."""
    chunks = (chunk, WIDTH)
    with h5py.File(path, "w") as file:
        file.create_dataset("plain", data=x, chunks=chunks)
        file.create_dataset("gzip", data=x, chunks=chunks, compression=1, shuffle=True)
    warm(path)


def by_npdata(path: Path, kind: str, sampler: list[np.ndarray]) -> Callable[[], Iterable[Tensor]]:
    """Open the file anew for each pass, so that no chunk is decoded yet."""
    return lambda: npdata.Loader(npdata.NumpyDataset(f"{path}::{kind}"), sampler=sampler)


def by_h5py(path: Path, kind: str, sampler: list[np.ndarray]) -> Callable[[], Iterable[Tensor]]:
    """Read batches by h5py's sorted fancy indexing."""

    def batches() -> Iterator[Tensor]:
        with h5py.File(path) as file:
            for rows in sampler:
                yield torch.from_numpy(sorted_read(file[kind], rows))

    return batches


def one_size(path: Path, rows: int, chunk: int, rounds: int) -> tuple[Cell, ...]:
    """Check and time all of a chunk size; gives rows a second in the order of `NAMES`."""
    cells: list[Cell] = []
    for kind, shuffle in KINDS.items():
        sampler = list(npdata.BlockBatchSampler(rows, BATCH, shuffle=shuffle, block_rows=chunk))
        candidates = [
            Candidate(name="npdata", batches=by_npdata(path, kind, sampler)),
            Candidate(name="h5py", batches=by_h5py(path, kind, sampler)),
        ]
        require_same(candidates, batches=CHECKED)
        timings = in_turns(candidates, rounds=rounds, seconds=SECONDS)
        cells += [rates(timing) for timing in timings.values()]
    return tuple(cells)


def run(bench: Bench, sizes: tuple[int, ...] = SIZES, rows: int = 40_000) -> list[Section]:
    """Measure, and give the section of the report."""
    x = np.random.default_rng(0).integers(0, 256, (rows, WIDTH)).astype(np.float32) / 256
    table = []
    for chunk in sizes[1::2] if bench.quick else sizes:
        path = bench.folder / f"{chunk}.h5"
        write(path, x, chunk)
        table.append((float(chunk), *one_size(path, rows, chunk, bench.rounds)))
        path.unlink()
    columns = (
        Column(name="rows a chunk", format=",.0f"),
        *(Column(name=name, format=",.0f") for name in NAMES),
    )
    chart = Chart(kind="lines", file="bench-chunks.svg", x="rows a chunk", y="rows/s", series=NAMES)
    return [
        Section(
            name="chunks",
            title="HDF5: speed by size of a chunk",
            note=f"Rows/s, {rows:,} rows of 3 KiB, batches of {BATCH}; gzip is level 1 with "
            f"shuffle. A pass opens the file and ends after {SECONDS} s or an epoch. h5py reads "
            "by sorted fancy indexing.",
            table=Table(columns=columns, rows=tuple(table)),
            charts=(chart,),
        )
    ]
