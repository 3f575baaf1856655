"""Whatever rows are stored in, and whatever is made of them, is what NumPy makes of them."""

import pickle
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import spans
import torch
from hypothesis import given
from hypothesis import strategies as st
from kinds import misaligned
from torch.utils.data import DataLoader, Subset

import npdata
from npdata import NumpyDataset

Rows = np.ndarray


def npy(rows: Rows, path: Path) -> str:
    np.save(path, rows)
    return f"{path}.npy"


def npz(rows: Rows, path: Path) -> str:
    np.savez_compressed(path, x=rows)
    return f"{path}.npz::x"


def gzip(rows: Rows, path: Path) -> str:
    with h5py.File(f"{path}.h5", "w") as file:
        chunks = tuple(max(1, size // 2) for size in rows.shape)
        file.create_dataset(
            "x", data=rows, chunks=chunks, compression=1
        ) if rows.size else file.create_dataset("x", data=rows)
    return f"{path}.h5::x"


def a_file_each(rows: Rows, path: Path) -> Any:
    path.mkdir()
    for number, row in enumerate(rows):
        np.save(path / f"{number}.npy", row)
    return npdata.stack(path) if len(rows) else rows


def shards(rows: Rows, path: Path) -> Any:
    path.mkdir()
    for number, part in enumerate(np.array_split(rows, 3)):
        np.save(path / f"{number}.npy", part)
    return npdata.concatenate(path)


def a_column(rows: Rows, path: Path) -> Any:
    table = np.zeros(len(rows), [("id", "u1"), ("x", rows.dtype, rows.shape[1:])])
    table["x"] = rows
    return NumpyDataset(npy(table, path), columns="x")


def the_last_axis(rows: Rows, path: Path) -> Any:
    return NumpyDataset(npy(np.moveaxis(rows, 0, -1).copy(), path), axis=-1)


STORED: dict[str, Callable[[Rows, Path], Any]] = {
    "array": lambda rows, _: rows,
    "Fortran order": lambda rows, _: np.asfortranarray(rows),
    "reversed": lambda rows, _: rows[::-1].copy()[::-1],
    "misaligned": lambda rows, _: misaligned(rows),
    "npy": npy,
    "npz": npz,
    "gzip": gzip,
    "a file each": a_file_each,
    "shards": shards,
    "a column": a_column,
    "the last axis": the_last_axis,
}

ORDERS = st.lists(st.integers(-3, 4), min_size=1, max_size=3)


@st.composite
def arrays(draw: Any) -> Rows:
    shape = draw(st.integers(0, 9)), *draw(st.sampled_from([(), (2,), (3, 2)]))
    dtype = draw(st.sampled_from(["?", "u1", "<i2", ">i2", ">f4", "f8", "c8"]))
    return np.random.default_rng(len(shape)).integers(0, 90, shape).astype(dtype)


def windows(draw: Any, ds: NumpyDataset, rows: Rows) -> tuple[NumpyDataset, Rows]:
    """Windows of both; the same where none fits."""
    offsets, stride = draw(ORDERS), draw(st.integers(1, 3))
    edge = draw(st.sampled_from(["drop", "repeat", "zero"]))
    borders = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    made = spans.windows([0, *borders, len(rows)], offsets, stride, edge)
    if not made:
        return ds, rows
    expected = np.stack([spans.values(rows, window, edge) for window in made])
    return ds.windows(offsets, stride=stride, edge=edge, borders=borders), expected


def same(given: Any, expected: Rows) -> None:
    native = expected.astype(expected.dtype.newbyteorder("="))
    assert given.shape == native.shape
    assert given.numpy().tobytes() == native.tobytes()


@given(st.data())
def test_any_pipeline_gives_the_rows_of_numpy(data: Any) -> None:
    draw = data.draw
    rows = draw(arrays())
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=2)))
    with TemporaryDirectory() as folder:
        parts = []
        for number, part in enumerate(np.split(rows, cuts)):
            stored = STORED[draw(st.sampled_from(sorted(STORED)))]
            parts.append(NumpyDataset(stored(part, Path(folder, str(number)))))
        ds = sum(parts)
        for step in draw(
            st.lists(st.sampled_from(["windows", "twice", "pickle", "field"]), max_size=3)
        ):
            if step == "windows":
                ds, rows = windows(draw, ds, rows)
            elif step == "twice":
                ds, rows = ds + ds, np.concatenate([rows, rows])
            elif step == "pickle":
                ds = pickle.loads(pickle.dumps(ds))
            else:
                ds = NumpyDataset(ds.sources[0])
        assert len(ds) == len(rows)
        same(ds[:], rows)
        same(ds[::-2], rows[::-2])
        if not len(rows):
            return
        order = draw(st.lists(st.integers(-len(rows), len(rows) - 1), min_size=1, max_size=9))
        same(ds[order], rows[order])
        same(ds[order[0]], rows[order[0]])
        same(npdata.collate(ds.__getitems__(order)), rows[order])
        (batch,) = DataLoader(Subset(ds, order), len(order), collate_fn=npdata.collate)
        same(batch, rows[order])
        whole = npdata.Loader(ds, 4, shuffle="block", num_threads=0, seed=1)
        numbers = [
            int(row)
            for part in npdata.BlockBatchSampler(ds, 4, shuffle="block", seed=1)
            for row in part
        ]
        same(torch.cat(list(whole)), rows[numbers])
