"""Opening a file of many datasets, and inspecting it, beside h5py's own look at them.

A look takes the least that anybody needs: shape, dtype, chunks and compression. Processor time, as
it is what a busy machine changes least; the candidates are timed in turns.
"""

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

import npdata
from benchmarks.harness import Bench
from benchmarks.report import Ratio, Section
from npdata.cli.inspect.examine import examine

DATASETS = 2000


def look(path: Path) -> int:
    """Look at every dataset by h5py: how large it is, and how it is stored."""
    seen: list[object] = []

    def see(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            steps = (item.compression, item.compression_opts, item.shuffle)
            seen.append((item.shape, item.dtype, item.chunks, *steps))

    with h5py.File(path) as file:
        file.visititems(see)
    return len(seen)


def look_by_name(path: Path, names: Sequence[str]) -> int:
    """Do the same for datasets whose names are known."""
    with h5py.File(path) as file:
        items = [file[name] for name in names]
        return len(
            [
                (i.shape, i.dtype, i.chunks, i.compression, i.compression_opts, i.shuffle)
                for i in items
            ]
        )


def run(bench: Bench) -> list[Section]:
    """Measure, and give the section of the report."""
    names = [f"g/x{k}" for k in range(DATASETS)]
    ratios = []
    rows = np.zeros((40, 16), np.float32)
    ways: dict[str, dict[str, object]] = {
        "contiguous": {},
        "chunked": {"chunks": (10, 16)},
        "gzip": {"chunks": (10, 16), "compression": "gzip", "shuffle": True},
    }
    for way, options in ways.items():
        path = bench.folder / f"{way}.h5"
        with h5py.File(path, "w") as file:
            for name in names:
                file.create_dataset(name, data=rows, **options)
        work: dict[str, Callable[[], object]] = {
            "look": lambda path=path: look(path),  # type: ignore[misc]
            "inspect": lambda path=path: examine(str(path), None),  # type: ignore[misc]
            "by name": lambda path=path: look_by_name(path, names),  # type: ignore[misc]
            "from_hdf5": lambda path=path: npdata.NumpyDataset.from_hdf5(path, *names),  # type: ignore[misc]
        }
        spent: dict[str, list[float]] = {}
        gc.collect()
        gc.freeze()  # to look at all that this process has imported takes as long as the work
        for number in range(2 * bench.rounds + 1):
            for name, task in work.items():
                begun = time.process_time()
                task()
                if number:
                    spent.setdefault(name, []).append(time.process_time() - begun)
        gc.unfreeze()
        for name, other in (("inspect", "look"), ("from_hdf5", "by name")):
            value = float(np.median(spent[name]) / np.median(spent[other]))
            ratios.append(
                Ratio(what=f"{name}, {way}, over h5py's look", value=value, goal=1.5, most=True)
            )
    section = Section(
        name="hdf5-many",
        title="Many datasets in a file",
        note=f"Processor time of {DATASETS:,} datasets of 40 rows, in 4 chunks where chunked. "
        f"h5py looks at shape, dtype, chunks and compression.",
        ratios=tuple(ratios),
    )
    return [section]
